/** The connection to a SQLite file, in WAL mode: statements that are prepared once, transactions, the clock. */
import {realpathSync, statSync, utimesSync} from 'node:fs'
import Sqlite, {type Database, type Statement} from 'better-sqlite3'
import {monotonic} from '../../jobs/clock.ts'
import {idTooLarge, JobqError} from '../../jobs/errors.ts'
import {MAX_ID} from '../../jobs/job.ts'
import {explain, isBusy, isFull} from './errors.ts'
import type {Copies} from './file/copies.ts'
import {type FilePlace, isAt, KnownFile, LONG_WAL, replacedError} from './file/known-file.ts'
import type {ConnectionAddress} from './thread-protocol.ts'
import type {Checkpoints} from './wal/checkpoints.ts'
import type {LongWal} from './wal/long-wal.ts'

/**
 * How long it is waited for a lock that was met: at first about as long as a durable commit takes, and a little longer
 * each time, up to this. Those who wait for a lock that is often taken must not fall behind each other.
 */
const FIRST_PAUSE_MS = 1
const MORE_PAUSE_MS = 0.25
const MAX_PAUSE_MS = 25
/** How long all attempts together may take before LOCKED is raised. */
const LOCK_PATIENCE_MS = 30_000
/** No row comes behind it. */
const LAST_ID = 2n ** 63n - 1n
/** In a burst of durable commits, how often those who watch are told. */
const RING_PAUSE_MS = 5
/** At every so many commits that do not wait for the disk it is looked how long the WAL is. */
const LOOK_EVERY = 16

/** Of the schema in schema.ts. Here, so that a database that has it is opened without loading that. */
export const SCHEMA_VERSION = 7

export interface SqliteConnectionOptions {
  /** How long a lock is waited for, in milliseconds, before LOCKED is raised. Default 30,000. */
  patience?: number
  /** Now, in milliseconds since 1970. Default Date.now: on SQLite the host's clock is the database's. */
  clock?: () => number
  /** Told once what a person should look at: a -wal that grows because someone reads for long. Default: no one. */
  onTrouble?: ((message: string) => void) | undefined
  /** A thread's, beside the connection that looks after the file. Default false. */
  isHelper?: boolean
}

/** Raises what better-sqlite3 raises. */
export function connect(path: string, options: {fileMustExist?: boolean} = {}): Database {
  const db = new Sqlite(path, {...options, timeout: 0})
  db.pragma(`journal_size_limit = ${LONG_WAL}`) // whoever begins it anew cuts it
  return db
}

/** @throws StoreError if it is not there any more; what better-sqlite3 raises */
export function connectTo(place: FilePlace): Database {
  const db = connect(place.path, {fileMustExist: true})
  if (isAt(place)) return db
  db.close() // nothing of it was read
  throw replacedError(place)
}

/** In a thread: a connection like the one that has this address. */
export function connectLike({place, name, patience, clockOffset}: ConnectionAddress): SqliteConnection {
  const clock = () => Date.now() + clockOffset
  return new SqliteConnection(connectTo(place), name, {patience, clock, isHelper: true}, place)
}

/** The file of a connection that was opened by other means. */
function placeOf(db: Database, name: string): FilePlace {
  const path = fileOf(db)
  const {dev, ino} = statSync(path)
  return {name, at: path, path, dev, ino}
}

/** Where a connection's database is, whatever link leads there; '' if it is not in a file. */
export function fileOf(db: Database): string {
  // A pragma, not a select from one: that would be a read, and begin the transaction that is open
  const files = db.pragma('database_list') as {name: string; file: string}[]
  const {file} = files.find(({name}) => name === 'main')!
  return file === '' ? '' : realpathSync(file)
}

