/** When a job expires, on SQLite, within a transaction. */
import {MAX_UINT32} from '../../../jobs/job.ts'
import type {SqliteConnection} from '../connection.ts'

/** @param seconds from now */
export function insertExpiry(link: SqliteConnection, jobId: number, seconds: number): void {
  const sql = 'INSERT OR REPLACE INTO main.jobq_expiry (job_id, expires_at) VALUES (?, ?)'
  link.sql(sql).run(jobId, Math.min(link.now() + seconds, MAX_UINT32))
}
