/**
 * The dispatcher's patience with its store: what can't be reached is tried again. The trouble is told once, and once
 * more when it is over.
 */
import {Backoff} from '../jobs/backoff.ts'
import {monotonic} from '../jobs/clock.ts'
import {isPassing} from '../jobs/errors.ts'
import type {JobLog} from './log/log.ts'

/** Between attempts: doubled each time, up to the second. */
const BACKOFF_MS = [100, 5000] as const
/** Of `--once` and `--drain`; who works for ever is patient until it is told to end. */
const PATIENCE_MS = 30_000
/**
 * An answer that takes longer is overdue, which is told long before the driver gives up. Who is told to end meanwhile,
 * and has nothing left to say to the store, waits for no such answer.
 */
const OVERDUE_MS = 3000

/** What the store is asked now. */
interface Question {
  since: number
  isIdle: () => boolean
  giveUp: () => void
}

export class StoreRetry {
  readonly #isEndless: boolean
  readonly #name: string
  readonly #log: JobLog
  #endingSince: number | null = null
  #isTimeOver = false
  #interrupt: (() => void) | null = null
  #question: Question | null = null
  #timer: NodeJS.Timeout | undefined
  /** Trouble was told, and not yet that it is over. */
  #isTroubled = false

  /** @param name the store's */
  constructor(name: string, isEndless: boolean, log: JobLog) {
    this.#name = name
    this.#isEndless = isEndless
    this.#log = log
  }

  /** It was told to end: from now on the patience is limited. */
  end(): void {
    this.#endingSince ??= monotonic()
    this.#interrupt?.()
    this.#lookAtClock()
  }

  /** Its time is over: from now on it waits only where there is something left to say to the store. */
  timeIsOver(): void {
    this.#isTimeOver = true
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
    // As in SqliteConnection: the first attempt, once a job, is no async function's
    return this.#ask(work, isIdle).catch((error: unknown) => this.#workAgain(error, work, isIdle, since))
  }

  #ask<T>(work: () => Promise<T>, isIdle: () => boolean): Promise<T | null> {
    return new Promise((resolve, reject) => {
      const question: Question = {since: monotonic(), isIdle, giveUp: () => resolve(null)}
      this.#question = question
      if (!this.#timer) this.#startTimer(OVERDUE_MS)
      const answered = () => {
        if (this.#question === question) this.#question = null
      }
      work().then(
        result => {
          answered()
          if (this.#isTroubled) this.#isBack()
          resolve(result)
        },
        error => {
          answered()
          reject(error)
        },
      )
    })
  }

  /** Is there a question that should have been answered by now? One timer, not one for each. */
  #lookAtClock = (): void => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const question = this.#question
    if (!question) return
    const left = OVERDUE_MS - (monotonic() - question.since)
    if (left <= 0) {
      if (this.#endingSince !== null && question.isIdle()) {
        question.giveUp()
        return
      }
      if (!this.#isTroubled)
        this.#log.trouble(`${this.#name} has not answered for ${OVERDUE_MS / 1000} s; waiting for it`)
      this.#isTroubled = true
    }
    this.#startTimer(left > 0 ? left : OVERDUE_MS)
  }

  #startTimer(ms: number): void {
    this.#timer = setTimeout(this.#lookAtClock, ms).unref()
  }

  #isBack(): void {
    this.#isTroubled = false
    this.#log.trouble('the database is back')
  }

  async #workAgain<T>(
    first: unknown,
    work: () => Promise<T>,
    isIdle: () => boolean,
    since: number,
  ): Promise<T | null> {
    let error = first
    const backoff = new Backoff(...BACKOFF_MS)
    for (;;) {
      if (!isPassing(error)) throw error
      if (this.#endingSince !== null && isIdle()) return null
      if (this.#hasWaited(since) || (this.#isTimeOver && isIdle())) throw error
      if (backoff.tries === 0) this.#log.trouble(`${error.message}; trying again ${this.#forHowLong}`)
      this.#isTroubled = true
      await this.#pause(backoff.next())
      try {
        return await this.#ask(work, isIdle)
      } catch (next) {
        error = next
      }
    }
  }

  get #forHowLong(): string {
    return this.#isPatient ? 'until it works' : `for ${PATIENCE_MS / 1000} s at most`
  }

  get #isPatient(): boolean {
    return this.#endingSince === null && this.#isEndless
  }

  #hasWaited(since: number): boolean {
    if (this.#isPatient) return false
    return monotonic() - Math.max(since, this.#endingSince ?? since) > PATIENCE_MS
  }

  /** So long, or until it is told to end. */
  async #pause(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#interrupt = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#interrupt = null
  }
}
