/** One LISTEN connection for a store's watches: made with the first, re-made with backoff when it drops. */
import type pg from 'pg'
import {Client, configOf} from './postgres-client.ts'

/** The channel that jobq_ring rings. */
const CHANNEL = `('jobq_' || current_schema())::NAME::TEXT`
const BACKOFF_MS = [100, 5000] as const
/** A connection without an answer for so long is taken for dead: a network that drops packets tells no one. */
const PING_MS = 20_000

export class Listener {
  readonly #url: string
  readonly #watchers = new Set<() => void>()
  #client: pg.Client | null = null
  #timer: NodeJS.Timeout | undefined
  #failures = 0

  constructor(url: string) {
    this.#url = url
  }

  add(onChange: () => void): void {
    this.#watchers.add(onChange)
    if (this.#watchers.size === 1) void this.#connect()
  }

  remove(onChange: () => void): void {
    if (this.#watchers.delete(onChange) && this.#watchers.size === 0) this.#drop()
  }

  async #connect(): Promise<void> {
    const client = new Client({
      ...configOf(this.#url),
      application_name: 'jobq listen',
      connectionTimeoutMillis: PING_MS,
      query_timeout: PING_MS,
    })
    this.#client = client
    const lost = () => this.#lost(client)
    client.on('error', lost)
    client.on('end', lost)
    client.on('notification', () => this.#ring())
    try {
      await client.connect()
      const {rows} = await client.query<{channel: string}>(`SELECT ${CHANNEL} AS channel`)
      await client.query(`LISTEN ${client.escapeIdentifier(rows[0]!.channel)}`)
    } catch {
      lost()
      return
    }
    if (this.#client !== client) return
    this.#failures = 0
    this.#ring() // whatever was changed while no one listened
    this.#ping(client)
  }

  #ping(client: pg.Client): void {
    this.#timer = setTimeout(() => {
      client.query('SELECT 1').then(
        () => this.#client === client && this.#ping(client),
        () => this.#lost(client),
      )
    }, PING_MS)
    this.#timer.unref()
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return
    this.#drop()
    const pause = Math.min(BACKOFF_MS[0] * 2 ** this.#failures++, BACKOFF_MS[1])
    this.#timer = setTimeout(() => void this.#connect(), pause * (0.5 + Math.random()))
  }

  #drop(): void {
    clearTimeout(this.#timer)
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
