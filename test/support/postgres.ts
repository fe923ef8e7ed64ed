/** Databases of a test's own on a PostgreSQL server, and another program's way into them. */
import {randomBytes} from 'node:crypto'
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

/** Tables, indexes, functions, triggers, settings and rights, as an order of texts. */
const SHAPE = `
  SELECT md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")) AS shape FROM (
    SELECT format('%s %s %s %s %s %s', c.oid::regclass, c.relpersistence, c.relacl, a.attname, a.atttypid::regtype,
        a.attnotnull) AS line
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
      WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index
      JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_functiondef(oid) || proacl::text FROM pg_proc
      WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT format('%s %s', datconnlimit, setconfig) FROM pg_database d
      LEFT JOIN pg_db_role_setting ON d.oid = setdatabase WHERE datname = current_database()
    UNION ALL SELECT 'version ' || version FROM jobq_schema) lines`

const EMPTY = `DO $$ BEGIN
  PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
  EXECUTE (SELECT string_agg(format('DELETE FROM %s', oid::regclass), '; ') FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'jobq_schema');
  PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace;
END $$` // a TRUNCATE would wait for the disk

export class PostgresDatabase {
  readonly url: string
  readonly name = `jobq_test_${randomBytes(6).toString('hex')}`
  readonly #server: string
  readonly #perl: pg.Client
  readonly #foreign: pg.Client[] = []

  private constructor(server: string) {
    this.#server = server
    this.url = Object.assign(new URL(server), {pathname: `/${this.name}`}).href
    this.#perl = new pg.Client(this.url)
    this.#perl.on('error', () => {}) // the server is restarted, or the connection ended, by a test
  }

  static async create(server: string): Promise<PostgresDatabase> {
    const database = new PostgresDatabase(server)
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

  async shape(): Promise<string> {
    const [row] = await this.query(SHAPE).catch(() => [{shape: 'no jobq_schema'}])
    return String(row!.shape)
  }

  async empty(): Promise<void> {
    await this.#endForeign()
    await this.#perl.query(EMPTY)
  }

  async drop(): Promise<void> {
    await this.#endForeign()
    await this.#perl.end()
    await this.#onServer(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`)
  }

  async #endForeign(): Promise<void> {
    for (const connection of this.#foreign.splice(0)) await connection.end()
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
