/** Databases of a test's own on a PostgreSQL server, and another program's way into them. */
import {randomBytes} from 'node:crypto'
import type {TestContext} from 'node:test'
import pg from 'pg'
import type {PostgresConnectionOptions} from '../../src/lib/store/postgres/connections/connections.ts'
import {type PostgresStore, postgresStore} from '../../src/lib/store/postgres/store.ts'
import type {Foreign} from '../store/suite/bench.ts'

/** Can this URL be connected to? */
export async function answersPostgres(url: string): Promise<boolean> {
  const client = new pg.Client({connectionString: url, connectionTimeoutMillis: 3000})
  client.on('error', () => {})
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

/** A database of the test's own, prepared, and a store on it. */
export async function prepared(
  t: TestContext,
  url: string,
): Promise<{db: PostgresDatabase; store: PostgresStore}> {
  const db = await PostgresDatabase.create(url)
  const store = db.store()
  t.after(async () => {
    await store.close()
    await db.remove()
  })
  await store.init()
  return {db, store}
}

const BESIDE = [
  'jobq_context',
  'jobq_wait',
  'jobq_attempt',
  'jobq_output',
  'jobq_order',
  'jobq_manager',
  'jobq_schedule',
  'jobq_after',
  ...['jobq_tag', 'jobq_expiry', 'jobq_key', 'jobq_share', 'jobq_rate', 'jobq_action'],
  ...['jobq_result', 'jobq_progress', 'jobq_batch', 'jobq_token'],
]

export class PostgresDatabase {
  readonly url: string
  readonly name = `jobq_test_${randomBytes(6).toString('hex')}`
  readonly #server: string
  readonly #perl: pg.Client
  readonly #foreign: pg.Client[] = []
  readonly #pool: PostgresDatabase[] | undefined

  private constructor(server: string, pool: PostgresDatabase[] | undefined) {
    this.#server = server
    this.#pool = pool
    this.url = Object.assign(new URL(server), {pathname: `/${this.name}`}).href
    this.#perl = new pg.Client(this.url)
    this.#perl.on('error', () => {}) // the server is restarted, or the connection ended, by a test
  }

  /** A new one; or with a pool one from there, which goes back empty: making one takes longer than most tests. */
  static async create(server: string, pool?: PostgresDatabase[]): Promise<PostgresDatabase> {
    const used = pool?.pop()
    if (used) return used
    const database = new PostgresDatabase(server, pool)
    await database.#onServer(`CREATE DATABASE ${database.name}`)
    await database.#onServer(`ALTER DATABASE ${database.name} SET synchronous_commit = off`)
    await database.#perl.connect()
    return database
  }

  async query(sql: string, ...values: unknown[]): Promise<Record<string, unknown>[]> {
    return (await this.#perl.query<Record<string, unknown>>(numbered(sql), values)).rows
  }

  async run(sql: string, ...values: unknown[]): Promise<number> {
    return (await this.#perl.query(numbered(sql), values)).rowCount ?? 0
  }

  async now(): Promise<number> {
    return Number((await this.query('SELECT floor(extract(epoch FROM clock_timestamp())) AS now'))[0]!.now)
  }

  readonly perlBytes = '?'
  readonly maxNumber = 2 ** 31 - 1
  readonly isSigned = true

  /** @param parameters of the URL, with its question mark */
  store(options: PostgresConnectionOptions = {}, parameters = ''): PostgresStore {
    return postgresStore(this.url + parameters, this.name, options)
  }

  async connect(): Promise<PostgresStore> {
    return this.store()
  }

  async foreign(): Promise<Foreign & {connection: pg.Client}> {
    const connection = new pg.Client(this.url)
    connection.on('error', () => {}) // a test ends it
    await connection.connect()
    this.#foreign.push(connection)
    return {
      connection,
      begin: async () => void (await connection.query('BEGIN')),
      commit: async () => void (await connection.query('COMMIT')),
      rollback: async () => void (await connection.query('ROLLBACK')),
      run: async (sql, ...values) => void (await connection.query(numbered(sql), values)),
      close: () => connection.end(),
    }
  }

  async remove(): Promise<void> {
    for (const connection of this.#foreign.splice(0)) await connection.end()
    if (!this.#pool || !(await this.#isPrepared())) return this.drop()
    for (const table of ['func', 'job', 'exception_log', 'job_status', 'jobq_death', 'jobq_pause', ...BESIDE])
      await this.query(`DELETE FROM ${table}`) // a TRUNCATE waits for the disk
    this.#pool.push(this)
  }

  async #isPrepared(): Promise<boolean> {
    const [row] = await this.query(`SELECT to_regclass('jobq_pause') AS made`)
    return row!.made !== null
  }

  async drop(): Promise<void> {
    await this.#perl.end()
    await this.#onServer(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`)
  }

  async #onServer(sql: string): Promise<void> {
    const client = new pg.Client(this.#server)
    await client.connect()
    await client.query(sql)
    await client.end()
  }
}

/** `?` as Perl writes it, `$1` as the server wants it. */
function numbered(sql: string): string {
  let nth = 0
  return sql.replaceAll('?', () => `$${++nth}`)
}
