/**
 * Jobs steered from outside, each function a transaction: cancelled, edited, and what is ordered of those that run. A
 * dispatcher's poll sees what is new.
 */
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
import {checkRunAfter} from '../../shared/due.ts'
import {afterCall, NEVER} from '../after.ts'
import {
  literal,
  type MysqlConnection,
  type Reply,
  textOf,
  textOrNull,
  type Value,
} from '../connections/connection.ts'
import {ERRNO, hasErrno} from '../errors.ts'
import {besides, duplicateOf, keyLiteral} from '../insert.ts'
import {unpark} from '../shares/share.ts'
import {forgetTags} from '../side-tables/tags.ts'

const STATE = `CASE WHEN grabbed_until > UNIX_TIMESTAMP() THEN 'running' WHEN run_after = ${NEVER} THEN 'waiting' WHEN run_after > UNIX_TIMESTAMP() THEN 'delayed'
  ELSE 'ready' END AS state`
const BESIDE = ['jobq_context', 'jobq_death', 'jobq_share']

/** Tables of subqueries are not locked with the rows that are selected. */
const named = ({names, keys}: MysqlConnection) =>
  `func_id, (SELECT ${names.select('name')} FROM func WHERE func.id = func_id) AS func, ${keys.select('uniqkey')} AS uniqkey, ${STATE}`

type Found = CancelledJob & {isOrdered: boolean}

/** What Store.cancel would find. */
export async function findJobs(link: MysqlConnection, jobs: readonly RowRef[]): Promise<Found[]> {
  return jobs.length === 0 ? [] : foundIn(await link.run(foundSql(link, jobs)))
}

/** As Store.cancel. */
export async function cancelJobs(
  link: MysqlConnection,
  jobs: readonly RowRef[],
  isWanted: (job: Found) => boolean,
): Promise<Found[]> {
  // What left by other ways has orders that nobody will hear: ids are never used twice
  const [, locked, gone] = await link.batch([
    'START TRANSACTION',
    `${foundSql(link, jobs)} FOR UPDATE`,
    `SELECT job_id FROM jobq_order LEFT JOIN job ON job.id = job_id WHERE what = 'cancel' AND job.id IS NULL`,
  ])
  const found = foundIn(locked!).filter(isWanted)
  const idsOf = (rows: readonly RowRef[]) => rows.map(({id}) => id)
  const waiting = idsOf(found.filter(({state}) => state !== 'running'))
  const running = idsOf(found.filter(({state}) => state === 'running'))
  const left = [...gone!.rows.map(({job_id}) => Number(job_id)), ...waiting]
  await link.batch([
    ...(waiting.length === 0
      ? []
      : [
          `DELETE FROM job WHERE id IN (${waiting})`,
          ...BESIDE.map(table => `DELETE FROM ${table} WHERE job_id IN (${waiting})`),
          `UPDATE jobq_wait SET outcome = 'aborted', message = ${literal(CANCELLED)}, ended_at = UNIX_TIMESTAMP()
           WHERE job_id IN (${waiting})`,
          `DELETE FROM jobq_after WHERE job_id IN (${waiting})`,
          forgetTags(waiting.join()),
          afterCall(waiting, 'aborted'),
        ]),
    ...(left.length === 0 ? [] : [`DELETE FROM jobq_order WHERE what = 'cancel' AND job_id IN (${left})`]),
    ...(running.length === 0
      ? []
      : [
          `INSERT IGNORE INTO jobq_order (job_id, what, ordered_at)
           VALUES ${running.map(id => `(${id}, 'cancel', UNIX_TIMESTAMP())`)}`,
        ]),
    'COMMIT',
  ])
  return found
}

function foundSql(link: MysqlConnection, jobs: readonly RowRef[]): string {
  return `SELECT id, ${named(link)},
      (SELECT 1 + (heard_at IS NOT NULL) FROM jobq_order WHERE job_id = id AND what = 'cancel') AS ordered
    FROM job WHERE id IN (${jobs.map(({id}) => id)}) ORDER BY id`
}

function foundIn({rows}: Reply): Found[] {
  return rows.map(row => ({
    id: Number(row.id),
    func: row.func === null ? `#${row.func_id}` : textOf(row.func),
    uniqkey: textOrNull(row.uniqkey),
    state: textOf(row.state) as JobState,
    isOrdered: Number(row.ordered) > 0,
    isHeard: Number(row.ordered) > 1,
  }))
}

/** As Store.orders. */
export async function ordersIn(link: MysqlConnection): Promise<Order[]> {
  return ordersOf(await link.run('SELECT job_id, what FROM jobq_order'))
}

