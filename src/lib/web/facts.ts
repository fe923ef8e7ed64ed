/**
 * What takes long to read of a large database, read once for all who look: at most every second, and at most a twentieth of the
 * time, so that however many pages are open, whoever works does not notice. While it is read anew the last is shown.
 */
import type {JobQueue} from '../client/queue.ts'
import {monotonic} from '../jobs/clock.ts'
import {addUp, type FuncTimes, type Stats, statsOf} from '../jobs/stats.ts'
import {metricsOf} from '../render/prometheus.ts'
import {type Groups, groupsOf} from './groups.ts'

const KEPT_MS = 1000
/** After each reading it rests for so many times as long as that took. */
const RESTS = 19
/** What is older than that is not shown any more: numbers, and which failures are alike. */
const STALE_MS = {numbers: 10_000, groups: 60_000}

export class Fresh<T> {
  readonly #read: () => Promise<T>
  readonly #staleMs: number
  #last: {value: T; at: number; took: number} | null = null
  #reading: Promise<T> | null = null

  constructor(read: () => Promise<T>, staleMs = STALE_MS.numbers) {
    this.#read = read
    this.#staleMs = staleMs
  }

  async get(): Promise<T> {
    const last = this.#last
    const rest = Math.max(KEPT_MS, RESTS * (last?.took ?? 0))
    const age = last ? monotonic() - last.at : Number.POSITIVE_INFINITY
    if (last && age < rest) return last.value
    this.#reading ??= this.#readAnew()
    if (!last || age > rest + this.#staleMs) return this.#reading
    this.#reading.catch(() => {}) // whoever asks after the last has become stale is told
    return last.value
  }

  /** It was changed from here: who asks next sees that. */
  forget(): void {
    this.#last = null
    this.#reading = null
  }

  #readAnew(): Promise<T> {
    const since = monotonic()
    const reading = this.#read()
      .then(value => {
        const at = monotonic()
        if (this.#reading === reading) this.#last = {value, at, took: at - since}
        return value
      })
      .finally(() => {
        if (this.#reading === reading) this.#reading = null
      })
    return reading
  }
}

/** Counts and run times. */
export interface Numbers {
  stats: Stats
  /** How many jobs took how many seconds in the last hour, over all functions. */
  took: FuncTimes['took']
}

export class Facts {
  readonly numbers: Fresh<Numbers>
  readonly groups: Fresh<Groups>
  readonly metrics: Fresh<string>

  constructor(queue: JobQueue, onTrouble: (message: string) => void) {
    this.numbers = new Fresh(async () => {
      const [counts, times] = [await queue.counts(), await queue.times()]
      return {stats: statsOf(counts, times, []), took: addUp(times.map(({took}) => took))}
    })
    this.groups = new Fresh(() => groupsOf(queue), STALE_MS.groups)
    this.metrics = new Fresh(() => metricsOf(queue, undefined, onTrouble))
  }

  forget(): void {
    for (const fresh of [this.numbers, this.groups, this.metrics]) fresh.forget()
  }
}
