/** A failed job enqueued again from the exception log, within a transaction. */
import {AlreadyRetriedError, NotFoundError} from '../errors.ts'
import type {EnqueuedJob, NewJob} from '../job.ts'
import type {SqliteInsert} from './sqlite-insert.ts'
import type {SqliteLink} from './sqlite-link.ts'

/** @throws NotFoundError, AlreadyRetriedError, DuplicateJobError */
export function retryException(
  link: SqliteLink,
  inserts: SqliteInsert,
  exceptionId: number,
  {priority, due}: Pick<NewJob, 'priority' | 'due'>,
): EnqueuedJob {
  const exception = link
    .sql(
      `SELECT func_id AS funcId, coalesce(func.name, '#' || func_id) AS func, exception_log.uniqkey, retried
       FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = ?`,
    )
    .get(exceptionId) as {funcId: number; func: string; uniqkey: string | null; retried: number} | undefined
  if (!exception) throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
  if (exception.retried) throw new AlreadyRetriedError(exceptionId)
  const {funcId, func, uniqkey} = exception
  const runAfter = inserts.runAfter(due)
  link.arrivals++
  // uniqkey and arg go from row to row inside the database: their bytes and storage class stay as they are
  const row = inserts.unlessDuplicate({funcId, func, uniqkey}, () =>
    link
      .sql(
        `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
         SELECT func_id, arg, uniqkey, ?, 0, ?, 0, ? FROM exception_log WHERE id = ?`,
      )
      .run(link.now(), runAfter, priority, exceptionId),
  )
  link.sql('UPDATE exception_log SET retried = 1 WHERE id = ?').run(exceptionId)
  return {id: Number(row.lastInsertRowid), func, uniqkey, priority, runAfter}
}
