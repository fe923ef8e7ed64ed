/**
 * Functions whose jobs are lost again and again, as fast as they run, since something gives them back the moment they
 * are taken (a trigger, another program). They are left alone for a while, longer each time. A single loss is nothing:
 * a lease ran out, Perl took the job.
 */
import {monotonic} from '../jobs/clock.ts'
import {idOf, type RowRef} from '../jobs/job.ts'

const FIRST_PAUSE_MS = 1000
const MAX_PAUSE_MS = 60_000
/** A function that has lost nothing for so long begins anew. */
const FORGET_MS = 300_000
/** So many ids are remembered of a function. */
const MOST_IDS = 1000

interface Loss {
  ids: Set<number | string>
  pause: number
  at: number
  until: number
}

export class Losses {
  readonly #byFunc = new Map<string, Loss>()
  readonly #tell: (message: string) => void

  constructor(tell: (message: string) => void) {
    this.#tell = tell
  }

  add(job: RowRef & {func: string}): void {
    const now = monotonic()
    const id = idOf(job)
    let loss = this.#byFunc.get(job.func)
    if (!loss || now - loss.at > FORGET_MS) loss = {ids: new Set(), pause: FIRST_PAUSE_MS, at: now, until: 0}
    this.#byFunc.set(job.func, loss)
    loss.at = now
    if (!loss.ids.has(id)) {
      if (loss.ids.size < MOST_IDS) loss.ids.add(id)
      return
    }
    if (loss.until > now) return
    loss.until = now + loss.pause
    this.#tell(
      `job ${id} was lost again: something else changes it while it runs here; no job of ${job.func} is taken for ${loss.pause / 1000} s`,
    )
    loss.pause = Math.min(2 * loss.pause, MAX_PAUSE_MS)
  }

  /** Without those that are left alone now. */
  among(funcs: readonly string[]): readonly string[] {
    if (this.#byFunc.size === 0) return funcs
    const now = monotonic()
    return funcs.filter(func => (this.#byFunc.get(func)?.until ?? 0) <= now)
  }
}
