/**
 * For an application's own tests: `import {openTestQueue} from 'jobq/testing'`.
 *
 * A queue in memory, with a clock that stands still until it is set, and jobs that are run by hand: nothing happens by
 * itself, so that a test has nothing to wait for, and leaves no file, no timer and no process behind. All else is the real
 * thing: the same store, the same hooks and plugins, the same run of a worker.
 *
 * @module jobq/testing
 */
import './jobs/node-version.ts'
import {ALL} from './client/options.ts'
import {JobQueue} from './client/queue.ts'
import {loadExtensions, type SupportOptions} from './hooks/extensions.ts'
import type {AttemptEnd} from './hooks/plugins.ts'
import {monotonic} from './jobs/clock.ts'
import {JobStoppedError, NotFoundError, type StopReason, UsageError} from './jobs/errors.ts'
import type {FuncName, Functions} from './jobs/functions.ts'
import {here} from './jobs/here.ts'
import type {JobState, ListedJob, RowRef} from './jobs/job.ts'
import {checkOptions, is} from './jobs/options.ts'
import {decodeArg} from './jobs/serializers/decode.ts'
import {type SerializerName, textOrBytes} from './jobs/serializers/serializers.ts'
import type {Job, Worker} from './jobs/worker.ts'
import {parseAddress} from './store/address.ts'
import {openSqlite} from './store/sqlite/store.ts'
import type {SettleResult, Store} from './store/store.ts'
import {Attempt} from './work/attempt.ts'
import {tellBatches} from './work/claims/batches.ts'
import {replacedEnd, Together} from './work/claims/together.ts'
import {coalescing, type Ended, sharing} from './work/executors/executor.ts'
import {type ReadyWorker, readyWorker} from './work/executors/ready-worker.ts'
import {nextTry, runJob} from './work/executors/run-job.ts'
import {type End, endOf, RunningJob} from './work/executors/running-job.ts'
import {type InlineWorkers, quietLog} from './work/inline.ts'
import {Orders} from './work/orders.ts'
import {Outcomes} from './work/outcomes.ts'
import {Shares} from './work/shares.ts'
import {StoreRetry} from './work/store-retry.ts'

/** What a test's queue has. No configuration file is read. */
export interface TestQueueOptions<F = Functions> extends SupportOptions {
  /** Who works which function. Default: no one. */
  workers?: InlineWorkers<F> | undefined
  /** When it is, to begin with. Default: now. */
  now?: Date | undefined
}

/** How one attempt at a job went. */
export interface TestRun {
  id: number
  func: string
  /** As the worker got it; null if it could not be decoded. */
  arg: unknown
  /** How many attempts there were before this one. */
  retryCnt: number
  /** The ids of those that were worked with it, where its worker says `coalesce`: they have ended as it has. */
  others: number[]
  outcome: AttemptEnd['outcome']
  /** Why it did not get done, as exception_log has it; else empty. */
  message: string
  /** What was thrown, if that is why. */
  error: unknown
  /** Seconds until it is tried again, null if it is not. */
  retryIn: number | null
}

/** A job that is in the queue. */
export interface TestJob {
  id: number
  func: string
  /** Decoded as its worker would have it; what that can't decode is text, or bytes. */
  arg: unknown
  uniqkey: string | null
  priority: number
  runAfter: Date
  retryCnt: number
  state: JobState
}

/** Longer than any test means to run jobs. */
const MAX_RUNS = 10_000
const LEASE_SECONDS = 3600

/**
 * Opens a queue of a test's own, in memory.
 * @typeParam F functions and the types of their arguments, as of JobQueue
 * @throws UsageError, WorkerError, PluginError
 */
