/** Looking for jobs that may be worked together with another one. */
import {ALIKE_BYTES, ALIKE_ROWS, type AlikeJob, type JobRow, MAX_ID} from '../../../jobs/job.ts'
import {NOW, type PostgresConnections} from '../connections/connections.ts'

const NEAR = 'SELECT id, grabbed_until, run_after, priority, uniqkey, octet_length(arg) AS bytes FROM job'
/**
 * Along the unique index from the key on, in whatever order its collation has: where a colon is a character like others, as
 * in "C" and ICU's, those that begin so are the first ones there. Each part has a LIMIT: without one the planner would look for
 * what is ready first, along all of the function's lanes.
 */
const BY_KEY = {
  name: 'jobq_alike_by_key',
  text: `SELECT job.id, job.arg FROM (
      (${NEAR} WHERE func_id = $1::INTEGER AND uniqkey = $2::VARCHAR LIMIT 1)
      UNION ALL
      (${NEAR} WHERE func_id = $1::INTEGER AND uniqkey >= $2::VARCHAR || ':' ORDER BY func_id, uniqkey LIMIT ${ALIKE_ROWS})
    ) near JOIN job ON job.id = near.id
    WHERE near.grabbed_until = 0 AND near.run_after <= ${NOW} AND near.id <> $3::BIGINT AND near.id <= ${MAX_ID}
      AND coalesce(near.bytes, 0) <= ${ALIKE_BYTES} AND (near.uniqkey = $2::VARCHAR OR starts_with(near.uniqkey, $2::VARCHAR || ':'))
    ORDER BY near.priority DESC, near.run_after, near.id LIMIT $4::INTEGER`,
}
const IN_LANE = {
  name: 'jobq_alike_in_lane',
  text: `SELECT job.id, job.arg FROM (
      SELECT id, run_after, octet_length(arg) AS bytes FROM job
      WHERE func_id = $1::INTEGER AND grabbed_until = 0 AND priority = $2::INTEGER AND run_after <= ${NOW} AND id + 0 <= ${MAX_ID}
      ORDER BY run_after, id LIMIT ${ALIKE_ROWS}) near JOIN job ON job.id = near.id
    WHERE near.id <> $3::BIGINT AND coalesce(near.bytes, 0) <= ${ALIKE_BYTES} ORDER BY near.run_after, near.id`,
}

/** As Store.alike. */
export async function alike(
  link: PostgresConnections,
  {id, funcId, priority}: JobRow,
  among?: {key: string; limit: number},
): Promise<AlikeJob[]> {
  const asked = among
    ? link.run(BY_KEY, [funcId, among.key, id, among.limit], true)
    : link.run(IN_LANE, [funcId, priority, id], true)
  return (await asked).rows as unknown as AlikeJob[]
}
