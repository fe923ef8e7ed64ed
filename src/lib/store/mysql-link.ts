/**
 * Connections to MySQL or MariaDB: a few of them, made when they are needed and again when they have died.
 *
 * A round trip to the server costs more than most statements (measured on one machine: 60 µs, and 5 µs for each further
 * statement of the same packet). So what belongs together is sent as one batch of statements, with the values written
 * into the SQL by mysql2's own escaping; what one statement finds, the next takes from a user variable.
 */
import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {type Connection, type ConnectionOptions, createConnection, escape as quoted} from 'mysql2'
import {StoreError} from '../errors.ts'
import {explain, isLost, isPassing} from './mysql-errors.ts'

/** A connection that was idle for so long is asked whether it lives, before anything depends on it. */
const TRUSTED_MS = 10_000
/** No batch may take longer: behind it the network is taken for dead. Bulk inserts and listings are many batches. */
const ANSWER_MS = 120_000
/** How long one attempt waits for a row's lock, in seconds. */
const LOCK_SECONDS = 5
/** How long all attempts together may take before LOCKED is raised. */
export const PATIENCE_MS = 30_000

export type Row = Record<string, unknown>

/** What one statement has answered. */
export interface Reply {
  rows: Row[]
  /** Rows that its WHERE found, whether they were changed or not. */
  matched: number
  insertId: number
}

/** A column of text, and how its characters get in and out whatever character set it has. */
export interface TextColumn {
  /** The text as SQL, to be stored or compared. */
  literal(text: string): string
  /** The column as SQL, to be selected and given to `textOf`. */
  select(column: string): string
}

export type Value = string | number | Uint8Array | null

export function literal(value: Value): string {
  if (value === null) return 'NULL'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return quoted(value)
  return `X'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`
}

export function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value)
}

export function textOrNull(value: unknown): string | null {
  return value === null ? null : textOf(value)
}

/** One connection, set up for jobq. */
export class Link {
  readonly #connection: Connection
  readonly #patience: number
  #giveUp: ((error: unknown) => void) | null = null
  isDead = false
  usedAt = performance.now()
  names: TextColumn = UNICODE
  keys: TextColumn = UNICODE
  /** The most bytes of SQL in one batch. */
  maxBytes = 1 << 20
  /** Empty if the server can do all that jobq asks of it, else why not. */
  tooOld = ''

  constructor(connection: Connection, patience: number) {
    this.#connection = connection
    this.#patience = patience
    for (const event of ['error', 'end'])
      connection.on(event, () => {
        this.isDead = true
      })
  }

  /** Isolation READ COMMITTED locks the rows that are found, not the gaps between. */
  async setUp(): Promise<void> {
    const wait = Math.max(1, Math.min(LOCK_SECONDS, Math.floor(this.#patience / 1000)))
    const [, , facts, columns] = await this.batch([
      'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
      `SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1,
         innodb_lock_wait_timeout = ${wait}, lock_wait_timeout = ${Math.max(wait, Math.ceil(this.#patience / 1000))}`,
      'SELECT VERSION() AS version, @@max_allowed_packet AS packet',
      `SELECT table_name AS t, character_set_name AS charset FROM information_schema.columns
       WHERE table_schema = DATABASE() AND (table_name, column_name) IN (('func', 'name'), ('job', 'uniqkey'))`,
    ])
    const {version, packet} = facts!.rows[0]!
    this.tooOld = tooOld(String(version))
    this.maxBytes = Number(packet) - 4096
    for (const {t, charset} of columns!.rows) {
      if (charset !== 'latin1') continue
      if (t === 'func') this.names = BYTES
      else this.keys = BYTES
    }
  }

  /** Statements in one round trip. The first that fails ends the batch, and its transaction is still to be ended. */
  async batch(statements: readonly string[], patience = ANSWER_MS): Promise<Reply[]> {
    const text = statements.join(';\n')
    if (text.length > this.maxBytes && Buffer.byteLength(text) > this.maxBytes)
      throw Object.assign(new Error(`${Buffer.byteLength(text)} bytes, max_allowed_packet is less`), {
        code: 'ER_NET_PACKET_TOO_LARGE',
        errno: 1153,
      })
    const answer = await this.#answer(patience, done => this.#connection.query(text, done))
    return statements.length === 1 ? [reply(answer)] : (answer as unknown[]).map(reply)
  }

  async run(statement: string): Promise<Reply> {
    return (await this.batch([statement]))[0]!
  }

  /** One statement with large values in the binary protocol, where a byte is a byte. */
  async execute(statement: string, values: Value[]): Promise<Reply> {
    const bound = values.map(value => (value instanceof Uint8Array ? Buffer.from(value) : value))
    return reply(await this.#answer(ANSWER_MS, done => this.#connection.execute(statement, bound, done)))
  }

  end(): void {
    this.isDead = true
    this.#connection.destroy()
    this.#giveUp?.(
      Object.assign(new Error('Connection closed'), {code: 'PROTOCOL_CONNECTION_LOST', fatal: true}),
    )
  }

  /** One question at a time: its answer, or the end of the connection. */
  #answer(
    patience: number,
    ask: (done: (error: unknown, answer: unknown) => void) => void,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        clearTimeout(timer)
        this.#giveUp = null
        if (isLost(error)) this.isDead = true
        reject(error)
      }
      const timer = setTimeout(() => this.end(), patience)
      this.#giveUp = fail
      ask((error, answer) => {
        if (error) return fail(error)
        clearTimeout(timer)
        this.#giveUp = null
        this.usedAt = performance.now()
        resolve(answer)
      })
    })
  }
}

