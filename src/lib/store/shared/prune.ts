/**
 * Old rows of a log deleted, a few at a time: each time is a transaction of a few milliseconds, and between two of them
 * there is a pause of some of their length, so that who works is disturbed little.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../../jobs/clock.ts'
import type {Older} from '../store.ts'
import {nowOf, type Reading, rowsOf} from './reading.ts'
import type {Condition, Func, LogTable, ReadsSql, Sized} from './reads-sql.ts'
import {fitting} from './stretch.ts'

const ROWS = 200
/** A pause is so many times as long as what it follows. */
const PAUSES = 9

const TIMES = {exception_log: 'exception_time', job_status: 'job_end_time'}

/** The ids behind this one of the first few that are old. */
export function* oldRows<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {ago, func}: Older,
  after: number,
): Reading<Query, number[]> {
  const where: Condition[] = [
    ['log.id > ?', after],
    [`${TIMES[table]} < ?`, (yield* nowOf(sql)) - ago],
  ]
  if (func !== undefined) {
    const [named] = yield* rowsOf<Func, Query>(sql.named(func))
    if (!named) return []
    where.push(['func_id = ?', named.id])
  }
  const part = {order: 'ASC', limit: ROWS, offset: 0} as const
  return fitting(yield* rowsOf<Sized, Query>(sql.logSizes(table, where, part)))
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

/** @param remove deletes these rows, and says how many there were; null: only count. @yields how many each time */
export async function* pruned(
  old: (after: number) => Promise<number[]>,
  remove: ((ids: readonly number[]) => Promise<number>) | null,
): AsyncGenerator<number> {
  for (let after = 0; ; ) {
    const ids = await old(after)
    if (ids.length === 0) return
    after = ids.at(-1)!
    const since = monotonic()
    if (remove === null) yield ids.length
    else {
      yield await remove(ids)
      await sleep(PAUSES * (monotonic() - since))
    }
  }
}
