/**
 * The dispatcher's patience with its store: what can't be reached is tried again, told once, and once when it is back.
 * `--once` and `--drain` are patient for PATIENCE_MS; who works for ever is patient until it is told to end.
 */
import {monotonic} from '../clock.ts'
import {StoreError} from '../errors.ts'
import type {JobLog} from './log.ts'

/** What may be over in a while. */
const PASSING: readonly string[] = ['LOCKED', 'FULL', 'UNREACHABLE', 'READ_ONLY']
/** Between attempts: doubled each time, up to the second. */
const BACKOFF_MS = [100, 5000] as const
const PATIENCE_MS = 30_000

export class StorePatience {
  readonly #isEndless: boolean
  readonly #log: JobLog
  #endingSince: number | null = null
  #interrupt: (() => void) | null = null

  constructor(isEndless: boolean, log: JobLog) {
    this.#isEndless = isEndless
    this.#log = log
  }

  /** It was told to end: from now on the patience is limited. */
  end(): void {
    this.#endingSince ??= monotonic()
    this.#interrupt?.()
  }

  /** Has it been waited long enough since it was told to end? */
  get isOver(): boolean {
    return this.#endingSince !== null && monotonic() - this.#endingSince > PATIENCE_MS
  }

  /**
   * @param isIdle whether nothing is left that the store should know
   * @param since now, by monotonic()
   * @returns null if that is so and it was told to end
   * @throws StoreError for what does not pass, or not in time
   */
  with<T>(work: () => Promise<T>, isIdle: () => boolean, since = monotonic()): Promise<T | null> {
    // As in SqliteLink: the first attempt, once a job, is no async function's
    return work().catch((error: unknown) => this.#workAgain(error, work, isIdle, since))
  }

  async #workAgain<T>(
    first: unknown,
    work: () => Promise<T>,
    isIdle: () => boolean,
    since: number,
  ): Promise<T | null> {
    let error = first
    for (let attempt = 0; ; attempt++) {
      if (!(error instanceof StoreError && PASSING.includes(error.code))) throw error
      if (this.#endingSince !== null && isIdle()) return null
      if (this.#hasWaited(since)) throw error
      if (attempt === 0) this.#log.trouble(`${error.message}; trying again until it works`)
      await this.#pause(Math.min(BACKOFF_MS[0] * 2 ** attempt, BACKOFF_MS[1]))
      try {
        const result = await work()
        this.#log.trouble('the database is back')
        return result
      } catch (next) {
        error = next
      }
    }
  }

  #hasWaited(since: number): boolean {
    if (this.#endingSince === null && this.#isEndless) return false
    return monotonic() - Math.max(since, this.#endingSince ?? since) > PATIENCE_MS
  }

  /** About so long, or until it is told to end. */
  async #pause(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms * (0.5 + Math.random() / 2))
      this.#interrupt = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#interrupt = null
  }
}
