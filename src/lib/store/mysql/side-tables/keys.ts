/** Keys that stay taken, on MySQL; rows whose time is over go as others come. */
import {checkNth, DuplicateJobError} from '../../../jobs/errors.ts'
import {MAX_UINT32, type NewJob} from '../../../jobs/job.ts'
import {literal, type Session, textOf} from '../connections/connection.ts'

/** So many rows that are over go with each that comes: they can't pile up. */
const SWEPT = 2
const SWEEP = `DELETE FROM jobq_key WHERE taken_until <= UNIX_TIMESTAMP() ORDER BY taken_until LIMIT ${SWEPT}`

/** Does the key of a function stay taken? @param func its id, as SQL */
export const isTaken = (func: string, uniqkey: string) =>
  `EXISTS (SELECT 1 FROM jobq_key WHERE func_id = ${func} AND uniqkey = ${literal(uniqkey)} AND taken_until > UNIX_TIMESTAMP())`

/** @param func its id, @param id the job's, as SQL. @returns the statements */
export function takeKey({uniqkey, uniqFor}: NewJob, func: string, id: string, condition = 'TRUE'): string[] {
  if (uniqFor === undefined || uniqkey === null) return []
  const values = `${func}, ${literal(uniqkey)}, LEAST(UNIX_TIMESTAMP() + ${uniqFor}, ${MAX_UINT32}), ${id}`
  return [
    `REPLACE INTO jobq_key (func_id, uniqkey, taken_until, job_id) SELECT ${values} FROM DUAL WHERE ${condition}`,
    SWEEP,
  ]
}

/** @param before how many jobs come before these. @throws DuplicateJobError with `nth` */
export async function checkKeys(
  session: Session,
  jobs: readonly NewJob[],
  funcIds: readonly number[],
  before: number,
): Promise<void> {
  const keys = jobs.flatMap(({uniqkey, isContinuation}, i) =>
    uniqkey === null || isContinuation
      ? []
      : [`(func_id = ${funcIds[i]} AND uniqkey = ${session.literal(uniqkey)})`],
  )
  if (keys.length === 0) return
  const {rows} = await session.run(
    `SELECT func_id, uniqkey, taken_until, job_id FROM jobq_key
     WHERE (${keys.join(' OR ')}) AND taken_until > UNIX_TIMESTAMP()`,
  )
  for (const [i, {func, uniqkey}] of jobs.entries()) {
    const row = rows.find(row => Number(row.func_id) === funcIds[i] && textOf(row.uniqkey) === uniqkey)
    if (row && uniqkey !== null)
      checkNth(before + i + 1, () => {
        throw new DuplicateJobError(func, uniqkey, Number(row.job_id), {takenUntil: Number(row.taken_until)})
      })
  }
}

/** Are there any? */
export async function areTaken(session: Session): Promise<boolean> {
  const sql = 'SELECT EXISTS (SELECT 1 FROM jobq_key WHERE taken_until > UNIX_TIMESTAMP()) AS are'
  return Number((await session.run(sql)).rows[0]!.are) === 1
}

/** Who has taken the key of this job, if anyone has. */
export async function takerOf(session: Session, {func, uniqkey}: NewJob): Promise<DuplicateJobError | null> {
  if (uniqkey === null) return null
  const {rows} = await session.run(
    `SELECT job_id, taken_until FROM jobq_key JOIN func ON func.id = func_id
     WHERE func.name = ${session.names.literal(func)} AND uniqkey = ${session.literal(uniqkey)} AND taken_until > UNIX_TIMESTAMP()`,
  )
  const [row] = rows
  if (!row) return null
  return new DuplicateJobError(func, uniqkey, Number(row.job_id), {takenUntil: Number(row.taken_until)})
}
