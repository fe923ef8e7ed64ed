/** Results on PostgreSQL: written with the end of their job, and there until their time is over. */
import type {Settlement, StoredResult} from '../../../jobs/job.ts'
import {SWEPT_RESULTS} from '../../shared/side-tables/results.ts'
import {bigints, integers, texts} from '../arrays.ts'
import {NOW, type PostgresConnections, type Statement, type Value} from '../connections/connections.ts'
import {MAX_INTEGER} from '../side-tables.ts'

/** Before the ends of their jobs, in the same transaction: of those that are still held, which are locked by it. */
const KEEP = {
  name: 'jobq_results_keep',
  text: `WITH held AS MATERIALIZED (
      SELECT job.id, func_id, seconds, json FROM job, unnest($1::BIGINT[], $2::INTEGER[], $3::BIGINT[], $4::TEXT[]) AS r (id, mine, seconds, json)
      WHERE job.id = r.id AND grabbed_until + 0 = r.mine FOR UPDATE OF job)
    INSERT INTO jobq_result (job_id, func_id, kept_until, result)
    SELECT id, func_id, least(${NOW} + seconds, ${MAX_INTEGER})::INTEGER, json FROM held
    ON CONFLICT (job_id) DO UPDATE SET func_id = excluded.func_id, kept_until = excluded.kept_until, result = excluded.result`,
}
const FIND = {
  name: 'jobq_result',
  text: `SELECT coalesce(name, '#' || func_id) AS func, result AS json, kept_until AS "keptUntil"
    FROM jobq_result LEFT JOIN func ON func.id = func_id WHERE job_id = $1::BIGINT AND kept_until > ${NOW}`,
}
const SWEEP = {
  name: 'jobq_results_sweep',
  text: `DELETE FROM jobq_result WHERE ctid = ANY (ARRAY(SELECT ctid FROM jobq_result WHERE kept_until <= ${NOW}
    ORDER BY kept_until LIMIT ${SWEPT_RESULTS} FOR UPDATE SKIP LOCKED)) RETURNING 1 AS swept`,
}

/** Null where there are none. */
export function keepResults(
  settlements: readonly Settlement[],
): {statement: Statement & {name: string}; values: Value[]} | null {
  const kept = settlements.filter(({outcome, result}) => outcome.kind === 'completed' && result)
  if (kept.length === 0) return null
  const values = [
    bigints(kept.map(({lease}) => lease.id)),
    integers(kept.map(({lease}) => lease.grabbedUntil)),
    bigints(kept.map(({result}) => result!.seconds)),
    texts(kept.map(({result}) => result!.json)),
  ]
  return {statement: KEEP, values}
}

export async function resultOf(link: PostgresConnections, jobId: number): Promise<StoredResult | null> {
  const [row] = (await link.run(FIND, [jobId], true)).rows
  return (row as StoredResult | undefined) ?? null
}

export const ARE_ANY_OVER = `EXISTS (SELECT FROM jobq_result WHERE kept_until <= ${NOW})`

export async function sweepResults(link: PostgresConnections): Promise<boolean> {
  return (await link.run(SWEEP, [], true)).rows.length === SWEPT_RESULTS
}
