/** How far jobs are that run, on SQLite, within a transaction. */
import type {JobProgress, Progress, RowRef} from '../../../jobs/job.ts'
import {SWEPT_PROGRESS} from '../../shared/side-tables/progress.ts'
import type {SqliteConnection} from '../connection.ts'

const GIVEN = '(SELECT value FROM json_each(?))'

export function tellProgress(link: SqliteConnection, told: readonly (RowRef & Progress)[]): void {
  const sql = `INSERT OR REPLACE INTO jobq_progress (job_id, fraction, note, told_at)
    SELECT id, ?, ?, ? FROM job WHERE id = ? AND grabbed_until > 0`
  for (const {id, fraction, text} of told) link.sql(sql).run(fraction, text, link.now(), id)
}

/** And of some others that have left without a word. */
export function forgetProgress(link: SqliteConnection, jobs: readonly RowRef[]): void {
  const sql = `DELETE FROM jobq_progress WHERE job_id IN ${GIVEN} OR job_id IN (
    SELECT job_id FROM jobq_progress LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${SWEPT_PROGRESS})`
  link.sql(sql).run(JSON.stringify(jobs.map(({id}) => id)))
}

export function progressIn(link: SqliteConnection, jobs: readonly RowRef[]): JobProgress[] {
  const sql = `SELECT job_id AS id, fraction, CAST(note AS TEXT) AS text, told_at AS toldAt FROM jobq_progress WHERE job_id IN ${GIVEN}`
  return link.sql(sql).all(JSON.stringify(jobs.map(({id}) => id))) as JobProgress[]
}
