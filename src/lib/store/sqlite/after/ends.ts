/** What becomes of jobs that wait for others on SQLite, within a transaction: @see ../../shared/after.ts. */
import {type FailedAfter, MAX_ID, type RowRef, WAS_CANCELLED} from '../../../jobs/job.ts'
import {
  type Edge,
  edgesAgain,
  FAIL_BATCH,
  followersOf,
  LOOK_BATCH,
  messageOf,
  waitedFor,
} from '../../shared/after.ts'
import type {SqliteConnection} from '../connection.ts'
import {knownOf, NEVER} from './edges.ts'

/** A job has left the queue: what waited for it alone is due, or if it has failed is to fail. */
export function ended(link: SqliteConnection, id: number, failure: 'failed' | 'aborted' | null): void {
  if (!link.pluck('SELECT EXISTS (SELECT 1 FROM jobq_after WHERE after_id = ?)').get(id)) return
  link.arrivals++
  if (failure)
    link
      .sql('UPDATE jobq_after SET outcome = ? WHERE after_id = ? AND any_end = 0 AND outcome IS NULL')
      .run(failure, id)
  const free = `UPDATE job SET run_after = (SELECT a.run_after FROM jobq_after a WHERE a.job_id = job.id AND a.after_id = $id)
    WHERE run_after = ${NEVER} AND id IN (SELECT job_id FROM jobq_after a WHERE a.after_id = $id AND a.outcome IS NULL
      AND NOT EXISTS (SELECT 1 FROM jobq_after o WHERE o.job_id = a.job_id AND o.after_id <> $id))`
  link.sql(free).run({id})
  link.sql('DELETE FROM jobq_after WHERE after_id = ? AND outcome IS NULL').run(id)
}

/** What waits for this job waits for that one as well. */
export function alsoAfter(link: SqliteConnection, id: number, other: number): void {
  const sql = `INSERT OR IGNORE INTO jobq_after (job_id, after_id, any_end, run_after)
    SELECT job_id, ?, any_end, run_after FROM jobq_after WHERE after_id = ? AND outcome IS NULL`
  link.sql(sql).run(other, id)
}

/** Another id is no job's: as JavaScript has it, it would not be found again, and be marked for ever. */
const MARKED = `SELECT job_id AS id, after_id AS afterId, outcome FROM jobq_after
  WHERE outcome IN ('failed', 'aborted') AND job_id BETWEEN 1 AND ${MAX_ID} LIMIT 1`
const LAST_WORDS = `SELECT CAST(message AS TEXT) AS words, retried FROM jobq_attempt a JOIN exception_log e ON e.id = exception_id
  WHERE a.job_id = ? AND is_last = 1 ORDER BY a.id DESC LIMIT 1`
const BESIDE = ['jobq_context', 'jobq_death']

export function isAnyMarked(link: SqliteConnection): boolean {
  return link.sql(MARKED).get() !== undefined
}

/** Is there anything to look for? An idle dispatcher takes no write lock. */
export function mayAnyBeGone(link: SqliteConnection): boolean {
  return link.pluck('SELECT EXISTS (SELECT 1 FROM jobq_after)').get() === 1
}

