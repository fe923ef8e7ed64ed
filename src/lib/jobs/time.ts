/**
 * Durations and times as people write them: `90`, `90s`, `5m`, `2h`, `3d`; ISO 8601, `@unix`, or a duration from now.
 * Everything comes out in whole seconds.
 */
import {UsageError} from './errors.ts'
import {MAX_UINT32} from './job.ts'

/** Node's longest timer, 24.8 days: a longer one would go off at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

const SECONDS = {s: 1, m: 60, h: 3600, d: 86_400} as const
const DURATION_FORMS = 'a duration such as 90, 90s, 5m, 2h or 3d'
const BEFORE_2106 = 'before 2106-02-07T06:28:16Z (the column is 32 bits wide)'
const POINT_FORMS = 'a time such as 2026-12-24T18:00, @1798135200'
const TIME_FORMS = `${POINT_FORMS} or a duration from now (2h)`
const PAST_FORMS = `${POINT_FORMS} or how long ago (2h)`

/** @param what the flag or key it stands in, for the message. @returns seconds */
export function parseDuration(text: string, what: string): number {
  const match = /^(\d+)([smhd])?$/.exec(text)
  const seconds = match ? Number(match[1]) * SECONDS[(match[2] ?? 's') as keyof typeof SECONDS] : Number.NaN
  if (Number.isNaN(seconds)) throw bad(what, DURATION_FORMS, text)
  if (seconds > MAX_UINT32) throw bad(what, `${DURATION_FORMS}, at most ${MAX_UINT32}s`, text)
  return seconds
}

/** A duration from now, as the column can hold it. The database's clock is taken for near ours. @returns seconds */
export function parseDelay(text: string, what: string): number {
  const seconds = parseDuration(text, what)
  if (Date.now() / 1000 + seconds > MAX_UINT32)
    throw bad(what, `${DURATION_FORMS}, ending ${BEFORE_2106}`, text)
  return seconds
}

/** @returns a point on the clock, or a distance from the database's now */
export function parseTime(text: string, what: string): {at: number} | {in: number} {
  return isDuration(text) ? {in: parseDelay(text, what)} : {at: parsePoint(text, what, TIME_FORMS)}
}

/** @returns a point on the clock, or a distance back from the database's now */
export function parsePast(text: string, what: string): {at: number} | {ago: number} {
  return isDuration(text) ? {ago: parseDuration(text, what)} : {at: parsePoint(text, what, PAST_FORMS)}
}

/** Digits alone are seconds; not so many, which are a time whose @ was forgotten: decades hence. */
function isDuration(text: string): boolean {
  return /^\d+[smhd]$|^\d{1,9}$/.test(text)
}

function parsePoint(text: string, what: string, forms: string): number {
  const unix = /^@(\d+)$/.exec(text)
  return checkTime(unix ? Number(unix[1]) : parseIso(text, what, forms), what, text)
}

/** A time as a program writes it: whole Unix seconds. */
export function unixTime(seconds: number, what: string): number {
  if (Number.isInteger(seconds)) return checkTime(seconds, what, seconds)
  throw bad(what, 'whole Unix seconds', seconds)
}

/** A date alone is its midnight, and what names no zone is local, as in `date` and `at`. */
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

function checkTime(seconds: number, what: string, got: string | number): number {
  if (seconds < 0 || seconds > MAX_UINT32) throw bad(what, `a time from 1970 and ${BEFORE_2106}`, got)
  return seconds
}

function bad(what: string, expected: string, got: string | number): UsageError {
  return new UsageError(`${what}: expected ${expected}, got ${JSON.stringify(got)}`)
}
