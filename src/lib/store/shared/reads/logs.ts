/** exception_log and job_status, by id: ids and sizes first, then as many rows as fit into a stretch. */

import {RETRIED, type TagChoice, type Tags, WAS_CANCELLED} from '../../../jobs/job.ts'
import type {ExceptionRow, ExceptionState, FinalStatus, StatusRow} from '../../../jobs/rows/history.ts'
import type {Choice, ExceptionPage, LogPage, LogTable} from '../../store.ts'
import {fewTagged, tagsOf, withTags} from '../tags.ts'
import {nowOf, numberOf, type Reading, rowsOf, textOf} from './reading.ts'
import {
  type Condition,
  checkedId,
  type Func,
  type Greatest,
  type Link,
  type ReadsSql,
  type Sized,
} from './sql.ts'
import {fitting, STRETCH_ROWS, type Stretch} from './stretch.ts'

/** Where a listing of a log goes on: behind this id. Rows newer than `newest` came after it began. */
export interface LogPlace {
  newest: number
  after: number
  left: number
  /** Of which function; null: there is none of this name. */
  funcId: number | null | undefined
  /** Where tags are asked for: how many rows are still to be passed over. */
  skip: number
  /** Where tags are asked for: the rows of those jobs, by id; null: they are too many to be held. */
  tagged?: readonly number[] | null
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
    where.push(['exception_time >= ?', held(sql, 'at' in since ? since.at : (yield* nowOf(sql)) - since.ago)])
  const {rows, next} = yield* stretch(sql, 'exception_log', where, page, place)
  const known = yield* withJobs(sql, 'exception_log', page, rows)
  return {
    rows: known.map(([row, common, link]) => ({
      ...common,
      exceptionTime: numberOf(row.exceptionTime),
      message: textOf(row.message ?? ''),
      ...retriedOf(row.retried, link),
    })),
    next,
  }
}

function retriedOf(column: unknown, link: Link | undefined): Pick<ExceptionRow, 'retried' | 'state'> {
  const bits = Number(column)
  const retried = (bits & RETRIED) !== 0
  if (bits & WAS_CANCELLED) return {retried, state: 'cancelled'}
  return {retried, state: retried ? 'retried' : stateOf(link)}
}

