/**
 * Storing a job in a transaction of the caller's own, on a connection of mysql2 that the application has open on the
 * queue's database.
 */
import type {Connection} from 'mysql2'
import {SqlSender} from '../../jobs/connections.ts'
import {JobqError, StoreError, TransactionError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {classOf} from '../../jobs/value.ts'
import {
  bound,
  type MysqlConnection,
  type Reply,
  type Row,
  reply,
  type Session,
  sizeOf,
  type TextColumn,
  type Value,
} from './connections/connection.ts'
import type {MysqlConnections} from './connections/connections.ts'
import {checkPacket, ERRNO, explain, hasErrno, isLost, isRefusedHere} from './errors.ts'
import {hasBesides, Inserter, unmake} from './insert.ts'

/** Bits of the status that the server sends with every OK. */
const STATUS = {inTransaction: 1, autocommit: 2, readOnly: 0x2000}
/** Warnings that say a text or number was cut to fit: with a strict sql_mode they are errors. */
const CUT = [ERRNO.outOfRange, 1265, 1366, 1406]

const BEGIN = 'call `await connection.beginTransaction()` first, and enqueue before the commit'

/** Whose transaction it is: its connection, or what sends SQL in an ORM's. */
type Caller = Connection | SqlSender

/** Where a connection leads. */
interface Place {
  database: string
  /** The same text on every node of a cluster. */
  server: string
}

/** What is known of the queue's database. */
type Own = Pick<MysqlConnection, 'names' | 'keys' | 'maxBytes'>

/** Nothing is remembered of the database from one call to the next: the caller may have rolled back in between. */
export class CallerTransaction {
  readonly #links: MysqlConnections
  readonly #name: string
  #own: (Place & Own) | null = null
  readonly #servers = new WeakMap<Caller, string>()
  /** What a connection is at: its calls are done one after the other. */
  readonly #last = new WeakMap<Caller, Promise<unknown>>()

  constructor(links: MysqlConnections, name: string) {
    this.#links = links
    this.#name = name
  }

  /** As Store.places. */
  async place(): Promise<string> {
    const {database, server} = await this.#askOwn()
    return `mysql ${database} ${server}`
  }

  /** What is refused leaves the caller's transaction as it was. @throws TransactionError, DuplicateJobError, StoreError */
  async enqueue(connection: unknown, job: NewJob): Promise<EnqueuedJob> {
    const caller = callerOf(connection)
    const before = this.#last.get(caller) ?? Promise.resolve()
    const enqueued = before.then(() => this.#enqueue(caller, job))
    this.#last.set(
      caller,
      enqueued.catch(() => {}),
    )
    return enqueued
  }

  async #enqueue(caller: Caller, job: NewJob): Promise<EnqueuedJob> {
    const guest = new CallerConnection(caller, this.#own ?? (await this.#askOwn()))
    try {
      checkStatus((await guest.send('DO 0')).status)
      const {now, funcId} = await this.#look(guest, job.func)
      const inserter = new Inserter(guest, now)
      if (funcId !== null) inserter.know(job.func, funcId)
      const isOne = funcId !== null && !hasBesides(job)
      const [enqueued] = isOne
        ? await insertOne(guest, inserter, job)
        : await insertAtomically(guest, inserter, job)
      return enqueued!
    } catch (error) {
      throw await this.#explained(guest, error)
    }
  }

  /** The time, and the function's id if it has one yet. */
  async #look(guest: CallerConnection, func: string): Promise<{now: number; funcId: number | null}> {
    const sql = `SELECT UNIX_TIMESTAMP() AS now, ${DATABASE} AS db,
      (SELECT id FROM func WHERE name = ${guest.names.literal(func)}) AS id`
    let row: Row
    try {
      row = (await guest.run(sql)).rows[0]!
    } catch (error) {
      if (!isLost(error))
        await this.#checkPlace(guest, String((await guest.run(`SELECT ${DATABASE} AS db`)).rows[0]!.db))
      throw error
    }
    await this.#checkPlace(guest, String(row.db))
    return {now: Number(row.now), funcId: row.id === null ? null : Number(row.id)}
  }

  async #checkPlace(guest: CallerConnection, database: string): Promise<void> {
    const known = this.#servers.get(guest.caller)
    const theirs = {database, server: known ?? (await serverOf(guest))}
    if (isSame(theirs, this.#own!)) {
      this.#servers.set(guest.caller, theirs.server)
      return
    }
    const own = await this.#askOwn() // which may have moved to another server since
    if (isSame(theirs, own)) return
    const where = theirs.database === own.database ? `${theirs.database} on another server` : theirs.database
    throw new TransactionError(
      `expected a connection to ${own.database}, the queue's database ${this.#name}, got one to ${where}`,
      {hint: 'the job is stored in the transaction only if both are in the same database', isElsewhere: true},
    )
  }

  async #askOwn() {
    this.#own = await this.#links.read(async link => {
      const {rows} = await link.run(`SELECT ${DATABASE} AS db`)
      return {
        database: String(rows[0]!.db),
        server: await serverOf(link),
        names: hexadecimal(link.names),
        keys: hexadecimal(link.keys),
        maxBytes: link.maxBytes,
      }
    })
    return this.#own
  }

  async #explained(guest: CallerConnection, error: unknown): Promise<unknown> {
    if (error instanceof JobqError) return error
    if (isLost(error))
      return new TransactionError('the connection is closed, and its transaction is rolled back', {
        hint: 'begin the transaction again on a new connection',
        cause: error,
      })
    if (isRefusedHere(error))
      return new TransactionError(
        `the connection is to a host that takes no writes (${(error as Error).message})`,
        {hint: 'connect it to one that does, and begin the transaction again there', cause: error},
      )
    if (!hasErrno(error, ERRNO.deadlock) && (await guest.isOpen())) return explain(this.#name, error)
    return new TransactionError(
      `the server has rolled back the whole transaction, all of yours in it as well (${(error as Error).message})`,
      {
        hint: 'begin it again; what is sent on this connection before that is in no transaction',
        cause: error,
      },
    )
  }
}

