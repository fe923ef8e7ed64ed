/** Results on SQLite, within a transaction: written with the end of their job, and there until their time is over. */
import {MAX_UINT32, type Settlement, type StoredResult} from '../../../jobs/job.ts'
import {SWEPT_RESULTS} from '../../shared/side-tables/results.ts'
import type {SqliteConnection} from '../connection.ts'

/** Before its job has left, if that is still held. */
export function keepResult(
  link: SqliteConnection,
  {lease, result}: Pick<Settlement, 'lease' | 'result'>,
  now: number,
): void {
  if (!result) return
  const sql = `INSERT OR REPLACE INTO jobq_result (job_id, func_id, kept_until, result)
    SELECT id, func_id, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
  const until = Math.min(now + result.seconds, MAX_UINT32)
  link.sql(sql).run(until, result.json, lease.id, lease.grabbedUntil)
}

export function resultOf(link: SqliteConnection, jobId: number): StoredResult | null {
  const sql = `SELECT coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func, CAST(result AS TEXT) AS json, kept_until AS keptUntil
    FROM jobq_result LEFT JOIN func ON func.id = func_id WHERE job_id = ? AND kept_until > ?`
  return (link.sql(sql).get(jobId, link.now()) as StoredResult | undefined) ?? null
}

export function areAnyOver(link: SqliteConnection): boolean {
  return link.pluck('SELECT EXISTS (SELECT 1 FROM jobq_result WHERE kept_until <= ?)').get(link.now()) === 1
}

export function sweepResults(link: SqliteConnection): boolean {
  const sql = `DELETE FROM jobq_result WHERE job_id IN (
    SELECT job_id FROM jobq_result WHERE kept_until <= ? ORDER BY kept_until LIMIT ${SWEPT_RESULTS})`
  return link.sql(sql).run(link.now()).changes === SWEPT_RESULTS
}
