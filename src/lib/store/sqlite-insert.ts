/**
 * How jobs come into a SQLite database: enqueued, one or many, or retried from the exception log.
 *
 * A function gets its row on first use, as Qudo does it; ids are remembered until a rollback may have unmade one.
 */
import {AlreadyRetriedError, ArgumentError, DuplicateJobError, JobqError, NotFoundError} from '../errors.ts'
import {type EnqueuedJob, MAX_UINT32, type NewJob} from '../job.ts'
import {lockedError} from './sqlite-errors.ts'
import type {SqliteLink} from './sqlite-link.ts'

export class SqliteInsert {
  readonly #link: SqliteLink
  readonly #funcIds = new Map<string, number>()
  #waiting: {job: NewJob; resolve: (job: EnqueuedJob) => void; reject: (error: unknown) => void}[] = []
  /** The link's, when those ids were so. */
  #rollbacks = 0

  constructor(link: SqliteLink) {
    this.#link = link
  }

  /**
   * Stores the job in one commit with all others that are asked for in the same breath: a durable commit costs an fsync,
   * and a thousand jobs no more than one (measured: 9 µs a job instead of 310). Each has its own refusal.
   */
  insertTogether(job: NewJob): Promise<EnqueuedJob> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({job, resolve, reject})
      if (this.#waiting.length === 1) queueMicrotask(() => void this.#insertWaiting())
    })
  }

  async #insertWaiting(): Promise<void> {
    const batch = this.#waiting
    this.#waiting = []
    try {
      const outcomes = await this.#link.write(() => batch.map(({job}) => this.#insertOrRefuse(job)))
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome instanceof JobqError) batch[i]!.reject(outcome)
        else batch[i]!.resolve(outcome)
      }
    } catch (error) {
      for (const {reject} of batch) reject(error)
    }
  }

  #insertOrRefuse(job: NewJob): EnqueuedJob | JobqError {
    try {
      return this.insert(job)
    } catch (error) {
      if (error instanceof JobqError) return error
      throw error
    }
  }

  insert(job: NewJob): EnqueuedJob {
    const {func, uniqkey, priority} = job
    const runAfter = this.#runAfter(job.due)
    const sql = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
      VALUES (?, ?, ?, ?, 0, ?, 0, ?)`
    const funcId = this.#funcId(func)
    this.#link.arrivals++
    const {lastInsertRowid} = this.#unlessDuplicate({funcId, func, uniqkey}, () =>
      this.#link.sql(sql).run(funcId, job.arg, uniqkey, this.#link.now(), runAfter, priority),
    )
    return {id: Number(lastInsertRowid), func, uniqkey, priority, runAfter}
  }

  /** All of a source in one transaction. @throws what the source throws, as it is */
  async insertMany(jobs: Iterable<NewJob>): Promise<number> {
    let begun = false
    const insertAll = () => {
      // What has begun to read its source can't start over: only the wait for the lock is repeated.
      if (begun) throw lockedError(this.#link.name)
      begun = true
      let inserted = 0
      for (const job of markingErrors(jobs)) {
        this.insert(job)
        inserted++
      }
      return inserted
    }
    return this.#link.write(insertAll).catch(error => {
      throw error instanceof SourceError ? error.cause : error
    })
  }

  retry(exceptionId: number, {priority, due}: Pick<NewJob, 'priority' | 'due'>): EnqueuedJob {
    const exception = this.#link
      .sql(
        `SELECT func_id AS funcId, coalesce(func.name, '#' || func_id) AS func, exception_log.uniqkey, retried
         FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = ?`,
      )
      .get(exceptionId) as {funcId: number; func: string; uniqkey: string | null; retried: number} | undefined
    if (!exception) throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
    if (exception.retried) throw new AlreadyRetriedError(exceptionId)
    const {funcId, func, uniqkey} = exception
    const runAfter = this.#runAfter(due)
    this.#link.arrivals++
    // uniqkey and arg go from row to row inside the database: their bytes and storage class stay as they are
    const row = this.#unlessDuplicate({funcId, func, uniqkey}, () =>
      this.#link
        .sql(
          `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
           SELECT func_id, arg, uniqkey, ?, 0, ?, 0, ? FROM exception_log WHERE id = ?`,
        )
        .run(this.#link.now(), runAfter, priority, exceptionId),
    )
    this.#link.sql('UPDATE exception_log SET retried = 1 WHERE id = ?').run(exceptionId)
    return {id: Number(row.lastInsertRowid), func, uniqkey, priority, runAfter}
  }

  findFuncId(name: string): number | undefined {
    if (this.#rollbacks !== this.#link.rollbacks) this.#funcIds.clear()
    this.#rollbacks = this.#link.rollbacks
    const known = this.#funcIds.get(name)
    if (known !== undefined) return known
    const sql = 'SELECT id FROM func WHERE name = ?'
    const id = this.#link.sql(sql).pluck().get(name) as number | undefined
    if (id !== undefined) this.#funcIds.set(name, id)
    return id
  }

  /** The function's id; its row is made on first use. */
  #funcId(name: string): number {
    const found = this.findFuncId(name)
    if (found !== undefined) return found
    const id = Number(this.#link.sql('INSERT INTO func (name) VALUES (?)').run(name).lastInsertRowid)
    this.#funcIds.set(name, id)
    return id
  }

  #runAfter(due: NewJob['due']): number {
    const runAfter = 'at' in due ? due.at : this.#link.now() + due.in
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
      const id = this.#link.sql(sql).pluck().get(funcId, uniqkey) as number | undefined
      throw new DuplicateJobError(func, uniqkey, id ?? null)
    }
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
