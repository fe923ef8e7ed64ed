/** A job as work() gets to see it, and what it says there of how it is to end. */
import type {EndedJob} from '../../hooks/hooks.ts'
import type {PluginSet} from '../../hooks/plugin-set.ts'
import type {AttemptEnd} from '../../hooks/plugins.ts'
import {UsageError} from '../../jobs/errors.ts'
import {type JobRow, MAX_UINT32, type Progress, type RunOutcome, type TakenJob} from '../../jobs/job.ts'
import type {PluginOf} from '../../jobs/plugins.ts'
import {decodeArg, decodeNow} from '../../jobs/serializers/decode.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {givenContext, keepsResult} from '../../jobs/side-tables/keep-result.ts'
import {progressOf} from '../../jobs/side-tables/progress.ts'
import {DURATION_FORMS, parseDuration} from '../../jobs/time.ts'
import type {Job, OtherJob, Replacement} from '../../jobs/worker.ts'
import {described} from './thrown.ts'

/** Where decline() names no delay: less would have whoever is idle take it again and again. */
const DECLINED_SECONDS = 10

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

/** How a run ends; a `released` job has not run to an end. */
export type End = Exclude<RunOutcome, {kind: 'released'}>

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

type Left = Extract<RunOutcome, {kind: 'aborted' | 'declined'}>

/** What abort() and decline() throw to leave work(). */
export class LeftJob extends Error {
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
    `decline: expected seconds from 0 to ${MAX_UINT32}, or ${DURATION_FORMS}, got ${described(delay)}`,
  )
}
