/** How far jobs are that run, on MySQL. */
import type {JobProgress, Progress, RowRef} from '../../../jobs/job.ts'
import {SWEPT_PROGRESS} from '../../shared/side-tables/progress.ts'
import {literal, type MysqlConnection, textOf} from '../connections/connection.ts'

export async function tellProgress(
  link: MysqlConnection,
  told: readonly (RowRef & Progress)[],
): Promise<void> {
  await link.batch(
    told.map(
      ({id, fraction, text}) => `REPLACE INTO jobq_progress (job_id, fraction, note, told_at)
        SELECT id, ${fraction}, ${literal(text)}, UNIX_TIMESTAMP() FROM job WHERE id = ${id} AND grabbed_until > 0`,
    ),
  )
}

/** And of some others that have left without a word. */
export async function forgetProgress(link: MysqlConnection, jobs: readonly RowRef[]): Promise<void> {
  const {rows} = await link.run(
    `SELECT job_id FROM jobq_progress LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${SWEPT_PROGRESS}`,
  )
  const ids = [...jobs.map(({id}) => id), ...rows.map(({job_id}) => Number(job_id))]
  await link.run(`DELETE FROM jobq_progress WHERE job_id IN (${ids})`)
}

export async function progressIn(link: MysqlConnection, jobs: readonly RowRef[]): Promise<JobProgress[]> {
  const {rows} = await link.run(
    `SELECT job_id, fraction, note, told_at FROM jobq_progress WHERE job_id IN (${jobs.map(({id}) => id)})`,
  )
  return rows.map(row => ({
    id: Number(row.job_id),
    fraction: Number(row.fraction),
    text: textOf(row.note),
    toldAt: Number(row.told_at),
  }))
}
