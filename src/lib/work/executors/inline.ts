/**
 * An application's own functions as executors: each job runs on this process's event loop, at most `concurrency` of them
 * at once.
 */

import type {Extensions} from '../../hooks/extensions.ts'
import {monotonic} from '../../jobs/clock.ts'
import {JobStoppedError, type StopReason} from '../../jobs/errors.ts'
import type {Progress, TakenJob} from '../../jobs/job.ts'
import {
  type Coalescing,
  coalescing,
  type Ended,
  type Executors,
  limited,
  type Prospect,
  type Room,
  type Run,
  type RunSettings,
  STOP_GRACE_MS,
  sharing,
} from './executor.ts'
import type {ReadyWorker} from './ready-worker.ts'
import {nextTry, type Ran, runJob} from './run-job.ts'
import {RunningJob} from './running-job.ts'
import {messageOf} from './thrown.ts'

/** How long jobs may follow each other without the application's own events getting their turn. */
const ROUND_MS = 2

export class InlineExecutors implements Executors {
  readonly isPrompt = true
  readonly failure = null
  readonly #workers: ReadonlyMap<string, ReadyWorker>
  readonly handled: readonly string[]
  readonly shares: Executors['shares']
  readonly #maxRunning: ReadonlyMap<string, number>
  readonly coalesced: ReadonlyMap<string, Coalescing>
  readonly #concurrency: number
  readonly #extensions: Extensions
  readonly #onTrouble: (message: string) => void
  readonly #runs = new Set<InlineRun>()
  /** postWork hooks of jobs whose end has been reported. */
  readonly #afterwards = new Set<Promise<void>>()
  /** When this round of the event loop began, as far as is known, by monotonic(). */
  #roundSince = 0

  constructor(
    workers: ReadonlyMap<string, ReadyWorker>,
    concurrency: number,
    extensions: Extensions,
    onTrouble: (message: string) => void,
  ) {
    this.#workers = workers
    this.#extensions = extensions
    this.#onTrouble = onTrouble
    this.handled = [...workers.keys()]
    this.shares = sharing([...workers].map(([func, {shares}]) => ({func, shares})))
    this.#maxRunning = limited([...workers].map(([func, {maxRunning}]) => ({func, maxRunning})))
    this.coalesced = coalescing([...workers].map(([func, worker]) => ({...worker, func})))
    this.#concurrency = concurrency
  }

  room(ahead: number): Room {
    const limit = this.#concurrency - this.#runs.size + ahead
    return {funcs: this.handled, maxRunning: this.#maxRunning, limit, isWhole: true}
  }

  prospect(): Prospect {
    return this.#runs.size < this.#concurrency ? 'now' : 'soon'
  }

  start(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run {
    const run = new InlineRun(
      this.#workers.get(job.func)!,
      job,
      this.#extensions,
      onProgress,
      (run, ended, afterwards) => {
        this.#runs.delete(run)
        onEnd(ended)
        if (afterwards) this.#attend(afterwards)
      },
    )
    this.#runs.add(run)
    if (since - this.#roundSince < ROUND_MS) run.begin()
    else setImmediate(this.#beginInNewRound, run)
    return run
  }

  /** Tells what still runs to stop, and waits for the hooks of what has ended. */
  async close(): Promise<void> {
    for (const run of this.#runs) run.stop('shutdown')
    await Promise.all(this.#afterwards)
  }

  readonly #beginInNewRound = (run: InlineRun): void => {
    this.#roundSince = monotonic()
    run.begin()
  }

  #attend(afterwards: () => Promise<void>): void {
    const done = afterwards()
      .catch(error => this.#onTrouble(messageOf(error)))
      .finally(() => this.#afterwards.delete(done))
    this.#afterwards.add(done)
  }
}

class InlineRun implements Run, RunSettings {
  readonly pid = process.pid
  readonly #worker: ReadyWorker
  readonly #extensions: Extensions
  readonly #onEnd: OnEnd
  readonly #stop = new AbortController()
  readonly #job: RunningJob
  #patience: NodeJS.Timeout | undefined
  #hasEnded = false

  constructor(
    worker: ReadyWorker,
    row: TakenJob,
    extensions: Extensions,
    onProgress: (progress: Progress) => void,
    onEnd: OnEnd,
  ) {
    this.#worker = worker
    this.#extensions = extensions
    this.#onEnd = onEnd
    this.#job = new RunningJob(row, this.#stop, extensions.plugins, said => {
      if (!this.#hasEnded) onProgress(said)
    })
  }

  get settings(): RunSettings {
    return this
  }

  get grabFor(): number {
    return this.#worker.grabFor
  }

  get setJobStatus(): boolean {
    return this.#worker.setJobStatus
  }

  get keepResult(): number {
    return this.#worker.keepResult
  }

  retryIn(nth?: number): number | null {
    return nextTry(this.#worker, nth === undefined ? this.#job : this.#job.other(nth))
  }

  begin(): void {
    void runJob(this.#worker, this.#job, this.#extensions).then(this.#ran)
  }

  readonly #ran = ({outcome, afterwards}: Ran): void => this.#end({kind: 'finished', outcome}, afterwards)

  /** Its signal aborts. It is waited for no longer than STOP_GRACE_MS: there is nothing that could end it. */
  stop(why: StopReason): void {
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => this.#end({kind: 'abandoned'}, null), STOP_GRACE_MS)
    this.#job.isCancelled = why === 'cancelled'
    this.#stop.abort(new JobStoppedError(why))
  }

  #end(ended: Ended, afterwards: Ran['afterwards']): void {
    if (this.#hasEnded) return // it was given up before
    this.#hasEnded = true
    clearTimeout(this.#patience)
    this.#onEnd(this, ended, afterwards)
  }
}

type OnEnd = (run: InlineRun, ended: Ended, afterwards: Ran['afterwards']) => void
