/**
 * JobQueue, the client: what an application, and every command, does with a queue. Qudo::Manager's part.
 */

import {resolveSettings, type Settings} from '../config/settings.ts'
import {type EventName, Events, type JobqEvents} from '../hooks/events.ts'
import {type Extensions, loadExtensions} from '../hooks/extensions.ts'
import type {ToJob} from '../hooks/hooked-job.ts'
import type {EnqueueCall, Hooks} from '../hooks/hooks.ts'
import type {PluginContext} from '../hooks/plugins.ts'
import {isSqlite, type ServerConnection, type SqliteConnection} from '../jobs/connections.ts'
import {type PluginError, TransactionError} from '../jobs/errors.ts'
import type {FuncName, Functions} from '../jobs/functions.ts'
import type {EnqueuedJob, JobEnd, NewJob, RowRef} from '../jobs/job.ts'
import type {EnqueueOptions, EnqueueRest, JobRequest} from '../jobs/new-job.ts'
import type {PluginOf} from '../jobs/plugins.ts'
import {addressText} from '../store/address.ts'
import {openStores, prepareStore} from '../store/open.ts'
import type {Preparation, Store} from '../store/store.ts'
import type {InlineOptions, Working} from '../work/inline.ts'
import type {Summary} from '../work/outcomes.ts'
import type {At} from './bulk.ts'
import {Enqueuer} from './enqueue.ts'
import {Calls} from './in-flight.ts'
import {check, type InitOptions, type QueueOptions, type RetryOptions, rowOf} from './options.ts'
import {QueueView} from './reads.ts'
import {type RetryChoice, type RetryOutcome, retryMany} from './retry.ts'
import type {Waiting, WaitOptions} from './wait.ts'

/**
 * A queue: jobs are enqueued and worked, found, counted and waited for. Qudo::Manager's part.
 * @typeParam F functions and the types of their arguments: {@link Functions}
 */
export class JobQueue<F = Functions> extends QueueView<F> {
  readonly #extensions: Extensions
  readonly #enqueuer: Enqueuer
  readonly #onTrouble: QueueOptions['onTrouble']
  /** @internal */
  readonly settings: Settings
  /** @internal What happens to this queue's jobs is told here. */
  readonly events = new Events()
  /** @internal The work that goes on here. */
  readonly working: Set<Working> = new Set()
  #closed: Promise<void> | null = null
  #waiting: Waiting | null = null

  private constructor(
    store: Store,
    settings: Settings,
    extensions: Extensions,
    onTrouble: QueueOptions['onTrouble'],
  ) {
    super(new Calls(store), settings.databases.length)
    this.settings = settings
    this.#extensions = extensions
    this.#onTrouble = onTrouble
    this.#enqueuer = new Enqueuer(extensions, this.events)
  }

  /**
   * Opens the queue. A SQLite file and its schema are made on first use. The configuration's hooks and plugins, and the
   * options', are in force.
   * @throws UsageError, ConfigError, PluginError, StoreError
   */
  static open<F = Functions>(options: QueueOptions = {}): Promise<JobQueue<F>> {
    return JobQueue.openAs<F>('client', options)
  }

  /** @internal @param role what plugins are told; null: without plugins and hooks, for what enqueues nothing */
  static async openAs<F = Functions>(
    role: PluginContext['role'] | null,
    options: QueueOptions = {},
  ): Promise<JobQueue<F>> {
    check.open(options)
    const {db, config} = options
    const settings = await resolveSettings({db: typeof db === 'string' ? [db] : db, config})
    return JobQueue.openWith<F>(settings, role, options)
  }

  /** @internal Where the settings are known already. */
  static async openWith<F = Functions>(
    settings: Settings,
    role: PluginContext['role'] | null,
    options: QueueOptions = {},
  ): Promise<JobQueue<F>> {
    const extensions = await loadExtensions(
      role === null ? {} : settings.config,
      settings.file === null ? undefined : settings.folder,
      options,
    )
    const brief = role === null || role === 'command'
    const durable = options.durable ?? (role !== 'dispatcher' || (settings.config.durable ?? false))
    const store = await openStores(settings.databases, {...options, brief, durable})
    return JobQueue.over<F>(store, settings, extensions, role ?? 'client', options.onTrouble)
  }

  /** @internal A queue over a store that is open; the queue closes it. @throws PluginError */
  static async over<F = Functions>(
    store: Store,
    settings: Settings,
    extensions: Extensions,
    role: PluginContext['role'] = 'client',
    onTrouble?: QueueOptions['onTrouble'],
  ): Promise<JobQueue<F>> {
    const queue = new JobQueue<F>(store, settings, extensions, onTrouble)
    try {
      await extensions.plugins.start({role, queue: queue as unknown as JobQueue})
    } catch (error) {
      await store.close()
      throw error
    }
    return queue
  }

