/** Jobs into the table: one, or many at once; duplicates are found without an error, which would end the transaction. */
import {ArgumentError, DuplicateJobError} from '../errors.ts'
import type {EnqueuedJob, NewJob} from '../job.ts'
import {bytesArray, bytesOf, numbersArray, type Send, textArray, type Value} from './postgres-link.ts'
import {NOW} from './postgres-reads.ts'

/** INTEGER is signed in PostgreSQL. */
export const MAX_INTEGER = 2_147_483_647
/** The most jobs, and about the most bytes of arguments, in one statement. */
const CHUNK_JOBS = 2000
const CHUNK_BYTES = 1 << 20

/** The function's row is made on first use, as Qudo does; no row comes back if another transaction makes it just now. */
const INSERT = {
  name: 'jobq_insert',
  text: `WITH made AS (
      INSERT INTO func (name) SELECT $1::VARCHAR WHERE NOT EXISTS (SELECT FROM func WHERE name = $1::VARCHAR)
      ON CONFLICT DO NOTHING RETURNING id),
    f AS (SELECT id FROM func WHERE name = $1::VARCHAR UNION ALL SELECT id FROM made)
  INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
  SELECT f.id, $2::BYTEA, $3::VARCHAR, ${NOW}, 0, coalesce($4::BIGINT, ${NOW} + $5::BIGINT)::INTEGER, 0, $6::INTEGER
  FROM f ON CONFLICT DO NOTHING RETURNING id, run_after AS "runAfter"`,
}
const FIND_DUPLICATE = {
  name: 'jobq_find_duplicate',
  text: `SELECT func.id AS "funcId", job.id, arg IS NOT DISTINCT FROM $3::BYTEA AND priority = $4::INTEGER AS "isSame",
      run_after AS "runAfter"
    FROM func LEFT JOIN job ON func_id = func.id AND uniqkey = $2::VARCHAR WHERE name = $1::VARCHAR`,
}
const MAKE_FUNCS = {
  name: 'jobq_make_funcs',
  text: `INSERT INTO func (name) SELECT n.name FROM unnest($1::VARCHAR[]) AS n (name)
    WHERE NOT EXISTS (SELECT FROM func WHERE func.name = n.name) ORDER BY n.name ON CONFLICT DO NOTHING`,
}
const FIND_FUNCS = {
  name: 'jobq_find_funcs',
  text: 'SELECT id, name FROM func WHERE name = ANY ($1::VARCHAR[])',
}
const INSERT_MANY = {
  name: 'jobq_insert_many',
  text: `WITH made AS (
    INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT func_id, arg, uniqkey, ${NOW}, 0, coalesce(due_at, ${NOW} + due_in)::INTEGER, 0, priority
    FROM unnest($1::INTEGER[], $2::BYTEA[], $3::VARCHAR[], $4::BIGINT[], $5::BIGINT[], $6::INTEGER[])
      AS new (func_id, arg, uniqkey, due_at, due_in, priority)
    ON CONFLICT DO NOTHING RETURNING id)
  SELECT count(*) AS stored, min(id) AS first FROM made`,
}
const FIND_DUPLICATES = {
  name: 'jobq_find_duplicates',
  text: `SELECT new.nth, job.id FROM unnest($1::INTEGER[], $2::VARCHAR[]) WITH ORDINALITY AS new (func_id, uniqkey, nth)
    JOIN job ON job.func_id = new.func_id AND job.uniqkey = new.uniqkey ORDER BY new.nth`,
}

/** What no column of the table holds is refused before it is sent. @throws ArgumentError */
export function checkJob({func, uniqkey, priority, due}: NewJob): void {
  for (const text of [func, uniqkey ?? ''])
    if (text.includes('\0'))
      throw new ArgumentError(
        `PostgreSQL can't hold NUL in a function's name or a uniqkey, got ${JSON.stringify(text)}`,
        {hint: 'leave the NUL out; arguments may have it'},
      )
  if (priority > MAX_INTEGER)
    throw new ArgumentError(`priority: expected at most ${MAX_INTEGER} on PostgreSQL, got ${priority}`)
  checkDue(due)
}

/** @throws ArgumentError */
export function checkDue(due: NewJob['due']): void {
  if ('at' in due && due.at > MAX_INTEGER) throw tooLate(String(due.at))
}

function tooLate(got: string): ArgumentError {
  return new ArgumentError(
    `run_after: expected a time before 2038-01-19T03:14:08Z, the last that PostgreSQL's column holds, got ${got}`,
  )
}

/** The only number that can be out of range by now is a delay's end. */
export function explainRange(error: unknown, due: NewJob['due'] | null): unknown {
  if ((error as {code?: unknown}).code !== '22003') return error
  return tooLate(due && 'in' in due ? `${due.in} s from now` : 'a later one')
}

export function dueValues(due: NewJob['due']): [at: number | null, seconds: number | null] {
  return 'at' in due ? [due.at, null] : [null, due.in]
}

