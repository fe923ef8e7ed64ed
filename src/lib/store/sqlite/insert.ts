/**
 * How jobs come into a SQLite database, within a transaction: the row of `job`, and what is kept beside it in jobq's
 * own tables, its context and whether someone wants to know how it ends.
 */
import {checkNth, idTooLarge, JobqError, type StoreError} from '../../jobs/errors.ts'
import {type EnqueuedJob, KEPT_SECONDS, MAX_ID, type NewJob} from '../../jobs/job.ts'
import {Batcher, tell} from '../shared/batcher.ts'
import {checkRunAfter} from '../shared/due.ts'
import {enqueuedAs} from '../shared/tokens.ts'
import {edgesIn, insertEdges, NEVER} from './after/edges.ts'
import type {SqliteConnection} from './connection.ts'
import {insertBatch} from './side-tables/batches.ts'
import {insertExpiry} from './side-tables/expiries.ts'
import {IS_TAKEN, refusalOf, takeKey} from './side-tables/keys.ts'
import {insertTags} from './side-tables/tags.ts'
import {insertToken, storedUnder} from './side-tables/tokens.ts'
import {commitAlone} from './wal/lone-commit.ts'

/** What is kept beside a job's row. */
type Beside = Pick<NewJob, 'context' | 'tracked' | 'tags' | 'expires'>

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

const COLUMNS = 'func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority'
const INSERT = `INSERT INTO main.job (${COLUMNS}) VALUES (?, ?, ?, ?, 0, ?, 0, ?)`
/**
 * One statement, so that nobody takes the key in between: one that is taken makes it fail (measured: 0.4 µs more than without,
 * where INSERT … SELECT takes 1.3).
 */
const INSERT_KEYED = `INSERT INTO main.job (${COLUMNS}) VALUES (iif(${IS_TAKEN}, NULL, ?), ?, ?, ?, 0, ?, 0, ?)`
const REFUSED = ['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_NOTNULL']

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
  /** Of insertAll's jobs: in one transaction ids follow each other. */
  #firstId = 0
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

  /** The same for a process that has the file to itself, and ends with this. */
  async insertAlone(job: NewJob): Promise<EnqueuedJob> {
    return (await commitAlone(this.#link, () => this.insert(job))) ?? this.insertTogether(job)
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
  #isOneRow({func, context, tracked, after, tags, expires, uniqFor, token}: NewJob): boolean {
    const others = [context, after, tags, expires, uniqFor, token]
    const isAlone = !tracked && others.every(other => other === undefined)
    return isAlone && this.#knownFuncId(func) !== undefined
  }

  #insertOrRefuse(job: NewJob): EnqueuedJob | JobqError {
    try {
      return this.insert(job)
    } catch (error) {
      if (error instanceof JobqError) return error
      throw error
    }
  }

  /**
   * @param idOf of the nth job that was inserted before it
   * @throws DuplicateJobError, ArgumentError, NotFoundError, AfterFailedError, and then nothing of it is there
   */
  insert(job: NewJob, idOf?: (nth: number) => number | undefined): EnqueuedJob {
    const {func, uniqkey, priority, after, token} = job
    const stored = token === undefined ? undefined : storedUnder(this.#link, token)
    if (stored) return enqueuedAs(job, stored)
    const runAfter = this.runAfter(job.due)
    const edges = after === undefined ? [] : edgesIn(this.#link, job, idOf)
    const funcId = this.#funcId(func)
    this.#link.arrivals++
    const due = edges.length > 0 ? NEVER : runAfter
    const now = this.#link.now()
    const row = this.unlessDuplicate({funcId, func, uniqkey}, () =>
      uniqkey === null || job.isContinuation
        ? this.#link.sql(INSERT).run(funcId, job.arg, uniqkey, now, due, priority)
        : this.#link
            .sql(INSERT_KEYED)
            .run(funcId, uniqkey, now, funcId, job.arg, uniqkey, now, due, priority),
    )
    const id = this.idOf(row)
    if (job.uniqFor !== undefined && uniqkey !== null)
      takeKey(this.#link, {funcId, uniqkey, jobId: id, seconds: job.uniqFor})
    if (edges.length > 0) insertEdges(this.#link, id, edges, runAfter)
    if (job.batch !== undefined) insertBatch(this.#link, id, job.batch)
    this.insertBeside(id, job)
    if (token !== undefined) insertToken(this.#link, token, job, id)
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
    const idOf = (nth: number) => (nth >= 1 && nth <= inserted ? this.#firstId + nth - 1 : undefined)
    for (const job of jobs) {
      const {id} = checkNth(inserted + 1, () => this.insert(job, idOf))
      if (inserted === 0) this.#firstId = id
      inserted++
    }
    return inserted
  }

  /** What is kept beside a job's row. An id that was given before, by a table that someone has made anew, may still have some. */
  insertBeside(id: number, {context, tracked, tags, expires}: Beside): void {
    if (tags) insertTags(this.#link, id, tags)
    if (expires !== undefined) insertExpiry(this.#link, id, expires)
    if (context === undefined && !tracked) return
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
    return checkRunAfter('at' in due ? due.at : this.#link.now() + due.in)
  }

  /** @throws DuplicateJobError where the unique key refuses the row */
  unlessDuplicate<T>(key: {funcId: number; func: string; uniqkey: string | null}, insert: () => T): T {
    try {
      return insert()
    } catch (error) {
      const {funcId, func, uniqkey} = key
      if (uniqkey === null || !REFUSED.includes((error as {code?: string}).code ?? '')) throw error
      throw refusalOf(this.#link, {funcId, func, uniqkey})
    }
  }
}
