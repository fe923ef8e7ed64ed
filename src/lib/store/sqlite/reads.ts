/**
 * Listings and counts on SQLite, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * A listing is read in stretches, each from where the one before it ended (a key, not an offset: rows that come and go
 * meanwhile move nothing) and each small enough to hold, whatever the arguments' size. A stretch changes nothing here,
 * so that it can be repeated when it meets a lock.
 */
import {idTooLarge} from '../../jobs/errors.ts'
import type {
  ExceptionRow,
  FuncAttempts,
  FuncCounts,
  FuncTimes,
  JobRow,
  JobState,
  ListedJob,
  StatusRow,
} from '../../jobs/job.ts'
import {quantile} from '../../jobs/job.ts'
import {
  firstPlace,
  type JobPlace,
  LISTED_STATES,
  type LogPlace,
  listed,
  nextIds,
  ORDERS,
  placeBehind,
  STRETCH_BYTES,
  STRETCH_ROWS,
  type Stretch,
  stillThere,
} from '../shared/keys.ts'
import type {ExceptionPage, JobPage, Page} from '../store.ts'
import type {SqliteLink} from './connection.ts'
import {type Func, SqliteKeys} from './keys.ts'

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
const FUNC_NAME = `coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func`
const JOB_COLUMNS = `job.id, func_id AS funcId, ${FUNC_NAME}, CAST(arg AS BLOB) AS arg, CAST(uniqkey AS TEXT) AS uniqkey,
  enqueue_time AS enqueueTime, grabbed_until AS grabbedUntil, run_after AS runAfter, retry_cnt AS retryCnt, priority`
const FUNC_IS = 'func_id = (SELECT id FROM func WHERE name = $func)'

/** A read by its name, which another thread can do as well. */
export interface Read {
  what:
    | 'list'
    | 'jobs'
    | 'exceptions'
    | 'exceptionLog'
    | 'statuses'
    | 'statusLog'
    | 'counts'
    | 'times'
    | 'attempts'
  args: readonly unknown[]
}

export class SqliteReads {
  readonly #link: SqliteLink
  readonly #keys: SqliteKeys

  constructor(link: SqliteLink) {
    this.#link = link
    this.#keys = new SqliteKeys(link)
  }

  do({what, args}: Read): unknown {
    const method = this[what] as (...args: unknown[]) => unknown
    return method.apply(this, [...args])
  }

  funcs(): Func[] {
    return this.#link
      .sql('SELECT id, CAST(name AS TEXT) AS name FROM func ORDER BY func.name')
      .all() as Func[]
  }

