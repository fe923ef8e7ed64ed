/**
 * Batches (jobq_batch): a row for each job of one, by the id of the job that waits for all of them, and one for that itself, which has a
 * mark. A batch whose last job is gone goes as others come. How each job has ended is known by jobq_wait (they are tracked), else by its
 * last attempt; of whom nothing is known, has completed.
 */
import type {BatchState} from '../../../jobs/job.ts'

/** So many batches that are over go with each that comes. */
export const SWEPT_BATCHES = 10

/** {jobs, waiting, failed, aborted} of a batch, and `batches`: 0 if there is none. @param id as SQL, @param text a column of BYTEA or so as text */
export const stateOf = (id: string) => `SELECT
    sum(CASE WHEN mark IS NULL THEN 1 ELSE 0 END) AS jobs, sum(CASE WHEN mark IS NULL THEN 0 ELSE 1 END) AS batches,
    sum(CASE WHEN how = 'left' THEN 1 ELSE 0 END) AS waiting,
    sum(CASE WHEN how = 'failed' THEN 1 ELSE 0 END) AS failed, sum(CASE WHEN how = 'aborted' THEN 1 ELSE 0 END) AS aborted
  FROM (SELECT b.mark AS mark, CASE WHEN b.mark IS NOT NULL THEN '' WHEN j.id IS NOT NULL THEN 'left'
      ELSE coalesce(w.outcome, (SELECT a.outcome FROM jobq_attempt a WHERE a.job_id = b.job_id AND a.is_last ORDER BY a.id DESC LIMIT 1)) END AS how
    FROM jobq_batch b LEFT JOIN job j ON j.id = b.job_id LEFT JOIN jobq_wait w ON w.job_id = b.job_id
    WHERE b.batch_id = ${id}) ended`

/** @returns null where there is no such batch */
export function batchState(row: Record<string, unknown>): BatchState | null {
  const of = (name: string) => Number(row[name] ?? 0)
  if (of('batches') === 0) return null
  const [jobs, left, failed, aborted] = [of('jobs'), of('waiting'), of('failed'), of('aborted')]
  return {jobs, left, failed, aborted, completed: jobs - left - failed - aborted}
}
