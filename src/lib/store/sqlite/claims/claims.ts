/** Jobs that are taken, or put back for later, by their ids, beside a dispatcher's turns: each function within a transaction. */
import type {JobRow, Postponement, RowRef} from '../../../jobs/job.ts'
import type {Claimed, ClaimOptions} from '../../store.ts'
import {NEVER} from '../after/edges.ts'
import type {SqliteConnection} from '../connection.ts'
import {unpark} from '../shares/share.ts'

/** As Store.postpone. */
export function postpone(link: SqliteConnection, jobs: readonly Postponement[]): void {
  const now = link.now()
  const sql = 'UPDATE job SET run_after = ? WHERE id = ? AND grabbed_until = ?'
  for (const {lease, seconds} of jobs)
    link.sql(sql).run(Math.min(now + seconds, NEVER - 1), lease.id, lease.grabbedUntil)
}

const ROW = `SELECT job.id, func_id AS funcId, coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func,
    CAST(arg AS BLOB) AS arg, CAST(uniqkey AS TEXT) AS uniqkey, enqueue_time AS enqueueTime, run_after AS runAfter,
    retry_cnt AS retryCnt, priority, (SELECT context FROM jobq_context WHERE job_id = job.id) AS context
  FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = $id`
const READY = `${ROW} AND grabbed_until = 0 AND run_after <= $now`
const FREE = `${ROW} AND grabbed_until <= $now AND run_after <> ${NEVER}`

/** As Store.claim. What a turn remembers of leases is to be forgotten. */
export function claim(
  link: SqliteConnection,
  jobs: readonly RowRef[],
  seconds: number,
  {early = false, parked = false}: ClaimOptions = {},
): Claimed {
  if (parked) for (const {id} of jobs) unpark(link, id)
  const now = link.now()
  const until = now + seconds
  const find = link.sql(early ? FREE : READY)
  const taken = jobs.flatMap(({id}) => {
    const row = find.get({id, now}) as (Omit<JobRow, 'grabbedUntil'> & {context: string | null}) | undefined
    if (!row) return []
    link.sql('UPDATE job SET grabbed_until = ? WHERE id = ?').run(until, id)
    const {context, ...job} = {...row, retryCnt: Number(row.retryCnt) || 0, grabbedUntil: until}
    return [context === null ? job : {...job, context}]
  })
  if (taken.length > 0) link.arrivals++
  return {jobs: taken, now}
}
