/** A connection to PostgreSQL: pg's own, but every wait ends, and it knows whether a pooler is in between. */
import type {Socket} from 'node:net'
import type {ClientConfig} from 'pg'
import {Silence, silent} from '../shared/silence.ts'
import {Client} from './client.ts'

export type Settings = Readonly<Record<string, string>>

export interface ConnectionConfig extends ClientConfig {
  /** Made for the session. */
  settings?: Settings
  /** For all of it: to find the host, TLS, to prove who one is, the settings. */
  connectMs?: number
}

export class Connection extends Client {
  /**
   * A pooler that gives each transaction another connection to the server (PgBouncer in transaction mode) loses what is
   * set or prepared for a session, and hands it to others: nothing is to be prepared, and settings are a transaction's.
   * It shows in that the server's process is not the one that the connection was told of at its start.
   */
  isPooled = false
  readonly #socket: Socket
  readonly #silence: Silence
  readonly #settings: Settings
  readonly #connectMs: number
  #process: number | null = null

  constructor(config: ConnectionConfig = {}) {
    const {settings = {}, connectMs = 0, ...own} = config
    super(own)
    this.#settings = settings
    this.#connectMs = connectMs
    this.#socket = this.connection.stream as Socket
    this.#silence = new Silence(this.#socket)
    this.on('error', () => {}) // what it is at tells, and its end
    this.connection.on('backendKeyData', ({processID}: {processID: number}) => {
      this.#process = processID
    })
  }

  override connect(): Promise<this>
  override connect(callback: (error: Error | null, client?: this) => void): void
  override connect(callback?: (error: Error | null, client?: this) => void): Promise<this> | undefined {
    const connected = this.#connect()
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

  /** Makes the settings, if the session is our own. */
  async #setUp(): Promise<void> {
    const set = Object.entries(this.#settings).map(
      ([name, value]) => `set_config('${name}', '${value}', false)`,
    )
    const {rows} = await this.query(
      `SELECT ${['TRUE', ...set].join(', ')} WHERE pg_backend_pid() = ${this.#process}`,
    )
    this.isPooled = rows.length === 0
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
