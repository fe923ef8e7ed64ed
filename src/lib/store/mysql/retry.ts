/** A failed job enqueued again from the exception log. */
import {AlreadyRetriedError, NotFoundError, StillTriedError} from '../../jobs/errors.ts'
import {type EnqueuedJob, RETRIED, TRIED_ROWS} from '../../jobs/job.ts'
import {checkRunAfter} from '../shared/due.ts'
import type {Retrying} from '../store.ts'
import {NEVER, takeEdges} from './after.ts'
import {type MysqlConnection, textOf, textOrNull} from './connections/connection.ts'
import {ERRNO, hasErrno, isCancelled, isLost, mayBeStored} from './errors.ts'
import {besides, duplicateOf} from './insert.ts'
import {idOfRow} from './rows.ts'
import {copyTags} from './side-tables/tags.ts'

/** @param name the database's. @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError, StoreError */
export async function retryException(
  link: MysqlConnection,
  name: string,
  exceptionId: number,
  {priority, due, again, ...beside}: Retrying,
): Promise<EnqueuedJob> {
  const [, clock, exceptions] = await link.batch([
    'START TRANSACTION',
    'SELECT UNIX_TIMESTAMP() AS now',
    `SELECT func_id, retried, ${link.keys.select('uniqkey')} AS uniqkey,
       (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func
     FROM exception_log WHERE id = ${exceptionId} FOR UPDATE`,
  ])
  const exception = exceptions!.rows[0]
  if (!exception) throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
  if (Number(exception.retried) & RETRIED) throw new AlreadyRetriedError(exceptionId)
  const tried = again ? null : await nextTry(link, exceptionId)
  if (tried !== null) throw new StillTriedError(exceptionId, tried)
  const now = Number(clock!.rows[0]!.now)
  const runAfter = checkRunAfter('at' in due ? due.at : now + due.in)
  const func = exception.func === null ? `#${exception.func_id}` : textOf(exception.func)
  const uniqkey = textOrNull(exception.uniqkey)
  // uniqkey and arg go from row to row inside the database: their bytes stay as they are
  const edges = await takeEdges(link, exceptionId)
  const dueAt = edges.length > 0 ? NEVER : runAfter
  const insert = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT func_id, arg, uniqkey, ${now}, 0, ${dueAt}, 0, ${priority} FROM exception_log WHERE id = ${exceptionId}`
  const mark = `UPDATE exception_log SET retried = retried | ${RETRIED} WHERE id = ${exceptionId}`
  const remember = (id: number) =>
    `UPDATE jobq_attempt SET retried_as = ${id} WHERE exception_id = ${exceptionId}`
  try {
    const id = idOfRow((await link.run(insert)).insertId)
    const waits = edges.map(edge => `(${id}, ${edge.id}, ${edge.anyEnd ? 1 : 0}, ${runAfter})`)
    const wait =
      waits.length === 0
        ? []
        : [`REPLACE INTO jobq_after (job_id, after_id, any_end, run_after) VALUES ${waits}`]
    const kept = [copyTags(exceptionId, id), ...besides(link, [beside], () => String(id))]
    await link.batch([...wait, ...kept, mark, remember(id), 'COMMIT']).catch(error => {
      throw isLost(error) || isCancelled(error) ? mayBeStored(name, 'the job', error) : error
    })
    return {id, func, uniqkey, priority, runAfter}
  } catch (error) {
    if (!hasErrno(error, ERRNO.duplicate) || uniqkey === null) throw error
    throw await duplicateOf(link, Number(exception.func_id), func, uniqkey)
  }
}

/** As Store.nextTry. Along the unique key, whose rows of one function without a uniqkey are in the order of their ids. */
export async function nextTry(link: MysqlConnection, exceptionId: number): Promise<number | null> {
  const known = await link.run(
    `SELECT job.id FROM jobq_attempt LEFT JOIN job ON job.id = job_id WHERE exception_id = ${exceptionId}`,
  )
  if (known.rows[0]) return known.rows[0].id === null ? null : Number(known.rows[0].id)
  const {rows} = await link.run(
    `SELECT job.id FROM (
       SELECT id FROM job WHERE func_id = (SELECT func_id FROM exception_log WHERE id = ${exceptionId})
         AND uniqkey IS NULL LIMIT ${TRIED_ROWS}) first
     JOIN job ON job.id = first.id JOIN exception_log log ON log.id = ${exceptionId}
     WHERE log.uniqkey IS NULL AND retry_cnt > 0 AND enqueue_time <= exception_time AND run_after >= exception_time
       AND job.arg <=> log.arg LIMIT 1`,
  )
  return rows[0] ? Number(rows[0].id) : null
}
