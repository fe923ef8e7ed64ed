/** A failed job enqueued again from the exception log. */
import {AlreadyRetriedError, DuplicateJobError, NotFoundError, StillTriedError} from '../../jobs/errors.ts'
import {type EnqueuedJob, RETRIED, TRIED_ROWS} from '../../jobs/job.ts'
import {mayBeStored} from '../shared/uncertain.ts'
import type {Retrying} from '../store.ts'
import {insertEdges, NEVER, takeEdges} from './after.ts'
import {NOW, NOW_IS, type PostgresConnections, type Send} from './connections/connections.ts'
import {isLost} from './errors.ts'
import {addBeside, checkDue, dueValues, explainRange} from './insert.ts'
import {copyTags} from './side-tables/tags.ts'
import {hasBeside} from './side-tables.ts'

const LOCK = {
  name: 'jobq_lock_exception',
  text: `SELECT coalesce(func.name, '#' || func_id) AS func, uniqkey, retried
    FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = $1::BIGINT FOR UPDATE OF exception_log`,
}
const RETRY = {
  name: 'jobq_retry',
  text: `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT func_id, arg, uniqkey, ${NOW}, 0, coalesce($2::BIGINT, ${NOW} + $3::BIGINT)::INTEGER, 0, $4::INTEGER
    FROM exception_log WHERE id = $1::BIGINT ON CONFLICT DO NOTHING RETURNING id, run_after AS "runAfter"`,
}
const NEXT_TRY = {
  name: 'jobq_next_try',
  text: `SELECT j.id FROM exception_log e CROSS JOIN LATERAL (
      SELECT id, arg, retry_cnt, enqueue_time, run_after FROM job
      WHERE func_id = e.func_id AND uniqkey IS NULL LIMIT ${TRIED_ROWS}) j
    WHERE e.id = $1::BIGINT AND e.uniqkey IS NULL AND j.retry_cnt > 0 AND j.enqueue_time <= e.exception_time
      AND j.run_after >= e.exception_time AND j.arg IS NOT DISTINCT FROM e.arg LIMIT 1`,
}
const ITS_JOB = {
  name: 'jobq_its_job',
  text: 'SELECT job.id FROM jobq_attempt LEFT JOIN job ON job.id = job_id WHERE exception_id = $1::BIGINT',
}
const REMEMBER = {
  name: 'jobq_remember_retried',
  text: 'UPDATE jobq_attempt SET retried_as = $2::BIGINT WHERE exception_id = $1::BIGINT',
}
const FIND_WAITING = {
  name: 'jobq_find_retried',
  text: `SELECT job.id FROM exception_log e JOIN job ON job.func_id = e.func_id AND job.uniqkey = e.uniqkey
    WHERE e.id = $1::BIGINT`,
}
const MARK = {
  name: 'jobq_mark_retried',
  text: `UPDATE exception_log SET retried = retried | ${RETRIED} WHERE id = $1::BIGINT`,
}

/** @param name the database's. @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError, StoreError */
export function retryException(
  link: PostgresConnections,
  name: string,
  exceptionId: number,
  {priority, due, again, ...beside}: Retrying,
): Promise<EnqueuedJob> {
  checkDue(due)
  let isCommitting = false
  return link
    .transaction(
      async send => {
        isCommitting = false
        const [exception] = (await send(LOCK, [exceptionId])).rows as Exception[]
        if (!exception)
          throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
        if (exception.retried & RETRIED) throw new AlreadyRetriedError(exceptionId)
        const tried = again ? null : await nextTry(send, exceptionId)
        if (tried !== null) throw new StillTriedError(exceptionId, tried)
        const {func, uniqkey} = exception
        const edges = await takeEdges(send, exceptionId)
        const wanted = dueValues(edges.length > 0 ? {at: NEVER} : due)
        const stored = await send(RETRY, [exceptionId, ...wanted, priority]).catch(error => {
          throw explainRange(error, due)
        })
        const [job] = stored.rows as {id: number; runAfter: number}[]
        if (!job) {
          const [waiting] = (await send(FIND_WAITING, [exceptionId])).rows
          throw new DuplicateJobError(func, uniqkey ?? '', waiting ? Number(waiting.id) : null)
        }
        await send(MARK, [exceptionId])
        await send(REMEMBER, [exceptionId, job.id])
        await send(...copyTags(exceptionId, job.id))
        if (hasBeside(beside)) await send(...addBeside(job.id, beside))
        if (edges.length > 0) {
          const [clock] = (await send(NOW_IS, [])).rows as {now: number}[]
          job.runAfter = 'at' in due ? due.at : clock!.now + due.in
          await send(...insertEdges([{id: job.id, runAfter: job.runAfter, edges}]))
        }
        return {...job, func, uniqkey, priority}
      },
      () => {
        isCommitting = true
      },
    )
    .catch(error => {
      throw isCommitting && isLost(error) ? mayBeStored(name, 'the job', error) : error
    })
}

type Exception = {func: string; uniqkey: string | null; retried: number}

/** As Store.nextTry. */
export async function nextTry(send: Send, exceptionId: number): Promise<number | null> {
  const [known] = (await send(ITS_JOB, [exceptionId])).rows as {id: number | null}[]
  if (known) return known.id
  const [job] = (await send(NEXT_TRY, [exceptionId])).rows as {id: number}[]
  return job?.id ?? null
}
