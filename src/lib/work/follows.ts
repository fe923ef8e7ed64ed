/**
 * Jobs that run here and are followed from elsewhere (`jobq logs --follow`): as long as that is ordered, what they write is
 * told through the store, at most every half a second. A job never waits for that: what comes faster than it is told, or
 * while the store is out of reach, is left out, and the next piece says so. What a job wrote last is told before its end is settled.
 */
import {monotonic} from '../jobs/clock.ts'
import {StoreError} from '../jobs/errors.ts'
import {rowRef} from '../jobs/job.ts'
import type {Written} from '../jobs/side-tables/orders.ts'
import {framed} from '../jobs/told.ts'
import type {Store} from '../store/store.ts'
import type {Attempt} from './attempt.ts'
import type {Orders} from './orders.ts'

const TELL_MS = 500
/** How often orders that don't hold any more are looked for. */
const FORGET_MS = 10_000

interface Follow {
  /** No two runs have the same. */
  run: string
  /** Pieces so far. */
  pieces: number
  isHeard: boolean
  isCut: boolean
}

export class Follows {
  readonly #store: Store
  readonly #orders: Orders
  readonly #onDue: () => void
  readonly #follows = new Map<Attempt, Follow>()
  #timer: NodeJS.Timeout | undefined
  #isDue = false
  #forgotAt = Number.NEGATIVE_INFINITY

  /** @param onDue called when `tell` is to be called */
  constructor(store: Store, orders: Orders, onDue: () => void) {
    this.#store = store
    this.#orders = orders
    this.#onDue = onDue
  }

  get isDue(): boolean {
    return this.#isDue
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** It begins to run: from its first line on. */
  started(attempt: Attempt): void {
    if (this.#orders.isOrdered(attempt.job, 'follow')) this.#follow(attempt)
  }

  /** What is ordered may be something else now. */
  obey(running: ReadonlySet<Attempt>): void {
    if (!this.#orders.areAnyOf('follow') && this.#follows.size === 0) return
    for (const attempt of running) {
      const isOrdered = this.#orders.isOrdered(attempt.job, 'follow')
      if (isOrdered && !this.#follows.has(attempt)) this.#follow(attempt)
      if (isOrdered || !this.#follows.delete(attempt)) continue
      attempt.run?.output?.unfollow()
    }
    this.#tellSoon(monotonic() - this.#forgotAt > FORGET_MS ? 0 : TELL_MS)
  }

  /** Tells what has been written since, and forgets whom nobody follows any more. */
  async tell(): Promise<void> {
    this.#isDue = false
    await this.#tell([...this.#follows.keys()])
    if (monotonic() - this.#forgotAt > FORGET_MS) {
      this.#forgotAt = monotonic()
      await this.#ifReached(this.#store.forgetFollowed())
      this.#orders.ring()
    }
    if (this.#follows.size > 0 || this.#orders.areAnyOf('follow')) this.#tellSoon(TELL_MS)
  }

  areAmong(attempts: readonly Attempt[]): boolean {
    return this.#follows.size > 0 && attempts.some(attempt => this.#follows.has(attempt))
  }

  /** They have ended, and what they wrote last is told before that can be seen. */
  async finish(ended: readonly Attempt[]): Promise<void> {
    const followed = ended.filter(attempt => this.#follows.has(attempt))
    await this.#tell(followed)
    for (const attempt of followed) this.#follows.delete(attempt)
  }

  #follow(attempt: Attempt): void {
    const {job, startedAt, since, run} = attempt
    if (!run?.output) return
    run.output.follow()
    const name = `${startedAt}.${job.retryCnt}.${run.pid}.${Math.round(since)}`
    this.#follows.set(attempt, {run: name, pieces: 0, isHeard: false, isCut: false})
    this.#tellSoon(0)
  }

  #tellSoon(ms: number): void {
    if (this.#isDue) return
    if (ms === 0) clearTimeout(this.#timer)
    else if (this.#timer) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#isDue = true
      this.#onDue()
    }, ms)
  }

  async #tell(attempts: readonly Attempt[]): Promise<void> {
    const isNew = (attempt: Attempt) => !this.#follows.get(attempt)?.isHeard
    for (const attempt of await this.#orders.hear('follow', attempts.filter(isNew)))
      this.#follows.get(attempt)!.isHeard = true
    const told: Follow[] = []
    const written = attempts.flatMap((attempt): Written[] => {
      const untold = attempt.run?.output?.takeUntold()
      if (!untold) return []
      const follow = this.#follows.get(attempt)!
      const isCut = untold.isCut || follow.isCut
      told.push(follow)
      const bytes = framed({run: follow.run, nth: follow.pieces++, bytes: untold.bytes})
      return [{...rowRef(attempt.job), bytes, isCut}]
    })
    if (written.length === 0) return
    const isTold = await this.#ifReached(this.#store.tell(written))
    for (const follow of told) follow.isCut = !isTold
  }

  /** What is told is no reason to end: not even a right that is missing. */
  async #ifReached(asked: Promise<unknown>): Promise<boolean> {
    try {
      await asked
      return true
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      return false
    }
  }
}
