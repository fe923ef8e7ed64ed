/** How far jobs are that run, on PostgreSQL. */
import type {JobProgress, Progress, RowRef} from '../../../jobs/job.ts'
import {SWEPT_PROGRESS} from '../../shared/side-tables/progress.ts'
import {bigints, texts} from '../arrays.ts'
import {NOW, type PostgresConnections} from '../connections/connections.ts'

const TELL = {
  name: 'jobq_progress_tell',
  text: `INSERT INTO jobq_progress (job_id, fraction, note, told_at)
    SELECT job.id, told.fraction::DOUBLE PRECISION, told.note, ${NOW} FROM job, unnest($1::BIGINT[], $2::TEXT[], $3::TEXT[]) AS told (id, fraction, note)
    WHERE job.id = told.id AND grabbed_until > 0
    ON CONFLICT (job_id) DO UPDATE SET fraction = excluded.fraction, note = excluded.note, told_at = excluded.told_at`,
}
const FORGET = {
  name: 'jobq_progress_forget',
  text: `DELETE FROM jobq_progress WHERE job_id = ANY ($1::BIGINT[]) OR job_id = ANY (ARRAY(
    SELECT p.job_id FROM jobq_progress p WHERE NOT EXISTS (SELECT FROM job WHERE job.id = p.job_id) LIMIT ${SWEPT_PROGRESS}))`,
}
const FIND = {
  name: 'jobq_progress',
  text: `SELECT job_id AS id, fraction, note AS text, told_at AS "toldAt" FROM jobq_progress WHERE job_id = ANY ($1::BIGINT[])`,
}

export async function tellProgress(
  link: PostgresConnections,
  told: readonly (RowRef & Progress)[],
): Promise<void> {
  const fractions = texts(told.map(({fraction}) => String(fraction)))
  await link.run(TELL, [bigints(told.map(({id}) => id)), fractions, texts(told.map(({text}) => text))], true)
}

/** And of some others that have left without a word. */
export async function forgetProgress(link: PostgresConnections, jobs: readonly RowRef[]): Promise<void> {
  await link.run(FORGET, [bigints(jobs.map(({id}) => id))], true)
}

export async function progressIn(link: PostgresConnections, jobs: readonly RowRef[]): Promise<JobProgress[]> {
  const {rows} = await link.run(FIND, [bigints(jobs.map(({id}) => id))], true)
  return rows.map(row => ({...(row as unknown as JobProgress), fraction: Number(row.fraction)}))
}
