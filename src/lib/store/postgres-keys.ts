/** The order of a listing on PostgreSQL: keys of jobs by the index jobq_lane, lanes merged as they are wanted. */
import type {JobState} from '../job.ts'
import {byId, byOrder, byTime, joined, type Key, type Keys, LAST, merged, type Order, share} from './keys.ts'
import {bigints, integers} from './postgres-arrays.ts'
import type {Send, Statement, Value} from './postgres-link.ts'

/** The priorities at which functions have jobs that no one holds: one seek each. */
const LANES = {
  name: 'jobq_lanes',
  text: `WITH RECURSIVE lane (func_id, priority) AS (
    SELECT f.id, (SELECT j.priority FROM job j WHERE j.func_id = f.id AND j.grabbed_until = 0
      ORDER BY j.priority DESC LIMIT 1) FROM unnest($1::INTEGER[]) AS f (id)
    UNION ALL
    SELECT l.func_id, (SELECT j.priority FROM job j WHERE j.func_id = l.func_id AND j.grabbed_until = 0
      AND j.priority < l.priority ORDER BY j.priority DESC LIMIT 1) FROM lane l WHERE l.priority IS NOT NULL)
  SELECT func_id AS "funcId", priority FROM lane WHERE priority IS NOT NULL`,
}
/** $1 functions, $2 their lanes' priorities, $3 and $4 behind which time and id each, $5 how many of each, $6 now. */
const inLanes = (due: string) => `SELECT lane.nth, j.id, j.priority, j.run_after AS "runAfter"
  FROM unnest($1::INTEGER[], $2::INTEGER[], $3::BIGINT[], $4::BIGINT[])
    WITH ORDINALITY AS lane (func_id, priority, run_after, id, nth)
  CROSS JOIN LATERAL (SELECT id, priority, run_after FROM job
    WHERE func_id = lane.func_id AND grabbed_until = 0 AND priority = lane.priority
      AND (run_after, id) > (lane.run_after, lane.id) AND ${due}
    ORDER BY run_after, id LIMIT $5) j`
const READY = {name: 'jobq_ready', text: inLanes('run_after <= $6')}
const DELAYED = {name: 'jobq_delayed', text: inLanes('run_after > $6')}
/** Jobs that are in no lane, by function. $1 functions, $2 now, $3 how many of each, then the place. */
const besides = (
  condition: string,
  order: string,
) => `SELECT f.nth, j.id, j.priority, j.run_after AS "runAfter"
  FROM unnest($1::INTEGER[]) WITH ORDINALITY AS f (func_id, nth)
  CROSS JOIN LATERAL (SELECT id, priority, run_after FROM job
    WHERE func_id = f.func_id AND ${condition} ORDER BY ${order} LIMIT $3) j`
const RUNNING = {name: 'jobq_running', text: besides('grabbed_until > $2 AND id > $4', 'id')}
const READY_STRAYS = {
  name: 'jobq_ready_strays',
  text: besides(
    `grabbed_until BETWEEN 1 AND $2 AND run_after <= $2
      AND (-priority::BIGINT, run_after, id) > ($4::BIGINT, $5::BIGINT, $6::BIGINT)`,
    'priority DESC, run_after, id',
  ),
}
const DELAYED_STRAYS = {
  name: 'jobq_delayed_strays',
  text: besides(
    `grabbed_until BETWEEN 1 AND $2 AND run_after > $2
      AND (run_after, -priority::BIGINT, id) > ($4::BIGINT, $5::BIGINT, $6::BIGINT)`,
    'run_after, priority DESC, id',
  ),
}

interface Lane {
  funcId: number
  priority: number
}

interface Wanted {
  state: JobState
  funcIds: readonly number[]
  after: Key | null
  wanted: number
  now: number
}

/** The next jobs of one state behind a key, in their order: at least one if there is one, often about `wanted`. */
export async function keysOf(send: Send, {state, funcIds, after, wanted, now}: Wanted): Promise<Keys> {
  if (wanted === 0 || funcIds.length === 0) return {keys: [], end: null}
  const funcs = integers(funcIds)
  if (state === 'running') {
    const parts = await partsOf(send, RUNNING, [funcs, now, wanted, after?.id ?? -1], funcIds.length, byId)
    return merged(parts, wanted, byId)
  }
  const lanes = (await send(LANES, [funcs])).rows as unknown as Lane[]
  const from = after ?? {id: -1, priority: LAST, runAfter: -1}
  if (state === 'ready') {
    const place = [-from.priority, from.runAfter, from.id]
    const strays = await partsOf(send, READY_STRAYS, [funcs, now, wanted, ...place], funcIds.length, byOrder)
    return joined([await readyKeys(send, lanes, from, wanted, now), merged(strays, wanted, byOrder)], byOrder)
  }
  const place = [from.runAfter, -from.priority, from.id]
  const strays = await partsOf(send, DELAYED_STRAYS, [funcs, now, wanted, ...place], funcIds.length, byTime)
  // At the key's own time, lanes of a higher priority have been passed and those of a lower one are still to come
  const behind = (priority: number) =>
    priority === from.priority ? from.id : priority > from.priority ? LAST : -1
  const limit = share(wanted, lanes.length)
  const places = lanes.map(({priority}) => ({runAfter: from.runAfter, id: behind(priority)}))
  const parts = await laneKeys(send, DELAYED, lanes, places, limit, now, byTime)
  return joined([merged(parts, limit, byTime), merged(strays, wanted, byTime)], byTime)
}

/** From the highest priority down, of all functions: one lane at first, then twice as many at once each time. */
async function readyKeys(
  send: Send,
  all: readonly Lane[],
  from: Key,
  wanted: number,
  now: number,
): Promise<Keys> {
  const lanes = all.filter(lane => lane.priority <= from.priority).sort((a, b) => b.priority - a.priority)
  const keys: Key[] = []
  for (let at = 0, size = 1; at < lanes.length; size *= 2) {
    const limit = wanted - keys.length
    if (limit <= 0) return {keys, end: {priority: lanes[at - 1]!.priority, runAfter: LAST, id: LAST}}
    let until = Math.min(lanes.length, at + size)
    while (lanes[until]?.priority === lanes[until - 1]!.priority) until++ // no priority is cut in two
    const some = lanes.slice(at, until)
    const places = some.map(({priority}) => (priority === from.priority ? from : {runAfter: -1, id: -1}))
    const part = merged(await laneKeys(send, READY, some, places, limit, now, byOrder), limit, byOrder)
    keys.push(...part.keys)
    if (part.end) return {keys, end: part.end}
    at = until
  }
  return {keys, end: null}
}

function laneKeys(
  send: Send,
  statement: Statement,
  lanes: readonly Lane[],
  places: readonly {runAfter: number; id: number}[],
  limit: number,
  now: number,
  order: Order,
): Promise<Key[][]> {
  const values = [
    integers(lanes.map(({funcId}) => funcId)),
    integers(lanes.map(({priority}) => priority)),
    bigints(places.map(({runAfter}) => runAfter)),
    bigints(places.map(({id}) => id)),
    limit,
    now,
  ]
  return partsOf(send, statement, values, lanes.length, order)
}

/** Keys by the lane or function that they are of, each part in order. */
async function partsOf(
  send: Send,
  statement: Statement,
  values: readonly Value[],
  count: number,
  order: Order,
): Promise<Key[][]> {
  const parts = Array.from({length: count}, (): Key[] => [])
  for (const {nth, ...key} of (await send(statement, values)).rows as unknown as (Key & {nth: number})[])
    parts[nth - 1]!.push(key)
  for (const keys of parts) keys.sort(order)
  return parts
}
