/**
 * Jobs stored in a transaction of the caller's own, on a Database of better-sqlite3 that the application has open on
 * the queue's file.
 */
import type {Database} from 'better-sqlite3'
import type {SqlSender} from '../../jobs/connections.ts'
import {StoreError, TransactionError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {classOf} from '../../jobs/value.ts'
import {fileOf, SqliteConnection, type SqliteConnectionOptions} from './connection.ts'
import {SqliteInsert} from './insert.ts'

/** A caller's connection, with the statements that are prepared on it. */
interface CallerConnection {
  link: SqliteConnection
  inserts: SqliteInsert
}

const IMMEDIATE = 'begin it with BEGIN IMMEDIATE, or `db.transaction(…).immediate()`'

/** Nothing is remembered of the database from one call to the next: the caller may have rolled back in between. */
export class SqliteCallerTransaction {
  readonly #store: SqliteConnection
  readonly #options: SqliteConnectionOptions
  readonly #guests = new WeakMap<Database, CallerConnection>()

  constructor(store: SqliteConnection, options: SqliteConnectionOptions) {
    this.#store = store
    this.#options = options
  }

  /** What is refused leaves the caller's transaction as it was. @throws TransactionError, DuplicateJobError, StoreError */
  insert(connection: unknown, job: NewJob): EnqueuedJob {
    const db = inTransaction(connection)
    let isOpen = false
    try {
      this.#store.checkFile()
      const {link, inserts} = this.#guest(db)
      link.rollbacks++
      // Writes nothing, but asks for the lock: a transaction that has only begun waits for it, by the caller's own
      // timeout. One that has read something by then can't wait, and is told that it is busy at once.
      link.sql('UPDATE jobq_schema SET version = version WHERE 0').run()
      link.sql('SAVEPOINT jobq_enqueue').run()
      isOpen = true
      const enqueued = inserts.insert(job)
      link.sql('RELEASE jobq_enqueue').run()
      return enqueued
    } catch (error) {
      // A full disk, say, has ended the transaction, and the savepoint with it
      if (isOpen && db.inTransaction) db.exec('ROLLBACK TO jobq_enqueue; RELEASE jobq_enqueue')
      throw this.#explained(error)
    }
  }

  #guest(db: Database): CallerConnection {
    const known = this.#guests.get(db)
    if (known) return known
    this.#checkFile(db)
    const link = new SqliteConnection(db, this.#store.name, this.#options)
    const guest = {link, inserts: new SqliteInsert(link)}
    this.#guests.set(db, guest)
    return guest
  }

  #checkFile(db: Database): void {
    const [mine, theirs] = [fileOf(this.#store.db), fileOf(db)]
    if (mine === '')
      throw new TransactionError(`the queue is ${this.#store.name}, which no other connection can reach`, {
        hint: 'give the queue a file, and open the Database on the same one',
        isElsewhere: true,
      })
    if (mine !== theirs)
      throw new TransactionError(
        `expected a Database that has ${mine} open, got one of ${theirs || ':memory:'}`,
        {hint: 'the job is stored in the transaction only if both are in the same file', isElsewhere: true},
      )
    this.#store.copies?.look() // the caller's better-sqlite3 may be another
  }

  #explained(error: unknown): unknown {
    const {code, message} = error as {code?: unknown; message: string}
    if (code === 'SQLITE_BUSY_SNAPSHOT')
      return new StoreError(
        'LOCKED',
        `another process has written to ${this.#store.name} since the transaction began`,
        {
          hint: `roll back and try again; ${IMMEDIATE}`,
          cause: error,
        },
      )
    if (error instanceof TypeError && message.includes('busy executing a query'))
      return new TransactionError('the Database is in the middle of a query', {
        hint: 'end the loop over `iterate()` before a job is enqueued, or use `all()`',
        cause: error,
      })
    return this.#store.explained(error)
  }
}

/** @throws TransactionError */
function inTransaction(connection: unknown): Database {
  if (!isDatabase(connection)) {
    const {what, sqliteWay} = (connection ?? {}) as Partial<SqlSender>
    throw new TransactionError(`expected a Database of better-sqlite3, got ${what ?? classOf(connection)}`, {
      hint: sqliteWay ?? 'the queue is in SQLite: give the Database itself, not what wraps it',
      isElsewhere: sqliteWay === undefined,
    })
  }
  if (!connection.open) throw new TransactionError('the Database is closed', {hint: 'give one that is open'})
  if (!connection.inTransaction)
    throw new TransactionError('the Database is in no transaction', {hint: IMMEDIATE})
  return connection
}

/** It may be of another copy of better-sqlite3: it is known by what it can do. */
function isDatabase(value: unknown): value is Database {
  const db = value as Partial<Database> | null | undefined
  return (
    typeof db === 'object' &&
    db !== null &&
    typeof db.prepare === 'function' &&
    typeof db.open === 'boolean' &&
    typeof db.inTransaction === 'boolean'
  )
}
