/**
 * How jobs end that someone waits for. jobq_wait has a row for each: the settlement that ends the job writes its outcome
 * there (settle.ts). Several processes may wait for it, so who reads it lets it be swept a minute later (insert.ts). A
 * power cut ends who waits as well, so no write here waits for the disk: with 600 jobs that end one by one, that was half of what the process that waited for them did.
 */
import {KEPT_SECONDS, MAX_UINT32, type RowRef, type StoredEnd, TOLD_SECONDS} from '../../jobs/job.ts'
import type {SqliteConnection} from './connection.ts'
import type {SqliteInsert} from './insert.ts'

/** @returns those that are in the queue */
export function trackJobs(
  link: SqliteConnection,
  inserts: SqliteInsert,
  jobs: readonly RowRef[],
): Promise<RowRef[]> {
  const lives = 'SELECT 1 FROM job WHERE id = ?'
  const keep = 'INSERT INTO jobq_wait (job_id) VALUES (?) ON CONFLICT DO NOTHING'
  return link.writeLazily(() => {
    link.arrivals++
    const living = jobs.filter(({id}) => link.sql(lives).get(id) !== undefined).map(({id}) => ({id}))
    for (const {id} of living) {
      link.sql(keep).run(id)
      inserts.sweepNowAndThen(id)
    }
    return living
  })
}

/**
 * Takes no write lock while none of them has ended. One statement for all of them: it is asked at every commit of anyone
 * (measured with 600 jobs: 0.5 ms, where a statement for each took 6). Whose result is kept has completed.
 */
export async function endsOf(link: SqliteConnection, jobs: readonly RowRef[]): Promise<StoredEnd[]> {
  const sql = `SELECT value AS id, coalesce(outcome, iif(r.job_id IS NULL, 'gone', 'completed')) AS outcome,
    CAST(coalesce(message, '') AS TEXT) AS message, coalesce(ended_at, iif(w.job_id IS NULL, 0, ${MAX_UINT32})) AS endedAt, CAST(result AS TEXT) AS json
    FROM json_each(?) LEFT JOIN job ON job.id = value LEFT JOIN jobq_wait w ON w.job_id = value
      LEFT JOIN jobq_result r ON r.job_id = value AND kept_until > ?
    WHERE job.id IS NULL`
  const ids = JSON.stringify(jobs.map(({id}) => id))
  type Found = StoredEnd & {endedAt: number; json: string | null}
  const ends = await link.read(() => link.sql(sql).all(ids, link.now()) as Found[])
  const until = link.now() - KEPT_SECONDS + TOLD_SECONDS
  const untold = ends.filter(({endedAt}) => endedAt > until)
  if (untold.length > 0)
    await link.writeLazily(() => {
      for (const {id, outcome} of untold)
        if (outcome === 'gone') link.sql('DELETE FROM jobq_wait WHERE job_id = ?').run(id)
        else link.sql('UPDATE jobq_wait SET ended_at = ? WHERE job_id = ?').run(until, id)
    })
  return ends.map(({id, outcome, message, json}) =>
    json === null ? {id, outcome, message} : {id, outcome, message, json},
  )
}
