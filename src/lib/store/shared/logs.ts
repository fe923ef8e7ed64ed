/** exception_log and job_status, by id: ids and sizes first, then as many rows as fit into a stretch. */
import type {ExceptionRow, ExceptionState, FinalStatus, StatusRow} from '../../jobs/job.ts'
import type {Choice, ExceptionPage, LogTable, Page} from '../store.ts'
import {nowOf, numberOf, type Reading, rowsOf, textOf} from './reading.ts'
import {
  type Condition,
  checkedId,
  type Func,
  type Greatest,
  type Link,
  type ReadsSql,
  type Sized,
} from './reads-sql.ts'
import {fitting, STRETCH_ROWS, type Stretch} from './stretch.ts'

/** Where a listing of a log goes on: behind this id. Rows newer than `newest` came after it began. */
export interface LogPlace {
  newest: number
  after: number
  left: number
  /** Of which function; null: there is none of this name. */
  funcId: number | null | undefined
}

type LogRow = Record<string, unknown> & {id: number; funcId: number; arg: Uint8Array | null}

export function* exceptions<Query>(
  sql: ReadsSql<Query>,
  page: ExceptionPage,
  place: LogPlace | null,
): Reading<Query, Stretch<ExceptionRow, LogPlace>> {
  const {id, unretried, since} = page
  const where: Condition[] = []
  if (id !== undefined) where.push(['log.id = ?', id])
  if (unretried) where.push(['retried = ?', 0])
  if (since !== undefined)
    where.push(['exception_time >= ?', 'at' in since ? since.at : (yield* nowOf(sql)) - since.ago])
  const {rows, next} = yield* stretch(sql, 'exception_log', where, page, place)
  const linkOf = yield* links(sql, 'exception_log', rows)
  return {
    rows: rows.map(row => ({
      ...common(row, linkOf.get(row.id)),
      exceptionTime: numberOf(row.exceptionTime),
      message: textOf(row.message ?? ''),
      retried: row.retried !== 0,
      state: row.retried === 0 ? stateOf(linkOf.get(row.id)) : 'retried',
    })),
    next,
  }
}

export function* statuses<Query>(
  sql: ReadsSql<Query>,
  page: Page,
  place: LogPlace | null,
): Reading<Query, Stretch<StatusRow, LogPlace>> {
  const {rows, next} = yield* stretch(sql, 'job_status', [], {...page, oldestFirst: false}, place)
  const linkOf = yield* links(sql, 'job_status', rows)
  return {
    rows: rows.map(row => ({
      ...common(row, linkOf.get(row.id)),
      status: textOf(row.status) as FinalStatus,
      jobStartTime: numberOf(row.jobStartTime),
      jobEndTime: numberOf(row.jobEndTime),
    })),
    next,
  }
}

export function* logCount<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {func, uniqkey}: Choice,
): Reading<Query, number> {
  const [named] = func === undefined ? [] : yield* rowsOf<Func, Query>(sql.named(func))
  if (func !== undefined && !named) return 0
  const [row] = yield* rowsOf<{jobs: number}, Query>(sql.logCount(table, chosenRows(named?.id, uniqkey)))
  return row!.jobs
}

function common({id, funcId, func, uniqkey, arg}: LogRow, link: Link | undefined) {
  const jobId = link?.jobId ?? null
  return {id, jobId, funcId, func: textOf(func), uniqkey: uniqkey === null ? null : textOf(uniqkey), arg}
}

/** Whose attempts these rows are, by their ids. */
function* links<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  rows: readonly LogRow[],
): Reading<Query, Map<number, Link>> {
  const query =
    rows.length === 0
      ? null
      : sql.links(
          table,
          rows.map(({id}) => id),
        )
  const found = query === null ? [] : yield* rowsOf<Link, Query>(query)
  return new Map(found.map(link => [link.id, link]))
}

function stateOf(link: Link | undefined): ExceptionState {
  if (!link || link.isLast) return 'failed'
  return link.isThere ? 'retrying' : 'earlier'
}

function* stretch<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  more: readonly Condition[],
  page: ExceptionPage,
  place: LogPlace | null,
): Reading<Query, Stretch<LogRow, LogPlace>> {
  const {uniqkey, oldestFirst} = page
  const begun = place ?? (yield* firstPlace(sql, table, page))
  const {newest, after, left, funcId} = begun
  if (funcId === null) return {rows: [], next: null}
  const where: Condition[] = [[`log.id ${oldestFirst ? '>' : '<'} ?`, after]]
  if (oldestFirst) where.push(['log.id <= ?', newest])
  where.push(...chosenRows(funcId, uniqkey))
  const limit = Math.min(STRETCH_ROWS, left)
  const part = {order: oldestFirst ? 'ASC' : 'DESC', limit, offset: place ? 0 : page.offset} as const
  const sized = yield* rowsOf<Sized, Query>(sql.logSizes(table, [...where, ...more], part))
  if (sized.length === 0) return {rows: [], next: null}
  const ids = fitting(sized)
  const found = yield* rowsOf<LogRow, Query>(sql.logRows(table, ids))
  const byId = new Map(found.map(row => [row.id, row]))
  const isCut = sized.length === limit || ids.length < sized.length
  return {
    rows: ids.map(id => byId.get(id)!),
    next: isCut && left > ids.length ? {...begun, after: ids.at(-1)!, left: left - ids.length} : null,
  }
}

function chosenRows(funcId: number | undefined, uniqkey: string | undefined): Condition[] {
  const where: Condition[] = []
  if (funcId !== undefined) where.push(['func_id = ?', funcId])
  if (uniqkey !== undefined) where.push(['uniqkey = ?', uniqkey])
  return where
}

/** @throws StoreError if there is a row whose id can't be told from others */
function* firstPlace<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {func, oldestFirst, limit}: ExceptionPage,
): Reading<Query, LogPlace> {
  const asked = func === undefined ? [] : [sql.named(func)]
  const [greatest, named] = (yield [sql.greatestId(table), ...asked]) as [Greatest[], Func[]?]
  const newest = checkedId(table, greatest)
  return {
    newest,
    after: oldestFirst ? 0 : newest + 1,
    left: limit,
    funcId: named && (named[0]?.id ?? null),
  }
}
