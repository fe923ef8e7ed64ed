/**
 * How jobs end that someone waits for. jobq_wait has a row for each: the transaction that ends the job writes its outcome
 * there (functions.ts), and who waits takes it away.
 */
import type {JobEnd, RowRef} from '../../jobs/job.ts'
import {bigints} from './arrays.ts'
import type {Link} from './connections.ts'
import {SWEPT, type Sweeper, sweep} from './side-tables.ts'

/** Their rows are locked, so that none of them can end before it is known to be waited for. */
const TRACK = {
  name: 'jobq_track',
  text: `WITH living AS MATERIALIZED (SELECT id FROM job WHERE id = ANY ($1::BIGINT[]) FOR KEY SHARE),
    kept AS (INSERT INTO jobq_wait (job_id) SELECT id FROM living ON CONFLICT DO NOTHING), ${sweep(2)}
    SELECT id, ${SWEPT} FROM living`,
}
/** One moment's: a job that is gone has its outcome written, if it ever will have. */
const ENDS = {
  name: 'jobq_ends',
  text: `WITH gone AS MATERIALIZED (
      SELECT asked.id FROM unnest($1::BIGINT[]) AS asked (id) WHERE NOT EXISTS (SELECT FROM job WHERE job.id = asked.id)),
    told AS (DELETE FROM jobq_wait WHERE job_id = ANY (ARRAY(SELECT id FROM gone)) RETURNING job_id, outcome, message)
    SELECT id, NULL AS outcome, NULL::BYTEA AS message FROM gone
    UNION ALL SELECT job_id, outcome, message FROM told WHERE outcome IS NOT NULL`,
}

/** @returns those that are in the queue */
export async function trackJobs(link: Link, sweeper: Sweeper, jobs: readonly RowRef[]): Promise<RowRef[]> {
  if (jobs.length === 0) return []
  const from = sweeper.values(jobs.length)
  const {rows} = await link.run(TRACK, [bigints(jobs.map(({id}) => id)), ...from], true)
  if (rows[0]) sweeper.swept(rows[0], from)
  const living = new Set(rows.map(({id}) => id))
  return jobs.filter(({id}) => living.has(id)).map(({id}) => ({id}))
}

export async function endsOf(link: Link, jobs: readonly RowRef[]): Promise<JobEnd[]> {
  if (jobs.length === 0) return []
  type Told = {id: number; outcome: JobEnd['outcome'] | null; message: Buffer | null}
  const {rows} = await link.run(ENDS, [bigints(jobs.map(({id}) => id))])
  const ends = new Map<number, JobEnd>()
  for (const {id, outcome, message} of rows as unknown as readonly Told[])
    ends.set(id, {id, outcome: outcome ?? 'gone', message: message?.toString('utf8') ?? ''})
  return jobs.flatMap(({id}) => ends.get(id) ?? [])
}
