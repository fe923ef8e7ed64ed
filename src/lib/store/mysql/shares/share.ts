/**
 * What functions share on MySQL: @see ../../shared/shares/moves.ts. Who is at it has the function's row locked, as who counts
 * what runs of a function does (procedure.ts).
 */
import type {KeyLimits, Shared, ShareRequest} from '../../../jobs/shares/limits.ts'
import {
  type Facts,
  keysOf,
  LOOK_KEYS,
  type Moves,
  mostParked,
  movesOf,
  SWEPT_STARTS,
  seenKeys,
  UNSHARE_BATCH,
  WHOLE,
} from '../../shared/shares/moves.ts'
import type {SharedKeys} from '../../store.ts'
import {NEVER} from '../after.ts'
import {literal, type MysqlConnection, type Reply, type Row, textOf} from '../connections/connection.ts'

const ROWS = 'FROM jobq_share s FORCE INDEX (parked)'

/** As Store.share. */
export async function share(link: MysqlConnection, request: ShareRequest): Promise<Shared> {
  const [, found] = await link.batch([
    'START TRANSACTION',
    `SELECT id FROM func WHERE name = ${link.names.literal(request.func)} FOR UPDATE`,
  ])
  const funcId = Number(found!.rows[0]?.id ?? 0) // without a row there are no jobs
  const facts = await factsOf(link, funcId, request)
  const {moves, shared} = movesOf(request, facts)
  const {rate} = request.limits.perKey ?? {}
  const sweep = `DELETE FROM jobq_rate WHERE func_id = ${funcId} AND share_key <> ${literal(WHOLE)}
    AND last_ms <= ${facts.nowMs - (rate?.seconds ?? 0) * 1000} LIMIT ${SWEPT_STARTS}`
  await link.batch([...writes(funcId, moves), ...(rate ? [sweep] : []), 'COMMIT'])
  return shared
}

async function factsOf(link: MysqlConnection, funcId: number, request: ShareRequest): Promise<Facts> {
  const {limits, jobs} = request
  const keys = keysOf(request)
  const ofKey = (key: string) => `s.func_id = ${funcId} AND s.share_key = ${literal(key)}`
  const most = limits.perKey ? mostParked(limits.perKey) : 0
  const counted = [...(limits.rate ? [WHOLE] : []), ...(limits.perKey?.rate ? keys : [])]
  const held =
    jobs.length === 0
      ? 'DO 0'
      : `SELECT id, grabbed_until, run_after FROM job WHERE id IN (${jobs.map(({id}) => id)}) ORDER BY id FOR UPDATE`
  const letIn = keys.map(
    key => `SELECT s.share_key, s.job_id, j.priority, j.run_after,
        COALESCE(j.grabbed_until > UNIX_TIMESTAMP(), 0) AS is_leased,
        COALESCE(j.grabbed_until <= UNIX_TIMESTAMP() AND j.run_after <= UNIX_TIMESTAMP(), 0) AS is_ready
      ${ROWS} LEFT JOIN job j ON j.id = s.job_id WHERE ${ofKey(key)} AND is_parked = 0`,
  )
  const parked = keys.map(
    key => `SELECT s.share_key, s.job_id, -level AS priority, s.run_after,
        COALESCE(j.run_after = ${NEVER} AND j.grabbed_until = 0, 0) AS is_there
      ${ROWS} LEFT JOIN job j ON j.id = s.job_id WHERE ${ofKey(key)} AND is_parked = 1
      ORDER BY level, s.run_after, s.job_id LIMIT ${most}`,
  )
  const starts = counted.map(
    key => `SELECT share_key, first_ms, last_ms, starts FROM jobq_rate
      WHERE func_id = ${funcId} AND share_key = ${literal(key)} ORDER BY first_ms`,
  )
  const clock = 'SELECT FLOOR(UNIX_TIMESTAMP(NOW(3)) * 1000) AS ms'
  const [time, holds, ...others] = await link.batch([clock, held, ...letIn, ...parked, ...starts])
  const rowsOf = (replies: readonly Reply[]) => replies.flatMap(({rows}) => rows)
  const rows = new Map(holds!.rows.map(row => [Number(row.id), row]))
  const isHeld = ({id, grabbedUntil, runAfter}: (typeof jobs)[number]) =>
    Number(rows.get(id)?.grabbed_until) === grabbedUntil && Number(rows.get(id)?.run_after) === runAfter
  return {
    nowMs: Number(time!.rows[0]!.ms),
    held: new Set(jobs.filter(isHeld).map(({id}) => id)),
    letIn: rowsOf(others.slice(0, keys.length)).map(row => ({
      ...placeOf(row),
      isLeased: Number(row.is_leased) === 1,
      isReady: Number(row.is_ready) === 1,
    })),
    parked: rowsOf(others.slice(keys.length, 2 * keys.length)).map(row => ({
      ...placeOf(row),
      isThere: Number(row.is_there) === 1,
    })),
    starts: rowsOf(others.slice(2 * keys.length)).map(row => ({
      key: textOf(row.share_key),
      firstMs: Number(row.first_ms),
      lastMs: Number(row.last_ms),
      starts: Number(row.starts),
    })),
  }
}

