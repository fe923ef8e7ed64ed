/**
 * One connection to MySQL or MariaDB. What belongs together is sent as one batch of statements: a round trip costs more
 * than most statements do.
 */
import type {Socket} from 'node:net'
import {type Connection, type ConnectionOptions, escape as quoted} from 'mysql2'
import {monotonic} from '../../../jobs/clock.ts'
import {type Host, PassedOver} from '../../shared/hosts.ts'
import {isSilent, Silence} from '../../shared/silence.ts'
import {checkPacket, isLost, isRefusedHere} from '../errors.ts'

/** How long one attempt waits for a lock, of a row or a table, in seconds; shorter than an answer may take. */
const LOCK_SECONDS = 5

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

/** What stores jobs within a transaction: a connection of jobq's, or a caller's. */
export interface Session {
  readonly names: TextColumn
  readonly keys: TextColumn
  /** A value as SQL, whatever its characters. */
  literal(value: Value): string
  run(statement: string): Promise<Reply>
  /** One statement with large values in the binary protocol, where a byte is a byte. */
  execute(statement: string, values: Value[]): Promise<Reply>
}

export interface MysqlConnectionOptions {
  /** How long locks may be waited for. */
  patience: number
  answerMs: number
}

/** One connection, set up for jobq. */
export class MysqlConnection implements Session {
  readonly #connection: Connection
  readonly #socket: Socket
  readonly #silence: Silence
  readonly #patience: number
  #giveUp: ((error: unknown) => void) | null = null
  isDead = false
  /** Its host hangs, or has said that it takes no writes. */
  isUnfit = false
  /** How long the server may be silent before it answers, unless a batch says otherwise. */
  answerMs: number
  /** While a COMMIT is under way whose answer nobody waits for; it never fails. */
  committing: Promise<void> | null = null
  usedAt = monotonic()
  names: TextColumn = UNICODE
  keys: TextColumn = UNICODE
  /** The most bytes in one batch, or of one statement's values. */
  maxBytes = 1 << 20
  /** Empty if the server can do all that jobq asks of it, else why not. */
  tooOld = ''
  /** Which of the address's hosts it is to. */
  target: Host<ConnectionOptions> | null = null
  /** A commit may still be refused by another node. */
  isCluster = false

  /** @param socket the connection's */
  constructor(connection: Connection, socket: Socket, {patience, answerMs}: MysqlConnectionOptions) {
    this.answerMs = answerMs
    this.#connection = connection
    this.#socket = socket
    this.#silence = new Silence(socket)
    this.#patience = patience
    for (const event of ['error', 'end'])
      connection.on(event, error => {
        this.isDead = true
        this.#giveUp?.(error ?? lostConnection())
      })
  }

