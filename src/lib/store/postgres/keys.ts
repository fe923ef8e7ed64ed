/** The order of a listing on PostgreSQL: keys of jobs by the index jobq_lane, lanes merged as they are wanted. */
import type {JobState} from '../../jobs/job.ts'
import {
  type Ask,
  answeredLater,
  delayedOf,
  type JobPlace,
  type Key,
  LAST,
  type Lane,
  ORDERS,
  readyOf,
  wantedAt,
  withKeys,
} from '../shared/keys.ts'
import {bigints, integers} from './arrays.ts'
import type {Send, Statement, Value} from './connections.ts'

/** Ids that JavaScript can't hold are none that it could find again. By the index jobq_lane, whatever the planner thinks. */
const HAS_ID = `id + 0 <= ${LAST}`
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
    WHERE func_id = lane.func_id AND grabbed_until = 0 AND priority = lane.priority AND ${HAS_ID}
      AND (run_after, id) > (lane.run_after, lane.id) AND ${due}
    ORDER BY run_after, id LIMIT $5) j`
const READY = {name: 'jobq_ready', text: inLanes('run_after <= $6')}
const DELAYED = {name: 'jobq_delayed', text: inLanes('run_after > $6')}
/** Jobs that are in no lane, in any order. $1 functions, $2 now. */
const besides = (conditions: readonly string[]) =>
  conditions
    .map(
      condition => `SELECT j.id, j.priority, j.run_after AS "runAfter" FROM unnest($1::INTEGER[]) AS f (func_id)
        CROSS JOIN LATERAL (SELECT id, priority, run_after FROM job
          WHERE func_id = f.func_id AND ${condition} AND ${HAS_ID}) j`,
    )
    .join(' UNION ALL ')
/** Leases that ran out, and times before all times, which another program may have written. */
const strays = (due: string) =>
  besides([`grabbed_until > 0 AND grabbed_until <= $2 AND ${due}`, `grabbed_until < 0 AND ${due}`])
const BESIDE_LANES: Record<JobState, Statement> = {
  running: {name: 'jobq_running', text: besides(['grabbed_until > $2'])},
  ready: {name: 'jobq_ready_strays', text: strays('run_after <= $2')},
  delayed: {name: 'jobq_delayed_strays', text: strays('run_after > $2')},
}

/** Keys are read until there are some, or no more of this state. */
export async function readAhead(
  send: Send,
  place: JobPlace,
  funcIds: () => Promise<readonly number[]>,
): Promise<JobPlace> {
  let here = place
  if (here.ids.length > 0 || !here.hasMore) return here
  const funcs = integers(await funcIds())
  while (here.ids.length === 0 && here.hasMore) here = await read(send, here, funcs)
  return here
}

async function read(send: Send, place: JobPlace, funcs: Value): Promise<JobPlace> {
  const {state, after, now} = place
  const aside = place.aside ?? (await rows<Key>(send, BESIDE_LANES[state], [funcs, now])).sort(ORDERS[state])
  if (state === 'running') return withKeys(place, {keys: [], end: null}, aside)
  const lanes = await rows<Lane>(send, LANES, [funcs])
  const wanted = wantedAt(place, lanes.length)
  const inLanes =
    state === 'ready'
      ? await answeredLater(readyOf(lanes, after, wanted), ask => laneKeys(send, READY, ask, now))
      : await answeredLater(delayedOf(lanes, after, wanted), ask => laneKeys(send, DELAYED, ask, now))
  return withKeys(place, inLanes, aside)
}

async function laneKeys(
  send: Send,
  statement: Statement,
  {lanes, limit}: Ask,
  now: number,
): Promise<Key[][]> {
  const parts = lanes.map((): Key[] => [])
  const found = await rows<Key & {nth: number}>(send, statement, [
    integers(lanes.map(({lane}) => lane.funcId)),
    integers(lanes.map(({lane}) => lane.priority)),
    bigints(lanes.map(({behind}) => behind.runAfter)),
    bigints(lanes.map(({behind}) => behind.id)),
    limit,
    now,
  ])
  for (const {nth, ...key} of found) parts[nth - 1]!.push(key)
  for (const keys of parts) keys.sort((a, b) => a.runAfter - b.runAfter || a.id - b.id)
  return parts
}

async function rows<Row>(send: Send, statement: Statement, values: readonly Value[]): Promise<Row[]> {
  return (await send(statement, values)).rows as Row[]
}