export function* statuses<Query>(
  sql: ReadsSql<Query>,
  page: LogPage,
  place: LogPlace | null,
): Reading<Query, Stretch<StatusRow, LogPlace>> {
  const {rows, next} = yield* stretch(sql, 'job_status', [], {...page, oldestFirst: false}, place)
  const known = yield* withJobs(sql, 'job_status', page, rows)
  return {
    rows: known.map(([row, common]) => ({
      ...common,
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

/** Each row, what both tables say, and whose attempt it was. */
function* withJobs<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  {details}: LogPage,
  rows: readonly LogRow[],
): Reading<Query, [LogRow, ReturnType<typeof common>, Link | undefined][]> {
  const linkOf = yield* links(
    sql,
    table,
    rows.map(({id}) => id),
  )
  const tags = yield* tagsOf(sql, details ? jobIdsOf(linkOf) : [])
  return rows.map(row => [row, common(row, linkOf.get(row.id), tags), linkOf.get(row.id)])
}

function common(
  {id, funcId, func, uniqkey, arg}: LogRow,
  link: Link | undefined,
  tags: ReadonlyMap<number, Tags>,
) {
  const jobId = link?.jobId ?? null
  return {
    ...{id, jobId, funcId, func: textOf(func), uniqkey: uniqkey === null ? null : textOf(uniqkey), arg},
    tags: (jobId === null ? undefined : tags.get(jobId)) ?? {},
  }
}

function jobIdsOf(links: ReadonlyMap<number, Link>): number[] {
  return [...new Set([...links.values()].map(({jobId}) => jobId))]
}

/** Whose attempts these rows are, by their ids. */
function* links<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  ids: readonly number[],
): Reading<Query, Map<number, Link>> {
  const query = ids.length === 0 ? null : sql.links(table, ids)
  const found = query === null ? [] : yield* rowsOf<Link, Query>(query)
  return new Map(found.map(link => [link.id, link]))
}

/** A time as the column can hold one. */
function held<Query>(sql: ReadsSql<Query>, time: number): number {
  return Math.min(Math.max(0, time), sql.never)
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
  const {uniqkey, oldestFirst, heads = false, tags = []} = page
  const begun = place ?? (yield* firstPlace(sql, table, page))
  const {newest, after, left, funcId} = begun
  if (funcId === null) return {rows: [], next: null}
  const where: Condition[] = [[`log.id ${oldestFirst ? '>' : '<'} ?`, after]]
  if (oldestFirst) where.push(['log.id <= ?', newest])
  where.push(...chosenRows(funcId, uniqkey))
  if (tags.length > 0) return yield* taggedStretch(sql, table, [...where.slice(1), ...more], page, begun)
  const limit = Math.min(STRETCH_ROWS, left)
  const part = {order: oldestFirst ? 'ASC' : 'DESC', limit, offset: place ? 0 : page.offset} as const
  const sized = yield* rowsOf<Sized, Query>(sql.logSizes(table, [...where, ...more], part))
  if (sized.length === 0) return {rows: [], next: null}
  const ids = heads ? sized.map(({id}) => id) : fitting(sized)
  const isCut = sized.length === limit || ids.length < sized.length
  return {
    rows: yield* logRows(sql, table, ids, heads),
    next: isCut && left > ids.length ? {...begun, after: ids.at(-1)!, left: left - ids.length} : null,
  }
}

function* logRows<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  ids: readonly number[],
  heads: boolean,
): Reading<Query, LogRow[]> {
  if (ids.length === 0) return []
  const found = yield* rowsOf<LogRow, Query>(sql.logRows(table, ids, heads))
  const byId = new Map(found.map(row => [row.id, row]))
  return ids.flatMap(id => byId.get(id) ?? []) // in a damaged file an id may lead to no row
}

/**
 * The same of jobs with tags: where these are few, of their rows; else the log is gone through, and what has not the tags is
 * left out. Rows that were passed over are counted here.
 */
function* taggedStretch<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  where: readonly Condition[],
  {tags = [], oldestFirst = false, heads = false}: ExceptionPage,
  place: LogPlace,
): Reading<Query, Stretch<LogRow, LogPlace>> {
  const rowIds = place.tagged === undefined ? yield* taggedRows(sql, table, tags) : place.tagged
  let {after, skip, left} = place
  const isBehind = (id: number) => (oldestFirst ? id > after : id < after)
  for (;;) {
    const some =
      rowIds && (oldestFirst ? rowIds : rowIds.toReversed()).filter(isBehind).slice(0, STRETCH_ROWS)
    if (some?.length === 0 || left === 0) return {rows: [], next: null}
    const here: Condition = some ? ['log.id IN ?', some] : [`log.id ${oldestFirst ? '>' : '<'} ?`, after]
    const part = {order: oldestFirst ? 'ASC' : 'DESC', limit: STRETCH_ROWS, offset: 0} as const
    const sized = yield* rowsOf<Sized, Query>(sql.logSizes(table, [here, ...where], part))
    const last = some ? some.at(-1)! : sized.length < STRETCH_ROWS ? null : sized.at(-1)!.id
    const wanted = some ? sized : yield* sizedWithTags(sql, table, sized, tags)
    const shown = wanted.slice(skip, skip + left)
    skip -= Math.min(skip, wanted.length)
    const ids = heads ? shown.map(({id}) => id) : fitting(shown)
    const next = ids.length < shown.length ? ids.at(-1)! : last
    left -= ids.length
    if (ids.length > 0 || next === null)
      return {
        rows: yield* logRows(sql, table, ids, heads),
        next: next === null || left === 0 ? null : {...place, after: next, skip, left, tagged: rowIds},
      }
    after = next
  }
}

/** By id. */
function* taggedRows<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  tags: readonly TagChoice[],
): Reading<Query, number[] | null> {
  const jobs = yield* fewTagged(sql, tags, () => true)
  if (jobs === null || jobs.length === 0) return jobs && []
  const ids: number[] = []
  for (let at = 0; at < jobs.length; at += STRETCH_ROWS) {
    const some = jobs.slice(at, at + STRETCH_ROWS).map(({id}) => id)
    for (const {id} of yield* rowsOf<{id: number}, Query>(sql.logIds(table, some))) ids.push(Number(id))
  }
  return ids.sort((a, b) => a - b)
}

function* sizedWithTags<Query>(
  sql: ReadsSql<Query>,
  table: LogTable,
  sized: readonly Sized[],
  tags: readonly TagChoice[],
): Reading<Query, Sized[]> {
  const linkOf = yield* links(
    sql,
    table,
    sized.map(({id}) => id),
  )
  const jobs = yield* withTags(
    sql,
    jobIdsOf(linkOf).map(id => ({id})),
    tags,
  )
  const ids = new Set(jobs.map(({id}) => id))
  return sized.filter(({id}) => ids.has(linkOf.get(id)?.jobId ?? 0))
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
  {func, oldestFirst, limit, offset, after = []}: ExceptionPage,
): Reading<Query, LogPlace> {
  const asked = func === undefined ? [] : [sql.named(func)]
  const [greatest, named] = (yield [sql.greatestId(table), ...asked]) as [Greatest[], Func[]?]
  const newest = checkedId(table, greatest)
  return {
    newest,
    after: after[0]?.id ?? (oldestFirst ? 0 : newest + 1),
    left: limit,
    skip: offset,
    funcId: named && (named[0]?.id ?? null),
  }
}
