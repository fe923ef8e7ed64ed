/** Tokens of enqueues, on PostgreSQL: what was stored under each. */
import {TOKEN_SECONDS} from '../../../jobs/job.ts'
import type {Stored, TokenSweep} from '../../shared/tokens.ts'
import {NOW, type Send} from '../connections/connections.ts'

/** A common table expression. @param rows a table and a condition: with `id`, and the token and the fingerprint as these say */
export const insertTokens = (token: string, fingerprint: string, rows: string) => `
  named AS (INSERT INTO jobq_token (token, job_id, jobs, stored_at)
    SELECT ${token}, id, ${fingerprint}, ${NOW} FROM ${rows})`

const FIND = {
  name: 'jobq_find_token',
  text: 'SELECT job_id AS id, jobs AS fingerprint, stored_at AS "storedAt" FROM jobq_token WHERE token = $1',
}
const SWEEP = {
  name: 'jobq_sweep_tokens',
  text: `DELETE FROM jobq_token WHERE ctid = ANY (ARRAY(SELECT ctid FROM jobq_token
    WHERE stored_at < ${NOW} - ${TOKEN_SECONDS} ORDER BY stored_at LIMIT $1))`,
}

/** What was stored under it, if anything was. */
export async function storedUnder(send: Send, token: string): Promise<Stored | undefined> {
  const [row] = (await send(FIND, [token])).rows
  return row && {id: Number(row.id), fingerprint: Number(row.fingerprint), storedAt: Number(row.storedAt)}
}

/** In a statement of its own. */
export async function sweepTokens(send: Send, sweep: TokenSweep, added: number): Promise<void> {
  const most = sweep.most(added)
  if (most > 0) await send(SWEEP, [most])
}
