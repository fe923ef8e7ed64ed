/**
 * JobQueue, the client: what an application, and every command, does with a queue. Qudo::Manager's part.
 */
import {resolveSettings, type Settings} from './config.ts'
import {ClosedError, NotFoundError, UsageError} from './errors.ts'
import type {
  EnqueuedJob,
  ExceptionRow,
  FuncCounts,
  FuncTimes,
  JobState,
  ListedJob,
  NewJob,
  StatusRow,
} from './job.ts'
import {ALL_FUNCS} from './job.ts'
import {checkFunc, checkPriority, checkUniqkey} from './names.ts'
import {type RetryChoice, type RetryOutcome, retryMany} from './retries.ts'
import {encodeJson, encodeMessagePack, type SerializerName, textOrBytes} from './serializers.ts'
import {type Stats, statsOf} from './stats.ts'
import {addressText} from './store/address.ts'
import {type OpenOptions, openStores, prepareStore} from './store/open.ts'
import type {Preparation, Store} from './store/store.ts'

export interface QueueOptions extends OpenOptions {
  /** A database as --db takes it. Default: JOBQ_DB, the configuration's, `$XDG_DATA_HOME/jobq/jobq.db`. */
  db?: string | readonly string[] | undefined
  /** A configuration file. Default: JOBQ_CONFIG, else jobq.config.* in this folder or one above. */
  config?: string | undefined
}

export interface EnqueueOptions {
  /** Anything JSON holds; for the serializer 'none', text or bytes. Default null. */
  arg?: unknown
  /** Default 'json'. */
  serializer?: SerializerName
  /** Refused while another job of this function with this key is waiting. Default none. */
  uniqkey?: string | undefined
  /** 0 … 4294967295, larger is sooner. Default 0. */
  priority?: number
  /** Seconds from now. Default 0. */
  delay?: number
  /** A time, instead of a delay. */
  runAfter?: Date
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

export class JobQueue {
  readonly #store: Store
  readonly settings: Settings
  #closed = false

  private constructor(store: Store, settings: Settings) {
    this.#store = store
    this.settings = settings
  }

  /**
   * Opens the queue. A SQLite file and its schema are made on first use.
   * @throws UsageError, ConfigError, StoreError
   */
  static async open(options: QueueOptions = {}): Promise<JobQueue> {
    const db = typeof options.db === 'string' ? [options.db] : options.db
    const settings = await resolveSettings({db, config: options.config})
    return new JobQueue(await openStores(settings.databases, options), settings)
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

  /** The address as --db takes it, password included: for the environment of executables, never for a message. */
  get address(): string {
    return this.settings.databases.map(addressText).join(',')
  }

  /** For the dispatcher, which settles and grabs on the same connection. */
  get store(): Store {
    return this.#open()
  }

  /**
   * Stores a job: when this resolves, it is on disk.
   * @throws DuplicateJobError, ArgumentError, UsageError, StoreError
   */
  async enqueue(func: string, options: EnqueueOptions = {}): Promise<EnqueuedJob> {
    return this.add(await newJob(func, options))
  }

  /** Stores a job whose argument is in its stored form already. @throws DuplicateJobError, StoreError */
  add(job: NewJob): Promise<EnqueuedJob> {
    return this.#open().enqueue(job)
  }

  /**
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
  retry(exceptionId: number, options: RetryOptions & {db?: number} = {}): Promise<EnqueuedJob> {
    const {priority = 0, due = {in: 0}, db} = options
    return this.#open().retry(exceptionId, {priority, due}, db)
  }

  /**
   * Retries the exceptions of these ids, or all that were not retried yet, oldest first: each in a transaction of its
   * own, as they are asked for. What is refused is told. With `dryRun` nothing is changed.
   * @throws NotFoundError if the function has never been enqueued here
   */
  retryMany(
    choice: RetryChoice,
    options: RetryOptions & {dryRun?: boolean} = {},
  ): AsyncGenerator<RetryOutcome> {
    const {priority = 0, due = {in: 0}, dryRun = false} = options
    return this.#each('ids' in choice ? {} : choice, store =>
      retryMany(store, choice, {priority, due}, dryRun),
    )
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

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
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

  #open(): Store {
    if (this.#closed)
      throw new ClosedError('the queue is closed', {hint: 'open it again with JobQueue.open()'})
    return this.#store
  }
}

/** Checks what an application gave and makes the job of it that is stored. */
export async function newJob(func: string, options: EnqueueOptions): Promise<NewJob> {
  const known = ['arg', 'serializer', 'uniqkey', 'priority', 'delay', 'runAfter']
  const unknown = Object.keys(options).find(key => !known.includes(key))
  if (unknown)
    throw new UsageError(`enqueue: unknown option ${unknown}`, {hint: `known are ${known.join(', ')}`})
  return {
    func: checkFunc(func),
    arg: await storedArg(options.arg, options.serializer ?? 'json'),
    uniqkey: options.uniqkey === undefined ? null : checkUniqkey(options.uniqkey),
    priority: checkPriority(options.priority ?? 0),
    due: due(options),
  }
}

async function storedArg(arg: unknown, serializer: SerializerName): Promise<NewJob['arg']> {
  if (arg === undefined || (arg === null && serializer === 'none')) return null
  if (serializer === 'json') return encodeJson(arg, 'arg')
  if (serializer === 'msgpack') return encodeMessagePack(arg, 'arg')
  if (typeof arg === 'string' || arg instanceof Uint8Array) return textOrBytes(arg)
  throw new UsageError(`arg: expected text or bytes for the serializer 'none', got ${typeof arg}`)
}

function due({delay, runAfter}: EnqueueOptions): NewJob['due'] {
  if (delay !== undefined && runAfter !== undefined)
    throw new UsageError('expected delay or runAfter, got both', {hint: 'give one of them'})
  if (runAfter !== undefined) {
    const seconds = Math.floor(runAfter.getTime() / 1000)
    if (!(seconds >= 0)) throw new UsageError(`runAfter: expected a Date after 1970, got ${runAfter}`)
    return {at: seconds}
  }
  if (delay === undefined) return {in: 0}
  if (!Number.isFinite(delay) || delay < 0)
    throw new UsageError(`delay: expected seconds from 0, got ${delay}`)
  return {in: Math.ceil(delay)}
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
