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
import {bigints, booleans, bytes} from '../arrays.ts'
import {
  NOW,
  type PostgresConnections,
  type Send,
  type Statement,
  type Value,
} from '../connections/connections.ts'
import {CHANNEL} from '../connections/watch.ts'

/** The row is there, and locked, before it is read: a new one says 0. */
const LOCK = {
  name: 'jobq_follow_lock',
  text: `INSERT INTO jobq_order (job_id, what, ordered_at) VALUES ($1, 'follow', 0)
    ON CONFLICT (job_id, what) DO UPDATE SET ordered_at = jobq_order.ordered_at RETURNING ordered_at AS before`,
}
const FOLLOW = {
  name: 'jobq_follow',
  text: `UPDATE jobq_order SET ordered_at = GREATEST(${NOW}, ordered_at + 1) WHERE job_id = $1 AND what = 'follow'
    RETURNING ordered_at AS "orderedAt", heard_at IS NOT NULL AS "isHeard"`,
}
const RING = {name: 'jobq_order_ring', text: `SELECT pg_notify(${CHANNEL}, '')`}
const UNFOLLOW = {
  name: 'jobq_unfollow',
  text: `DELETE FROM jobq_order WHERE job_id = $1 AND what = 'follow' AND ordered_at = $2 RETURNING job_id AS id`,
}
const FORGET = {
  name: 'jobq_forget_followed',
  text: `DELETE FROM jobq_order WHERE what = 'follow' AND ordered_at < ${NOW} - ${FOLLOWED_SECONDS} RETURNING job_id AS id`,
}
const DELETE_TOLD = {
  name: 'jobq_delete_told',
  text: 'DELETE FROM jobq_output WHERE job_id = ANY ($1::BIGINT[]) AND attempt_id IS NULL',
}
const TELL = {
  name: 'jobq_tell',
  text: `INSERT INTO jobq_output (job_id, attempt_id, is_cut, output)
    SELECT o.job_id, NULL, g.cut, g.output FROM unnest($1::BIGINT[], $2::BOOLEAN[], $3::BYTEA[]) AS g (job_id, cut, output)
      JOIN jobq_order o ON o.job_id = g.job_id AND o.what = 'follow' FOR SHARE OF o`,
}
const DELETE_OLD = {
  name: 'jobq_delete_old_told',
  text: `DELETE FROM jobq_output d WHERE d.job_id = ANY ($1::BIGINT[]) AND d.attempt_id IS NULL
    AND d.id <= (SELECT n.id FROM jobq_output n WHERE n.job_id = d.job_id AND n.attempt_id IS NULL
      ORDER BY n.id DESC LIMIT 1 OFFSET ${FOLLOWED_ROWS})`,
}
const TOLD = {
  name: 'jobq_told',
  text: `SELECT id AS at, is_cut AS "isCut", output AS bytes FROM jobq_output
    WHERE job_id = $1 AND attempt_id IS NULL AND id > $2 ORDER BY id`,
}

/** As Store.follow. Only a new order rings. */
export async function follow(link: PostgresConnections, {id}: RowRef, mine?: number): Promise<Followed> {
  return link.transaction(async send => {
    const before = Number((await send(LOCK, [id])).rows[0]!.before)
    const [order] = (await send(FOLLOW, [id])).rows as unknown as Omit<Followed, 'isShared'>[]
    if (!order!.isHeard) await send(RING)
    return {...order!, isShared: before !== 0 && before !== mine}
  })
}

/** As Store.unfollow. */
export function unfollow(link: PostgresConnections, {id}: RowRef, orderedAt: number): Promise<void> {
  return link.transaction(send => deleteOrders(send, UNFOLLOW, [id, orderedAt]))
}

/** As Store.forgetFollowed. */
export function forgetFollowed(link: PostgresConnections): Promise<void> {
  return link.transaction(send => deleteOrders(send, FORGET, []))
}

async function deleteOrders(send: Send, statement: Statement, values: Value[]): Promise<void> {
  const {rows} = await send(statement, values)
  if (rows.length > 0) await send(DELETE_TOLD, [bigints(rows.map(({id}) => Number(id)))])
}

/** As Store.tell. */
export async function tell(link: PostgresConnections, written: readonly Written[]): Promise<void> {
  const ids = bigints(written.map(({id}) => id))
  const values = [ids, booleans(written.map(({isCut}) => isCut)), bytes(written.map(({bytes}) => bytes))]
  await link.pipeline([
    [TELL, values],
    [DELETE_OLD, [ids]],
  ])
}

/** As Store.told. */
export async function told(link: PostgresConnections, {id}: RowRef, after: number): Promise<Told[]> {
  return (await link.run(TOLD, [id, after], true)).rows as unknown as Told[]
}
