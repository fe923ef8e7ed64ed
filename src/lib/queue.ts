/**
 * JobQueue, the client: what an application, and every command, does with a queue. Qudo::Manager's part.
 */
import {resolveSettings, type Settings} from './config.ts'
import {ClosedError, NotFoundError, UsageError} from './errors.ts'
import {type EventName, Events, type JobqEvents} from './events.ts'
import type {FuncName, Functions} from './functions.ts'
import type {
  EnqueuedJob,
  ExceptionRow,
  FuncAttempts,
  FuncCounts,
  FuncTimes,
  JobState,
  ListedJob,
  NewJob,
  StatusRow,
} from './job.ts'
import {ALL_FUNCS} from './job.ts'
import {checkFunc} from './names.ts'
import {type EnqueueOptions, type EnqueueRest, newJob} from './new-job.ts'
import {type RetryChoice, type RetryOutcome, retryMany} from './retries.ts'
import {type Stats, statsOf} from './stats.ts'
import {addressText} from './store/address.ts'
import {type OpenOptions, openStores, prepareStore} from './store/open.ts'
import type {Preparation, Store} from './store/store.ts'
import type {Summary} from './work/accounts.ts'
import type {InlineOptions} from './work/inline.ts'

export interface QueueOptions extends OpenOptions {
  /** A database as --db takes it. Default: JOBQ_DB, the configuration's, `$XDG_DATA_HOME/jobq/jobq.db`. */
  db?: string | readonly string[] | undefined
  /** A configuration file. Default: JOBQ_CONFIG, else jobq.config.* in this folder or one above. */
  config?: string | undefined
}

export interface RetryOptions {
  /** Default 0, as Qudo's. */
  priority?: number
  /** Default: at once. */
  due?: NewJob['due']
}

export interface PageOptions {
  func?: string | undefined
  uniqkey?: string | undefined
  /** Default 10, as Qudo's; for what goes row by row, all. */
  limit?: number | undefined
  /** Default 0. */
  offset?: number | undefined
}

export interface JobOptions extends PageOptions {
  state?: JobState | undefined
}

export interface ExceptionOptions extends PageOptions {
  /** Only those not retried yet. */
  unretried?: boolean | undefined
  /** Only those at or after this time (Unix seconds), or of the last so many seconds. */
  since?: {at: number} | {ago: number} | undefined
}

/** @typeParam F functions and the types of their arguments; @see Functions */
export class JobQueue<F = Functions> {
  readonly #store: Store
  /** @internal */
  readonly settings: Settings
  /** @internal What happens to this queue's jobs is told here. */
  readonly events = new Events()
  /** The work that goes on here, and what ends it. */
  readonly #working = new Map<Promise<Summary>, AbortController>()
  #closed = false

  private constructor(store: Store, settings: Settings) {
    this.#store = store
    this.settings = settings
  }

  /**
   * Opens the queue. A SQLite file and its schema are made on first use.
   * @throws UsageError, ConfigError, StoreError
   */
  static async open<F = Functions>(options: QueueOptions = {}): Promise<JobQueue<F>> {
    const db = typeof options.db === 'string' ? [options.db] : options.db
    const settings = await resolveSettings({db, config: options.config})
    return new JobQueue<F>(await openStores(settings.databases, options), settings)
  }

  /**
   * Makes what is missing of the schema in every database, in one of something else, too; with `dryRun`, only tells it.
   * @throws UsageError, ConfigError, StoreError
   */
  static async init(options: QueueOptions & {dryRun?: boolean} = {}): Promise<Preparation[]> {
    const db = typeof options.db === 'string' ? [options.db] : options.db
    const {databases} = await resolveSettings({db, config: options.config})
    const done: Preparation[] = []
    for (const address of databases) done.push(await prepareStore(address, options.dryRun ?? false))
    return done
  }

  /** The database as a message may name it: no password. */
  get name(): string {
    return this.#store.name
  }

  /** @internal The address as --db takes it, password included: for the environment of executables, never a message. */
  get address(): string {
    return this.settings.databases.map(addressText).join(',')
  }

  /** @internal For the dispatcher, which settles and grabs on the same connection. */
  get store(): Store {
    return this.#open()
  }

