/**
 * Jobs steered from outside: cancelled, edited, and what is ordered of those that run. Who cancels notifies; an edit's
 * UPDATE rings by a trigger.
 */
import {DuplicateJobError} from '../../../jobs/errors.ts'
import {
  CANCELLED,
  type CancelledJob,
  type EnqueuedJob,
  type JobChanges,
  type JobState,
  type RowRef,
} from '../../../jobs/job.ts'
import {contextInstead} from '../../../jobs/side-tables/keep-result.ts'
import type {Order} from '../../../jobs/side-tables/orders.ts'
import {afterEnds, NEVER} from '../after.ts'
import {bigints, bytesOf, texts} from '../arrays.ts'
import {NOW, type PostgresConnections, type Send, type Value} from '../connections/connections.ts'
import {CHANNEL} from '../connections/watch.ts'
import {addBeside, checkJob, dueValues, explainRange} from '../insert.ts'
import {unpark} from '../shares/share.ts'
import {forgetTags, removeTags} from '../side-tables/tags.ts'
import {hasBeside} from '../side-tables.ts'

const GIVEN = 'job_id = ANY ($1::BIGINT[])'
const STATE = `CASE WHEN grabbed_until > ${NOW} THEN 'running' WHEN run_after = ${NEVER} THEN 'waiting'
  WHEN run_after > ${NOW} THEN 'delayed' ELSE 'ready' END`
const FOUND = `SELECT job.id, coalesce(func.name, '#' || func_id) AS func, uniqkey, ${STATE} AS state,
    ordered_at IS NOT NULL AS "isOrdered", heard_at IS NOT NULL AS "isHeard"
  FROM unnest($1::BIGINT[]) AS given (id) JOIN job ON job.id = given.id LEFT JOIN func ON func.id = func_id
    LEFT JOIN jobq_order ON job_id = job.id AND what = 'cancel'`
const FIND = {name: 'jobq_cancel_find', text: FOUND}
const LOCK = {name: 'jobq_cancel_lock', text: `${FOUND} FOR UPDATE OF job`}
const DELETE = {name: 'jobq_cancel_delete', text: 'DELETE FROM job WHERE id = ANY ($1::BIGINT[])'}
const DELETE_BESIDE = ['jobq_context', 'jobq_death', 'jobq_after', 'jobq_share'].map(table => ({
  name: `jobq_cancel_${table}`,
  text: `DELETE FROM ${table} WHERE ${GIVEN}`,
}))
const TELL = {
  name: 'jobq_cancel_tell',
  text: `UPDATE jobq_wait SET outcome = 'aborted', message = convert_to($2, 'UTF8'), ended_at = ${NOW} WHERE ${GIVEN}`,
}
/** Of jobs that left by other ways: ids are never used twice. */
const SWEEP = {
  name: 'jobq_order_sweep',
  text: `DELETE FROM jobq_order o WHERE what = 'cancel' AND NOT EXISTS (SELECT FROM job WHERE job.id = o.job_id)`,
}
const ORDER = {
  name: 'jobq_order',
  text: `INSERT INTO jobq_order (job_id, what, ordered_at) SELECT unnest($1::BIGINT[]), 'cancel', ${NOW}
    ON CONFLICT DO NOTHING`,
}
const RING = {name: 'jobq_order_ring', text: `SELECT pg_notify(${CHANNEL}, '')`}
const ORDERS = {name: 'jobq_orders', text: 'SELECT job_id AS id, what FROM jobq_order'}
const THESE =
  'FROM unnest($1::BIGINT[], $2::TEXT[]) AS given (id, word) WHERE job_id = given.id AND what = given.word'
const HEAR = {
  name: 'jobq_hear',
  text: `UPDATE jobq_order SET heard_at = coalesce(heard_at, ${NOW}) ${THESE} RETURNING job_id AS id, what`,
}
const WITHDRAW = {
  name: 'jobq_withdraw',
  text: `DELETE FROM jobq_order USING ${THESE.slice('FROM '.length)} AND heard_at IS NULL RETURNING job_id AS id, what`,
}
const FORGET = {name: 'jobq_forget_orders', text: `DELETE FROM jobq_order WHERE what = 'cancel' AND ${GIVEN}`}
const LOCK_ONE = {
  name: 'jobq_edit_lock',
  text: `SELECT coalesce(func.name, '#' || func_id) AS func, ${STATE} AS state
    FROM job LEFT JOIN func ON func.id = func_id
    WHERE job.id = $1::BIGINT AND ($2::VARCHAR IS NULL OR uniqkey = $2::VARCHAR) FOR UPDATE OF job`,
}
const EDIT = {
  name: 'jobq_edit',
  text: `UPDATE job SET priority = coalesce($2::INTEGER, priority),
      run_after = CASE WHEN run_after = ${NEVER} THEN run_after WHEN $3::BOOLEAN THEN coalesce($4::BIGINT, ${NOW} + $5::BIGINT)::INTEGER ELSE run_after END,
      arg = CASE WHEN $6::BOOLEAN THEN $7::BYTEA ELSE arg END,
      uniqkey = CASE WHEN $8::BOOLEAN THEN $9::VARCHAR ELSE uniqkey END
    WHERE id = $1::BIGINT RETURNING uniqkey, priority, run_after AS "runAfter"`,
}
/** What waits for others goes on waiting, and is not due before that then. */
const EDIT_AFTER = {
  name: 'jobq_edit_after',
  text: `UPDATE jobq_after SET run_after = coalesce($2::BIGINT, ${NOW} + $3::BIGINT)::INTEGER WHERE job_id = $1::BIGINT
    RETURNING run_after AS "runAfter"`,
}
const FORGET_EXPIRY = {
  name: 'jobq_edit_expiry',
  text: 'DELETE FROM jobq_expiry WHERE job_id = $1::BIGINT',
}
const CONTEXT = {
  name: 'jobq_edit_context',
  text: 'SELECT context FROM jobq_context WHERE job_id = $1::BIGINT',
}
const FIND_KEY = {
  name: 'jobq_edit_find_key',
  text: `SELECT func.name AS func, other.id FROM job JOIN func ON func.id = job.func_id
    LEFT JOIN job other ON other.func_id = job.func_id AND other.uniqkey = $2::VARCHAR WHERE job.id = $1::BIGINT`,
}

