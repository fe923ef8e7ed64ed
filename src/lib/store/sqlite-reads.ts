/**
 * Listings and counts on SQLite, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * Lanes come one by one (function by function, priority by priority) and are merged here, since one SQL ORDER BY over
 * all of them would sort every waiting job.
 */
import type {Statement} from 'better-sqlite3'
import type {ExceptionRow, FuncCounts, FuncTimes, JobRow, JobState, ListedJob, StatusRow} from '../job.ts'
import {JOB_STATES} from '../job.ts'
import type {ExceptionPage, JobPage, Page} from './store.ts'

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
const FUNC_NAME = `coalesce(func.name, '#' || func_id) AS func`
const JOB_COLUMNS = `job.id, func_id AS funcId, ${FUNC_NAME}, CAST(arg AS BLOB) AS arg, uniqkey,
  enqueue_time AS enqueueTime, grabbed_until AS grabbedUntil, run_after AS runAfter, retry_cnt AS retryCnt, priority`

interface Key {
  id: number
  priority: number
  runAfter: number
}

interface Func {
  id: number
  name: string
}

export class SqliteReads {
  readonly #sql: (sql: string) => Statement<unknown[]>
  readonly #now: () => number

  constructor(sql: (sql: string) => Statement<unknown[]>, now: () => number) {
    this.#sql = sql
    this.#now = now
  }

  funcs(): Func[] {
    return this.#sql('SELECT id, name FROM func ORDER BY name').all() as Func[]
  }

  find(id: number): ListedJob | null {
    const sql = `SELECT ${JOB_COLUMNS} FROM job LEFT JOIN func ON func.id = func_id WHERE job.id = ?`
    const row = this.#sql(sql).get(id) as JobRow | undefined
    return row ? this.#listed(row) : null
  }

  list({func, state, uniqkey, limit, offset}: JobPage): ListedJob[] {
    if (uniqkey !== undefined) return this.#withUniqkey(uniqkey, func, state).slice(offset, offset + limit)
    const funcs = this.funcs().filter(({name}) => func === undefined || name === func)
    const rows: ListedJob[] = []
    let skip = offset
    for (const part of ['running', 'ready', 'delayed'] as const) {
      if (state !== undefined && state !== part) continue
      const wanted = skip + limit - rows.length
      const keys = this.#keys(part, funcs, wanted)
      rows.push(...keys.slice(skip, wanted).flatMap(({id}) => this.find(id) ?? []))
      skip = Math.max(0, skip - keys.length)
      if (rows.length >= limit) break
    }
    return rows
  }

  exceptions({func, unretried, since, limit, offset}: ExceptionPage): ExceptionRow[] {
    const conditions = [
      ...(func === undefined ? [] : ['func_id = (SELECT id FROM func WHERE name = $func)']),
      ...(unretried ? ['retried = 0'] : []),
      ...(since === undefined ? [] : ['exception_time >= $since']),
    ]
    const sql = `SELECT exception_log.id, func_id AS funcId, ${FUNC_NAME}, exception_time AS exceptionTime,
        CAST(message AS BLOB) AS message, uniqkey, CAST(arg AS BLOB) AS arg, retried
      FROM exception_log LEFT JOIN func ON func.id = func_id
      ${where(conditions)} ORDER BY exception_log.id DESC LIMIT $limit OFFSET $offset`
    type Row = Omit<ExceptionRow, 'message' | 'retried'> & {message: Buffer; retried: number}
    const named = {
      limit,
      offset,
      ...(func === undefined ? {} : {func}),
      ...(since === undefined ? {} : {since}),
    }
    const rows = this.#sql(sql).all(named) as Row[]
    return rows.map(row => ({...row, message: row.message.toString('utf8'), retried: row.retried !== 0}))
  }

