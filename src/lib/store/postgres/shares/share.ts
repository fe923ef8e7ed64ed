/**
 * What functions share on PostgreSQL: @see ../../shared/shares/moves.ts. One at a time is at it for a function, by an advisory
 * lock that ends with the transaction.
 */
import type {KeyLimits, Shared, ShareRequest} from '../../../jobs/shares/limits.ts'
import {
  type Facts,
  keysOf,
  type LetIn,
  LOOK_KEYS,
  type Moves,
  mostParked,
  movesOf,
  type ParkedRow,
  type SeenKey,
  type Starts,
  SWEPT_STARTS,
  seenKeys,
  UNSHARE_BATCH,
  WHOLE,
} from '../../shared/shares/moves.ts'
import type {SharedKeys} from '../../store.ts'
import {NEVER} from '../after.ts'
import {bigints, booleans, texts} from '../arrays.ts'
import {
  NOW,
  type PostgresConnections,
  type Send,
  type Statement,
  type Value,
} from '../connections/connections.ts'

const LOCK = {
  name: 'jobq_share_lock',
  text: `SELECT id, pg_advisory_xact_lock('jobq_share'::REGCLASS::OID::INTEGER, id) FROM func WHERE name = $1::VARCHAR`,
}
const CLOCK = {
  name: 'jobq_share_clock',
  text: 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT AS ms',
}
const HELD = {
  name: 'jobq_share_held',
  text: `SELECT j.id FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS given (id, mine, run_after) JOIN job j ON j.id = given.id
    WHERE j.grabbed_until + 0 = mine AND j.run_after + 0 = given.run_after FOR UPDATE OF j`,
}
/** $1 is the function in these, $2 keys. OFFSET 0, LIMIT or ORDER BY: each key is sought, whatever the planner thinks. */
const OF_KEYS = 'FROM unnest($2::TEXT[]) AS given (key) CROSS JOIN LATERAL'
const OF_KEY = 'FROM jobq_share s WHERE s.func_id = $1 AND s.share_key = given.key AND'
const LET_IN = {
  name: 'jobq_share_let_in',
  text: `SELECT given.key, s.job_id AS id, coalesce(j.priority, 0) AS priority, coalesce(j.run_after, 0) AS "runAfter",
      coalesce(j.grabbed_until > ${NOW}, FALSE) AS "isLeased",
      coalesce(j.grabbed_until <= ${NOW} AND j.run_after <= ${NOW}, FALSE) AS "isReady"
    ${OF_KEYS} (SELECT s.job_id ${OF_KEY} NOT s.is_parked OFFSET 0) s LEFT JOIN job j ON j.id = s.job_id`,
}
const PARKED = {
  name: 'jobq_share_parked',
  text: `SELECT given.key, s.job_id AS id, -s.level AS priority, s.run_after AS "runAfter",
      coalesce(j.run_after = ${NEVER} AND j.grabbed_until = 0, FALSE) AS "isThere"
    ${OF_KEYS} (SELECT s.job_id, s.level, s.run_after ${OF_KEY} s.is_parked
      ORDER BY s.level, s.run_after, s.job_id LIMIT $3) s LEFT JOIN job j ON j.id = s.job_id`,
}
const STARTS = {
  name: 'jobq_share_starts',
  text: `SELECT given.key, r.first_ms AS "firstMs", r.last_ms AS "lastMs", r.starts ${OF_KEYS} (
      SELECT first_ms, last_ms, starts FROM jobq_rate WHERE func_id = $1 AND share_key = given.key ORDER BY first_ms) r`,
}
const FORGET = {name: 'jobq_share_forget', text: 'DELETE FROM jobq_share WHERE job_id = ANY ($1::BIGINT[])'}
const GIVE_BACK = {
  name: 'jobq_share_back',
  text: 'UPDATE job SET grabbed_until = 0 WHERE id = ANY ($1::BIGINT[])',
}
const PARK = {
  name: 'jobq_share_park',
  text: `UPDATE job SET grabbed_until = 0, run_after = ${NEVER} WHERE id = ANY ($1::BIGINT[])`,
}
const WRITE_ROWS = {
  name: 'jobq_share_write',
  text: `INSERT INTO jobq_share (func_id, job_id, share_key, is_parked, waits_for, level, run_after)
    SELECT $1, e.job_id, e.key, e.is_parked, e.waits_for, e.level, e.run_after::INTEGER
    FROM unnest($2::BIGINT[], $3::TEXT[], $4::BOOLEAN[], $5::TEXT[], $6::BIGINT[], $7::BIGINT[])
      AS e (job_id, key, is_parked, waits_for, level, run_after)
    ON CONFLICT (job_id) DO UPDATE SET func_id = excluded.func_id, share_key = excluded.share_key,
      is_parked = excluded.is_parked, waits_for = excluded.waits_for, level = excluded.level, run_after = excluded.run_after`,
}
/** With the time that each has itself. */
const CALL = {
  name: 'jobq_share_call',
  text: `UPDATE job j SET run_after = s.run_after FROM jobq_share s
    WHERE s.job_id = ANY ($1::BIGINT[]) AND s.is_parked AND j.id = s.job_id AND j.run_after = ${NEVER} AND j.grabbed_until = 0`,
}
const CALLED = {
  name: 'jobq_share_called',
  text: 'UPDATE jobq_share SET is_parked = FALSE, waits_for = NULL WHERE job_id = ANY ($1::BIGINT[])',
}
const EXPIRE = {
  name: 'jobq_rate_expire',
  text: `DELETE FROM jobq_rate WHERE ctid = ANY (ARRAY(
      SELECT r.ctid FROM unnest($2::TEXT[], $3::BIGINT[]) AS e (key, first_ms) CROSS JOIN LATERAL (
        SELECT ctid FROM jobq_rate WHERE func_id = $1 AND share_key = e.key AND first_ms = e.first_ms OFFSET 0) r))`,
}
const COUNT = {
  name: 'jobq_rate_count',
  text: `INSERT INTO jobq_rate (func_id, share_key, first_ms, last_ms, starts)
    SELECT $1, e.* FROM unnest($2::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[]) AS e (key, first_ms, last_ms, starts)
    ON CONFLICT (func_id, share_key, first_ms) DO UPDATE SET last_ms = excluded.last_ms, starts = excluded.starts`,
}
const SOME_STARTS = (condition: string, most: number) => `DELETE FROM jobq_rate WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM jobq_rate WHERE func_id = $1 AND share_key <> '${WHOLE}' ${condition} LIMIT ${most}))`
const SWEEP = {name: 'jobq_rate_sweep', text: SOME_STARTS('AND last_ms <= $2', SWEPT_STARTS)}