const UNICODE: TextColumn = {literal: text => quoted(text), select: column => column}
/** Perl's clients write UTF-8 bytes into a latin1 column as they are: they are written and read so here, too. */
const BYTES: TextColumn = {
  literal: text => `_latin1 X'${Buffer.from(text).toString('hex')}'`,
  select: column => `CAST(${column} AS BINARY)`,
}

function reply(answer: unknown): Reply {
  if (Array.isArray(answer)) return {rows: answer as Row[], matched: 0, insertId: 0}
  const {affectedRows, insertId} = answer as {affectedRows: number; insertId: number}
  return {rows: [], matched: affectedRows, insertId}
}

/** SKIP LOCKED is what lets many processes take jobs side by side in strict order. */
function tooOld(version: string): string {
  const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(version) ?? []).map(Number)
  const isMaria = /mariadb/i.test(version)
  const isNew = isMaria ? major > 10 || (major === 10 && minor >= 6) : major >= 8
  return isNew ? '' : `expected MariaDB 10.6 or MySQL 8.0, or later, got ${version}`
}

/** A few connections, each lent to one user at a time; who finds none free waits for the next. */
export class Links {
  readonly #options: ConnectionOptions
  readonly #name: string
  readonly #size: number
  readonly #patience: number
  readonly #all = new Set<Link>()
  readonly #idle: Link[] = []
  readonly #waiting: (() => void)[] = []
  #open = 0
  #isClosed = false
  /** How often a transaction was repeated because of a deadlock or a lock that was waited for too long. */
  deadlocks = 0

  constructor(options: ConnectionOptions, name: string, size: number, patience: number) {
    this.#options = options
    this.#name = name
    this.#size = size
    this.#patience = patience
  }

