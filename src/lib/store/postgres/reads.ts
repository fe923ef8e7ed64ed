/**
 * Listings and counts on PostgreSQL, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * A listing is read in stretches, each of one moment (a snapshot of its own), from where the one before it ended, and
 * small enough to hold: keys first, with the sizes of what they stand for, then as many rows as fit.
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
  LAST,
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
import {bigints, integers} from './arrays.ts'
import {NOW, type Send, type Statement, type Value} from './connections.ts'
import {readAhead} from './keys.ts'

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
const FUNC_NAME = `coalesce(func.name, '#' || func_id) AS func`
const JOB_COLUMNS = `job.id, func_id AS "funcId", ${FUNC_NAME}, arg, uniqkey, enqueue_time AS "enqueueTime",
  grabbed_until AS "grabbedUntil", run_after AS "runAfter", retry_cnt AS "retryCnt", priority`

const NOW_IS = {name: 'jobq_now', text: `SELECT ${NOW} AS now`}
const FUNCS = {name: 'jobq_funcs', text: 'SELECT id, name FROM func ORDER BY name COLLATE "C"'}
const NAMED = {name: 'jobq_named', text: 'SELECT id FROM func WHERE name = $1::VARCHAR'}
const WITH_JOBS = {
  name: 'jobq_with_jobs',
  text: `WITH RECURSIVE has (func_id) AS (
      SELECT (SELECT func_id FROM job ORDER BY func_id LIMIT 1) UNION ALL
      SELECT (SELECT j.func_id FROM job j WHERE j.func_id > has.func_id ORDER BY j.func_id LIMIT 1) FROM has
      WHERE has.func_id IS NOT NULL)
    SELECT func_id AS id, ${FUNC_NAME} FROM has LEFT JOIN func ON func.id = func_id WHERE func_id IS NOT NULL`,
}
const FIND = {
  name: 'jobq_find',
  text: `SELECT ${JOB_COLUMNS}, ${NOW} AS now FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = $1`,
}
const SIZES = {
  name: 'jobq_sizes',
  text: 'SELECT id, coalesce(octet_length(arg), 0) AS size FROM job WHERE id = ANY ($1::BIGINT[])',
}
const JOBS = {
  name: 'jobq_jobs',
  text: `SELECT ${JOB_COLUMNS} FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = ANY ($1::BIGINT[])`,
}
const WITH_UNIQKEY = {
  name: 'jobq_with_uniqkey',
  text: `SELECT ${JOB_COLUMNS} FROM job JOIN func ON func.id = func_id
    WHERE func_id = ANY ($1::INTEGER[]) AND uniqkey = $2`,
}
const COUNTS = {
  name: 'jobq_counts',
  text: `SELECT func_id AS "funcId",
      count(*) FILTER (WHERE grabbed_until <= $2 AND run_after <= $2) AS ready,
      count(*) FILTER (WHERE grabbed_until <= $2 AND run_after > $2) AS delayed,
      count(*) FILTER (WHERE grabbed_until > $2) AS running,
      min(run_after) FILTER (WHERE grabbed_until <= $2 AND run_after <= $2) AS oldest
    FROM job WHERE func_id = ANY ($1::INTEGER[]) GROUP BY func_id`,
}
const FAILED = {
  name: 'jobq_failed',
  text: `SELECT func_id AS "funcId", count(*) AS failed FROM exception_log
    WHERE func_id = ANY ($1::INTEGER[]) AND retried = 0 GROUP BY func_id`,
}
const ENDED = {
  name: 'jobq_ended',
  text: `SELECT func_id AS "funcId", count(*) FILTER (WHERE status = 'completed') AS completed,
      count(*) FILTER (WHERE status = 'abort') AS aborted
    FROM job_status WHERE func_id = ANY ($1::INTEGER[]) GROUP BY func_id`,
}
/** $1 functions, $2 since when. */
const ended = (
  columns: string,
) => `SELECT func_id AS "funcId", ${columns} AS value, count(*) AS jobs FROM job_status
  WHERE func_id = ANY ($1::INTEGER[]) AND status IN ('completed', 'failed', 'abort') AND job_end_time >= $2
  GROUP BY 1, 2 ORDER BY 1, 2`
