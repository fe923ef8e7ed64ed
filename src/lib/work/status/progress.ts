/**
 * How far the jobs are that run here: what they say is told through the store, at most once a second for all of them, what one said
 * last. No turn and no job waits for that. What was told of a job leaves with its end.
 */
import type {Events} from '../../hooks/events.ts'
import {monotonic} from '../../jobs/clock.ts'
import {ArgumentError, isPassing, StoreError} from '../../jobs/errors.ts'
import {type Progress, type RowRef, rowRef} from '../../jobs/job.ts'
import {asciiText} from '../../jobs/printable.ts'
import type {Store} from '../../store/store.ts'
import type {Attempt} from '../attempt.ts'
import type {JobLog} from '../log/log.ts'
import {subject} from '../outcomes.ts'

const TELL_MS = 1000

export class ProgressTeller {
  readonly #store: Store
  readonly #events: Events
  readonly #log: Pick<JobLog, 'trouble'>
  /** What is still to be told. */
  readonly #latest = new Map<Attempt, Progress>()
  /** Of whom the store may have something. */
  readonly #told = new Set<Attempt>()
  #left: RowRef[] = []
  #timer: NodeJS.Timeout | undefined
  #toldAt = Number.NEGATIVE_INFINITY
  #telling: Promise<void> | null = null
  #isRefused = false
  #isClosed = false

  constructor(store: Store, events: Events, log: Pick<JobLog, 'trouble'>) {
    this.#store = store
    this.#events = events
    this.#log = log
  }

  /** Said by a job that runs: of all that it is worked with. */
  hear(attempt: Attempt, progress: Progress): void {
    for (const each of [attempt, ...attempt.others]) this.#latest.set(each, progress)
    this.#tellSoon()
  }

  /** It has ended: what it has said last is of no use any more. */
  ended(attempt: Attempt): void {
    this.#latest.delete(attempt)
  }

  /** Its end is written. */
  settled(attempt: Attempt): void {
    if (!this.#told.delete(attempt)) return
    this.#left.push(rowRef(attempt.job))
    this.#tellSoon()
  }

  stop(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** What was told of jobs that have ended is taken away. */
  async close(): Promise<void> {
    this.stop()
    await this.#telling
    this.#latest.clear()
    await this.#tell()
  }

  #tellSoon(): void {
    if (this.#timer !== undefined || this.#telling || this.#isClosed) return
    const ms = Math.max(0, TELL_MS - (monotonic() - this.#toldAt))
    this.#timer = setTimeout(this.#begin, ms)
  }

  readonly #begin = (): void => {
    this.#timer = undefined
    this.#toldAt = monotonic()
    this.#telling = this.#tell().finally(() => {
      this.#telling = null
      if (this.#latest.size + this.#left.length > 0) this.#tellSoon()
    })
  }

  async #tell(): Promise<void> {
    const said = [...this.#latest]
    this.#latest.clear()
    const left = this.#left.splice(0)
    for (const [{job}, progress] of said)
      this.#events.tell('progress', () => ({...subject(job), ...progress}))
    try {
      if (said.length > 0) {
        for (const [attempt] of said) this.#told.add(attempt)
        await this.#write(said.map(([{job}, progress]) => ({...rowRef(job), ...progress})))
      }
      if (left.length > 0) await this.#store.forgetProgress(left)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      const {message, hint} = error
      if (!isPassing(error) && !this.#isRefused && !this.#isClosed) {
        this.#isRefused = true
        this.#log.trouble(`how far jobs are will not be shown: ${message}${hint && ` (${hint})`}`)
      }
    }
  }

  /** What a job says is no reason to end: text that the database has no characters for is told without them. */
  async #write(said: readonly (RowRef & Progress)[]): Promise<void> {
    try {
      await this.#store.tellProgress(said)
    } catch (error) {
      if (!(error instanceof ArgumentError)) throw error
      await this.#store.tellProgress(said.map(each => ({...each, text: asciiText(each.text)})))
    }
  }
}