  /** Statements that need no transaction around them. Reads only: they are sent again where the connection was lost. */
  async read<T>(work: (link: Link) => Promise<T>): Promise<T> {
    return this.#explained(async () => {
      try {
        return await this.lend(work)
      } catch (error) {
        if (!isLost(error)) throw error
        return await this.lend(work)
      }
    })
  }

  /** Work that has failed leaves nothing behind; what met a deadlock or waited too long for a lock is done again. */
  async write<T>(work: (link: Link) => Promise<T>): Promise<T> {
    return this.#explained(async () => {
      const giveUpAt = performance.now() + this.#patience
      for (let pause = 2; ; pause = Math.min(pause * 2, 100)) {
        try {
          return await this.lend(work)
        } catch (error) {
          if (!isPassing(error)) throw error
          this.deadlocks++
          if (performance.now() > giveUpAt) throw error
        }
        await sleep(pause * (0.5 + Math.random()))
      }
    })
  }

  /** A connection for as long as the work takes; what it left open is rolled back. Raises what the driver raised. */
  async lend<T>(work: (link: Link) => Promise<T>): Promise<T> {
    const link = await this.#take()
    try {
      return await work(link)
    } catch (error) {
      if (!link.isDead) await link.run('ROLLBACK').catch(() => link.end())
      throw error
    } finally {
      this.#giveBack(link)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const link of this.#all) link.end()
    for (const proceed of this.#waiting.splice(0)) proceed()
  }

  async #take(): Promise<Link> {
    for (;;) {
      if (this.#isClosed) throw new StoreError('UNREACHABLE', `${this.#name} was closed`)
      const link = this.#idle.pop()
      if (link) {
        if (!link.isDead && (await isAlive(link))) return link
        this.#drop(link)
      } else if (this.#open < this.#size) return this.#connect()
      else await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  async #connect(): Promise<Link> {
    this.#open++
    let link: Link | undefined
    try {
      const connection = createConnection(this.#options)
      link = new Link(connection, this.#patience)
      this.#all.add(link)
      await new Promise<void>((resolve, reject) =>
        connection.connect(error => (error ? reject(error) : resolve())),
      )
      await link.setUp()
      return link
    } catch (error) {
      link?.end()
      if (link) this.#drop(link)
      else this.#open--
      this.#waiting.shift()?.()
      throw new NotSent(error)
    }
  }

  #giveBack(link: Link): void {
    if (link.isDead || this.#isClosed) {
      link.end()
      this.#drop(link)
    } else this.#idle.push(link)
    this.#waiting.shift()?.()
  }

  #drop(link: Link): void {
    if (this.#all.delete(link)) this.#open--
  }

  async #explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw explain(this.#name, error instanceof NotSent ? error.cause : error)
    }
  }
}

/** No connection could be made: nothing has been sent, let alone stored. */
export class NotSent extends Error {
  constructor(cause: unknown) {
    super('no connection', {cause})
  }
}

async function isAlive(link: Link): Promise<boolean> {
  if (performance.now() - link.usedAt < TRUSTED_MS) return true
  try {
    await link.batch(['DO 0'], 5000)
    return true
  } catch {
    link.end()
    return false
  }
}

/**
 * What an address says: mysql://user:password@host:port/database, with
 * `socket=PATH`; `ssl=true` or `ssl-mode=…`, `ssl-ca=FILE`, `ssl-cert=FILE`, `ssl-key=FILE`, `ssl-verify=false`.
 * @throws StoreError
 */
export function connectionOptions(address: string, name: string): ConnectionOptions {
  let url: URL
  try {
    url = new URL(address)
  } catch {
    throw new StoreError('UNREACHABLE', 'the mysql URL can’t be read', {
      hint: 'write it as mysql://user:password@host:port/database, with %-escapes in user and password',
    })
  }
  const database = decodeURIComponent(url.pathname.slice(1))
  if (database === '')
    throw new StoreError('UNREACHABLE', `${name} names no database`, {
      hint: 'add it behind the host: mysql://user@host/database',
    })
  const socketPath = url.searchParams.get('socket') ?? url.searchParams.get('socketPath')
  const ssl = tlsOptions(url.searchParams, name)
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1') || 'localhost',
    port: Number(url.port) || 3306,
    user: decodeURIComponent(url.username) || 'root',
    password: decodeURIComponent(url.password),
    database,
    ...(socketPath ? {socketPath} : {}),
    ...(ssl ? {ssl} : {}),
    charset: 'UTF8MB4_BIN',
    multipleStatements: true,
    flags: ['FOUND_ROWS'],
    connectTimeout: 10_000,
  }
}

/** Once TLS is asked for, the server must prove who it is, unless the address says otherwise in so many words. */
function tlsOptions(params: URLSearchParams, name: string): ConnectionOptions['ssl'] {
  const mode = (params.get('ssl-mode') ?? params.get('sslmode') ?? '').toLowerCase().replaceAll('-', '_')
  const asked = (params.get('ssl') ?? '').toLowerCase()
  const files = {ca: params.get('ssl-ca'), cert: params.get('ssl-cert'), key: params.get('ssl-key')}
  const isOff = ['disabled', 'disable'].includes(mode) || ['false', '0', 'no', 'off'].includes(asked)
  const isOn = asked !== '' || !['', 'preferred', 'prefer', 'allow'].includes(mode) || files.ca !== null
  if (isOff || !isOn) return undefined
  const verify = !['false', '0', 'no'].includes(params.get('ssl-verify') ?? '')
  const given: Record<string, Buffer> = {}
  for (const [kind, path] of Object.entries(files)) {
    if (path === null) continue
    try {
      given[kind] = readFileSync(path)
    } catch (cause) {
      throw new StoreError('UNREACHABLE', `${name}: ssl-${kind}: can't read ${path}`, {cause})
    }
  }
  return {...given, rejectUnauthorized: verify, verifyIdentity: verify && mode !== 'verify_ca'}
}
