/** The rows of jobq_token: what was stored under the token of an enqueue. */
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'

/** So many rows are added between two sweeps, each of which takes at most twice as many. */
const SWEEP_EVERY = 100

/** What a token's row says. */
export interface Stored {
  /** Of the first job, or of the only one. */
  id: number
  jobs: number
  /** Unix seconds, by the database's clock. */
  storedAt: number
}

/** As the first try would have told it. */
export function enqueuedAs({func, uniqkey, priority, due}: NewJob, {id, storedAt}: Stored): EnqueuedJob {
  return {id, func, uniqkey, priority, runAfter: 'at' in due ? due.at : storedAt + due.in}
}

/** Whose turn it is to take away tokens whose time is over. */
export class TokenSweep {
  #added = Math.floor(Math.random() * SWEEP_EVERY) // most processes that enqueue are short

  /** @param added so many rows. @returns how many may be swept now; 0: none */
  most(added: number): number {
    this.#added += added
    if (this.#added < SWEEP_EVERY) return 0
    const most = 2 * this.#added
    this.#added = 0
    return most
  }
}
