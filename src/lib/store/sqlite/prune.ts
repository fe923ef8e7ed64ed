/** Rows of a log deleted, within a transaction, with what jobq keeps beside them. */
import {besideLog} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import type {SqliteConnection} from './connection.ts'

/** @returns how many there were */
export function deleteRows(link: SqliteConnection, table: LogTable, ids: readonly number[]): number {
  const {column, isAll} = besideLog(table)
  const among = 'IN (SELECT value FROM json_each(?))'
  const given = JSON.stringify(ids)
  link
    .sql(
      `DELETE FROM jobq_output WHERE attempt_id IN
        (SELECT id FROM jobq_attempt WHERE ${column} ${among} AND ${isAll})`,
    )
    .run(given)
  link.sql(`DELETE FROM jobq_attempt WHERE ${column} ${among} AND ${isAll}`).run(given)
  link.sql(`UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} ${among}`).run(given)
  return link.sql(`DELETE FROM ${table} WHERE id ${among}`).run(given).changes
}
