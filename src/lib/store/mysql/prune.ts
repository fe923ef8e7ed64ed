/** Rows of a log deleted, in a transaction, with what jobq keeps beside them. */
import {besideLog} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import type {MysqlConnection} from './connection.ts'

/** @returns how many there were */
export async function deleteRows(
  link: MysqlConnection,
  table: LogTable,
  ids: readonly number[],
): Promise<number> {
  const {column, isAll} = besideLog(table)
  const replies = await link.batch([
    'START TRANSACTION',
    `DELETE jobq_output FROM jobq_output JOIN jobq_attempt a ON a.id = attempt_id
     WHERE a.${column} IN (${ids}) AND a.${isAll}`,
    `DELETE FROM jobq_attempt WHERE ${column} IN (${ids}) AND ${isAll}`,
    `UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} IN (${ids})`,
    `DELETE FROM ${table} WHERE id IN (${ids})`,
    'COMMIT',
  ])
  return replies.at(-2)!.matched
}
