/**
 * Tags on MySQL. They stay as long as the job or an attempt of it is there: who works takes them away soon after, a cancel and
 * a prune at once.
 */
import type {NewJob, Tag} from '../../../jobs/job.ts'
import {SWEPT_JOBS} from '../../shared/tags.ts'
import type {MysqlConnection, Session} from '../connections/connection.ts'

/** @param id of each job, as SQL. @returns the statements */
export function insertTags(
  session: Pick<Session, 'literal'>,
  jobs: readonly Pick<NewJob, 'tags'>[],
  id: (i: number) => string,
): string[] {
  const rows = jobs.flatMap(({tags = []}, i) => tags.map(tag => `(${id(i)}, ${literals(session, tag)})`))
  return rows.length === 0 ? [] : [`REPLACE INTO jobq_tag (job_id, name, value) VALUES ${rows}`]
}

/** For a job that may have been refused by the statement right before, as each of these by the one before it. */
export function insertTagsIfInserted(session: Pick<Session, 'literal'>, tags: readonly Tag[]): string[] {
  return tags.map(
    tag => `REPLACE INTO jobq_tag (job_id, name, value)
      SELECT LAST_INSERT_ID(), ${literals(session, tag)} FROM DUAL WHERE ROW_COUNT() > 0`,
  )
}

/** The job that takes the place of an exception's has its tags. */
export function copyTags(exceptionId: number, jobId: number): string {
  return `INSERT IGNORE INTO jobq_tag (job_id, name, value) SELECT ${jobId}, name, value FROM jobq_tag
    WHERE job_id = (SELECT job_id FROM jobq_attempt WHERE exception_id = ${exceptionId} LIMIT 1)`
}

/** Of those of these jobs of which nothing is left. @param ids as SQL */
export function forgetTags(ids: string): string {
  return `DELETE t FROM jobq_tag t FORCE INDEX (PRIMARY) WHERE t.job_id IN (${ids})
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = t.job_id)
    AND NOT EXISTS (SELECT 1 FROM jobq_attempt a WHERE a.job_id = t.job_id)`
}

/** As Store.sweepTags. */
export async function sweepTags(link: MysqlConnection, from: number): Promise<number | null> {
  const {rows} = await link.run(
    `SELECT t.job_id, EXISTS (SELECT 1 FROM job WHERE job.id = t.job_id)
       OR EXISTS (SELECT 1 FROM jobq_attempt a WHERE a.job_id = t.job_id) AS is_kept
     FROM (SELECT DISTINCT job_id FROM jobq_tag WHERE job_id > ${from} ORDER BY job_id LIMIT ${SWEPT_JOBS}) t`,
  )
  const left = rows.filter(({is_kept}) => Number(is_kept) === 0).map(({job_id}) => String(job_id))
  if (left.length > 0) await link.run(forgetTags(left.join()))
  return rows.length < SWEPT_JOBS ? null : Number(rows.at(-1)!.job_id)
}

function literals(session: Pick<Session, 'literal'>, [name, value]: Tag): string {
  return `${session.literal(name)}, ${session.literal(value)}`
}
