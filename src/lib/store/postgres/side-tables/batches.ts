/** Batches on PostgreSQL: @see ../../shared/side-tables/batches.ts */

import type {BatchState, Lease, RowRef, StoredArg} from '../../../jobs/job.ts'
import {batchState, SWEPT_BATCHES, stateOf} from '../../shared/side-tables/batches.ts'
import {bytesOf} from '../arrays.ts'
import type {PostgresConnections, Send} from '../connections/connections.ts'

const SWEEP = {
  name: 'jobq_batches_sweep',
  text: `DELETE FROM jobq_batch WHERE batch_id = ANY (ARRAY(SELECT b.batch_id FROM jobq_batch b
    WHERE b.mark IS NOT NULL AND NOT EXISTS (SELECT FROM job WHERE job.id = b.batch_id) LIMIT ${SWEPT_BATCHES}))`,
}
const INSERT = {
  name: 'jobq_batch_insert',
  text: `INSERT INTO jobq_batch (batch_id, job_id, mark) SELECT $1::BIGINT, $1::BIGINT, $2::VARCHAR
    UNION ALL SELECT job_id, after_id, NULL FROM jobq_after WHERE job_id = $1::BIGINT
    ON CONFLICT (batch_id, job_id) DO UPDATE SET mark = excluded.mark`,
}
const MARKED = {
  name: 'jobq_batch_marked',
  text: 'SELECT batch_id AS id FROM jobq_batch WHERE mark = $1::VARCHAR',
}
const STATE = {name: 'jobq_batch_state', text: stateOf('$1::BIGINT')}
const SET_ARG = {
  name: 'jobq_set_arg',
  text: 'UPDATE job SET arg = $3::BYTEA WHERE id = $1::BIGINT AND grabbed_until + 0 = $2::INTEGER RETURNING id',
}

/** Once what it waits for is written. */
export async function insertBatch(send: Send, id: number, mark: string): Promise<void> {
  await send(SWEEP, [])
  await send(INSERT, [id, mark])
}

export async function batchMarked(link: PostgresConnections, mark: string): Promise<RowRef | null> {
  const [row] = (await link.run(MARKED, [mark], true)).rows
  return row ? {id: Number(row.id)} : null
}

export async function batchOf(link: PostgresConnections, id: number): Promise<BatchState | null> {
  return batchState((await link.run(STATE, [id], true)).rows[0]!)
}

export async function setArg(
  link: PostgresConnections,
  {id, grabbedUntil}: Lease,
  arg: StoredArg,
): Promise<boolean> {
  const bytes = arg === null ? null : bytesOf(arg)
  return (await link.run(SET_ARG, [id, grabbedUntil, bytes], true)).rows.length === 1
}
