/**
 * How jobs ended, for who waits for them: jobq_wait has a row for each, into which the transaction that ends the job
 * writes its outcome (functions.ts). Several processes may wait for it, so who reads it lets it be swept a minute
 * later.
 */
import {KEPT_SECONDS, type RowRef, type StoredEnd, TOLD_SECONDS} from '../../jobs/job.ts'
import {bigints} from './arrays.ts'
import {NOW, type PostgresConnections} from './connections/connections.ts'
import {SWEPT, type Sweeper, sweep} from './side-tables.ts'

/** Their rows are locked, so that none of them can end before it is known to be waited for. */
const TRACK = {
  name: 'jobq_track',
  text: `WITH living AS MATERIALIZED (SELECT id FROM job WHERE id = ANY ($1::BIGINT[]) FOR KEY SHARE),
    kept AS (INSERT INTO jobq_wait (job_id) SELECT id FROM living ON CONFLICT DO NOTHING), ${sweep(2)}
    SELECT id, ${SWEPT} FROM living`,
}
/** An end of this time or before has been told. */
const UNTIL = `${NOW} - ${KEPT_SECONDS - TOLD_SECONDS}`
/** One moment's: a job that is gone has its outcome written, if it ever will have. Whose result is kept has completed. */
const ENDS = {
  name: 'jobq_ends',
  text: `WITH gone AS MATERIALIZED (
      SELECT asked.id FROM unnest($1::BIGINT[]) AS asked (id) WHERE NOT EXISTS (SELECT FROM job WHERE job.id = asked.id)),
    told AS MATERIALIZED (
      SELECT job_id, outcome, message, ended_at FROM jobq_wait WHERE job_id = ANY (ARRAY(SELECT id FROM gone))),
    lost AS (DELETE FROM jobq_wait w WHERE w.outcome IS NULL
      AND w.job_id = ANY (ARRAY(SELECT job_id FROM told WHERE outcome IS NULL))),
    untold AS (UPDATE jobq_wait w SET ended_at = ${UNTIL}
      WHERE w.job_id = ANY (ARRAY(SELECT job_id FROM told WHERE ended_at > ${UNTIL})))
    SELECT id, NULL AS outcome, NULL::BYTEA AS message, NULL AS json FROM gone
    UNION ALL SELECT job_id, outcome, message, NULL FROM told WHERE outcome IS NOT NULL
    UNION ALL SELECT job_id, 'completed', NULL, result FROM jobq_result
      WHERE job_id = ANY (ARRAY(SELECT id FROM gone)) AND kept_until > ${NOW}`,
}

/** @returns those that are in the queue */
export async function trackJobs(
  link: PostgresConnections,
  sweeper: Sweeper,
  jobs: readonly RowRef[],
): Promise<RowRef[]> {
  if (jobs.length === 0) return []
  const from = sweeper.values(jobs.length)
  const {rows} = await link.run(TRACK, [bigints(jobs.map(({id}) => id)), ...from], true)
  if (rows[0]) sweeper.swept(rows[0], from)
  const living = new Set(rows.map(({id}) => id))
  return jobs.filter(({id}) => living.has(id)).map(({id}) => ({id}))
}

export async function endsOf(link: PostgresConnections, jobs: readonly RowRef[]): Promise<StoredEnd[]> {
  if (jobs.length === 0) return []
  type Told = {id: number; outcome: StoredEnd['outcome'] | null; message: Buffer | null; json: string | null}
  const {rows} = await link.run(ENDS, [bigints(jobs.map(({id}) => id))], true)
  const ends = new Map<number, StoredEnd>()
  for (const {id, outcome, message, json} of rows as unknown as readonly Told[])
    ends.set(id, {
      ...{id, outcome: outcome ?? 'gone', message: message?.toString('utf8') ?? ''},
      ...(json === null ? {} : {json}),
    })
  return jobs.flatMap(({id}) => ends.get(id) ?? [])
}
