/** Tokens of enqueues, on PostgreSQL: what was stored under each. */
import {TOKEN_SECONDS} from '../../../jobs/job.ts'
import type {Stored, TokenSweep} from '../../shared/tokens.ts'
import {NOW, type Send} from '../connections/connections.ts'

/** A common table expression. @param rows a table and a condition: with `id`, and the token as this says */
export const insertTokens = (token: string, rows: string) => `
  named AS (INSERT INTO jobq_token (token, job_id, jobs, stored_at) SELECT ${token}, id, 1, ${NOW} FROM ${rows})`

const FIND = {
  name: 'jobq_find_token',
  text: 'SELECT coalesce(job_id, 0) AS id, jobs, stored_at AS "storedAt" FROM jobq_token WHERE token = $1',
}
const SWEEP = {
  name: 'jobq_sweep_tokens',
  text: `DELETE FROM jobq_token WHERE ctid = ANY (ARRAY(SELECT ctid FROM jobq_token
    WHERE stored_at < ${NOW} - ${TOKEN_SECONDS} ORDER BY stored_at LIMIT $1))`,
}

/** What was stored under it: the first job (0: none is known), how many they were, and when. */
export async function storedUnder(send: Send, token: string): Promise<Stored | undefined> {
  const [row] = (await send(FIND, [token])).rows
  return row && {id: Number(row.id), jobs: Number(row.jobs), storedAt: Number(row.storedAt)}
}

/** In a statement of its own. */
export async function sweepTokens(send: Send, sweep: TokenSweep, added: number): Promise<void> {
  const most = sweep.most(added)
  if (most > 0) await send(SWEEP, [most])
}
