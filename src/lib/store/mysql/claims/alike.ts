/** Looking for jobs that may be worked together with another one. */
import {ALIKE_BYTES, ALIKE_ROWS, type AlikeJob, type JobRow, MAX_ID} from '../../../jobs/job.ts'
import type {MysqlConnection} from '../connections/connection.ts'

const NEAR = 'SELECT id, grabbed_until, run_after, priority, uniqkey, OCTET_LENGTH(arg) AS bytes FROM job'
const NO_WILDCARD = /[|%_]/g

/** As Store.alike. What a collation takes for the same key is not the same. */
export async function alike(
  link: MysqlConnection,
  {id, funcId, priority}: JobRow,
  among?: {key: string; limit: number},
): Promise<AlikeJob[]> {
  const sql = among
    ? byKey(link, funcId, id, among)
    : `SELECT job.id, job.arg FROM (
         SELECT id, OCTET_LENGTH(arg) AS bytes FROM job FORCE INDEX (jobq_lane)
         WHERE func_id = ${funcId} AND grabbed_until = 0 AND priority = ${priority} AND run_after <= UNIX_TIMESTAMP()
           AND id <= ${MAX_ID} ORDER BY run_after, id LIMIT ${ALIKE_ROWS}) near JOIN job ON job.id = near.id
       WHERE near.id <> ${id} AND COALESCE(near.bytes, 0) <= ${ALIKE_BYTES}
       ORDER BY job.run_after, job.id`
  const {rows} = await link.run(sql)
  return rows.map(row => ({id: Number(row.id), arg: row.arg as Buffer | null}))
}

/** Of the unique index, whatever the collation makes of its order: LIKE knows. */
function byKey(
  {keys}: MysqlConnection,
  funcId: number,
  id: number,
  {key, limit}: {key: string; limit: number},
): string {
  const inside = `${key}:`
  const pattern = `${inside.replace(NO_WILDCARD, '|$&')}%`
  const same = (column: string) => `CAST(${column} AS BINARY)`
  const isKey = `${same('near.uniqkey')} = ${same(keys.literal(key))}`
  const isInside = `LEFT(${same('near.uniqkey')}, LENGTH(${keys.literal(inside)})) = ${same(keys.literal(inside))}`
  return `SELECT job.id, job.arg FROM (
      (${NEAR} FORCE INDEX (func_id) WHERE func_id = ${funcId} AND uniqkey = ${keys.literal(key)})
      UNION ALL
      (${NEAR} FORCE INDEX (func_id) WHERE func_id = ${funcId} AND uniqkey LIKE ${keys.literal(pattern)} ESCAPE '|'
       LIMIT ${ALIKE_ROWS})) near JOIN job ON job.id = near.id
    WHERE near.grabbed_until = 0 AND near.run_after <= UNIX_TIMESTAMP() AND near.id <> ${id} AND near.id <= ${MAX_ID}
      AND COALESCE(near.bytes, 0) <= ${ALIKE_BYTES} AND (${isKey} OR ${isInside})
    ORDER BY near.priority DESC, near.run_after, near.id LIMIT ${limit}`
}
