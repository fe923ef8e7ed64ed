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
import {closest} from '../../jobs/closest.ts'
import {HookError, JobqError, PluginError, WorkerError} from '../../jobs/errors.ts'
import type {JobRow, Outcome} from '../../jobs/job.ts'
import type {PluginOf} from '../../jobs/plugins.ts'
import {decodeArg, decodeNow} from '../../jobs/serializers/decode.ts'
import {SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {inspected, isThenable} from '../../jobs/value.ts'
import type {Job, Replacement, Worker} from '../../jobs/worker.ts'
import {LIBRARY} from '../../own-modules.ts'
import {DEFAULT_GRAB_FOR, retryIn} from './executor.ts'

/** A worker with its settings filled in: durations in seconds. */
export interface ReadyWorker {
  maxRetries: number
  retryDelay: number | ((job: Job) => number)
  grabFor: number
  setJobStatus: boolean
  maxRunning: number
  serializer: SerializerName
  work(job: Job): unknown
}

/** Errors that caused an error, and characters of what is thrown and no error, that go into exception_log. */
const MAX_CAUSES = 10
const MAX_THROWN = 4096

/** As frames name them: those of a module, and those of CommonJS. */
const OWN_PLACES = [LIBRARY.href, fileURLToPath(LIBRARY)]

const KINDS = {
  work: 'function',
  maxRetries: 'number',
  retryDelay: 'number or function',
  grabFor: 'number',
  setJobStatus: 'boolean',
  maxRunning: 'number',
  serializer: 'string',
} as const

/**
 * Checks what a worker's file exports.
 * @param overrides the configuration's `funcs` entry, which has the last word
 * @param serializer the configuration's, for a worker that says nothing of it
 * @throws WorkerError
 */
export function readyWorker(
  exported: unknown,
  overrides: FuncSettings,
  where: string,
  serializer: SerializerName = 'json',
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
    if (value !== undefined && !kind.split(' or ').includes(typeof value))
      throw new WorkerError(`${where}: ${key}: expected a ${kind}, got ${describe(value)}`)
  }
  const worker = exported as Worker
  const settings = {
    maxRetries: overrides.maxRetries ?? worker.maxRetries ?? 0,
    retryDelay: overrides.retryDelay ?? worker.retryDelay ?? 0,
    grabFor: overrides.grabFor ?? worker.grabFor ?? DEFAULT_GRAB_FOR,
    setJobStatus: overrides.setJobStatus ?? worker.setJobStatus ?? false,
    maxRunning: overrides.maxRunning ?? worker.maxRunning ?? 0,
    serializer: overrides.serializer ?? worker.serializer ?? serializer,
  }
  for (const key of ['maxRetries', 'retryDelay', 'grabFor', 'maxRunning'] as const) {
    const value = settings[key]
    if (typeof value === 'number' && !(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new WorkerError(`${where}: ${key}: expected a number from 0, got ${value}`)
  }
  if (!SERIALIZERS.includes(settings.serializer))
    throw new WorkerError(
      `${where}: serializer: expected json, msgpack or none, got ${describe(settings.serializer)}`,
    )
  return {...settings, work: job => worker.work(job)}
}

/** How a job ended. */
export interface Ran {
  /** As its worker left it. */
  job: RunningJob
  /** `died`: a hook at deserialize or preWork has failed, which in Qudo is the end of the worker. */
  outcome: Exclude<Outcome, {kind: 'released'}>
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

function ran(job: RunningJob, outcome: End, {hooks}: Extensions): Ran {
  if (outcome.kind === 'died' || !hooks.has('postWork')) return {job, outcome, afterwards: null}
  return {job, outcome, afterwards: () => hooks.run('postWork', job.ended(outcome))}
}

type End = Exclude<Outcome, {kind: 'released'}>
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
  const retryIn = outcome.kind === 'failed' ? outcome.retryIn : null
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
    if (isThenable(working)) await working
  } catch (error) {
    if (job.abortReason === null) {
      // A hook's own failure, not one of an enqueue within work()
      if (error instanceof HookError && (error.point === 'deserialize' || error.point === 'preWork')) {
        job.thrown = error
        return ran(job, {kind: 'died', how: messageOf(error)}, extensions)
      }
      return ran(job, failure(worker, job, error), extensions)
    }
  }
  if (job.abortReason !== null) return ran(job, {kind: 'aborted', reason: job.abortReason}, extensions)
  if (job.replacements === null) return ran(job, COMPLETED, extensions)
  try {
    const jobs = await replacementJobs(job.replacements, extensions)
    return ran(job, {kind: 'replaced', jobs, retryIn: nextTry(worker, job)}, extensions)
  } catch (error) {
    return ran(job, failure(worker, job, error), extensions)
  }
}

/** Seconds until this job is due again if it fails now, null if no retries are left. */
export function nextTry(worker: ReadyWorker, job: Job): number | null {
  if (job.retryCnt >= worker.maxRetries) return null
  const delay = typeof worker.retryDelay === 'function' ? worker.retryDelay(job) : worker.retryDelay
  if (typeof delay === 'number' && delay >= 0 && delay < Number.POSITIVE_INFINITY)
    return retryIn(worker.maxRetries, job.retryCnt, delay)
  throw new WorkerError(`retryDelay: expected seconds from 0, got ${describe(delay)}`)
}

const NO_CONTEXT: Readonly<Record<string, string>> = Object.freeze({})

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
  readonly #stop: Pick<AbortController, 'signal'>
  readonly #plugins: PluginSet
  #isDecoded = false
  arg: unknown = null
  mistake: Error | null = null
  /** By work, or what came before it. */
  thrown: unknown = undefined
  abortReason: string | null = null
  replacements: Replacement[] | null = null

  /** @param stop where its signal comes from, which is made when someone asks for it: few jobs do */
  constructor(row: JobRow, stop: Pick<AbortController, 'signal'>, plugins: PluginSet) {
    this.id = row.id
    if (row.db !== undefined) this.db = row.db
    this.func = row.func
    this.uniqkey = row.uniqkey
    this.retryCnt = row.retryCnt
    this.priority = row.priority
    this.grabbedUntil = row.grabbedUntil
    this.argOrigin = row.arg
    this.#stop = stop
    this.context = row.context === undefined ? NO_CONTEXT : JSON.parse(row.context)
    this.#plugins = plugins
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Once: what is wrong with the argument is `mistake` then. @returns a promise where it takes time */
  decode(serializer: SerializerName): Promise<void> | null {
    if (this.#isDecoded) return null
    this.#isDecoded = true
    if (serializer === 'msgpack') return this.#decodeLater(serializer)
    try {
      this.arg = decodeNow(this.argOrigin, serializer)
    } catch (error) {
      this.mistake = error as Error
    }
    return null
  }

  async #decodeLater(serializer: SerializerName): Promise<void> {
    try {
      this.arg = await decodeArg(this.argOrigin, serializer)
    } catch (error) {
      this.mistake = error as Error
    }
  }

  abort(reason: string): never {
    this.abortReason = String(reason) || 'aborted'
    throw new AbortedJob(this.abortReason)
  }

  replace(...jobs: Replacement[]): void {
    this.replacements = [...(this.replacements ?? []), ...jobs]
  }

  plugin<Name extends string>(name: Name): PluginOf<Name> {
    return this.#plugins.get(name, this)
  }

  /** As postWork gets to see it. */
  ended(outcome: Exclude<Outcome, {kind: 'died' | 'released'}>): EndedJob {
    const {message, retryIn} = endOf(outcome, this.thrown)
    return Object.assign(this, {outcome: outcome.kind, message, retryIn})
  }
}

/** What abort() throws to leave work(); the job counts as aborted even if work() swallows it. */
class AbortedJob extends Error {}

/** The outcome of what was thrown where no work() could catch it: in a timer, in a promise that nobody awaits. */
export function strayOutcome(error: unknown, retryIn: number | null): Outcome {
  if (error instanceof AbortedJob) return {kind: 'aborted', reason: error.message}
  return {kind: 'failed', message: messageOf(error), retryIn}
}

function failure(worker: ReadyWorker, job: RunningJob, error: unknown): Extract<Outcome, {kind: 'failed'}> {
  job.thrown = error
  const message = messageOf(error)
  try {
    return {kind: 'failed', message, retryIn: nextTry(worker, job)}
  } catch (delayError) {
    return {kind: 'failed', message: `${message}\n${messageOf(delayError)}`, retryIn: null}
  }
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
