/** Jobs that are to wait for others come into a SQLite database, within a transaction: @see ../../shared/after.ts. */
import {MAX_UINT32, type NewJob} from '../../../jobs/job.ts'
import {type Edge, edgesOf, type Known} from '../../shared/after.ts'
import type {SqliteConnection} from '../connection.ts'

/** The run_after of what waits. */
export const NEVER = MAX_UINT32

/** @param idOf as edgesOf's. @throws as that, before anything is written */
export function edgesIn(
  link: SqliteConnection,
  job: NewJob,
  idOf?: (nth: number) => number | undefined,
): Edge[] {
  return edgesOf(job, id => knownOf(link, id), idOf)
}

export function insertEdges(
  link: SqliteConnection,
  jobId: number,
  edges: readonly Edge[],
  runAfter: number,
): void {
  const sql = `INSERT OR REPLACE INTO main.jobq_after (job_id, after_id, any_end, run_after) VALUES (?, ?, ?, ?)`
  for (const {id, anyEnd} of edges) link.sql(sql).run(jobId, id, anyEnd ? 1 : 0, runAfter)
}

export function knownOf(link: SqliteConnection, id: number): Known | undefined {
  if (link.pluck('SELECT 1 FROM main.job WHERE id = ?').get(id)) return 'there'
  const told = 'SELECT outcome FROM main.jobq_wait WHERE job_id = ? AND outcome IS NOT NULL'
  const last =
    'SELECT outcome FROM main.jobq_attempt WHERE job_id = ? AND is_last = 1 ORDER BY id DESC LIMIT 1'
  return (link.pluck(told).get(id) ?? link.pluck(last).get(id)) as Known | undefined
}
