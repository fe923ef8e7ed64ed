/** Many jobs in one statement on PostgreSQL, and many such statements in one transaction. */
import {checkNth, DuplicateJobError} from '../../jobs/errors.ts'
import type {NewJob} from '../../jobs/job.ts'
import {bigints, booleans, bytes, integers, texts} from './arrays.ts'
import {NOW, type Row, type Send, type Statement, type Value} from './connections.ts'
import {checkedId, checkJob, dueValues, explainRange} from './insert.ts'
import {hasBeside, SWEPT, type Sweeper, sweep, writeBeside} from './side-tables.ts'

const MAKE_FUNCS = {
  name: 'jobq_make_funcs',
  text: `INSERT INTO func (name) SELECT n.name FROM unnest($1::TEXT[]) AS n (name)
    WHERE NOT EXISTS (SELECT FROM func WHERE func.name = n.name) ORDER BY n.name ON CONFLICT DO NOTHING`,
}
const FIND_DUPLICATES = {
  name: 'jobq_find_duplicates',
  text: `SELECT new.nth, job.id FROM unnest($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS new (func, uniqkey, nth)
    JOIN func ON func.name = new.func JOIN job ON job.func_id = func.id AND job.uniqkey = new.uniqkey`,
}

/** What a statement has stored: an id for each job, and when each that was not refused is due. */
interface Stored {
  ids: number[]
  runAfter: Map<number, number>
}

/** The functions' rows are there. */
export interface Insert {
  statement: Statement
  values: Value[]
  /** @returns what the answer says */
  read(rows: readonly Row[]): Stored
}

export function insertMany(jobs: readonly NewJob[], sweeper: Sweeper): Insert {
  const isKeyed = jobs.some(({uniqkey}) => uniqkey !== null)
  const dues = jobs.map(({due}) => dueValues(due))
  const values: Value[] = [
    texts(jobs.map(({func}) => func)),
    bytes(jobs.map(({arg}) => arg)),
    texts(jobs.map(({uniqkey}) => uniqkey)),
    bigints(dues.map(([at]) => at)),
    bigints(dues.map(([, seconds]) => seconds)),
    integers(jobs.map(({priority}) => priority)),
  ]
  const beside = jobs.filter(hasBeside).length
  if (beside === 0)
    return {statement: isKeyed ? STATEMENTS.keyed : STATEMENTS.plain, values, read: rows => stored(rows[0]!)}
  const from = sweeper.values(beside)
  values.push(texts(jobs.map(({context}) => context ?? null)))
  values.push(booleans(jobs.map(({tracked}) => tracked ?? false)))
  return {
    statement: isKeyed ? STATEMENTS.keyedBeside : STATEMENTS.beside,
    values: [...values, ...from],
    read: rows => {
      sweeper.swept(rows[0]!, from)
      return stored(rows[0]!)
    },
  }
}

function statement(name: string, order: string, isBeside = false): Statement {
  const [arrays, columns] = isBeside ? [', $7::TEXT[], $8::BOOLEAN[]', ', context, tracked'] : ['', '']
  const kept = '(SELECT * FROM new WHERE (id IN (SELECT id FROM stored)) IS TRUE) AS kept' // not as a join, which it could only do row by row
  return {
    name: `jobq_insert_${name}`,
    text: `WITH at AS MATERIALIZED (
      SELECT coalesce(pg_get_serial_sequence('job', 'id'), 'job_id_seq')::REGCLASS AS ids, ${NOW} AS now),
    new AS MATERIALIZED (
      SELECT nextval(at.ids) AS id, at.now, n.* FROM at,
        unnest($1::TEXT[], $2::BYTEA[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::INTEGER[]${arrays})
        WITH ORDINALITY AS n (func, arg, uniqkey, due_at, due_in, priority${columns}, nth)),
    stored AS (
      INSERT INTO job (id, func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
      SELECT new.id, f.id, arg, uniqkey, now, 0, coalesce(due_at, now + due_in)::INTEGER, 0, priority
      FROM new JOIN func f ON f.name = new.func ${order} ON CONFLICT DO NOTHING
      RETURNING ${checkedId('id')} AS id, run_after)
    ${isBeside ? `, ${writeBeside(kept)}, ${sweep(9)}` : ''}
    SELECT (SELECT string_agg(id::TEXT, ',' ORDER BY nth) FROM new) AS ids,
      (SELECT string_agg(id || ',' || run_after, ',') FROM stored) AS stored ${isBeside ? `, ${SWEPT}` : ''}`,
  }
}