async function insertOne(guest: CallerConnection, inserter: Inserter, job: NewJob): Promise<EnqueuedJob[]> {
  try {
    return await inserter.insert([job])
  } catch (error) {
    // It is stored, and has an id that JavaScript can't hold
    throw error instanceof StoreError ? await unmake(guest, error, ['LAST_INSERT_ID()']) : error
  }
}

/** More than one row, the function's say: all of them or none. */
async function insertAtomically(
  guest: CallerConnection,
  inserter: Inserter,
  job: NewJob,
): Promise<EnqueuedJob[]> {
  await guest.run('SAVEPOINT jobq_enqueue')
  try {
    const enqueued = await inserter.insert([job])
    await guest.run('RELEASE SAVEPOINT jobq_enqueue')
    return enqueued
  } catch (error) {
    // A deadlock has ended the transaction, and the savepoint with it
    if (!isLost(error) && !hasErrno(error, ERRNO.deadlock))
      for (const sql of ['ROLLBACK TO SAVEPOINT jobq_enqueue', 'RELEASE SAVEPOINT jobq_enqueue'])
        await guest.run(sql).catch(failed => {
          if (!hasErrno(failed, ERRNO.notThere)) throw failed
        })
    throw error
  }
}

/**
 * A caller's connection, one statement at a time. It is set up as its owner likes: values are sent as hexadecimal text,
 * which means the same in every character set and sql_mode.
 */
class CallerConnection implements Session {
  readonly caller: Caller
  readonly names: TextColumn
  readonly keys: TextColumn
  readonly #maxBytes: number

  constructor(caller: Caller, {names, keys, maxBytes}: Own) {
    this.caller = caller
    this.names = names
    this.keys = keys
    this.#maxBytes = maxBytes
  }

  literal(value: Value): string {
    if (value === null || typeof value === 'number') return String(value)
    return typeof value === 'string' ? UNICODE.literal(value) : hex(value)
  }

  async run(statement: string): Promise<Reply> {
    return (await this.send(statement)).reply
  }

  async execute(statement: string, values: Value[]): Promise<Reply> {
    return (await this.send(statement, values)).reply
  }

  /** True where the server's status is not told. */
  async isOpen(): Promise<boolean> {
    const {status} = await this.send('DO 0')
    return status === null || (status & STATUS.inTransaction) !== 0
  }

  /** @returns the server's status, too; null if it is not told: for a statement that returns rows, and by most ORMs */
  async send(sql: string, values?: Value[]): Promise<{reply: Reply; status: number | null}> {
    const {reply, status, warnings} =
      this.caller instanceof SqlSender
        ? await this.#sendBy(this.caller, sql, values)
        : await this.#sendOn(this.caller, sql, values)
    if (warnings !== 0 && sql.startsWith('INSERT')) await this.#checkWarnings()
    return {reply, status}
  }

