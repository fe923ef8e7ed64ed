/**
 * What an application has a transaction open on: a driver's own connection, or what an ORM hands to the callback of its
 * transaction. ORMs are known by what they can do, whatever copy of them it is; none is loaded here.
 */
import {TransactionError} from './errors.ts'
import {isObject} from './value.ts'

/** A Database of better-sqlite3, known by what it can do. */
export interface SqliteConnection {
  readonly inTransaction: boolean
  /** As better-sqlite3's. */
  prepare(sql: string): unknown
}

/** A transaction of drizzle on better-sqlite3, whose callback is synchronous. */
export interface SqliteTransaction {
  /** As drizzle's. */
  run(query: never): {changes: number; lastInsertRowid: number | bigint}
}

/** A connection of mysql2, with or without promises, or a client of pg. */
export interface ServerConnection {
  /** As the driver's. */
  query(...query: never[]): unknown
}

/** What the callback of a transaction gets from drizzle (mysql2, pg, postgres.js), kysely, knex, Prisma or postgres.js. */
export type OrmTransaction =
  | {
      /** As drizzle's. */
      execute(query: never): unknown
      /** As drizzle's. */
      rollback(): never
    }
  | {
      readonly isTransaction: true
      /** As kysely's. */
      executeQuery(query: never): unknown
    }
  | {
      readonly client: object
      /** As knex's. */
      isCompleted(): boolean
    }
  | {
      /** As Prisma's. */
      $queryRawUnsafe(query: string): unknown
      /** As Prisma's. */
      $executeRawUnsafe(query: string): unknown
    }
  | {
      /** As postgres.js's. */
      unsafe(query: string): unknown
      /** As postgres.js's. */
      savepoint(work: never): unknown
    }

/** What a statement has answered. */
export interface Answer {
  rows: Record<string, unknown>[]
  /** What the ORM tells of it beside that. */
  affectedRows?: number
  insertId?: number
  /** As the server has sent them. */
  serverStatus?: number
  warningStatus?: number
}

type Asked = Record<PropertyKey, unknown>
type Send = (sql: string) => Promise<Answer>

/** Sends SQL in an ORM's transaction, whose driver's connection can't be had by public means. It has no values beside its text. */
export class SqlSender {
  /** `a transaction of kysely` */
  readonly what: string
  /** How a job comes into its transaction where that is SQLite's. */
  readonly sqliteWay: string
  readonly #send: Send

  constructor(orm: Orm, send: Send) {
    this.sqliteWay = SQLITE_WAYS[orm] ?? "the queue is in SQLite: begin a transaction on the queue's file"
    this.what = `a transaction of ${orm}`
    this.#send = send
  }

  /** @throws as the driver does, whatever the ORM has wrapped its error in */
  async send(sql: string): Promise<Answer> {
    try {
      return await this.#send(sql)
    } catch (error) {
      throw unwrapped(error)
    }
  }
}

type Orm = 'drizzle' | 'kysely' | 'Prisma' | 'postgres.js'

const SQLITE_WAYS: Partial<Record<Orm, string>> = {
  kysely:
    'kysely does not hand it out: give the Database that its SqliteDialect was made with; in the callback that is in the transaction',
  Prisma:
    'Prisma has a SQLite of its own: enqueue when its transaction has committed, or write what belongs together on a Database of better-sqlite3',
}

/** So that what is sent in one transaction goes one after the other. */
const senders = new WeakMap<object, SqlSender>()

export function isSqlite(connection: unknown): connection is SqliteConnection {
  return isObject(connection) && 'inTransaction' in connection
}

/**
 * What jobs are stored with: the driver's connection, where the ORM has it to give; else what sends SQL; what is no ORM's
 * as it is. A promise from knex only.
 * @throws TransactionError if it is the ORM, and not what it hands to the callback
 */
export function connectionIn(given: unknown): unknown {
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) return given
  const asked = given as Asked
  return (
    ofDrizzle(asked) ?? ofKysely(asked) ?? ofKnex(asked) ?? ofPrisma(asked) ?? ofPostgresJs(asked) ?? given
  )
}

const DRIZZLE_KIND = Symbol.for('drizzle:entityKind')

function ofDrizzle(tx: Asked): unknown {
  const kind = (tx.constructor as unknown as Asked | undefined)?.[DRIZZLE_KIND]
  if (typeof kind !== 'string') return undefined
  // SQLite has one connection, and nothing public that leads to it
  if (kind.includes('SQLite')) return (tx.session as {client?: unknown} | undefined)?.client ?? tx
  if (!kind.endsWith('Transaction')) throw notBegun('drizzle', 'await db.transaction(async tx => …)')
  const execute = method(tx, 'execute')
  if (!execute) return undefined
  return sender(tx, 'drizzle', async sql => {
    const answer = await execute(sql)
    return kind.startsWith('MySql') ? ofHeader((answer as unknown[])[0]) : ofPostgres(answer)
  })
}

