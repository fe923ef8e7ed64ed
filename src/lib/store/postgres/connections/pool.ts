/**
 * A store's connections: a few, each lent to one call at a time, made when they are needed and again when they have died.
 * All are to the host in use. (pg's own pool makes its connections by itself, to an address that it was told once.)
 */
import type {ClientConfig} from 'pg'
import {StoreError} from '../../../jobs/errors.ts'
import type {Host} from '../../shared/hosts.ts'
import {isSilent} from '../../shared/silence.ts'
import {explain, isDead, isReadOnly} from '../errors.ts'
import type {Connection, PostgresHosts} from './connection.ts'

/** One for the dispatcher's turns, the others for what else is called meanwhile. */
const MAX_CONNECTIONS = 4
/** A connection that nobody has used for so long is closed. */
const IDLE_MS = 60_000

export class PostgresPool {
  readonly #hosts: PostgresHosts
  readonly #name: string
  readonly #make: (host: Host<ClientConfig>) => Connection
  /** Those that are being made, as well. */
  readonly #all = new Set<Connection>()
  readonly #lent = new Set<Connection>()
  /** The one that was used last comes last, and is taken first. */
  readonly #idle: {connection: Connection; timer: NodeJS.Timeout}[] = []
  #free = MAX_CONNECTIONS
  readonly #waiting: (() => void)[] = []
  #isClosed = false

  /** @param make one that is not connected yet */
  constructor(hosts: PostgresHosts, name: string, make: (host: Host<ClientConfig>) => Connection) {
    this.#hosts = hosts
    this.#name = name
    this.#make = make
    hosts.onMove(() => {
      for (const connection of this.#all)
        if (!hosts.isInUse(connection.target) && !this.#lent.has(connection)) connection.break()
    })
  }

  /**
   * A connection for as long as the work takes. What that raises comes as it is: the caller explains it, with what it
   * knows of what was lost.
   * @param isLast whether the connection ends with it
   * @throws StoreError if none is to be had
   */
  async with<T>(work: (connection: Connection) => Promise<T>, isLast: boolean): Promise<T> {
    if (this.#free === 0) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else this.#free--
    let connection: Connection | undefined
    let died = isLast
    try {
      connection = await this.#take()
      this.#lent.add(connection)
      return await work(connection)
    } catch (error) {
      if (connection && (isSilent(error) || isReadOnly(error))) this.#hosts.leave(connection.target)
      died ||= isDead(error)
      throw error
    } finally {
      if (connection) this.#giveBack(connection, died)
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  /** What is still under way is given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    const idle = this.#idle.map(({connection}) => connection)
    const ended = idle.map(connection => connection.end())
    for (const connection of this.#all) connection.break()
    await Promise.all(ended)
  }

  async #take(): Promise<Connection> {
    try {
      for (let idle = this.#takeIdle(); idle; idle = this.#takeIdle()) {
        if (this.#isGood(idle)) return idle
        idle.break()
      }
      const made = this.#isClosed ? null : await this.#hosts.connect(host => this.#dial(host))
      if (made && !this.#isClosed) return made
      made?.break()
      throw new StoreError('UNREACHABLE', `${this.#name} was closed`)
    } catch (error) {
      throw explain(this.#name, error)
    }
  }

  #dial(host: Host<ClientConfig>): Promise<Connection> {
    const connection = this.#make(host)
    this.#all.add(connection)
    const gone = () => {
      this.#all.delete(connection)
      this.#takeIdle(connection)
    }
    connection.once('error', gone).once('end', gone)
    return connection.connect()
  }

  /** @param one default: the last */
  #takeIdle(one?: Connection): Connection | undefined {
    const at = one ? this.#idle.findIndex(({connection}) => connection === one) : this.#idle.length - 1
    const [idle] = at < 0 ? [] : this.#idle.splice(at, 1)
    clearTimeout(idle?.timer)
    idle?.connection.hold(true)
    return idle?.connection
  }

  #giveBack(connection: Connection, isDead: boolean): void {
    connection.rest()
    this.#lent.delete(connection)
    if (isDead || !this.#isGood(connection)) return void connection.end()
    connection.hold(false)
    const timer = setTimeout(() => this.#takeIdle(connection)?.end(), IDLE_MS).unref()
    this.#idle.push({connection, timer})
  }

  #isGood(connection: Connection): boolean {
    return !this.#isClosed && this.#all.has(connection) && this.#hosts.isInUse(connection.target)
  }
}