type Found = CancelledJob & {isOrdered: boolean}

/** As Store.cancel. */
export async function cancelJobs(
  link: PostgresConnections,
  jobs: readonly RowRef[],
  state?: JobState,
): Promise<CancelledJob[]> {
  const given = [bigints(jobs.map(({id}) => id))]
  const inState = (rows: unknown[]) =>
    (rows as Found[]).filter(job => state === undefined || job.state === state)
  const seen = inState((await link.run(FIND, given, true)).rows)
  const isDone = seen.every(job => job.state === 'running' && job.isOrdered)
  const found = isDone
    ? seen
    : await link.transaction(async send => cancel(send, inState((await send(LOCK, given)).rows)))
  return found.map(({isOrdered: _, ...job}) => job)
}

async function cancel(send: Send, found: Found[]): Promise<Found[]> {
  const idsOf = (jobs: readonly Found[]) => bigints(jobs.map(({id}) => id))
  const left = found.filter(({state}) => state !== 'running')
  const waiting = [idsOf(left)]
  const leftIds = left.map(({id}) => id)
  const running = found.filter(({state}) => state === 'running')
  await Promise.all([
    send(DELETE, waiting),
    ...DELETE_BESIDE.map(statement => send(statement, waiting)),
    send(TELL, [...waiting, CANCELLED]),
    send(...forgetTags(leftIds)),
    send(...afterEnds(leftIds, 'aborted')),
    send(SWEEP),
    ...(running.length > 0 ? [send(ORDER, [idsOf(running)]), send(RING)] : []),
  ])
  return found
}

/** As Store.orders. */
export async function ordersIn(link: PostgresConnections): Promise<Order[]> {
  return (await link.run(ORDERS, [], true)).rows as unknown as Order[]
}

/** As Store.hear. */
export async function hearOrders(link: PostgresConnections, orders: readonly Order[]): Promise<Order[]> {
  return (await link.run(HEAR, orderValues(orders), true)).rows as unknown as Order[]
}

/** As Store.withdraw. */
export async function withdrawOrders(link: PostgresConnections, orders: readonly Order[]): Promise<Order[]> {
  return (await link.run(WITHDRAW, orderValues(orders))).rows as unknown as Order[]
}

/** As Store.forgetOrders. */
export async function forgetOrders(link: PostgresConnections, jobs: readonly RowRef[]): Promise<void> {
  await link.run(FORGET, [bigints(jobs.map(({id}) => id))], true)
}

function orderValues(orders: readonly Order[]): Value[] {
  return [bigints(orders.map(({id}) => id)), texts(orders.map(({what}) => what))]
}

/** As Store.edit. @throws DuplicateJobError, ArgumentError */
export async function editJob(
  link: PostgresConnections,
  id: number,
  changes: JobChanges,
): Promise<EnqueuedJob | 'gone' | 'running'> {
  const {priority, due, arg, uniqkey, ifUniqkey = null, expires, ...others} = changes
  const beside = {...others, expires: expires ?? undefined}
  checkJob({
    func: '',
    arg: arg ?? null,
    uniqkey: uniqkey ?? null,
    priority: priority ?? 0,
    due: due ?? {in: 0},
  })
  const values: Value[] = [
    ...[id, priority ?? null, due !== undefined, ...(due ? dueValues(due) : [null, null])],
    ...[arg !== undefined, arg === undefined || arg === null ? null : bytesOf(arg)],
    ...[uniqkey !== undefined, uniqkey ?? null],
  ]
  const edit = async (send: Send) => {
    const [job] = (await send(LOCK_ONE, [id, ifUniqkey])).rows as {func: string; state: JobState}[]
    if (!job) return 'gone'
    if (job.state === 'running') return 'running'
    const waits = job.state === 'waiting' && !(await unpark(send, id))
    const [edited] = (await send(EDIT, values)).rows as Pick<
      EnqueuedJob,
      'uniqkey' | 'priority' | 'runAfter'
    >[]
    if (beside.tags) await send(...removeTags(id))
    if (expires === null) await send(FORGET_EXPIRY, [id])
    if (beside.context !== undefined) {
      const [before] = (await send(CONTEXT, [id])).rows as {context: string}[]
      beside.context = contextInstead(before?.context, beside.context)
    }
    if (hasBeside(beside)) await send(...addBeside(id, beside))
    if (!waits || !due) return {id, func: job.func, ...edited!}
    const [after] = (await send(EDIT_AFTER, [id, ...dueValues(due)])).rows as {runAfter: number}[]
    return {id, func: job.func, ...edited!, runAfter: after?.runAfter ?? edited!.runAfter}
  }
  return link.transaction(edit).catch(async error => {
    if ((error as {code?: unknown}).code !== UNIQUE_VIOLATION) throw explainRange(error, due ?? null)
    const [found] = (await link.run(FIND_KEY, [id, uniqkey ?? null], true)).rows
    throw new DuplicateJobError(String(found?.func), uniqkey ?? '', found?.id ? Number(found.id) : null)
  })
}

const UNIQUE_VIOLATION = '23505'
