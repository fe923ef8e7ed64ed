/** When jobs expire, on MySQL. */
import {MAX_UINT32, type NewJob} from '../../../jobs/job.ts'

const COLUMNS = 'jobq_expiry (job_id, expires_at)'
const endOf = (seconds: number) => `LEAST(UNIX_TIMESTAMP() + ${seconds}, ${MAX_UINT32})`

/** @param id of each job, as SQL. @returns the statements */
export function insertExpiries(
  jobs: readonly Pick<NewJob, 'expires'>[],
  id: (i: number) => string,
): string[] {
  const rows = jobs.flatMap(({expires}, i) =>
    expires === undefined ? [] : [`(${id(i)}, ${endOf(expires)})`],
  )
  return rows.length === 0 ? [] : [`REPLACE INTO ${COLUMNS} VALUES ${rows}`]
}

/** For a job that may have been refused by the statement right before. */
export function insertExpiryIfInserted(expires: number): string {
  return `REPLACE INTO ${COLUMNS} SELECT LAST_INSERT_ID(), ${endOf(expires)} FROM DUAL WHERE ROW_COUNT() > 0`
}

/** Of those of these jobs that are gone. @param ids as SQL */
export function forgetExpiries(ids: string): string {
  return `DELETE e FROM jobq_expiry e FORCE INDEX (PRIMARY) WHERE e.job_id IN (${ids})
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = e.job_id)`
}