function ofKysely(trx: Asked): unknown {
  const execute = method(trx, 'executeQuery')
  const plain = method(trx, 'withoutPlugins')
  if (!execute || !plain || typeof trx.isTransaction !== 'boolean') return undefined
  if (!trx.isTransaction) throw notBegun('kysely', 'await db.transaction().execute(async trx => …)')
  return sender(trx, 'kysely', async sql => {
    const query = {kind: 'RawNode', sqlFragments: [sql], parameters: []}
    const unplugged = plain() as {executeQuery(query: object): Promise<Answer & {numAffectedRows?: bigint}>}
    const {rows, insertId, numAffectedRows} = await unplugged.executeQuery({
      sql,
      parameters: [],
      query,
      queryId: {queryId: 'jobq'},
    })
    return {rows, ...numbers({insertId, affectedRows: numAffectedRows})}
  })
}

/** Its client in a transaction has one connection. */
function ofKnex(trx: Asked): unknown {
  const {client} = trx
  if (!isObject(client) || !method(trx, 'raw')) return undefined
  const acquire = method(client, 'acquireConnection')
  if (!acquire) return undefined
  const isCompleted = method(trx, 'isCompleted')
  if (!trx.isTransaction || !isCompleted) throw notBegun('knex', 'await knex.transaction(async trx => …)')
  if (isCompleted())
    throw new TransactionError('the transaction of knex has ended', {
      hint: 'enqueue before it is committed: await queue.enqueueIn(…)',
    })
  return acquire()
}

function ofPrisma(tx: Asked): unknown {
  const query = method(tx, '$queryRawUnsafe')
  const execute = method(tx, '$executeRawUnsafe')
  if (!query || !execute) return undefined
  if (method(tx, '$connect')) throw notBegun('Prisma', 'await prisma.$transaction(async tx => …)')
  return sender(tx, 'Prisma', async sql => {
    if (!/^\s*(SELECT|SHOW|WITH)\b/.test(sql)) return {rows: [], affectedRows: (await execute(sql)) as number}
    return {rows: ((await query(sql)) as Answer['rows']).map(bufferedRow)}
  })
}

function ofPostgresJs(sql: Asked): unknown {
  const unsafe = method(sql, 'unsafe')
  if (!unsafe || !method(sql, 'begin') === !method(sql, 'savepoint')) return undefined
  if (!method(sql, 'savepoint')) throw notBegun('postgres.js', 'await sql.begin(async sql => …)')
  return sender(sql, 'postgres.js', async text => ofPostgres(await unsafe(text)))
}

function sender(tx: object, orm: Orm, send: Send): SqlSender {
  const known = senders.get(tx)
  if (known) return known
  const made = new SqlSender(orm, send)
  senders.set(tx, made)
  return made
}

function notBegun(orm: Orm | 'knex', way: string): TransactionError {
  return new TransactionError(`expected a transaction of ${orm}, got ${orm} itself, which is in none`, {
    hint: `give what the callback gets: ${way}`,
  })
}

function method(object: Asked, name: string): ((...given: unknown[]) => unknown) | undefined {
  const found = object[name]
  return typeof found === 'function' ? found.bind(object) : undefined
}

function ofPostgres(answer: unknown): Answer {
  return {rows: (Array.isArray(answer) ? [...answer] : (answer as Answer).rows) ?? []}
}

/** What mysql2 says of a statement. */
function ofHeader(answer: unknown): Answer {
  if (Array.isArray(answer)) return {rows: answer}
  const {affectedRows, insertId, serverStatus, warningStatus} = answer as Omit<Answer, 'rows'>
  return {rows: [], ...numbers({affectedRows, insertId, serverStatus, warningStatus})}
}

function numbers<Key extends string>(told: Partial<Record<Key, unknown>>): Partial<Record<Key, number>> {
  const entries = Object.entries(told).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries.map(([name, value]) => [name, Number(value)])) as Partial<
    Record<Key, number>
  >
}

function bufferedRow(row: Record<string, unknown>): Record<string, unknown> {
  const buffered = ([name, value]: [string, unknown]) => [
    name,
    value instanceof Uint8Array && !Buffer.isBuffer(value) ? Buffer.from(value) : value,
  ]
  return Object.fromEntries(Object.entries(row).map(buffered))
}

/** Prisma's has what the driver has said in `meta`, drizzle's is about its cause. */
function unwrapped(error: unknown): unknown {
  const {meta, cause} = error as {meta?: {driverAdapterError?: {cause?: DriverCause}}; cause?: unknown}
  const told = meta?.driverAdapterError?.cause
  if (told?.originalCode === undefined) return cause instanceof Error ? cause : error
  const {originalCode, originalMessage} = told
  const isErrno = /^\d{4}$/.test(originalCode)
  return Object.assign(new Error(originalMessage ?? String(error), {cause: error}), {
    code: originalCode,
    ...(isErrno ? {errno: Number(originalCode)} : {}),
  })
}

interface DriverCause {
  originalCode?: string
  originalMessage?: string
}
