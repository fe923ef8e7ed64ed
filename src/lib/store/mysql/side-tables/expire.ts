/** Jobs that leave if they have not begun in time, on MySQL: @see ../../shared/expiry.ts. */
import type {ExpiredJob} from '../../../jobs/job.ts'
import {abortOf, EXPIRE_BATCH, type Expiring} from '../../shared/expiry.ts'
import {type MysqlConnection, textOf, textOrNull} from '../connections/connection.ts'
import {endCall} from '../settle.ts'

/** As Store.expire. */
export async function expire(link: MysqlConnection): Promise<{expired: ExpiredJob[]; isMore: boolean}> {
  const [, clock, due] = await link.batch([
    'START TRANSACTION',
    'SELECT UNIX_TIMESTAMP() AS now',
    `SELECT job_id FROM jobq_expiry FORCE INDEX (expires_at) WHERE expires_at <= UNIX_TIMESTAMP()
     ORDER BY expires_at LIMIT ${EXPIRE_BATCH} FOR UPDATE SKIP LOCKED`,
  ])
  const ids = due!.rows.map(({job_id}) => Number(job_id))
  const expired = ids.length === 0 ? [] : await notBegun(link, ids)
  const now = Number(clock!.rows[0]!.now)
  const left = expired.map(({id}) => id)
  await link.batch([
    ...expired.map(job => endCall(abortOf(job, now))),
    ...(left.length > 0 ? [`DELETE FROM jobq_after WHERE job_id IN (${left})`] : []),
    ...(ids.length > 0 ? [`DELETE FROM jobq_expiry WHERE job_id IN (${ids})`] : []),
    'COMMIT',
  ])
  return {
    expired: expired.map(({hasStatus: _, ...job}) => job),
    isMore: ids.length === EXPIRE_BATCH,
  }
}

/** Those of these jobs that nobody has begun; they are locked. */
async function notBegun(link: MysqlConnection, ids: readonly number[]): Promise<Expiring[]> {
  const {rows} = await link.run(
    `SELECT id, func_id, (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func,
       ${link.keys.select('uniqkey')} AS uniqkey, priority,
       EXISTS (SELECT 1 FROM job_status s WHERE s.func_id = job.func_id) AS has_status
     FROM job FORCE INDEX (PRIMARY) WHERE id IN (${ids}) AND grabbed_until = 0 AND retry_cnt = 0
       AND NOT EXISTS (SELECT 1 FROM jobq_death d WHERE d.job_id = job.id) ORDER BY id FOR UPDATE`,
  )
  return rows.map(row => ({
    id: Number(row.id),
    func: row.func === null ? `#${row.func_id}` : textOf(row.func),
    uniqkey: textOrNull(row.uniqkey),
    priority: Number(row.priority),
    hasStatus: Number(row.has_status) === 1,
  }))
}
