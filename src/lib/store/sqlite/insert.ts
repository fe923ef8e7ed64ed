/**
 * How jobs come into a SQLite database, within a transaction: the row of `job`, and what is kept beside it in jobq's
 * own tables, its context and whether someone wants to know how it ends.
 */
import {
  ArgumentError,
  checkNth,
  DuplicateJobError,
  idTooLarge,
  JobqError,
  type StoreError,
} from '../../jobs/errors.ts'
import {type EnqueuedJob, KEPT_SECONDS, MAX_ID, MAX_UINT32, type NewJob} from '../../jobs/job.ts'
import {Batcher, tell} from '../shared/batcher.ts'
import type {SqliteConnection} from './connection.ts'

/** How long the event loop may be kept. */
const BREATH_MS = 3
/**
 * What shares a commit at most, in jobs and in bytes of arguments: the event loop can't go on meanwhile (measured with
 * 250: 1 to 3 ms, of which the flush of the disk is 0.3; with 1,000 twenty).
 */
const MOST_TOGETHER = {jobs: 250, bytes: 1 << 20}
/** Rows of jobs that left unseen are looked for at every so many rows that are added, among more rows than that. */
const SWEEP_EVERY = 50
const SWEEP_ROWS = 100

/** Tables are named with their schema: the connection may be a caller's, who has temporary ones of the same name. */
export class SqliteInsert {
  readonly #link: SqliteConnection
  readonly #funcIds = new Map<string, number>()
  readonly #batcher = new Batcher(MOST_TOGETHER)
  /** When it was first enqueued in this round of the event loop; null if it was not yet. */
  #breathedAt: number | null = null
  /** The link's, when those ids were so. */
  #rollbacks = 0
  #untilSweep = 1 + Math.floor(Math.random() * SWEEP_EVERY) // most processes that enqueue are short
  readonly #sweptTo: Record<string, number> = {}

  constructor(link: SqliteConnection) {
    this.#link = link
  }

  /**
   * Stores the job in one commit with all others that are asked for in the same breath: a durable commit costs an fsync,
   * and 250 jobs no more than one (measured: 13 µs a job instead of 310). Each has its own refusal.
   */
  insertTogether(job: NewJob): Promise<EnqueuedJob> {
    return this.#batcher.add(job, () => this.#soon(() => void this.#insertWaiting()))
  }

  /** In this very breath; but one `await enqueue()` after the other must not keep the event loop waiting for ever. */
  #soon(work: () => void): void {
    if (this.#breathedAt === null) {
      this.#breathedAt = Date.now()
      setImmediate(() => {
        this.#breathedAt = null
      })
    }
    if (Date.now() - this.#breathedAt < BREATH_MS) queueMicrotask(work)
    else setImmediate(work)
  }

  async #insertWaiting(): Promise<void> {
    const batch = this.#batcher.cut()
    if (this.#batcher.size > 0) setImmediate(() => void this.#insertWaiting())
    try {
      const insert = () => batch.map(({job}) => this.#insertOrRefuse(job))
      const isOne = batch.length === 1 && this.#isOneRow(batch[0]!.job)
      tell(batch, await (isOne ? this.#link.writeOne(insert) : this.#link.write(insert)))
    } catch (error) {
      for (const {reject} of batch) reject(error)
    }
  }

  /** Is all that there is to write the job's own row? */
  #isOneRow({func, context, tracked}: NewJob): boolean {
    return context === undefined && !tracked && this.#knownFuncId(func) !== undefined
  }

  #insertOrRefuse(job: NewJob): EnqueuedJob | JobqError {
    try {
      return this.insert(job)
    } catch (error) {
      if (error instanceof JobqError) return error
      throw error
    }
  }

  /** @throws DuplicateJobError, ArgumentError, and then nothing of it is there */
  insert(job: NewJob): EnqueuedJob {
    const {func, uniqkey, priority} = job
    const runAfter = this.runAfter(job.due)
    const sql = `INSERT INTO main.job
        (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
      VALUES (?, ?, ?, ?, 0, ?, 0, ?)`
    const funcId = this.#funcId(func)
    this.#link.arrivals++
    const row = this.unlessDuplicate({funcId, func, uniqkey}, () =>
      this.#link.sql(sql).run(funcId, job.arg, uniqkey, this.#link.now(), runAfter, priority),
    )
    const id = this.idOf(row)
    if (job.context !== undefined || job.tracked) this.#insertBeside(id, job)
    return {id, func, uniqkey, priority, runAfter}
  }

  /** Of the row that was inserted last. @throws StoreError, and then it is not there, if it is none that could be told */
  idOf({lastInsertRowid}: {lastInsertRowid: number | bigint}): number {
    const id = Number(lastInsertRowid)
    if (id > MAX_ID) throw this.#unmake()
    return id
  }

  #unmake(): StoreError {
    const digits = this.#link.pluck('SELECT CAST(last_insert_rowid() AS TEXT)').get() as string
    this.#link.sql('DELETE FROM main.job WHERE id = last_insert_rowid()').run()
    return idTooLarge('job', digits)
  }

