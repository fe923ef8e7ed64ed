/**
 * Jobs steered from outside, within a transaction: cancelled, edited, and what is ordered of those that run. A dispatcher
 * hears of an order as of everything else: the file changes.
 */
import {
  CANCELLED,
  type CancelledJob,
  type EnqueuedJob,
  type JobChanges,
  type JobState,
  type RowRef,
} from '../../../jobs/job.ts'
import {contextInstead} from '../../../jobs/side-tables/keep-result.ts'
import type {Order} from '../../../jobs/side-tables/orders.ts'
import {NEVER} from '../after/edges.ts'
import {ended} from '../after/ends.ts'
import type {SqliteConnection} from '../connection.ts'
import type {SqliteInsert} from '../insert.ts'
import {unpark} from '../shares/share.ts'
import {insertExpiry} from '../side-tables/expiries.ts'
import {forgetTags, replaceTags} from '../side-tables/tags.ts'

const GIVEN = '(SELECT value FROM json_each(?))'
const STATE = `CASE WHEN grabbed_until > $now THEN 'running' WHEN run_after = ${NEVER} THEN 'waiting'
  WHEN run_after > $now THEN 'delayed' ELSE 'ready' END`
const FOUND = `SELECT job.id, coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func, CAST(uniqkey AS TEXT) AS uniqkey,
    ${STATE} AS state, ordered_at IS NOT NULL AS isOrdered, heard_at IS NOT NULL AS isHeard
  FROM json_each($given) CROSS JOIN job ON job.id = value LEFT JOIN func ON func.id = func_id
    LEFT JOIN jobq_order ON job_id = job.id AND what = 'cancel'`
const BESIDE = ['jobq_context', 'jobq_death', 'jobq_share']

type Found = Omit<CancelledJob, 'isHeard'> & {isOrdered: number; isHeard: number}

/** As Store.cancel. Only reads where there is nothing to write. */
export async function cancelJobs(
  link: SqliteConnection,
  jobs: readonly RowRef[],
  state?: JobState,
): Promise<CancelledJob[]> {
  const given = JSON.stringify(jobs.map(({id}) => id))
  const find = () => {
    const found = link.sql(FOUND).all({given, now: link.now()}) as Found[]
    return state === undefined ? found : found.filter(job => job.state === state)
  }
  const seen = await link.read(find)
  const isDone = seen.every(job => job.state === 'running' && job.isOrdered)
  const found = isDone ? seen : await link.write(() => cancel(link, find()))
  return found.map(({isOrdered: _, isHeard, ...job}) => ({...job, isHeard: isHeard === 1}))
}

function cancel(link: SqliteConnection, found: Found[]): Found[] {
  const idsOf = (jobs: readonly Found[]) => JSON.stringify(jobs.map(({id}) => id))
  const waiting = idsOf(found.filter(({state}) => state !== 'running'))
  const running = idsOf(found.filter(({state}) => state === 'running'))
  const now = link.now()
  link.arrivals++
  link.sql(`DELETE FROM job WHERE id IN ${GIVEN}`).run(waiting)
  for (const table of BESIDE) link.sql(`DELETE FROM ${table} WHERE job_id IN ${GIVEN}`).run(waiting)
  const end = `UPDATE jobq_wait SET outcome = 'aborted', message = ?, ended_at = ? WHERE job_id IN ${GIVEN}`
  link.sql(end).run(CANCELLED, now, waiting)
  link.sql(`DELETE FROM jobq_after WHERE job_id IN ${GIVEN}`).run(waiting)
  forgetTags(link, waiting)
  for (const {id, state} of found) if (state !== 'running') ended(link, id, 'aborted')
  // Of those that left by other ways: ids are never used twice
  link.sql(`DELETE FROM jobq_order WHERE what = 'cancel' AND job_id NOT IN (SELECT id FROM job)`).run()
  link
    .sql(
      `INSERT INTO jobq_order (job_id, what, ordered_at) SELECT value, 'cancel', ? FROM json_each(?) WHERE true
       ON CONFLICT DO NOTHING`,
    )
    .run(now, running)
  return found
}

