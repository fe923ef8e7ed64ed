/** One LISTEN connection for all of a store's watches: made with the first, and re-made with backoff when it drops. */
import {randomUUID} from 'node:crypto'
import {Backoff} from '../../jobs/backoff.ts'
import {type Timeouts, timeoutsOf} from '../shared/silence.ts'
import {configOf} from './client.ts'
import {Connection} from './connection.ts'

/** The channel that jobq_ring rings. */
const CHANNEL = `('jobq_' || current_schema())::NAME::TEXT`
const BACKOFF_MS = [100, 5000] as const
/** A connection without an answer for so long is taken for dead: a network that drops packets tells no one. */
const PING_MS = 20_000
/**
 * Between two looks where nothing is heard. A pooler that gives each transaction another connection takes a LISTEN and
 * delivers nothing: until the knock is heard, the watches are rung again and again, and look for themselves.
 */
const POLL_MS = 250

export class Listener {
  readonly #url: string
  readonly #timeouts: Timeouts
  readonly #watchers = new Set<() => void>()
  readonly #knock: (channel: string, word: string) => Promise<void>
  #client: Connection | null = null
  #timer: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined
  readonly #backoff = new Backoff(...BACKOFF_MS)

  /** @param knock sends a NOTIFY over another connection */
  constructor(url: string, knock: (channel: string, word: string) => Promise<void>) {
    this.#url = url
    this.#timeouts = timeoutsOf(url)
    this.#knock = knock
  }

  add(onChange: () => void): void {
    this.#watchers.add(onChange)
    if (this.#watchers.size === 1) void this.#connect()
  }

  remove(onChange: () => void): void {
    if (this.#watchers.delete(onChange) && this.#watchers.size === 0) this.#drop()
  }

  async #connect(): Promise<void> {
    const client = new Connection({
      ...configOf(this.#url),
      application_name: 'jobq listen',
      connectMs: this.#timeouts.connect,
    })
    this.#client = client
    const lost = () => this.#lost(client)
    client.on('error', lost)
    client.on('end', lost)
    const word = randomUUID()
    client.on('notification', ({payload}) => {
      if (payload === word) clearInterval(this.#poll)
      this.#ring()
    })
    try {
      await client.connect()
      client.expect(this.#timeouts.answer)
      const channel = await listen(client)
      client.rest()
      if (this.#client !== client) return
      if (client.isPooled) {
        this.#poll = setInterval(() => this.#ring(), POLL_MS)
        void this.#knock(channel, word).catch(() => {}) // then it goes on as if nothing had been heard
      }
    } catch {
      lost()
      return
    }
    this.#backoff.reset()
    this.#ring() // whatever was changed while no one listened
    this.#ping(client)
  }

  #ping(client: Connection): void {
    this.#timer = setTimeout(() => {
      client.expect(this.#timeouts.answer)
      client.query('SELECT 1').then(
        () => this.#answered(client),
        () => this.#lost(client),
      )
    }, PING_MS)
    this.#timer.unref()
  }

  #answered(client: Connection): void {
    client.rest()
    if (this.#client === client) this.#ping(client)
  }

  #lost(client: Connection): void {
    if (this.#client !== client) return
    this.#drop()
    this.#timer = setTimeout(() => void this.#connect(), this.#backoff.next())
  }

  #drop(): void {
    clearTimeout(this.#timer)
    clearInterval(this.#poll)
    const client = this.#client
    this.#client = null
    // Whatever it still says is no one's concern, its errors neither
    client?.removeAllListeners('notification')
    client?.end().catch(() => {})
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
