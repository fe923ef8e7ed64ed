/** Jobs that are taken, or put back for later, by their ids, beside a dispatcher's turns: each function a transaction. */
import type {JobRow, Postponement, RowRef} from '../../../jobs/job.ts'
import type {Claimed, ClaimOptions} from '../../store.ts'
import {NEVER} from '../after.ts'
import {bigints} from '../arrays.ts'
import {NOW, type PostgresConnections} from '../connections/connections.ts'
import {leaseValues} from '../settle.ts'
import {unpark} from '../shares/share.ts'

const POSTPONE = {
  name: 'jobq_postpone',
  text: `UPDATE job SET run_after = least(${NOW}::BIGINT + seconds, ${NEVER - 1})::INTEGER
    FROM unnest($1::BIGINT[], $2::INTEGER[], $3::BIGINT[]) AS lease (job_id, mine, seconds)
    WHERE id = job_id AND grabbed_until + 0 = mine`,
}

/** As Store.postpone. */
export async function postpone(link: PostgresConnections, jobs: readonly Postponement[]): Promise<void> {
  const leases = leaseValues(jobs.map(({lease}) => lease))
  await link.run(POSTPONE, [...leases, bigints(jobs.map(({seconds}) => seconds))], true)
}

/** What was found in a state that is not its state any more is looked at again once it is locked. */
const claimOf = (name: string, which: string) => ({
  name,
  text: `WITH clock AS MATERIALIZED (SELECT ${NOW} AS now), free AS MATERIALIZED (
      SELECT job.id FROM unnest($1::BIGINT[]) AS given (id) CROSS JOIN clock JOIN job ON job.id = given.id WHERE ${which}
    ), taken AS (
      UPDATE job SET grabbed_until = now + $2::INTEGER FROM free, clock WHERE job.id = free.id
      RETURNING job.id, func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT now, taken.id, func_id AS "funcId", coalesce(func.name, '#' || func_id) AS func, arg, uniqkey,
      enqueue_time AS "enqueueTime", grabbed_until AS "grabbedUntil", run_after AS "runAfter", retry_cnt AS "retryCnt",
      priority, context
    FROM clock LEFT JOIN taken ON TRUE LEFT JOIN func ON func.id = func_id LEFT JOIN jobq_context ON job_id = taken.id`,
})
const CLAIM_READY = claimOf(
  'jobq_claim_ready',
  'grabbed_until = 0 AND run_after <= now FOR UPDATE OF job SKIP LOCKED',
)
const CLAIM_FREE = claimOf(
  'jobq_claim_free',
  `grabbed_until <= now AND run_after <> ${NEVER} FOR UPDATE OF job`,
)

type Row = {now: number} & (({id: number} & JobRow & {context: string | null}) | {id: null})

/** As Store.claim. */
export async function claim(
  link: PostgresConnections,
  jobs: readonly RowRef[],
  seconds: number,
  {early = false, parked = false}: ClaimOptions = {},
): Promise<Claimed> {
  const given = [bigints(jobs.map(({id}) => id)), seconds]
  const statement = early ? CLAIM_FREE : CLAIM_READY
  const reply = parked
    ? await link.transaction(async send => {
        for (const {id} of jobs) await unpark(send, id)
        return send(statement, given)
      })
    : await link.run(statement, given)
  const rows = reply.rows as unknown as Row[]
  const taken = rows.flatMap(({now: _, ...row}) => {
    if (row.id === null) return []
    const {context, ...job} = row
    return [context === null ? job : {...job, context}]
  })
  return {jobs: taken, now: rows[0]!.now}
}
