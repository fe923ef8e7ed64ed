/** Keys that stay taken, on SQLite, within a transaction; rows whose time is over go as others come. */
import {DuplicateJobError} from '../../../jobs/errors.ts'
import {MAX_UINT32} from '../../../jobs/job.ts'
import type {SqliteConnection} from '../connection.ts'

/** So many rows that are over go with each that comes: they can't pile up. */
const SWEPT = 2

/** Of a function and a key, at a time. */
export const IS_TAKEN =
  'EXISTS (SELECT 1 FROM main.jobq_key WHERE func_id = ? AND uniqkey = ? AND taken_until > ?)'

/** @param seconds from now */
export function takeKey(
  link: SqliteConnection,
  {funcId, uniqkey, jobId, seconds}: {funcId: number; uniqkey: string; jobId: number; seconds: number},
): void {
  const sweep = `DELETE FROM main.jobq_key WHERE rowid IN (
    SELECT rowid FROM main.jobq_key WHERE taken_until <= ? ORDER BY taken_until LIMIT ${SWEPT})`
  link.sql(sweep).run(link.now())
  const sql =
    'INSERT OR REPLACE INTO main.jobq_key (func_id, uniqkey, taken_until, job_id) VALUES (?, ?, ?, ?)'
  link.sql(sql).run(funcId, uniqkey, Math.min(link.now() + seconds, MAX_UINT32), jobId)
}

/** The refusal of a key: who waits under it, or has taken it. */
export function refusalOf(
  link: SqliteConnection,
  {funcId, func, uniqkey}: {funcId: number; func: string; uniqkey: string},
): DuplicateJobError {
  const waiting = 'SELECT id FROM main.job WHERE func_id = ? AND uniqkey = ?'
  const id = link.pluck(waiting).get(funcId, uniqkey) as number | undefined
  const taken = `SELECT job_id AS jobId, taken_until AS takenUntil FROM main.jobq_key
    WHERE func_id = ? AND uniqkey = ? AND taken_until > ?`
  const key = link.sql(taken).get(funcId, uniqkey, link.now()) as
    | {jobId: number; takenUntil: number}
    | undefined
  if (id !== undefined || !key) return new DuplicateJobError(func, uniqkey, id ?? null)
  return new DuplicateJobError(func, uniqkey, key.jobId, {takenUntil: key.takenUntil})
}