/** As Store.hear. */
export function hearOrders(link: SqliteConnection, orders: readonly Order[]): Order[] {
  link.arrivals++
  const sql = 'UPDATE jobq_order SET heard_at = coalesce(heard_at, ?) WHERE job_id = ? AND what = ?'
  return orders.filter(({id, what}) => link.sql(sql).run(link.now(), id, what).changes === 1)
}

/** As Store.withdraw. */
export function withdrawOrders(link: SqliteConnection, orders: readonly Order[]): Order[] {
  link.arrivals++
  const sql = 'DELETE FROM jobq_order WHERE job_id = ? AND what = ? AND heard_at IS NULL'
  return orders.filter(({id, what}) => link.sql(sql).run(id, what).changes === 1)
}

/** As Store.forgetOrders. */
export function forgetOrders(link: SqliteConnection, jobs: readonly RowRef[]): void {
  link.arrivals++
  link
    .sql(`DELETE FROM jobq_order WHERE what = 'cancel' AND job_id IN ${GIVEN}`)
    .run(JSON.stringify(jobs.map(({id}) => id)))
}

/** As Store.edit. @throws DuplicateJobError, ArgumentError */
export function editJob(
  link: SqliteConnection,
  inserts: SqliteInsert,
  id: number,
  {priority, due, arg, uniqkey, ifUniqkey, expires, ...beside}: JobChanges,
): EnqueuedJob | 'gone' | 'running' {
  const sql = `SELECT func_id AS funcId, coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func,
      CAST(uniqkey AS TEXT) AS uniqkey, priority, run_after AS runAfter, ${STATE} AS state
    FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = $id`
  const job = link.sql(sql).get({id, now: link.now()}) as
    | (Omit<EnqueuedJob, 'id'> & {funcId: number; state: JobState})
    | undefined
  if (!job || (ifUniqkey !== undefined && job.uniqkey !== ifUniqkey)) return 'gone'
  if (job.state === 'running') return 'running'
  const {funcId, func} = job
  const runAfter = due === undefined ? undefined : inserts.runAfter(due)
  const own = job.state === 'waiting' ? unpark(link, id) : undefined
  const waits = job.state === 'waiting' && own === undefined
  const changed = {
    ...(priority === undefined ? {} : {priority}),
    ...(runAfter === undefined || waits ? {} : {run_after: runAfter}),
    ...(arg === undefined ? {} : {arg}),
    ...(uniqkey === undefined ? {} : {uniqkey}),
  }
  const columns = Object.keys(changed).map(column => `${column} = ?`)
  link.arrivals++
  if (columns.length > 0)
    inserts.unlessDuplicate({funcId, func, uniqkey: uniqkey ?? null}, () =>
      link.sql(`UPDATE job SET ${columns} WHERE id = ?`).run(...Object.values(changed), id),
    )
  // It goes on waiting, and is not due before that then
  if (runAfter !== undefined && waits)
    link.sql('UPDATE jobq_after SET run_after = ? WHERE job_id = ?').run(runAfter, id)
  if (expires !== undefined) link.sql('DELETE FROM jobq_expiry WHERE job_id = ?').run(id)
  if (typeof expires === 'number') insertExpiry(link, id, expires)
  const {tags, ...others} = beside
  if (tags) replaceTags(link, id, tags)
  if (others.context !== undefined) {
    const before = link.pluck('SELECT context FROM jobq_context WHERE job_id = ?').get(id) as
      | string
      | undefined
    others.context = contextInstead(before, others.context)
  }
  inserts.insertBeside(id, others)
  return {
    id,
    func,
    uniqkey: uniqkey === undefined ? job.uniqkey : uniqkey,
    priority: priority ?? job.priority,
    runAfter: runAfter ?? own ?? job.runAfter,
  }
}
