/**
 * Tags on SQLite, within a transaction. They stay as long as the job or an attempt of it is there: who works takes them away
 * soon after, a cancel and a prune at once.
 */
import type {RowRef, Tag} from '../../../jobs/job.ts'
import {SWEPT_JOBS} from '../../shared/tags.ts'
import type {SqliteConnection} from '../connection.ts'

const GIVEN = '(SELECT value FROM json_each(?))'

export function insertTags(link: SqliteConnection, jobId: number, tags: readonly Tag[]): void {
  const sql = 'INSERT OR REPLACE INTO main.jobq_tag (job_id, name, value) VALUES (?, ?, ?)'
  for (const [name, value] of tags) link.sql(sql).run(jobId, name, value)
}

/** These instead of those that it has. */
export function replaceTags(link: SqliteConnection, jobId: number, tags: readonly Tag[]): void {
  link.sql('DELETE FROM jobq_tag WHERE job_id = ?').run(jobId)
  insertTags(link, jobId, tags)
}

/** The job that takes the place of an exception's has its tags. */
export function copyTags(link: SqliteConnection, exceptionId: number, jobId: number): void {
  link
    .sql(
      `INSERT OR REPLACE INTO jobq_tag (job_id, name, value) SELECT ?, name, value FROM jobq_tag
       WHERE job_id = (SELECT job_id FROM jobq_attempt WHERE exception_id = ? LIMIT 1)`,
    )
    .run(jobId, exceptionId)
}

/** Of those of these jobs of which nothing is left. @param ids as JSON */
export function forgetTags(link: SqliteConnection, ids: string): void {
  link
    .sql(
      `DELETE FROM jobq_tag WHERE job_id IN ${GIVEN} AND job_id NOT IN (SELECT id FROM job)
       AND NOT EXISTS (SELECT 1 FROM jobq_attempt a WHERE a.job_id = jobq_tag.job_id)`,
    )
    .run(ids)
}

/** As Store.forgetBeside. */
export function forgetBeside(link: SqliteConnection, jobs: readonly RowRef[]): void {
  const ids = JSON.stringify(jobs.map(({id}) => id))
  forgetTags(link, ids)
  link.sql(`DELETE FROM jobq_expiry WHERE job_id IN ${GIVEN} AND job_id NOT IN (SELECT id FROM job)`).run(ids)
}

/** As Store.sweepTags. */
export async function sweepTags(link: SqliteConnection, from: number): Promise<number | null> {
  const sql = `SELECT job_id AS id, EXISTS (SELECT 1 FROM job WHERE job.id = t.job_id)
      OR EXISTS (SELECT 1 FROM jobq_attempt a WHERE a.job_id = t.job_id) AS isKept
    FROM (SELECT DISTINCT job_id FROM jobq_tag WHERE job_id > ? ORDER BY job_id LIMIT ${SWEPT_JOBS}) t`
  const found = await link.read(() => link.sql(sql).all(from) as {id: number; isKept: number}[])
  const left = found.filter(({isKept}) => isKept === 0).map(({id}) => id)
  if (left.length > 0) await link.writeLazily(() => forgetTags(link, JSON.stringify(left)))
  return found.length < SWEPT_JOBS ? null : found.at(-1)!.id
}
