/** Jobs that were taken before they can start (`prefetch`): leased, in the order in which they start. */
import {idOf, type JobRow, type RowRef} from '../jobs/job.ts'
import {type Attempt, NO_OTHERS} from './attempt.ts'

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

  /** All that wait, with those that are to be worked with another one. */
  *[Symbol.iterator](): Iterator<Attempt> {
    for (const attempt of this.#waiting) {
      yield attempt
      yield* attempt.others
    }
  }

  add(attempt: Attempt): void {
    this.#waiting.push(attempt)
  }

  shift(): void {
    this.#waiting.shift()
  }

  /** @returns what was taken out, and those that were to be worked with them: they go where these go */
  takeOut(isWanted: (attempt: Attempt) => boolean): Attempt[] {
    const out = this.#waiting.filter(isWanted)
    this.#waiting = this.#waiting.filter(attempt => !isWanted(attempt))
    return flat(out)
  }

  /** These only: who was to be worked with one of them waits on, the first of them as the leader of the others. */
  remove(attempts: readonly Attempt[]): Attempt[] {
    const isOne = (attempt: Attempt) => attempts.includes(attempt)
    const out = [...this].filter(isOne)
    if (out.length === 0) return out
    this.#waiting = this.#waiting.flatMap(attempt => {
      const [leader, ...others] = [attempt, ...attempt.others].filter(each => !isOne(each))
      attempt.others = NO_OTHERS
      if (leader && others.length > 0) leader.others = others
      return leader ?? []
    })
    return out
  }

  /** Does one whose worker has died wait here all the same? Then nothing more is taken. */
  get isHeldUp(): boolean {
    return this.#isCareful && this.size > 0
  }

  /**
   * @param died those whose worker has died, of the jobs taken last
   * @param staysFirst may it wait here, if it is the first?
   * @returns what may not wait here
   */
  takeOutFrom(died: readonly RowRef[], staysFirst: (job: JobRow) => boolean): Attempt[] {
    const ids = new Set(died.map(idOf))
    this.#isCareful = ids.size > 0
    const first = this.#waiting.findIndex(({job}) => ids.has(idOf(job)))
    if (first < 0) return []
    return flat(this.#waiting.splice(first === 0 && staysFirst(this.#waiting[0]!.job) ? 1 : first))
  }
}

/** With those that are to be worked with them; these stand by themselves then. */
export function flat(attempts: readonly Attempt[]): Attempt[] {
  if (attempts.every(({others}) => others.length === 0)) return [...attempts]
  return attempts.flatMap(attempt => {
    const {others} = attempt
    attempt.others = NO_OTHERS
    return [attempt, ...others]
  })
}