  /**
   * Makes what is missing of the schema in every database, in one of something else, too; with `dryRun`, only tells it.
   * @throws UsageError, ConfigError, StoreError
   */
  static async init(options: InitOptions = {}): Promise<Preparation[]> {
    check.init(options)
    const {db, config, dryRun = false} = options
    const {databases} = await resolveSettings({db: typeof db === 'string' ? [db] : db, config})
    const done: Preparation[] = []
    for (const address of databases) done.push(await prepareStore(address, dryRun))
    return done
  }

  /** The database as a message may name it: no password. */
  get name(): string {
    return this.calls.name
  }

  /** @internal The address as --db takes it, password included: for the environment of executables, never a message. */
  get address(): string {
    return this.settings.databases.map(addressText).join(',')
  }

  /** @internal For the dispatcher, which settles and grabs on the same connection. */
  get store(): Store {
    return this.calls.store
  }

  /** @internal The hooks and plugins in force. */
  get extensions(): Extensions {
    return this.#extensions
  }

  /** The hooks of this queue, to register and unregister. */
  get hooks(): Hooks {
    return this.#extensions.hooks
  }

  /** What the configuration's or the options' `plugins` have under that name. @throws PluginError if there is none */
  plugin<Name extends string>(name: Name): PluginOf<Name> {
    return this.#extensions.plugins.get(name)
  }

