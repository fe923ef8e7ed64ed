/** By what time a store judges whether a lease has run out: the database's clock, unless that has just jumped ahead. */
import {monotonic} from '../../jobs/clock.ts'

/** Leases have more than that left, as long as those who hold them are there: see work/leases.ts. */
export const JUMP_SECONDS = 30
/** All that is held is renewed within 20 s. */
const GRACE_MS = 30_000

/**
 * A clock can be set, by hours where a machine wakes up or hears of the right time, and then every lease would have run
 * out at once, also of those who are there and had no time to renew. So who sees it jump ahead, against the clock of
 * this process that is never set, goes on by the time as it was for as long as it takes all others to renew. Who has
 * just come can't see it.
 */
export class LeaseClock {
  readonly #elapsed: () => number
  /** The database's clock, in seconds, and this process's, in milliseconds, when they were compared last. */
  #seen: {now: number; at: number} | null = null
  #jumpedAt: number | null = null

  /** @param elapsed milliseconds; for a database whose clock is no real one, by that */
  constructor(elapsed: () => number = monotonic) {
    this.#elapsed = elapsed
  }

  /** @param now by the database's clock. @returns the same, or less if it has jumped ahead */
  judge(now: number): number {
    const at = this.#elapsed()
    const expected = this.#seen === null ? now : this.#seen.now + (at - this.#seen.at) / 1000
    if (now - expected > JUMP_SECONDS) {
      this.#jumpedAt ??= at
      if (at - this.#jumpedAt < GRACE_MS) return Math.floor(expected)
    }
    this.#jumpedAt = null
    this.#seen = {now, at}
    return now
  }

  /** What is beyond this has jumped; null: it can't be known. */
  get latest(): number | null {
    if (this.#seen === null) return null
    const {now, at} = this.#seen
    const current = this.#elapsed()
    if (this.#jumpedAt !== null && current - this.#jumpedAt >= GRACE_MS) return null
    return Math.ceil(now + (current - at) / 1000) + JUMP_SECONDS
  }
}