export async function openTestQueue<F = Functions>(options: TestQueueOptions<F> = {}): Promise<TestQueue<F>> {
  const {workers = {}, now, ...around} = options
  checkOptions(options, 'openTestQueue', {
    ...{workers: is.object, now: is.date, serializer: is.serializer},
    ...{hooks: is.array, plugins: is.object, hookTimeout: is.seconds},
  })
  const ready = readyWorkers(workers, around.serializer)
  const clock = new TestClock(now ?? new Date())
  const settings = {
    databases: [parseAddress(':memory:')],
    config: {},
    file: null,
    isNamed: false,
    folder: here(),
  }
  const extensions = await loadExtensions({}, undefined, around)
  const store = await openSqlite(':memory:', {clock: () => clock.now.getTime(), durable: false})
  return new TestQueue<F>(await JobQueue.over<F>(store, settings, extensions), clock, ready)
}

/** What the time is, for a test's queue: it stands still until it is told to go on. */
export class TestClock {
  #now: number
  /** @internal Called when it has moved. */
  readonly moved = new Set<() => void>()

  constructor(now: Date) {
    this.#now = now.getTime()
  }

  /** A copy: changing it changes nothing. */
  get now(): Date {
    return new Date(this.#now)
  }

  /** @throws UsageError for what is no time */
  set(now: Date): void {
    is.date(now, 'clock.set')
    this.#move(now.getTime())
  }

  /** @throws UsageError for what are no seconds */
  advance(seconds: number): void {
    is.seconds(seconds, 'clock.advance')
    this.#move(this.#now + seconds * 1000)
  }

  #move(now: number): void {
    this.#now = now
    for (const tell of this.moved) tell()
  }
}

/** A queue in memory, to be looked at and worked by hand. */
export class TestQueue<F = Functions> implements AsyncDisposable {
  /** The queue: to be given to the code that is tested. */
  readonly queue: JobQueue<F>
  readonly clock: TestClock
  readonly #workers: ReadonlyMap<string, ReadyWorker>
  readonly #outcomes: Outcomes

