/**
 * Who runs longer than grabFor. One timer for all, at the earliest end there may be: a job that ends in time, as nearly
 * every one does, costs no timer of its own.
 */
import {monotonic} from '../jobs/clock.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Attempt} from './attempt.ts'

export class RunTimeouts {
  readonly #running: ReadonlySet<Attempt>
  readonly #onOverrun: (attempt: Attempt) => void
  #timer: NodeJS.Timeout | undefined
  /** When the timer goes off, by monotonic(). */
  #at = Number.POSITIVE_INFINITY

  /** @param running what is looked through when the time has come */
  constructor(running: ReadonlySet<Attempt>, onOverrun: (attempt: Attempt) => void) {
    this.#running = running
    this.#onOverrun = onOverrun
  }

  /** To be called when it has started. */
  watch(attempt: Attempt): void {
    const end = endOf(attempt)
    if (end < this.#at) this.#arm(end)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #arm(at: number): void {
    clearTimeout(this.#timer)
    this.#at = at
    if (at === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#sweep(), Math.min(Math.max(1, at - monotonic()), MAX_TIMER_MS))
    this.#timer.unref()
  }

  #sweep(): void {
    const now = monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const attempt of this.#running) {
      if (attempt.stopped) continue
      const end = endOf(attempt)
      if (end <= now) this.#onOverrun(attempt)
      else if (end < next) next = end
    }
    this.#arm(next)
  }
}

function endOf({since, run}: Attempt): number {
  return since + (run?.settings.grabFor ?? Number.POSITIVE_INFINITY) * 1000
}