  statuses({func, limit, offset}: Page): StatusRow[] {
    const conditions = func === undefined ? [] : ['func_id = (SELECT id FROM func WHERE name = $func)']
    const sql = `SELECT job_status.id, func_id AS funcId, ${FUNC_NAME}, CAST(arg AS BLOB) AS arg, uniqkey, status,
        job_start_time AS jobStartTime, job_end_time AS jobEndTime
      FROM job_status LEFT JOIN func ON func.id = func_id
      ${where(conditions)} ORDER BY job_status.id DESC LIMIT $limit OFFSET $offset`
    return this.#sql(sql).all({limit, offset, ...(func === undefined ? {} : {func})}) as StatusRow[]
  }

  counts(only?: string): FuncCounts[] {
    const now = this.#now()
    return this.#chosen(only).map(({id, name}) => {
      const {ready, delayed, oldest} = this.#countWaiting(id, now)
      const ended = this.#sql(
        'SELECT status, count(*) FROM job_status WHERE func_id = ? GROUP BY status',
      ).raw()
      const byStatus = new Map(ended.all(id) as [string, number][])
      return {
        func: name,
        ready,
        delayed,
        running: this.#count('func_id = ? AND grabbed_until > ?', id, now),
        failed: this.#sql('SELECT count(*) FROM exception_log WHERE func_id = ? AND retried = 0')
          .pluck()
          .get(id) as number,
        completed: byStatus.get('completed') ?? 0,
        aborted: byStatus.get('abort') ?? 0,
        oldestReadyAge: oldest === null ? null : Math.max(0, now - oldest),
      }
    })
  }

  times(only?: string): FuncTimes[] {
    const now = this.#now()
    const hourAgo = (Math.floor(now / 60) - 59) * 60
    const sql = `SELECT job_end_time - job_start_time, job_end_time FROM job_status
      WHERE func_id = ? AND status IN ('completed', 'failed', 'abort') AND job_end_time >= ?`
    return this.#chosen(only).flatMap(({id, name}) => {
      const ended = this.#sql(sql).raw().all(id, hourAgo) as [number, number][]
      if (ended.length === 0) return []
      const seconds = ended.map(([took]) => took).sort((a, b) => a - b)
      const perMinute = Array.from({length: 60}, () => 0)
      for (const [, end] of ended) {
        const minute = Math.min(59, Math.floor((end - hourAgo) / 60))
        perMinute[minute] = perMinute[minute]! + 1
      }
      return [{func: name, median: quantile(seconds, 0.5), p95: quantile(seconds, 0.95), perMinute}]
    })
  }

  #chosen(only: string | undefined): Func[] {
    return this.funcs().filter(({name}) => only === undefined || name === only)
  }

  /** A (func, uniqkey) is unique: at most one row a function. */
  #withUniqkey(uniqkey: string, func: string | undefined, state: JobState | undefined): ListedJob[] {
    const sql = `SELECT ${JOB_COLUMNS} FROM job LEFT JOIN func ON func.id = func_id WHERE func_id = ? AND uniqkey = ?`
    return this.#chosen(func)
      .flatMap(({id}) => (this.#sql(sql).get(id, uniqkey) as JobRow | undefined) ?? [])
      .map(row => this.#listed(row))
      .filter(job => state === undefined || job.state === state)
      .sort((a, b) => JOB_STATES.indexOf(a.state) - JOB_STATES.indexOf(b.state) || byOrder(a, b))
  }

  /** The first jobs of one state, in the order in which they are worked. */
  #keys(state: JobState, funcs: readonly Func[], wanted: number): Key[] {
    const now = this.#now()
    const select = 'SELECT id, priority, run_after AS runAfter FROM job WHERE func_id = ?'
    if (state === 'running') {
      const sql = `${select} AND grabbed_until > ? ORDER BY grabbed_until LIMIT ?`
      return funcs.flatMap(({id}) => this.#sql(sql).all(id, now, wanted) as Key[]).sort(byId)
    }
    // Leases that ran out make rows that no lane holds until the next grab; there are few of them.
    const due = state === 'ready' ? 'run_after <= ?' : 'run_after > ?'
    const ended = `${select} AND grabbed_until BETWEEN 1 AND ? AND ${due} LIMIT ?`
    const stray = funcs.flatMap(({id}) => this.#sql(ended).all(id, now, now, wanted) as Key[])
    const lane = this.#sql(
      `${select} AND grabbed_until = 0 AND priority = ? AND ${due} ORDER BY run_after, id LIMIT ?`,
    )
    const order = state === 'ready' ? byOrder : byTime
    const lanes = funcs.flatMap(({id}) => this.#priorities(id).map(priority => ({id, priority})))
    lanes.sort((a, b) => b.priority - a.priority)
    const keys = [...stray]
    for (const [i, {id, priority}] of lanes.entries()) {
      // Ready jobs of a lower priority come behind all that is there already.
      const enough = state === 'ready' && keys.length >= wanted && lanes[i - 1]?.priority !== priority
      if (enough && stray.length === 0) break
      keys.push(...(lane.all(id, priority, now, wanted) as Key[]))
    }
    return keys.sort(order).slice(0, wanted)
  }

  /** The priorities at which a function has jobs that no one holds, highest first: one seek each. */
  #priorities(funcId: number): number[] {
    const next = this.#sql(
      `SELECT priority FROM job WHERE func_id = ? AND grabbed_until = 0 AND priority < ?
       ORDER BY priority DESC LIMIT 1`,
    ).pluck()
    const priorities: number[] = []
    let below = Number.MAX_SAFE_INTEGER
    for (;;) {
      const priority = next.get(funcId, below) as number | undefined
      if (priority === undefined) return priorities
      priorities.push(priority)
      below = priority
    }
  }

  /** Every waiting job is counted once, along the index: about 30 ns each. */
  #countWaiting(funcId: number, now: number): {ready: number; delayed: number; oldest: number | null} {
    const ended = 'func_id = ? AND grabbed_until BETWEEN 1 AND ? AND run_after'
    let ready = this.#count(`${ended} <= ?`, funcId, now, now)
    let delayed = this.#count(`${ended} > ?`, funcId, now, now)
    const oldestEnded = this.#sql(`SELECT min(run_after) FROM job WHERE ${ended} <= ?`)
      .pluck()
      .get(funcId, now, now)
    let oldest = oldestEnded as number | null
    const lane = 'func_id = ? AND grabbed_until = 0 AND priority = ? AND run_after'
    const head = this.#sql(`SELECT run_after FROM job WHERE ${lane} <= ? ORDER BY run_after LIMIT 1`).pluck()
    for (const priority of this.#priorities(funcId)) {
      ready += this.#count(`${lane} <= ?`, funcId, priority, now)
      delayed += this.#count(`${lane} > ?`, funcId, priority, now)
      const first = head.get(funcId, priority, now) as number | undefined
      if (first !== undefined && (oldest === null || first < oldest)) oldest = first
    }
    return {ready, delayed, oldest}
  }

  #count(condition: string, ...params: unknown[]): number {
    return this.#sql(`SELECT count(*) FROM job WHERE ${condition}`)
      .pluck()
      .get(...params) as number
  }

  #listed(row: JobRow): ListedJob {
    const now = this.#now()
    const state = row.grabbedUntil > now ? 'running' : row.runAfter > now ? 'delayed' : 'ready'
    return {...row, state}
  }
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
}

/** The order of work among ready jobs. */
function byOrder(a: Key, b: Key): number {
  return b.priority - a.priority || byTimeThenId(a, b)
}

/** The order in which delayed jobs come due. */
function byTime(a: Key, b: Key): number {
  return a.runAfter - b.runAfter || b.priority - a.priority || a.id - b.id
}

function byTimeThenId(a: Key, b: Key): number {
  return a.runAfter - b.runAfter || a.id - b.id
}

function byId(a: Key, b: Key): number {
  return a.id - b.id
}

/** The nearest-rank quantile of sorted numbers. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!
}
