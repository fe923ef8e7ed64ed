/**
 * Schedules, each function a transaction: a row each (jobq_schedule), whose `passed_to` only ever goes on. Who moves it to a
 * tick enqueues that one's job in the same transaction; another who is at it waits for the row's lock, and finds it passed.
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
import {literal, type MysqlConnection, textOf} from '../connections/connection.ts'
import {isCancelled, isLost, mayBeStored} from '../errors.ts'
import {Inserter} from '../insert.ts'

const NOW = 'UNIX_TIMESTAMP()'
const ROWS = `SELECT name, cron, time_zone, passed_to, ran_at, job_id,
    EXISTS (SELECT 1 FROM job WHERE job.id = job_id) AS is_queued FROM jobq_schedule ORDER BY name`

/** As Store.schedules. */
export async function schedulesIn(link: MysqlConnection): Promise<Schedules> {
  const [clock, found] = await link.batch([`SELECT ${NOW} AS now`, ROWS])
  return {
    now: Number(clock!.rows[0]!.now),
    rows: found!.rows.map(row => ({
      name: textOf(row.name),
      cron: textOf(row.cron),
      timeZone: textOf(row.time_zone),
      passedTo: Number(row.passed_to),
      ranAt: row.ran_at === null ? null : Number(row.ran_at),
      lastJob: row.job_id === null ? null : {id: Number(row.job_id)},
      isQueued: Number(row.is_queued) === 1,
    })),
  }
}

/** As Store.takeUp. */
export async function takeUp(link: MysqlConnection, schedules: readonly ScheduleDefinition[]): Promise<void> {
  await link.batch([
    'START TRANSACTION',
    ...schedules.flatMap(schedule => {
      const [name, cron, zone] = literals(schedule)
      return [
        make(schedule),
        `UPDATE jobq_schedule SET cron = ${cron}, time_zone = ${zone}, passed_to = ${NOW}
         WHERE name = ${name} AND (cron <> ${cron} OR time_zone <> ${zone} OR passed_to > ${NOW} + ${FAR_AHEAD_SECONDS})`,
      ]
    }),
    'COMMIT',
  ])
}

/** As Store.tick. @param database its name. @throws DuplicateJobError, ArgumentError, StoreError */
export async function passTick(
  link: MysqlConnection,
  database: string,
  tick: Tick,
  job: NewJob | null,
): Promise<Ticked> {
  const {at, overlap} = tick
  const [name, cron, zone] = literals(tick)
  const [, clock, passed] = await link.batch([
    'START TRANSACTION',
    `SELECT ${NOW} AS now`,
    at === null
      ? make(tick)
      : `UPDATE jobq_schedule SET passed_to = ${at}
         WHERE name = ${name} AND cron = ${cron} AND time_zone = ${zone} AND passed_to < ${at}`,
  ])
  const isOurs = at === null || passed!.matched === 1
  const isWanted = isOurs && job !== null && (at === null || overlap || !(await isQueued(link, name)))
  const now = Number(clock!.rows[0]!.now)
  const enqueued = isWanted ? await insertUnlessTaken(link, job, now, at === null) : null
  const remember = `UPDATE jobq_schedule SET ran_at = ${at ?? now}, job_id = ${enqueued?.id} WHERE name = ${name}`
  await link.batch([...(enqueued ? [remember] : []), 'COMMIT']).catch(error => {
    throw isLost(error) || isCancelled(error) ? mayBeStored(database, 'the job', error) : error
  })
  return {isOurs, job: enqueued}
}

async function isQueued(link: MysqlConnection, name: string): Promise<boolean> {
  const sql = `SELECT 1 FROM jobq_schedule JOIN job ON job.id = job_id WHERE jobq_schedule.name = ${name}`
  return (await link.run(sql)).rows.length > 0
}

/** What is refused by the unique key leaves the transaction as it was. */
async function insertUnlessTaken(link: MysqlConnection, job: NewJob, now: number, isByHand: boolean) {
  try {
    const [enqueued] = await new Inserter(link, now).insert([job])
    return enqueued!
  } catch (error) {
    if (isByHand || !(error instanceof DuplicateJobError)) throw error
    return null
  }
}

function make(schedule: ScheduleDefinition): string {
  return `INSERT IGNORE INTO jobq_schedule (name, cron, time_zone, passed_to) VALUES (${literals(schedule)}, ${NOW})`
}

function literals({name, cron, timeZone}: ScheduleDefinition): [string, string, string] {
  return [literal(name), literal(cron), literal(timeZone)]
}
