/**
 * Jobs that leave if they have not begun in time (jobq_expiry has a row for each until then): their end is that of any abort,
 * written by what writes those, of a job that nobody has grabbed.
 */
import {EXPIRED, type ExpiredJob, type Settlement} from '../../jobs/job.ts'

/** How many rows are looked at in one transaction. */
export const EXPIRE_BATCH = 100

/** A job that has expired, as it is found. */
export interface Expiring extends ExpiredJob {
  /** Do workers of its function keep a job status? */
  hasStatus: boolean
}

/** @param now the database's clock */
export function abortOf({id, hasStatus}: Expiring, now: number): Settlement {
  return {
    lease: {id, grabbedUntil: 0},
    outcome: {kind: 'aborted', reason: EXPIRED},
    ...(hasStatus ? {span: {start: now, end: now}} : {}),
  }
}
