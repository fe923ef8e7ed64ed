/**
 * What others have ordered of jobs (jobq_order), as a dispatcher hears of it: it looks when its store rings, and keeps what
 * it has seen, also of jobs that others run: should these die, their jobs may come here, and one that was cancelled is not
 * run again. An order is obeyed once it is written down that it was heard: from then on it can't be taken back. No turn
 * waits for a look.
 */
import {monotonic} from '../jobs/clock.ts'
import {isPassing} from '../jobs/errors.ts'
import {idOf, type JobRow, type RowRef, rowRef} from '../jobs/job.ts'
import type {Order} from '../jobs/side-tables/orders.ts'
import type {SettleResult, Store} from '../store/store.ts'
import type {Attempt} from './attempt.ts'

/** A store may ring a thousand times a second; it is looked at once, and then again so much later. */
const PAUSE_MS = 50

type What = Order['what']

export class Orders {
  readonly #store: Store
  readonly #wake: () => void
  /** All that there were at the last look, by job. */
  #seen: ReadonlyMap<number | string, readonly What[]> = new Map()
  #isWanted = true
  #lookedAt = Number.NEGATIVE_INFINITY
  #isLooking = false
  #hasNews = false
  #failure: unknown = null
  #timer: NodeJS.Timeout | undefined

  /** @param wake called when it is time for a look that had to wait, and when there is something to obey */
  constructor(store: Store, wake: () => void) {
    this.#store = store
    this.#wake = wake
  }

  /** There may be new ones. */
  ring(): void {
    this.#isWanted = true
  }

  /** Is it time for a look? If it is too early, it wakes then. */
  get isDue(): boolean {
    if (!this.#isWanted || this.#isLooking) return false
    const left = PAUSE_MS - (monotonic() - this.#lookedAt)
    if (left <= 0) return true
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#wake()
    }, left)
    return false
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** What is ordered is no reason to end: a database that is out of reach now is looked at again. Never rejects. */
  async look(): Promise<void> {
    this.#isWanted = false
    this.#isLooking = true
    this.#lookedAt = monotonic()
    try {
      const orders = await this.#ifReached(this.#store.orders())
      if (orders) this.#see(orders)
    } catch (error) {
      this.#failure = error
    }
    this.#isLooking = false
    // What was rung for meanwhile may have come behind what was read
    if (this.#hasNews || this.#failure !== null || this.#isWanted) this.#wake()
  }

  #see(orders: readonly Order[]): void {
    this.#hasNews = orders.length > 0 || this.#seen.size > 0
    const seen = Map.groupBy(orders, idOf)
    this.#seen = new Map([...seen].map(([id, ofJob]) => [id, ofJob.map(({what}) => what)]))
  }

  /** Has a look found something, or that something is gone? Asked once. @throws StoreError if it could not look, and will not be able to */
  get areNew(): boolean {
    if (this.#failure !== null) throw this.#failure
    const hasNews = this.#hasNews
    this.#hasNews = false
    return hasNews
  }

  /** Mostly there are none. */
  get areAny(): boolean {
    return this.#seen.size > 0
  }

  /** Is this ordered of any job? */
  areAnyOf(what: What): boolean {
    return this.#seen.size > 0 && [...this.#seen.values()].some(ofJob => ofJob.includes(what))
  }

  /** Is this ordered of this job? */
  isOrdered(job: JobRow, what: What): boolean {
    return this.#seen.size > 0 && (this.#seen.get(idOf(job))?.includes(what) ?? false)
  }

  /** Is anything ordered of this job? */
  areOf(job: RowRef): boolean {
    return this.#seen.size > 0 && this.#seen.has(idOf(job))
  }

  /** Writes down that this order about these jobs is heard. @returns those of which it is: it may have been taken back */
  async hear(what: What, attempts: readonly Attempt[]): Promise<Attempt[]> {
    const mine = attempts.filter(({job}) => this.isOrdered(job, what))
    if (mine.length === 0) return []
    const orders = mine.map(({job}) => ({...rowRef(job), what}))
    const heard = new Set((await this.#ifReached(this.#store.hear(orders)))?.map(idOf))
    return mine.filter(({job}) => heard.has(idOf(job)))
  }

  /** What was ordered of a job that has left the queue is done with. */
  async settled(attempts: readonly Attempt[], results: readonly SettleResult[]): Promise<void> {
    const left = attempts.filter(
      (attempt, i) => this.isOrdered(attempt.job, 'cancel') && attempt.hasLeft(results[i]!),
    )
    if (left.length === 0) return
    await this.#ifReached(this.#store.forgetOrders(left.map(({job}) => rowRef(job))))
  }

  /** null where the database can't be reached, or has no time. @throws StoreError */
  async #ifReached<T>(asked: Promise<T>): Promise<T | null> {
    try {
      return await asked
    } catch (error) {
      if (!isPassing(error)) throw error
      this.#isWanted = true
      return null
    }
  }
}