export class SqliteConnection {
  readonly db: Database
  readonly name: string
  /** Undefined where it is in no file, or the connection is a caller's. */
  readonly file: KnownFile | undefined
  /** Looks for other copies of SQLite. Default: nobody does. */
  copies: Copies | undefined
  /**
   * Grows with whatever this connection does that may put a job into a lane, keeps something beside one, or pauses.
   * What others remember of the database from one transaction to the next is theirs to drop: this, `rollbacks` and
   * `dataVersion` tell them when.
   */
  arrivals = 0
  /** Grows with every rollback: what was read or made since BEGIN or SAVEPOINT is no more. */
  rollbacks = 0
  /** Does a commit survive a power cut? */
  isDurable = true
  /** The -shm file's path; '' where there is none to touch. */
  #shm: string | undefined
  #rungAt = 0
  #laterRing: NodeJS.Timeout | undefined
  #commits = 0
  #checkpoints: Checkpoints | undefined
  #longWal: LongWal | undefined
  #isClosing = false
  readonly #clock: () => number
  /** Milliseconds, of which only differences mean anything. */
  readonly elapsed: () => number
  readonly #patience: number
  readonly #onTrouble: (message: string) => void
  readonly #isHelper: boolean
  readonly #statements = new Map<string, Statement<unknown[]>>()
  readonly #raws = new Map<string, Statement<unknown[]>>()
  readonly #plucks = new Map<string, Statement<unknown[]>>()

  constructor(
    db: Database,
    name: string,
    {
      clock = Date.now,
      patience = LOCK_PATIENCE_MS,
      onTrouble = () => {},
      isHelper = false,
    }: SqliteConnectionOptions,
    place?: FilePlace,
  ) {
    this.db = db
    this.name = name
    this.file = place && new KnownFile(db, place)
    this.#clock = clock
    this.elapsed = clock === Date.now ? monotonic : clock
    this.#patience = patience
    this.#onTrouble = onTrouble
    this.#isHelper = isHelper
  }

  /** The first read of the file: what is no database shows here. */
  async setDurable(durable: boolean): Promise<void> {
    this.isDurable = durable
    await this.patiently(() => this.db.pragma(`synchronous = ${durable ? 'FULL' : 'NORMAL'}`))
  }

  /** @throws where the file is gone */
  get place(): FilePlace {
    return this.file?.place ?? placeOf(this.db, this.name)
  }

  /** What another thread needs for a connection like this one. @throws StoreError */
  get address(): ConnectionAddress {
    try {
      const clockOffset = this.#clock() - Date.now()
      const {name, isDurable} = this
      return {place: this.place, name, isDurable, patience: this.#patience, clockOffset}
    } catch (error) {
      throw this.explained(error) // the file is gone
    }
  }

  /** A statement, prepared once. */
  sql(text: string): Statement<unknown[]> {
    return this.#statements.get(text) ?? this.#prepare(this.#statements, text)
  }

  /** One whose rows are arrays. */
  raw(text: string): Statement<unknown[]> {
    return this.#raws.get(text) ?? this.#prepare(this.#raws, text).raw()
  }

  /** One whose rows are their first value. */
  pluck(text: string): Statement<unknown[]> {
    return this.#plucks.get(text) ?? this.#prepare(this.#plucks, text).pluck()
  }

  #prepare(statements: Map<string, Statement<unknown[]>>, text: string): Statement<unknown[]> {
    const statement = this.db.prepare<unknown[]>(text).safeIntegers(false) // a caller's connection may have it otherwise
    statements.set(text, statement)
    return statement
  }