/**
 * Ids are taken from the sequence in the order of the jobs, rows inserted in the order of their keys: transactions that
 * store the same keys wait for each other, but never in a circle.
 */
const BY_KEY = 'ORDER BY f.id, uniqkey, nth'
const STATEMENTS = {
  plain: statement('many', ''),
  keyed: statement('many_keyed', BY_KEY),
  beside: statement('many_beside', '', true),
  keyedBeside: statement('many_keyed_beside', BY_KEY, true),
}

function stored({ids, stored}: Row): Stored {
  const runAfter = new Map<number, number>()
  const numbers = stored === null ? [] : String(stored).split(',').map(Number)
  for (let i = 0; i < numbers.length; i += 2) runAfter.set(numbers[i]!, numbers[i + 1]!)
  return {ids: String(ids).split(',').map(Number), runAfter}
}

/** Who makes the same function's row just now is waited for. */
export function makeFuncs(names: readonly string[]): [Statement, Value[]] {
  return [MAKE_FUNCS, [texts(names)]]
}

/** The jobs that hold these ones' keys; null where there is none any more. */
export async function findDuplicates(send: Send, jobs: readonly NewJob[]): Promise<(number | null)[]> {
  const values = [texts(jobs.map(({func}) => func)), texts(jobs.map(({uniqkey}) => uniqkey))]
  const {rows} = await send(FIND_DUPLICATES, values)
  const idOf = new Map(rows.map(({nth, id}) => [Number(nth), Number(id)]))
  return jobs.map((_, i) => idOf.get(i + 1) ?? null)
}

/**
 * Inserts within a transaction, in the order of the calls; a stretch is written while the next one is got.
 * What is wrong with a job shows at the call after the next one, or at the end.
 */
export class Inserter {
  readonly #send: Send
  readonly #sweeper: Sweeper
  readonly #funcs = new Set<string>()
  #written: Promise<void> = Promise.resolve()
  /** The first id of this transaction: what has it or a later one is gone when that is rolled back. */
  #firstId = Number.POSITIVE_INFINITY
  #added = 0
  count = 0

  constructor(send: Send, sweeper: Sweeper) {
    this.#send = send
    this.#sweeper = sweeper
  }

  /** @throws ArgumentError, and what add or end throws of the stretch before; with `nth` */
  async add(jobs: readonly NewJob[]): Promise<void> {
    const before = this.#added
    for (const [i, job] of jobs.entries()) checkNth(before + i + 1, () => checkJob(job))
    this.#added += jobs.length
    await this.#written
    this.#written = this.#write(jobs, before)
    this.#written.catch(() => {}) // told to whoever waits for it
  }

  /** @throws DuplicateJobError, ArgumentError */
  async end(): Promise<void> {
    await this.#written
  }

  async #write(jobs: readonly NewJob[], before: number): Promise<void> {
    if (jobs.length === 0) return
    const newFuncs = [...new Set(jobs.map(({func}) => func))].filter(name => !this.#funcs.has(name))
    const made = newFuncs.length > 0 ? this.#send(...makeFuncs(newFuncs)) : undefined
    for (const name of newFuncs) this.#funcs.add(name)
    const {statement, values, read} = insertMany(jobs, this.#sweeper)
    const [reply] = await Promise.all([this.#send(statement, values), made]).catch(error => {
      throw explainRange(error, null)
    })
    const {ids, runAfter} = read(reply.rows)
    this.#firstId = Math.min(this.#firstId, ids[0]!)
    this.count += runAfter.size
    if (runAfter.size === jobs.length) return
    const i = ids.findIndex(id => !runAfter.has(id))
    const {func, uniqkey} = jobs[i]!
    const [holder = null] = await findDuplicates(this.#send, [jobs[i]!])
    const isMine = holder !== null && holder >= this.#firstId
    const refusal = new DuplicateJobError(func, uniqkey ?? '', isMine ? null : holder)
    throw Object.assign(refusal, {nth: before + i + 1})
  }
}
