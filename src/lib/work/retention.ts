/**
 * Old attempts deleted while `jobq work` goes on, as the configuration's `retention` says: soon after its start, then about
 * once an hour, as `jobq prune` does it. It has a connection of its own, which is there only meanwhile, so that no turn
 * waits for what it reads. Of several `jobq work` on one store each does it at a moment of its own: who comes first leaves
 * nothing to the others.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {JobqConfig} from '../config/schema.ts'
import type {LogTable, Store} from '../store/store.ts'
import type {JobLog} from './log/log.ts'

const FIRST_MS = [1000, 10_000] as const
const NEXT_MS = [45 * 60_000, 75 * 60_000] as const
/** So long what is under way at the end may take. */
const LEAVE_MS = 1000

const TABLES = {failed: 'exception_log', finished: 'job_status'} as const satisfies Record<string, LogTable>

export type Retention = NonNullable<JobqConfig['retention']>

export class RetentionKeeper {
  readonly #openStore: () => Promise<Store>
  readonly #log: Pick<JobLog, 'pruned' | 'trouble'>
  readonly #closing = new AbortController()
  #retention: Retention
  #timer: NodeJS.Timeout | undefined
  #pruning: Promise<void> | null = null
  /** What it works on meanwhile. */
  #store: Store | null = null
  /** Trouble was told, and since then it has not been done. */
  #isTroubled = false

  /** @param openStore opens the same store once more */
  constructor(
    retention: Retention | undefined,
    openStore: () => Promise<Store>,
    log: Pick<JobLog, 'pruned' | 'trouble'>,
  ) {
    this.#retention = retention ?? {}
    this.#openStore = openStore
    this.#log = log
  }

  start(): void {
    this.#wait(FIRST_MS)
  }

  /** What the configuration says now: what it has changed is done soon. */
  reload(retention: Retention = {}): void {
    const {failed, finished} = this.#retention
    this.#retention = retention
    const isSame = failed === retention.failed && finished === retention.finished
    if (this.#timer !== undefined && !this.#pruning && !isSame) this.#wait(FIRST_MS)
  }

  /** Ends at once what goes on. */
  async close(): Promise<void> {
    this.#closing.abort()
    clearTimeout(this.#timer)
    if (!this.#pruning) return
    const late = new AbortController()
    const patience = sleep(LEAVE_MS, undefined, {signal: late.signal}).catch(() => {})
    await Promise.race([this.#pruning, patience])
    late.abort()
    await this.#store?.close().catch(() => {})
  }

  #wait([from, to]: readonly [number, number]): void {
    clearTimeout(this.#timer)
    if (this.#closing.signal.aborted) return
    this.#timer = setTimeout(() => this.#start(), from + Math.random() * (to - from)).unref()
  }

  #start(): void {
    const isWanted = Object.keys(TABLES).some(name => this.#retention[name as keyof Retention] !== undefined)
    this.#pruning = (isWanted ? this.#prune() : Promise.resolve()).finally(() => {
      this.#pruning = null
      this.#wait(NEXT_MS)
    })
  }

  async #prune(): Promise<void> {
    const pruned = {failed: 0, finished: 0}
    try {
      this.#store = await this.#openStore()
      for (const name of ['failed', 'finished'] as const) {
        const ago = this.#retention[name]
        if (ago === undefined) continue
        const {signal} = this.#closing
        for await (const count of this.#store.prune(TABLES[name], {ago}, false, signal)) pruned[name] += count
      }
      this.#isTroubled = false
    } catch (error) {
      if (!this.#isTroubled && !this.#closing.signal.aborted) {
        const {message, hint = ''} = error as Error & {hint?: string}
        this.#log.trouble(`old attempts are not deleted: ${message}${hint && ` (${hint})`}; again in an hour`)
        this.#isTroubled = true
      }
    } finally {
      if (pruned.failed + pruned.finished > 0) this.#log.pruned(pruned)
      await this.#store?.close().catch(() => {})
      this.#store = null
    }
  }
}
