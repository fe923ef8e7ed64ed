/** Rows of `job` on MySQL as the rest of jobq knows them. */
import {idTooLarge} from '../../jobs/errors.ts'
import {type JobRow, MAX_ID} from '../../jobs/job.ts'
import {type MysqlConnection, type Row, textOf, textOrNull} from './connections/connection.ts'

export function jobColumns({keys}: Pick<MysqlConnection, 'keys'>): string {
  return `job.id, job.func_id, job.arg, ${keys.select('job.uniqkey')} AS uniqkey, job.enqueue_time, job.grabbed_until,
    job.run_after, job.retry_cnt, job.priority`
}

/** @param row of `jobColumns`, and the function's name as `func` */
export function jobOf(row: Row): JobRow {
  return {
    id: idOfRow(row.id),
    funcId: Number(row.func_id),
    func: textOf(row.func ?? ''),
    arg: row.arg as Buffer | null,
    uniqkey: textOrNull(row.uniqkey),
    enqueueTime: row.enqueue_time === null ? Number.NaN : Number(row.enqueue_time),
    grabbedUntil: Number(row.grabbed_until),
    runAfter: Number(row.run_after),
    retryCnt: Number(row.retry_cnt),
    priority: Number(row.priority),
  }
}

/** @param id a number, or where that can't hold it (the connection's supportBigNumbers) its digits. @throws StoreError */
export function idOfRow(id: unknown): number {
  const number = Number(id)
  if (number > MAX_ID) throw idTooLarge('job', String(id))
  return number
}
