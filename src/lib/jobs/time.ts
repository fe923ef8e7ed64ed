/**
 * Durations and times as people write them: `90`, `90s`, `2w`, `1h30m`; ISO 8601, `22:00`, `tomorrow 08:30`, `@unix`, or a
 * duration from now. Everything comes out in whole seconds. What names no zone is local, as in `date` and `at`: of a time
 * that comes twice the first is meant, and one that clocks set forward leave out is that much later (02:30 is 03:30).
 */
import {UsageError} from './errors.ts'
import {LAST_DUE, MAX_UINT32, type NewJob} from './job.ts'
import {describe} from './value.ts'

/** Node's longest timer, 24.8 days: a longer one would go off at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

const DURATION = /^(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/
const UNITS = [604_800, 86_400, 3600, 60, 1] as const
/** For messages. */
export const DURATION_FORMS = 'a duration such as 90, 90s, 5m, 2h, 3d, 2w or 1h30m'
const BEFORE_2106 = 'before 2106-02-07T06:28:15Z (the column is 32 bits wide)'
const TIME_FORMS = forms('tomorrow', 'or a duration from now (2h)')
const PAST_FORMS = forms('yesterday', 'or how long ago (2h)')

/** @param what the flag or key it stands in, for the message. @returns seconds */
export function parseDuration(text: string, what: string): number {
  const parts = DURATION.exec(/^\d+$/.test(text) ? `${text}s` : text)
  if (!parts) throw bad(what, DURATION_FORMS, text)
  const seconds = UNITS.reduce((sum, unit, i) => sum + unit * Number(parts[i + 1] ?? 0), 0)
  if (seconds > MAX_UINT32) throw bad(what, `${DURATION_FORMS}, at most ${MAX_UINT32}s`, text)
  return seconds
}

/**
 * A duration as options and batches have it: seconds, or text; at least a second.
 * @throws UsageError
 */
export function durationOf(value: unknown, what: string): number {
  const seconds = typeof value === 'string' ? parseDuration(value, what) : value
  if (typeof seconds === 'number' && seconds > 0 && seconds <= MAX_UINT32) return Math.ceil(seconds)
  throw new UsageError(`${what}: expected seconds from 1, or ${DURATION_FORMS}, got ${describe(value)}`)
}

/** The database's clock is taken for near ours. @param names of the two. @throws UsageError for what would be over before it is due */
export function checkExpiry(
  expires: number,
  due: NewJob['due'],
  names: readonly [expires: string, delay: string],
): void {
  const wait = 'in' in due ? due.in : due.at - Math.floor(Date.now() / 1000)
  if (wait >= expires)
    throw new UsageError(`${names[0]}: expected more than ${names[1]}, ${wait} s, got ${expires} s`, {
      hint: 'the job would leave the queue before it is due',
    })
}

/** A duration from now, as the column can hold it. The database's clock is taken for near ours. @returns seconds */
export function parseDelay(text: string, what: string): number {
  const seconds = parseDuration(text, what)
  if (Date.now() / 1000 + seconds > LAST_DUE)
    throw bad(what, `${DURATION_FORMS}, ending ${BEFORE_2106}`, text)
  return seconds
}

/**
 * A time of day is the next one.
 * @param now the clock of whoever has written it
 * @returns a point on the clock, or a distance from the database's now
 */
export function parseTime(text: string, what: string, now = new Date()): {at: number} | {in: number} {
  if (isDuration(text)) return {in: parseDelay(text, what)}
  return {at: parsePoint(text, what, TIME_FORMS, dayTime(text, now, 1))}
}

/**
 * A time of day is the last one.
 * @returns a point on the clock, or a distance back from the database's now
 */
export function parsePast(text: string, what: string, now = new Date()): {at: number} | {ago: number} {
  if (isDuration(text)) return {ago: parseDuration(text, what)}
  return {at: parsePoint(text, what, PAST_FORMS, dayTime(text, now, -1))}
}

/** Digits alone are seconds; not so many, which are a time whose @ was forgotten: decades hence. */
function isDuration(text: string): boolean {
  return /^\d{1,9}$/.test(text) || DURATION.test(text)
}

/** @param near the time of day that the text says, if it says one */
function parsePoint(text: string, what: string, forms: string, near: number | null): number {
  const unix = /^@(\d+)$/.exec(text)
  return checkTime(near ?? (unix ? Number(unix[1]) : parseIso(text, what, forms)), what, text)
}

/** `22:00`: the nearest on that side of now. `tomorrow` or `yesterday`: at a time of day, or its midnight. Null: neither. */
function dayTime(text: string, now: Date, step: 1 | -1): number | null {
  const day = step === 1 ? 'tomorrow' : 'yesterday'
  const match = /^([a-z]*)(?:(?:^|(?<=[a-z]) )([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?)?$/.exec(text)
  if (!match || (match[1] ? match[1] !== day : match[2] === undefined)) return null
  const [hour, minute, second] = match.slice(2).map(part => Number(part ?? 0))
  const at = (days: number) =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hour, minute, second).getTime()
  const isNear = match[1] === '' && (at(0) - now.getTime()) * step > 0
  return at(isNear ? 0 : step) / 1000
}

/** A time as a program writes it: whole Unix seconds. */
export function unixTime(seconds: number, what: string): number {
  if (Number.isInteger(seconds)) return checkTime(seconds, what, seconds)
  throw bad(what, 'whole Unix seconds', seconds)
}

/** A date alone is its midnight. */
function parseIso(text: string, what: string, forms: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?)?$/.exec(
    text,
  )
  if (!match) throw bad(what, forms, text)
  const [, year, month, day, clock = '00:00', zone = ''] = match
  const parsed = Date.parse(`${year}-${month}-${day}T${clock}${zone}`)
  // Date.parse lets the 30th of February pass as the 2nd of March
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  if (Number.isNaN(parsed) || Number(day) > lastDay)
    throw bad(what, 'a time that exists in the calendar and on the clock', text)
  return Math.floor(parsed / 1000)
}

function forms(day: string, distance: string): string {
  return `a time such as 2026-12-24T18:00, 22:00, ${day} 08:30, @1798135200 ${distance}`
}

function checkTime(seconds: number, what: string, got: string | number): number {
  if (seconds < 0 || seconds > LAST_DUE) throw bad(what, `a time from 1970 and ${BEFORE_2106}`, got)
  return seconds
}

function bad(what: string, expected: string, got: string | number): UsageError {
  return new UsageError(`${what}: expected ${expected}, got ${JSON.stringify(got)}`)
}
