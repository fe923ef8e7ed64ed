/** Databases of a test's own on a MySQL server, and another program's way into them. */
import {randomBytes} from 'node:crypto'
import {type Connection, createConnection, type ResultSetHeader} from 'mysql2/promise'
import {MAX_UINT32} from '../../src/lib/jobs/job.ts'
import {type MysqlOptions, MysqlStore} from '../../src/lib/store/mysql/store.ts'
import type {Foreign} from '../store/suite/bench.ts'

/** Tables, indexes, procedures and triggers. */
const SHAPE = `
  SELECT 'column', table_name, column_name, column_type, is_nullable, column_default, extra
    FROM information_schema.columns WHERE table_schema = ?
  UNION ALL SELECT 'index', table_name, index_name, column_name, seq_in_index, non_unique, NULL
    FROM information_schema.statistics WHERE table_schema = ?
  UNION ALL SELECT 'routine', routine_name, routine_definition, definer, sql_mode, security_type, NULL
    FROM information_schema.routines WHERE routine_schema = ?
  UNION ALL SELECT 'trigger', trigger_name, action_statement, NULL, NULL, NULL, NULL
    FROM information_schema.triggers WHERE trigger_schema = ?
  UNION ALL SELECT 'table', table_name, engine, table_collation, NULL, NULL, NULL
    FROM information_schema.tables WHERE table_schema = ?`

export class MysqlDatabase {
  readonly url: string
  readonly name = `jobq_test_${randomBytes(6).toString('hex')}`
  readonly #perl: Connection
  readonly #users = new Set<string>()
  /** What `another` has made. */
  readonly others: Connection[] = []

  private constructor(url: string, perl: Connection) {
    this.url = Object.assign(new URL(url), {pathname: `/${this.name}`}).href
    this.#perl = perl
  }

  static async create(server: string): Promise<MysqlDatabase> {
    const perl = await createConnection({
      uri: server,
      charset: 'UTF8MB4_BIN',
      flags: ['FOUND_ROWS'], // as Perl's DBD::mysql
      multipleStatements: true,
    })
    const database = new MysqlDatabase(server, perl)
    await perl.query(`CREATE DATABASE ${database.name}`)
    await perl.query(`USE ${database.name}`)
    return database
  }

  /** One more connection of another program's, as mysql2 makes it; ended with the database. */
  async another(): Promise<Connection> {
    const connection = await createConnection({uri: this.url})
    this.others.push(connection)
    return connection
  }

  async foreign(): Promise<Foreign> {
    const connection = await this.another()
    return {
      connection,
      begin: () => connection.beginTransaction(),
      commit: () => connection.commit(),
      rollback: () => connection.rollback(),
      run: async (sql, ...values) => void (await connection.query(sql, values.map(bound))),
      close: async () => connection.destroy(),
    }
  }

  async query(sql: string, ...values: unknown[]): Promise<Record<string, unknown>[]> {
    const [rows] = await this.#perl.query(sql, values.map(bound))
    return rows as Record<string, unknown>[]
  }

  async run(sql: string, ...values: unknown[]): Promise<number> {
    const [result] = await this.#perl.query(sql, values.map(bound))
    return (result as ResultSetHeader).affectedRows
  }

  /** Whether a transaction in this database waits for a lock. (innodb_trx would not do: who asks often gets old news.) */
  async hasLockWait(): Promise<boolean> {
    const [row] = await this.query('SHOW ENGINE INNODB STATUS')
    const waiting = [...String(row!.Status).matchAll(/^LOCK WAIT [\s\S]*?thread id (\d+)/gm)].map(([, id]) =>
      Number(id),
    )
    const own = await this.query('SELECT id FROM information_schema.processlist WHERE db = ?', this.name)
    return own.some(({id}) => waiting.includes(Number(id)))
  }

  async now(): Promise<number> {
    return Number((await this.query('SELECT UNIX_TIMESTAMP() AS now'))[0]!.now)
  }

  readonly perlBytes = '?'
  readonly noStatusArg = new Uint8Array()
  readonly maxNumber = MAX_UINT32
  readonly isSigned = false

  store(options: MysqlOptions = {}): MysqlStore {
    return new MysqlStore(this.url, this.name, options)
  }

  async connect(): Promise<MysqlStore> {
    return this.store()
  }

  /** The address for someone who may do all that jobq does, but not call its procedure. */
  async withoutProcedure(): Promise<string> {
    const user = `${this.name}_u`.slice(0, 32)
    await this.query(`CREATE USER IF NOT EXISTS '${user}'@'%'`)
    await this.query(`GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX ON ${this.name}.* TO '${user}'@'%'`)
    this.#users.add(user)
    return Object.assign(new URL(this.url), {username: user, password: ''}).href
  }

  async shape(): Promise<string> {
    const rows = await this.query(SHAPE, ...Array.from(SHAPE.matchAll(/\?/g), () => this.name))
    return JSON.stringify(rows.map(row => Object.values(row)).sort())
  }

  async empty(): Promise<void> {
    await this.#endOthers()
    const tables = await this.query(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_name <> 'jobq_schema'",
      this.name,
    )
    await this.query(tables.map(({name}) => `DELETE FROM ${name}`).join('; '))
    const counted = await this.query(
      'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND auto_increment > 1',
      this.name,
    )
    for (const {name} of counted) await this.query(`ALTER TABLE ${name} AUTO_INCREMENT = 1`)
  }

  async drop(): Promise<void> {
    await this.#endOthers()
    for (const user of this.#users) await this.query(`DROP USER '${user}'@'%'`)
    await this.#perl.query(`DROP DATABASE ${this.name}`)
    await this.#perl.end()
  }

  async #endOthers(): Promise<void> {
    for (const connection of this.others) connection.destroy()
    this.others.length = 0
    // What a test that has failed left open would be waited for
    const open = await this.query(
      `SELECT id FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id
       WHERE db = ? AND id <> CONNECTION_ID()`,
      this.name,
    )
    for (const {id} of open) await this.query(`KILL ${id}`).catch(() => {}) // it may be gone by now
  }
}

/** SQL of a table of so many rows, a power of ten, in any MySQL. */
export function rowsOf(count: number): string {
  const digits =
    '(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)'
  const places = Math.round(Math.log10(count))
  return Array.from({length: places}, (_, i) => `${digits} d${i}`).join(', ')
}

function bound(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value) : value
}
