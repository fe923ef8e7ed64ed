/**
 * The job store on SQLite: one connection (connection.ts), and each method one transaction on it. What an enqueue does
 * not need is loaded at its first use: each further module costs a process about 0.4 ms, and most are short.
 */
import {statSync} from 'node:fs'
import type {Database} from 'better-sqlite3'
import type {
  AlikeJob,
  BatchState,
  CancelledJob,
  EnqueuedJob,
  ExpiredJob,
  FailedAfter,
  JobChanges,
  JobProgress,
  JobRow,
  JobState,
  Lease,
  NewJob,
  Postponement,
  Progress,
  RowRef,
  Settlement,
  StoredArg,
  StoredEnd,
  StoredResult,
} from '../../jobs/job.ts'
import type {Beat, ManagerRow} from '../../jobs/manager.ts'
import type {DeathRow} from '../../jobs/rows/history.ts'
import {MOST_DEATHS} from '../../jobs/rows/history.ts'
import type {KeyLimits, Shared, ShareRequest} from '../../jobs/shares/limits.ts'
import type {Action, ActionRow} from '../../jobs/side-tables/actions.ts'
import type {Followed, Order, Told, Written} from '../../jobs/side-tables/orders.ts'
import type {ScheduleDefinition, Tick, Ticked} from '../../jobs/side-tables/schedules.ts'
import type {IdPlace, JobPlace} from '../shared/reads/listing.ts'
import type {LogPlace} from '../shared/reads/logs.ts'
import {each} from '../shared/reads/stretch.ts'
import type {
  ActionPage,
  Beside,
  Choice,
  Claimed,
  ClaimOptions,
  ExceptionPage,
  Extras,
  IdChoice,
  JobPage,
  KeySpot,
  LogPage,
  LogTable,
  Older,
  Peek,
  Retrying,
  Schedules,
  SharedKeys,
  Store,
  Turn,
  Want,
  Watch,
} from '../store.ts'
import {SqliteCallerTransaction} from './caller-transaction.ts'
import {
  connect,
  connectTo,
  SCHEMA_VERSION,
  SqliteConnection,
  type SqliteConnectionOptions,
} from './connection.ts'
import {explain} from './errors.ts'
import type {FilePlace} from './file/known-file.ts'
import {claim} from './file/only-name.ts'
import {SqliteInsert} from './insert.ts'
import type {SqliteLanes} from './lanes.ts'
import type {LongReads} from './long-reads.ts'
import type {SqliteMemory} from './memory.ts'
import type {Read, SqliteReads} from './reads.ts'
import type {SchemaStep} from './schema.ts'
import type {SqliteSettle} from './settle.ts'
import {hasNoWal} from './wal/lone-commit.ts'

export interface SqliteOptions extends SqliteConnectionOptions {
  /** Make the file's folder (0700) if it is missing. Default false. */
  makeFolder?: boolean
  /** false: a commit may be lost by a power cut (never by a crash). For a dispatcher. Default true. */
  durable?: boolean
  /** The process is gone when it has read: long reads keep nobody waiting. Default false. */
  brief?: boolean
  /** The process stores one job and is gone. Default false. */
  oneJob?: boolean
  /** false: leave the schema as it is; for looking only. Default true. */
  prepare?: boolean
  /** Make jobq's tables even in a database that holds something else. Default false. */
  adopt?: boolean
}

/**
 * Opens a SQLite job store, making the file (0600) and the schema on first use, by several processes at once too.
 * @throws StoreError
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const {db, place, isFirst} = await open(path, options.makeFolder ?? false)
  const store = new SqliteStore(db, path, options, place, isFirst)
  try {
    await store.setDurable(options.durable ?? true)
    if (options.prepare ?? true) await store.init()
    if (!options.brief) await store.guard()
  } catch (error) {
    db.close()
    throw error
  }
  return store
}

interface Opened {
  db: Database
  place?: FilePlace
  /** Was nobody there? */
  isFirst: boolean
}

async function open(path: string, makeFolder: boolean): Promise<Opened> {
  if (path === ':memory:') return {db: connect(path), isFirst: false}
  try {
    if (!isFile(path)) {
      const {makeFile} = await import('./file/make-file.ts')
      makeFile(path, makeFolder)
    }
    const place = await claim(path)
    const isFirst = hasNoWal(place.path)
    return {db: connectTo(place), place, isFirst}
  } catch (error) {
    throw explain(path, error)
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path, {throwIfNoEntry: false})?.isFile() ?? false
  } catch {
    return false
  }
}

