/** Rows of a log deleted, within a transaction, with what jobq keeps beside them. */
import {besideLog} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import {bigints} from './arrays.ts'
import type {Send} from './connections.ts'

/** @returns how many there were */
export async function deleteRows(send: Send, table: LogTable, ids: readonly number[]): Promise<number> {
  const {column, isAll} = besideLog(table)
  const given = [bigints(ids)]
  const among = '= ANY ($1::BIGINT[])'
  await send(
    `DELETE FROM jobq_output USING jobq_attempt a
     WHERE a.id = attempt_id AND a.${column} ${among} AND a.${isAll}`,
    given,
  )
  await send(`DELETE FROM jobq_attempt WHERE ${column} ${among} AND ${isAll}`, given)
  await send(`UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} ${among}`, given)
  return (await send(`DELETE FROM ${table} WHERE id ${among} RETURNING id`, given)).rows.length
}
