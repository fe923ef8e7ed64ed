/**
 * Storing jobs on MySQL: one in one round trip, many by multi-row INSERTs of bounded size.
 *
 * SQL text doubles the size of bytes (X'…'), and one statement must fit into max_allowed_packet: a large argument goes
 * by itself in the binary protocol.
 */
import {ArgumentError, DuplicateJobError} from '../errors.ts'
import {type EnqueuedJob, MAX_UINT32, type NewJob} from '../job.ts'
import {ERRNO, hasErrno} from './mysql-errors.ts'
import {type Link, literal, type Value} from './mysql-link.ts'

const COLUMNS = 'func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority'
/** The most rows, and about the most bytes of arguments, in one INSERT. */
const INSERT_ROWS = 1000
const INSERT_BYTES = 1 << 19
/** An argument of so many bytes goes by itself. */
const LARGE_BYTES = 1 << 18

type FuncIds = Map<string, number>

/** One job, committed. Its function has a row already in all but the first call: then it is one round trip. */
export async function insertOne(link: Link, job: NewJob): Promise<EnqueuedJob> {
  const {func, uniqkey, priority, due} = job
  if ('at' in due) checkTime(due.at)
  if (bytesOf(job) >= LARGE_BYTES) return insertCarefully(link, job)
  const runAfter = 'at' in due ? String(due.at) : `@now + ${due.in}`
  try {
    const [, , inserted, clock] = await link.batch([
      'SET @now = UNIX_TIMESTAMP(), @func = NULL',
      `SELECT id INTO @func FROM func WHERE name = ${link.names.literal(func)}`,
      `INSERT INTO job (${COLUMNS})
       VALUES (@func, ${argLiteral(job.arg)}, ${keyLiteral(link, uniqkey)}, @now, 0, ${runAfter}, 0, ${priority})`,
      'SELECT @now AS now',
    ])
    const now = Number(clock!.rows[0]!.now)
    return {id: inserted!.insertId, func, uniqkey, priority, runAfter: 'at' in due ? due.at : now + due.in}
  } catch (error) {
    if (hasErrno(error, ERRNO.duplicate)) throw await duplicate(link, [job], error)
    // No such function yet, or a time that does not fit: the careful way makes the one and tells the other
    const isOther = !hasErrno(error, ERRNO.columnIsNull) && !hasErrno(error, ERRNO.outOfRange)
    if (isOther) throw error
    return insertCarefully(link, job)
  }
}

/** The function's row and the job's are one transaction: what is refused leaves neither. */
async function insertCarefully(link: Link, job: NewJob): Promise<EnqueuedJob> {
  const [, clock] = await link.batch(['START TRANSACTION', 'SELECT UNIX_TIMESTAMP() AS now'])
  const inserter = new Inserter(link, Number(clock!.rows[0]!.now))
  const [enqueued] = await inserter.insert([job])
  await link.run('COMMIT')
  return enqueued!
}

/** Stores jobs within a transaction that someone else has begun and ends. */
export class Inserter {
  readonly #link: Link
  readonly #now: number
  readonly #funcIds: FuncIds = new Map()
  #waiting: NewJob[] = []
  #bytes = 0

  constructor(link: Link, now: number) {
    this.#link = link
    this.#now = now
  }

  /** Keeps a job for the next INSERT. @returns whether it is time for that */
  add(job: NewJob): boolean {
    this.#waiting.push(job)
    this.#bytes += bytesOf(job)
    return this.#waiting.length >= INSERT_ROWS || this.#bytes >= INSERT_BYTES
  }

  async flush(): Promise<void> {
    const jobs = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    await this.insert(jobs)
  }