/** How often the file is looked at where nothing goes on. */
const LOOK_MS = 2000

/** A dispatcher's part. */
interface Work {
  memory: SqliteMemory
  settle: SqliteSettle
  lanes: SqliteLanes
}

export class SqliteStore implements Store {
  readonly name: string
  readonly #link: SqliteConnection
  readonly #adopt: boolean
  readonly #inserts: SqliteInsert
  readonly #within: SqliteCallerTransaction
  readonly #isBrief: boolean
  /** Is the next job this process's only one, with nobody else on the file as far as it knows? */
  #isAlone: boolean
  #reads: SqliteReads | undefined
  #longReads: LongReads | undefined
  #work: Work | undefined
  #guarding: NodeJS.Timeout | undefined
  readonly #onTrouble: (message: string) => void
  #isBlind = false
  readonly #watches = new Map<Watch, () => void>()

  /** @param isFirst nobody had the file open when this was to open it */
  constructor(db: Database, name: string, options: SqliteOptions = {}, place?: FilePlace, isFirst = false) {
    this.name = name
    this.#link = new SqliteConnection(db, name, options, place)
    this.#adopt = options.adopt ?? false
    this.#isBrief = options.brief ?? false
    this.#isAlone = isFirst && (options.oneJob ?? false) && (options.durable ?? true)
    this.#onTrouble = options.onTrouble ?? (() => {})
    this.#inserts = new SqliteInsert(this.#link)
    this.#within = new SqliteCallerTransaction(this.#link, options)
  }

  setDurable(durable: boolean): Promise<void> {
    return this.#link.setDurable(durable)
  }

  async places(): Promise<string[]> {
    const place = this.#link.file?.place
    return place ? [`sqlite ${place.dev}:${place.ino}`] : []
  }

