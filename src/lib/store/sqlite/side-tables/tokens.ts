/** Tokens of enqueues, on SQLite, within a transaction: what was stored under each; those whose time is over go as others come. */
import {type NewJob, TOKEN_SECONDS} from '../../../jobs/job.ts'
import {fingerprintOf, type Stored} from '../../shared/tokens.ts'
import type {SqliteConnection} from '../connection.ts'

/** So many go with each that comes: they can't pile up. */
const SWEPT = 2

/** What was stored under it, if anything was. */
export function storedUnder(link: SqliteConnection, token: string): Stored | undefined {
  const sql =
    'SELECT job_id AS id, jobs AS fingerprint, stored_at AS storedAt FROM main.jobq_token WHERE token = ?'
  return link.sql(sql).get(token) as Stored | undefined
}

export function insertToken(link: SqliteConnection, token: string, job: NewJob, jobId: number): void {
  const sweep = `DELETE FROM main.jobq_token WHERE rowid IN (
    SELECT rowid FROM main.jobq_token WHERE stored_at < ? ORDER BY stored_at LIMIT ${SWEPT})`
  link.sql(sweep).run(link.now() - TOKEN_SECONDS)
  const sql = 'INSERT INTO main.jobq_token (token, job_id, jobs, stored_at) VALUES (?, ?, ?, ?)'
  link.sql(sql).run(token, jobId, fingerprintOf(job), link.now())
}