  now(): number {
    return Math.floor(this.#clock() / 1000)
  }

  nowMs(): number {
    return Math.floor(this.#clock())
  }

  /** Grows with every commit of another connection; null if it can't be read: the next turn says why. */
  dataVersion(): number | null {
    try {
      return this.pluck('PRAGMA data_version').get() as number
    } catch {
      return null
    }
  }

  /** Undefined where jobq has not made its tables. One read, so that every open can ask. */
  schemaVersion(): number | undefined {
    try {
      return this.db.prepare('SELECT version FROM jobq_schema').pluck().get() as number | undefined
    } catch (error) {
      if ((error as Error).message.startsWith('no such table')) return undefined
      throw error
    }
  }

  /** The greatest id of a table if it is beyond what JavaScript can hold, in its digits; else null. */
  tooLargeId(table: string): string | null {
    const digits = this.pluck(`SELECT CAST(max(id) AS TEXT) FROM ${table}`).get() as string | null
    return Number(digits) > MAX_ID ? digits : null
  }

  /** Several reads of one moment. */
  read<T>(work: () => T): Promise<T> {
    return this.patiently(() => {
      this.sql('BEGIN').run()
      return this.#finish(work)
    })
  }

  /**
   * BEGIN IMMEDIATE … COMMIT, run in one go: no other work of this process comes between its statements. A lock held by
   * another process is never waited for within SQLite, which would block the event loop: see `patiently`.
   */
  write<T>(work: () => T): Promise<T> {
    return this.#told(() => this.transact(work))
  }

  /** As write, for what writes by a single statement, which is a transaction by itself: two statements less. */
  writeOne<T>(work: () => T): Promise<T> {
    return this.#told(work)
  }

  /** As write, for what a power cut may take back: it does not wait for the disk, and nobody is told. */
  writeLazily<T>(work: () => T): Promise<T> {
    return this.patiently(() => {
      if (!this.isDurable) return this.transact(work)
      this.db.pragma('synchronous = NORMAL')
      try {
        return this.transact(work)
      } finally {
        this.db.pragma('synchronous = FULL')
      }
    })
  }

  #told<T>(commit: () => T): Promise<T> {
    const pause = this.#checkpoints?.pause
    if (pause) return pause.then(() => this.#told(commit))
    return this.patiently(() => {
      const result = commit()
      if (this.copies?.areMany) this.file!.look() // a thread may have closed it meanwhile, and taken the -wal away
      this.ring()
      if (!this.isDurable && ++this.#commits % LOOK_EVERY === 0) this.#lookAtWal()
      return result
    })
  }

  #lookAtWal(): void {
    if (this.#checkpoints) this.#checkpoints.look()
    else if (!this.db.memory) void this.#startCheckpoints()
  }

  async #startCheckpoints(): Promise<void> {
    const {Checkpoints} = await import('./wal/checkpoints.ts')
    try {
      if (this.db.open) this.#checkpoints ??= new Checkpoints(this.db, this.place)
    } catch {
      // The file is gone: whoever asks for it by its name is told
    }
  }

  /**
   * Behind a durable commit: touches the -shm file, so that those who watch look now. They have looked when it was
   * written, but then it waited for the disk, and there was nothing to see. Commits that follow within RING_PAUSE_MS are
   * told of together, at its end: a touch costs 25 µs and more, a quarter of a commit.
   */
  ring(): void {
    if (!this.isDurable || this.#shm === '' || this.#laterRing) return
    const sinceLast = Date.now() - this.#rungAt
    if (sinceLast >= RING_PAUSE_MS || sinceLast < 0) this.#touch()
    else this.#laterRing = setTimeout(() => this.#touch(), RING_PAUSE_MS)
  }

  #touch(): void {
    clearTimeout(this.#laterRing)
    this.#laterRing = undefined
    this.#rungAt = Date.now()
    try {
      this.#shm ??= this.db.memory ? '' : `${this.place.path}-shm`
      const now = Date.now() / 1000
      if (this.#shm !== '') utimesSync(this.#shm, now, now)
    } catch {
      this.#shm = '' // none in this journal mode, or another user's: those who watch look again by themselves
    }
  }

  /** As write, but a lock is not waited for: within `patiently`. */
  transact<T>(work: () => T): T {
    this.sql('BEGIN IMMEDIATE').run()
    return this.#finish(work)
  }

  /** Within a write: what ends in one of jobq's own errors leaves nothing behind, and the write may go on. */
  savepoint<T>(name: string, work: () => T): T {
    this.sql(`SAVEPOINT ${name}`).run()
    try {
      const result = work()
      this.sql(`RELEASE ${name}`).run()
      return result
    } catch (error) {
      if (!(error instanceof JobqError)) throw error
      this.rollbacks++
      this.sql(`ROLLBACK TO ${name}`).run()
      this.sql(`RELEASE ${name}`).run()
      throw error
    }
  }

  /**
   * Now and then, before what reads or writes: is it the file that was opened, and is its -wal short? Each time where
   * another copy of SQLite may take the locks away. @throws StoreError
   */
  checkFile(): void {
    const {file, copies} = this
    if (!file) return
    if (copies?.areMany) file.look()
    else if (!file.check()) return
    copies?.check()
    if (file.walBytes > LONG_WAL && !this.#isHelper && !this.#longWal) void this.#shortenWal()
  }

  async #shortenWal(): Promise<void> {
    const {LongWal} = await import('./wal/long-wal.ts')
    if (this.#isClosing || this.#longWal) return
    this.#longWal = new LongWal(this.file!, this.#onTrouble, () => {
      this.#longWal = undefined
    })
  }

  /** After a transaction that failed for want of room: what it has left in the -wal is cut off. */
  async cutWal(): Promise<void> {
    if (!this.file) return
    const {cutWal} = await import('./wal/long-wal.ts')
    const {place} = this.file
    cutWal(this.db, place, () => connectTo(place))
  }

  /** Repeats what met a lock, a little later each time, until the patience is at its end. @throws StoreError */
  patiently<T>(work: () => T): Promise<T> {
    // Nearly always the only attempt, and once a job: no async function, which keeps 300 bytes more
    try {
      this.checkFile()
      return Promise.resolve(work())
    } catch (error) {
      return this.#again(error, work)
    }
  }

  async #again<T>(first: unknown, work: () => T): Promise<T> {
    const giveUpAt = monotonic() + this.#patience
    let error = first
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause + MORE_PAUSE_MS, MAX_PAUSE_MS)) {
      if (isFull(error)) await this.cutWal()
      if (!isBusy(error) || monotonic() >= giveUpAt) throw this.explained(error)
      const ms = pause * (0.5 + Math.random())
      await new Promise(resolve => setTimeout(resolve, ms))
      try {
        this.checkFile()
        return work()
      } catch (next) {
        error = next
      }
    }
  }