  find(id: number): ListedJob | null {
    const row = this.#jobRow(id)
    return row ? listed(row, this.#link.now()) : null
  }

  list = (page: JobPage) => all((place: JobPlace | null) => this.jobs(page, place))
  exceptions = (page: ExceptionPage) => all((place: LogPlace | null) => this.exceptionLog(page, place))
  statuses = (page: Page) => all((place: LogPlace | null) => this.statusLog(page, place))

  jobs(page: JobPage, place: JobPlace | null): Stretch<ListedJob, JobPlace> {
    const {func, state: only, uniqkey, limit, offset} = page
    if (uniqkey !== undefined)
      return {rows: this.#withUniqkey(uniqkey, func, only).slice(offset, offset + limit), next: null}
    if (limit === 0) return {rows: [], next: null}
    const begun = place ?? firstPlace(this.#link.now(), only, offset, limit)
    const here = this.#keys.readAhead(begun, this.#withJobs(func))
    const found: ListedJob[] = []
    let [passed, bytes] = [0, 0]
    for (const id of nextIds(here)) {
      passed++
      const row = this.#jobRow(id)
      if (!row) continue // it has left since its key was read
      found.push(listed(row, here.now))
      bytes += row.arg?.length ?? 0
      if (bytes >= STRETCH_BYTES) break
    }
    const rows = stillThere(found, here)
    const next = placeBehind(here, passed, rows.length, only)
    if (!next && rows.length < here.left) this.#checkIds('job')
    return {rows, next}
  }

  exceptionLog(page: ExceptionPage, place: LogPlace | null): Stretch<ExceptionRow, LogPlace> {
    const {func, uniqkey, id, unretried, since, oldestFirst = false} = page
    const columns = `exception_log.id, func_id AS funcId, ${FUNC_NAME}, exception_time AS exceptionTime,
      CAST(message AS BLOB) AS message, CAST(uniqkey AS TEXT) AS uniqkey, CAST(arg AS BLOB) AS arg, retried`
    const conditions = {
      ...(func === undefined ? {} : {[FUNC_IS]: {func}}),
      ...(uniqkey === undefined ? {} : {'uniqkey = $uniqkey': {uniqkey}}),
      ...(id === undefined ? {} : {'exception_log.id = $id': {id}}),
      ...(unretried ? {'retried = 0': {}} : {}),
      ...(since === undefined
        ? {}
        : {'exception_time >= $since': {since: 'at' in since ? since.at : this.#link.now() - since.ago}}),
    }
    type Row = Omit<ExceptionRow, 'message' | 'retried'> & {message: Buffer | null; retried: number}
    const toRow = ({message, retried, ...row}: Row): ExceptionRow => ({
      ...row,
      exceptionTime: numberOf(row.exceptionTime),
      message: message?.toString('utf8') ?? '',
      retried: retried !== 0,
    })
    return this.#log('exception_log', columns, conditions, {...page, oldestFirst}, place, toRow)
  }

  statusLog(page: Page, place: LogPlace | null): Stretch<StatusRow, LogPlace> {
    const {func, uniqkey} = page
    const columns = `job_status.id, func_id AS funcId, ${FUNC_NAME}, CAST(arg AS BLOB) AS arg,
      CAST(uniqkey AS TEXT) AS uniqkey, CAST(status AS TEXT) AS status, job_start_time AS jobStartTime, job_end_time AS jobEndTime`
    const conditions = {
      ...(func === undefined ? {} : {[FUNC_IS]: {func}}),
      ...(uniqkey === undefined ? {} : {'uniqkey = $uniqkey': {uniqkey}}),
    }
    return this.#log(
      'job_status',
      columns,
      conditions,
      {...page, oldestFirst: false},
      place,
      (row: StatusRow) => ({
        ...row,
        jobStartTime: numberOf(row.jobStartTime),
        jobEndTime: numberOf(row.jobEndTime),
      }),
    )
  }

  counts(only?: string): FuncCounts[] {
    const now = this.#link.now()
    return this.#chosen(only).map(({id, name}) => {
      const {ready, delayed, oldest} = this.#countWaiting(id, now)
      const ended = this.#link.raw(
        'SELECT status, count(*) FROM job_status WHERE func_id = ? GROUP BY status',
      )
      const byStatus = new Map(ended.all(id) as [string, number][])
      return {
        func: name,
        ready,
        delayed,
        running: this.#count('func_id = ? AND grabbed_until > ?', id, now),
        failed: this.#link
          .pluck('SELECT count(*) FROM exception_log WHERE func_id = ? AND retried = 0')
          .get(id) as number,
        completed: byStatus.get('completed') ?? 0,
        aborted: byStatus.get('abort') ?? 0,
        oldestReadyAge: oldest === null ? null : Math.max(0, now - oldest),
      }
    })
  }

  times(only?: string): FuncTimes[] {
    const now = this.#link.now()
    const hourAgo = (Math.floor(now / 60) - 59) * 60
    const ended = `FROM job_status
      WHERE func_id = ? AND status IN ('completed', 'failed', 'abort') AND job_end_time >= ?`
    const byTime = this.#link.raw(`SELECT max(0, job_end_time - job_start_time) AS took, count(*) ${ended}
      GROUP BY took ORDER BY took`)
    // A bound number is a REAL, and a minute must be whole
    const byMinute =
      this.#link.raw(`SELECT min(59, (job_end_time - CAST(? AS INTEGER)) / 60) AS minute, count(*) ${ended}
      GROUP BY minute`)
    return this.#chosen(only).flatMap(({id, name}) => {
      const took = byTime.all(id, hourAgo) as FuncTimes['took']
      if (took.length === 0) return []
      const perMinute = Array.from({length: 60}, () => 0)
      for (const [minute, jobs] of byMinute.all(hourAgo, id, hourAgo) as [number, number][])
        perMinute[minute] = jobs
      return [{func: name, median: quantile(took, 0.5), p95: quantile(took, 0.95), took, perMinute}]
    })
  }

  attempts(only?: string): FuncAttempts[] {
    const statement =
      this.#link.sql(`SELECT status, max(0, job_end_time - job_start_time) AS seconds, count(*) AS attempts FROM job_status
      WHERE func_id = ? AND status IN ('completed', 'failed', 'abort') GROUP BY status, seconds`)
    return this.#chosen(only)
      .map(({id, name}) => ({func: name, ended: statement.all(id) as FuncAttempts['ended']}))
      .filter(({ended}) => ended.length > 0)
  }

  /** A stretch of exception_log or job_status, by id. @param conditions SQL with the values that it names */
  #log<Row extends {id: number; arg: Uint8Array | null; message?: Uint8Array | null}, Shown>(
    table: string,
    columns: string,
    conditions: Record<string, Record<string, unknown>>,
    {limit, offset, oldestFirst}: {limit: number; offset: number; oldestFirst: boolean},
    place: LogPlace | null,
    toShown: (row: Row) => Shown,
  ): Stretch<Shown, LogPlace> {
    if (!place) this.#checkIds(table)
    const newest =
      place?.newest ?? (this.#link.pluck(`SELECT coalesce(max(id), 0) FROM ${table}`).get() as number)
    const after = place?.after ?? (oldestFirst ? 0 : newest + 1)
    const left = place?.left ?? limit
    const wanted = Math.min(STRETCH_ROWS, left)
    const behind = oldestFirst ? `${table}.id > $after AND ${table}.id <= $newest` : `${table}.id < $after`
    const sql = `SELECT ${columns} FROM ${table} LEFT JOIN func ON func.id = func_id
      WHERE ${[behind, ...Object.keys(conditions)].join(' AND ')}
      ORDER BY ${table}.id ${oldestFirst ? 'ASC' : 'DESC'} LIMIT $wanted OFFSET $skip`
    const named = Object.assign({after, wanted, skip: place ? 0 : offset}, ...Object.values(conditions))
    if (oldestFirst) named.newest = newest
    const rows: Shown[] = []
    let bytes = 0
    let last: number | null = null
    for (const row of this.#link.sql(sql).iterate(named) as Iterable<Row>) {
      last = row.id
      bytes += (row.arg?.length ?? 0) + (row.message?.length ?? 0)
      rows.push(toShown(row))
      if (bytes >= STRETCH_BYTES) break
    }
    const isCut = rows.length === wanted || bytes >= STRETCH_BYTES
    const more = last !== null && isCut && left > rows.length
    return {rows, next: more ? {newest, after: last, left: left - rows.length} : null}
  }

  #chosen(only: string | undefined): Func[] {
    return this.funcs().filter(({name}) => only === undefined || name === only)
  }

  /** The functions that have jobs, those that have no row of their own among them: one seek each. */
  #withJobs(only: string | undefined): Func[] {
    if (only !== undefined) {
      const named =
        'SELECT id, CAST(name AS TEXT) AS name FROM func WHERE name IN ($name, CAST($name AS BLOB))'
      const funcs = this.#link.sql(named).all({name: only}) as Func[]
      if (funcs.length > 0) return funcs
    }
    const sql = `WITH RECURSIVE has (func_id) AS (
        SELECT min(func_id) FROM job UNION ALL
        SELECT (SELECT func_id FROM job WHERE func_id > has.func_id ORDER BY func_id LIMIT 1) FROM has
        WHERE has.func_id IS NOT NULL)
      SELECT has.func_id AS id, ${FUNC_NAME} FROM has LEFT JOIN func ON func.id = has.func_id WHERE has.func_id IS NOT NULL`
    const funcs = this.#link.sql(sql).all() as {id: number; func: string}[]
    return funcs
      .map(({id, func}) => ({id, name: func}))
      .filter(({name}) => only === undefined || name === only)
  }

  /** @throws StoreError if there is a row whose id can't be told from others */
  #checkIds(table: string): void {
    const digits = this.#link.tooLargeId(table)
    if (digits !== null) throw idTooLarge(table, digits)
  }

  /** A (func, uniqkey) is unique: at most one row a function. */
  #withUniqkey(uniqkey: string, func: string | undefined, state: JobState | undefined): ListedJob[] {
    const now = this.#link.now()
    const sql = `SELECT ${JOB_COLUMNS} FROM job LEFT JOIN func ON func.id = func_id WHERE func_id = ? AND uniqkey = ?`
    return this.#chosen(func)
      .flatMap(({id}) => jobOf(this.#link.sql(sql).get(id, uniqkey)) ?? [])
      .map(row => listed(row, now))
      .filter(job => state === undefined || job.state === state)
      .sort(
        (a, b) => LISTED_STATES.indexOf(a.state) - LISTED_STATES.indexOf(b.state) || ORDERS[a.state](a, b),
      )
  }

  /** Every waiting job is counted once, along the index: about 30 ns each. */
  #countWaiting(funcId: number, now: number): {ready: number; delayed: number; oldest: number | null} {
    let {ready, delayed, oldest} = this.#keys.countBeside(funcId, now)
    const lane = 'func_id = ? AND grabbed_until = 0 AND priority = ? AND run_after'
    const head = this.#link.pluck(`SELECT run_after FROM job WHERE ${lane} <= ? ORDER BY run_after LIMIT 1`)
    for (const priority of this.#keys.priorities(funcId)) {
      ready += this.#count(`${lane} <= ?`, funcId, priority, now)
      delayed += this.#count(`${lane} > ?`, funcId, priority, now)
      const first = head.get(funcId, priority, now) as number | undefined
      if (first !== undefined && (oldest === null || first < oldest)) oldest = first
    }
    return {ready, delayed, oldest}
  }

  #count(condition: string, ...params: unknown[]): number {
    return this.#link.pluck(`SELECT count(*) FROM job WHERE ${condition}`).get(...params) as number
  }

  #jobRow(id: number): JobRow | undefined {
    // +? as in lanes.ts: a long listing asks this for every row, and a bare ? would be prepared anew each time
    const sql = `SELECT ${JOB_COLUMNS} FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = +?`
    return jobOf(this.#link.sql(sql).get(id))
  }
}

/** A column holds whatever was written into it: where that is no number, it is told as none. */
function jobOf(found: unknown): JobRow | undefined {
  if (!found) return undefined
  const row = found as JobRow
  for (const column of ['enqueueTime', 'grabbedUntil', 'runAfter', 'retryCnt', 'priority'] as const)
    row[column] = numberOf(row[column])
  return row
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN
}

/** All stretches of a listing. */
function all<Row, Place>(stretch: (place: Place | null) => Stretch<Row, Place>): Row[] {
  const rows: Row[] = []
  let place: Place | null = null
  do {
    const {rows: more, next}: Stretch<Row, Place> = stretch(place)
    for (const row of more) rows.push(row)
    place = next
  } while (place)
  return rows
}