  /** Calls the listener at each event of this name. What it throws is an uncaught exception. @see JobqEvents */
  on<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): this {
    check.event(name, listener)
    this.events.on(name, listener)
    return this
  }

  /** Undoes `on`. */
  off<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): this {
    check.event(name, listener)
    this.events.off(name, listener)
    return this
  }

  /**
   * Stores a job: when this resolves, it is on disk. Qudo's enqueue.
   * @throws DuplicateJobError, ArgumentError, UsageError, HookError, StoreError
   */
  enqueue<Name extends FuncName<F>>(func: Name, ...options: EnqueueRest<F, Name>): Promise<EnqueuedJob>
  enqueue(func: string, options?: EnqueueOptions): Promise<EnqueuedJob> {
    return this.calls.make(store => this.#enqueuer.enqueue(store, func, options))
  }

  /**
   * Stores all jobs in one transaction, or none. The source is read once, in flat memory; an asynchronous one holds no
   * lock while it is waited for. Events tell of all of them at once, as `enqueueMany`; postEnqueue hooks are not called.
   * @returns how many
   * @throws as enqueue does, with the place of the job in the source, and what the source throws
   */
  enqueueMany(jobs: Iterable<JobRequest<F>> | AsyncIterable<JobRequest<F>>): Promise<number> {
    return this.calls.make(store =>
      this.#enqueuer.enqueueMany(store, jobs as Iterable<JobRequest>, this.calls.closing),
    )
  }

  /**
   * Stores a job in the transaction that the caller has open on a connection of its own, to this queue's database: it is
   * there when that commits, and never if it rolls back. What is refused leaves the transaction as it was. With a
   * Database of better-sqlite3 it is done when this returns, and hooks must be synchronous.
   * @throws TransactionError, and as enqueue does
   */
  enqueueIn<Name extends FuncName<F>>(
    connection: SqliteConnection,
    func: Name,
    ...options: EnqueueRest<F, Name>
  ): EnqueuedJob
  enqueueIn<Name extends FuncName<F>>(
    connection: ServerConnection,
    func: Name,
    ...options: EnqueueRest<F, Name>
  ): Promise<EnqueuedJob>
  enqueueIn(connection: unknown, func: string, options?: EnqueueOptions): EnqueuedJob | Promise<EnqueuedJob> {
    if (!isSqlite(connection))
      return this.calls.make(store => this.#enqueuer.enqueueWithin(store, connection, func, options))
    const store = this.calls.store
    if (!this.settings.databases.some(({driver}) => driver === 'sqlite'))
      throw new TransactionError(`expected a connection to ${this.name}, got a Database of better-sqlite3`, {
        hint: 'give the connection that has the transaction open',
      })
    return this.#enqueuer.enqueueWithinNow(store, connection, func, options)
  }

  /** @internal Stores a job whose argument is in its stored form already. @throws DuplicateJobError, StoreError */
  add(job: NewJob): Promise<EnqueuedJob> {
    return this.calls.make(store => this.#enqueuer.add(store, job))
  }

  /** @internal As enqueue, with hooks. @param toJob makes the job of the call as the hooks have left it */
  enqueueCall(call: EnqueueCall, toJob: ToJob): Promise<EnqueuedJob> {
    return this.calls.make(store => this.#enqueuer.enqueueCall(store, call, toJob))
  }

  /** @internal The job of a call once its hooks have seen it. */
  hookedJob(call: EnqueueCall, place: string, toJob: ToJob): Promise<NewJob> {
    return this.#enqueuer.hookedJob(call, place, toJob)
  }

  /** @internal Is there nothing around an enqueue: no hook, no plugin? */
  get isPlain(): boolean {
    return this.#enqueuer.isPlain
  }

  /**
   * @internal Stores all jobs in one transaction, or none; reads them once, in flat memory.
   * @param at names the one that is refused: `line 3`
   * @returns how many
   * @throws DuplicateJobError, StoreError, or what the iterable throws
   */
  addMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>, at?: At): Promise<number> {
    return this.calls.make(store => this.#enqueuer.addMany(store, jobs, at))
  }

  /**
   * Waits until a job has left the queue, and tells how. It may be any job in the queue; one that was enqueued with
   * `tracked: true` may have ended long before: how is kept for a day, or for a minute once someone has asked. `gone`:
   * someone took it away who did not say how it ended, a Perl worker say. However many are waited for, they share one watch.
   * @throws NotFoundError if it is not in the queue and how it ended was not kept; WaitTimeoutError; the signal's reason;
   * ClosedError when the queue is closed meanwhile; StoreError
   */
  wait(job: number | RowRef, options: WaitOptions = {}): Promise<JobEnd> {
    return this.calls.make(async () => {
      check.wait(options)
      const ref = this.refOf(job, 'wait')
      const {Waiting} = await import('./wait.ts')
      this.#waiting ??= new Waiting(this.calls.store)
      return this.#waiting.end(ref, options)
    })
  }

  /**
   * Enqueues a failed job again and marks its exception retried, in one transaction. Qudo's enqueue_from_failed_job.
   * @param options.db which of several databases, the first being 1
   * @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError
   */
  retry(exceptionId: number, options: RetryOptions & {db?: number | undefined} = {}): Promise<EnqueuedJob> {
    return this.calls.make(async store => {
      check.retry(options)
      const {id, db} = this.refOf(
        options.db === undefined ? exceptionId : {id: exceptionId, db: options.db},
        'retry',
      )
      const job = await store.retry(id, rowOf(options), db)
      this.events.tell('retry', () => ({...job, exceptionId}))
      return job
    })
  }

  /**
   * Retries the exceptions of these ids, or all that were not retried yet, oldest first: each in a transaction of its
   * own, as they are asked for. What is refused is told. With `dryRun` nothing is changed.
   * @throws NotFoundError if the function has never been enqueued here
   */
  async *retryMany(
    choice: RetryChoice,
    options: RetryOptions & {dryRun?: boolean | undefined} = {},
  ): AsyncGenerator<RetryOutcome> {
    check.retryMany(choice, options)
    const outcomes = this.each('ids' in choice || 'jobs' in choice ? {} : choice, store =>
      retryMany(store, choice, rowOf(options), options.dryRun ?? false),
    )
    for await (const outcome of outcomes) {
      const {exception, job} = {job: null, ...outcome}
      if (job) this.events.tell('retry', () => ({...job, exceptionId: exception.id}))
      yield outcome
    }
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
    return this.calls.make(store => this.#work(store, options))
  }

  /**
   * Closes the queue: whatever is called from now on is refused. What was called before is waited for: enqueues are
   * stored, and work that goes on here ends as its signal would end it. Given up, with a ClosedError, are waits for jobs,
   * an enqueueMany whose asynchronous source has not ended, and an enqueue whose hook has not.
   * @throws PluginError if a plugin can't be stopped within 5 s; the queue is closed all the same. With `onTrouble` that
   * is told there instead
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Closes it, at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.calls.refuse()
    this.#extensions.hooks.close()
    this.#waiting?.close()
    await this.calls.end()
    try {
      await this.#extensions.plugins.stop()
    } catch (error) {
      if (!this.#onTrouble) throw error
      this.#onTrouble((error as PluginError).message)
    } finally {
      await this.calls.closeStore()
    }
  }

  /** On a connection of its own, so that a turn costs no fsync (unless `durable` says so) while an enqueue stays durable. */
  async #work(store: Store, options: InlineOptions<F>): Promise<Summary> {
    const {config, databases} = this.settings
    const {workInline} = await import('../work/inline.ts')
    const openStore = async (onTrouble: (message: string) => void) => {
      if (databases.some(address => addressText(address) === ':memory:'))
        return {store, close: async () => {}}
      const own = await openStores(databases, {durable: config.durable ?? false, onTrouble})
      return {store: own, close: () => own.close()}
    }
    const host = {config, events: this.events, working: this.working, extensions: this.#extensions, openStore}
    return workInline(options, host, this.calls.closing)
  }
}