  async #sendOn(connection: Connection, sql: string, values?: Value[]): Promise<Told> {
    checkPacket(sql.length + (values ? sizeOf(values) : 0), this.#maxBytes)
    const options = {sql, rowsAsArray: false, nestTables: false, typeCast: true}
    const answer = await new Promise((resolve, reject) => {
      const done = (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer))
      if (values) connection.execute(options, bound(values), done)
      else connection.query(options, done)
    })
    const {serverStatus = null, warningStatus = 0} = answer as {serverStatus?: number; warningStatus?: number}
    return {reply: reply(answer), status: serverStatus, warnings: warningStatus}
  }

  /** Values are part of the text. */
  async #sendBy(sender: SqlSender, sql: string, values: Value[] = []): Promise<Told> {
    const left = values.values()
    const text = values.length === 0 ? sql : sql.replace(/\?/g, () => this.literal(left.next().value!))
    checkPacket(text.length, this.#maxBytes)
    const {rows, affectedRows, insertId, serverStatus, warningStatus} = await sender.send(text)
    const isInsert = sql.startsWith('INSERT')
    const id = insertId ?? (isInsert ? await lastId(sender) : 0)
    return {
      reply: {rows, matched: affectedRows ?? 0, insertId: id},
      status: serverStatus ?? null,
      warnings: warningStatus ?? (isInsert ? null : 0),
    }
  }

  async #checkWarnings(): Promise<void> {
    const {rows} = await this.run('SHOW WARNINGS')
    const cut = rows.find(({Code}) => CUT.includes(Number(Code)))
    if (cut)
      throw Object.assign(new Error(String(cut.Message)), {code: 'ER_WARNING', errno: Number(cut.Code)})
  }
}

interface Told {
  reply: Reply
  status: number | null
  /** null: how many is not told. */
  warnings: number | null
}

async function lastId(sender: SqlSender): Promise<number> {
  return Number((await sender.send('SELECT LAST_INSERT_ID() AS id')).rows[0]!.id)
}

const DATABASE = `COALESCE(IF(@@lower_case_table_names = 0, DATABASE(), LOWER(DATABASE())), 'no database')`

/** A cluster has a name of its own: connections to it may lead to different nodes. */
async function serverOf(session: Pick<Session, 'run'>): Promise<string> {
  const cluster: string[] = []
  for (const sql of [
    "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'",
    "SHOW GLOBAL VARIABLES LIKE 'group_replication_group_name'",
  ])
    for (const {Value} of (await session.run(sql)).rows) cluster.push(String(Value))
  const name = cluster.find(each => each !== '')
  if (name !== undefined) return name
  const {rows} = await session.run(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('hostname', 'port', 'datadir', 'server_uuid', 'server_uid')",
  )
  return JSON.stringify(rows.map(({Value}) => String(Value)))
}

function isSame(a: Place, b: Place): boolean {
  return a.database === b.database && a.server === b.server
}

/** @throws TransactionError */
function callerOf(value: unknown): Caller {
  if (value instanceof SqlSender) return value
  if (isConnection(value)) return value
  const wrapped = (value as {connection?: unknown} | null | undefined)?.connection
  if (isConnection(wrapped)) return wrapped
  if (typeof (value as {getConnection?: unknown} | null | undefined)?.getConnection === 'function')
    throw new TransactionError(`expected a connection in a transaction, got ${classOf(value)}`, {
      hint: 'a pool sends each statement where it likes: take one with `await pool.getConnection()`',
    })
  throw new TransactionError(`expected a connection of mysql2, got ${classOf(value)}`, {
    hint: 'the queue is in MySQL: give the connection itself, not what wraps it',
    isElsewhere: true,
  })
}

/** It may be another copy of mysql2, with or without promises: it is known by what it can do. */
function isConnection(value: unknown): value is Connection {
  const connection = value as Partial<
    Record<'query' | 'execute' | 'beginTransaction' | 'promise', unknown>
  > | null
  return (
    typeof connection === 'object' &&
    connection !== null &&
    typeof connection.query === 'function' &&
    typeof connection.execute === 'function' &&
    typeof connection.beginTransaction === 'function' &&
    typeof connection.promise === 'function' // what has none is the wrapper with promises
  )
}

/** Without autocommit the first statement begins one. @throws TransactionError */
function checkStatus(status: number | null): void {
  if (status === null) return
  if ((status & STATUS.inTransaction) === 0 && (status & STATUS.autocommit) !== 0)
    throw new TransactionError('the connection is in no transaction', {hint: BEGIN})
  if ((status & STATUS.readOnly) !== 0)
    throw new TransactionError('the transaction is READ ONLY', {hint: 'begin one that may write'})
}

function hex(value: Uint8Array): string {
  return `X'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`
}

const UNICODE: TextColumn = {
  literal: text => `_utf8mb4 ${hex(Buffer.from(text))}`,
  select: column => column,
}

/** Bytes in a latin1 column are written so already. */
function hexadecimal(column: TextColumn): TextColumn {
  return /^_latin1/.test(column.literal('')) ? column : UNICODE
}