  async init(): Promise<void> {
    const version = await this.#link.patiently(() => this.#link.schemaVersion())
    if (version === SCHEMA_VERSION) return
    const {makeSchema} = await import('./schema.ts')
    await makeSchema(this.#link, this.#adopt)
  }

  /** From here on it is noticed if another file comes to the place of this one, or of its -wal. @throws StoreError */
  async guard(): Promise<void> {
    const {file} = this.#link
    if (!file) return
    file.look()
    this.#guarding = setInterval(() => this.#lookAtFile(), LOOK_MS).unref()
    const {Copies} = await import('./file/copies.ts')
    this.#link.copies = new Copies(file)
  }

  /** Nobody may have asked for anything for long, and who opens the new file waits until the old -wal is gone. */
  #lookAtFile(): void {
    try {
      this.#link.checkFile()
    } catch (error) {
      clearInterval(this.#guarding)
      this.#onTrouble((error as Error).message)
      this.#ring()
    }
  }

  /** What prepare would do. */
  async plan(): Promise<SchemaStep[]> {
    const {initPlan} = await import('./schema.ts')
    return this.#link.read(() => initPlan(this.#link))
  }

  /** As init, but looks for every table and index, and makes them in a database of something else, too. */
  async prepare(): Promise<SchemaStep[]> {
    const {completeSchema} = await import('./schema.ts')
    return completeSchema(this.#link)
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    const insert = this.#isAlone ? this.#inserts.insertAlone(job) : this.#inserts.insertTogether(job)
    this.#isAlone = false
    const enqueued = await insert
    this.#ring()
    return enqueued
  }

  /** At once, without a promise. Whoever watches the file hears of it at the caller's commit. */
  enqueueWithin(connection: unknown, job: NewJob): EnqueuedJob {
    return this.#within.insert(connection, job)
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    const {insertMany} = await import('./bulk.ts')
    const count = await insertMany(this.#link, this.#inserts, jobs)
    this.#ring()
    return count
  }

  async track(jobs: readonly RowRef[]): Promise<RowRef[]> {
    const {trackJobs} = await import('./completions.ts')
    return trackJobs(this.#link, this.#inserts, jobs)
  }

  async ends(jobs: readonly RowRef[]): Promise<StoredEnd[]> {
    const {endsOf} = await import('./completions.ts')
    return endsOf(this.#link, jobs)
  }

  async followers(exceptionId: number): Promise<RowRef[]> {
    const {followers} = await import('./after/ends.ts')
    return this.#link.read(() => followers(this.#link, exceptionId))
  }

  async nextTry(exceptionId: number): Promise<number | null> {
    const {nextTry} = await import('./retry.ts')
    return this.#link.read(() => nextTry(this.#link, exceptionId))
  }

  async retry(exceptionId: number, options: Retrying): Promise<EnqueuedJob> {
    const {retryException} = await import('./retry.ts')
    const enqueued = await this.#link.write(() =>
      retryException(this.#link, this.#inserts, exceptionId, options),
    )
    this.#ring()
    return enqueued
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    const {memory, lanes, settle} = this.#work ?? (await this.#startWork())
    if (settlements.length === 0) {
      // Nothing to write unless a job is ready: an idle dispatcher that looks must not take the write lock.
      const idle = await this.#link.read(() => lanes.idleTurn(want))
      if (idle) return idle
    }
    const turn = await this.#link.write(() => {
      const now = this.#link.now()
      memory.forgetIfChanged()
      const settled = settlements.map(settlement => settle.settle(settlement, now))
      return {settled, now, ...lanes.grab(want, now)}
    })
    if (turn.buried.length > 0 || turn.settled.some(({held}) => held)) this.#ring()
    return turn
  }

  async peek(want: Want): Promise<Peek> {
    const {lanes} = this.#work ?? (await this.#startWork())
    return this.#link.read(() => lanes.peek(want))
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    const {settle} = this.#work ?? (await this.#startWork())
    return this.#link.write(() => settle.renew(leases, seconds))
  }

  async postpone(jobs: readonly Postponement[]): Promise<void> {
    const {postpone} = await import('./claims/claims.ts')
    await this.#link.write(() => postpone(this.#link, jobs))
  }

  async claim(jobs: readonly RowRef[], seconds: number, options?: ClaimOptions): Promise<Claimed> {
    const {claim} = await import('./claims/claims.ts')
    return this.#link.write(() => claim(this.#link, jobs, seconds, options))
  }

  async alike(job: JobRow, among?: {key: string; limit: number}): Promise<AlikeJob[]> {
    const {alike} = await import('./claims/alike.ts')
    return this.#link.read(() => alike(this.#link, job, among))
  }

  async deaths(): Promise<DeathRow[]> {
    const sql = `SELECT d.id, d.job_id AS jobId, coalesce(CAST(func.name AS TEXT), '') AS func, CAST(job.uniqkey AS TEXT) AS uniqkey,
        d.how, d.died_at AS diedAt
      FROM jobq_death d LEFT JOIN job ON job.id = d.job_id LEFT JOIN func ON func.id = job.func_id
      ORDER BY d.id DESC LIMIT ${MOST_DEATHS}`
    return this.#link.read(() => this.#link.sql(sql).all() as DeathRow[])
  }

  async died(jobs: readonly RowRef[]): Promise<RowRef[]> {
    const {settle} = this.#work ?? (await this.#startWork())
    return this.#link.read(() => settle.died(jobs))
  }

  async *prune(table: LogTable, older: Older, dryRun: boolean, signal?: AbortSignal): AsyncGenerator<number> {
    const {pruned} = await import('../shared/prune.ts')
    const {deleteOutputs, deleteRows} = await import('./prune.ts')
    const old = (after: number) => this.#look('oldRows', table, older, after)
    const remove = (ids: readonly number[]) => this.#link.write(() => deleteRows(this.#link, table, ids))
    yield* pruned(old, dryRun ? null : remove, signal)
    const oldOutputs = (after: number) => this.#look('oldOutputs', table, older, after)
    const removeOutputs = (ids: readonly number[]) => this.#link.write(() => deleteOutputs(this.#link, ids))
    yield* pruned(oldOutputs, dryRun ? null : removeOutputs, signal)
  }

  async pause(funcs: readonly string[]): Promise<void> {
    const sql = 'INSERT INTO jobq_pause (func) VALUES (?) ON CONFLICT DO NOTHING'
    await this.#link.write(() => {
      this.#link.arrivals++
      for (const func of funcs) this.#link.sql(sql).run(func)
    })
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    const sql = 'DELETE FROM jobq_pause WHERE func = ?'
    const resumed = await this.#link.write(() => {
      this.#link.arrivals++
      return funcs.filter(func => this.#link.sql(sql).run(func).changes === 1)
    })
    this.#ring()
    return resumed
  }

