/**
 * The job store on SQLite.
 *
 * One connection in WAL mode. Every write is BEGIN IMMEDIATE … COMMIT, run in one go: no other work of this
 * process comes between its statements. A lock held by another process is waited for without blocking the event
 * loop for more than BUSY_MS at a time.
 *
 * The grab walks lanes. A lane is the ready side of one (function, priority): index entries of jobq_lane with
 * grabbed_until = 0, in the order run_after, id. One seek finds a lane's first entry; if that is not due, nothing
 * in the lane is, and the walk goes on to the next lower priority. So a grab costs functions × priorities, not rows.
 * Lanes that were passed like that are not looked at again until one of their jobs comes due, or a job comes in.
 *
 * Statements with ORDER BY say `+?`: binding a bare `?` that the planner has looked at makes SQLite prepare the
 * statement anew at every run (measured: 3.3 µs for a seek instead of 0.4).
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  realpathSync,
  statSync,
  watch as watchFolder,
} from 'node:fs'
import {basename, dirname} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import Sqlite, {type Database, type Statement} from 'better-sqlite3'
import {
  AlreadyRetriedError,
  ArgumentError,
  DuplicateJobError,
  JobqError,
  NotFoundError,
  StoreError,
} from '../errors.ts'
import {
  ALL_FUNCS,
  type EnqueuedJob,
  type JobRow,
  type Lease,
  MAX_DEATHS,
  MAX_UINT32,
  type NewJob,
  type Settlement,
} from '../job.ts'
import type {JobPlace, LogPlace, Stretch} from './keys.ts'
import {SqliteReads} from './sqlite-reads.ts'
import {initPlan, isPrepared, type SchemaStep, schemaPlan} from './sqlite-schema.ts'
import type {ExceptionPage, JobPage, Page, Peek, SettleResult, Store, Turn, Want, Watch} from './store.ts'

/** How long one attempt at a lock may block the event loop. */
const BUSY_MS = 100
/** How long all attempts together may take before LOCKED is raised. */
const LOCK_PATIENCE_MS = 30_000
/** How many leases that ran out are put back in one transaction. */
const EXPIRE_BATCH = 1000
/** Where the folder can't be watched: how often the change counter is read. */
const POLL_MS = 50
/** How long after a change of the files its commit may take to show: a slow disk's fsync. */
const COMMIT_MS = 5000

export interface SqliteOptions {
  /** Make the file's folder (0700) if it is missing. Default false. */
  makeFolder?: boolean
  /** false: a commit may be lost by a power cut (never by a crash). For a dispatcher. Default true. */
  durable?: boolean
  /** false: leave the schema as it is; for looking only. Default true. */
  prepare?: boolean
  /** Make jobq's tables even in a database that holds something else. Default false. */
  adopt?: boolean
  /** How long a lock is waited for, in milliseconds, before LOCKED is raised. Default 30,000. */
  patience?: number
  /** Now, in milliseconds since 1970. Default Date.now: on SQLite the host's clock is the database's. */
  clock?: () => number
}