  /** @throws DuplicateJobError, ArgumentError; what it has stored by then is still to be rolled back */
  async insert(jobs: readonly NewJob[]): Promise<EnqueuedJob[]> {
    const enqueued = []
    for (const stretch of stretches(jobs)) enqueued.push(...(await this.#insert(stretch)))
    return enqueued
  }

  async #insert(jobs: readonly NewJob[]): Promise<EnqueuedJob[]> {
    const runAfters = jobs.map(({due}) => checkTime('at' in due ? due.at : this.#now + due.in))
    const funcIds: number[] = []
    for (const {func} of jobs) funcIds.push(await this.#funcId(func))
    const insertId = await this.#send(jobs, funcIds, runAfters).catch(async error => {
      throw hasErrno(error, ERRNO.duplicate) ? await duplicate(this.#link, jobs, error) : error
    })
    // The ids of one INSERT … VALUES follow each other, unless the server was told to interleave (and then who asks for
    // several ids?): only the first is certain, and only single inserts are asked for theirs
    return jobs.map(({func, uniqkey, priority}, i) => {
      return {id: insertId + i, func, uniqkey, priority, runAfter: runAfters[i]!}
    })
  }

  async #send(jobs: readonly NewJob[], funcIds: readonly number[], runAfters: readonly number[]) {
    const [job] = jobs
    if (job && jobs.length === 1 && bytesOf(job) >= LARGE_BYTES) {
      const key = keyLiteral(this.#link, job.uniqkey)
      const sql = `INSERT INTO job (${COLUMNS}) VALUES (?, ?, ${key}, ?, 0, ?, 0, ?)`
      const values: Value[] = [funcIds[0]!, job.arg, this.#now, runAfters[0]!, job.priority]
      return (await this.#link.execute(sql, values)).insertId
    }
    const rows = jobs.map(({arg, uniqkey, priority}, i) => {
      const key = keyLiteral(this.#link, uniqkey)
      return `(${funcIds[i]}, ${argLiteral(arg)}, ${key}, ${this.#now}, 0, ${runAfters[i]}, 0, ${priority})`
    })
    return (await this.#link.run(`INSERT INTO job (${COLUMNS}) VALUES ${rows.join(',\n')}`)).insertId
  }

  /** The function's id; its row is made on first use, as Qudo does. */
  async #funcId(func: string): Promise<number> {
    const known = this.#funcIds.get(func)
    if (known !== undefined) return known
    const name = this.#link.names.literal(func)
    const find = async () => (await this.#link.run(`SELECT id FROM func WHERE name = ${name}`)).rows[0]?.id
    let id = await find()
    if (id === undefined)
      try {
        id = (await this.#link.run(`INSERT INTO func (name) VALUES (${name})`)).insertId
      } catch (error) {
        if (!hasErrno(error, ERRNO.duplicate)) throw error
        id = await find() // another was faster
      }
    this.#funcIds.set(func, Number(id))
    return Number(id)
  }
}

/** Runs of jobs that fit into one INSERT each. */
function* stretches(jobs: readonly NewJob[]): Iterable<NewJob[]> {
  let stretch: NewJob[] = []
  let bytes = 0
  for (const job of jobs) {
    const size = bytesOf(job)
    if (stretch.length > 0 && (size >= LARGE_BYTES || bytes + size > INSERT_BYTES)) {
      yield stretch
      ;[stretch, bytes] = [[], 0]
    }
    stretch.push(job)
    bytes = size >= LARGE_BYTES ? INSERT_BYTES : bytes + size
  }
  if (stretch.length > 0) yield stretch
}

/** Which of the jobs was refused; asked of the database, whose collation decides what is equal. */
async function duplicate(link: Link, jobs: readonly NewJob[], error: unknown): Promise<unknown> {
  const seen = new Set<string>()
  let twin: NewJob | undefined
  for (const job of jobs) {
    const {func, uniqkey} = job
    if (uniqkey === null) continue
    const sql = `SELECT job.id FROM job JOIN func ON func.id = job.func_id
      WHERE func.name = ${link.names.literal(func)} AND job.uniqkey = ${link.keys.literal(uniqkey)}`
    const id = (await link.run(sql)).rows[0]?.id
    if (id !== undefined) return new DuplicateJobError(func, uniqkey, Number(id))
    const key = JSON.stringify([func, uniqkey])
    if (seen.has(key)) twin ??= job
    seen.add(key)
  }
  const job = twin ?? jobs.find(({uniqkey}) => uniqkey !== null)
  return job?.uniqkey ? new DuplicateJobError(job.func, job.uniqkey, null) : error
}

/** The refusal of a key, and who has it. */
export async function duplicateOf(
  link: Link,
  funcId: number,
  func: string,
  uniqkey: string,
): Promise<DuplicateJobError> {
  const {rows} = await link.run(
    `SELECT id FROM job WHERE func_id = ${funcId} AND uniqkey = ${link.keys.literal(uniqkey)}`,
  )
  return new DuplicateJobError(func, uniqkey, rows[0] ? Number(rows[0].id) : null)
}

export function checkTime(runAfter: number): number {
  if (runAfter <= MAX_UINT32) return runAfter
  throw new ArgumentError(`run_after: expected a time before 2106-02-07T06:28:16Z, got ${runAfter}`)
}

function bytesOf({arg}: NewJob): number {
  return arg === null ? 0 : typeof arg === 'string' ? Buffer.byteLength(arg) : arg.byteLength * 2
}

function argLiteral(arg: NewJob['arg']): string {
  return literal(arg)
}

function keyLiteral({keys}: Link, uniqkey: string | null): string {
  return uniqkey === null ? 'NULL' : keys.literal(uniqkey)
}
