/**
 * Storing jobs on MySQL by multi-row INSERTs of bounded size, within a transaction that someone else has begun and
 * ends.
 */

import {checkNth, DuplicateJobError, StoreError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {type Edge, edgesOf, idsIn} from '../shared/after.ts'
import {checkRunAfter} from '../shared/due.ts'
import {knownOf, NEVER} from './after.ts'
import type {Session, Value} from './connections/connection.ts'
import {ERRNO, hasErrno, isDenied} from './errors.ts'
import {idOfRow} from './rows.ts'
import {insertBatch} from './side-tables/batches.ts'
import {insertExpiries} from './side-tables/expiries.ts'
import {areTaken, checkKeys, takeKey, takerOf} from './side-tables/keys.ts'
import {insertTags} from './side-tables/tags.ts'
import {insertTokens, type Named} from './side-tables/tokens.ts'

export const COLUMNS = 'func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority'
/** The most rows, and about the most bytes of arguments, in one INSERT. */
const INSERT_ROWS = 1000
/** The most rows of jobq_after in one INSERT. */
const EDGE_ROWS = 5000
export const INSERT_BYTES = 1 << 19
/**
 * An argument of so many bytes goes by itself, in the binary protocol: SQL text doubles the size of bytes (X'…'), and
 * one statement must fit into max_allowed_packet.
 */
export const LARGE_BYTES = 1 << 18

export class Inserter {
  readonly #session: Session
  readonly #now: number
  /** As this transaction has them: they may be unmade with it. */
  readonly #funcIds = new Map<string, number>()
  #inserted = 0
  /** Where what was inserted begins, by the place in the order of all: its first id. */
  readonly #firsts: {nth: number; id: number}[] = []
  /** From one id to the next. */
  #step = 1
  /** Did any key stay taken when this began? Those that are taken here are their jobs' as well. */
  #areTaken: boolean | undefined

  constructor(session: Session, now: number) {
    this.#session = session
    this.#now = now
  }

  know(func: string, id: number): void {
    this.#funcIds.set(func, id)
  }

  /**
   * @returns the jobs; but where there are several, their ids are what they should be, not what the server has said
   * @throws DuplicateJobError, ArgumentError, with `nth`; what it has stored by then is still to be rolled back
   */
  async insert(jobs: readonly NewJob[]): Promise<EnqueuedJob[]> {
    const enqueued = []
    for (const stretch of stretches(jobs)) enqueued.push(...(await this.#insert(stretch)))
    return enqueued
  }

  async #insert(jobs: readonly NewJob[]): Promise<EnqueuedJob[]> {
    const before = this.#inserted
    const runAfters = jobs.map(({due}, i) =>
      checkNth(before + i + 1, () => checkRunAfter('at' in due ? due.at : this.#now + due.in)),
    )
    const edges = await this.#edgesOf(jobs)
    const dues = runAfters.map((runAfter, i) => (edges[i] && edges[i].length > 0 ? NEVER : runAfter))
    const funcIds: number[] = []
    for (const {func} of jobs) funcIds.push(await this.#funcId(func))
    if (jobs.some(({uniqkey, isContinuation}) => uniqkey !== null && !isContinuation)) {
      this.#areTaken ??= await areTaken(this.#session)
      if (this.#areTaken) await checkKeys(this.#session, jobs, funcIds, before)
    }
    const insertId = await this.#send(jobs, funcIds, dues).catch(async error => {
      throw hasErrno(error, ERRNO.duplicate) ? await duplicate(this.#session, jobs, error, before) : error
    })
    this.#inserted += jobs.length
    const first = idOfRow(insertId)
    idOfRow(first + jobs.length - 1)
    for (const statement of besides(this.#session, jobs)) await this.#session.run(statement)
    for (const [i, job] of jobs.entries())
      for (const statement of takeKey(
        job,
        String(funcIds[i]),
        `LAST_INSERT_ID() + ${i} * @@auto_increment_increment`,
      ))
        await this.#session.run(statement)
    this.#firsts.push({nth: before + 1, id: first})
    await this.#insertEdges(edges, runAfters, first)
    for (const [i, {batch}] of jobs.entries())
      if (batch !== undefined) await insertBatch(this.#session, first + i * this.#step, batch)
    return jobs.map(({func, uniqkey, priority}, i) => {
      return {id: first + i, func, uniqkey, priority, runAfter: runAfters[i]!}
    })
  }

  /** Of those that are to wait for others; a job of the same call is told by its place, below 0. */
  async #edgesOf(jobs: readonly NewJob[]): Promise<Edge[][]> {
    if (jobs.every(({after}) => after === undefined)) return []
    const known = await knownOf(this.#session, idsIn(jobs))
    const place = (nth: number, upTo: number) => (nth >= 1 && nth <= upTo ? -nth : undefined)
    return jobs.map((job, i) => {
      const before = this.#inserted + i
      return checkNth(before + 1, () =>
        edgesOf(
          job,
          id => known.get(id),
          nth => place(nth, before),
        ),
      )
    })
  }

  async #insertEdges(
    edges: readonly (readonly Edge[])[],
    runAfters: readonly number[],
    first: number,
  ): Promise<void> {
    if (edges.length === 0) return
    this.#step = Number((await this.#session.run('SELECT @@auto_increment_increment AS step')).rows[0]!.step)
    const rows = edges.flatMap((ofJob, i) =>
      ofJob.map(({id, anyEnd}) => {
        const after = id < 0 ? this.#idOf(-id) : id
        return `(${first + i * this.#step}, ${after}, ${anyEnd ? 1 : 0}, ${runAfters[i]})`
      }),
    )
    for (let at = 0; at < rows.length; at += EDGE_ROWS)
      await this.#session.run(
        `REPLACE INTO jobq_after (job_id, after_id, any_end, run_after) VALUES ${rows.slice(at, at + EDGE_ROWS)}`,
      )
  }

  #idOf(nth: number): number {
    const first = this.#firsts.findLast(first => first.nth <= nth)!
    return first.id + (nth - first.nth) * this.#step
  }

  async #send(jobs: readonly NewJob[], funcIds: readonly number[], runAfters: readonly number[]) {
    const [job] = jobs
    if (job && jobs.length === 1 && bytesOf(job) >= LARGE_BYTES) {
      const key = keyLiteral(this.#session, job.uniqkey)
      const sql = `INSERT INTO job (${COLUMNS}) VALUES (?, ?, ${key}, ?, 0, ?, 0, ?)`
      const values: Value[] = [funcIds[0]!, job.arg, this.#now, runAfters[0]!, job.priority]
      return (await this.#session.execute(sql, values)).insertId
    }
    const rows = jobs.map(({arg, uniqkey, priority}, i) => {
      const [value, key] = [this.#session.literal(arg), keyLiteral(this.#session, uniqkey)]
      return `(${funcIds[i]}, ${value}, ${key}, ${this.#now}, 0, ${runAfters[i]}, 0, ${priority})`
    })
    return (await this.#session.run(`INSERT INTO job (${COLUMNS}) VALUES ${rows.join(',\n')}`)).insertId
  }

  /** The function's id; its row is made on first use, as Qudo does. */
  async #funcId(func: string): Promise<number> {
    const known = this.#funcIds.get(func)
    if (known !== undefined) return known
    const name = this.#session.names.literal(func)
    const find = async (lock = '') =>
      (await this.#session.run(`SELECT id FROM func WHERE name = ${name} ${lock}`)).rows[0]?.id
    let id = await find()
    if (id === undefined)
      try {
        id = (await this.#session.run(`INSERT INTO func (name) VALUES (${name})`)).insertId
      } catch (error) {
        if (!hasErrno(error, ERRNO.duplicate)) throw error
        id = await find('LOCK IN SHARE MODE') // another was faster, perhaps since a snapshot that is read here
      }
    this.#funcIds.set(func, Number(id))
    return Number(id)
  }
}

/**
 * Takes jobs back that were stored under ids that JavaScript can't hold.
 * @param ids as SQL
 * @returns what is to be told of them
 */
export async function unmake(
  session: Session,
  refused: StoreError,
  ids: readonly unknown[],
): Promise<StoreError> {
  await session.run(`DELETE FROM job WHERE id IN (${ids})`).catch(error => {
    const message = `${refused.message}; it is stored, and may not be deleted by this user (${error.message})`
    throw isDenied(error) ? new StoreError('DATABASE', message, {hint: refused.hint, cause: error}) : error
  })
  return refused
}

/** What is kept beside a job's row. */
type Beside = Pick<NewJob, 'context' | 'tracked' | 'tags' | 'expires'> & Named

/**
 * What jobq's own tables keep of jobs, to be sent right behind their INSERT. The ids of one INSERT … VALUES follow each
 * other, whatever innodb_autoinc_lock_mode says, since the server knows at its beginning how many rows there are. An id
 * that was given before, by a table that someone has emptied, may still have a row: so REPLACE.
 * @param id of each, as SQL
 */
export function besides(
  session: Session,
  jobs: readonly Beside[],
  id = (i: number) => `LAST_INSERT_ID() + ${i} * @@auto_increment_increment`,
): string[] {
  const contexts = jobs.flatMap(({context}, i) =>
    context === undefined ? [] : `(${id(i)}, ${session.literal(context)})`,
  )
  const waits = jobs.flatMap(({tracked}, i) => (tracked ? `(${id(i)})` : []))
  return [
    ...(contexts.length > 0 ? [`REPLACE INTO jobq_context (job_id, context) VALUES ${contexts}`] : []),
    ...(waits.length > 0 ? [`REPLACE INTO jobq_wait (job_id) VALUES ${waits}`] : []),
    ...insertTags(session, jobs, id),
    ...insertExpiries(jobs, id),
    ...insertTokens(jobs, id),
  ]
}

export function hasBesides({context, tracked, after, tags, expires, uniqFor, token}: NewJob): boolean {
  return (
    tracked === true || [context, after, tags, expires, uniqFor, token].some(other => other !== undefined)
  )
}

/** Runs of jobs that fit into one INSERT each. */
function* stretches(jobs: readonly NewJob[]): Iterable<NewJob[]> {
  let stretch: NewJob[] = []
  let bytes = 0
  for (const job of jobs) {
    const size = bytesOf(job)
    if (
      stretch.length === INSERT_ROWS ||
      (stretch.length > 0 && (size >= LARGE_BYTES || bytes + size > INSERT_BYTES))
    ) {
      yield stretch
      ;[stretch, bytes] = [[], 0]
    }
    stretch.push(job)
    bytes = size >= LARGE_BYTES ? INSERT_BYTES : bytes + size
  }
  if (stretch.length > 0) yield stretch
}

/**
 * Which of the jobs was refused; asked of the database, whose collation decides what is equal.
 * @param before how many were inserted before these
 */
export async function duplicate(
  session: Session,
  jobs: readonly NewJob[],
  error: unknown,
  before = 0,
): Promise<unknown> {
  const refusal = (i: number, id: number | null) => {
    const {func, uniqkey} = jobs[i]!
    return Object.assign(new DuplicateJobError(func, uniqkey ?? '', id), {nth: before + i + 1})
  }
  const seen = new Set<string>()
  let twin: number | undefined
  for (const [i, {func, uniqkey}] of jobs.entries()) {
    if (uniqkey === null) continue
    const sql = `SELECT job.id FROM job JOIN func ON func.id = job.func_id
      WHERE func.name = ${session.names.literal(func)} AND job.uniqkey = ${session.keys.literal(uniqkey)}`
    const id = (await session.run(sql)).rows[0]?.id
    if (id !== undefined) return refusal(i, Number(id))
    const key = JSON.stringify([func, uniqkey])
    if (seen.has(key)) twin ??= i
    seen.add(key)
  }
  if (twin === undefined)
    for (const [i, job] of jobs.entries()) {
      const taken = await takerOf(session, job)
      if (taken) return Object.assign(taken, {nth: before + i + 1})
    }
  const at = twin ?? jobs.findIndex(({uniqkey}) => uniqkey !== null)
  return at < 0 ? error : refusal(at, null)
}

/** The refusal of a key, and who has it. */
export async function duplicateOf(
  session: Session,
  funcId: number,
  func: string,
  uniqkey: string,
): Promise<DuplicateJobError> {
  const {rows} = await session.run(
    `SELECT id FROM job WHERE func_id = ${funcId} AND uniqkey = ${session.keys.literal(uniqkey)}`,
  )
  return new DuplicateJobError(func, uniqkey, rows[0] ? Number(rows[0].id) : null)
}

/** How many bytes of SQL it makes, about. */
export function bytesOf({arg, context, tags}: NewJob): number {
  const bytes = arg === null ? 0 : typeof arg === 'string' ? Buffer.byteLength(arg) : arg.byteLength * 2
  const ofTags = tags?.reduce((sum, [name, value]) => sum + name.length + value.length, 0) ?? 0
  return bytes + (context?.length ?? 0) + ofTags
}

export function keyLiteral({keys}: Session, uniqkey: string | null): string {
  return uniqkey === null ? 'NULL' : keys.literal(uniqkey)
}
