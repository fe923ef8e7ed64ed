/** What functions share on SQLite, within a transaction: @see ../../shared/shares/moves.ts. */
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
import {NEVER} from '../after/edges.ts'
import type {SqliteConnection} from '../connection.ts'
import type {SqliteInsert} from '../insert.ts'

const LET_IN = `SELECT s.share_key AS key, s.job_id AS id, priority, j.run_after AS runAfter,
    coalesce(grabbed_until > $now, 0) AS isLeased, coalesce(grabbed_until <= $now AND j.run_after <= $now, 0) AS isReady
  FROM jobq_share s LEFT JOIN job j ON j.id = s.job_id WHERE s.func_id = $funcId AND s.share_key = $key AND is_parked = 0`
const PARKED = `SELECT s.share_key AS key, s.job_id AS id, -level AS priority, s.run_after AS runAfter,
    coalesce(j.run_after = ${NEVER} AND grabbed_until = 0, 0) AS isThere
  FROM (SELECT * FROM jobq_share WHERE func_id = $funcId AND share_key = $key AND is_parked = 1
    ORDER BY level, run_after, job_id LIMIT $most) s LEFT JOIN job j ON j.id = s.job_id`
const STARTS = `SELECT share_key AS key, first_ms AS firstMs, last_ms AS lastMs, starts FROM jobq_rate
  WHERE func_id = ? AND share_key = ? ORDER BY first_ms`
const WRITE_ROW = `INSERT OR REPLACE INTO jobq_share (job_id, func_id, share_key, is_parked, waits_for, level, run_after)
  VALUES (?, ?, ?, ?, ?, ?, ?)`
const FORGET = 'DELETE FROM jobq_share WHERE job_id = ?'
const PARK = `UPDATE job SET grabbed_until = 0, run_after = ${NEVER} WHERE id = ? AND grabbed_until = ?`
const CALL = `UPDATE job SET run_after = ? WHERE id = ? AND run_after = ${NEVER} AND grabbed_until = 0`
const SWEEP = `DELETE FROM jobq_rate WHERE rowid IN (SELECT rowid FROM jobq_rate
  WHERE func_id = ? AND last_ms <= ? AND share_key <> '${WHOLE}' LIMIT ${SWEPT_STARTS})`

/** As Store.share. */
export function share(link: SqliteConnection, inserts: SqliteInsert, request: ShareRequest): Shared {
  const funcId = inserts.findFuncId(request.func) ?? -1 // without a row there are no jobs
  const facts = factsOf(link, funcId, request)
  const {moves, shared} = movesOf(request, facts)
  write(link, funcId, moves)
  const {rate} = request.limits.perKey ?? {}
  if (rate) link.sql(SWEEP).run(funcId, facts.nowMs - rate.seconds * 1000)
  return shared
}

function factsOf(link: SqliteConnection, funcId: number, request: ShareRequest): Facts {
  const {limits, jobs} = request
  const now = link.now()
  const keys = keysOf(request)
  const held = link.pluck('SELECT 1 FROM job WHERE id = ? AND grabbed_until = ? AND run_after = ?')
  const ofEach = <Row>(sql: string, values: object) =>
    keys.flatMap(key => link.sql(sql).all({funcId, key, ...values}) as Row[])
  const counted = [...(limits.rate ? [WHOLE] : []), ...(limits.perKey?.rate ? keys : [])]
  return {
    nowMs: link.nowMs(),
    held: new Set(
      jobs.flatMap(({id, grabbedUntil, runAfter}) => (held.get(id, grabbedUntil, runAfter) ? id : [])),
    ),
    letIn: ofEach<LetIn>(LET_IN, {now}),
    parked: ofEach<ParkedRow>(PARKED, {most: limits.perKey ? mostParked(limits.perKey) : 0}),
    starts: counted.flatMap(key => link.sql(STARTS).all(funcId, key) as Starts[]),
  }
}