/** As Store.share. */
export function share(link: PostgresConnections, request: ShareRequest): Promise<Shared> {
  return link.transaction(async send => {
    const [found] = (await send(LOCK, [request.func])).rows
    const funcId = Number(found?.id ?? 0) // without a row there are no jobs
    const facts = await factsOf(send, funcId, request)
    const {moves, shared} = movesOf(request, facts)
    const {rate} = request.limits.perKey ?? {}
    await Promise.all([
      ...writes(funcId, moves).map(([statement, values]) => send(statement, values)),
      ...(rate ? [send(SWEEP, [funcId, facts.nowMs - rate.seconds * 1000])] : []),
    ])
    return shared
  })
}

async function factsOf(send: Send, funcId: number, request: ShareRequest): Promise<Facts> {
  const {limits, jobs} = request
  const keys = keysOf(request)
  const counted = [...(limits.rate ? [WHOLE] : []), ...(limits.perKey?.rate ? keys : [])]
  const ids = bigints(jobs.map(({id}) => id))
  const leases = bigints(jobs.map(({grabbedUntil}) => grabbedUntil))
  const times = bigints(jobs.map(({runAfter}) => runAfter))
  const [clock, held, letIn, parked, starts] = await Promise.all([
    send(CLOCK),
    send(HELD, [ids, leases, times]),
    send(LET_IN, [funcId, texts(keys)]),
    send(PARKED, [funcId, texts(keys), limits.perKey ? mostParked(limits.perKey) : 0]),
    send(STARTS, [funcId, texts(counted)]),
  ])
  return {
    nowMs: Number(clock.rows[0]!.ms),
    held: new Set(held.rows.map(({id}) => Number(id))),
    letIn: letIn.rows as unknown as LetIn[],
    parked: parked.rows as unknown as ParkedRow[],
    starts: starts.rows as unknown as Starts[],
  }
}

