/** Rows of a log deleted, in a transaction, with what jobq keeps beside them. */
import {besideLog, LONELY} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import type {MysqlConnection} from './connections/connection.ts'
import {forgetTags} from './side-tables/tags.ts'

/** @returns how many there were */
export async function deleteRows(
  link: MysqlConnection,
  table: LogTable,
  ids: readonly number[],
): Promise<number> {
  const {column, isAll} = besideLog(table)
  const found = await link.run(`SELECT DISTINCT job_id FROM jobq_attempt WHERE ${column} IN (${ids})`)
  const jobs = found.rows.map(({job_id}) => String(job_id))
  const replies = await link.batch([
    'START TRANSACTION',
    `DELETE jobq_output FROM jobq_output JOIN jobq_attempt a ON a.id = attempt_id AND a.job_id = jobq_output.job_id
     WHERE a.${column} IN (${ids}) AND a.${isAll}`,
    `DELETE FROM jobq_attempt WHERE ${column} IN (${ids}) AND ${isAll}`,
    `UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} IN (${ids})`,
    ...(jobs.length > 0 ? [forgetTags(jobs.join())] : []),
    `DELETE FROM ${table} WHERE id IN (${ids})`,
    'COMMIT',
  ])
  return replies.at(-2)!.matched
}

/** Outputs deleted, and their attempts, which belong to no row of a log. */
export async function deleteOutputs(link: MysqlConnection, ids: readonly number[]): Promise<number> {
  const replies = await link.batch([
    'START TRANSACTION',
    `DELETE a FROM jobq_output JOIN jobq_attempt a ON a.id = attempt_id WHERE jobq_output.id IN (${ids}) AND ${LONELY}`,
    `DELETE FROM jobq_output WHERE id IN (${ids})`,
    'COMMIT',
  ])
  return replies.at(-2)!.matched
}
