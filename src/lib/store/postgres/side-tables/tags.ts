/**
 * Tags on PostgreSQL. They stay as long as the job or an attempt of it is there: who works takes them away soon after, a cancel
 * and a prune at once.
 */
import {SWEPT_JOBS} from '../../shared/tags.ts'
import type {Beside} from '../../store.ts'
import {bigints} from '../arrays.ts'
import {NOW, type PostgresConnections, type Statement, type Value} from '../connections/connections.ts'
import {ARE_ANY_OVER} from './results.ts'

const REMOVE = {name: 'jobq_tags_remove', text: 'DELETE FROM jobq_tag WHERE job_id = $1::BIGINT'}
const COPY = {
  name: 'jobq_tags_copy',
  text: `INSERT INTO jobq_tag (job_id, name, value) SELECT $2::BIGINT, name, value FROM jobq_tag
    WHERE job_id = (SELECT job_id FROM jobq_attempt WHERE exception_id = $1::BIGINT LIMIT 1) ON CONFLICT DO NOTHING`,
}
const FORGET = {
  name: 'jobq_tags_forget',
  text: `DELETE FROM jobq_tag t WHERE t.job_id = ANY ($1::BIGINT[]) AND NOT EXISTS (SELECT FROM job j WHERE j.id = t.job_id)
    AND NOT EXISTS (SELECT FROM jobq_attempt a WHERE a.job_id = t.job_id)`,
}
const SWEEP = {
  name: 'jobq_tags_sweep',
  text: `SELECT t.job_id AS id, EXISTS (SELECT FROM job j WHERE j.id = t.job_id)
      OR EXISTS (SELECT FROM jobq_attempt a WHERE a.job_id = t.job_id) AS "isKept"
    FROM (SELECT DISTINCT job_id FROM jobq_tag WHERE job_id > $1::BIGINT ORDER BY job_id LIMIT ${SWEPT_JOBS}) t`,
}
const BESIDE = {
  name: 'jobq_beside',
  text: `SELECT EXISTS (SELECT FROM jobq_tag) AS "hasTags",
    (SELECT expires_at FROM jobq_expiry ORDER BY expires_at LIMIT 1) - ${NOW} AS "expiryIn",
    ${ARE_ANY_OVER} AS "hasOldResults"`,
}

/** Those that it has, before it is given others. */
export function removeTags(jobId: number): [Statement, Value[]] {
  return [REMOVE, [jobId]]
}

/** The job that takes the place of an exception's has its tags. */
export function copyTags(exceptionId: number, jobId: number): [Statement, Value[]] {
  return [COPY, [exceptionId, jobId]]
}

/** Of those of these jobs of which nothing is left. */
export function forgetTags(ids: readonly number[]): [Statement, Value[]] {
  return [FORGET, [bigints(ids)]]
}

/** As Store.sweepTags. */
export async function sweepTags(link: PostgresConnections, from: number): Promise<number | null> {
  const rows = (await link.run(SWEEP, [from], true)).rows as {id: number; isKept: boolean}[]
  const left = rows.filter(({isKept}) => !isKept).map(({id}) => id)
  if (left.length > 0) await link.run(...forgetTags(left), true)
  return rows.length < SWEPT_JOBS ? null : rows.at(-1)!.id
}

/** As Store.beside. */
export async function besideIn(link: PostgresConnections): Promise<Beside> {
  return (await link.run(BESIDE, [], true)).rows[0] as unknown as Beside
}
