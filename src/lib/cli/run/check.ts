/** `jobq check` once its words are known. Its exit status is a monitoring plugin's, also of what went wrong (cli/errors.ts). */
import type {JobQueue} from '../../client/queue.ts'
import {StoreError} from '../../jobs/errors.ts'
import {ALL_FUNCS, isPausedIn} from '../../jobs/job.ts'
import {slotsOf} from '../../jobs/manager.ts'
import {parseWhole} from '../../jobs/names.ts'
import {parseDuration} from '../../jobs/time.ts'
import {checkLine, type Measure, reasonsOf, STATES, stateOf} from '../../render/check.ts'
import {withQueue} from '../command-queue.ts'
import {showUnknown} from '../errors.ts'
import {printer} from '../output-guard.ts'
import {type QueueFlags, settingsThere} from '../settings.ts'

/** Who asks gives up after some seconds, and is to hear why. */
const PATIENCE_MS = 2000

export interface CheckFlags extends QueueFlags {
  func?: string | undefined
  'max-age'?: string | undefined
  'max-ready'?: string | undefined
  'max-failed'?: string | undefined
  'warn-age'?: string | undefined
  'warn-ready'?: string | undefined
  'warn-failed'?: string | undefined
  workers?: string | undefined
  json?: boolean | undefined
}

export async function run(flags: CheckFlags): Promise<Record<string, unknown>> {
  const limits = limitsOf(flags)
  const timer = setTimeout(() => {
    showUnknown(new StoreError('UNREACHABLE', 'no answer from the database within 2 s'), flags.json ?? false)
    process.exit()
  }, PATIENCE_MS)
  const {measures, warnings} = await measured(flags, limits).finally(() => clearTimeout(timer))
  const state = Math.max(warnings.length > 0 ? 1 : 0, ...measures.map(stateOf))
  process.exitCode = state
  printer(flags.json)(checkLine(measures, state, warnings))
  const values = measures.map(({name, value}) => [name, value])
  return {
    ...{status: STATES[state], ...Object.fromEntries(values), reasons: reasonsOf(measures)},
    ...(warnings.length > 0 ? {warnings} : {}),
  }
}

type Limits = Record<Exclude<Measure['name'], 'workers'>, {warn: number | null; most: number | null}> & {
  /** Null: they are not looked at. */
  workers: number | null
}

/** @throws UsageError */
function limitsOf(flags: CheckFlags): Limits {
  const limit = (flag: keyof CheckFlags, parse: (text: string, what: string) => number) => {
    const text = flags[flag] as string | undefined
    return text === undefined ? null : parse(text, `--${flag}`)
  }
  return {
    ready: {warn: limit('warn-ready', parseWhole), most: limit('max-ready', parseWhole)},
    failed: {warn: limit('warn-failed', parseWhole), most: limit('max-failed', parseWhole)},
    workers: limit('workers', parseWhole),
    age: {warn: limit('warn-age', parseDuration), most: limit('max-age', parseDuration)},
  }
}

/** @throws StoreError if a database can't be reached, or is a file that is not there: who only looks makes none */
async function measured(
  flags: CheckFlags,
  limits: Limits,
): Promise<{measures: Measure[]; warnings: string[]}> {
  const settings = await settingsThere(flags)
  let trouble: string | null = null
  const onTrouble = (message: string) => {
    trouble = message
  }
  const [counts, workers, warnings] = await withQueue(settings, null, {onTrouble}, async queue => [
    await queue.counts(flags.func),
    limits.workers === null ? null : await slotsIn(queue, flags.func),
    await queue.store.warnings(false),
  ])
  if (trouble !== null) throw new StoreError('UNREACHABLE', trouble)
  const sum = (name: 'ready' | 'failed') => counts.reduce((total, count) => total + count[name], 0)
  const age = Math.max(0, ...counts.map(({oldestReadyAge}) => oldestReadyAge ?? 0))
  const measures: Measure[] = [
    {name: 'ready', value: sum('ready'), ...limits.ready},
    {name: 'failed', value: sum('failed'), ...limits.failed},
    {name: 'age', value: age, ...limits.age},
    ...(workers === null ? [] : [{name: 'workers' as const, ...workers, least: limits.workers!}]),
  ]
  return {measures, warnings}
}

/** None where it is paused. */
async function slotsIn(queue: JobQueue, func: string | undefined) {
  const paused = await queue.paused()
  const isPaused = isPausedIn(paused, func ?? ALL_FUNCS)
  const value = isPaused ? 0 : slotsOf(await queue.managers(), func)
  return {value, isPaused, warn: null, most: null}
}
