/** Rows of `job` on MySQL as the rest of jobq knows them. */
import type {JobRow} from '../job.ts'
import {type Link, type Row, textOf, textOrNull} from './mysql-link.ts'

export function jobColumns({keys}: Pick<Link, 'keys'>): string {
  return `job.id, job.func_id, job.arg, ${keys.select('job.uniqkey')} AS uniqkey, job.enqueue_time, job.grabbed_until,
    job.run_after, job.retry_cnt, job.priority`
}

/** @param row of `jobColumns`, and the function's name as `func` */
export function jobOf(row: Row): JobRow {
  return {
    id: Number(row.id),
    funcId: Number(row.func_id),
    func: textOf(row.func ?? ''),
    arg: row.arg as Buffer | null,
    uniqkey: textOrNull(row.uniqkey),
    enqueueTime: Number(row.enqueue_time),
    grabbedUntil: Number(row.grabbed_until),
    runAfter: Number(row.run_after),
    retryCnt: Number(row.retry_cnt),
    priority: Number(row.priority),
  }
}
