/** Tokens of enqueues, on MySQL: what was stored under each. */
import {type NewJob, TOKEN_SECONDS} from '../../../jobs/job.ts'
import {fingerprintOf, type Stored, type TokenSweep} from '../../shared/tokens.ts'
import {literal, type MysqlConnection} from '../connections/connection.ts'

const COLUMNS = 'token, job_id, jobs, stored_at'

export type Named = {token?: undefined} | Pick<NewJob, 'token' | 'func' | 'uniqkey' | 'arg'>

/** @param id of each, as SQL */
export function insertTokens(jobs: readonly Named[], id: (i: number) => string): string[] {
  return jobs.flatMap((job, i) => insertToken(job, id(i)))
}

/** Nothing for a job without one. */
export function insertToken(job: Named, id: string, condition = 'TRUE'): string[] {
  if (job.token === undefined) return []
  const values = `${literal(job.token)}, ${id}, ${fingerprintOf(job)}, UNIX_TIMESTAMP()`
  return [`INSERT INTO jobq_token (${COLUMNS}) SELECT ${values} FROM DUAL WHERE ${condition}`]
}

/** What was stored under it, if anything was. */
export async function storedUnder(link: MysqlConnection, token: string): Promise<Stored | undefined> {
  const sql = `SELECT job_id, jobs AS fingerprint, stored_at FROM jobq_token WHERE token = ${literal(token)}`
  const [row] = (await link.run(sql)).rows
  return (
    row && {id: Number(row.job_id), fingerprint: Number(row.fingerprint), storedAt: Number(row.stored_at)}
  )
}

/** On a connection that is in no transaction; another node of a cluster may be at it: then it is left to that. */
export async function sweepTokens(link: MysqlConnection, sweep: TokenSweep, added: number): Promise<void> {
  const most = sweep.most(added)
  if (most === 0) return
  await link.run(
    `DELETE FROM jobq_token WHERE stored_at < UNIX_TIMESTAMP() - ${TOKEN_SECONDS} ORDER BY stored_at LIMIT ${most}`,
  )
}
