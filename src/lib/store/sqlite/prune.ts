/** Rows of a log deleted, within a transaction, with what jobq keeps beside them. */
import {besideLog, LONELY} from '../shared/prune.ts'
import type {LogTable} from '../store.ts'
import type {SqliteConnection} from './connection.ts'
import {forgetTags} from './side-tables/tags.ts'

/** @returns how many there were */
export function deleteRows(link: SqliteConnection, table: LogTable, ids: readonly number[]): number {
  const {column, isAll} = besideLog(table)
  const among = 'IN (SELECT value FROM json_each(?))'
  const given = JSON.stringify(ids)
  const jobs = `SELECT DISTINCT job_id FROM jobq_attempt WHERE ${column} ${among}`
  const jobIds = JSON.stringify(link.pluck(jobs).all(given))
  link
    .sql(
      `DELETE FROM jobq_output WHERE job_id IN (SELECT job_id FROM jobq_attempt WHERE ${column} ${among} AND ${isAll})
        AND attempt_id IN (SELECT id FROM jobq_attempt WHERE ${column} ${among} AND ${isAll})`,
    )
    .run(given, given)
  link.sql(`DELETE FROM jobq_attempt WHERE ${column} ${among} AND ${isAll}`).run(given)
  link.sql(`UPDATE jobq_attempt SET ${column} = NULL WHERE ${column} ${among}`).run(given)
  forgetTags(link, jobIds)
  return link.sql(`DELETE FROM ${table} WHERE id ${among}`).run(given).changes
}

/** Outputs deleted, and their attempts, which belong to no row of a log. */
export function deleteOutputs(link: SqliteConnection, ids: readonly number[]): number {
  const among = 'IN (SELECT value FROM json_each(?))'
  const given = JSON.stringify(ids)
  link
    .sql(
      `DELETE FROM jobq_attempt WHERE id IN (SELECT attempt_id FROM jobq_output WHERE id ${among}) AND ${LONELY}`,
    )
    .run(given)
  return link.sql(`DELETE FROM jobq_output WHERE id ${among}`).run(given).changes
}