/** Fails what waits for what has failed, some of it. */
export function failMarked(link: SqliteConnection): FailedAfter[] {
  const failed: FailedAfter[] = []
  for (let i = 0; i < FAIL_BATCH; i++) {
    const edge = link.sql(MARKED).get() as
      | {id: number; afterId: number; outcome: 'failed' | 'aborted'}
      | undefined
    if (!edge) break
    const last = link.sql(LAST_WORDS).get(edge.afterId) as {words: string; retried: number} | undefined
    const message = messageOf(edge.afterId, edge.outcome, last?.words)
    // One that was cancelled while it waited has left nothing
    const isCancelled = last ? (last.retried & WAS_CANCELLED) !== 0 : edge.outcome === 'aborted'
    const job = failOne(link, edge.id, message, isCancelled)
    if (job) failed.push(job)
    link
      .sql(`UPDATE jobq_after SET outcome = 'told' WHERE job_id = ? AND outcome IN ('failed', 'aborted')`)
      .run(edge.id)
  }
  return failed
}
function failOne(
  link: SqliteConnection,
  id: number,
  message: string,
  isCancelled: boolean,
): FailedAfter | null {
  const now = link.now()
  const find = `SELECT job.id, coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func, CAST(uniqkey AS TEXT) AS uniqkey, priority
    FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = ? AND run_after = ${NEVER} AND grabbed_until = 0`
  const job = link.sql(find).get(id) as Omit<FailedAfter, 'message'> | undefined
  if (!job) return null
  link.arrivals++
  const exception = link
    .sql(
      `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
       SELECT func_id, ?, ?, uniqkey, arg, ? FROM job WHERE id = ?`,
    )
    .run(now, message, isCancelled ? WAS_CANCELLED : 0, id).lastInsertRowid
  link
    .sql(
      `INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, ended_at, exception_id)
       SELECT id, func_id, 'failed', 1, ?, ? FROM job WHERE id = ?`,
    )
    .run(now, exception, id)
  link.sql('DELETE FROM job WHERE id = ?').run(id)
  for (const table of BESIDE) link.sql(`DELETE FROM ${table} WHERE job_id = ?`).run(id)
  link
    .sql(`UPDATE jobq_wait SET outcome = 'failed', message = ?, ended_at = ? WHERE job_id = ?`)
    .run(message, now, id)
  ended(link, id, 'failed')
  return {...job, message}
}

/** As Store.followers. */
export function followers(link: SqliteConnection, exceptionId: number): RowRef[] {
  const rows = link.sql(followersOf('?')).all(exceptionId) as RowRef[]
  return rows.map(({id}) => ({id}))
}

/** What the job of this exception is to wait for when it is retried; it is forgotten. @throws AfterFailedError */
export function takeEdges(link: SqliteConnection, exceptionId: number): Edge[] {
  const rows = link.sql(waitedFor('?')).all(exceptionId) as {old: number; id: number; anyEnd: number}[]
  if (rows.length === 0) return []
  const latest = (id: number): number => {
    const next = link.pluck('SELECT max(retried_as) FROM jobq_attempt WHERE job_id = ?').get(id) as
      | number
      | null
    return next === null || next <= id ? id : latest(next)
  }
  const edges = rows.map(({id, anyEnd}) => ({id, anyEnd: anyEnd === 1}))
  const again = edgesAgain(edges, latest, id => knownOf(link, id))
  link.sql('DELETE FROM jobq_after WHERE job_id = ?').run(rows[0]!.old)
  return again
}

/**
 * What has left the queue without a word to those that wait for it: a Perl worker or an older jobq has ended it. Of the
 * latter it is known if it has failed.
 * @param after where the last look has come to. @returns where this one has; null: at the end
 */
export function lookForGone(link: SqliteConnection, after: number): number | null {
  const stretch = `SELECT DISTINCT after_id FROM jobq_after WHERE after_id > ? AND outcome IS NULL ORDER BY after_id LIMIT ${LOOK_BATCH}`
  const ids = link.pluck(stretch).all(after) as number[]
  for (const id of ids) {
    const known = knownOf(link, id)
    if (known !== 'there') ended(link, id, known === 'failed' || known === 'aborted' ? known : null)
  }
  // What can't be retried any more
  link
    .sql(
      `DELETE FROM jobq_after WHERE outcome = 'told' AND after_id BETWEEN ? AND ?
       AND NOT EXISTS (SELECT 1 FROM jobq_attempt WHERE jobq_attempt.job_id = jobq_after.job_id)`,
    )
    .run(after, ids.at(-1) ?? Number.MAX_SAFE_INTEGER)
  return ids.length < LOOK_BATCH ? null : ids.at(-1)!
}
