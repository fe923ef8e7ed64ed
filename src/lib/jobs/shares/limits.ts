/**
 * Limits of a function that say what is scarce: how many of its jobs start in a while, and of each key, a customer say, how
 * many run at once and start in a while. What is counted is in the store, over all processes and hosts.
 */
import {UsageError} from '../errors.ts'
import {MAX_UINT32, type RowRef} from '../job.ts'
import type {SerializerName} from '../serializers/serializers.ts'
import {parseDuration} from '../time.ts'

/** At most so many starts in any so many seconds. */
export interface Rate {
  most: number
  seconds: number
}

export interface KeyLimits {
  /** So many at once; 0: any number. */
  maxRunning: number
  rate: Rate | null
}

export interface ShareLimits {
  /** Of the whole function. */
  rate: Rate | null
  /** Of each key; null: keys don't matter. */
  perKey: KeyLimits | null
  /** The member of the argument that is the key; null: it is what the uniqkey has before its first colon. */
  shareBy: string | null
  /** What the arguments are. */
  serializer: SerializerName
}

/** The same as a worker, a configuration or an executable says it; what is undefined is no limit. */
export interface ShareSettings {
  maxRunningPerKey?: number | undefined
  shareBy?: string | undefined
  rate?: Rate | null | undefined
  ratePerKey?: Rate | null | undefined
  serializer: SerializerName
}

/** @returns null where nothing is limited */
export function shareLimits(settings: ShareSettings): ShareLimits | null {
  const {maxRunningPerKey = 0, shareBy = null, rate = null, ratePerKey = null, serializer} = settings
  const isPerKey = maxRunningPerKey > 0 || ratePerKey !== null
  if (rate === null && !isPerKey) return null
  return {
    rate,
    perKey: isPerKey ? {maxRunning: maxRunningPerKey, rate: ratePerKey} : null,
    shareBy,
    serializer,
  }
}

/** For messages. */
export const RATE_FORMS = 'a rate such as 100/1m (at most 100 starts in any minute), or none'
/** So that its times in milliseconds are numbers that all databases hold. */
const MOST_SECONDS = 366 * 86_400

/** @param what the setting it stands in, for the message. @returns null for `none`. @throws UsageError */
export function parseRate(text: string, what: string): Rate | null {
  if (text === 'none') return null
  const [, digits, duration] = /^(\d+)\/(\w+)$/.exec(text) ?? []
  const most = Number(digits)
  if (duration !== undefined && most >= 1 && most <= MAX_UINT32) {
    const seconds = secondsOf(duration)
    if (seconds >= 1 && seconds <= MOST_SECONDS) return {most, seconds}
  }
  throw new UsageError(`${what}: expected ${RATE_FORMS}, got ${JSON.stringify(text)}`, {
    hint: 'from 1 start, in 1 second to 366 days: 10/1s, 100/1m, 5000/1d',
  })
}

function secondsOf(duration: string): number {
  try {
    return parseDuration(duration, '')
  } catch {
    return Number.NaN
  }
}

/** A job that a dispatcher has taken; one with a grabbedUntil of 0 it has seen in its lane. */
export interface ShareJob extends RowRef {
  /** null: it has none, and only the function's own rate counts. */
  key: string | null
  grabbedUntil: number
  priority: number
  runAfter: number
}

/** Jobs of one function, of one database, that are to start, in their order; and keys at which something may have ended. */
export interface ShareRequest {
  func: string
  /** Which of several databases. */
  db?: number
  limits: ShareLimits
  jobs: readonly ShareJob[]
  keys: readonly string[]
}

/** What became of those. What is in none of these lists was given back: it is as it was before it was taken. */
export interface Shared {
  /** They may start. */
  admitted: RowRef[]
  /** They wait now, until something ends or a while has passed. */
  parked: RowRef[]
  /** Someone else has taken them, or taken them away. */
  lost: RowRef[]
  /** So many that had waited may be taken now. */
  called: number
  /** So many milliseconds from now none of the function may start, by its rate; 0: some may. */
  closedMs: number
  /** At these keys something may start in so many milliseconds. */
  again: {key: string; ms: number}[]
}
