/** Results on MySQL: written with the end of their job, and there until their time is over. */
import {MAX_UINT32, type Settlement, type StoredResult} from '../../../jobs/job.ts'
import {SWEPT_RESULTS} from '../../shared/side-tables/results.ts'
import {literal, type MysqlConnection, type Session, textOf} from '../connections/connection.ts'

/** Before the ends of their jobs, in the same transaction: of those that are still held, which are locked by it. */
export function keepResults(settlements: readonly Settlement[]): string[] {
  return settlements.flatMap(({lease, outcome, result}) =>
    outcome.kind === 'completed' && result
      ? `REPLACE INTO jobq_result (job_id, func_id, kept_until, result)
          SELECT id, func_id, LEAST(UNIX_TIMESTAMP() + ${result.seconds}, ${MAX_UINT32}), ${literal(result.json)}
          FROM job WHERE id = ${lease.id} AND grabbed_until = ${lease.grabbedUntil} FOR UPDATE`
      : [],
  )
}

/** {job_id, result} of those of these jobs. */
export const resultsOf = (ids: string) =>
  `SELECT job_id, result FROM jobq_result WHERE job_id IN (${ids}) AND kept_until > UNIX_TIMESTAMP()`

export async function resultOf(link: Session, jobId: number): Promise<StoredResult | null> {
  const {rows} = await link.run(
    `SELECT func_id, (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func, result, kept_until
     FROM jobq_result WHERE job_id = ${jobId} AND kept_until > UNIX_TIMESTAMP()`,
  )
  const [row] = rows
  if (!row) return null
  const func = row.func === null ? `#${row.func_id}` : textOf(row.func)
  return {func, json: textOf(row.result), keptUntil: Number(row.kept_until)}
}

export const ARE_ANY_OVER = 'EXISTS (SELECT 1 FROM jobq_result WHERE kept_until <= UNIX_TIMESTAMP())'

export async function sweepResults(link: MysqlConnection): Promise<boolean> {
  const {rows} = await link.run(
    `SELECT job_id FROM jobq_result WHERE kept_until <= UNIX_TIMESTAMP() ORDER BY kept_until LIMIT ${SWEPT_RESULTS}`,
  )
  const ids = rows.map(({job_id}) => Number(job_id))
  if (ids.length > 0)
    await link.run(`DELETE FROM jobq_result WHERE job_id IN (${ids}) AND kept_until <= UNIX_TIMESTAMP()`)
  return ids.length === SWEPT_RESULTS
}
