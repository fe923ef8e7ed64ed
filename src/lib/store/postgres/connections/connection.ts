/** A connection to PostgreSQL: pg's own, but every wait ends, and it knows whether a pooler is in between. */
import type {Socket} from 'node:net'
import type {ClientConfig} from 'pg'
import {hostOf, urlsOf} from '../../shared/host-list.ts'
import {type Host, Hosts, PassedOver} from '../../shared/hosts.ts'
import {Silence, silent} from '../../shared/silence.ts'
import {isHostAway} from '../errors.ts'
import {Client, configOf} from './client.ts'

export type Settings = Readonly<Record<string, string>>

export interface ConnectionConfig extends ClientConfig {
  /** Made for the session. */
  settings?: Settings
  /** For all of it: to find the host, TLS, to prove who one is, the settings. */
  connectMs?: number
  /** Whether another host is to be taken where this one takes no writes: asked with the settings. Default false. */
  mustTakeWrites?: boolean
}

export type PostgresHosts = Hosts<ClientConfig, Connection>

/** @param url with one host or several. @throws UsageError if it says what can't be done */
export function postgresHosts(url: string, name: string): PostgresHosts {
  const hosts = urlsOf(url).map(one => ({name: hostOf(one), config: configOf(one)}))
  return new Hosts(hosts, {
    name,
    isAway: error => error instanceof PassedOver || isHostAway(error),
    end: connection => connection.break(),
    historyOf: timelineOf,
  })
}

/** A promotion begins a new one, greater by one. */
async function timelineOf(connection: Connection): Promise<string> {
  const {rows} = await connection.query('SELECT pg_walfile_name(pg_current_wal_lsn()) AS segment')
  return String(rows[0].segment).slice(0, 8)
}

export class Connection extends Client {
  /**
   * A pooler that gives each transaction another connection to the server (PgBouncer in transaction mode) loses what is
   * set or prepared for a session, and hands it to others: nothing is to be prepared, and settings are a transaction's.
   * It shows in that the server's process is not the one that the connection was told of at its start.
   */
  isPooled = false
  /** Which of the address's hosts it is to. */
  readonly target: Host<ClientConfig>
  readonly #socket: Socket
  readonly #silence: Silence
  readonly #settings: Settings
  readonly #connectMs: number
  readonly #mustTakeWrites: boolean
  #connected: Promise<this> | null = null
  #process: number | null = null

  constructor(host: Host<ClientConfig>, config: ConnectionConfig = {}) {
    const {settings = {}, connectMs = 0, mustTakeWrites = false, ...own} = config
    super({...host.config, ...own})
    this.target = host
    this.#mustTakeWrites = mustTakeWrites
    this.#settings = settings
    this.#connectMs = connectMs
    this.#socket = this.connection.stream as Socket
    this.#silence = new Silence(this.#socket)
    this.on('error', () => {}) // what it is at tells, and its end
    this.connection.on('backendKeyData', ({processID}: {processID: number}) => {
      this.#process = processID
    })
  }

  /** Once; whoever asks again hears how it went. */
  override connect(): Promise<this>
  override connect(callback: (error: Error | null, client?: this) => void): void
  override connect(callback?: (error: Error | null, client?: this) => void): Promise<this> | undefined {
    this.#connected ??= this.#connect()
    const connected = this.#connected
    if (!callback) return connected
    connected.then(client => callback(null, client), callback)
    return undefined
  }

  async #connect(): Promise<this> {
    const giveUp = () => this.break(silent(`no connection within ${this.#connectMs / 1000} s`))
    const deadline = setTimeout(giveUp, this.#connectMs)
    try {
      await super.connect()
      await this.#setUp()
      return this
    } catch (error) {
      this.#socket.destroy() // the server need not hang up
      throw error
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Makes the settings, if the session is our own. @throws PassedOver */
  async #setUp(): Promise<void> {
    const set = Object.entries(this.#settings).map(
      ([name, value]) => `set_config('${name}', '${value}', false)`,
    )
    const own = `SELECT ${['TRUE AS own', ...set].join(', ')} WHERE pg_backend_pid() = ${this.#process}`
    if (!this.#mustTakeWrites) {
      this.isPooled = (await this.query(own)).rows.length === 0
      return
    }
    const role = `SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS "readOnly"`
    const {rows} = await this.query(`SELECT * FROM (${role}) role LEFT JOIN (${own}) own ON TRUE`)
    const {standby, readOnly, own: isOwn} = rows[0]
    if (standby) throw new PassedOver('it is a standby, which takes no writes')
    if (readOnly === 'on') throw new PassedOver('it takes no writes (transaction_read_only)')
    this.isPooled = isOwn === null
  }

  /** Not waiting for what is under way, nor for the server to close its end. */
  override end(): Promise<void>
  override end(callback: (error: Error) => void): void
  override end(callback?: (error: Error) => void): Promise<void> | undefined {
    const ended = callback ? super.end(callback) : super.end()
    this.#socket.destroy()
    return ended as Promise<void> | undefined
  }

  /** Whatever it is at, the making of itself as well, fails. */
  break(error = new Error('Connection terminated')): void {
    this.#socket.destroy(error)
  }

  /** Whether this process stays for it. */
  hold(isHeld: boolean): void {
    const stream = this.connection.stream as Socket // with TLS another than at the start
    if (isHeld) stream.ref()
    else stream.unref()
  }

  /** From now on the server may be silent for so long, until `rest`. */
  expect(patienceMs: number): void {
    this.#silence.begin(patienceMs)
  }

  rest(): void {
    this.#silence.end()
  }
}

/** A transaction's own settings, to be sent behind its BEGIN. */
export function localSettings(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `SET LOCAL ${name} = '${value}'`)
    .join('; ')
}
