/**
 * Who is told of what becomes of jobs: the configuration's `onFailed`, `onGivenUp`, `onCompleted` and `onDeath`, for all
 * functions, and of one in `funcs` instead. What is told is a job: of the function that is named, or, for a command line, of
 * one that is worked by it, `jobq::onFailed` say. Of those functions nothing is told.
 */
import {checkFunc} from '../jobs/names.ts'
import type {FuncSettings, JobqConfig, NoticeSettings} from './schema.ts'

const NOTICES = ['onFailed', 'onGivenUp', 'onCompleted', 'onDeath'] as const

export type NoticeName = (typeof NOTICES)[number]

export interface Teller {
  name: NoticeName
  /** Of which function; null: of all that have none of their own. */
  of: string | null
  /** Whose job tells it. */
  func: string
  priority: number
  /** At most so many a minute. */
  perMinute: number
  command: string | null
}

const PER_MINUTE = 6
/** Before what is worked: it is short, and is to be known soon. */
const COMMAND_PRIORITY = 1_000_000
const COMMAND_SETTINGS: FuncSettings = {
  maxRetries: 10,
  retryDelay: {first: 10, longest: 600},
  grabFor: 60,
  serializer: 'json',
}

/** @throws UsageError for a function whose name leaves no room */
export function tellersIn(config: JobqConfig): Teller[] {
  const ofFuncs = Object.entries(config.funcs ?? {}).flatMap(([func, settings]) => tellersOf(settings, func))
  return [...tellersOf(config, null), ...ofFuncs]
}

function tellersOf(
  settings: {[Name in NoticeName]?: NoticeSettings | undefined},
  of: string | null,
): Teller[] {
  return NOTICES.flatMap(name => {
    const notice = settings[name]
    if (!notice) return []
    const {command = null, perMinute = PER_MINUTE} = notice
    const func = notice.func ?? checkFunc(`jobq::${name}${of === null ? '' : `::${of}`}`, 'a notice')
    const priority = notice.priority ?? (command === null ? 0 : COMMAND_PRIORITY)
    return [{name, of, func, priority, perMinute, command}]
  })
}

/** The one that tells of a function; null: none does. */
export function tellerOf(tellers: readonly Teller[], name: NoticeName, func: string): Teller | null {
  if (tellers.some(teller => teller.func === func)) return null
  const named = tellers.filter(teller => teller.name === name)
  return named.find(({of}) => of === func) ?? named.find(({of}) => of === null) ?? null
}

/** The configuration with workers for the command lines. */
export function withTellers(config: JobqConfig, tellers: readonly Teller[]): JobqConfig {
  const commands = tellers.filter(({command}) => command !== null)
  if (commands.length === 0) return config
  return {
    ...config,
    workers: {...config.workers, ...byFunc(commands, ({command}) => command!)},
    funcs: {
      ...config.funcs,
      ...byFunc(commands, ({func}) => ({...COMMAND_SETTINGS, ...config.funcs?.[func]})),
    },
  }
}

function byFunc<T>(tellers: readonly Teller[], value: (teller: Teller) => T): Record<string, T> {
  return Object.fromEntries(tellers.map(teller => [teller.func, value(teller)]))
}
