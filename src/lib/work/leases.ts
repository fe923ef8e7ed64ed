/**
 * Keeping the right to jobs: a lease is short, so that a dead machine's jobs run again soon, and is renewed as long as
 * its job waits here, runs, or has ended and is not settled yet.
 */
import {monotonic} from '../jobs/clock.ts'
import {idOf} from '../jobs/job.ts'
import type {Store} from '../store/store.ts'
import type {Attempt} from './attempt.ts'
import type {JobLog} from './log/log.ts'
import type {StoreRetry} from './store-retry.ts'

export const LEASE_SECONDS = 60
const RENEW_MS = 20_000
/** A job that waits here is not started with less than this left of its lease. */
const FRESH_MS = LEASE_SECONDS * 1000 - RENEW_MS

export class Leases {
  readonly #store: Store
  readonly #storeRetry: StoreRetry
  readonly #log: JobLog
  #interval: NodeJS.Timeout | undefined
  readonly #onDue: () => void
  #isDue = false

  /** @param onDue called whenever it is time to renew */
  constructor(store: Store, storeRetry: StoreRetry, log: JobLog, onDue: () => void) {
    this.#store = store
    this.#storeRetry = storeRetry
    this.#log = log
    this.#onDue = onDue
  }

  start(): void {
    this.#interval = setInterval(() => this.renewNow(), RENEW_MS)
  }

  renewNow(): void {
    this.#isDue = true
    this.#onDue()
  }

  /** Is its lease safely held? Not if this process was kept from renewing: then someone else may have the job. */
  isFresh(attempt: Attempt, now: number): boolean {
    return now - attempt.leasedSince < FRESH_MS
  }

  stop(): void {
    clearInterval(this.#interval)
  }

  get isDue(): boolean {
    return this.#isDue
  }

  /**
   * @param isIdle whether nothing is left that the store should know
   * @returns those that someone else has taken
   */
  async renew(held: readonly Attempt[], isIdle: () => boolean): Promise<Attempt[]> {
    this.#isDue = false
    if (held.length === 0) return []
    const leases = held.map(({lease}) => lease)
    const since = monotonic()
    const renewed = await this.#storeRetry.with(() => this.#store.renew(leases, LEASE_SECONDS), isIdle)
    if (!renewed) return []
    const byId = new Map(renewed.map(lease => [idOf(lease), lease]))
    const lost: Attempt[] = []
    for (const attempt of held) {
      const lease = byId.get(idOf(attempt.job))
      if (!lease) {
        lost.push(attempt)
        continue
      }
      attempt.lease = lease
      attempt.leasedSince = since
    }
    for (const {job, run} of lost)
      this.#log.trouble(
        `job ${idOf(job)} was taken by someone else while it ${run ? 'ran' : 'waited to start'} here`,
      )
    return lost
  }
}