  /** @internal */
  constructor(queue: JobQueue<F>, clock: TestClock, workers: ReadonlyMap<string, ReadyWorker>) {
    this.queue = queue
    this.clock = clock
    this.#workers = workers
    this.#outcomes = new Outcomes(
      quietLog(() => {}),
      queue.events,
      {keepsFailures: false},
    )
  }

  /** What is in the queue, in the order in which it would be worked. */
  async jobs(func?: FuncName<F>): Promise<TestJob[]> {
    const rows = await this.queue.list({func, limit: ALL})
    return Promise.all(rows.map(row => this.#shown(row)))
  }

  /**
   * Works the job that is next, of any of the functions that there are workers for, or of one.
   * @returns null if none is ready
   * @throws UsageError if there is no worker, and what a postWork hook throws
   */
  async runOne(func?: FuncName<F>): Promise<TestRun | null> {
    const funcs = func === undefined ? [...this.#workers.keys()] : [func]
    for (const each of funcs) this.#workerOf(each)
    if (funcs.length === 0) throw noWorker('any function')
    const shares = this.#shares
    try {
      for (;;) {
        while (shares.isDue) await shares.see()
        await this.#seeTo()
        const want = {funcs: shares.open(funcs), limit: 1, lease: LEASE_SECONDS}
        const {jobs, now} = await this.#store.turn([], want)
        const {admitted, hasMore} = await shares.pass(jobs)
        const [job] = admitted
        if (!job && !hasMore) return null
        if (!job) continue // what is behind it
        this.#outcomes.grabbed(job, now)
        const attempt = new Attempt(job, monotonic())
        if ((await tellBatches(this.#store, [job])).length === 0) {
          const [joined] = await this.#together.join([attempt])
          return await this.#run(joined!, now, this.#workerOf(job.func))
        }
        attempt.outcome = {kind: 'completed'} // nothing of its batch has failed
        await this.#settled(attempt, this.clock.now.getTime())
      }
    } finally {
      shares.stop()
    }
  }

  /**
   * Works this very job, whatever stands before it, paused or not, and by itself.
   * @param worker default: the function's
   * @throws NotFoundError if it is not in the queue, UsageError if it is not ready, and as runOne
   */
  async runJob<Arg = unknown>(
    {id}: RowRef,
    worker?: Worker<Arg> | ((job: Job<Arg>) => unknown),
  ): Promise<TestRun> {
    const found = await this.queue.find(id)
    if (!found)
      throw new NotFoundError(`job ${id} is not in the queue`, {hint: 'it may have been worked before'})
    const ready = worker
      ? readyOne(worker as Worker | Worker['work'], 'worker', this.queue.extensions.serializer)
      : this.#workerOf(found.func)
    await this.#seeTo()
    const {
      jobs: [job],
      now,
    } = await this.#store.claim([{id}], LEASE_SECONDS)
    if (job) {
      this.#outcomes.grabbed(job, now)
      await tellBatches(this.#store, [job])
      return this.#run(new Attempt(job, monotonic()), now, ready)
    }
    const {state, runAfter} = found
    throw new UsageError(`job ${id}: expected one that is ready, got one that is ${state}`, {
      hint: state === 'delayed' ? `clock.advance(${runAfter - now}) makes it ready` : '',
    })
  }

  /**
   * Works all that is ready by the clock, and what becomes ready by that.
   * @throws UsageError if it finds no end, and as runOne
   */
  async drain(): Promise<TestRun[]> {
    const runs: TestRun[] = []
    for (let run = await this.runOne(); run; run = await this.runOne()) {
      runs.push(run)
      if (runs.length === MAX_RUNS)
        throw new UsageError(`drain: expected an end, got none after ${MAX_RUNS} jobs`, {
          hint: 'a job that replaces itself, or is retried at once and without end, does this',
        })
    }
    return runs
  }

  /** Closes the queue: all that was in it is gone. */
  close(): Promise<void> {
    return this.queue.close()
  }

  /** Closes it, at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #store(): Store {
    return this.queue.store
  }

  /** As a dispatcher does between its turns: what has expired leaves, and what waits for a job that has failed fails. */
  async #seeTo(): Promise<void> {
    for (let isMore = true; isMore; ) {
      const done = await this.#store.expire()
      this.#outcomes.expired(done.expired)
      isMore = done.isMore
    }
    for (let isMore = true; isMore; ) {
      const done = await this.#store.failAfter()
      this.#outcomes.buried(done.failed)
      isMore = done.isMore
    }
  }

  async #run(attempt: Attempt, now: number, worker: ReadyWorker): Promise<TestRun> {
    const {others} = attempt
    const {extensions} = this.queue
    const controller = new AbortController()
    const job = new RunningJob(attempt.taken, controller, extensions.plugins)
    const retryIn = (nth?: number) => nextTry(worker, nth === undefined ? job : job.other(nth))
    const stop = (why: StopReason) => {
      job.isCancelled = why === 'cancelled'
      controller.abort(new JobStoppedError(why))
    }
    attempt.startedAt = now
    attempt.run = {settings: {...worker, retryIn}, pid: process.pid, stop}
    for (const [nth, other] of others.entries()) other.startWith(attempt, nth)
    for (const each of [attempt, ...others]) this.#outcomes.started(each)
    const since = this.clock.now.getTime()
    const unwatch = this.#watched(attempt, since)
    const ran = await runJob(worker, job, extensions).finally(unwatch)
    const ended: Ended = {kind: 'finished', outcome: ran.outcome}
    attempt.end(ended, 0)
    const result = await this.#settled(attempt, since)
    const {kind} = attempt.outcome
    for (const other of others) {
      other.endWith(attempt, kind === 'replaced' ? replacedEnd(attempt, result) : ended, 0)
      await this.#settled(other, since)
    }
    await this.#seeTo()
    await ran.afterwards?.()
    return describeRun(
      job,
      attempt.outcome as End, // a run that has ended is not given back
      result,
      others.map(({job}) => job.id),
    )
  }

  /** While it runs, as a dispatcher watches it: it is stopped when the clock passes its time, and when it is cancelled. */
  #watched(attempt: Attempt, since: number): () => void {
    const {clock} = this
    const orders = new Orders(this.#store, () => {})
    const obey = async () => {
      await orders.look()
      for (const each of await orders.hear('cancel', [attempt, ...attempt.others])) each.cancel()
    }
    const watch = this.#store.watch(() => void obey())
    const checkTime = () => {
      if (clock.now.getTime() - since > attempt.run!.settings.grabFor * 1000) attempt.stop('overrun')
    }
    clock.moved.add(checkTime)
    return () => {
      clock.moved.delete(checkTime)
      watch.close()
      orders.stop()
    }
  }

  async #settled(attempt: Attempt, since: number): Promise<SettleResult> {
    attempt.durationMs = this.clock.now.getTime() - since
    const result = await this.#settle(attempt)
    this.#outcomes.settled(attempt, result)
    return result
  }

  get #handled() {
    return [...this.#workers].map(([func, worker]) => ({...worker, func}))
  }

  get #surroundings() {
    const log = quietLog(() => {})
    return {store: this.#store, log, storeRetry: new StoreRetry(this.#store.name, false, log)}
  }

  /** Whom limits of what is scarce let start. It knows no time but the store's: it is made anew for each job. */
  get #shares(): Shares {
    const {store, log, storeRetry} = this.#surroundings
    const executors = {shares: sharing(this.#handled), handled: [...this.#workers.keys()]}
    return new Shares(store, storeRetry, executors, log, () => {})
  }

  /** Who finds others, as a dispatcher does. */
  get #together(): Together {
    return new Together({
      ...this.#surroundings,
      executors: {coalesced: coalescing(this.#handled)},
      orders: new Orders(this.#store, () => {}),
      onTaken: (job, now) => this.#outcomes.grabbed(job, now),
    })
  }

  async #settle(attempt: Attempt): Promise<SettleResult> {
    const {postponement} = attempt
    if (postponement) await this.#store.postpone([postponement])
    const {settled} = await this.#store.turn([attempt.settlement], {
      funcs: [],
      limit: 0,
      lease: LEASE_SECONDS,
    })
    return settled[0]!
  }

  #workerOf(func: string): ReadyWorker {
    const worker = this.#workers.get(func)
    if (!worker) throw noWorker(JSON.stringify(func))
    return worker
  }

  async #shown({
    id,
    func,
    uniqkey,
    priority,
    runAfter,
    retryCnt,
    state,
    arg: bytes,
  }: ListedJob): Promise<TestJob> {
    const serializer = this.#workers.get(func)?.serializer ?? this.queue.extensions.serializer
    const arg = await decodeArg(bytes, serializer).catch(() => bytes && textOrBytes(bytes))
    return {id, func, arg, uniqkey, priority, runAfter: new Date(runAfter * 1000), retryCnt, state}
  }
}

function describeRun(
  {id, func, arg, retryCnt, thrown}: RunningJob,
  outcome: End,
  {failed}: SettleResult,
  others: number[],
): TestRun {
  const end = endOf(outcome, thrown)
  const told = failed === undefined ? end : {...end, outcome: 'failed' as const, message: failed}
  return {id, func, arg, retryCnt, others, ...told}
}

function readyWorkers(workers: object, serializer: SerializerName | undefined): Map<string, ReadyWorker> {
  const given = Object.entries(workers).filter(([, worker]) => worker !== undefined)
  return new Map(given.map(([func, worker]) => [func, readyOne(worker, `workers.${func}`, serializer)]))
}

function readyOne(worker: unknown, where: string, serializer: SerializerName | undefined): ReadyWorker {
  return readyWorker(typeof worker === 'function' ? {work: worker} : worker, {}, where, {serializer})
}

function noWorker(what: string): UsageError {
  return new UsageError(`expected a worker for ${what}, got none`, {
    hint: 'write openTestQueue({workers: {…}})',
  })
}