  async paused(): Promise<string[]> {
    const {memory} = this.#work ?? (await this.#startWork())
    return this.#link.read(() => {
      memory.forgetIfChanged()
      return [...memory.paused]
    })
  }

  async cancel(jobs: readonly RowRef[], state?: JobState): Promise<CancelledJob[]> {
    const {cancelJobs} = await import('./orders/steer.ts')
    const before = this.#link.arrivals
    const cancelled = await cancelJobs(this.#link, jobs, state)
    if (this.#link.arrivals !== before) this.#ring()
    return cancelled
  }

  async failAfter(): Promise<{failed: FailedAfter[]; isMore: boolean}> {
    const {failMarked, isAnyMarked} = await import('./after/ends.ts')
    if (!(await this.#link.read(() => isAnyMarked(this.#link)))) return {failed: [], isMore: false}
    const failed = await this.#link.write(() => failMarked(this.#link))
    this.#ring()
    return {failed, isMore: true}
  }

  async lookAfter(from: number): Promise<number | null> {
    const {lookForGone, mayAnyBeGone} = await import('./after/ends.ts')
    if (!(await this.#link.read(() => mayAnyBeGone(this.#link)))) return null
    const before = this.#link.arrivals
    const next = await this.#link.write(() => lookForGone(this.#link, from))
    if (this.#link.arrivals !== before) this.#ring()
    return next
  }

  async share(request: ShareRequest): Promise<Shared> {
    const {share} = await import('./shares/share.ts')
    const shared = await this.#link.write(() => share(this.#link, this.#inserts, request))
    if (shared.called > 0) this.#ring()
    return shared
  }

  async sharedKeys(func: string, limits: KeyLimits, {key}: KeySpot): Promise<SharedKeys> {
    const {sharedKeys} = await import('./shares/share.ts')
    return this.#link.read(() => sharedKeys(this.#link, this.#inserts, func, limits, key))
  }

  async unshare(funcs: readonly string[]): Promise<boolean> {
    const {unshare} = await import('./shares/share.ts')
    const isMore = await unshare(this.#link, this.#inserts, funcs)
    if (isMore) this.#ring()
    return isMore
  }

  async orders(): Promise<Order[]> {
    const {memory} = this.#work ?? (await this.#startWork())
    return this.#link.read(() => {
      memory.forgetIfChanged()
      return [...memory.orders]
    })
  }

  async hear(orders: readonly Order[]): Promise<Order[]> {
    const {hearOrders} = await import('./orders/steer.ts')
    return this.#link.write(() => hearOrders(this.#link, orders))
  }

  async withdraw(orders: readonly Order[]): Promise<Order[]> {
    const {withdrawOrders} = await import('./orders/steer.ts')
    return this.#link.write(() => withdrawOrders(this.#link, orders))
  }

  async forgetOrders(jobs: readonly RowRef[]): Promise<void> {
    const {forgetOrders} = await import('./orders/steer.ts')
    await this.#link.write(() => forgetOrders(this.#link, jobs))
  }

  async follow(job: RowRef, mine?: number): Promise<Followed> {
    const {follow} = await import('./orders/follow.ts')
    const order = await this.#link.writeLazily(() => follow(this.#link, job, mine))
    this.#ring()
    return order
  }

  async unfollow(job: RowRef, orderedAt: number): Promise<void> {
    const {unfollow} = await import('./orders/follow.ts')
    await this.#link.writeLazily(() => unfollow(this.#link, job, orderedAt))
  }

  async forgetFollowed(): Promise<void> {
    const {forgetFollowed} = await import('./orders/follow.ts')
    await this.#link.writeLazily(() => forgetFollowed(this.#link))
  }

  async tell(written: readonly Written[]): Promise<void> {
    const {tell} = await import('./orders/follow.ts')
    await this.#link.writeLazily(() => tell(this.#link, written))
  }

  async told(job: RowRef, after: number): Promise<Told[]> {
    const {told} = await import('./orders/follow.ts')
    return this.#link.read(() => told(this.#link, job, after))
  }

  async result(id: number): Promise<StoredResult | null> {
    const {resultOf} = await import('./side-tables/results.ts')
    return this.#link.read(() => resultOf(this.#link, id))
  }

  async batchMarked(mark: string): Promise<RowRef | null> {
    const {batchMarked} = await import('./side-tables/batches.ts')
    return this.#link.read(() => batchMarked(this.#link, mark))
  }

  async batch(id: number): Promise<BatchState | null> {
    const {batchOf} = await import('./side-tables/batches.ts')
    return this.#link.read(() => batchOf(this.#link, id))
  }

  async setArg(lease: Lease, arg: StoredArg): Promise<boolean> {
    const {setArg} = await import('./side-tables/batches.ts')
    return this.#link.writeLazily(() => setArg(this.#link, lease, arg))
  }

  async tellProgress(told: readonly (RowRef & Progress)[]): Promise<void> {
    const {tellProgress} = await import('./side-tables/progress.ts')
    await this.#link.writeLazily(() => tellProgress(this.#link, told))
  }

  async forgetProgress(jobs: readonly RowRef[]): Promise<void> {
    const {forgetProgress} = await import('./side-tables/progress.ts')
    await this.#link.writeLazily(() => forgetProgress(this.#link, jobs))
  }

  async progress(jobs: readonly RowRef[]): Promise<JobProgress[]> {
    const {progressIn} = await import('./side-tables/progress.ts')
    return this.#link.read(() => progressIn(this.#link, jobs))
  }

  async sweepResults(): Promise<boolean> {
    const {sweepResults} = await import('./side-tables/results.ts')
    return this.#link.writeLazily(() => sweepResults(this.#link))
  }

  async beside(): Promise<Beside> {
    const {areAnyOver} = await import('./side-tables/results.ts')
    return this.#link.read(() => {
      const first = 'SELECT expires_at FROM jobq_expiry ORDER BY expires_at LIMIT 1'
      const expiresAt = this.#link.pluck(first).get() as number | undefined
      return {
        hasTags: this.#link.pluck('SELECT EXISTS (SELECT 1 FROM jobq_tag)').get() === 1,
        expiryIn: expiresAt === undefined ? null : expiresAt - this.#link.now(),
        hasOldResults: areAnyOver(this.#link),
      }
    })
  }

  async expire(): Promise<{expired: ExpiredJob[]; isMore: boolean}> {
    const {memory, settle} = this.#work ?? (await this.#startWork())
    const {expire} = await import('./side-tables/expire.ts')
    const done = await this.#link.write(() => {
      memory.forgetIfChanged()
      return expire(this.#link, settle)
    })
    this.#ring()
    return done
  }

  async forgetBeside(jobs: readonly RowRef[]): Promise<void> {
    const {forgetBeside} = await import('./side-tables/tags.ts')
    await this.#link.writeLazily(() => forgetBeside(this.#link, jobs))
  }

  async sweepTags(from: number): Promise<number | null> {
    const {sweepTags} = await import('./side-tables/tags.ts')
    return sweepTags(this.#link, from)
  }

  async edit(id: number, changes: JobChanges): Promise<EnqueuedJob | 'gone' | 'running'> {
    const {editJob} = await import('./orders/steer.ts')
    const edited = await this.#link.write(() => editJob(this.#link, this.#inserts, id, changes))
    if (typeof edited === 'object') this.#ring()
    return edited
  }

  async beat(manager: Beat): Promise<void> {
    const {beat} = await import('./managers/managers.ts')
    await beat(this.#link, manager)
  }

  async leave(id: Beat['id']): Promise<void> {
    const {leave} = await import('./managers/managers.ts')
    await leave(this.#link, id)
  }

  async managers(): Promise<ManagerRow[]> {
    const {managers} = await import('./managers/managers.ts')
    return managers(this.#link)
  }

  async schedules(): Promise<Schedules> {
    const {schedulesIn} = await import('./managers/schedules.ts')
    return this.#link.read(() => schedulesIn(this.#link))
  }

  async takeUp(schedules: readonly ScheduleDefinition[]): Promise<void> {
    const {takeUp} = await import('./managers/schedules.ts')
    await this.#link.write(() => takeUp(this.#link, schedules))
  }

  async tick(tick: Tick, job: NewJob | null): Promise<Ticked> {
    const {passTick} = await import('./managers/schedules.ts')
    const ticked = await this.#link.write(() => passTick(this.#link, this.#inserts, tick, job))
    if (ticked.job) this.#ring()
    return ticked
  }

  async logAction(action: Action): Promise<RowRef> {
    const {logAction} = await import('./managers/actions.ts')
    return logAction(this.#link, action)
  }

  async countAction(action: RowRef, jobs: number): Promise<void> {
    const {countAction} = await import('./managers/actions.ts')
    await countAction(this.#link, action, jobs)
  }

  async actions(page: ActionPage): Promise<ActionRow[]> {
    const {actions} = await import('./managers/actions.ts')
    return actions(this.#link, page)
  }

  find = (id: number, _db?: number, extras?: Extras) => this.#read(reads => reads.find(id, extras))
  history = (id: number) => this.#read(reads => reads.history(id))
  output = (id: number) => this.#read(reads => reads.output(id))
  list = (page: JobPage) => this.#look('list', page)
  exceptions = (page: ExceptionPage) => this.#look('exceptions', page)
  statuses = (page: LogPage) => this.#look('statuses', page)
  eachJob = (page: JobPage) => each((place: JobPlace | null) => this.#look('jobs', page, place))
  eachException = (page: ExceptionPage) =>
    each((place: LogPlace | null) => this.#look('exceptionLog', page, place))
  eachStatus = (page: LogPage) => each((place: LogPlace | null) => this.#look('statusLog', page, place))
  eachId = (choice: IdChoice = {}) => each((place: IdPlace | null) => this.#look('jobIds', choice, place))
  logCount = (table: LogTable, choice: Choice) => this.#look('logCount', table, choice)
  funcs = () => this.#read(reads => reads.funcs())
  warnings = async (): Promise<string[]> => []
  tooLargeId = () => this.#link.read(() => this.#link.tooLargeId('job'))
  counts = (func?: string) => this.#look('counts', func)
  times = (func?: string) => this.#look('times', func)
  attempts = (func?: string) => this.#look('attempts', func)

  /** Tells everything from here on, though the file is watched a moment later only: the change counter is read now. */
  watch(onChange: () => void): Watch {
    const since = this.#link.dataVersion()
    let isClosed = false
    let stop = () => {}
    const watch = {
      close: () => {
        isClosed = true
        this.#watches.delete(watch)
        stop()
      },
    }
    this.#watches.set(watch, onChange)
    const start = async () => {
      const {watchFile} = await import('./watch.ts')
      if (isClosed) return
      stop = watchFile(this.#link, since, onChange, message => this.#tellBlind(message))
      if (isClosed) stop() // by onChange, which the first look may have called
    }
    if (!this.#link.db.memory) void start()
    return watch
  }

  /** Once, however often it is watched. */
  #tellBlind(message: string): void {
    if (!this.#isBlind) this.#onTrouble(message)
    this.#isBlind = true
  }

  async close(): Promise<void> {
    clearInterval(this.#guarding)
    for (const watch of this.#watches.keys()) watch.close()
    await this.#longReads?.end()
    await this.#link.end()
    this.#link.close()
  }

  /** This process has changed something itself. */
  #ring(): void {
    for (const onChange of this.#watches.values()) onChange()
  }

  async #startWork(): Promise<Work> {
    const {SqliteLanes} = await import('./lanes.ts')
    const {SqliteMemory} = await import('./memory.ts')
    const {SqliteSettle} = await import('./settle.ts')
    if (this.#work) return this.#work // two first turns at once: what is remembered must be one
    const memory = new SqliteMemory(this.#link)
    const settle = new SqliteSettle(this.#link, memory, this.#inserts)
    this.#work = {memory, settle, lanes: new SqliteLanes(this.#link, memory, this.#inserts, settle)}
    return this.#work
  }

  async #startReads(): Promise<SqliteReads> {
    const {SqliteReads} = await import('./reads.ts')
    this.#reads ??= new SqliteReads(this.#link)
    return this.#reads
  }

  async #startLongReads(): Promise<LongReads> {
    const {LongReads} = await import('./long-reads.ts')
    this.#longReads ??= new LongReads(this.#link)
    return this.#longReads
  }

  async #read<T>(work: (reads: SqliteReads) => T): Promise<T> {
    const reads = this.#reads ?? (await this.#startReads())
    return this.#link.read(() => work(reads))
  }

  /** Where an event loop must go on, what may take long is another thread's. */
  async #look<What extends Read['what']>(
    what: What,
    ...args: Parameters<SqliteReads[What]>
  ): Promise<ReturnType<SqliteReads[What]>> {
    type Found = ReturnType<SqliteReads[What]>
    const read = {what, args}
    if (!this.#isBrief && !this.#link.db.memory) {
      const longReads = this.#longReads ?? (await this.#startLongReads())
      if (await this.#link.read(() => longReads.has(read))) return (await longReads.do(read)) as Found
    }
    return this.#read(reads => reads.do(read) as Found)
  }
}
