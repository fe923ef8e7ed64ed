/**
 * Schedules, within a transaction: a row each (jobq_schedule), whose `passed_to` only ever goes on. Who moves it to a tick
 * enqueues that one's job in the same transaction.
 */
import {DuplicateJobError} from '../../../jobs/errors.ts'
import type {NewJob} from '../../../jobs/job.ts'
import {
  FAR_AHEAD_SECONDS,
  type ScheduleDefinition,
  type ScheduleRow,
  type Tick,
  type Ticked,
} from '../../../jobs/side-tables/schedules.ts'
import type {Schedules} from '../../store.ts'
import type {SqliteConnection} from '../connection.ts'
import type {SqliteInsert} from '../insert.ts'

const ROWS = `SELECT name, cron, time_zone AS timeZone, passed_to AS passedTo, ran_at AS ranAt, job_id AS jobId,
    job.id IS NOT NULL AS isQueued
  FROM jobq_schedule LEFT JOIN job ON job.id = job_id ORDER BY name`
const TAKE_UP = `INSERT INTO jobq_schedule (name, cron, time_zone, passed_to) VALUES (?, ?, ?, ?)
  ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, time_zone = excluded.time_zone, passed_to = excluded.passed_to
  WHERE cron <> excluded.cron OR time_zone <> excluded.time_zone
    OR passed_to > excluded.passed_to + ${FAR_AHEAD_SECONDS}`
const MAKE = `INSERT INTO jobq_schedule (name, cron, time_zone, passed_to) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`
const PASS = `UPDATE jobq_schedule SET passed_to = $at
  WHERE name = $name AND cron = $cron AND time_zone = $timeZone AND passed_to < $at`
const IS_QUEUED = 'SELECT 1 FROM jobq_schedule JOIN job ON job.id = job_id WHERE jobq_schedule.name = ?'
const REMEMBER = 'UPDATE jobq_schedule SET ran_at = ?, job_id = ? WHERE name = ?'

type Row = Omit<ScheduleRow, 'lastJob' | 'isQueued'> & {jobId: number | null; isQueued: number}

/** As Store.schedules. */
export function schedulesIn(link: SqliteConnection): Schedules {
  const rows = link.sql(ROWS).all() as Row[]
  return {
    now: link.now(),
    rows: rows.map(({jobId, isQueued, ...row}) => ({
      ...row,
      lastJob: jobId === null ? null : {id: jobId},
      isQueued: isQueued === 1,
    })),
  }
}

/** As Store.takeUp. */
export function takeUp(link: SqliteConnection, schedules: readonly ScheduleDefinition[]): void {
  for (const {name, cron, timeZone} of schedules) link.sql(TAKE_UP).run(name, cron, timeZone, link.now())
}

/** As Store.tick. @throws DuplicateJobError, ArgumentError */
export function passTick(
  link: SqliteConnection,
  inserts: SqliteInsert,
  {name, cron, timeZone, at, overlap}: Tick,
  job: NewJob | null,
): Ticked {
  if (at === null) link.sql(MAKE).run(name, cron, timeZone, link.now())
  else if (link.sql(PASS).run({name, cron, timeZone, at}).changes === 0) return {isOurs: false, job: null}
  const isWanted = at === null || overlap || link.pluck(IS_QUEUED).get(name) === undefined
  if (job === null || !isWanted) return {isOurs: true, job: null}
  try {
    const enqueued = inserts.insert(job)
    link.sql(REMEMBER).run(at ?? link.now(), enqueued.id, name)
    return {isOurs: true, job: enqueued}
  } catch (error) {
    if (at === null || !(error instanceof DuplicateJobError)) throw error
    return {isOurs: true, job: null}
  }
}