  /**
   * @param before how many were inserted before these
   * @returns how many there are with these
   * @throws as insert, with `nth`
   */
  insertAll(jobs: readonly NewJob[], before = 0): number {
    let inserted = before
    for (const job of jobs) {
      checkNth(inserted + 1, () => this.insert(job))
      inserted++
    }
    return inserted
  }

  /** An id that was given before, by a table that someone has made anew, may still have a row. */
  #insertBeside(id: number, {context, tracked}: NewJob): void {
    const keep = 'INSERT OR REPLACE INTO main.jobq_context (job_id, context) VALUES (?, ?)'
    if (context !== undefined) this.#link.sql(keep).run(id, context)
    if (tracked) this.#link.sql('INSERT OR REPLACE INTO main.jobq_wait (job_id) VALUES (?)').run(id)
    this.sweepNowAndThen(id)
  }

  /**
   * A job that Perl or an older jobq has worked leaves its rows behind, and so does an end that nobody asks for within a
   * day. Whoever adds rows looks for such, a stretch of the table at a time, so that they can't pile up.
   * @param id the greatest id there is
   */
  sweepNowAndThen(id: number): void {
    if (--this.#untilSweep > 0) return
    this.#untilSweep = SWEEP_EVERY
    this.#sweep('jobq_context', id, '1')
    this.#sweep('jobq_wait', id, `(outcome IS NULL OR ended_at < ${this.#link.now() - KEPT_SECONDS})`)
  }

  #sweep(table: string, id: number, condition: string): void {
    const from = this.#sweptTo[table] ?? Math.floor(Math.random() * id)
    const stretch = `SELECT max(job_id), count(*) FROM
      (SELECT job_id FROM main.${table} WHERE job_id > ? ORDER BY job_id LIMIT ?)`
    const [to, rows] = this.#link.raw(stretch).get(from, SWEEP_ROWS) as [number | null, number]
    this.#sweptTo[table] = rows < SWEEP_ROWS || to === null ? 0 : to
    this.#link.db
      .prepare(
        `DELETE FROM main.${table} WHERE job_id > ? AND job_id <= ?
         AND job_id NOT IN (SELECT id FROM main.job) AND ${condition}`,
      )
      .run(from, to)
  }

  #knownFuncId(name: string): number | undefined {
    if (this.#rollbacks !== this.#link.rollbacks) this.#funcIds.clear()
    this.#rollbacks = this.#link.rollbacks
    return this.#funcIds.get(name)
  }

  findFuncId(name: string): number | undefined {
    const known = this.#knownFuncId(name)
    if (known !== undefined) return known
    const sql = 'SELECT id FROM main.func WHERE name = '
    const find = (value: string) => this.#link.pluck(sql + value).get(name) as number | undefined
    const id = find('?') ?? find('CAST(? AS BLOB)') // as another program may have bound it
    if (id !== undefined) this.#funcIds.set(name, id)
    return id
  }

  /** The function's id; its row is made on first use. */
  #funcId(name: string): number {
    const found = this.findFuncId(name)
    if (found !== undefined) return found
    const id = Number(this.#link.sql('INSERT INTO main.func (name) VALUES (?)').run(name).lastInsertRowid)
    this.#funcIds.set(name, id)
    return id
  }

  /** @throws ArgumentError */
  runAfter(due: NewJob['due']): number {
    const runAfter = 'at' in due ? due.at : this.#link.now() + due.in
    if (runAfter <= MAX_UINT32) return runAfter
    throw new ArgumentError(`run_after: expected a time before 2106-02-07T06:28:16Z, got ${runAfter}`)
  }

  /** @throws DuplicateJobError where the unique key refuses the row */
  unlessDuplicate<T>(key: {funcId: number; func: string; uniqkey: string | null}, insert: () => T): T {
    try {
      return insert()
    } catch (error) {
      const {funcId, func, uniqkey} = key
      if ((error as {code?: string}).code !== 'SQLITE_CONSTRAINT_UNIQUE' || uniqkey === null) throw error
      const sql = 'SELECT id FROM main.job WHERE func_id = ? AND uniqkey = ?'
      const id = this.#link.pluck(sql).get(funcId, uniqkey) as number | undefined
      throw new DuplicateJobError(func, uniqkey, id ?? null)
    }
  }
}
