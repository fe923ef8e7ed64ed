/** Batches on MySQL: @see ../../shared/side-tables/batches.ts */

import type {BatchState, Lease, RowRef, StoredArg} from '../../../jobs/job.ts'
import {batchState, SWEPT_BATCHES, stateOf} from '../../shared/side-tables/batches.ts'
import type {Session} from '../connections/connection.ts'

/** Once what it waits for is written. */
export async function insertBatch(session: Session, id: number, mark: string): Promise<void> {
  const {rows} = await session.run(
    `SELECT batch_id FROM jobq_batch LEFT JOIN job ON job.id = batch_id WHERE mark IS NOT NULL AND job.id IS NULL LIMIT ${SWEPT_BATCHES}`,
  )
  if (rows.length > 0)
    await session.run(
      `DELETE FROM jobq_batch WHERE batch_id IN (${rows.map(({batch_id}) => Number(batch_id))})`,
    )
  await session.run(
    `REPLACE INTO jobq_batch (batch_id, job_id, mark) VALUES (${id}, ${id}, ${session.literal(mark)})`,
  )
  await session.run(
    `REPLACE INTO jobq_batch (batch_id, job_id) SELECT job_id, after_id FROM jobq_after WHERE job_id = ${id}`,
  )
}

export async function batchMarked(session: Session, mark: string): Promise<RowRef | null> {
  const {rows} = await session.run(`SELECT batch_id FROM jobq_batch WHERE mark = ${session.literal(mark)}`)
  return rows[0] ? {id: Number(rows[0].batch_id)} : null
}

export async function batchOf(session: Session, id: number): Promise<BatchState | null> {
  return batchState((await session.run(stateOf(String(id)))).rows[0]!)
}

export async function setArg(session: Session, {id, grabbedUntil}: Lease, arg: StoredArg): Promise<boolean> {
  const {rows} = await session.run(`SELECT id FROM job WHERE id = ${id} AND grabbed_until = ${grabbedUntil}`)
  if (rows.length === 0) return false
  await session.execute(`UPDATE job SET arg = ? WHERE id = ${id} AND grabbed_until = ${grabbedUntil}`, [arg])
  return true
}
