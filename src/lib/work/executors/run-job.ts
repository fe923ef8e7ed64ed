/**
 * One job through one worker object, wherever that runs: in a pool's child, or inline in an application.
 */

import {fileURLToPath} from 'node:url'
import type {FuncSettings} from '../../config/schema.ts'
import {type Extensions, NO_EXTENSIONS} from '../../hooks/extensions.ts'
import {replacementJobs} from '../../hooks/hooked-job.ts'
import type {EndedJob} from '../../hooks/hooks.ts'
import type {PluginSet} from '../../hooks/plugin-set.ts'
import type {AttemptEnd} from '../../hooks/plugins.ts'
import {parseRetryDelay, type RetryDelay} from '../../jobs/backoff.ts'
import {closest} from '../../jobs/closest.ts'
import {HookError, JobqError, PluginError, UsageError, WorkerError} from '../../jobs/errors.ts'
import type {Progress} from '../../jobs/job.ts'
import {
  CANCELLED,
  type JobRow,
  KEPT_OUTPUT_BYTES,
  type KeepOutput,
  MAX_OTHERS,
  MAX_UINT32,
  type RunOutcome,
  type TakenJob,
} from '../../jobs/job.ts'
import {parseKeepOutput} from '../../jobs/names.ts'
import type {PluginOf} from '../../jobs/plugins.ts'
import {decodeArg, decodeNow} from '../../jobs/serializers/decode.ts'
import {SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {parseRate, type ShareLimits, shareLimits} from '../../jobs/shares/limits.ts'
import {givenContext, keepsResult} from '../../jobs/side-tables/keep-result.ts'
import {progressOf} from '../../jobs/side-tables/progress.ts'
import {encodeResult} from '../../jobs/side-tables/results.ts'
import {DURATION_FORMS, parseDuration} from '../../jobs/time.ts'
import {inspected, isThenable} from '../../jobs/value.ts'
import type {Job, OtherJob, Replacement, Worker} from '../../jobs/worker.ts'
import {LIBRARY} from '../../own-modules.ts'
import {DEFAULT_GRAB_FOR, retryIn} from './executor.ts'

/** A worker with its settings filled in: durations in seconds. */
export interface ReadyWorker {
  maxRetries: number
  retryDelay: RetryDelay | ((job: Job) => number)
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
  work(job: Job): unknown
}

/** The configuration's, for a worker that says nothing of it. */
export interface WorkerDefaults {
  serializer?: SerializerName | undefined
  keepOutput?: KeepOutput | undefined
}

/** Where decline() names no delay: less would have whoever is idle take it again and again. */
const DECLINED_SECONDS = 10

/** What a job waits for whose retryDelay, a function, throws or says what is no delay. In seconds. */
const WITHOUT_DELAY: RetryDelay = {first: 10, longest: 3600}

/** Errors that caused an error, and characters of what is thrown and no error, that go into exception_log. */
const MAX_CAUSES = 10
const MAX_THROWN = 4096

/** As frames name them: those of a module, and those of CommonJS. */
const OWN_PLACES = [LIBRARY.href, fileURLToPath(LIBRARY)]

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
  const shape = `export default defineWorker({async work(job) {…}})`
  if (typeof exported !== 'object' || exported === null || !('work' in exported))
    throw new WorkerError(`${where}: expected a default export with work(job), got ${describe(exported)}`, {
      hint: `write: ${shape}; a file that is no worker can be named _like-this`,
    })
  for (const [key, value] of Object.entries(exported)) {
    if (!Object.hasOwn(KINDS, key))
      throw new WorkerError(`${where}: unknown key ${key}`, {
        hint: `did you mean ${closest(key, Object.keys(KINDS))}?`,
      })
    const kind = KINDS[key as keyof typeof KINDS]
    if (value !== undefined && !kind.split(/, | or /).includes(typeof value))
      throw new WorkerError(`${where}: ${key}: expected a ${kind}, got ${describe(value)}`)
  }
  const worker = exported as Worker
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
  for (const key of ['maxRetries', 'retryDelay', 'grabFor', 'maxRunning', 'maxRunningPerKey'] as const) {
    const value = settings[key]
    if (typeof value === 'number' && !(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new WorkerError(`${where}: ${key}: expected a number from 0, got ${value}`)
  }
  if (!Number.isInteger(settings.maxRunningPerKey))
    throw new WorkerError(
      `${where}: maxRunningPerKey: expected a whole number from 0, got ${settings.maxRunningPerKey}`,
    )
  if (!Number.isInteger(settings.coalesce) || settings.coalesce < 0 || settings.coalesce > MAX_OTHERS)
    throw new WorkerError(
      `${where}: coalesce: expected a whole number from 0 to ${MAX_OTHERS}, got ${settings.coalesce}`,
    )
  if (!SERIALIZERS.includes(settings.serializer))
    throw new WorkerError(
      `${where}: serializer: expected json, msgpack or none, got ${describe(settings.serializer)}`,
    )
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

/** How a job ended. */
export interface Ran {
  /** As its worker left it. */
  job: RunningJob
  /** `died`: a hook at deserialize or preWork has failed, which in Qudo is the end of the worker. */
  outcome: Exclude<RunOutcome, {kind: 'released'}>
  /**
   * Calls the postWork hooks; null if there are none. To be called once the outcome has been reported, which stands.
   * @throws HookError
   */
  afterwards: (() => Promise<void>) | null
}

/** Runs the job, with the hooks before it and the plugins around it, and says how it ended. Never throws. */
export function runJob(
  worker: ReadyWorker,
  job: RunningJob,
  extensions: Extensions = NO_EXTENSIONS,
): Promise<Ran> {
  const {aroundWork} = extensions.plugins
  return aroundWork ? within(aroundWork, worker, job, extensions) : attempt(worker, job, extensions)
}

function ran(job: RunningJob, ended: End, {hooks}: Extensions): Ran {
  const isUndone = ended.kind === 'failed' || ended.kind === 'died' || ended.kind === 'declined'
  const outcome: End = job.isCancelled && isUndone ? {kind: 'aborted', reason: CANCELLED} : ended
  if (outcome.kind === 'died' || !hooks.has('postWork')) return {job, outcome, afterwards: null}
  return {job, outcome, afterwards: () => hooks.run('postWork', job.ended(outcome))}
}

type End = Exclude<RunOutcome, {kind: 'released'}>
const COMPLETED: End = {kind: 'completed'}

/** What a plugin has thrown after the attempt changes nothing of how that ended. */
async function within(
  aroundWork: NonNullable<PluginSet['aroundWork']>,
  worker: ReadyWorker,
  job: RunningJob,
  extensions: Extensions,
): Promise<Ran> {
  await job.decode(worker.serializer)
  let working: Promise<Ran> | null = null
  const once = async () => {
    working ??= attempt(worker, job, extensions)
    return endOf((await working).outcome, job.thrown)
  }
  const around = (async () => aroundWork(job, once))() // it may throw at once
  const complaint = await around.then(
    () => null,
    (error: unknown) => ({error}),
  )
  const done = await (working as Promise<Ran> | null)
  if (done) return complaint ? {...done, afterwards: async () => Promise.reject(complaint.error)} : done
  const error = complaint?.error ?? new PluginError('a plugin did not call work() in its aroundWork()')
  return ran(job, failure(worker, job, error), extensions)
}

/** What plugins and tests are told of it. */
export function endOf(outcome: End, error: unknown): AttemptEnd {
  const retryIn =
    outcome.kind === 'failed' ? outcome.retryIn : outcome.kind === 'declined' ? outcome.delay : null
  return {outcome: outcome.kind, message: reasonOf(outcome), error, retryIn}
}

function reasonOf(outcome: End): string {
  if (outcome.kind === 'failed') return outcome.message
  if (outcome.kind === 'aborted') return outcome.reason
  return outcome.kind === 'died' ? outcome.how : ''
}

async function attempt(worker: ReadyWorker, job: RunningJob, extensions: Extensions): Promise<Ran> {
  const {hooks} = extensions
  try {
    const decoding = job.decode(worker.serializer)
    if (decoding) await decoding
    if (job.mistake) throw job.mistake
    if (hooks.has('deserialize')) await hooks.run('deserialize', job)
    if (hooks.has('preWork')) await hooks.run('preWork', job)
    const working = worker.work(job)
    const result = isThenable(working) ? await working : working
    if (job.ending === null && job.replacements === null && job.keepsResult(worker.keepResult))
      return ran(job, {kind: 'completed', result: encodeResult(result)}, extensions)
  } catch (error) {
    if (job.ending === null) {
      // A hook's own failure, not one of an enqueue within work()
      if (error instanceof HookError && (error.point === 'deserialize' || error.point === 'preWork')) {
        job.thrown = error
        return ran(job, {kind: 'died', how: messageOf(error)}, extensions)
      }
      return ran(job, failure(worker, job, error), extensions)
    }
  }
  if (job.ending !== null) return ran(job, job.ending, extensions)
  if (job.replacements === null) return ran(job, COMPLETED, extensions)
  try {
    const jobs = await replacementJobs(job.replacements, extensions)
    return ran(job, {kind: 'replaced', jobs, retryIn: nextTry(worker, job)}, extensions)
  } catch (error) {
    return ran(job, failure(worker, job, error), extensions)
  }
}

/**
 * Seconds until this job is due again if it fails now, null if no retries are left. A mistake in a retryDelay that is a
 * function takes no retries away: the delay is one of WITHOUT_DELAY then.
 */
export function nextTry(
  {maxRetries, retryDelay}: ReadyWorker,
  job: Job,
  onMistake = (_mistake: unknown) => {},
): number | null {
  if (job.retryCnt >= maxRetries) return null
  if (typeof retryDelay !== 'function') return retryIn(maxRetries, job.retryCnt, retryDelay)
  try {
    const delay: unknown = retryDelay(job)
    if (isThenable(delay)) void Promise.resolve(delay).catch(() => {}) // told as what it is: no number
    if (typeof delay === 'number' && delay >= 0 && delay < Number.POSITIVE_INFINITY)
      return retryIn(maxRetries, job.retryCnt, delay)
    onMistake(new WorkerError(`retryDelay: expected seconds from 0, got ${describe(delay)}`))
  } catch (error) {
    onMistake(error)
  }
  return retryIn(maxRetries, job.retryCnt, WITHOUT_DELAY)
}

const NO_CONTEXT: Readonly<Record<string, string>> = Object.freeze({})
const NO_OTHERS: readonly OtherJob[] = Object.freeze([])

/** The job as work(), and a function for retryDelay, get to see it. */
export class RunningJob implements Job {
  readonly id: number
  readonly db?: number
  readonly func: string
  readonly uniqkey: string | null
  readonly retryCnt: number
  readonly priority: number
  readonly grabbedUntil: number
  readonly argOrigin: Uint8Array | null
  readonly context: Readonly<Record<string, string>>
  readonly others: readonly OtherJob[]
  readonly #row: TakenJob
  readonly #stop: Pick<AbortController, 'signal'>
  readonly #plugins: PluginSet
  readonly #onProgress: (progress: Progress) => void
  #isDecoded = false
  arg: unknown = null
  mistake: Error | null = null
  /** It was told to stop for that: if it fails now, it is aborted. */
  isCancelled = false
  /** By work, or what came before it. */
  thrown: unknown = undefined
  /** What it has said to leave work(): null: nothing. It counts even if work() swallows what was thrown. */
  ending: Left | null = null
  replacements: Replacement[] | null = null

  /** @param stop where its signal comes from, which is made when someone asks for it: few jobs do */
  constructor(
    row: TakenJob,
    stop: Pick<AbortController, 'signal'>,
    plugins: PluginSet,
    onProgress: (progress: Progress) => void = () => {},
  ) {
    this.#row = row
    this.id = row.id
    if (row.db !== undefined) this.db = row.db
    this.func = row.func
    this.uniqkey = row.uniqkey
    this.retryCnt = row.retryCnt
    this.priority = row.priority
    this.grabbedUntil = row.grabbedUntil
    this.argOrigin = row.arg
    this.#stop = stop
    this.context = contextOf(row)
    this.others = row.others?.map(otherJob) ?? NO_OTHERS
    this.#plugins = plugins
    this.#onProgress = onProgress
  }

  /** One of the others as its own run would have it, for who asks it for its next try. */
  other(nth: number): RunningJob {
    const job = new RunningJob(this.#row.others![nth]!, this.#stop, this.#plugins)
    job.arg = this.others[nth]!.arg
    return job
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Is what its run returns to be kept, for it or for one of those that are worked with it? @param seconds the worker's */
  keepsResult(seconds: number): boolean {
    return seconds > 0 || keepsResult(this.#row)
  }

  /** Once: what is wrong with the argument is `mistake` then. @returns a promise where it takes time */
  decode(serializer: SerializerName): Promise<void> | null {
    if (this.#isDecoded) return null
    this.#isDecoded = true
    if (serializer === 'msgpack') return this.#decodeLater(serializer)
    try {
      this.arg = decodeNow(this.argOrigin, serializer)
      for (const other of this.others as Decoded[]) other.arg = decodeNow(other.argOrigin, serializer)
    } catch (error) {
      this.mistake = error as Error
    }
    return null
  }

  async #decodeLater(serializer: SerializerName): Promise<void> {
    try {
      this.arg = await decodeArg(this.argOrigin, serializer)
      for (const other of this.others as Decoded[]) other.arg = await decodeArg(other.argOrigin, serializer)
    } catch (error) {
      this.mistake = error as Error
    }
  }

  abort(reason: string): never {
    this.ending = {kind: 'aborted', reason: String(reason) || 'aborted'}
    throw new LeftJob(this.ending)
  }

  decline(delay: number | string = DECLINED_SECONDS): never {
    this.ending ??= {kind: 'declined', delay: delayOf(delay)}
    throw new LeftJob(this.ending)
  }

  progress(fraction: number, text?: string): void {
    this.#onProgress(progressOf(fraction, text))
  }

  replace(...jobs: Replacement[]): void {
    this.replacements = [...(this.replacements ?? []), ...jobs]
  }

  plugin<Name extends string>(name: Name): PluginOf<Name> {
    return this.#plugins.get(name, this)
  }

  /** As postWork gets to see it. */
  ended(outcome: Exclude<End, {kind: 'died'}>): EndedJob {
    const {message, retryIn} = endOf(outcome, this.thrown)
    return Object.assign(this, {outcome: outcome.kind, message, retryIn})
  }
}

/** What is worked together can be read: who put it together has looked (work/claims/together.ts). */
type Decoded = {-readonly [Key in keyof OtherJob]: OtherJob[Key]}

function otherJob(row: JobRow): OtherJob {
  const {id, db, uniqkey, retryCnt, priority, arg: argOrigin} = row
  const context = contextOf(row)
  return {id, ...(db === undefined ? {} : {db}), uniqkey, retryCnt, priority, arg: null, argOrigin, context}
}

function contextOf({context}: JobRow): Readonly<Record<string, string>> {
  return context === undefined ? NO_CONTEXT : givenContext(context)
}

type Left = Extract<RunOutcome, {kind: 'aborted' | 'declined'}>

/** What abort() and decline() throw to leave work(). */
class LeftJob extends Error {
  readonly ending: Left

  constructor(ending: Left) {
    super(ending.kind === 'aborted' ? ending.reason : 'declined')
    this.ending = ending
  }
}

/** @returns whole seconds, no fewer. @throws UsageError */
function delayOf(delay: number | string): number {
  if (typeof delay === 'string') return parseDuration(delay, 'decline')
  if (typeof delay === 'number' && delay >= 0 && delay <= MAX_UINT32) return Math.ceil(delay)
  throw new UsageError(
    `decline: expected seconds from 0 to ${MAX_UINT32}, or ${DURATION_FORMS}, got ${describe(delay)}`,
  )
}

/** The outcome of what was thrown where no work() could catch it: in a timer, in a promise that nobody awaits. */
export function strayOutcome(error: unknown, retryIn: number | null): RunOutcome {
  if (error instanceof LeftJob) return error.ending
  return {kind: 'failed', message: messageOf(error), retryIn}
}

function failure(worker: ReadyWorker, job: RunningJob, error: unknown): Extract<End, {kind: 'failed'}> {
  job.thrown = error
  let message = messageOf(error)
  const retryIn = nextTry(worker, job, mistake => {
    message += `\n${messageOf(mistake)}`
  })
  return {kind: 'failed', message, retryIn}
}

/** An exception's message with its stack, as Perl's carp-ing workers log theirs; jobq's own errors in one line. */
export function messageOf(error: unknown): string {
  try {
    return message(error, MAX_CAUSES)
  } catch {
    return 'threw what can not be shown' // a getter that throws, say
  }
}

function message(error: unknown, causes: number): string {
  if (error instanceof JobqError) return error.hint ? `${error.message} (${error.hint})` : error.message
  if (!(error instanceof Error)) return `threw ${describe(error, MAX_THROWN)}`
  const stack = typeof error.stack === 'string' ? error.stack : `${error.name}: ${error.message}`
  const frames = stack.split('\n').filter(line => !isOwnFrame(line))
  const hasCause = error.cause !== undefined && causes > 0
  return [...frames, ...(hasCause ? [`caused by: ${message(error.cause, causes - 1)}`] : [])].join('\n')
}

/** Frames of Node and of these files say nothing to a worker's author. */
function isOwnFrame(line: string): boolean {
  return /^\s+at /.test(line) && (/[ (]node:/.test(line) || OWN_PLACES.some(place => line.includes(place)))
}

function describe(value: unknown, limit = 60): string {
  if (value === undefined) return 'none'
  if (typeof value === 'function') return 'a function'
  const text = asJson(value) ?? inspected(value)
  return text.length > limit ? `${text.slice(0, limit)}…` : text
}

/** Undefined for what JSON can't hold: a bigint, a symbol, a circle. */
function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