  /** Until the server has let this user in. */
  async connect(): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.#connection.connect(error => (error ? reject(error) : resolve())),
    )
  }

  /**
   * Isolation READ COMMITTED locks the rows that are found, not the gaps between.
   * @param mustTakeWrites whether another host is to be taken where this one takes none: asked in the same round trip
   * @throws PassedOver
   */
  async setUp(mustTakeWrites = false): Promise<void> {
    const most = Math.min(this.#patience, this.answerMs / 2) / 1000
    const wait = Math.max(1, Math.min(LOCK_SECONDS, Math.floor(most)))
    const [, , facts, columns, ...roles] = await this.batch([
      'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
      `SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, group_concat_max_len = 16777216,
         innodb_lock_wait_timeout = ${wait}, lock_wait_timeout = ${wait}`,
      'SELECT VERSION() AS version, @@max_allowed_packet AS packet',
      `SELECT table_name AS t, character_set_name AS charset FROM information_schema.columns
       WHERE table_schema = DATABASE() AND (table_name, column_name) IN (('func', 'name'), ('job', 'uniqkey'))`,
      ...(mustTakeWrites ? ROLES : []),
    ])
    const isGalera = checkRole(roles.flatMap(({rows}) => rows))
    if (isGalera) await this.batch(CATCH_UP)
    const {version, packet} = facts!.rows[0]!
    this.tooOld = tooOld(String(version))
    this.maxBytes = Number(packet) - 4096
    for (const {t, charset} of columns!.rows) {
      if (charset !== 'latin1') continue
      if (t === 'func') this.names = BYTES
      else this.keys = BYTES
    }
  }

  /** What only who takes jobs asks for. */
  async setUpForTurns(): Promise<void> {
    const {rows} = await this.run(
      `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_group_name')`,
    )
    this.isCluster = rows.some(({Value}) => !['', 'OFF', '0'].includes(String(Value)))
  }

  /**
   * Statements in one round trip, which takes 60 µs (measured on one machine), and 5 µs more for each further statement.
   * The values are written into them by mysql2's own escaping; what one statement finds, the next takes from a user
   * variable. The first that fails ends the batch, and its transaction is still to be ended.
   */
  async batch(statements: readonly string[], patience = this.answerMs): Promise<Reply[]> {
    const text = this.#text(statements)
    const answer = await this.#answer(patience, done => this.#connection.query(text, done))
    return statements.length === 1 ? [reply(answer)] : (answer as unknown[]).map(reply)
  }

  /**
   * As batch, for statements that end with a COMMIT, but answers as soon as all before that is done. The server waits for
   * its disk in a COMMIT, and the next transaction needs another connection.
   * @param isAnswered whether all has come that comes before the COMMIT's answer
   * @returns the answers so far (to a CALL two: rows, and none), and a promise of the commit
   */
  async batchThenCommit(
    statements: readonly string[],
    isAnswered: (replies: readonly Reply[]) => boolean,
  ): Promise<{replies: Reply[]; committed: Promise<void>}> {
    const text = this.#text(statements)
    const replies: Reply[] = []
    const before = Promise.withResolvers<Reply[]>()
    let [hasRows, isTold] = [false, false]
    const committed = this.#answer(this.answerMs, done => {
      const query = this.#connection.query(text)
      query.on('error', done)
      query.on('end', () => done(null, null))
      query.on('fields', (fields: unknown) => {
        hasRows = fields !== undefined
        replies.push({rows: [], matched: 0, insertId: 0})
      })
      query.on('result', (result: Row) => {
        if (hasRows) replies.at(-1)!.rows.push(result)
        else replies[replies.length - 1] = reply(result)
        if (isTold || !isAnswered(replies)) return
        isTold = true
        this.committing = committed
          .catch(() => this.end())
          .finally(() => {
            this.committing = null
          })
        before.resolve([...replies])
      })
    }).then(() => {})
    committed.catch(before.reject)
    return {replies: await before.promise, committed}
  }

  async run(statement: string): Promise<Reply> {
    return (await this.batch([statement]))[0]!
  }

  async execute(statement: string, values: Value[]): Promise<Reply> {
    checkPacket(sizeOf(values), this.maxBytes)
    return reply(
      await this.#answer(this.answerMs, done => this.#connection.execute(statement, bound(values), done)),
    )
  }

  literal(value: Value): string {
    return literal(value)
  }

  end(): void {
    this.isDead = true
    this.#connection.destroy()
    this.#socket.destroy(lostConnection()) // not waiting for the server to close its end
    this.#giveUp?.(lostConnection())
  }

  #text(statements: readonly string[]): string {
    const text = statements.join(';\n')
    // Most are not near it, whatever their characters
    if (text.length * 3 > this.maxBytes) checkPacket(Buffer.byteLength(text), this.maxBytes)
    return text
  }

  /** One question at a time: its answer, or the end of the connection. */
  #answer(
    patience: number,
    ask: (done: (error: unknown, answer: unknown) => void) => void,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        this.#silence.end()
        this.#giveUp = null
        if (isLost(error)) this.isDead = true
        this.isUnfit ||= isSilent(error) || isRefusedHere(error)
        reject(error)
      }
      this.#silence.begin(patience)
      this.#giveUp = fail
      ask((error, answer) => {
        if (error) return fail(error)
        this.#silence.end()
        this.#giveUp = null
        this.usedAt = monotonic()
        resolve(answer)
      })
    })
  }
}

/** Shown, not selected: a server that does not know one of them says nothing of it. */
const ROLES = [
  `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only', 'wsrep_on')`,
  `SHOW GLOBAL STATUS LIKE 'wsrep_ready'`,
]

/**
 * What was acknowledged by another node before this connection may still be on its way to this one. It is waited for once:
 * from then on all that this process writes it writes here.
 */
const CATCH_UP = ['SET SESSION wsrep_sync_wait = 1', 'SELECT 1', 'SET SESSION wsrep_sync_wait = 0']

/** Who may write in spite of read_only is to leave such a host alone, too. @returns is it a node of Galera? @throws PassedOver */
function checkRole(rows: readonly Row[]): boolean {
  const values = new Map(
    rows.map(({Variable_name, Value}) => [textOf(Variable_name).toLowerCase(), textOf(Value)]),
  )
  const isOn = (name: string) => !['OFF', '0'].includes(values.get(name) ?? 'OFF')
  for (const name of ['read_only', 'innodb_read_only'])
    if (isOn(name)) throw new PassedOver(`it takes no writes (${name})`)
  if (isOn('wsrep_on') && !isOn('wsrep_ready'))
    throw new PassedOver('its node is not connected to its cluster (wsrep_ready)')
  return isOn('wsrep_on')
}

const UNICODE: TextColumn = {literal: text => quoted(text), select: column => column}
/** Perl's clients write UTF-8 bytes into a latin1 column as they are: they are written and read so here, too. */
const BYTES: TextColumn = {
  literal: text => `_latin1 X'${Buffer.from(text).toString('hex')}'`,
  select: column => `CAST(${column} AS BINARY)`,
}

function lostConnection(): Error {
  return Object.assign(new Error('Connection closed'), {code: 'PROTOCOL_CONNECTION_LOST', fatal: true})
}

/** As mysql2 takes them: it knows no other bytes than a Buffer's. */
export function bound(values: readonly Value[]): (string | number | Buffer | null)[] {
  return values.map(value =>
    value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value,
  )
}

/** What it is to send them, about. */
export function sizeOf(values: readonly Value[]): number {
  const sizes = values.map(value =>
    typeof value === 'object' ? value?.byteLength : Buffer.byteLength(String(value)),
  )
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0)
}

export function reply(answer: unknown): Reply {
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
