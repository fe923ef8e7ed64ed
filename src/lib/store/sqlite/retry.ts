/** A failed job enqueued again from the exception log, within a transaction. */
import {AlreadyRetriedError, NotFoundError, StillTriedError} from '../../jobs/errors.ts'
import {type EnqueuedJob, RETRIED, TRIED_ROWS} from '../../jobs/job.ts'
import type {Retrying} from '../store.ts'
import {insertEdges, NEVER} from './after/edges.ts'
import {takeEdges} from './after/ends.ts'
import type {SqliteConnection} from './connection.ts'
import type {SqliteInsert} from './insert.ts'
import {copyTags} from './side-tables/tags.ts'

/** Along the unique index, whose rows of one function without a key are in the order of their ids. */
const NEXT_TRY = `SELECT job.id FROM (
    SELECT id FROM job WHERE func_id = (SELECT func_id FROM exception_log WHERE id = $id) AND uniqkey IS NULL
    ORDER BY id LIMIT ${TRIED_ROWS}) first
  JOIN job ON job.id = first.id JOIN exception_log ON exception_log.id = $id
  WHERE exception_log.uniqkey IS NULL AND retry_cnt > 0 AND enqueue_time <= exception_time AND run_after >= exception_time
    AND CAST(job.arg AS BLOB) IS CAST(exception_log.arg AS BLOB) LIMIT 1`

const ITS_JOB = `SELECT job.id FROM jobq_attempt LEFT JOIN job ON job.id = job_id WHERE exception_id = ?`

/** As Store.nextTry. */
export function nextTry(link: SqliteConnection, exceptionId: number): number | null {
  const known = link.pluck(ITS_JOB).get(exceptionId) as number | null | undefined
  if (known !== undefined) return known
  return (link.pluck(NEXT_TRY).get({id: exceptionId}) as number | undefined) ?? null
}

/** @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError */
export function retryException(
  link: SqliteConnection,
  inserts: SqliteInsert,
  exceptionId: number,
  {priority, due, again = false, ...beside}: Retrying,
): EnqueuedJob {
  const exception = link
    .sql(
      `SELECT func_id AS funcId, coalesce(func.name, '#' || func_id) AS func, exception_log.uniqkey, retried
       FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = ?`,
    )
    .get(exceptionId) as {funcId: number; func: string; uniqkey: string | null; retried: number} | undefined
  if (!exception) throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
  if (exception.retried & RETRIED) throw new AlreadyRetriedError(exceptionId)
  const {funcId, func, uniqkey} = exception
  const tried = again ? null : nextTry(link, exceptionId)
  if (tried !== null) throw new StillTriedError(exceptionId, tried)
  const runAfter = inserts.runAfter(due)
  const edges = takeEdges(link, exceptionId)
  link.arrivals++
  // uniqkey and arg go from row to row inside the database: their bytes and storage class stay as they are
  const row = inserts.unlessDuplicate({funcId, func, uniqkey}, () =>
    link
      .sql(
        `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
         SELECT func_id, arg, uniqkey, ?, 0, ?, 0, ? FROM exception_log WHERE id = ?`,
      )
      .run(link.now(), edges.length > 0 ? NEVER : runAfter, priority, exceptionId),
  )
  const id = inserts.idOf(row)
  if (edges.length > 0) insertEdges(link, id, edges, runAfter)
  copyTags(link, exceptionId, id)
  inserts.insertBeside(id, beside)
  link.sql(`UPDATE exception_log SET retried = retried | ${RETRIED} WHERE id = ?`).run(exceptionId)
  link.sql('UPDATE jobq_attempt SET retried_as = ? WHERE exception_id = ?').run(id, exceptionId)
  return {id, func, uniqkey, priority, runAfter}
}
