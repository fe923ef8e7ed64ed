/**
 * What a `jobq work` is to do, in its parts: as it was called, else as the configuration says, else as Qudo would. Asked once more
 * when the configuration is read again.
 */
import {join, resolve} from 'node:path'
import {type Teller, tellerOf, withTellers} from '../../config/notices.ts'
import type {JobqConfig} from '../../config/schema.ts'
import type {Settings} from '../../config/settings.ts'
import {UsageError} from '../../jobs/errors.ts'
import type {DispatcherOptions} from '../dispatcher.ts'
import type {PoolOptions, PoolSettings} from '../executors/pool/pool.ts'
import type {WorkerDefaults} from '../executors/ready-worker.ts'
import {type Found, findHandlers, type Handler} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'

/** Jobs at once, in all. */
const MAX_PLACES = 10_000

/** What is undefined comes from the configuration file, else from Qudo's defaults. */
export interface WorkOptions
  extends Pick<DispatcherOptions, 'mode' | 'job' | 'maxJobs' | 'onProgress'>,
    Undefinable<PoolOptions>,
    Pick<WorkerDefaults, 'keepOutput'> {
  /** Functions to work; `all`: every one that a worker is found for, as without the configuration's. */
  abilities?: readonly string[] | 'all' | undefined
  /** The workers folder, absolute. Default: `workers` beside the configuration file, else here. */
  workersDir?: string | undefined
  /** `FUNC=COMMAND` words. */
  exec?: readonly string[] | undefined
  /** Take so many jobs more than can start. Default 0: strict priority. */
  prefetch?: number | undefined
  /** Among functions of equal priority, serve each in turn. Default false. */
  fair?: boolean | undefined
  /** End after so many milliseconds, from the start. Default none. */
  maxTimeMs?: number | undefined
  /** Default 30 s. */
  shutdownTimeoutMs?: number | undefined
  /** Default 5 s, as Qudo's. */
  workDelayMs?: number | undefined
  /** Where the scoreboard is served, if either is given. Default 127.0.0.1, port 24464. */
  adminHost?: string | undefined
  adminPort?: number | undefined
  /** Called when it begins to take jobs. */
  onStart?: (start: WorkStart) => void
  /** Called at the first signal that ends it, while jobs run: so many, which have so many seconds left. */
  onEnding?: (signal: NodeJS.Signals, running: number, seconds: number) => void
}

/** What is worked, from where, with what. */
export interface WorkStart {
  /** As a message may name it. */
  database: string
  handlers: readonly Handler[]
  /** How many jobs may run at once. */
  places: number
}

type Undefinable<T> = {[Key in keyof T]?: T[Key] | undefined}

/** In milliseconds; undefined: none. */
export function maxTimeOf({maxTimeMs}: WorkOptions, {maxTime}: JobqConfig): number | undefined {
  return maxTimeMs ?? (maxTime === undefined ? undefined : maxTime * 1000)
}

/** Who works what; a worker that is missing, or is none, is told or left out. @throws WorkerError, UsageError */
export function handlersOf(
  options: WorkOptions,
  settings: Settings,
  tellers: readonly Teller[],
  log: JobLog,
): Found {
  const config = withTellers(settings.config, tellers)
  const named = options.workersDir ?? (config.workersDir && resolve(settings.folder, config.workersDir))
  const found = findHandlers({
    abilities: options.job
      ? (options.abilities as string[])
      : withCommands(abilitiesOf(options, config), tellers),
    exec: options.exec,
    folder: named ?? join(settings.folder, 'workers'),
    isNamed: named !== undefined,
    settings: {
      ...{config, file: settings.file, isNamed: settings.isNamed},
      // There may be none: it is asked for where it is needed
      get folder() {
        return settings.folder
      },
    },
  })
  // How they complete is read from job_status
  for (const handler of found.handlers)
    if (tellerOf(tellers, 'onCompleted', handler.func))
      handler.settings = {...handler.settings, setJobStatus: true}
  for (const {func, ...how} of found.handlers)
    log.debug(
      `${func}: ${how.kind === 'module' ? how.file : how.argv.join(' ')} ${JSON.stringify(how.settings)}`,
    )
  return found
}

function withCommands(abilities: readonly string[] | undefined, tellers: readonly Teller[]) {
  const commands = tellers.filter(({command}) => command !== null).map(({func}) => func)
  return abilities && [...new Set([...abilities, ...commands])]
}

/** Those that are named; undefined: whatever there is a worker for. */
function abilitiesOf({abilities}: WorkOptions, config: JobqConfig): readonly string[] | undefined {
  return abilities === 'all' ? undefined : (abilities ?? config.abilities)
}

/** @throws UsageError */
export function poolSettings(options: WorkOptions, {config, file}: Settings): PoolSettings {
  const maxWorkers = options.maxWorkers ?? config.maxWorkers ?? 1
  const jobsPerChild = options.jobsPerChild ?? config.jobsPerChild ?? 1
  if (maxWorkers * jobsPerChild > MAX_PLACES)
    throw new UsageError(
      `expected at most ${MAX_PLACES} jobs at once, got ${maxWorkers} children of ${jobsPerChild} jobs each`,
      {hint: 'take fewer --max-workers, or fewer --jobs-per-child'},
    )
  return {
    maxWorkers,
    jobsPerChild,
    minSpareWorkers: options.minSpareWorkers ?? config.minSpareWorkers ?? 1,
    maxSpareWorkers: options.maxSpareWorkers ?? config.maxSpareWorkers ?? maxWorkers,
    maxRequestPerChild: options.maxRequestPerChild ?? config.maxRequestPerChild ?? 30 * jobsPerChild,
    maxChildMemory: options.maxChildMemory ?? config.maxChildMemory ?? 0,
    mayLeaveOut: abilitiesOf(options, config) === undefined,
    defaults: {
      serializer: config.serializer,
      keepOutput: options.keepOutput ?? config.keepOutput,
    },
    extensions: hasWorkerSupport(config) ? file : null,
  }
}

/** Is there anything in it that stands around a job where it is worked? What a hook's module has, only loading it tells. */
function hasWorkerSupport({hooks = [], plugins = {}}: JobqConfig): boolean {
  const points = ['deserialize', 'preWork', 'postWork'] as const
  const isWorkers = (hook: string | object) => typeof hook === 'string' || points.some(point => point in hook)
  return Object.keys(plugins).length > 0 || hooks.some(isWorkers)
}

export function dispatcherOptions(
  options: WorkOptions,
  {config}: Settings,
  note: NonNullable<DispatcherOptions['onProgress']>,
): DispatcherOptions {
  const {onProgress} = options
  return {
    mode: options.mode,
    job: options.job,
    prefetch: options.prefetch ?? config.prefetch ?? 0,
    fair: options.fair ?? config.fair ?? false,
    maxJobs: options.maxJobs ?? config.maxJobs,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? (config.shutdownTimeout ?? 30) * 1000,
    workDelayMs: options.workDelayMs ?? (config.workDelay ?? 5) * 1000,
    onProgress: onProgress
      ? (...progress) => {
          note(...progress)
          onProgress(...progress)
        }
      : note,
  }
}
