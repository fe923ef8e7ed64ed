/**
 * Rows of a log deleted, with what jobq keeps beside them: in one statement, so that its locks are held as long as the
 * server takes for it, and no message is waited for meanwhile. Its parts see what was there before, and no row twice. Tags
 * of jobs of which nothing is left then go behind it.
 */
import {besideLog, LONELY} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import {bigints} from './arrays.ts'
import type {Send} from './connections/connections.ts'
import {forgetTags} from './side-tables/tags.ts'

const AMONG = '= ANY ($1::BIGINT[])'

/** @returns how many there were */
export async function deleteRows(send: Send, table: LogTable, ids: readonly number[]): Promise<number> {
  const {column, isAll} = besideLog(table)
  const jobs = await send(`SELECT DISTINCT job_id AS id FROM jobq_attempt WHERE ${column} ${AMONG}`, [
    bigints(ids),
  ])
  const {rows} = await send(
    `WITH outputs AS (DELETE FROM jobq_output USING jobq_attempt a
        WHERE a.id = attempt_id AND a.job_id = jobq_output.job_id AND a.${column} ${AMONG} AND a.${isAll}),
      attempts AS (DELETE FROM jobq_attempt WHERE ${column} ${AMONG} AND ${isAll}),
      others AS (UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} ${AMONG} AND NOT (${isAll}))
     DELETE FROM ${table} WHERE id ${AMONG} RETURNING id`,
    [bigints(ids)],
  )
  if (jobs.rows.length > 0) await send(...forgetTags(jobs.rows.map(({id}) => Number(id))))
  return rows.length
}

/** Outputs deleted, and their attempts, which belong to no row of a log. */
export async function deleteOutputs(send: Send, ids: readonly number[]): Promise<number> {
  const {rows} = await send(
    `WITH attempts AS (DELETE FROM jobq_attempt a USING jobq_output o
        WHERE o.id ${AMONG} AND a.id = o.attempt_id AND ${LONELY})
     DELETE FROM jobq_output WHERE id ${AMONG} RETURNING id`,
    [bigints(ids)],
  )
  return rows.length
}
