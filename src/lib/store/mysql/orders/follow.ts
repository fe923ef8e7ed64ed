/**
 * What a job that runs has written, for who follows it: rows of jobq_output without an attempt. There are some only as long
 * as the order is there that asks for them, and whoever deletes that deletes them, each in a transaction that has locked
 * the order: so none is left for ever.
 */

import type {RowRef} from '../../../jobs/job.ts'
import {
  FOLLOWED_ROWS,
  FOLLOWED_SECONDS,
  type Followed,
  type Told,
  type Written,
} from '../../../jobs/side-tables/orders.ts'
import {literal, type MysqlConnection} from '../connections/connection.ts'

const FOLLOWED = `what = 'follow'`

/** As Store.follow. The row is there, and locked, before it is read: a new one says 0. */
export async function follow(link: MysqlConnection, {id}: RowRef, mine?: number): Promise<Followed> {
  const order = `jobq_order WHERE job_id = ${id} AND ${FOLLOWED}`
  const [, , before, , after] = await link.batch([
    'START TRANSACTION',
    `INSERT INTO jobq_order (job_id, what, ordered_at) VALUES (${id}, 'follow', 0) ON DUPLICATE KEY UPDATE what = 'follow'`,
    `SELECT ordered_at FROM ${order}`,
    `UPDATE jobq_order SET ordered_at = GREATEST(UNIX_TIMESTAMP(), ordered_at + 1) WHERE job_id = ${id} AND ${FOLLOWED}`,
    `SELECT ordered_at, heard_at FROM ${order}`,
    'COMMIT',
  ])
  const {ordered_at, heard_at} = after!.rows[0]!
  const orderedBefore = Number(before!.rows[0]!.ordered_at)
  return {
    orderedAt: Number(ordered_at),
    isHeard: heard_at !== null,
    isShared: orderedBefore !== 0 && orderedBefore !== mine,
  }
}

/** As Store.unfollow. */
export async function unfollow(link: MysqlConnection, {id}: RowRef, orderedAt: number): Promise<void> {
  await deleteOrders(link, `job_id = ${id} AND ordered_at = ${orderedAt}`)
}

/** As Store.forgetFollowed. */
export async function forgetFollowed(link: MysqlConnection): Promise<void> {
  await deleteOrders(link, `ordered_at < UNIX_TIMESTAMP() - ${FOLLOWED_SECONDS}`)
}

/** As Store.tell. */
export async function tell(link: MysqlConnection, written: readonly Written[]): Promise<void> {
  await link.batch([
    'START TRANSACTION',
    ...written.flatMap(({id, isCut, bytes}) => [
      `INSERT INTO jobq_output (job_id, attempt_id, is_cut, output)
       SELECT job_id, NULL, ${Number(isCut)}, ${literal(bytes)} FROM jobq_order WHERE job_id = ${id} AND ${FOLLOWED} FOR UPDATE`,
      `SET @jobq_old = (SELECT id FROM jobq_output WHERE job_id = ${id} AND attempt_id IS NULL
         ORDER BY id DESC LIMIT 1 OFFSET ${FOLLOWED_ROWS})`,
      `DELETE FROM jobq_output WHERE job_id = ${id} AND attempt_id IS NULL AND id <= @jobq_old`,
    ]),
    'COMMIT',
  ])
}

/** As Store.told. */
export async function told(link: MysqlConnection, {id}: RowRef, after: number): Promise<Told[]> {
  const {rows} = await link.run(
    `SELECT id, is_cut, output FROM jobq_output WHERE job_id = ${id} AND attempt_id IS NULL AND id > ${after} ORDER BY id`,
  )
  return rows.map(({id, is_cut, output}) => ({
    at: Number(id),
    isCut: Number(is_cut) === 1,
    bytes: output as Buffer,
  }))
}

async function deleteOrders(link: MysqlConnection, which: string): Promise<void> {
  const [, locked] = await link.batch([
    'START TRANSACTION',
    `SELECT job_id FROM jobq_order WHERE ${FOLLOWED} AND ${which} FOR UPDATE`,
  ])
  const ids = locked!.rows.map(({job_id}) => Number(job_id))
  await link.batch([
    ...(ids.length === 0
      ? []
      : [
          `DELETE FROM jobq_order WHERE job_id IN (${ids}) AND ${FOLLOWED}`,
          `DELETE FROM jobq_output WHERE job_id IN (${ids}) AND attempt_id IS NULL`,
        ]),
    'COMMIT',
  ])
}