function writes(funcId: number, moves: Moves): [Statement, Value[]][] {
  const {letIn, parked, called, back, gone, starts, expired} = moves
  const ids = (rows: readonly {id: number}[]) => [bigints(rows.map(({id}) => id))]
  const rows = [
    ...letIn.map(job => ({...job, isParked: false, waitsFor: null})),
    ...parked.map(job => ({...job, isParked: true})),
  ]
  const all: [number, Statement, Value[]][] = [
    [gone.length, FORGET, [bigints(gone)]],
    [back.length, GIVE_BACK, ids(back)],
    [parked.length, PARK, ids(parked)],
    [
      rows.length,
      WRITE_ROWS,
      [
        funcId,
        ...ids(rows),
        texts(rows.map(({key}) => key)),
        booleans(rows.map(({isParked}) => isParked)),
        texts(rows.map(({waitsFor}) => waitsFor)),
        bigints(rows.map(({priority}) => -priority)),
        bigints(rows.map(({runAfter}) => runAfter)),
      ],
    ],
    [called.length, CALL, ids(called)],
    [called.length, CALLED, ids(called)],
    [
      expired.length,
      EXPIRE,
      [funcId, texts(expired.map(({key}) => key)), bigints(expired.map(({firstMs}) => firstMs))],
    ],
    [
      starts.length,
      COUNT,
      [
        funcId,
        texts(starts.map(({key}) => key)),
        bigints(starts.map(({firstMs}) => firstMs)),
        bigints(starts.map(({lastMs}) => lastMs)),
        bigints(starts.map(row => row.starts)),
      ],
    ],
  ]
  return all.flatMap(([count, statement, values]) => (count > 0 ? [[statement, values]] : []))
}

/** From one key to the next: a seek each. */
const KEYS = {
  name: 'jobq_share_keys',
  text: `WITH RECURSIVE each_key (id, key) AS (
      SELECT f.id, (SELECT s.share_key FROM jobq_share s WHERE s.func_id = f.id AND s.share_key > $2::VARCHAR
        ORDER BY s.share_key LIMIT 1) FROM func f WHERE f.name = $1::VARCHAR
      UNION ALL SELECT k.id, (SELECT s.share_key FROM jobq_share s WHERE s.func_id = k.id AND s.share_key > k.key
        ORDER BY s.share_key LIMIT 1) FROM each_key k WHERE k.key IS NOT NULL)
    SELECT key, EXISTS (SELECT FROM jobq_share s WHERE s.func_id = k.id AND s.share_key = k.key AND s.is_parked) AS "isParked",
      (SELECT count(*) FROM jobq_share s WHERE s.func_id = k.id AND s.share_key = k.key AND NOT s.is_parked) AS "letIn",
      (SELECT count(*) FROM jobq_share s JOIN job j ON j.id = s.job_id WHERE s.func_id = k.id AND s.share_key = k.key
        AND NOT s.is_parked AND j.grabbed_until > ${NOW}) AS running
    FROM each_key k WHERE key IS NOT NULL LIMIT ${LOOK_KEYS}`,
}

/** As Store.sharedKeys. */
export async function sharedKeys(
  link: PostgresConnections,
  func: string,
  limits: KeyLimits,
  after: string,
): Promise<SharedKeys> {
  return seenKeys((await link.run(KEYS, [func, after], true)).rows as unknown as SeenKey[], limits)
}

const SHARED = {
  name: 'jobq_shared',
  text: `SELECT id, name FROM func WHERE name = ANY ($1::TEXT[]) AND (
    EXISTS (SELECT FROM jobq_share s WHERE s.func_id = func.id)
    OR EXISTS (SELECT FROM jobq_rate r WHERE r.func_id = func.id AND r.share_key > '${WHOLE}'))`,
}
const SOME = {
  name: 'jobq_share_some',
  text: `SELECT job_id AS id FROM jobq_share WHERE func_id = $1 LIMIT ${UNSHARE_BATCH}`,
}
const FORGET_STARTS = {name: 'jobq_rate_forget', text: SOME_STARTS('', UNSHARE_BATCH)}

/** As Store.unshare. */
export async function unshare(link: PostgresConnections, funcs: readonly string[]): Promise<boolean> {
  const found = (await link.run(SHARED, [texts(funcs)], true)).rows
  for (const {id, name} of found)
    await link.transaction(async send => {
      await send(LOCK, [String(name)])
      const ids = bigints((await send(SOME, [Number(id)])).rows.map(row => Number(row.id)))
      await Promise.all([send(CALL, [ids]), send(FORGET, [ids]), send(FORGET_STARTS, [Number(id)])])
    })
  return found.length > 0
}

/**
 * Of a job whose row is locked: if it is parked, it goes back into its lane, as it was; who takes it next sees anew whether it
 * may start. @returns whether it was
 */
const UNPARK = {
  name: 'jobq_unpark',
  text: `WITH mine AS (DELETE FROM jobq_share WHERE job_id = $1::BIGINT AND is_parked RETURNING job_id, run_after)
    UPDATE job j SET run_after = mine.run_after FROM mine WHERE j.id = mine.job_id AND j.run_after = ${NEVER} RETURNING 1`,
}

export async function unpark(send: Send, id: number): Promise<boolean> {
  return (await send(UNPARK, [id])).rows.length > 0
}
