/**
 * Pauses between tries, jobq's own and those of jobs. Those who failed together are not to come back together: so chance
 * has a say in each.
 */
import {UsageError} from './errors.ts'
import {DURATION_FORMS, parseDuration} from './time.ts'

/** For messages. */
export const RETRY_DELAY_FORMS = `seconds (a whole number), ${DURATION_FORMS}, or two of them such as "10s..1h"`
/** Of a job's delay: by up to so much longer or shorter. */
const JITTER = 0.2

/** How long a failed job waits for its next try: seconds, or a range through which that grows. */
export type RetryDelay = number | DelayRange

/** In whole seconds: from 1, and no less than that. */
interface DelayRange {
  first: number
  longest: number
}

/**
 * `10s`, or `10s..1h`.
 * @param what where it stands, for the message
 * @throws UsageError
 */
export function parseRetryDelay(text: string, what: string): RetryDelay {
  const hint = 'a delay that doubles with each retry is written 10s..1h'
  const words = text.split('..')
  if (words.length > 2)
    throw new UsageError(`${what}: expected a range of two durations, got ${JSON.stringify(text)}`, {hint})
  const [first = 0, longest] = words.map(word => {
    try {
      return parseDuration(word, what)
    } catch (error) {
      throw new UsageError((error as Error).message, {hint})
    }
  })
  if (longest === undefined) return first
  if (first >= 1 && longest >= first) return {first, longest}
  const expected = first < 1 ? 'a range from 1s or more' : 'a range to no less than it begins with'
  throw new UsageError(`${what}: expected ${expected}, got ${JSON.stringify(text)}`, {hint})
}

/**
 * The delay after a failed attempt, in seconds. Of a range it is the first doubled with each retry, up to the longest, and
 * then anything from a fifth less to a fifth more that is no less than the first and no more than the longest: so each one
 * is longer than the one before until the longest is near.
 * @param retryCnt how many retries there were before
 * @param random from 0 to 1
 */
export function retryDelaySeconds(delay: RetryDelay, retryCnt: number, random = Math.random()): number {
  if (typeof delay === 'number') return delay
  const {first, longest} = delay
  const middle = Math.min(first * 2 ** retryCnt, longest)
  const [least, most] = [Math.max(first, middle * (1 - JITTER)), Math.min(longest, middle * (1 + JITTER))]
  return Math.round(least + random * (most - least))
}

/**
 * In milliseconds: each twice as long as the one before, up to the longest, and by up to a half longer or shorter.
 */
export class Backoff {
  readonly #first: number
  readonly #longest: number
  /** How many pauses there were. */
  tries = 0

  constructor(first: number, longest: number) {
    this.#first = first
    this.#longest = longest
  }

  next(): number {
    return Math.min(this.#first * 2 ** this.tries++, this.#longest) * (0.5 + Math.random())
  }

  reset(): void {
    this.tries = 0
  }
}
