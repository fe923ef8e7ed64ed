/**
 * A store's connections: a few, each lent to one call at a time, made when they are needed and again when they have died.
 * All are to the host in use. (pg's own pool makes its connections by itself, to an address that it was told once.)
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {ClientConfig} from 'pg'
import {monotonic} from '../../../jobs/clock.ts'
import {StoreError} from '../../../jobs/errors.ts'
import type {Host} from '../../shared/hosts.ts'
import {isSilent} from '../../shared/silence.ts'
import {explain, isDead, isFull, isReadOnly} from '../errors.ts'
import type {Connection, PostgresHosts} from './connection.ts'

/** One for the dispatcher's turns, the others for what else is called meanwhile. */
const MAX_CONNECTIONS = 4
/** How long it is tried to make do with the connections that are here, where the server gives no more. */
const SHORT_MS = 10_000
/** Between two looks whether one that is being made is there. */
const MADE_MS = 5
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
  /** How many connections there may be, since the server gives no more; and those who wait for one of them. */
  #most = MAX_CONNECTIONS
  #room: NodeJS.Timeout | undefined
  readonly #short: (() => void)[] = []
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
      connection = await this.#takeOrWait()
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
    for (const proceed of this.#short.splice(0)) proceed()
    await Promise.all(ended)
  }

  /**
   * Where the server gives no more connections, those that are here have to do, but for one, which is left to who listens: else
   * nothing new would be noticed.
   */
  async #takeOrWait(): Promise<Connection> {
    const giveUpAt = monotonic() + SHORT_MS
    for (;;) {
      const isOver = monotonic() > giveUpAt
      if (this.#idle.length > 0 || this.#lent.size < this.#most || isOver)
        try {
          return await this.#take()
        } catch (error) {
          if (!isFull(error) || isOver) throw error
          while (this.#held === 0 && this.#all.size > 0) await sleep(MADE_MS) // another one is being made
          if (this.#held === 0) throw error
          this.#makeDo(this.#held - 1)
          continue
        }
      const given = Promise.withResolvers<void>()
      const timer = setTimeout(given.resolve, giveUpAt - monotonic() + 1)
      this.#short.push(given.resolve)
      await given.promise
      clearTimeout(timer)
    }
  }

  get #held(): number {
    return this.#idle.length + this.#lent.size
  }

  /** With so many, or one, for a minute: then there may be room again. */
  #makeDo(most: number): void {
    this.#most = Math.max(1, most)
    while (this.#idle.length > 0 && this.#held > this.#most) this.#takeIdle()!.end()
    clearTimeout(this.#room)
    this.#room = setTimeout(() => {
      this.#most = MAX_CONNECTIONS
      for (const proceed of this.#short.splice(0)) proceed()
    }, IDLE_MS).unref()
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
    return connection.connect().catch(error => {
      gone()
      throw error
    })
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
    queueMicrotask(() => this.#short.shift()?.())
    const areMany = this.#held >= this.#most
    if (isDead || areMany || !this.#isGood(connection)) return void connection.end()
    connection.hold(false)
    const timer = setTimeout(() => this.#takeIdle(connection)?.end(), IDLE_MS).unref()
    this.#idle.push({connection, timer})
  }

  #isGood(connection: Connection): boolean {
    return !this.#isClosed && this.#all.has(connection) && this.#hosts.isInUse(connection.target)
  }
}