const TOOK = {name: 'jobq_took', text: ended('greatest(0, job_end_time - job_start_time)')}
const MINUTES = {name: 'jobq_minutes', text: ended('least(59, (job_end_time - $2) / 60)')}
const ATTEMPTS = {
  name: 'jobq_attempts',
  text: `SELECT func_id AS "funcId", status, greatest(0, job_end_time - job_start_time) AS seconds, count(*) AS attempts
    FROM job_status WHERE func_id = ANY ($1::INTEGER[]) AND status IN ('completed', 'failed', 'abort')
    GROUP BY 1, 2, 3`,
}

interface Func {
  id: number
  name: string
}

/** Reads within one transaction. */
export class PostgresReads {
  readonly #send: Send

  constructor(send: Send) {
    this.#send = send
  }

  async find(id: number): Promise<ListedJob | null> {
    const [found] = await this.#rows<JobRow & {now: number}>(FIND, [id])
    if (!found) return null
    const {now, ...row} = found
    return listed(row, now)
  }

  async funcs(): Promise<Func[]> {
    return this.#rows<Func>(FUNCS)
  }

  async jobs(page: JobPage, place: JobPlace | null): Promise<Stretch<ListedJob, JobPlace>> {
    const {func, state: only, uniqkey, limit, offset} = page
    if (uniqkey !== undefined) {
      const [funcs, now] = await Promise.all([this.#chosen(func), this.#now()])
      const rows = await this.#withUniqkey(uniqkey, funcs, only, now)
      return {rows: rows.slice(offset, offset + limit), next: null}
    }
    if (limit === 0) return {rows: [], next: null}
    const begun = place ?? firstPlace(await this.#now(), only, offset, limit)
    const here = await readAhead(this.#send, begun, () => this.#withJobs(func))
    const ids = nextIds(here)
    const fitting = await this.#asManyAsFit(ids)
    const found = (await this.#jobRows(fitting)).map(row => listed(row, here.now))
    const rows = stillThere(found, here)
    const next = placeBehind(here, fitting.length, rows.length, only)
    if (!next && rows.length < here.left) await this.#checkIds('job')
    return {rows, next}
  }

  async exceptionLog(page: ExceptionPage, place: LogPlace | null): Promise<Stretch<ExceptionRow, LogPlace>> {
    const {id, unretried, since, oldestFirst = false} = page
    const conditions = new Conditions(page)
    if (id !== undefined) conditions.add('exception_log.id =', id)
    if (unretried) conditions.add('retried =', 0)
    if (since !== undefined)
      conditions.add('exception_time >=', 'at' in since ? since.at : (await this.#now()) - since.ago)
    const columns = `exception_log.id, func_id AS "funcId", ${FUNC_NAME}, exception_time AS "exceptionTime", message,
      uniqkey, arg, retried`
    type Stored = Omit<ExceptionRow, 'message' | 'retried'> & {message: Buffer | null; retried: number}
    const size = 'coalesce(octet_length(arg), 0) + coalesce(octet_length(message), 0)'
    const {rows, next} = await this.#log<Stored>(
      {table: 'exception_log', columns, size},
      conditions,
      {...page, oldestFirst},
      place,
    )
    return {
      rows: rows.map(row => ({
        ...row,
        message: row.message?.toString('utf8') ?? '',
        retried: row.retried !== 0,
      })),
      next,
    }
  }

  async statusLog(page: Page, place: LogPlace | null): Promise<Stretch<StatusRow, LogPlace>> {
    const columns = `job_status.id, func_id AS "funcId", ${FUNC_NAME}, arg, uniqkey, status,
      job_start_time AS "jobStartTime", job_end_time AS "jobEndTime"`
    return this.#log<StatusRow>(
      {table: 'job_status', columns, size: 'coalesce(octet_length(arg), 0)'},
      new Conditions(page),
      {...page, oldestFirst: false},
      place,
    )
  }

  async counts(only?: string): Promise<FuncCounts[]> {
    const [funcs, now] = await Promise.all([this.#chosen(only), this.#now()])
    const ids = integers(funcs.map(({id}) => id))
    type Counted = Record<'funcId' | 'ready' | 'delayed' | 'running', number> & {oldest: number | null}
    const [jobs, failed, ended] = await Promise.all([
      this.#rows<Counted>(COUNTS, [ids, now]),
      this.#rows<{funcId: number; failed: number}>(FAILED, [ids]),
      this.#rows<{funcId: number; completed: number; aborted: number}>(ENDED, [ids]),
    ])
    return funcs.map(({id, name}) => {
      const counted = jobs.find(({funcId}) => funcId === id)
      const ends = ended.find(({funcId}) => funcId === id)
      const oldest = counted?.oldest ?? null
      return {
        func: name,
        ready: counted?.ready ?? 0,
        delayed: counted?.delayed ?? 0,
        running: counted?.running ?? 0,
        failed: failed.find(({funcId}) => funcId === id)?.failed ?? 0,
        completed: ends?.completed ?? 0,
        aborted: ends?.aborted ?? 0,
        oldestReadyAge: oldest === null ? null : Math.max(0, now - oldest),
      }
    })
  }

  async times(only?: string): Promise<FuncTimes[]> {
    const [funcs, now] = await Promise.all([this.#chosen(only), this.#now()])
    const hourAgo = (Math.floor(now / 60) - 59) * 60
    const ids = integers(funcs.map(({id}) => id))
    type Counted = Record<'funcId' | 'value' | 'jobs', number>
    const [tooks, minutes] = await Promise.all([
      this.#rows<Counted>(TOOK, [ids, hourAgo]),
      this.#rows<Counted>(MINUTES, [ids, hourAgo]),
    ])
    const [tooksOf, minutesOf] = [tooks, minutes].map(rows => Map.groupBy(rows, ({funcId}) => funcId))
    return funcs.flatMap(({id, name}) => {
      const took = (tooksOf!.get(id) ?? []).map(({value, jobs}): [number, number] => [value, jobs])
      if (took.length === 0) return []
      const perMinute = Array.from({length: 60}, () => 0)
      for (const {value, jobs} of minutesOf!.get(id) ?? []) perMinute[value] = jobs
      return [{func: name, median: quantile(took, 0.5), p95: quantile(took, 0.95), took, perMinute}]
    })
  }

  async attempts(only?: string): Promise<FuncAttempts[]> {
    const funcs = await this.#chosen(only)
    type Counted = FuncAttempts['ended'][number] & {funcId: number}
    const rows = await this.#rows<Counted>(ATTEMPTS, [integers(funcs.map(({id}) => id))])
    const byFunc = Map.groupBy(rows, ({funcId}) => funcId)
    return funcs.flatMap(({id, name}) => {
      const ended = byFunc.get(id)?.map(({status, seconds, attempts}) => ({status, seconds, attempts}))
      return ended ? [{func: name, ended}] : []
    })
  }

  /** A stretch of exception_log or job_status, by id: ids and sizes first, then as many rows as fit. */
  async #log<Row extends {id: number}>(
    {table, columns, size}: {table: string; columns: string; size: string},
    conditions: Conditions,
    {limit, offset, oldestFirst}: {limit: number; offset: number; oldestFirst: boolean},
    place: LogPlace | null,
  ): Promise<Stretch<Row, LogPlace>> {
    if (!place) await this.#checkIds(table)
    const newest = place?.newest ?? (await this.#newest(table))
    const after = place?.after ?? (oldestFirst ? 0 : newest + 1)
    const left = place?.left ?? limit
    const wanted = Math.min(STRETCH_ROWS, left)
    conditions.add(`${table}.id ${oldestFirst ? '>' : '<'}`, after)
    if (oldestFirst) conditions.add(`${table}.id <=`, newest)
    const order = `ORDER BY ${table}.id ${oldestFirst ? 'ASC' : 'DESC'}`
    const sized = await this.#rows<Sized>(
      `SELECT id, ${size} AS size FROM ${table} WHERE ${conditions} ${order} LIMIT ${wanted} OFFSET ${place ? 0 : offset}`,
      conditions.values,
    )
    const ids = fitting(sized)
    const rows = await this.#rows<Row>(
      `SELECT ${columns} FROM ${table} LEFT JOIN func ON func.id = func_id
       WHERE ${table}.id = ANY ($1::BIGINT[]) ${order}`,
      [bigints(ids)],
    )
    const isCut = sized.length === wanted || ids.length < sized.length
    const more = rows.length > 0 && isCut && left > rows.length
    return {rows, next: more ? {newest, after: rows.at(-1)!.id, left: left - rows.length} : null}
  }

  async #newest(table: string): Promise<number> {
    const [row] = await this.#rows<{id: number}>(`SELECT coalesce(max(id), 0) AS id FROM ${table}`)
    return row!.id
  }

  async #chosen(only: string | undefined): Promise<Func[]> {
    return (await this.funcs()).filter(({name}) => only === undefined || name === only)
  }

  /** The functions that have jobs, those that have no row of their own among them. */
  async #withJobs(only: string | undefined): Promise<number[]> {
    if (only !== undefined) {
      const named = await this.#rows<{id: number}>(NAMED, [only])
      if (named.length > 0) return named.map(({id}) => id)
    }
    const funcs = await this.#rows<{id: number; func: string}>(WITH_JOBS)
    return funcs.filter(({func}) => only === undefined || func === only).map(({id}) => id)
  }

  /** @throws StoreError if there is a row whose id can't be told from others */
  async #checkIds(table: string): Promise<void> {
    const digits = await this.tooLargeId(table)
    if (digits !== null) throw idTooLarge(table, digits)
  }

  async tooLargeId(table = 'job'): Promise<string | null> {
    const sql = `SELECT max(id)::TEXT AS digits FROM ${table} WHERE id > ${LAST}`
    return (await this.#rows<{digits: string | null}>(sql))[0]!.digits
  }

  /** A (func, uniqkey) is unique: at most one row a function. */
  async #withUniqkey(
    uniqkey: string,
    funcs: readonly Func[],
    state: JobState | undefined,
    now: number,
  ): Promise<ListedJob[]> {
    return (await this.#rows<JobRow>(WITH_UNIQKEY, [integers(funcs.map(({id}) => id)), uniqkey]))
      .map(row => listed(row, now))
      .filter(job => state === undefined || job.state === state)
      .sort(
        (a, b) => LISTED_STATES.indexOf(a.state) - LISTED_STATES.indexOf(b.state) || ORDERS[a.state](a, b),
      )
  }

  async #asManyAsFit(ids: readonly number[]): Promise<readonly number[]> {
    const sizes = await this.#rows<Sized>(SIZES, [bigints(ids)])
    const sizeOf = new Map(sizes.map(({id, size}) => [id, size]))
    return fitting(ids.map(id => ({id, size: sizeOf.get(id) ?? 0})))
  }

  /** Those that have not left since their keys were read. */
  async #jobRows(ids: readonly number[]): Promise<JobRow[]> {
    if (ids.length === 0) return []
    const rows = await this.#rows<JobRow>(JOBS, [bigints(ids)])
    const rowOf = new Map(rows.map(row => [row.id, row]))
    return ids.flatMap(id => rowOf.get(id) ?? [])
  }

  async #now(): Promise<number> {
    const [row] = await this.#rows<{now: number}>(NOW_IS)
    return row!.now
  }

  async #rows<Row>(statement: Statement | string, values: readonly Value[] = []): Promise<Row[]> {
    return (await this.#send(statement, values)).rows as Row[]
  }
}

interface Sized {
  id: number
  size: number
}

/** The first ids whose rows are small enough together, at least one. */
function fitting(sized: readonly Sized[]): number[] {
  const ids: number[] = []
  let bytes = 0
  for (const {id, size} of sized) {
    ids.push(id)
    bytes += size
    if (bytes >= STRETCH_BYTES) break
  }
  return ids
}

/** A WHERE, and the values that it names. */
class Conditions {
  readonly #terms: string[] = []
  readonly values: Value[] = []

  constructor({func, uniqkey}: Page) {
    if (func !== undefined) {
      this.values.push(func)
      this.#terms.push(`func_id = (SELECT func.id FROM func WHERE func.name = $${this.values.length})`)
    }
    if (uniqkey !== undefined) this.add('uniqkey =', uniqkey)
  }

  /** @param condition SQL up to its operator */
  add(condition: string, value: Value): void {
    this.values.push(value)
    this.#terms.push(`${condition} $${this.values.length}`)
  }

  toString(): string {
    return this.#terms.join(' AND ')
  }
}
