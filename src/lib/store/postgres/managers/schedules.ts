/**
 * Schedules: a row each (jobq_schedule), whose `passed_to` only ever goes on. Who moves it to a tick enqueues that one's job
 * in the same transaction; another who is at it waits for the row's lock, and finds it passed.
 */

import {DuplicateJobError} from '../../../jobs/errors.ts'
import type {NewJob} from '../../../jobs/job.ts'
import {
  FAR_AHEAD_SECONDS,
  type ScheduleDefinition,
  type Tick,
  type Ticked,
} from '../../../jobs/side-tables/schedules.ts'
import type {Schedules} from '../../store.ts'
import {texts} from '../arrays.ts'
import {NOW, type PostgresConnections, type Send} from '../connections/connections.ts'
import {checkJob, insertOne} from '../insert.ts'
import type {Sweeper} from '../side-tables.ts'

const ROWS = {
  name: 'jobq_schedules',
  text: `SELECT ${NOW} AS now, s.name, s.cron, s.time_zone AS "timeZone", s.passed_to AS "passedTo", s.ran_at AS "ranAt",
      s.job_id AS "jobId", EXISTS (SELECT FROM job WHERE job.id = s.job_id) AS "isQueued"
    FROM (SELECT) AS one LEFT JOIN jobq_schedule s ON true ORDER BY s.name COLLATE "C"`,
}
const TAKE_UP = {
  name: 'jobq_take_up',
  text: `INSERT INTO jobq_schedule AS s (name, cron, time_zone, passed_to)
    SELECT name, cron, zone, ${NOW} FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[]) AS given (name, cron, zone)
    ON CONFLICT (name) DO UPDATE
      SET cron = excluded.cron, time_zone = excluded.time_zone, passed_to = excluded.passed_to
      WHERE s.cron <> excluded.cron OR s.time_zone <> excluded.time_zone
        OR s.passed_to > excluded.passed_to + ${FAR_AHEAD_SECONDS}`,
}
const MAKE = {
  name: 'jobq_schedule_make',
  text: `INSERT INTO jobq_schedule (name, cron, time_zone, passed_to) VALUES ($1, $2, $3, ${NOW}) ON CONFLICT DO NOTHING`,
}
const PASS = {
  name: 'jobq_schedule_pass',
  text: `UPDATE jobq_schedule SET passed_to = $4::INTEGER
    WHERE name = $1 AND cron = $2 AND time_zone = $3 AND passed_to < $4::INTEGER RETURNING 1`,
}
const IS_QUEUED = {
  name: 'jobq_schedule_queued',
  text: 'SELECT 1 FROM jobq_schedule s JOIN job ON job.id = s.job_id WHERE s.name = $1',
}
const REMEMBER = {
  name: 'jobq_schedule_remember',
  text: `UPDATE jobq_schedule SET ran_at = coalesce($2::INTEGER, ${NOW}), job_id = $3::BIGINT WHERE name = $1`,
}

/** As Store.schedules. */
export async function schedulesIn(link: PostgresConnections): Promise<Schedules> {
  const {rows} = await link.run(ROWS, [], true)
  return {
    now: Number(rows[0]!.now),
    rows: rows
      .filter(({name}) => name !== null)
      .map(row => ({
        name: String(row.name),
        cron: String(row.cron),
        timeZone: String(row.timeZone),
        passedTo: Number(row.passedTo),
        ranAt: row.ranAt === null ? null : Number(row.ranAt),
        lastJob: row.jobId === null ? null : {id: Number(row.jobId)},
        isQueued: row.isQueued === true,
      })),
  }
}

/** As Store.takeUp. */
export async function takeUp(
  link: PostgresConnections,
  schedules: readonly ScheduleDefinition[],
): Promise<void> {
  const column = (key: keyof ScheduleDefinition) => texts(schedules.map(schedule => schedule[key]))
  await link.run(TAKE_UP, [column('name'), column('cron'), column('timeZone')], true)
}

/** As Store.tick, within a transaction. @throws DuplicateJobError, ArgumentError */
export async function passTick(
  send: Send,
  sweeper: Sweeper,
  {name, cron, timeZone, at, overlap}: Tick,
  job: NewJob | null,
): Promise<Ticked> {
  if (job) checkJob(job)
  if (at === null) await send(MAKE, [name, cron, timeZone])
  else if ((await send(PASS, [name, cron, timeZone, at])).rows.length === 0) return {isOurs: false, job: null}
  const isWanted = at === null || overlap || (await send(IS_QUEUED, [name])).rows.length === 0
  if (job === null || !isWanted) return {isOurs: true, job: null}
  try {
    const enqueued = await insertOne(send, job, sweeper)
    await send(REMEMBER, [name, at, enqueued.id])
    return {isOurs: true, job: enqueued}
  } catch (error) {
    if (at === null || !(error instanceof DuplicateJobError)) throw error
    return {isOurs: true, job: null}
  }
}
