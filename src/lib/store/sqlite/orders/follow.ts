/**
 * What a job that runs has written, for who follows it: rows of jobq_output without an attempt. There are some only as long
 * as the order is there that asks for them, and whoever deletes that deletes them: so none is left for ever.
 */

import type {RowRef} from '../../../jobs/job.ts'
import {
  FOLLOWED_ROWS,
  FOLLOWED_SECONDS,
  type Followed,
  type Told,
  type Written,
} from '../../../jobs/side-tables/orders.ts'
import type {SqliteConnection} from '../connection.ts'

const UNTIL = `SELECT id FROM jobq_output WHERE job_id = ? AND attempt_id IS NULL ORDER BY id DESC LIMIT 1 OFFSET ${FOLLOWED_ROWS}`

/** As Store.follow. */
export function follow(link: SqliteConnection, {id}: RowRef, mine?: number): Followed {
  link.arrivals++
  const before = link
    .sql(`SELECT ordered_at, heard_at FROM jobq_order WHERE job_id = ? AND what = 'follow'`)
    .get(id) as {ordered_at: number; heard_at: number | null} | undefined
  const orderedAt = Math.max(link.now(), (before?.ordered_at ?? 0) + 1)
  link
    .sql(
      `INSERT INTO jobq_order (job_id, what, ordered_at) VALUES (?, 'follow', ?)
       ON CONFLICT (job_id, what) DO UPDATE SET ordered_at = excluded.ordered_at`,
    )
    .run(id, orderedAt)
  return {
    orderedAt,
    isHeard: (before?.heard_at ?? null) !== null,
    isShared: before !== undefined && before.ordered_at !== mine,
  }
}

/** As Store.unfollow. */
export function unfollow(link: SqliteConnection, {id}: RowRef, orderedAt: number): void {
  link.arrivals++
  const sql = `DELETE FROM jobq_order WHERE job_id = ? AND what = 'follow' AND ordered_at = ?`
  if (link.sql(sql).run(id, orderedAt).changes > 0) deleteTold(link, id)
}

/** As Store.forgetFollowed. */
export function forgetFollowed(link: SqliteConnection): void {
  const old = link
    .pluck(`SELECT job_id FROM jobq_order WHERE what = 'follow' AND ordered_at < ?`)
    .all(link.now() - FOLLOWED_SECONDS) as number[]
  if (old.length === 0) return
  link.arrivals++
  for (const id of old) {
    link.sql(`DELETE FROM jobq_order WHERE job_id = ? AND what = 'follow'`).run(id)
    deleteTold(link, id)
  }
}

/** As Store.tell. */
export function tell(link: SqliteConnection, written: readonly Written[]): void {
  const sql = `INSERT INTO jobq_output (job_id, attempt_id, is_cut, output)
    SELECT job_id, NULL, ?, ? FROM jobq_order WHERE job_id = ? AND what = 'follow'`
  for (const {id, isCut, bytes} of written) {
    link.sql(sql).run(isCut ? 1 : 0, bytes, id)
    link
      .sql(`DELETE FROM jobq_output WHERE job_id = ? AND attempt_id IS NULL AND id <= (${UNTIL})`)
      .run(id, id)
  }
}

/** As Store.told. */
export function told(link: SqliteConnection, {id}: RowRef, after: number): Told[] {
  const sql = `SELECT id AS at, is_cut AS isCut, CAST(output AS BLOB) AS bytes FROM jobq_output
    WHERE job_id = ? AND attempt_id IS NULL AND id > ? ORDER BY id`
  const rows = link.sql(sql).all(id, after) as (Omit<Told, 'isCut'> & {isCut: number})[]
  return rows.map(({isCut, ...row}) => ({...row, isCut: isCut === 1}))
}

function deleteTold(link: SqliteConnection, id: number): void {
  link.sql('DELETE FROM jobq_output WHERE job_id = ? AND attempt_id IS NULL').run(id)
}
