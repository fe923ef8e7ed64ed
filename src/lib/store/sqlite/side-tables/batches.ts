/** Batches on SQLite, within a transaction: @see ../../shared/side-tables/batches.ts */

import type {BatchState, Lease, RowRef, StoredArg} from '../../../jobs/job.ts'
import {batchState, SWEPT_BATCHES, stateOf} from '../../shared/side-tables/batches.ts'
import type {SqliteConnection} from '../connection.ts'

/** Once what it waits for is written. */
export function insertBatch(link: SqliteConnection, id: number, mark: string): void {
  const over = `SELECT batch_id FROM main.jobq_batch WHERE mark IS NOT NULL AND batch_id NOT IN (SELECT id FROM main.job) LIMIT ${SWEPT_BATCHES}`
  link.sql(`DELETE FROM main.jobq_batch WHERE batch_id IN (${over})`).run()
  link
    .sql('INSERT OR REPLACE INTO main.jobq_batch (batch_id, job_id, mark) VALUES (?, ?, ?)')
    .run(id, id, mark)
  const all = `INSERT OR REPLACE INTO main.jobq_batch (batch_id, job_id)
    SELECT job_id, after_id FROM main.jobq_after WHERE job_id = ?`
  link.sql(all).run(id)
}

export function batchMarked(link: SqliteConnection, mark: string): RowRef | null {
  const id = link.pluck('SELECT batch_id FROM jobq_batch WHERE mark = ?').get(mark) as number | undefined
  return id === undefined ? null : {id}
}

export function batchOf(link: SqliteConnection, id: number): BatchState | null {
  return batchState(link.sql(stateOf('?')).get(id) as Record<string, unknown>)
}

export function setArg(link: SqliteConnection, {id, grabbedUntil}: Lease, arg: StoredArg): boolean {
  const sql = 'UPDATE job SET arg = ? WHERE id = ? AND grabbed_until = ?'
  return link.sql(sql).run(arg, id, grabbedUntil).changes === 1
}