function placeOf(row: Row): {key: string; id: number; priority: number; runAfter: number} {
  const [id, priority, runAfter] = [row.job_id, row.priority, row.run_after].map(Number) as [
    number,
    number,
    number,
  ]
  return {key: textOf(row.share_key), id, priority, runAfter}
}

function writes(funcId: number, {letIn, parked, called, back, gone, starts, expired}: Moves): string[] {
  const ids = (rows: readonly {id: number}[]) => rows.map(({id}) => id)
  const rows = [
    ...letIn.map(job => ({...job, isParked: 0, waitsFor: null})),
    ...parked.map(job => ({...job, isParked: 1})),
  ].map(
    ({id, key, isParked, waitsFor, priority, runAfter}) =>
      `(${[id, funcId, key, isParked, waitsFor, -priority, runAfter].map(literal)})`,
  )
  const spots = expired.map(({key, firstMs}) => `(${funcId}, ${literal(key)}, ${firstMs})`)
  const counts = starts.map(
    ({key, firstMs, lastMs, starts}) => `(${[funcId, key, firstMs, lastMs, starts].map(literal)})`,
  )
  // What was read of these jobs is locked
  return [
    gone.length > 0 && `DELETE FROM jobq_share WHERE job_id IN (${gone})`,
    back.length > 0 && `UPDATE job SET grabbed_until = 0 WHERE id IN (${ids(back)})`,
    parked.length > 0 &&
      `UPDATE job SET grabbed_until = 0, run_after = ${NEVER} WHERE id IN (${ids(parked)})`,
    rows.length > 0 &&
      `REPLACE INTO jobq_share (job_id, func_id, share_key, is_parked, waits_for, level, run_after) VALUES ${rows}`,
    called.length > 0 && `${CALL} AND s.job_id IN (${ids(called)})`,
    called.length > 0 &&
      `UPDATE jobq_share SET is_parked = 0, waits_for = NULL WHERE job_id IN (${ids(called)})`,
    spots.length > 0 && `DELETE FROM jobq_rate WHERE (func_id, share_key, first_ms) IN (${spots})`,
    counts.length > 0 &&
      `REPLACE INTO jobq_rate (func_id, share_key, first_ms, last_ms, starts) VALUES ${counts}`,
  ].filter(statement => statement !== false)
}

/** With the time that each has itself. */
const CALL = `UPDATE jobq_share s STRAIGHT_JOIN job j ON j.id = s.job_id SET j.run_after = s.run_after
  WHERE s.is_parked = 1 AND j.run_after = ${NEVER} AND j.grabbed_until = 0`

const KEYS_TOGETHER = 50
/**
 * From one key to the next: a seek each. DISTINCT would read all that is parked, and so would MIN behind what is no constant:
 * a user variable is none, unless it is handed to a prepared statement.
 */
const nextKeys = (funcId: number) => [
  `PREPARE jobq_keys FROM 'SELECT MIN(share_key) INTO @jobq_key FROM jobq_share FORCE INDEX (parked)
   WHERE func_id = ${funcId} AND share_key > ?'`,
  ...Array.from({length: KEYS_TOGETHER}, () => [
    'EXECUTE jobq_keys USING @jobq_key',
    'SELECT @jobq_key AS share_key',
  ]).flat(),
  'DEALLOCATE PREPARE jobq_keys',
]

