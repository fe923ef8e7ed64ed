/** One LISTEN connection for all of a store's watches: made with the first, and re-made with backoff when it drops. */
import {randomUUID} from 'node:crypto'
import type {ClientConfig} from 'pg'
import {Backoff} from '../../../jobs/backoff.ts'
import type {Host} from '../../shared/hosts.ts'
import {isSilent, type Timeouts} from '../../shared/silence.ts'
import {Connection, type PostgresHosts} from './connection.ts'

/** The channel that jobq_ring rings. */
export const CHANNEL = `('jobq_' || current_schema())::NAME::TEXT`
const BACKOFF_MS = [100, 5000] as const
/** A connection without an answer for so long is taken for dead: a network that drops packets tells no one. */
const PING_MS = 20_000
/**
 * Between two looks where nothing is heard. A pooler that gives each transaction another connection takes a LISTEN and
 * delivers nothing: until the knock is heard, the watches are rung again and again, and look for themselves.
 */
const POLL_MS = 250
/** So long a knock is waited for before that is told. */
const DEAF_MS = 2000

export class Listener {
  readonly #hosts: PostgresHosts
  readonly #timeouts: Timeouts
  readonly #watchers = new Set<() => void>()
  readonly #knock: (channel: string, word: string) => Promise<void>
  #client: Connection | null = null
  /** Those that are being made: of several hosts one is chosen. */
  readonly #dialled = new Set<Connection>()
  /** What was begun in an earlier one is given up. */
  #round = 0
  #timer: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined
  readonly #onDeaf: () => void
  #isDeaf = false
  #judge: NodeJS.Timeout | undefined
  readonly #backoff = new Backoff(...BACKOFF_MS)

  /**
   * @param knock sends a NOTIFY over another connection
   * @param onDeaf called once, when none arrives
   */
  constructor(
    hosts: PostgresHosts,
    timeouts: Timeouts,
    knock: (channel: string, word: string) => Promise<void>,
    onDeaf: () => void,
  ) {
    this.#onDeaf = onDeaf
    this.#hosts = hosts
    this.#timeouts = timeouts
    this.#knock = knock
    hosts.onMove(() => {
      if (this.#client && !hosts.isInUse(this.#client.target)) this.#lost(this.#client)
    })
  }

  add(onChange: () => void): void {
    this.#watchers.add(onChange)
    if (this.#watchers.size === 1) void this.#connect()
  }

  remove(onChange: () => void): void {
    if (this.#watchers.delete(onChange) && this.#watchers.size === 0) this.#drop()
  }

  async #connect(): Promise<void> {
    const round = this.#round
    const isOver = () => round !== this.#round
    const word = randomUUID()
    try {
      const client = await this.#hosts.connect(host => this.#dial(host))
      if (isOver()) return client.break()
      this.#client = client
      for (const event of ['error', 'end'] as const) client.on(event, () => this.#lost(client))
      client.on('notification', ({payload}) => {
        if (payload === word) this.#endPolls()
        this.#ring()
      })
      client.expect(this.#timeouts.answer)
      const channel = await listen(client)
      client.rest()
      if (isOver()) return
      if (client.isPooled) {
        this.#poll = setInterval(() => this.#ring(), POLL_MS)
        if (!this.#isDeaf) this.#judge = setTimeout(() => this.#tellDeaf(), DEAF_MS).unref()
        void this.#knock(channel, word).catch(() => {}) // then it goes on as if nothing had been heard
      }
      this.#backoff.reset()
      this.#ring() // whatever was changed while no one listened
      this.#ping(client)
    } catch {
      if (!isOver()) this.#again()
    }
  }

  #endPolls(): void {
    clearInterval(this.#poll)
    clearTimeout(this.#judge)
  }

  #tellDeaf(): void {
    this.#isDeaf = true
    this.#onDeaf()
  }

  async #dial(host: Host<ClientConfig>): Promise<Connection> {
    const connection = new Connection(host, {
      application_name: 'jobq listen',
      connectMs: this.#timeouts.connect,
      mustTakeWrites: this.#hosts.areSeveral,
    })
    this.#dialled.add(connection)
    try {
      return await connection.connect()
    } finally {
      this.#dialled.delete(connection)
    }
  }

  #ping(client: Connection): void {
    this.#timer = setTimeout(() => {
      client.expect(this.#timeouts.answer)
      client.query('SELECT 1').then(
        () => this.#answered(client),
        error => {
          if (isSilent(error)) this.#hosts.leave(client.target)
          this.#lost(client)
        },
      )
    }, PING_MS)
    this.#timer.unref()
  }

  #answered(client: Connection): void {
    client.rest()
    if (this.#client === client) this.#ping(client)
  }

  #lost(client: Connection): void {
    if (this.#client === client) this.#again()
  }

  #again(): void {
    this.#drop()
    this.#timer = setTimeout(() => void this.#connect(), this.#backoff.next())
  }

  #drop(): void {
    this.#round++
    clearTimeout(this.#timer)
    this.#endPolls()
    const client = this.#client
    this.#client = null
    // Whatever it still says is no one's concern, its errors neither
    client?.removeAllListeners('notification')
    client?.end().catch(() => {})
    for (const connection of this.#dialled) connection.break()
  }

  #ring(): void {
    for (const watcher of this.#watchers) watcher()
  }
}

async function listen(client: Connection): Promise<string> {
  const {rows} = await client.query<{channel: string}>(`SELECT ${CHANNEL} AS channel`)
  const {channel} = rows[0]!
  await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
  return channel
}
