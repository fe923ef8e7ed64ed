/** Jobs that leave if they have not begun in time, on PostgreSQL: @see ../../shared/expiry.ts. */
import type {ExpiredJob} from '../../../jobs/job.ts'
import {abortOf, EXPIRE_BATCH, type Expiring} from '../../shared/expiry.ts'
import {bigints} from '../arrays.ts'
import {
  NOW,
  type PostgresConnections,
  type Send,
  type Statement,
  type Value,
} from '../connections/connections.ts'
import {stepsOf} from '../settle.ts'

const DUE = {
  name: 'jobq_expire_due',
  text: `SELECT job_id AS id, ${NOW} AS now FROM jobq_expiry WHERE expires_at <= ${NOW}
    ORDER BY expires_at LIMIT ${EXPIRE_BATCH} FOR UPDATE SKIP LOCKED`,
}
/** Nobody has begun them. */
const LOCK = {
  name: 'jobq_expire_lock',
  text: `SELECT job.id, coalesce(func.name, '#' || func_id) AS func, uniqkey, priority,
      EXISTS (SELECT FROM job_status s WHERE s.func_id = job.func_id) AS "hasStatus"
    FROM job LEFT JOIN func ON func.id = func_id
    WHERE job.id = ANY ($1::BIGINT[]) AND grabbed_until = 0 AND retry_cnt = 0
      AND NOT EXISTS (SELECT FROM jobq_death d WHERE d.job_id = job.id) FOR UPDATE OF job`,
}
const DELETE_AFTER = {
  name: 'jobq_expire_after',
  text: 'DELETE FROM jobq_after WHERE job_id = ANY ($1::BIGINT[])',
}
const DELETE = {
  name: 'jobq_expire_delete',
  text: 'DELETE FROM jobq_expiry WHERE job_id = ANY ($1::BIGINT[])',
}
const FORGET = {
  name: 'jobq_expiry_forget',
  text: `DELETE FROM jobq_expiry e WHERE e.job_id = ANY ($1::BIGINT[]) AND NOT EXISTS (SELECT FROM job j WHERE j.id = e.job_id)`,
}

/** As Store.expire. */
export function expire(link: PostgresConnections): Promise<{expired: ExpiredJob[]; isMore: boolean}> {
  return link.transaction(async send => {
    const due = (await send(DUE)).rows as {id: number; now: number}[]
    if (due.length === 0) return {expired: [], isMore: false}
    const ids = bigints(due.map(({id}) => id))
    const found = (await send(LOCK, [ids])).rows as unknown as Expiring[]
    if (found.length > 0) await abort(send, found, due[0]!.now)
    await send(DELETE, [ids])
    const expired = found.map(({hasStatus: _, ...job}) => job)
    return {expired, isMore: due.length === EXPIRE_BATCH}
  })
}

async function abort(send: Send, jobs: readonly Expiring[], now: number): Promise<void> {
  for (const step of stepsOf(jobs.map(job => abortOf(job, now))))
    if (step.kind === 'ends') await send(step.statement, step.values)
  await send(DELETE_AFTER, [bigints(jobs.map(({id}) => id))])
}

/** Of those of these jobs that are gone. */
export function forgetExpiries(ids: readonly number[]): [Statement, Value[]] {
  return [FORGET, [bigints(ids)]]
}
