/** The connections of a process to one database: a few, made when they are needed and again when they have died. */
import {connect, type Socket} from 'node:net'
import {setTimeout as sleep} from 'node:timers/promises'
import {type ConnectionOptions, createConnection} from 'mysql2'
import {Backoff} from '../../../jobs/backoff.ts'
import {monotonic} from '../../../jobs/clock.ts'
import {StoreError} from '../../../jobs/errors.ts'
import type {Host} from '../../shared/hosts.ts'
import {isSilent, silent, type Timeouts} from '../../shared/silence.ts'
import {explain, isLost, isOutOfConnections, isPassing, isRefusedHere} from '../errors.ts'
import type {MysqlHosts} from './address.ts'
import {MysqlConnection} from './connection.ts'

/** A connection that was idle for so long is asked whether it lives, before anything depends on it. */
const TRUSTED_MS = 10_000
/** How long all attempts at a lock together may take before LOCKED is raised. */
export const PATIENCE_MS = 30_000

/** What is asked of a new connection beside what all are. */
export type SetUp = (link: MysqlConnection) => Promise<void>

/** Which of the time-outs holds for what is sent. */
type Wait = 'answer' | 'read'

/** A few connections, each lent to one user at a time; who finds none free waits for the next. */
export class MysqlConnections {
  readonly #hosts: MysqlHosts
  readonly #name: string
  readonly #size: number
  readonly #patience: number
  readonly #timeouts: Timeouts
  readonly #setUp: SetUp
  readonly #all = new Set<MysqlConnection>()
  readonly #idle: MysqlConnection[] = []
  readonly #waiting: (() => void)[] = []
  #open = 0
  #isClosed = false
  /** How often a transaction was repeated because of a deadlock or a lock that was waited for too long. */
  deadlocks = 0

  constructor(
    hosts: MysqlHosts,
    name: string,
    size: number,
    patience: number,
    timeouts: Timeouts,
    setUp: SetUp = async () => {},
  ) {
    this.#hosts = hosts
    this.#name = name
    this.#size = size
    this.#patience = patience
    this.#timeouts = timeouts
    this.#setUp = setUp
    hosts.onMove(() => {
      for (const link of this.#idle) link.end()
    })
  }

  /** Statements that need no transaction around them. Reads only: they are sent again where the connection was lost. */
  read<T>(work: (link: MysqlConnection) => Promise<T>, wait: Wait = 'answer'): Promise<T> {
    return this.#use(work, wait, true)
  }

  /** Work that has failed leaves nothing behind. */
  write<T>(work: (link: MysqlConnection) => Promise<T>, wait: Wait = 'answer'): Promise<T> {
    return this.#use(work, wait, false)
  }

  /** What met a deadlock or waited too long for a lock, of a table's as well, is done again. */
  #use<T>(work: (link: MysqlConnection) => Promise<T>, wait: Wait, isRead: boolean): Promise<T> {
    return this.#explained(async () => {
      const giveUpAt = monotonic() + this.#patience
      const backoff = new Backoff(2, 200)
      let {moves} = this.#hosts
      // With its host all connections are lost, and each may be tried before that is noticed
      const most = this.#hosts.areSeveral ? this.#size : 1
      for (let losses = 0; ; ) {
        try {
          return await this.withConnection(work, wait)
        } catch (error) {
          if (isRefusedHere(error) && moves-- > 0) continue
          const isElsewhere = !isSilent(error) || this.#hosts.areSeveral
          if (isRead && isLost(error) && isElsewhere && losses++ < most) continue
          if (!isPassing(error)) throw error
          this.deadlocks++
          if (monotonic() > giveUpAt) throw error
        }
        await sleep(backoff.next())
      }
    })
  }

  /** A connection for as long as the work takes; what it left open is rolled back. Raises what the driver raised. */
  async withConnection<T>(work: (link: MysqlConnection) => Promise<T>, wait: Wait = 'answer'): Promise<T> {
    const link = await this.#take()
    link.answerMs = this.#timeouts[wait]
    try {
      return await work(link)
    } catch (error) {
      if (!link.isDead) await link.run('ROLLBACK').catch(() => link.end())
      throw error
    } finally {
      if (link.committing) void link.committing.then(() => this.#giveBack(link))
      else this.#giveBack(link)
    }
  }

  /** Until no COMMIT is under way that someone has not waited for. */
  async quiet(): Promise<void> {
    await Promise.all([...this.#all].map(({committing}) => committing))
  }

  get isCommitting(): boolean {
    return [...this.#all].some(({committing}) => committing)
  }

  close(): void {
    this.#isClosed = true
    for (const link of this.#all) link.end()
    for (const proceed of this.#waiting.splice(0)) proceed()
  }

  /** Where the server gives no more connections, those that are here have to do. */
  async #take(): Promise<MysqlConnection> {
    let isServerFull = false
    for (;;) {
      if (this.#isClosed) throw new StoreError('UNREACHABLE', `${this.#name} was closed`)
      const link = this.#idle.pop()
      if (link) {
        if (this.#isGood(link) && (await isAlive(link))) return link
        this.#drop(link)
      } else if (this.#open === 0 || (this.#open < this.#size && !isServerFull)) {
        try {
          return await this.#connect()
        } catch (error) {
          isServerFull = error instanceof NotSent && isOutOfConnections(error.cause)
          if (!isServerFull || this.#open === 0) throw error
        }
      } else await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  async #connect(): Promise<MysqlConnection> {
    this.#open++
    try {
      const link = await this.#hosts.connect(host => this.#dial(host))
      for (const each of this.#all) if (each.isDead && !each.committing) this.#all.delete(each)
      return link
    } catch (error) {
      this.#open--
      this.#waiting.shift()?.()
      throw new NotSent(error)
    }
  }

  async #dial(host: Host<ConnectionOptions>): Promise<MysqlConnection> {
    const socket = dial(host.config)
    const {connect, answer} = this.#timeouts
    const giveUp = () => socket.destroy(silent(`no connection within ${connect / 1000} s`))
    const deadline = setTimeout(giveUp, connect)
    let link: MysqlConnection | undefined
    try {
      const connection = createConnection({...host.config, stream: socket})
      link = new MysqlConnection(connection, socket, {patience: this.#patience, answerMs: answer})
      link.target = host
      this.#all.add(link)
      await link.connect()
      await link.setUp(this.#hosts.areSeveral)
      await this.#setUp(link)
      return link
    } catch (error) {
      link?.end()
      if (link) this.#all.delete(link)
      throw error
    } finally {
      clearTimeout(deadline)
    }
  }

  #isGood(link: MysqlConnection): boolean {
    return !link.isDead && this.#hosts.isInUse(link.target)
  }

  #giveBack(link: MysqlConnection): void {
    if (link.isUnfit) this.#hosts.leave(link.target!)
    if (!this.#isGood(link) || this.#isClosed) {
      link.end()
      this.#drop(link)
    } else this.#idle.push(link)
    this.#waiting.shift()?.()
  }

  #drop(link: MysqlConnection): void {
    this.#all.delete(link)
    this.#open--
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
class NotSent extends Error {
  constructor(cause: unknown) {
    super('no connection', {cause})
  }
}

function dial({socketPath, host, port}: ConnectionOptions): Socket {
  if (socketPath) return connect(socketPath)
  return connect({host: host!, port: port!, noDelay: true, keepAlive: true})
}

async function isAlive(link: MysqlConnection): Promise<boolean> {
  if (monotonic() - link.usedAt < TRUSTED_MS) return true
  try {
    await link.batch(['DO 0'], 5000)
    return true
  } catch {
    link.end()
    return false
  }
}
