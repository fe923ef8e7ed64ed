/** Jobs that have not begun in time, on SQLite, within a transaction: @see ../../shared/expiry.ts. */
import type {ExpiredJob} from '../../../jobs/job.ts'
import {abortOf, EXPIRE_BATCH, type Expiring} from '../../shared/expiry.ts'
import type {SqliteConnection} from '../connection.ts'
import type {SqliteSettle} from '../settle.ts'

const DUE = `SELECT e.job_id AS id, coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func,
    CAST(uniqkey AS TEXT) AS uniqkey, priority,
    coalesce(grabbed_until = 0 AND retry_cnt = 0, 0) AND NOT EXISTS (SELECT 1 FROM jobq_death d WHERE d.job_id = e.job_id) AS isExpired,
    EXISTS (SELECT 1 FROM job_status s WHERE s.func_id = job.func_id) AS hasStatus
  FROM (SELECT job_id FROM jobq_expiry WHERE expires_at <= ? ORDER BY expires_at LIMIT ${EXPIRE_BATCH}) e
    LEFT JOIN job ON job.id = e.job_id LEFT JOIN func ON func.id = func_id`

type Due = Omit<Expiring, 'hasStatus'> & {isExpired: number; hasStatus: number}

/** As Store.expire. */
export function expire(
  link: SqliteConnection,
  settle: SqliteSettle,
): {expired: ExpiredJob[]; isMore: boolean} {
  const now = link.now()
  const due = link.sql(DUE).all(now) as Due[]
  const expired = due.filter(({isExpired}) => isExpired === 1)
  for (const {id, func, uniqkey, priority, hasStatus} of expired) {
    const job = {id, func, uniqkey, priority, hasStatus: hasStatus === 1}
    settle.settle(abortOf(job, now), now)
    link.sql('DELETE FROM jobq_after WHERE job_id = ?').run(id)
  }
  for (const {id} of due) link.sql('DELETE FROM jobq_expiry WHERE job_id = ?').run(id)
  if (expired.length > 0) link.arrivals++
  return {
    expired: expired.map(({id, func, uniqkey, priority}) => ({id, func, uniqkey, priority})),
    isMore: due.length === EXPIRE_BATCH,
  }
}
