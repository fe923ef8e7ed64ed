/**
 * What is kept beside jobs, as far as a dispatcher has to see to it. Jobs that have not begun when they expire leave the queue
 * before its next turn. What is kept of jobs that have left here goes soon after, and that of those that others have ended when
 * it is met. Where nothing of the kind is kept, it costs a seek now and then. No turn waits for a look, but for what is known to
 * have expired.
 */
import {monotonic, untilSecond} from '../jobs/clock.ts'
import {isPassing} from '../jobs/errors.ts'
import {type ExpiredJob, type RowRef, rowRef} from '../jobs/job.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Store} from '../store/store.ts'

/** A store may ring a thousand times a second; it is looked at once, and then again so much later. */
const PAUSE_MS = 250
/** It is looked at in any case. */
const LOOK_MS = 5000
/** Of jobs that have left here, tags are taken away together: of so many, or so long after the first. */
const MOST_LEFT = 500
const FORGET_MS = 1000
/** From one stretch of all tags to the next. */
const SWEEP_MS = 60_000

export class SideTables {
  readonly #store: Store
  readonly #wake: () => void
  readonly #onExpired: (jobs: ExpiredJob[]) => void
  #isWanted = true
  #lookedAt = Number.NEGATIVE_INFINITY
  #isKept = false
  #isExpiring = false
  #isLooking = false
  #failure: unknown = null
  /** By monotonic(). */
  #expiresAt = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined
  #left: RowRef[] = []
  #leftSince = 0
  #sweptAt = monotonic()
  #sweptTo = 0

  /** @param wake called when it is time for a look that had to wait, or when a job expires */
  constructor(store: Store, wake: () => void, onExpired: (jobs: ExpiredJob[]) => void) {
    this.#store = store
    this.#wake = wake
    this.#onExpired = onExpired
  }

  /** Something may have changed. */
  ring(): void {
    this.#isWanted = true
  }

  /** Is anything kept that whoever has ended a job must see to? */
  get isKept(): boolean {
    return this.#isKept
  }

  /** There may be jobs left that must not be started any more. */
  get isExpiring(): boolean {
    return this.#isExpiring
  }

  /** A job has left the queue. */
  left(job: RowRef): void {
    if (this.#left.push(rowRef(job)) === 1) this.#leftSince = monotonic()
  }

  /** Is it time for a look? If it is too early, it wakes then. */
  get isLookDue(): boolean {
    if (this.#isLooking) return false
    const now = monotonic()
    if (this.#isForgettingDue(now)) return true
    const since = now - this.#lookedAt
    if (this.#isWanted && since < PAUSE_MS) this.#wakeIn(PAUSE_MS - since)
    return since >= (this.#isWanted ? PAUSE_MS : LOOK_MS)
  }

  #wakeIn(ms: number): void {
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined
      this.#wake()
    }, ms)
  }

  /** A database that is out of reach now is looked at again. Never rejects. */
  async look(): Promise<void> {
    const now = monotonic()
    this.#isWanted = false
    this.#isLooking = true
    this.#lookedAt = now
    try {
      if (this.#isForgettingDue(now)) await this.#forget()
      const asked = monotonic()
      const {hasTags, expiryIn, hasOldResults} = await this.#store.beside()
      this.#isKept = hasTags || expiryIn !== null
      this.#expect(expiryIn === null ? Number.POSITIVE_INFINITY : untilSecond(expiryIn, asked))
      if (hasOldResults && (await this.#store.sweepResults())) this.#isWanted = true
      if (hasTags && now - this.#sweptAt >= SWEEP_MS) await this.#sweep(now)
    } catch (error) {
      if (isPassing(error)) this.#isWanted = true
      else this.#failure = error
    }
    this.#isLooking = false
    // What was rung for meanwhile may have come behind what was read
    if (this.isDue || this.#isWanted) this.#wake()
  }

  /** Has a job expired, or could it not be looked? */
  get isDue(): boolean {
    return this.#isExpiring || this.#failure !== null || monotonic() >= this.#expiresAt
  }

  /** Some of those that have. When there are no more, it is looked soon when the next one does: others may be at some of these. @throws StoreError */
  async see(): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    this.#expect(Number.POSITIVE_INFINITY)
    try {
      const {expired, isMore} = await this.#store.expire()
      this.#isExpiring = isMore
      if (expired.length > 0) this.#onExpired(expired)
    } catch (error) {
      if (!isPassing(error)) throw error
      this.#isExpiring = false
    }
    if (this.#isExpiring) return
    this.#isWanted = true
    this.#wakeIn(PAUSE_MS)
  }

  /** @param ms until the next job expires; Infinity: none does */
  #expect(ms: number): void {
    clearTimeout(this.#timer)
    this.#expiresAt = monotonic() + ms
    if (ms < Number.POSITIVE_INFINITY) this.#arm()
  }

  /** A timer may go off a fraction of a millisecond early, when it is not yet due. */
  #arm(): void {
    const left = this.#expiresAt - monotonic()
    if (left <= 0) this.#wake()
    else this.#timer = setTimeout(() => this.#arm(), Math.min(left, MAX_TIMER_MS))
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearTimeout(this.#pause)
  }

  /** What has left and is still to be seen to. What can't be done now is left to a sweep. */
  async end(): Promise<void> {
    await this.#forget().catch(() => {})
  }

  #isForgettingDue(now: number): boolean {
    const {length} = this.#left
    return length >= MOST_LEFT || (length > 0 && now - this.#leftSince >= FORGET_MS)
  }

  async #forget(): Promise<void> {
    const left = this.#left
    this.#left = []
    if (left.length > 0) await this.#store.forgetBeside(left)
  }

  async #sweep(now: number): Promise<void> {
    this.#sweptAt = now
    this.#sweptTo = (await this.#store.sweepTags(this.#sweptTo)) ?? 0
  }
}
