/**
 * The job store on SQLite: one connection (connection.ts), and each method one transaction on it. What an enqueue does
 * not need is loaded at its first use: each further module costs a process about 0.4 ms, and most are short.
 */
import {statSync} from 'node:fs'
import type {Database} from 'better-sqlite3'
import type {EnqueuedJob, JobEnd, Lease, NewJob, RowRef, Settlement} from '../../jobs/job.ts'
import type {JobPlace} from '../shared/listing.ts'
import type {LogPlace} from '../shared/logs.ts'
import {each} from '../shared/stretch.ts'
import type {
  Choice,
  ExceptionPage,
  JobPage,
  LogTable,
  Older,
  Page,
  Peek,
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

export interface SqliteOptions extends SqliteConnectionOptions {
  /** Make the file's folder (0700) if it is missing. Default false. */
  makeFolder?: boolean
  /** false: a commit may be lost by a power cut (never by a crash). For a dispatcher. Default true. */
  durable?: boolean
  /** The process is gone when it has read: long reads keep nobody waiting. Default false. */
  brief?: boolean
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
  const {db, place} = await open(path, options.makeFolder ?? false)
  const store = new SqliteStore(db, path, options, place)
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

async function open(path: string, makeFolder: boolean): Promise<{db: Database; place?: FilePlace}> {
  if (path === ':memory:') return {db: connect(path)}
  try {
    if (!isFile(path)) {
      const {makeFile} = await import('./file/make-file.ts')
      makeFile(path, makeFolder)
    }
    const place = await claim(path)
    return {db: connectTo(place), place}
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
  #reads: SqliteReads | undefined
  #longReads: LongReads | undefined
  #work: Work | undefined
  #guarding: NodeJS.Timeout | undefined
  readonly #onTrouble: (message: string) => void
  #isBlind = false
  readonly #watches = new Map<Watch, () => void>()

  constructor(db: Database, name: string, options: SqliteOptions = {}, place?: FilePlace) {
    this.name = name
    this.#link = new SqliteConnection(db, name, options, place)
    this.#adopt = options.adopt ?? false
    this.#isBrief = options.brief ?? false
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
    const enqueued = await this.#inserts.insertTogether(job)
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

  async ends(jobs: readonly RowRef[]): Promise<JobEnd[]> {
    const {endsOf} = await import('./completions.ts')
    return endsOf(this.#link, jobs)
  }

  async nextTry(exceptionId: number): Promise<number | null> {
    const {nextTry} = await import('./retry.ts')
    return this.#link.read(() => nextTry(this.#link, exceptionId))
  }

  async retry(
    exceptionId: number,
    options: {priority: number; due: NewJob['due']; again?: boolean | undefined},
  ): Promise<EnqueuedJob> {
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

  async died(jobs: readonly RowRef[]): Promise<RowRef[]> {
    const {settle} = this.#work ?? (await this.#startWork())
    return this.#link.read(() => settle.died(jobs))
  }

  async *prune(table: LogTable, older: Older, dryRun: boolean): AsyncGenerator<number> {
    const {pruned} = await import('../shared/prune.ts')
    const {deleteRows} = await import('./prune.ts')
    const old = (after: number) => this.#look('oldRows', table, older, after)
    const remove = (ids: readonly number[]) => this.#link.write(() => deleteRows(this.#link, table, ids))
    yield* pruned(old, dryRun ? null : remove)
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

  find = (id: number) => this.#read(reads => reads.find(id))
  history = (id: number) => this.#read(reads => reads.history(id))
  list = (page: JobPage) => this.#look('list', page)
  exceptions = (page: ExceptionPage) => this.#look('exceptions', page)
  statuses = (page: Page) => this.#look('statuses', page)
  eachJob = (page: JobPage) => each((place: JobPlace | null) => this.#look('jobs', page, place))
  eachException = (page: ExceptionPage) =>
    each((place: LogPlace | null) => this.#look('exceptionLog', page, place))
  eachStatus = (page: Page) => each((place: LogPlace | null) => this.#look('statusLog', page, place))
  logCount = (table: LogTable, choice: Choice) => this.#look('logCount', table, choice)
  funcs = () => this.#read(reads => reads.funcs())
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
