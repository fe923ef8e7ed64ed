/** Looking for jobs that may be worked together with another one, within a transaction. */
import {ALIKE_BYTES, ALIKE_ROWS, type AlikeJob, type JobRow, MAX_ID} from '../../../jobs/job.ts'
import type {SqliteConnection} from '../connection.ts'

const NEAR = 'SELECT id, grabbed_until, run_after, priority, octet_length(arg) AS bytes FROM job'
/** Both of the unique index. A `;` is what comes behind a `:`. */
const BY_KEY = `SELECT near.id, CAST(job.arg AS BLOB) AS arg FROM (
    SELECT * FROM (${NEAR} WHERE func_id = $func AND uniqkey = $key)
    UNION ALL
    SELECT * FROM (${NEAR} WHERE func_id = $func AND uniqkey >= $key || ':' AND uniqkey < $key || ';'
      ORDER BY uniqkey LIMIT ${ALIKE_ROWS})) AS near JOIN job ON job.id = near.id
  WHERE near.grabbed_until = 0 AND near.run_after <= $now AND near.id <> $id AND near.id <= ${MAX_ID}
    AND coalesce(near.bytes, 0) <= ${ALIKE_BYTES}
  ORDER BY near.priority DESC, near.run_after, near.id LIMIT $limit`
const IN_LANE = `SELECT near.id, CAST(job.arg AS BLOB) AS arg FROM (
    SELECT id, octet_length(arg) AS bytes FROM job INDEXED BY jobq_lane
    WHERE func_id = $func AND grabbed_until = 0 AND priority = $priority AND run_after <= $now AND id <= ${MAX_ID}
    ORDER BY run_after, id LIMIT ${ALIKE_ROWS}) AS near JOIN job ON job.id = near.id
  WHERE near.id <> $id AND coalesce(near.bytes, 0) <= ${ALIKE_BYTES}`

/** As Store.alike. */
export function alike(
  link: SqliteConnection,
  {id, funcId: func, priority}: JobRow,
  among?: {key: string; limit: number},
): AlikeJob[] {
  const now = link.now()
  const found = among
    ? link.sql(BY_KEY).all({func, now, id, ...among})
    : link.sql(IN_LANE).all({func, now, id, priority})
  return found as AlikeJob[]
}
