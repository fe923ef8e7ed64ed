/**
 * JobQueue, the client: what an application, and every command, does with a queue. Qudo::Manager's part.
 */

import type {Schedule} from '../config/schedules.ts'
import {resolveSettings, type Settings} from '../config/settings.ts'
import {type EventName, Events, type JobqEvents} from '../hooks/events.ts'
import {type Extensions, loadExtensions} from '../hooks/extensions.ts'
import type {ToJob} from '../hooks/hooked-job.ts'
import type {EnqueueCall, Hooks} from '../hooks/hooks.ts'
import type {PluginContext} from '../hooks/plugins.ts'
import {
  connectionIn,
  isSqlite,
  type OrmTransaction,
  type ServerConnection,
  type SqliteConnection,
  type SqliteTransaction,
} from '../jobs/connections.ts'
import {type PluginError, StoreError, TransactionError} from '../jobs/errors.ts'
import type {FuncName, Functions, ResultOf} from '../jobs/functions.ts'
import {
  type EnqueuedJob,
  idOf,
  type JobChanges,
  type JobEnd,
  type NewJob,
  type RowRef,
  type TagOptions,
} from '../jobs/job.ts'
import {tagChoices} from '../jobs/names.ts'
import type {AloneOption, EnqueueOptions, EnqueueRest, JobRequest} from '../jobs/new-job.ts'
import type {PluginOf} from '../jobs/plugins.ts'
import type {Batch} from '../jobs/side-tables/batches.ts'
import type {ScheduleStatus, Ticked} from '../jobs/side-tables/schedules.ts'
import {isThenable} from '../jobs/value.ts'
import {addressText} from '../store/address.ts'
import {openStores, prepareStore} from '../store/open.ts'
import type {OneDatabase, Preparation, Store} from '../store/store.ts'
import type {InlineOptions, Working} from '../work/inline.ts'
import type {Summary} from '../work/outcomes.ts'
import type {LastJob} from './batch.ts'
import type {At} from './bulk.ts'
import type {CancelChoice, Cancellation, CancelOptions, CancelOutcome} from './cancel.ts'
import type {ArgFor} from './edit.ts'
import {Enqueuer} from './enqueue.ts'
import type {FollowedOutput} from './follow.ts'
import {Calls} from './in-flight.ts'
import {
  type BatchOptions,
  check,
  chosenOf,
  type EditOptions,
  type InitOptions,
  type QueueOptions,
  type RetryOptions,
  rowOf,
} from './options.ts'
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
  /** @internal The configuration whose schedules are in force: while jobq work runs HUP may change it. */
  scheduled: Pick<Settings, 'config' | 'file'>
  /** @internal What happens to this queue's jobs is told here. */
  readonly events = new Events()
  /** @internal The work that goes on here. */
  readonly working: Set<Working> = new Set()
  /** @internal Called when work begins or ends here. */
  onWorking: () => void = () => {}
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
    this.scheduled = settings
    this.#extensions = extensions
    this.#onTrouble = onTrouble
    this.#enqueuer = new Enqueuer(extensions, this.events, settings.databases.length)
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

  /** @internal */
  protected tell(message: string): void {
    this.#onTrouble?.(message)
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
  enqueue<Name extends FuncName<F>>(
    func: Name,
    ...options: EnqueueRest<F, Name, AloneOption>
  ): Promise<EnqueuedJob<Name>>
  enqueue(func: string, options?: EnqueueOptions & AloneOption): Promise<EnqueuedJob> {
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
   * Stores all jobs in one transaction, or none, as enqueueMany does, and with them what runs when all of them have ended: `then`
   * however they did, `onFailure` only if one of them has not completed. How many ended how is in the member `batch` of its argument:
   * {jobs, completed, failed, aborted}. All are tracked. Jobs that take another one's place are not among them, but waited for.
   * @returns how many, and the jobs that follow: `queue.wait(batch.thenJob)`, `queue.show(batch.thenJob)`
   * @throws as enqueueMany does
   */
  batch(
    jobs: Iterable<JobRequest<F>> | AsyncIterable<JobRequest<F>>,
    options: {then?: JobRequest<F> | undefined; onFailure?: JobRequest<F> | undefined},
  ): Promise<Batch> {
    return this.calls.make(async store => {
      check.batch(options as BatchOptions)
      return this.#enqueuer.batch(
        store,
        jobs as Iterable<JobRequest>,
        options as BatchOptions,
        this.calls.closing,
      )
    })
  }

  /** @internal As addMany, with what runs when all have ended. */
  addBatch(
    jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
    lasts: readonly LastJob[],
    at?: At,
  ): Promise<Batch> {
    return this.calls.make(async store => {
      const {addBatch} = await import('./batch.ts')
      return addBatch(store, jobs, lasts, all => this.#enqueuer.addMany(store, all, at))
    })
  }

  /**
   * Stores a job in the transaction that the caller has open on this queue's database: it is there when that commits, and
   * never if it rolls back. What is refused leaves the transaction as it was. The transaction is a connection of
   * better-sqlite3, mysql2 or pg, or what drizzle, kysely, knex, Prisma or postgres.js hand to the callback of theirs. With a
   * Database of better-sqlite3, and in drizzle's transaction on one, it is done when this returns, and hooks must be
   * synchronous.
   * @throws TransactionError, and as enqueue does
   */
  enqueueIn<Name extends FuncName<F>>(
    transaction: SqliteConnection | SqliteTransaction,
    func: Name,
    ...options: EnqueueRest<F, Name>
  ): EnqueuedJob<Name>
  enqueueIn<Name extends FuncName<F>>(
    transaction: ServerConnection | OrmTransaction,
    func: Name,
    ...options: EnqueueRest<F, Name>
  ): Promise<EnqueuedJob<Name>>
  enqueueIn(given: unknown, func: string, options?: EnqueueOptions): EnqueuedJob | Promise<EnqueuedJob> {
    const connection = connectionIn(given)
    const kinds = this.settings.databases.map(({driver}) => driver === 'sqlite')
    // In a synchronous callback nobody hears of a promise that is rejected
    const isNow = isSqlite(connection) || (kinds.every(isLocal => isLocal) && !isThenable(connection))
    if (!isNow)
      return this.calls.make(async store =>
        this.#enqueuer.enqueueWithin(store, await connection, func, options),
      )
    const store = this.calls.store
    if (!kinds.includes(true))
      throw new TransactionError(`expected a connection to ${this.name}, got a Database of better-sqlite3`, {
        hint: 'give the connection that has the transaction open',
      })
    return this.#enqueuer.enqueueWithinNow(store, connection, func, options)
  }

  /** @internal As enqueue, into this one of its databases. */
  enqueueInto(database: OneDatabase, func: string, options: EnqueueOptions): Promise<EnqueuedJob> {
    return this.calls.make(() => this.#enqueuer.enqueueInto(database, func, options))
  }

  /** @internal Stores a job whose argument is in its stored form already. @throws DuplicateJobError, StoreError */
  add(job: NewJob, {replace = false}: AloneOption = {}): Promise<EnqueuedJob> {
    const enqueuer = this.#enqueuer
    return this.calls.make(store => (replace ? enqueuer.addOrReplace(store, job) : enqueuer.add(store, job)))
  }

  /** @internal As enqueue, with hooks. @param toJob makes the job of the call as the hooks have left it */
  enqueueCall(call: EnqueueCall, toJob: ToJob, {replace = false}: AloneOption = {}): Promise<EnqueuedJob> {
    const enqueuer = this.#enqueuer
    return this.calls.make(store =>
      replace ? enqueuer.replaceCall(store, call, toJob) : enqueuer.enqueueCall(store, call, toJob),
    )
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
   * someone took it away who did not say how it ended, a Perl worker say. `result` is what its worker returned, where that is kept:
   * `keepResult`. However many are waited for, they share one watch.
   * @throws NotFoundError if it is not in the queue and how it ended was not kept; WaitTimeoutError; the signal's reason;
   * ClosedError when the queue is closed meanwhile; StoreError
   */
  wait<Name extends FuncName<F>>(
    job: RowRef & {func: Name},
    options?: WaitOptions,
  ): Promise<JobEnd<ResultOf<F, Name>>>
  wait(job: number | RowRef, options?: WaitOptions): Promise<JobEnd>
  wait(job: number | RowRef, options: WaitOptions = {}): Promise<JobEnd> {
    return this.calls.make(async () => {
      check.wait(options)
      const ref = this.refOf(job, 'wait')
      const {Waiting} = await import('./wait.ts')
      this.#waiting ??= new Waiting(this.calls.store)
      const {onProgress} = options
      if (!onProgress) return this.#waiting.end(ref, options)
      const {watchedProgress} = await import('./progress.ts')
      return watchedProgress(
        this.calls.store,
        ref,
        onProgress,
        signal => this.#waiting!.end(ref, {...options, signal}),
        options.signal,
      )
    })
  }

  /**
   * Waits for all jobs that are in the queue now, all or a function's or with tags, and yields how each has ended, soon after it did; of
   * a hundred thousand jobs only the ids are held. Jobs that are enqueued meanwhile are not waited for.
   * @throws NotFoundError if the function has never been enqueued here; WaitTimeoutError; the signal's reason;
   * ClosedError when the queue is closed meanwhile; StoreError
   */
  async *waitFor(
    choice: {func?: string | undefined; tags?: TagOptions | undefined} = {},
    options: WaitOptions = {},
  ): AsyncGenerator<JobEnd> {
    check.waitFor(choice)
    check.wait(options)
    const {endsOfAll} = await import('./wait-for.ts')
    yield* this.each(choice, store =>
      endsOfAll(
        store,
        store.eachId({func: choice.func, tags: tagChoices(choice.tags)}),
        options,
        this.calls.closing,
      ),
    )
  }

  /**
   * Follows what a job writes, on whichever host it runs: yields it as it comes, waits for a job that has not started, and
   * ends with the job. Of one that has ended already it yields what was kept.
   * @throws NotFoundError if nothing is known of the job; the signal's reason; ClosedError when the queue is closed
   * meanwhile; StoreError
   */
  async *follow(
    job: number | RowRef,
    options: {signal?: AbortSignal | undefined} = {},
  ): AsyncGenerator<FollowedOutput> {
    check.follow(options)
    const ref = this.refOf(job, 'follow')
    const {followed} = await import('./follow.ts')
    const signal = options.signal ? AbortSignal.any([options.signal, this.calls.closing]) : this.calls.closing
    const end = (signal: AbortSignal) => this.wait(ref, {signal})
    yield* this.each({}, store => followed(store, ref, signal, end))
  }

  /**
   * Enqueues a failed job again and marks its exception retried, in one transaction. Qudo's enqueue_from_failed_job. So are
   * then the jobs that failed because it did: they wait for it again.
   * @param options.db which of several databases, the first being 1
   * @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError
   */
  retry(exceptionId: number, options: RetryOptions & {db?: number | undefined} = {}): Promise<EnqueuedJob> {
    return this.calls.make(async store => {
      check.retry(options)
      const {db, ...row} = options
      const exception = this.refOf(db === undefined ? exceptionId : {id: exceptionId, db}, 'retry')
      let retried: EnqueuedJob | null = null
      try {
        for await (const outcome of this.#retried(store, {ids: [exception]}, row))
          if (retried === null) {
            if (outcome.refused !== null) throw outcome.refused
            retried = outcome.job
          }
      } catch (error) {
        // It is stored, and that is what is told: what failed because of it can be retried by itself
        if (retried === null || !(error instanceof StoreError)) throw error
        this.tell(
          `job ${idOf(retried)} is enqueued, but not all that failed because of it (${error.message})`,
        )
      }
      return retried!
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
    yield* this.each('ids' in choice || 'jobs' in choice ? {} : choice, store =>
      this.#retried(store, choice, options),
    )
  }

  async *#retried(
    store: Store,
    choice: RetryChoice,
    {dryRun = false, ...options}: RetryOptions & {dryRun?: boolean | undefined},
  ): AsyncGenerator<RetryOutcome> {
    const refOf = (ref: number | RowRef) => this.refOf(ref, 'retryMany')
    for await (const outcome of retryMany(store, choice, rowOf(options), dryRun, refOf)) {
      const {exception, job} = {job: null, ...outcome}
      if (job) this.events.tell('retry', () => ({...job, exceptionId: exception.id}))
      yield outcome
    }
  }

  /**
   * Cancels a job. One that waits leaves the queue, and nothing is kept of it. One that runs is told to stop, wherever
   * that is: its signal aborts, an executable's process group gets TERM, a second later KILL; and unless it gets done all
   * the same it ends as aborted, `cancelled`. This resolves when its dispatcher has heard: mostly within milliseconds.
   * Whoever waits for the job hears `aborted`, `cancelled`.
   * @throws NotFoundError if it is not in the queue; NotHeardError if nobody has heard within 3 s: a Perl worker runs it,
   * or an older jobq; it goes on then
   */
  cancel(job: number | RowRef): Promise<Cancellation> {
    return this.calls.make(async store => {
      const jobs = [this.refOf(job, 'cancel')]
      const {cancelMany} = await import('./cancel.ts')
      for await (const [outcome] of cancelMany(store, {jobs}, {})) {
        if (outcome?.refused) throw outcome.refused
        if (outcome) return outcome
      }
      throw new Error('every job that is named has an outcome')
    })
  }

  /**
   * Cancels some jobs, or all that are in the queue when it begins, of a function, with a uniqkey, in a state: a few at a
   * time, each time in a transaction of its own. What is refused is told. With `dryRun` nothing is changed. Stopped early,
   * by its signal too, it takes back what nobody has heard yet.
   * @throws NotFoundError if the function has never been enqueued here; UsageError if nothing is chosen
   */
  async *cancelMany(choice: CancelChoice, options: CancelOptions = {}): AsyncGenerator<CancelOutcome> {
    check.cancelMany(options)
    const chosen = chosenOf(choice, job => this.refOf(job, 'cancelMany'))
    const portions = this.each('func' in chosen ? {func: chosen.func} : {}, async store => {
      const {cancelMany} = await import('./cancel.ts')
      return cancelMany(store, chosen, options)
    })
    for await (const done of portions) yield* done // what was done at once is told, whatever becomes of the queue
  }

  /**
   * Changes a job that waits: its priority, when it is due, its argument, its uniqkey. Of hooks, `serialize` is called for
   * an argument.
   * @returns the job as it is then
   * @throws NotFoundError if it is not in the queue, JobRunningError, DuplicateJobError, ArgumentError, UsageError
   */
  edit(job: number | RowRef, changes: EditOptions): Promise<EnqueuedJob> {
    return this.calls.make(async store => {
      check.edit(changes)
      const {argForOptions, changesOf, editJob} = await import('./edit.ts')
      const ref = this.refOf(job, 'edit')
      return editJob(store, ref, changesOf(changes), argForOptions(changes, this.#extensions))
    })
  }

  /** @internal As edit, with an argument in its stored form. */
  editStored(job: RowRef, changes: JobChanges, argFor: ArgFor | null): Promise<EnqueuedJob> {
    return this.calls.make(async store => {
      const {editJob} = await import('./edit.ts')
      return editJob(store, this.refOf(job, 'edit'), changes, argFor)
    })
  }

  /** The configuration's schedules, by name: when they tick next, and what became of the last tick. @throws ConfigError */
  schedules(): Promise<ScheduleStatus[]> {
    return this.calls.make(async store => {
      const {statusesOf} = await import('./schedules.ts')
      return statusesOf(store, this.scheduled)
    })
  }

  /**
   * Enqueues the job of a schedule now, whether its last one is in the queue or not. Its ticks stay as they are.
   * @throws NotFoundError if the configuration has no such schedule; ConfigError; as enqueue does
   */
  runSchedule(name: string): Promise<EnqueuedJob> {
    return this.calls.make(async store => {
      check.schedule(name)
      const {scheduleNamed} = await import('./schedules.ts')
      const {job} = await this.#tick(store, scheduleNamed(name, this.scheduled), null)
      return job!
    })
  }

  /** @internal Passes a tick of a schedule. @param isWanted false: without a job */
  tick(schedule: Schedule, at: number, isWanted: boolean): Promise<Ticked> {
    return this.calls.make(store => this.#tick(store, schedule, at, isWanted))
  }

  #tick(store: Store, schedule: Schedule, at: number | null, isWanted = true): Promise<Ticked> {
    const {name, cron, timeZone, overlap, func, options} = schedule
    const tick = {name, cron, timeZone, overlap, at}
    return isWanted ? this.#enqueuer.tick(store, tick, func, options) : store.tick(tick, null)
  }

  /**
   * Works jobs in this process, by functions of the application's: as `jobq work` does it, but each job runs on this
   * event loop. Two at once on one queue are fine. A job that runs longer than its grabFor, or is to stop, has its signal
   * aborted; a second later it counts as failed, or is released, though a function that does not heed its signal goes
   * on: it can't be killed. One that keeps the event loop for more than a minute may find its job taken by someone else.
   * @returns what was done, when it is drained, or has been told to end by its signal or by `close`
   * @throws UsageError, WorkerError, StoreError; NotFoundError, JobHeldError if its `job` can't be taken
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

  /** @internal The same databases, over connections that are not the queue's. */
  openOwnStore(onTrouble: (message: string) => void): Promise<Store> {
    const {config, databases} = this.settings
    return openStores(databases, {durable: config.durable ?? false, onTrouble})
  }

  /** On a connection of its own, so that a turn costs no fsync (unless `durable` says so) while an enqueue stays durable. */
  async #work(store: Store, options: InlineOptions<F>): Promise<Summary> {
    const {config, databases} = this.settings
    const {workInline} = await import('../work/inline.ts')
    const openStore = async (onTrouble: (message: string) => void) => {
      if (databases.some(address => addressText(address) === ':memory:'))
        return {store, close: async () => {}}
      const own = await this.openOwnStore(onTrouble)
      return {store: own, close: () => own.close()}
    }
    const host = {
      ...{config, events: this.events, working: this.working, extensions: this.#extensions, openStore},
      onWorking: () => this.onWorking(),
      file: this.settings.file,
      onTrouble: this.#onTrouble ?? (() => {}),
      refOf: (job: number | RowRef) => this.refOf(job, 'work: job'),
      tick: (schedule: Schedule, at: number, isWanted: boolean) => this.#tick(store, schedule, at, isWanted),
    }
    return workInline(options, host, this.calls.closing)
  }
}