  /** What went wrong, in a user's words. */
  explained(error: unknown): unknown {
    const told = explain(this.name, error)
    if (told === error) return told
    try {
      this.file?.look() // a file that is emptied, say, is damaged first
    } catch (replaced) {
      return replaced
    }
    const table = isFull(error) ? this.#tableWithoutIds() : undefined
    return table === undefined ? told : idTooLarge(table, String(LAST_ID))
  }

  /** Ids that have come to their end are, in SQLite's words, a disk that is full. */
  #tableWithoutIds(): string | undefined {
    try {
      return this.db.prepare(`SELECT name FROM sqlite_sequence WHERE seq = ${LAST_ID}`).pluck().get() as
        | string
        | undefined
    } catch {
      return undefined // not even the tables are there
    }
  }

  /** Before close(): the threads that work for it, if there are any, end. */
  async end(): Promise<void> {
    this.#isClosing = true
    await this.#longWal?.end()
    await this.#checkpoints?.end()
  }

  close(): void {
    if (this.#laterRing) this.#touch()
    this.db.close()
  }

  #finish<T>(work: () => T): T {
    try {
      const result = work()
      this.sql('COMMIT').run()
      return result
    } catch (error) {
      this.rollbacks++
      if (this.db.inTransaction) this.sql('ROLLBACK').run()
      throw error
    }
  }
}
