/**
 * Jobs that wait for others (store/shared/after.ts), as far as a dispatcher has to see to them: what waits for a job that has
 * failed here fails, too, some jobs at a time between two turns; and now and then it looks for what someone else has left so,
 * and for jobs that Perl has ended without a word to those that wait for them.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../jobs/clock.ts'
import {isPassing} from '../jobs/errors.ts'
import type {FailedAfter} from '../jobs/job.ts'
import type {Store} from '../store/store.ts'

/** From the end of one look to the next. It costs next to nothing where nothing waits for others. */
const LOOK_MS = 5000
/** What can't be done now is tried so often, with such pauses, and then left to the next look. */
const MOST_FAILURES = 4
const PAUSE_MS = 250

export class Dependents {
  readonly #store: Store
  readonly #onFailed: (jobs: FailedAfter[]) => void
  #isWanted = true
  #lookedAt = Number.NEGATIVE_INFINITY
  /** Where the look has come to. */
  #from = 0
  #failures = 0

  constructor(store: Store, onFailed: (jobs: FailedAfter[]) => void) {
    this.#store = store
    this.#onFailed = onFailed
  }

  /** A job has left the queue, and has not completed. */
  ring(): void {
    this.#isWanted = true
  }

  /** May there be something to fail? */
  get areAny(): boolean {
    return this.#isWanted
  }

  get isDue(): boolean {
    return this.#isWanted || monotonic() - this.#lookedAt >= LOOK_MS
  }

  /** Some of it. A database that is out of reach now is looked at again, a little later: a drain would leave it. @throws StoreError */
  async see(): Promise<void> {
    this.#isWanted = false
    try {
      if (monotonic() - this.#lookedAt >= LOOK_MS) await this.#look()
      const {failed, isMore} = await this.#store.failAfter()
      this.#isWanted ||= isMore
      this.#failures = 0
      if (failed.length > 0) this.#onFailed(failed)
    } catch (error) {
      if (!isPassing(error)) throw error
      this.#lookedAt = monotonic()
      this.#failures++
      if (this.#failures % MOST_FAILURES === 0) return // with the next look
      this.#isWanted = true
      await sleep(PAUSE_MS)
    }
  }

  async #look(): Promise<void> {
    const next = await this.#store.lookAfter(this.#from)
    this.#from = next ?? 0
    if (next === null) this.#lookedAt = monotonic()
  }
}