  /** Calls the listener at each event of this name. What it throws is an uncaught exception. @see JobqEvents */
  on<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): this {
    this.events.on(name, listener)
    return this
  }

  /** Undoes `on`. */
  off<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): this {
    this.events.off(name, listener)
    return this
  }

  /**
   * Stores a job: when this resolves, it is on disk. Qudo's enqueue.
   * @throws DuplicateJobError, ArgumentError, UsageError, StoreError
   */
  enqueue<Name extends FuncName<F>>(func: Name, ...options: EnqueueRest<F, Name>): Promise<EnqueuedJob>
  async enqueue(func: string, options: EnqueueOptions = {}): Promise<EnqueuedJob> {
    return this.add(await newJob(func, options))
  }

  /** @internal Stores a job whose argument is in its stored form already. @throws DuplicateJobError, StoreError */
  async add(job: NewJob): Promise<EnqueuedJob> {
    const stored = await this.#open().enqueue(job)
    this.events.tell('enqueue', () => stored)
    return stored
  }

  /**
   * @internal
   * Stores all jobs in one transaction, or none; reads them once, in flat memory.
   * @returns how many
   * @throws DuplicateJobError, StoreError, or what the iterable throws
   */
  addMany(jobs: Iterable<NewJob>): Promise<number> {
    return this.#open().enqueueMany(jobs)
  }

  /** The waiting job of that id, null if there is none. @param db which of several databases, the first being 1 */
  find(id: number, db?: number): Promise<ListedJob | null> {
    return this.#open().find(id, db)
  }

  /** Waiting jobs: the running ones, the ready in the order of work, the delayed by their time. */
  list(options: JobOptions = {}): Promise<ListedJob[]> {
    return this.#open().list({...options, ...page(options)})
  }

  /** Failed attempts, newest first. Qudo's exception_list. */
  exceptions(options: ExceptionOptions = {}): Promise<ExceptionRow[]> {
    return this.#open().exceptions({...options, ...page(options)})
  }

  /** Finished jobs of functions that keep a status, newest first. Qudo's job_status_list. */
  statuses(options: PageOptions = {}): Promise<StatusRow[]> {
    return this.#open().statuses({...options, ...page(options)})
  }

  /**
   * As list, exceptions and statuses, but row by row in flat memory, and by default all of them.
   * @throws NotFoundError if the function has never been enqueued here
   */
  eachJob(options: JobOptions = {}): AsyncGenerator<ListedJob> {
    return this.#each(options, store => store.eachJob({...options, ...page(options, ALL)}))
  }

  /** @see eachJob */
  eachException(options: ExceptionOptions = {}): AsyncGenerator<ExceptionRow> {
    return this.#each(options, store => store.eachException({...options, ...page(options, ALL)}))
  }

  /** @see eachJob */
  eachStatus(options: PageOptions = {}): AsyncGenerator<StatusRow> {
    return this.#each(options, store => store.eachStatus({...options, ...page(options, ALL)}))
  }

  /**
   * Enqueues a failed job again and marks its exception retried, in one transaction. Qudo's enqueue_from_failed_job.
   * @param options.db which of several databases, the first being 1
   * @throws NotFoundError, AlreadyRetriedError, DuplicateJobError
   */
  async retry(exceptionId: number, options: RetryOptions & {db?: number} = {}): Promise<EnqueuedJob> {
    const {priority = 0, due = {in: 0}, db} = options
    const job = await this.#open().retry(exceptionId, {priority, due}, db)
    this.events.tell('retry', () => ({...job, exceptionId}))
    return job
  }

  /**
   * Retries the exceptions of these ids, or all that were not retried yet, oldest first: each in a transaction of its
   * own, as they are asked for. What is refused is told. With `dryRun` nothing is changed.
   * @throws NotFoundError if the function has never been enqueued here
   */
  async *retryMany(
    choice: RetryChoice,
    options: RetryOptions & {dryRun?: boolean} = {},
  ): AsyncGenerator<RetryOutcome> {
    const {priority = 0, due = {in: 0}, dryRun = false} = options
    const outcomes = this.#each('ids' in choice ? {} : choice, store =>
      retryMany(store, choice, {priority, due}, dryRun),
    )
    for await (const outcome of outcomes) {
      const {exception, job} = {job: null, ...outcome}
      if (job) this.events.tell('retry', () => ({...job, exceptionId: exception.id}))
      yield outcome
    }
  }

  /** Stops handing out jobs, of these functions or of all, on every host, until resumed. Enqueueing goes on. */
  pause(funcs: readonly string[] = []): Promise<void> {
    return this.#open().pause(funcs.length === 0 ? [ALL_FUNCS] : funcs.map(func => checkFunc(func)))
  }

  /** Lifts a pause: of these functions, or every one there is. @returns what was paused, '' for the whole queue */
  async resume(funcs: readonly string[] = []): Promise<string[]> {
    const store = this.#open()
    return store.resume(funcs.length === 0 ? await store.paused() : funcs)
  }

  /** What is paused: names of functions, '' for the whole queue. */
  paused(): Promise<string[]> {
    return this.#open().paused()
  }

  /** The names of all functions ever enqueued here. */
  funcs(): Promise<string[]> {
    return this.#open().funcs()
  }

  /** Counts by function. @throws NotFoundError if the function has never been enqueued here */
  async counts(func?: string): Promise<FuncCounts[]> {
    const counts = await this.#open().counts(func)
    if (func !== undefined && counts.length === 0) throw noSuchFunc(func)
    return counts
  }

  /** Counts and run times by function and in total. @throws NotFoundError as counts */
  async stats(func?: string): Promise<Stats> {
    return statsOf(await this.counts(func), await this.times(func), await this.paused())
  }

  /** Run times by function over the last hour, for those that keep a job status. */
  times(func?: string): Promise<FuncTimes[]> {
    return this.#open().times(func)
  }

  /** @internal How attempts have ended, by function, for those that keep a job status; all of it is read. */
  attempts(func?: string): Promise<FuncAttempts[]> {
    return this.#open().attempts(func)
  }

  /**
   * Works jobs in this process, by functions of the application's: as `jobq work` does it, but each job runs on this
   * event loop. Two at once on one queue are fine. A job that runs longer than its grabFor, or is to stop, has its signal
   * aborted; a second later it counts as failed, or is released, though a function that does not heed its signal goes
   * on: it can't be killed. One that keeps the event loop for more than a minute may find its job taken by someone else.
   * @returns what was done, when it is drained, or has been told to end by its signal or by `close`
   * @throws UsageError, WorkerError, StoreError
   */
  work(options: InlineOptions<F>): Promise<Summary> {
    const closing = new AbortController()
    const working = this.#work(options, closing.signal).finally(() => this.#working.delete(working))
    this.#working.set(working, closing)
    return working
  }

  /** Ends the work that goes on here, as its signal would, and then the queue: nothing can be called any more. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const closing of this.#working.values()) closing.abort()
    await Promise.allSettled(this.#working.keys())
    await this.#store.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async *#each<T>(
    {func}: {func?: string | undefined},
    rows: (store: Store) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const store = this.#open()
    if (func !== undefined && !(await store.funcs()).includes(func)) throw noSuchFunc(func)
    yield* rows(store)
  }

  /** On a connection of its own, so that a turn costs no fsync while an enqueue stays durable. */
  async #work(options: InlineOptions<F>, closing: AbortSignal): Promise<Summary> {
    const store = this.#open()
    const {config, databases} = this.settings
    const {workInline} = await import('./work/inline.ts')
    const openStore = async (onTrouble: (message: string) => void) => {
      if (databases.some(address => addressText(address) === ':memory:'))
        return {store, close: async () => {}}
      const own = await openStores(databases, {durable: false, onTrouble})
      return {store: own, close: () => own.close()}
    }
    return workInline(options, {config, events: this.events, openStore}, closing)
  }

  #open(): Store {
    if (this.#closed)
      throw new ClosedError('the queue is closed', {hint: 'open it again with JobQueue.open()'})
    return this.#store
  }
}

const ALL = Number.MAX_SAFE_INTEGER

function page({limit, offset = 0}: PageOptions, all = 10): {limit: number; offset: number} {
  for (const [name, value] of Object.entries({limit: limit ?? all, offset}))
    if (!Number.isSafeInteger(value) || value < 0)
      throw new UsageError(`${name}: expected a whole number from 0, got ${value}`)
  return {limit: limit ?? all, offset}
}

function noSuchFunc(func: string): NotFoundError {
  return new NotFoundError(`no job of ${JSON.stringify(func)} was ever enqueued here`, {
    hint: '`jobq stats` shows the functions there are',
  })
}
