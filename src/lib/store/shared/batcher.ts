/**
 * Enqueues that share a commit, which waits for the disk once, be it one job or a hundred. Who waits here goes with all
 * others that do; when, and how they are stored, is the driver's.
 */
import {JobqError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'

/** Someone who waits for a job's id, or for its own refusal. */
export interface Waiting {
  readonly job: NewJob
  resolve(enqueued: EnqueuedJob): void
  reject(error: unknown): void
}

/** What goes together at most: so many jobs, and about so many bytes. */
export interface BatchSize {
  jobs: number
  bytes: number
}

export class Batcher {
  readonly #waiting: Waiting[] = []
  readonly #most: BatchSize
  readonly #sizeOf: (job: NewJob) => number

  constructor(most: BatchSize, sizeOf = (job: NewJob) => job.arg?.length ?? 0) {
    this.#most = most
    this.#sizeOf = sizeOf
  }

  get size(): number {
    return this.#waiting.length
  }

  /** @param onFirst called if nobody was waiting */
  add(job: NewJob, onFirst: () => void): Promise<EnqueuedJob> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({job, resolve, reject})
      if (this.#waiting.length === 1) onFirst()
    })
  }

  /** The next that go together: at least one. */
  cut(): Waiting[] {
    let [count, bytes] = [0, 0]
    for (const {job} of this.#waiting) {
      bytes += this.#sizeOf(job)
      if (count > 0 && (count === this.#most.jobs || bytes > this.#most.bytes)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  all(): Waiting[] {
    return this.#waiting.splice(0)
  }
}

/** Tells each what became of its job. */
export function tell(batch: readonly Waiting[], outcomes: readonly (EnqueuedJob | JobqError)[]): void {
  for (const [i, {resolve, reject}] of batch.entries()) {
    const outcome = outcomes[i]!
    if (outcome instanceof JobqError) reject(outcome)
    else resolve(outcome)
  }
}