/**
 * Opens a SQLite job store, making the file (0600) and the schema on first use, by several processes at once too.
 * @throws StoreError
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const db = await explained(path, async () => {
    makeFile(path, options.makeFolder ?? false)
    return new Sqlite(path, {timeout: BUSY_MS})
  })
  const store = new SqliteStore(db, path, options)
  try {
    await store.setDurable(options.durable ?? true)
    if (options.prepare ?? true) await store.init()
  } catch (error) {
    db.close()
    throw error
  }
  return store
}

type Params = unknown[]

export class SqliteStore implements Store {
  readonly name: string
  readonly #db: Database
  readonly #clock: () => number
  readonly #adopt: boolean
  readonly #patience: number
  readonly #statements = new Map<string, Statement<Params>>()
  readonly #reads: SqliteReads
  /** Function ids, only those known to be committed. */
  readonly #funcIds = new Map<string, number>()
  readonly #funcNames = new Map<number, string>()
  /** Function ids that the open transaction read or made. */
  readonly #newFuncIds = new Map<string, number>()
  /** What the last walk through a function's lanes has passed. */
  readonly #passed = new Map<number, Passed>()
  /** The change counter when that was so. */
  #passedAt: number | null = null
  /** For fair grabs: when each function was last taken from, counted in jobs. */
  readonly #lastServed = new Map<number, number>()
  #served = 0
  readonly #watchers = new Set<() => void>()
  readonly #watches = new Set<Watch>()

  constructor(db: Database, name: string, options: SqliteOptions = {}) {
    this.#db = db
    this.name = name
    this.#clock = options.clock ?? Date.now
    this.#adopt = options.adopt ?? false
    this.#patience = options.patience ?? LOCK_PATIENCE_MS
    this.#reads = new SqliteReads(
      sql => this.#sql(sql),
      () => this.#now(),
    )
  }

  /** The first read of the file: what is no database shows here. */
  async setDurable(durable: boolean): Promise<void> {
    await this.#patiently(() => this.#db.pragma(`synchronous = ${durable ? 'FULL' : 'NORMAL'}`))
  }

  async init(): Promise<void> {
    await this.#patiently(() => {
      if (isPrepared(this.#db)) return
      schemaPlan(this.#db, this.name, this.#adopt) // refuse before anything is changed
      if (this.#db.readonly) return
      this.#db.pragma('journal_mode = WAL')
      this.#transact(() => {
        for (const sql of schemaPlan(this.#db, this.name, this.#adopt)) this.#db.exec(sql)
      })
    }).catch(error => {
      // A file that may only be read can still be listed, without jobq's indexes.
      if (!(error instanceof StoreError && error.code === 'READ_ONLY' && this.#hasQudoTables())) throw error
    })
  }

  /** What prepare would do. */
  plan(): Promise<SchemaStep[]> {
    return this.#read(() => initPlan(this.#db, this.name))
  }

  /** As init, but looks for every table and index, and makes them in a database of something else, too. */
  prepare(): Promise<SchemaStep[]> {
    return this.#patiently(() => {
      if (initPlan(this.#db, this.name).length === 0) return []
      this.#db.pragma('journal_mode = WAL')
      return this.#transact(() => {
        const steps = initPlan(this.#db, this.name)
        for (const {sql} of steps) this.#db.exec(sql)
        return steps
      })
    })
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    const enqueued = await this.#write(() => this.#insert(job))
    this.#notify()
    return enqueued
  }

  async enqueueMany(jobs: Iterable<NewJob>): Promise<number> {
    let begun = false
    const insertAll = () => {
      // What has begun to read its source can't start over: only the wait for the lock is repeated.
      if (begun) throw lockedError(this.name)
      begun = true
      let inserted = 0
      for (const job of markingErrors(jobs)) {
        this.#insert(job)
        inserted++
      }
      return inserted
    }
    const count = await this.#write(insertAll).catch(error => {
      throw error instanceof SourceError ? error.cause : error
    })
    this.#notify()
    return count
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    if (settlements.length === 0) {
      // Nothing to write unless a job is ready: an idle dispatcher that looks must not take the write lock.
      const idle = await this.#read(() => this.#idleTurn(want))
      if (idle) return idle
    }
    const turn = await this.#write(() => {
      const now = this.#now()
      const settled = settlements.map(settlement => this.#settle(settlement, now))
      return {settled, ...this.#grab(want, now), now}
    })
    if (turn.settled.some(({held}) => held)) this.#notify()
    return turn
  }

  async peek(want: Want): Promise<Peek> {
    return this.#read(() => {
      const now = this.#now()
      const head = this.#bestHead(this.#openFuncs(want, now), now)
      const nextDueIn = this.#nextDueIn(this.#funcsOf(want.funcs), now, want, head)
      const dueFor = 'id' in head ? now - head.runAfter : 0
      return {head: 'id' in head ? {priority: head.priority, dueFor} : null, nextDueIn}
    })
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    return this.#write(() => {
      const until = this.#now() + seconds
      return leases.flatMap(({id, grabbedUntil}) => {
        const sql = 'UPDATE job SET grabbed_until = ? WHERE id = ? AND grabbed_until = ?'
        return this.#sql(sql).run(until, id, grabbedUntil).changes === 1 ? [{id, grabbedUntil: until}] : []
      })
    })
  }

  async retry(
    exceptionId: number,
    {priority, due}: {priority: number; due: NewJob['due']},
  ): Promise<EnqueuedJob> {
    const enqueued = await this.#write(() => {
      const exception = this.#sql(
        `SELECT func_id AS funcId, coalesce(func.name, '#' || func_id) AS func, exception_log.uniqkey, retried
         FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = ?`,
      ).get(exceptionId) as
        | {funcId: number; func: string; uniqkey: string | null; retried: number}
        | undefined
      if (!exception)
        throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
      if (exception.retried) throw new AlreadyRetriedError(exceptionId)
      const {funcId, func, uniqkey} = exception
      const runAfter = this.#runAfter(due)
      // uniqkey and arg go from row to row inside the database: their bytes and storage class stay as they are
      this.#passed.clear()
      const row = this.#unlessDuplicate({funcId, func, uniqkey}, () =>
        this.#sql(
          `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
           SELECT func_id, arg, uniqkey, ?, 0, ?, 0, ? FROM exception_log WHERE id = ?`,
        ).run(this.#now(), runAfter, priority, exceptionId),
      )
      this.#sql('UPDATE exception_log SET retried = 1 WHERE id = ?').run(exceptionId)
      return {id: Number(row.lastInsertRowid), func, uniqkey, priority, runAfter}
    })
    this.#notify()
    return enqueued
  }

  async pause(funcs: readonly string[]): Promise<void> {
    const sql = 'INSERT INTO jobq_pause (func) VALUES (?) ON CONFLICT DO NOTHING'
    await this.#write(() => {
      for (const func of funcs) this.#sql(sql).run(func)
    })
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    const sql = 'DELETE FROM jobq_pause WHERE func = ?'
    const resumed = await this.#write(() => funcs.filter(func => this.#sql(sql).run(func).changes === 1))
    this.#notify()
    return resumed
  }

  paused = () => this.#read(() => this.#paused())
  find = (id: number) => this.#read(() => this.#reads.find(id))
  list = (page: JobPage) => this.#read(() => this.#reads.list(page))
  exceptions = (page: ExceptionPage) => this.#read(() => this.#reads.exceptions(page))
  statuses = (page: Page) => this.#read(() => this.#reads.statuses(page))
  eachJob = (page: JobPage) => this.#each((place: JobPlace | null) => this.#reads.jobs(page, place))
  eachException = (page: ExceptionPage) =>
    this.#each((place: LogPlace | null) => this.#reads.exceptionLog(page, place))
  eachStatus = (page: Page) => this.#each((place: LogPlace | null) => this.#reads.statusLog(page, place))
  funcs = () => this.#read(() => this.#reads.funcs().map(({name}) => name))
  counts = (func?: string) => this.#read(() => this.#reads.counts(func))
  times = (func?: string) => this.#read(() => this.#reads.times(func))

  /**
   * Another process's commit touches the -wal file: the folder is watched, and the change counter tells a commit
   * from this connection's own writes. The database file itself is never opened or watched: closing any
   * descriptor on it would drop this process's SQLite locks.
   */
  watch(onChange: () => void): Watch {
    let version = this.#dataVersion()
    const check = () => {
      const seen = this.#dataVersion()
      if (seen === version && seen !== null) return
      version = seen
      onChange()
    }
    const stop = this.#db.memory ? () => {} : watchFile(this.name, check)
    const watch = {
      close: () => {
        this.#watchers.delete(onChange)
        this.#watches.delete(watch)
        stop()
      },
    }
    this.#watchers.add(onChange)
    this.#watches.add(watch)
    return watch
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close()
    this.#db.close()
  }

  // ---- enqueue

  #insert(job: NewJob): EnqueuedJob {
    const {func, uniqkey, priority} = job
    const runAfter = this.#runAfter(job.due)
    const sql = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
      VALUES (?, ?, ?, ?, 0, ?, 0, ?)`
    const funcId = this.#funcId(func)
    this.#passed.clear()
    const {lastInsertRowid} = this.#unlessDuplicate({funcId, func, uniqkey}, () =>
      this.#sql(sql).run(funcId, job.arg, uniqkey, this.#now(), runAfter, priority),
    )
    return {id: Number(lastInsertRowid), func, uniqkey, priority, runAfter}
  }

  #runAfter(due: NewJob['due']): number {
    const runAfter = 'at' in due ? due.at : this.#now() + due.in
    if (runAfter <= MAX_UINT32) return runAfter
    throw new ArgumentError(`run_after: expected a time before 2106-02-07T06:28:16Z, got ${runAfter}`)
  }

  #unlessDuplicate<T>(key: {funcId: number; func: string; uniqkey: string | null}, insert: () => T): T {
    try {
      return insert()
    } catch (error) {
      const {funcId, func, uniqkey} = key
      if ((error as {code?: string}).code !== 'SQLITE_CONSTRAINT_UNIQUE' || uniqkey === null) throw error
      const sql = 'SELECT id FROM job WHERE func_id = ? AND uniqkey = ?'
      const id = this.#sql(sql).pluck().get(funcId, uniqkey) as number | undefined
      throw new DuplicateJobError(func, uniqkey, id ?? null)
    }
  }

  /** The function's id; its row is made on first use, as Qudo does. */
  #funcId(name: string): number {
    const found = this.#findFuncId(name)
    if (found !== undefined) return found
    const id = Number(this.#sql('INSERT INTO func (name) VALUES (?)').run(name).lastInsertRowid)
    this.#newFuncIds.set(name, id)
    return id
  }

  #findFuncId(name: string): number | undefined {
    const known = this.#funcIds.get(name) ?? this.#newFuncIds.get(name)
    if (known !== undefined) return known
    const id = this.#sql('SELECT id FROM func WHERE name = ?').pluck().get(name) as number | undefined
    if (id !== undefined) this.#newFuncIds.set(name, id)
    return id
  }

  // ---- settle

  #settle({lease: {id, grabbedUntil}, outcome, span}: Settlement, now: number): SettleResult {
    const mine = [id, grabbedUntil] as const
    if (outcome.kind !== 'completed' && outcome.kind !== 'aborted') this.#passed.clear()
    switch (outcome.kind) {
      case 'released': {
        const sql = 'UPDATE job SET grabbed_until = 0 WHERE id = ? AND grabbed_until = ?'
        return {held: this.#sql(sql).run(...mine).changes === 1}
      }
      case 'completed': {
        if (span) this.#logStatus(mine, 'completed', span)
        return {held: this.#delete(mine)}
      }
      case 'replaced':
        return this.#replace(mine, outcome, span, now)
      case 'aborted': {
        if (!this.#logException(mine, outcome.reason, now)) return {held: false}
        if (span) this.#logStatus(mine, 'abort', span)
        return {held: this.#delete(mine)}
      }
      case 'failed': {
        if (!this.#logException(mine, outcome.message, now)) return {held: false}
        if (span) this.#logStatus(mine, 'failed', span)
        if (outcome.retryIn === null) return {held: this.#delete(mine)}
        const sql = `UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + 1, run_after = ?
          WHERE id = ? AND grabbed_until = ?`
        const runAfter = Math.min(now + outcome.retryIn, MAX_UINT32)
        return {held: this.#sql(sql).run(runAfter, ...mine).changes === 1}
      }
      case 'died':
        this.#sweepDeaths()
        return this.#countDeath(mine, outcome.how, span, now)
    }
  }

  /**
   * A death of the job's worker: the job goes back to its lane, or fails for good with its last one. The count is kept
   * in the database, so that it holds across processes; ids are never used twice, so rows of jobs that are gone do no
   * harm until the next death sweeps them away.
   */
  #countDeath(
    mine: readonly [number, number],
    how: string,
    span: Settlement['span'],
    now: number,
  ): SettleResult {
    const [id] = mine
    const sql = `INSERT INTO jobq_death (job_id, died_at, how)
      SELECT id, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
    if (this.#sql(sql).run(now, how, ...mine).changes === 0) return {held: false}
    const deaths = this.#sql('SELECT how FROM jobq_death WHERE job_id = ? ORDER BY id')
      .pluck()
      .all(id) as string[]
    if (deaths.length < MAX_DEATHS)
      return {held: this.#sql('UPDATE job SET grabbed_until = 0 WHERE id = ?').run(id).changes === 1}
    const failed = `its worker died ${deaths.length} times: ${deaths.map((death, i) => `${i + 1}. ${death}`).join('; ')}`
    this.#logException(mine, failed, now)
    if (span) this.#logStatus(mine, 'failed', span)
    this.#sql('DELETE FROM jobq_death WHERE job_id = ?').run(id)
    return {held: this.#delete(mine), failed}
  }

  #sweepDeaths(): void {
    this.#sql('DELETE FROM jobq_death WHERE job_id NOT IN (SELECT id FROM job)').run()
  }

  /** The new jobs and the old one's end are one: if a new one is refused, none is stored and the old one has failed. */
  #replace(
    mine: readonly [number, number],
    {jobs, retryIn}: {jobs: readonly NewJob[]; retryIn: number | null},
    span: Settlement['span'],
    now: number,
  ): SettleResult {
    this.#sql('SAVEPOINT replacing').run()
    try {
      if (span) this.#logStatus(mine, 'completed', span)
      const held = this.#delete(mine)
      if (held) for (const job of jobs) this.#insert(job)
      this.#sql('RELEASE replacing').run()
      return {held}
    } catch (error) {
      if (!(error instanceof JobqError)) throw error
      this.#sql('ROLLBACK TO replacing').run()
      this.#sql('RELEASE replacing').run()
      this.#newFuncIds.clear()
      const message = `job.replace: ${error.message}`
      const [id, grabbedUntil] = mine
      const outcome = {kind: 'failed', message, retryIn} as const
      return {...this.#settle({lease: {id, grabbedUntil}, outcome, span}, now), failed: message}
    }
  }

  #delete(mine: readonly [number, number]): boolean {
    return this.#sql('DELETE FROM job WHERE id = ? AND grabbed_until = ?').run(...mine).changes === 1
  }

  #logException(mine: readonly [number, number], message: string, now: number): boolean {
    const sql = `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
      SELECT func_id, ?, ?, uniqkey, arg, 0 FROM job WHERE id = ? AND grabbed_until = ?`
    return this.#sql(sql).run(now, message, ...mine).changes === 1
  }

  #logStatus(mine: readonly [number, number], status: string, span: {start: number; end: number}): void {
    const sql = `INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
      SELECT func_id, arg, uniqkey, ?, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
    this.#sql(sql).run(status, span.start, span.end, ...mine)
  }

  // ---- grab

  /** What a turn without settlements says if there is nothing to take; null if there may be. */
  #idleTurn(want: Want): Turn | null {
    const now = this.#now()
    this.#noticeOthers()
    const nextDueIn = want.limit === 0 ? null : this.#nextDueIn(this.#funcsOf(want.funcs), now, want)
    return nextDueIn === 0 ? null : {settled: [], buried: [], jobs: [], nextDueIn, now}
  }

  /** Takes the best heads, one after the other. */
  #grab(want: Want, now: number): Pick<Turn, 'buried' | 'jobs' | 'nextDueIn'> {
    const {limit, lease, maxRunning, fair, held} = want
    if (limit === 0) return {buried: [], jobs: [], nextDueIn: null}
    this.#noticeOthers()
    const funcIds = this.#funcsOf(want.funcs)
    const buried = this.#releaseEnded(funcIds, now)
    let open = this.#openFuncs(want, now)
    const jobs: JobRow[] = []
    while (jobs.length < limit) {
      const head = this.#bestHead(open, now, fair)
      if (!('id' in head)) return {buried, jobs, nextDueIn: this.#nextDueIn(funcIds, now, want, head)}
      if (held?.has(this.#funcNames.get(head.funcId)!)) return {buried, jobs, nextDueIn: null}
      const job = this.#take(head.id, now + lease)
      jobs.push(job)
      if (fair) this.#lastServed.set(job.funcId, ++this.#served)
      if (maxRunning?.has(job.func)) open = this.#openFuncs(want, now)
    }
    return {buried, jobs, nextDueIn: null}
  }

  #take(id: number, until: number): JobRow {
    const sql = `UPDATE job SET grabbed_until = ? WHERE id = ?
      RETURNING id, func_id AS funcId, CAST(arg AS BLOB) AS arg, uniqkey, enqueue_time AS enqueueTime,
        grabbed_until AS grabbedUntil, run_after AS runAfter, retry_cnt AS retryCnt, priority`
    const row = this.#sql(sql).get(until, id) as JobRow
    row.func = this.#funcNames.get(row.funcId)!
    return row
  }

  /** The first of all functions' heads: highest priority, then longest due, then lowest id. */
  #bestHead(funcIds: readonly number[], now: number, fair = false): Head | NoHead {
    let best: Head | null = null
    let dueAt: number | null = null
    for (const funcId of funcIds) {
      const head = this.#head(funcId, now)
      if ('id' in head) {
        if (best === null || this.#isSooner(head, best, fair)) best = head
      } else if (head.dueAt !== null && (dueAt === null || head.dueAt < dueAt)) dueAt = head.dueAt
    }
    return best ?? {dueAt}
  }

  #isSooner(a: Head, b: Head, fair: boolean): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority
    if (fair) return (this.#lastServed.get(a.funcId) ?? 0) < (this.#lastServed.get(b.funcId) ?? 0)
    if (a.runAfter !== b.runAfter) return a.runAfter < b.runAfter
    return a.id < b.id
  }

  /** Those functions that may be taken from: not paused, and not running as often as they may already. */
  #openFuncs({funcs, maxRunning}: Want, now: number): number[] {
    const paused = this.#paused()
    if (paused.includes(ALL_FUNCS)) return []
    const open = paused.length === 0 ? funcs : funcs.filter(func => !paused.includes(func))
    const ids = this.#funcsOf(open)
    if (!maxRunning || maxRunning.size === 0) return ids
    return ids.filter(id => {
      const most = maxRunning.get(this.#funcNames.get(id)!) ?? 0
      return most === 0 || this.#countRunning(id, now, most) < most
    })
  }

  /** Counts no further than it must: the cost is that of the limit, not of the leases. */
  #countRunning(funcId: number, now: number, most: number): number {
    const sql = `SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY jobq_lane
      WHERE func_id = ? AND grabbed_until > ? LIMIT ?)`
    return this.#sql(sql).pluck().get(funcId, now, most) as number
  }

  #paused(): string[] {
    return this.#sql('SELECT func FROM jobq_pause ORDER BY func').pluck().all() as string[]
  }

  /** Walks one function's lanes from the highest priority down to the first whose head is due. */
  #head(funcId: number, now: number): Head | NoHead {
    const lane = this.#sql(
      `SELECT id, priority, run_after AS runAfter FROM job INDEXED BY jobq_lane
       WHERE func_id = +? AND grabbed_until = 0 AND priority = (
         SELECT priority FROM job INDEXED BY jobq_lane
         WHERE func_id = +? AND grabbed_until = 0 AND priority < +? ORDER BY priority DESC LIMIT 1)
       ORDER BY run_after, id LIMIT 1`,
    )
    const passed = this.#passed.get(funcId)
    let {below, dueAt} = passed && (passed.dueAt ?? Infinity) > now ? passed : NOTHING_PASSED
    for (;;) {
      const head = lane.get(funcId, funcId, below) as Head | undefined
      if (!head || head.runAfter <= now) {
        this.#passed.set(funcId, {below, dueAt})
        return head ? {...head, funcId} : {dueAt}
      }
      if (dueAt === null || head.runAfter < dueAt) dueAt = head.runAfter
      below = head.priority
    }
  }

  /** What another connection has committed may have put a job into any lane. */
  #noticeOthers(): void {
    const version = this.#dataVersion()
    if (version !== this.#passedAt) this.#passed.clear()
    this.#passedAt = version
  }

  #nextLeaseEnd(funcId: number): number | null {
    const sql = `SELECT grabbed_until FROM job INDEXED BY jobq_lane WHERE func_id = +? AND grabbed_until > 0
      ORDER BY grabbed_until LIMIT 1`
    return (this.#sql(sql).pluck().get(funcId) as number | undefined) ?? null
  }

  /** Puts jobs whose lease ran out back into their lanes: their worker is gone, and its machine may be. */
  #releaseEnded(funcIds: readonly number[], now: number): Turn['buried'] {
    const sql = `SELECT id, grabbed_until AS grabbedUntil FROM job INDEXED BY jobq_lane
      WHERE func_id = +? AND grabbed_until BETWEEN 1 AND +? ORDER BY grabbed_until LIMIT ${EXPIRE_BATCH}`
    const buried: Turn['buried'] = []
    for (const funcId of funcIds) {
      if ((this.#nextLeaseEnd(funcId) ?? Infinity) > now) continue
      this.#passed.clear()
      this.#sweepDeaths()
      for (const {id, grabbedUntil} of this.#sql(sql).all(funcId, now) as Lease[]) {
        const how = 'its lease ran out (its dispatcher or machine is gone)'
        const {failed} = this.#countDeath([id, grabbedUntil], how, undefined, now)
        if (failed !== undefined) buried.push({id, func: this.#funcNames.get(funcId)!, message: failed})
      }
    }
    return buried
  }

  #nextDueIn(
    funcIds: readonly number[],
    now: number,
    want: Want,
    head = this.#bestHead(this.#openFuncs(want, now), now),
  ): number | null {
    if ('id' in head) return 0
    const ends = funcIds.flatMap(funcId => this.#nextLeaseEnd(funcId) ?? [])
    const next = Math.min(head.dueAt ?? Infinity, ...ends)
    return next === Infinity ? null : Math.max(0, next - now)
  }

  /** Ids of those functions that have a row already; a function no one has enqueued yet has no jobs. */
  #funcsOf(names: readonly string[]): number[] {
    const ids: number[] = []
    for (const name of names) {
      const id = this.#findFuncId(name)
      if (id === undefined) continue
      this.#funcNames.set(id, name)
      ids.push(id)
    }
    return ids
  }

  // ---- the connection

  #sql(sql: string): Statement<Params> {
    let statement = this.#statements.get(sql)
    if (!statement) {
      statement = this.#db.prepare<Params>(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #now(): number {
    return Math.floor(this.#clock() / 1000)
  }

  /** Grows with every commit of another connection; null if it can't be read: the next turn says why. */
  #dataVersion(): number | null {
    try {
      return this.#sql('PRAGMA data_version').pluck().get() as number
    } catch {
      return null
    }
  }

  #hasQudoTables(): boolean {
    const sql = `SELECT count(*) FROM sqlite_master WHERE name IN ('func', 'job', 'exception_log', 'job_status')`
    return this.#sql(sql).pluck().get() === 4
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher()
  }

  /** Several reads of one moment. */
  #read<T>(work: () => T): Promise<T> {
    return this.#patiently(() => {
      this.#sql('BEGIN').run()
      return this.#finishTransaction(work)
    })
  }

  /** A listing row by row: every stretch of it is a read of its own. */
  async *#each<Row, Place>(stretch: (place: Place | null) => Stretch<Row, Place>): AsyncGenerator<Row> {
    let place: Place | null = null
    do {
      const from: Place | null = place
      const {rows, next}: Stretch<Row, Place> = await this.#read(() => stretch(from))
      yield* rows
      place = next
    } while (place)
  }

  #write<T>(work: () => T): Promise<T> {
    return this.#patiently(() => this.#transact(work))
  }

  #transact<T>(work: () => T): T {
    this.#sql('BEGIN IMMEDIATE').run()
    return this.#finishTransaction(work)
  }

  #finishTransaction<T>(work: () => T): T {
    try {
      const result = work()
      this.#sql('COMMIT').run()
      for (const [name, id] of this.#newFuncIds) this.#funcIds.set(name, id)
      return result
    } catch (error) {
      this.#passed.clear()
      throw error
    } finally {
      this.#newFuncIds.clear()
      if (this.#db.inTransaction) this.#sql('ROLLBACK').run()
    }
  }

  /** Repeats what met a lock, a little later each time, until the patience is at its end. */
  async #patiently<T>(work: () => T): Promise<T> {
    const giveUpAt = performance.now() + this.#patience
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      try {
        return work()
      } catch (error) {
        if (!isBusy(error) || performance.now() > giveUpAt) throw explain(this.name, error)
      }
      await sleep(pause * (0.5 + Math.random()))
    }
  }
}

/** The first job of a function that is due. */
interface Head {
  id: number
  funcId: number
  priority: number
  runAfter: number
}

/** At this priority and above nothing of a function is due before dueAt; null: nothing waits there. */
interface Passed {
  below: number
  dueAt: number | null
}
const NOTHING_PASSED: Passed = {below: Number.MAX_SAFE_INTEGER, dueAt: null}

/** None is due; the first one will be then. */
interface NoHead {
  dueAt: number | null
}

export function noFolder(folder: string): StoreError {
  return new StoreError('UNREACHABLE', `expected a folder for the database, but ${folder} does not exist`, {
    hint: `make it (mkdir -p ${folder}) or check --db`,
  })
}

function makeFile(path: string, makeFolder: boolean): void {
  if (path === ':memory:' || existsSync(path)) {
    if (path !== ':memory:' && statSync(path).isDirectory())
      throw new StoreError('UNREACHABLE', `expected a SQLite file, got a folder: ${path}`, {
        hint: `name a file in it, such as --db ${path.replace(/\/$/, '')}/jobq.db`,
      })
    return
  }
  const folder = dirname(path)
  if (!existsSync(folder)) {
    if (!makeFolder) throw noFolder(folder)
    mkdirSync(folder, {recursive: true, mode: 0o700})
  }
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // another process was faster
  }
}

/**
 * Watches a database's folder for changes of its files; falls back to polling where that can't be done.
 *
 * A commit writes the -wal file, then waits for the disk, and only then shows to readers: its last event comes
 * before there is anything to see. So every event starts a series of looks, which no look ends.
 */
function watchFile(path: string, check: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let lookUntil = 0
  const look = (pause: number) => {
    clearTimeout(timer)
    if (performance.now() < lookUntil) timer = setTimeout(look, pause, Math.min(pause * 2, POLL_MS))
    check()
  }
  const poll = () => {
    lookUntil = Infinity
    look(POLL_MS)
  }
  try {
    const real = realpathSync(path) // SQLite keeps the -wal beside the file that a symbolic link leads to
    const watcher = watchFolder(dirname(real), (_event, changed) => {
      if (changed !== null && !changed.startsWith(basename(real))) return
      lookUntil = Math.max(lookUntil, performance.now() + COMMIT_MS)
      look(1)
    })
    watcher.on('error', poll) // out of inotify watches, say
    return () => {
      watcher.close()
      clearTimeout(timer)
    }
  } catch {
    poll()
    return () => clearTimeout(timer)
  }
}

/** What an enqueueMany's source threw: it is the caller's, whatever code it carries. */
class SourceError extends Error {}

function* markingErrors<T>(source: Iterable<T>): Iterable<T> {
  try {
    yield* source
  } catch (cause) {
    throw new SourceError('', {cause})
  }
}

async function explained<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw explain(name, error)
  }
}

function isBusy(error: unknown): boolean {
  const code = (error as {code?: unknown}).code
  return typeof code === 'string' && (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED'))
}

/** SQLite's codes in a user's words. What is not SQLite's or the system's is a defect and stays as it is. */
function explain(name: string, error: unknown): unknown {
  if (error instanceof JobqError) return error
  const {code, message} = error as {code?: string; message: string}
  const cause = error
  if (typeof code !== 'string') return error
  if (isBusy(error)) return lockedError(name, cause)
  if (code === 'SQLITE_NOTADB')
    return new StoreError('DAMAGED', `expected a SQLite database, got something else: ${name}`, {
      hint: 'check --db; the file was not changed',
      cause,
    })
  if (code.startsWith('SQLITE_CORRUPT'))
    return new StoreError('DAMAGED', `${name} is damaged (${message})`, {
      hint: 'restore it from a backup, or save what can be read: sqlite3 FILE .recover',
      cause,
    })
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'ENOSPC')
    return new StoreError('FULL', `no room left on the file system of ${name}; nothing was stored`, {
      hint: 'free some space and try again',
      cause,
    })
  if (code.startsWith('SQLITE_READONLY') || code === 'EROFS')
    return new StoreError('READ_ONLY', `${name} can only be read (${message})`, {
      hint: 'give this user write permission to the file and its folder',
      cause,
    })
  if (code.startsWith('SQLITE_CANTOPEN') || /^E[A-Z]+$/.test(code))
    return new StoreError('UNREACHABLE', `can't open ${name} (${message})`, {
      hint: 'check that this user may read and write the file and its folder',
      cause,
    })
  if (code.startsWith('SQLITE_')) return new StoreError('DATABASE', `${name}: ${message} (${code})`, {cause})
  return error
}

function lockedError(name: string, cause?: unknown): StoreError {
  return new StoreError('LOCKED', `${name} stayed locked by another process`, {
    hint: 'some process holds a transaction open; find it (`fuser` names it) and try again',
    cause,
  })
}
