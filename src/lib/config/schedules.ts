/**
 * The configuration's schedules as they tick: croner reads the expressions, and knows the time zones. Local times that clocks
 * leave out or have twice are taken as cron(8) does: what has a fixed time (no `*` and no step in hours and minutes) runs at
 * the first moment after the gap, and the first of the two times; what has a rhythm keeps it in real time. Loaded by who runs
 * or shows schedules, never by an enqueue.
 */
import {readFileSync} from 'node:fs'
import {Cron} from 'croner'
import {ConfigError, JobqError} from '../jobs/errors.ts'
import {type EnqueueOptions, newJob} from '../jobs/new-job.ts'
import type {ScheduleDefinition} from '../jobs/side-tables/schedules.ts'
import {type JobqConfig, lineOf, type ScheduleSettings} from './schema.ts'

/** A tick that is no older enqueues its job late; an older one is missed. */
export const GRACE_SECONDS = 60

/** All times are whole Unix seconds. */
export interface Schedule extends ScheduleDefinition {
  readonly func: string
  readonly options: EnqueueOptions
  readonly overlap: boolean
  /** The first tick after that; null: there is none any more. */
  next(after: number): number | null
  /**
   * The ticks that are to be passed now: those of the last minute, each; or where one was missed that is older than that, and
   * the schedule catches up, only the last there was, for all of them.
   * @param passedTo those up to there are done with
   */
  due(passedTo: number, now: number): number[]
}

/** By name. @throws ConfigError that names the key and its line */
export function schedulesIn({schedules = {}, serializer}: JobqConfig, file: string | null): Schedule[] {
  return Object.entries(schedules)
    .map(([name, settings]) => scheduleOf(name, settings, serializer ?? 'json', file))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

function scheduleOf(
  name: string,
  {cron, timeZone = 'UTC', func, catchUp = false, overlap = false, ...options}: ScheduleSettings,
  serializer: NonNullable<JobqConfig['serializer']>,
  file: string | null,
): Schedule {
  const wrong = (key: string, says: string, hint: string, cause?: unknown) =>
    new ConfigError(`${placeOf(file, ['schedules', name, key])}schedules.${name}.${key}: ${says}`, {
      hint,
      cause,
    })
  if (!isTimeZone(timeZone))
    throw wrong(
      'timeZone',
      `expected a time zone, got ${JSON.stringify(timeZone)}`,
      'such as Asia/Seoul, Europe/Berlin or UTC',
    )
  const such = `a cron expression such as "0 22 * * *" (minute, hour, day, month, weekday; a sixth field before them is the second)`
  let expression: Cron
  try {
    expression = new Cron(cron, {
      timezone: timeZone,
      paused: true,
      mode: '5-or-6-parts',
      fixedTimeRule: 'no-wildcard',
    })
    if (expression.getOnce()) throw new Error('a date comes but once')
  } catch (cause) {
    const why = (cause as Error).message.replace(/^CronPattern: /, '')
    throw wrong('cron', `expected ${such}, got ${JSON.stringify(cron)}`, why, cause)
  }
  const next = (after: number) => secondsOf(expression.nextRun(new Date(after * 1000)))
  if (next(Math.floor(Date.now() / 1000)) === null)
    throw wrong('cron', `expected a time that comes, got ${JSON.stringify(cron)}`, 'no date fits it')
  try {
    newJob(func, options, {serializer})
  } catch (cause) {
    if (!(cause instanceof JobqError)) throw cause
    throw wrong('arg', cause.message.replace(/^arg: /, ''), cause.hint, cause)
  }
  return {
    ...{name, cron, timeZone, func, options, overlap, next},
    due(passedTo, now) {
      const first = next(passedTo)
      if (first === null || first > now) return []
      if (catchUp && first < now - GRACE_SECONDS) return [lastOf(expression, now) ?? first]
      const due: number[] = []
      let tick = next(Math.max(passedTo, now - GRACE_SECONDS - 1))
      for (; tick !== null && tick <= now; tick = next(tick)) due.push(tick)
      return due
    },
  }
}

function lastOf(expression: Cron, until: number): number | null {
  return secondsOf(expression.previousRuns(1, new Date((until + 1) * 1000))[0] ?? null)
}

function secondsOf(date: Date | null): number | null {
  return date && date.getTime() / 1000
}

function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', {timeZone}) !== null
  } catch {
    return false
  }
}

/** `FILE:LINE: `, as far as it is known. */
function placeOf(file: string | null, keys: readonly string[]): string {
  if (file === null) return ''
  try {
    const source = readFileSync(file, 'utf8')
    const line = lineOf(source, keys) ?? lineOf(source, keys.slice(0, -1))
    return line === null ? `${file}: ` : `${file}:${line}: `
  } catch {
    return `${file}: `
  }
}