/** As Store.hear. */
export async function hearOrders(link: MysqlConnection, orders: readonly Order[]): Promise<Order[]> {
  const [, , heard] = await link.batch([
    'START TRANSACTION',
    `UPDATE jobq_order SET heard_at = COALESCE(heard_at, UNIX_TIMESTAMP()) WHERE ${among(orders)}`,
    `SELECT job_id, what FROM jobq_order WHERE ${among(orders)}`,
    'COMMIT',
  ])
  return ordersOf(heard!)
}

/** As Store.withdraw. */
export async function withdrawOrders(link: MysqlConnection, orders: readonly Order[]): Promise<Order[]> {
  const unheard = `WHERE ${among(orders)} AND heard_at IS NULL`
  const [, withdrawn] = await link.batch([
    'START TRANSACTION',
    `SELECT job_id, what FROM jobq_order ${unheard} FOR UPDATE`,
    `DELETE FROM jobq_order ${unheard}`,
    'COMMIT',
  ])
  return ordersOf(withdrawn!)
}

/** As Store.forgetOrders. */
export async function forgetOrders(link: MysqlConnection, jobs: readonly RowRef[]): Promise<void> {
  await link.run(`DELETE FROM jobq_order WHERE what = 'cancel' AND job_id IN (${jobs.map(({id}) => id)})`)
}

function among(orders: readonly Order[]): string {
  return `(job_id, what) IN (${orders.map(({id, what}) => `(${id}, ${literal(what)})`)})`
}

function ordersOf({rows}: Reply): Order[] {
  return rows.map(({job_id, what}) => ({id: Number(job_id), what: textOf(what) as Order['what']}))
}

/** As Store.edit. @throws DuplicateJobError, ArgumentError */
export async function editJob(
  link: MysqlConnection,
  id: number,
  {priority, due, arg, uniqkey, ifUniqkey, expires, ...others}: JobChanges,
): Promise<EnqueuedJob | 'gone' | 'running'> {
  const beside = {...others, expires: expires ?? undefined}
  const isStill = ifUniqkey === undefined ? '' : `AND uniqkey = ${keyLiteral(link, ifUniqkey)}`
  const [, locked] = await link.batch([
    'START TRANSACTION',
    `SELECT ${named(link)}, priority, run_after, UNIX_TIMESTAMP() AS now FROM job WHERE id = ${id} ${isStill} FOR UPDATE`,
  ])
  const [job] = locked!.rows
  const state = job && textOf(job.state)
  if (!job || state === 'running') {
    await link.run('ROLLBACK')
    return job ? 'running' : 'gone'
  }
  const func = job.func === null ? `#${job.func_id}` : textOf(job.func)
  const own = state === 'waiting' ? await unpark(link, id) : undefined
  const waits = state === 'waiting' && own === undefined
  const runAfter =
    due === undefined
      ? (own ?? Number(job.run_after))
      : checkRunAfter('at' in due ? due.at : Number(job.now) + due.in)
  const values: Value[] = []
  // What waits for others goes on waiting, and is not due before that then
  const changes = [`run_after = ${waits ? NEVER : runAfter}`]
  if (priority !== undefined) changes.push(`priority = ${priority}`)
  if (uniqkey !== undefined) changes.push(`uniqkey = ${keyLiteral(link, uniqkey)}`)
  if (arg !== undefined) {
    changes.push('arg = ?')
    values.push(arg)
  }
  const sql = `UPDATE job SET ${changes} WHERE id = ${id}`
  await (values.length > 0 ? link.execute(sql, values) : link.run(sql)).catch(async error => {
    if (!hasErrno(error, ERRNO.duplicate) || typeof uniqkey !== 'string') throw error
    throw await duplicateOf(link, Number(job.func_id), func, uniqkey)
  })
  if (waits && due !== undefined)
    await link.run(`UPDATE jobq_after SET run_after = ${runAfter} WHERE job_id = ${id}`)
  if (beside.context !== undefined) {
    const {rows} = await link.run(`SELECT context FROM jobq_context WHERE job_id = ${id}`)
    beside.context = contextInstead(rows[0] && textOf(rows[0].context), beside.context)
  }
  await link.batch([
    ...(beside.tags ? [`DELETE FROM jobq_tag WHERE job_id = ${id}`] : []),
    ...(expires === null ? [`DELETE FROM jobq_expiry WHERE job_id = ${id}`] : []),
    ...besides(link, [beside], () => String(id)),
    'COMMIT',
  ])
  return {
    id,
    func,
    uniqkey: uniqkey === undefined ? textOrNull(job.uniqkey) : uniqkey,
    priority: priority ?? Number(job.priority),
    runAfter,
  }
}