function write(link: SqliteConnection, funcId: number, moves: Moves): void {
  link.arrivals++
  for (const id of moves.gone) link.sql(FORGET).run(id)
  for (const {id, grabbedUntil} of moves.back)
    link.sql('UPDATE job SET grabbed_until = 0 WHERE id = ? AND grabbed_until = ?').run(id, grabbedUntil)
  for (const {id, key, priority, runAfter} of moves.letIn)
    link.sql(WRITE_ROW).run(id, funcId, key, 0, null, -priority, runAfter)
  for (const {id, key, waitsFor, grabbedUntil, priority, runAfter} of moves.parked) {
    link.sql(PARK).run(id, grabbedUntil)
    link.sql(WRITE_ROW).run(id, funcId, key, 1, waitsFor, -priority, runAfter)
  }
  for (const {id, runAfter} of moves.called) {
    link.sql(CALL).run(runAfter, id)
    link.sql('UPDATE jobq_share SET is_parked = 0, waits_for = NULL WHERE job_id = ?').run(id)
  }
  for (const {key, firstMs} of moves.expired)
    link
      .sql('DELETE FROM jobq_rate WHERE func_id = ? AND share_key = ? AND first_ms = ?')
      .run(funcId, key, firstMs)
  for (const {key, firstMs, lastMs, starts} of moves.starts)
    link
      .sql(
        'INSERT OR REPLACE INTO jobq_rate (func_id, share_key, first_ms, last_ms, starts) VALUES (?, ?, ?, ?, ?)',
      )
      .run(funcId, key, firstMs, lastMs, starts)
}

/** From one key to the next: a seek each. */
const KEYS = `WITH RECURSIVE each (key) AS (
    SELECT min(share_key) FROM jobq_share WHERE func_id = $funcId AND share_key > $after
    UNION ALL SELECT (SELECT min(share_key) FROM jobq_share WHERE func_id = $funcId AND share_key > each.key)
    FROM each WHERE each.key IS NOT NULL LIMIT ${LOOK_KEYS})
  SELECT key, EXISTS (SELECT 1 FROM jobq_share WHERE func_id = $funcId AND share_key = key AND is_parked = 1) AS isParked,
    (SELECT count(*) FROM jobq_share WHERE func_id = $funcId AND share_key = key AND is_parked = 0) AS letIn,
    (SELECT count(*) FROM jobq_share s JOIN job j ON j.id = s.job_id
      WHERE s.func_id = $funcId AND s.share_key = key AND is_parked = 0 AND grabbed_until > $now) AS running
  FROM each WHERE key IS NOT NULL`

/** As Store.sharedKeys. */
export function sharedKeys(
  link: SqliteConnection,
  inserts: SqliteInsert,
  func: string,
  limits: KeyLimits,
  after: string,
): SharedKeys {
  const funcId = inserts.findFuncId(func)
  if (funcId === undefined) return {keys: [], next: null}
  return seenKeys(link.sql(KEYS).all({funcId, after, now: link.now()}) as SeenKey[], limits)
}

const SOME = `SELECT job_id AS id, is_parked AS isParked, run_after AS runAfter FROM jobq_share
  WHERE func_id = ? LIMIT ${UNSHARE_BATCH}`
const SOME_STARTS = `DELETE FROM jobq_rate WHERE rowid IN (SELECT rowid FROM jobq_rate
  WHERE func_id = ? AND share_key <> '${WHOLE}' LIMIT ${UNSHARE_BATCH})`
const IS_SHARED = `SELECT EXISTS (SELECT 1 FROM jobq_share WHERE func_id = $funcId)
  OR EXISTS (SELECT 1 FROM jobq_rate WHERE func_id = $funcId AND share_key > '${WHOLE}')`

/** As Store.unshare. Only reads where there is nothing to write. */
export async function unshare(
  link: SqliteConnection,
  inserts: SqliteInsert,
  funcs: readonly string[],
): Promise<boolean> {
  const shared = () =>
    funcs
      .map(func => inserts.findFuncId(func))
      .filter(funcId => funcId !== undefined && link.pluck(IS_SHARED).get({funcId}) === 1)
  if ((await link.read(shared)).length === 0) return false
  await link.write(() => {
    link.arrivals++
    for (const funcId of shared()) {
      const rows = link.sql(SOME).all(funcId) as {id: number; isParked: number; runAfter: number}[]
      for (const {id, isParked, runAfter} of rows) {
        if (isParked) link.sql(CALL).run(runAfter, id)
        link.sql(FORGET).run(id)
      }
      link.sql(SOME_STARTS).run(funcId)
    }
  })
  return true
}

/**
 * A job that is parked goes back into its lane, as it was: who takes it next sees anew whether it may start.
 * @returns its own run_after; undefined: it is not parked
 */
export function unpark(link: SqliteConnection, id: number): number | undefined {
  const sql = 'SELECT run_after FROM jobq_share WHERE job_id = ? AND is_parked = 1'
  const runAfter = link.pluck(sql).get(id) as number | undefined
  if (runAfter === undefined || link.sql(CALL).run(runAfter, id).changes === 0) return undefined
  link.sql(FORGET).run(id)
  return runAfter
}