/** As Store.sharedKeys. */
export async function sharedKeys(
  link: MysqlConnection,
  func: string,
  limits: KeyLimits,
  after: string,
): Promise<SharedKeys> {
  const [found] = (await link.run(`SELECT id FROM func WHERE name = ${link.names.literal(func)}`)).rows
  if (!found) return {keys: [], next: null}
  const funcId = Number(found.id)
  const steps = nextKeys(funcId)
  const keys: string[] = []
  for (let found = KEYS_TOGETHER; found === KEYS_TOGETHER && keys.length < LOOK_KEYS; ) {
    const walked = await link.batch([`SET @jobq_key = ${literal(keys.at(-1) ?? after)}`, ...steps])
    const some = walked.flatMap(({rows: [row]}) =>
      row && row.share_key !== null ? textOf(row.share_key) : [],
    )
    keys.push(...some)
    found = some.length
  }
  if (keys.length === 0) return {keys, next: null}
  const seen = await link.batch(
    keys.map(key => {
      const where = `WHERE s.func_id = ${funcId} AND s.share_key = ${literal(key)} AND is_parked =`
      return `SELECT EXISTS (SELECT 1 ${ROWS} ${where} 1) AS is_parked, (SELECT COUNT(*) ${ROWS} ${where} 0) AS let_in,
        (SELECT COUNT(*) ${ROWS} STRAIGHT_JOIN job j ON j.id = s.job_id ${where} 0 AND grabbed_until > UNIX_TIMESTAMP()) AS running`
    }),
  )
  const rows = seen.map(({rows}, i) => {
    const [isParked, letIn, running] = [rows[0]!.is_parked, rows[0]!.let_in, rows[0]!.running].map(
      Number,
    ) as [number, number, number]
    return {key: keys[i]!, isParked, letIn, running}
  })
  return seenKeys(rows, limits)
}

/** Functions that have rows. */
const sharedFuncs = (link: MysqlConnection, funcs: readonly string[]) => `SELECT id FROM func
  WHERE name IN (${funcs.map(func => link.names.literal(func))}) AND (
    EXISTS (SELECT 1 FROM jobq_share s WHERE s.func_id = func.id)
    OR EXISTS (SELECT 1 FROM jobq_rate r WHERE r.func_id = func.id AND share_key <> ${literal(WHOLE)}))`

/** As Store.unshare, where something may be. */
export async function isAnyShared(link: MysqlConnection, funcs: readonly string[]): Promise<boolean> {
  return funcs.length > 0 && (await link.run(sharedFuncs(link, funcs))).rows.length > 0
}

/** Some of what those functions share is given back. */
export async function unshare(link: MysqlConnection, funcs: readonly string[]): Promise<void> {
  const [, found] = await link.batch([
    'START TRANSACTION',
    `${sharedFuncs(link, funcs)} ORDER BY id FOR UPDATE`,
  ])
  const funcIds = found!.rows.map(({id}) => Number(id))
  const some = await link.batch([
    'DO 0',
    ...funcIds.map(id => `SELECT job_id ${ROWS} WHERE s.func_id = ${id} LIMIT ${UNSHARE_BATCH}`),
  ])
  const jobIds = some.flatMap(({rows}) => rows.map(row => Number(row.job_id)))
  await link.batch([
    ...(jobIds.length === 0
      ? []
      : [`${CALL} AND s.job_id IN (${jobIds})`, `DELETE FROM jobq_share WHERE job_id IN (${jobIds})`]),
    ...funcIds.map(
      id =>
        `DELETE FROM jobq_rate WHERE func_id = ${id} AND share_key <> ${literal(WHOLE)} LIMIT ${UNSHARE_BATCH}`,
    ),
    'COMMIT',
  ])
}

/** Within a transaction that has these jobs' rows locked: those that are parked go back into their lanes. */
export function unparking(ids: readonly number[]): string[] {
  return [
    `${CALL} AND s.job_id IN (${ids})`,
    `DELETE FROM jobq_share WHERE job_id IN (${ids}) AND is_parked = 1`,
  ]
}

/**
 * Within a transaction that has the job's row locked: if it is parked, it goes back into its lane, as it was; who takes it
 * next sees anew whether it may start. @returns its own run_after; undefined: it is not parked
 */
export async function unpark(link: MysqlConnection, id: number): Promise<number | undefined> {
  const [found] = await link.batch([
    `SELECT run_after FROM jobq_share WHERE job_id = ${id} AND is_parked = 1`,
    ...unparking([id]),
  ])
  const [row] = found!.rows
  return row && Number(row.run_after)
}