/** @throws DuplicateJobError */
export async function insertOne(send: Send, job: NewJob): Promise<EnqueuedJob> {
  const {func, uniqkey, priority, due} = job
  const values: Value[] = [
    func,
    job.arg === null ? null : bytesOf(job.arg),
    uniqkey,
    ...dueValues(due),
    priority,
  ]
  for (let attempt = 0; ; attempt++) {
    const reply = await send(INSERT, values).catch(error => {
      throw explainRange(error, due)
    })
    const [row] = reply.rows as {id: number; runAfter: number}[]
    if (row) return {func, uniqkey, priority, ...row}
    const id = uniqkey === null ? null : ((await findDuplicate(send, job))?.id ?? null)
    // The other job has left the table meanwhile, or the function has just been made elsewhere: once more
    if (uniqkey !== null && (id !== null || attempt >= 5)) throw new DuplicateJobError(func, uniqkey, id)
  }
}

/** The job that holds this one's key, and whether it may be this one. */
export async function findDuplicate(
  send: Send,
  {func, uniqkey, arg, priority}: NewJob,
): Promise<{id: number; runAfter: number; isSame: boolean} | null> {
  const bytes = arg === null ? null : bytesOf(arg)
  const [row] = (await send(FIND_DUPLICATE, [func, uniqkey, bytes, priority])).rows
  return row && row.id !== null ? (row as {id: number; runAfter: number; isSame: boolean}) : null
}

/**
 * Inserts within a transaction, in the order of the calls; a chunk is written while the next one is gathered.
 * What is wrong with a job shows at the call after the next one, or at the end.
 */
export class Inserter {
  readonly #send: Send
  readonly #funcIds = new Map<string, number>()
  #chunk: NewJob[] = []
  #bytes = 0
  #written: Promise<void> = Promise.resolve()
  /** The first id of this transaction: what has it or a later one is gone when that is rolled back. */
  #firstId: number | null = null
  count = 0

  constructor(send: Send) {
    this.#send = send
  }

  /** @returns what has to be waited for before the next one, if anything. @throws ArgumentError */
  add(job: NewJob): Promise<void> | null {
    checkJob(job)
    this.#chunk.push(job)
    this.#bytes += job.arg?.length ?? 0
    return this.#chunk.length >= CHUNK_JOBS || this.#bytes >= CHUNK_BYTES ? this.#flush() : null
  }

  /** @throws DuplicateJobError, ArgumentError */
  async end(): Promise<void> {
    await this.#flush()
    await this.#written
  }

  async #flush(): Promise<void> {
    const jobs = this.#chunk
    this.#chunk = []
    this.#bytes = 0
    await this.#written
    this.#written = this.#write(jobs)
    this.#written.catch(() => {}) // told to whoever waits for it
  }

  async #write(jobs: readonly NewJob[]): Promise<void> {
    if (jobs.length === 0) return
    await this.#findFuncs(jobs)
    const funcIds = numbersArray(jobs.map(({func}) => this.#funcIds.get(func)!))
    const uniqkeys = textArray(jobs.map(({uniqkey}) => uniqkey))
    const dues = jobs.map(({due}) => dueValues(due))
    const reply = await this.#send(INSERT_MANY, [
      funcIds,
      bytesArray(jobs.map(({arg}) => arg)),
      uniqkeys,
      numbersArray(dues.map(([at]) => at)),
      numbersArray(dues.map(([, seconds]) => seconds)),
      numbersArray(jobs.map(({priority}) => priority)),
    ]).catch(error => {
      throw explainRange(error, null)
    })
    const {stored, first} = reply.rows[0] as {stored: number; first: number | null}
    this.#firstId ??= first
    if (stored < jobs.length) throw await this.#duplicate(jobs, funcIds, uniqkeys)
    this.count += stored
  }

  async #findFuncs(jobs: readonly NewJob[]): Promise<void> {
    for (;;) {
      const names = [...new Set(jobs.map(({func}) => func))].filter(name => !this.#funcIds.has(name))
      if (names.length === 0) return
      const values = [textArray(names)]
      const [, found] = await Promise.all([this.#send(MAKE_FUNCS, values), this.#send(FIND_FUNCS, values)])
      for (const {id, name} of found.rows as {id: number; name: string}[]) this.#funcIds.set(name, id)
    }
  }

  /** Which of these was refused: one whose key is older than this transaction, or one that is twice in it. */
  async #duplicate(jobs: readonly NewJob[], funcIds: string, uniqkeys: string): Promise<DuplicateJobError> {
    const {rows} = await this.#send(FIND_DUPLICATES, [funcIds, uniqkeys])
    const seen = new Set<number>()
    const first = this.#firstId ?? Number.POSITIVE_INFINITY
    for (const {nth, id} of rows as {nth: number; id: number}[]) {
      const {func, uniqkey} = jobs[nth - 1]!
      if (id < first) return new DuplicateJobError(func, uniqkey!, id)
      if (seen.has(id)) return new DuplicateJobError(func, uniqkey!, null)
      seen.add(id)
    }
    // Its key is that of an earlier chunk, or its job has left the table meanwhile
    const {func, uniqkey} = jobs.find(job => job.uniqkey !== null)!
    return new DuplicateJobError(func, uniqkey!, null)
  }
}
