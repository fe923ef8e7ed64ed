/**
 * An application's own functions as executors: each job runs on this process's event loop, at most `concurrency` of them
 * at once.
 */
import type {JobRow} from '../job.ts'
import type {Support} from '../support.ts'
import {type Ended, type Executors, type Room, type Run, type RunSettings, STOP_GRACE_MS} from './executor.ts'
import {messageOf, nextTry, type Ran, type ReadyWorker, RunningJob, runJob} from './run-job.ts'

/** How long jobs may follow each other without the application's own events getting their turn. */
const ROUND_MS = 2
const NO_FUNCS: ReadonlySet<string> = new Set()

export class InlineExecutors implements Executors {
  readonly failure = null
  readonly #workers: ReadonlyMap<string, ReadyWorker>
  readonly #funcs: readonly string[]
  readonly #maxRunning: ReadonlyMap<string, number>
  readonly #concurrency: number
  readonly #support: Support
  readonly #onTrouble: (message: string) => void
  readonly #runs = new Set<InlineRun>()
  /** postWork hooks of jobs whose end has been reported. */
  readonly #afterwards = new Set<Promise<void>>()
  /** When this round of the event loop began, as far as is known, by performance.now(). */
  #roundSince = 0

  constructor(
    workers: ReadonlyMap<string, ReadyWorker>,
    concurrency: number,
    support: Support,
    onTrouble: (message: string) => void,
  ) {
    this.#workers = workers
    this.#support = support
    this.#onTrouble = onTrouble
    this.#funcs = [...workers.keys()]
    this.#maxRunning = new Map(
      [...workers].flatMap(([func, {maxRunning}]) => (maxRunning > 0 ? [[func, maxRunning]] : [])),
    )
    this.#concurrency = concurrency
  }

  room(ahead: number): Room {
    const limit = this.#concurrency - this.#runs.size + ahead
    return {funcs: this.#funcs, held: NO_FUNCS, maxRunning: this.#maxRunning, limit, isWhole: true}
  }

  prospect(): 'now' | 'soon' {
    return this.#runs.size < this.#concurrency ? 'now' : 'soon'
  }

  start(job: JobRow, onEnd: (ended: Ended) => void): Run {
    const run = new InlineRun(this.#workers.get(job.func)!, job, this.#support, (ended, afterwards) => {
      this.#runs.delete(run)
      onEnd(ended)
      if (afterwards) this.#attend(afterwards)
    })
    this.#runs.add(run)
    if (performance.now() - this.#roundSince < ROUND_MS) run.begin()
    else
      setImmediate(() => {
        this.#roundSince = performance.now()
        run.begin()
      })
    return run
  }

  /** Tells what still runs to stop, and waits for the hooks of what has ended. */
  async close(): Promise<void> {
    for (const run of this.#runs) run.stop()
    await Promise.all(this.#afterwards)
  }

  #attend(afterwards: () => Promise<void>): void {
    const done = afterwards()
      .catch(error => this.#onTrouble(messageOf(error)))
      .finally(() => this.#afterwards.delete(done))
    this.#afterwards.add(done)
  }
}

type OnEnd = (ended: Ended, afterwards: Ran['afterwards']) => void

class InlineRun implements Run {
  readonly settings: RunSettings
  readonly #worker: ReadyWorker
  readonly #row: JobRow
  readonly #support: Support
  readonly #onEnd: OnEnd
  readonly #stop = new AbortController()
  #patience: NodeJS.Timeout | undefined
  #hasEnded = false

  constructor(worker: ReadyWorker, row: JobRow, support: Support, onEnd: OnEnd) {
    this.#worker = worker
    this.#row = row
    this.#support = support
    this.#onEnd = onEnd
    const {grabFor, setJobStatus} = worker
    this.settings = {grabFor, setJobStatus, retryIn: () => this.#retryIn()}
  }

  begin(): void {
    void runJob(this.#worker, this.#row, this.#stop.signal, this.#support).then(({outcome, afterwards}) =>
      this.#end({kind: 'finished', outcome}, afterwards),
    )
  }

  /** Its signal aborts. It is waited for no longer than STOP_GRACE_MS: there is nothing that could end it. */
  stop(): void {
    this.#patience = setTimeout(() => this.#end({kind: 'abandoned'}), STOP_GRACE_MS)
    this.#stop.abort(new Error('the job was told to stop'))
  }

  #end(ended: Ended, afterwards: Ran['afterwards'] = null): void {
    if (this.#hasEnded) return // it was given up before
    this.#hasEnded = true
    clearTimeout(this.#patience)
    this.#onEnd(ended, afterwards)
  }

  #retryIn(): number | null {
    try {
      return nextTry(this.#worker, new RunningJob(this.#row, this.#stop.signal, this.#support.plugins))
    } catch {
      return null
    }
  }
}
