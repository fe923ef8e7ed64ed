/** One run of a job in a pool's child, as the dispatcher follows it: from when it is handed over until its place is free. */
import type {StopReason} from '../../../jobs/errors.ts'
import type {Progress, TakenJob} from '../../../jobs/job.ts'
import {type Ended, type Run, type RunSettings, retryIn} from '../executor.ts'
import type {FromChild, LoadedWorker} from '../protocol.ts'
import {RunOutput} from '../run-output.ts'

const NONE: readonly never[] = []

export class ChildRun implements Run, RunSettings {
  readonly number: number
  readonly job: TakenJob
  /** When it was started, by monotonic(). */
  readonly since: number
  readonly pid: number | null
  readonly output: RunOutput
  readonly grabFor: number
  readonly setJobStatus: boolean
  readonly keepResult: number
  /** What it would be after a failure now; of a function only the child can say that, and does. */
  #nextTry: number | null
  /** The same of those that are worked with it. */
  #nextTries: readonly (number | null)[] = NONE
  isStopped = false
  /** It has been told so: its process is not kept from hearing that. */
  wasTold = false
  /** Its end has been heard. */
  hasSaidEnd = false
  /** Its end has been told; its place is taken until the hooks behind it are done. */
  hasEnded = false
  /** Heard before the end has been dealt with: that waits until all that the job printed was read. */
  early: Extract<FromChild, {kind: 'free'}> | null = null
  callOffKill = (): void => {}
  readonly #onStop: (run: ChildRun, why: StopReason) => void
  readonly #onEnd: (ended: Ended) => void
  readonly onProgress: (progress: Progress) => void

  constructor(
    {number, job, since, pid}: Pick<ChildRun, 'number' | 'job' | 'since' | 'pid'>,
    {maxRetries, retryDelay, grabFor, setJobStatus, keepOutput, keepResult}: LoadedWorker,
    onStop: (run: ChildRun, why: StopReason) => void,
    {onEnd, onProgress}: {onEnd: (ended: Ended) => void; onProgress: (progress: Progress) => void},
  ) {
    this.number = number
    this.job = job
    this.since = since
    this.pid = pid
    this.grabFor = grabFor
    this.setJobStatus = setJobStatus
    this.keepResult = keepResult
    this.#nextTry = retryDelay === null ? null : retryIn(maxRetries, job.retryCnt, retryDelay)
    if (job.others && retryDelay !== null)
      this.#nextTries = job.others.map(other => retryIn(maxRetries, other.retryCnt, retryDelay))
    this.output = new RunOutput(keepOutput)
    this.#onStop = onStop
    this.#onEnd = onEnd
    this.onProgress = onProgress
  }

  get settings(): RunSettings {
    return this
  }

  retryIn(nth?: number): number | null {
    return nth === undefined ? this.#nextTry : (this.#nextTries[nth] ?? null)
  }

  /** What the child says of it. */
  hearRetry({retryIn, others}: Extract<FromChild, {kind: 'retry'}>): void {
    this.#nextTry = retryIn
    this.#nextTries = others ?? NONE
  }

  stop(why: StopReason): void {
    this.isStopped = true
    this.#onStop(this, why)
  }

  end(ended: Ended): void {
    this.hasEnded = true
    this.callOffKill()
    this.#onEnd(ended)
  }
}
