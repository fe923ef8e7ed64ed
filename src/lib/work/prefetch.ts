/** Jobs that were taken before they can start (`prefetch`): leased, in the order in which they start. */
import {idOf, type RowRef} from '../jobs/job.ts'
import type {Attempt} from './attempt.ts'

export class Prefetch {
  readonly #prefetch: number
  #waiting: Attempt[] = []
  /**
   * Among the jobs taken last was one whose worker has died: it does not wait here, nor does what comes behind it. What
   * waits would be counted as dead with this process once more, though it never ran.
   */
  #isCareful = false

  constructor(prefetch: number) {
    this.#prefetch = prefetch
  }

  /** How many jobs more than can start are to be taken now. */
  get wanted(): number {
    return this.#isCareful ? 0 : this.#prefetch
  }

  get size(): number {
    return this.#waiting.length
  }

  get first(): Attempt | undefined {
    return this.#waiting[0]
  }

  /** Has half of what may wait here been started? Without prefetch always. */
  get isLow(): boolean {
    return this.size * 2 <= this.#prefetch
  }

  [Symbol.iterator](): Iterator<Attempt> {
    return this.#waiting[Symbol.iterator]()
  }

  add(attempt: Attempt): void {
    this.#waiting.push(attempt)
  }

  shift(): void {
    this.#waiting.shift()
  }

  /** @returns what was taken out */
  takeOut(isWanted: (attempt: Attempt) => boolean): Attempt[] {
    const out = this.#waiting.filter(isWanted)
    this.#waiting = this.#waiting.filter(attempt => !isWanted(attempt))
    return out
  }

  /** @param died those whose worker has died, of the jobs taken last. @returns what may not wait here */
  takeOutFrom(died: readonly RowRef[]): Attempt[] {
    const ids = new Set(died.map(idOf))
    this.#isCareful = ids.size > 0
    const first = this.#waiting.findIndex(({job}) => ids.has(idOf(job)))
    return first < 0 ? [] : this.#waiting.splice(first)
  }
}
