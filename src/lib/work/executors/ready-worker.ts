/** What a worker's file exports, checked, and with the settings that it, or the configuration, says nothing of. */
import type {FuncSettings} from '../../config/schema.ts'
import {parseRetryDelay, type RetryDelay} from '../../jobs/backoff.ts'
import {closest} from '../../jobs/closest.ts'
import {type JobqError, WorkerError} from '../../jobs/errors.ts'
import {KEPT_OUTPUT_BYTES, type KeepOutput, MAX_OTHERS, MAX_UINT32} from '../../jobs/job.ts'
import {parseKeepOutput} from '../../jobs/names.ts'
import {SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {parseRate, type ShareLimits, shareLimits} from '../../jobs/shares/limits.ts'
import {parseDuration} from '../../jobs/time.ts'
import type {Job, Worker} from '../../jobs/worker.ts'
import {DEFAULT_GRAB_FOR} from './executor.ts'
import {described} from './thrown.ts'

/** A worker's settings filled in, as a dispatcher knows them: durations in seconds. */
export interface WorkerSettings {
  maxRetries: number
  grabFor: number
  setJobStatus: boolean
  maxRunning: number
  /** null: nothing of what is scarce is limited. */
  shares: ShareLimits | null
  coalesce: number
  coalesceBy: string | null
  serializer: SerializerName
  keepOutput: KeepOutput
  /** In seconds; 0: none. */
  keepResult: number
}

export interface ReadyWorker extends WorkerSettings {
  retryDelay: RetryDelay | ((job: Job) => number)
  work(job: Job): unknown
}

/** The configuration's, for a worker that says nothing of it. */
export interface WorkerDefaults {
  serializer?: SerializerName | undefined
  keepOutput?: KeepOutput | undefined
}

const KINDS = {
  work: 'function',
  maxRetries: 'number',
  retryDelay: 'number, string or function',
  grabFor: 'number',
  setJobStatus: 'boolean',
  maxRunning: 'number',
  maxRunningPerKey: 'number',
  shareBy: 'string',
  rate: 'string',
  ratePerKey: 'string',
  coalesce: 'number',
  coalesceBy: 'string',
  serializer: 'string',
  keepOutput: 'number or string',
  keepResult: 'number or string',
} as const

/**
 * Checks what a worker's file exports.
 * @param overrides the configuration's `funcs` entry, which has the last word
 * @throws WorkerError
 */
export function readyWorker(
  exported: unknown,
  overrides: FuncSettings,
  where: string,
  defaults: WorkerDefaults = {},
): ReadyWorker {
  checkShape(exported, where)
  const worker: Worker = exported
  const settings = {
    maxRetries: overrides.maxRetries ?? worker.maxRetries ?? 0,
    retryDelay: overrides.retryDelay ?? ownRetryDelay(worker, where),
    grabFor: overrides.grabFor ?? worker.grabFor ?? DEFAULT_GRAB_FOR,
    setJobStatus: overrides.setJobStatus ?? worker.setJobStatus ?? false,
    maxRunning: overrides.maxRunning ?? worker.maxRunning ?? 0,
    maxRunningPerKey: overrides.maxRunningPerKey ?? worker.maxRunningPerKey ?? 0,
    coalesce: overrides.coalesce ?? worker.coalesce ?? 0,
    coalesceBy: overrides.coalesceBy ?? worker.coalesceBy ?? null,
    serializer: overrides.serializer ?? worker.serializer ?? defaults.serializer ?? 'json',
    keepOutput:
      overrides.keepOutput ??
      own(worker, 'keepOutput', parseKeepOutput, where) ??
      defaults.keepOutput ??
      KEPT_OUTPUT_BYTES,
    keepResult: overrides.keepResult ?? own(worker, 'keepResult', parseDuration, where) ?? 0,
  }
  checkRanges(settings, where)
  const {maxRunningPerKey, ...others} = settings
  const shares = shareLimits({
    maxRunningPerKey,
    shareBy: overrides.shareBy ?? worker.shareBy,
    rate: overrides.rate === undefined ? own(worker, 'rate', parseRate, where) : overrides.rate,
    ratePerKey:
      overrides.ratePerKey === undefined ? own(worker, 'ratePerKey', parseRate, where) : overrides.ratePerKey,
    serializer: settings.serializer,
  })
  return {...others, shares, work: job => worker.work(job)}
}

/** Is it an object of a worker's members, each of its kind? @throws WorkerError */
function checkShape(exported: unknown, where: string): asserts exported is Worker {
  const shape = `export default defineWorker({async work(job) {…}})`
  if (typeof exported !== 'object' || exported === null || !('work' in exported))
    throw new WorkerError(`${where}: expected a default export with work(job), got ${described(exported)}`, {
      hint: `write: ${shape}; a file that is no worker can be named _like-this`,
    })
  for (const [key, value] of Object.entries(exported)) {
    if (!Object.hasOwn(KINDS, key))
      throw new WorkerError(`${where}: unknown key ${key}`, {
        hint: `did you mean ${closest(key, Object.keys(KINDS))}?`,
      })
    const kind = KINDS[key as keyof typeof KINDS]
    if (value !== undefined && !kind.split(/, | or /).includes(typeof value))
      throw new WorkerError(`${where}: ${key}: expected a ${kind}, got ${described(value)}`)
  }
}

/** @throws WorkerError */
function checkRanges(
  settings: Omit<ReadyWorker, 'shares' | 'work'> & {maxRunningPerKey: number},
  where: string,
): void {
  for (const key of ['maxRetries', 'retryDelay', 'grabFor', 'maxRunning', 'maxRunningPerKey'] as const) {
    const value = settings[key]
    if (typeof value === 'number' && !(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new WorkerError(`${where}: ${key}: expected a number from 0, got ${value}`)
  }
  if (settings.grabFor === 0)
    throw new WorkerError(`${where}: grabFor: expected seconds above 0, got 0: no job would have time to run`)
  for (const key of ['maxRetries', 'maxRunning', 'maxRunningPerKey'] as const)
    if (!Number.isInteger(settings[key]) || settings[key] > MAX_UINT32)
      throw new WorkerError(
        `${where}: ${key}: expected a whole number from 0 to ${MAX_UINT32}, got ${settings[key]}`,
      )
  if (!Number.isInteger(settings.coalesce) || settings.coalesce < 0 || settings.coalesce > MAX_OTHERS)
    throw new WorkerError(
      `${where}: coalesce: expected a whole number from 0 to ${MAX_OTHERS}, got ${settings.coalesce}`,
    )
  if (!SERIALIZERS.includes(settings.serializer))
    throw new WorkerError(
      `${where}: serializer: expected json, msgpack or none, got ${described(settings.serializer)}`,
    )
}

/** @throws WorkerError */
function ownRetryDelay({retryDelay = 0}: Worker, where: string): ReadyWorker['retryDelay'] {
  return typeof retryDelay === 'string'
    ? parsed(parseRetryDelay, retryDelay, `${where}: retryDelay`)
    : retryDelay
}

/** What the worker's file says itself. @throws WorkerError */
function own<T>(
  worker: Worker,
  key: 'keepOutput' | 'keepResult' | 'rate' | 'ratePerKey',
  parse: (text: string, what: string) => T,
  where: string,
): T | undefined {
  const said = worker[key]
  return said === undefined ? undefined : parsed(parse, String(said), `${where}: ${key}`)
}

function parsed<T>(parse: (text: string, what: string) => T, text: string, what: string): T {
  try {
    return parse(text, what)
  } catch (error) {
    const {message, hint} = error as JobqError
    throw new WorkerError(message, {hint})
  }
}
