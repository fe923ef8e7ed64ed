/**
 * Jobs that had others beside them in a child that died: nobody knows whose doing it was, so each has counted a death. The
 * last one that a job may have (MAX_DEATHS) it is to have alone: then it has done it, and no other job fails for it. What
 * has died elsewhere is not known here.
 */
import {idOf, type JobRow, MAX_DEATHS} from '../../../jobs/job.ts'
import type {Ended} from '../executor.ts'

/** So many are remembered. */
const MOST = 10_000

export class Suspects {
  /** How often, by job; who came first is first. */
  readonly #deaths = new Map<number | string, number>()

  /** Is it to run alone? */
  has(job: JobRow): boolean {
    return this.#deaths.size > 0 && this.#deaths.get(idOf(job)) === MAX_DEATHS - 1
  }

  /** How it has ended here. */
  note(job: JobRow, {kind}: Ended): void {
    const id = idOf(job)
    const deaths = this.#deaths.get(id) ?? 0
    if (deaths > 0) this.#deaths.delete(id)
    if (kind !== 'died' && kind !== 'evicted') return
    const now = kind === 'died' ? deaths + 1 : deaths
    if (now > 0 && now < MAX_DEATHS) this.#deaths.set(id, now)
    for (const first of this.#deaths.keys()) {
      if (this.#deaths.size <= MOST) return
      this.#deaths.delete(first)
    }
  }
}
