/**
 * Old rows of a log deleted, a few at a time: each time is a transaction of a few milliseconds, and between two of them
 * there is a pause of some of their length, so that who works is disturbed little.
 */
import {monotonic} from '../../jobs/clock.ts'
import type {AttemptRow} from '../../jobs/rows/history.ts'
import type {Older} from '../store.ts'
import {nowOf, type Reading, rowsOf, textOf} from './reads/reading.ts'
import type {Condition, Func, LogTable, OutputKey, ReadsSql, Sized} from './reads/sql.ts'
import {fitting, STRETCH_ROWS} from './reads/stretch.ts'

const ROWS = 200
/**
 * A transaction is to take so long: where a server or its disk is slow, fewer rows go at once (measured on MariaDB with a
 * million of them: 14 ms for 200 at the median, 36 at the 99th percentile).
 */
const WANTED_MS = 8
const LEAST_ROWS = 10
/** A pause is so many times as long as what it follows. */
const PAUSES = 9

const NONE: Old = {ids: [], next: null}
const TIMES = {exception_log: 'exception_time', job_status: 'job_end_time'}

/** Some that are old, and behind which id the next are; null: there are no more. */
export interface Old {
  ids: number[]
  next: number | null
}

/** Behind this id, the first few rows of a log that are old. */
export function* oldRows<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {ago, func}: Older,
  after: number,
): Reading<Query, Old> {
  const where: Condition[] = [
    ['log.id > ?', after],
    [`${TIMES[table]} < ?`, Math.max(0, (yield* nowOf(sql)) - ago)],
  ]
  if (func !== undefined) {
    const [named] = yield* rowsOf<Func, Query>(sql.named(func))
    if (!named) return NONE
    where.push(['func_id = ?', named.id])
  }
  const part = {order: 'ASC', limit: ROWS, offset: 0} as const
  const ids = fitting(yield* rowsOf<Sized, Query>(sql.logSizes(table, where, part)))
  return {ids, next: ids.at(-1) ?? null}
}

/** Kept for its output alone: it belongs to no row of a log. As besideLog says, no row is to be sought by this. */
export const LONELY = 'exception_id + 0 IS NULL AND status_id + 0 IS NULL'

/**
 * Behind this id, outputs of such attempts that are old: of jobs that died and ran again with exception_log, of those that
 * were done with job_status. Read by their ids, since attempts have no index for it.
 */
export function* oldOutputs<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {ago, func}: Older,
  after: number,
): Reading<Query, Old> {
  const before = (yield* nowOf(sql)) - ago
  const [named] = func === undefined ? [] : yield* rowsOf<Func, Query>(sql.named(func))
  if (func !== undefined && !named) return NONE
  const rows = yield* rowsOf<OutputKey, Query>(sql.outputKeys(after, STRETCH_ROWS))
  const isOld = ({outcome, funcId, endedAt}: OutputKey) =>
    outcome !== null &&
    (textOf(outcome) === DIED) === (table === 'exception_log') &&
    endedAt! < before &&
    (named === undefined || named.id === funcId)
  return {ids: rows.filter(isOld).map(({id}) => id), next: rows.at(-1)?.id ?? null}
}
const DIED: AttemptRow['outcome'] = 'died'

/** Of jobq_attempt: which row of the log is its. */
export function logColumn(table: LogTable): 'exception_id' | 'status_id' {
  return table === 'exception_log' ? 'exception_id' : 'status_id'
}

/**
 * What becomes of jobq_attempt: a row leaves with the last that it belongs to.
 * @returns the column of the ids, and a condition: it belongs to nothing else. By its index no row is to be sought: nearly
 * all may be so, which held a lock for 180 ms
 */
export function besideLog(table: LogTable): {column: string; isAll: string} {
  return table === 'exception_log'
    ? {column: 'exception_id', isAll: 'status_id + 0 IS NULL'}
    : {column: 'status_id', isAll: 'exception_id + 0 IS NULL'}
}

/**
 * @param remove deletes these rows, and says how many there were; null: only count
 * @param signal ends it between two transactions, in a pause, too
 * @yields how many each time
 */
export async function* pruned(
  old: (after: number) => Promise<Old>,
  remove: ((ids: readonly number[]) => Promise<number>) | null,
  signal?: AbortSignal,
): AsyncGenerator<number> {
  let most = ROWS
  for (let after: number | null = 0; !signal?.aborted; ) {
    const {ids, next}: Old = await old(after)
    if (next === null) return
    after = next
    if (remove === null && ids.length > 0) yield ids.length
    if (remove === null) continue
    for (let i = 0; i < ids.length && !signal?.aborted; ) {
      const some = ids.slice(i, i + most)
      i += some.length
      const since = monotonic()
      yield await remove(some)
      const took = monotonic() - since
      most = Math.max(LEAST_ROWS, Math.min(ROWS, 2 * most, Math.round((some.length * WANTED_MS) / took)))
      await pause(PAUSES * took, signal)
    }
  }
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    const {setTimeout: sleep} = await import('node:timers/promises')
    await sleep(ms, undefined, signal && {signal})
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}
