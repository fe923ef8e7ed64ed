/** Many jobs in one statement on PostgreSQL, and many such statements in one transaction. */
import {checkNth, DuplicateJobError} from '../../jobs/errors.ts'
import type {NewJob} from '../../jobs/job.ts'
import {type Edge, edgesOf, idsIn} from '../shared/after.ts'
import {fingerprintOf} from '../shared/tokens.ts'
import {insertEdges, knownOf, NEVER} from './after.ts'
import {bigints, booleans, bytes, integers, texts} from './arrays.ts'
import {NOW, NOW_IS, type Row, type Send, type Statement, type Value} from './connections/connections.ts'
import {checkedId, checkJob, dueValues, explainRange, isChecked} from './insert.ts'
import {insertBatch} from './side-tables/batches.ts'
import {isTaken, sweepKeys, takersOf} from './side-tables/keys.ts'
import {insertTokens} from './side-tables/tokens.ts'
import {
  hasBeside,
  hasMore,
  MORE_COLUMNS,
  moreValues,
  SWEPT,
  type Sweeper,
  sweep,
  writeBeside,
} from './side-tables.ts'

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

/** @param waits those that are to wait for others */
export function insertMany(
  jobs: readonly NewJob[],
  sweeper: Sweeper,
  waits: readonly boolean[] = [],
): Insert {
  const isKeyed = jobs.some(isChecked)
  const dues = jobs.map(({due}, i) => dueValues(waits[i] ? {at: NEVER} : due))
  const values: Value[] = [
    texts(jobs.map(({func}) => func)),
    bytes(jobs.map(({arg}) => arg)),
    texts(jobs.map(({uniqkey}) => uniqkey)),
    bigints(dues.map(([at]) => at)),
    bigints(dues.map(([, seconds]) => seconds)),
    integers(jobs.map(({priority}) => priority)),
  ]
  const isNamed = jobs.some(({token}) => token !== undefined)
  const tokens = isNamed
    ? [
        texts(jobs.map(({token}) => token ?? null)),
        integers(jobs.map(job => (job.token === undefined ? 0 : fingerprintOf(job)))),
      ]
    : []
  const beside = jobs.filter(hasBeside).length
  if (beside === 0)
    return {
      statement: statementOf({isKeyed, beside: 'none', isNamed}),
      values: [...values, ...tokens],
      read: rows => stored(rows[0]!),
    }
  const from = sweeper.values(beside)
  values.push(texts(jobs.map(({context}) => context ?? null)))
  values.push(booleans(jobs.map(({tracked}) => tracked ?? false)))
  const isMore = jobs.some(hasMore)
  if (isMore) {
    const more = jobs.map(moreValues)
    values.push(
      texts(more.map(([tags]) => tags)),
      ...[1, 2].map(i => bigints(more.map(values => values[i] as number | null))),
    )
  }
  return {
    statement: statementOf({isKeyed, beside: isMore ? 'more' : 'some', isNamed}),
    values: [...values, ...from, ...tokens],
    read: rows => {
      sweeper.swept(rows[0]!, from)
      return stored(rows[0]!)
    },
  }
}

/** What a statement is made for: each that is used is made once. */
interface Kind {
  isKeyed: boolean
  beside: 'none' | 'some' | 'more'
  isNamed: boolean
}

function statementOf(kind: Kind): Statement {
  const suffix = {none: '', some: '_beside', more: '_more'}[kind.beside]
  const name = `jobq_insert_many${kind.isKeyed ? '_keyed' : ''}${suffix}${kind.isNamed ? '_named' : ''}`
  const known = STATEMENTS.get(name)
  if (known) return known
  const made = {name, text: textOf(kind)}
  STATEMENTS.set(name, made)
  return made
}

function textOf({isKeyed, beside, isNamed}: Kind): string {
  const [isBeside, isMore] = [beside !== 'none', beside === 'more']
  const last = 7 + (isBeside ? 5 : 0) + (isMore ? MORE_COLUMNS.length : 0)
  const named = `new WHERE token IS NOT NULL AND (id IN (SELECT id FROM stored)) IS TRUE`
  const [arrays, columns] = [
    `${isBeside ? ', $7::TEXT[], $8::BOOLEAN[]' : ''}${isMore ? MORE_COLUMNS.map(([, type], i) => `, $${9 + i}::${type}[]`).join('') : ''}${isNamed ? `, $${last}::TEXT[], $${last + 1}::INTEGER[]` : ''}`,
    `${isBeside ? ', context, tracked' : ''}${isMore ? MORE_COLUMNS.map(([name]) => `, ${name}`).join('') : ''}${isNamed ? ', token, fingerprint' : ''}`,
  ]
  const funcId = isMore ? ', (SELECT f.id FROM func f WHERE f.name = new.func) AS func_id' : ''
  const kept = `(SELECT new.*${funcId} FROM new WHERE (id IN (SELECT id FROM stored)) IS TRUE) AS beside` // not as a join, which it could only do row by row
  return `WITH at AS MATERIALIZED (
      SELECT coalesce(pg_get_serial_sequence('job', 'id'), 'job_id_seq')::REGCLASS AS ids, ${NOW} AS now),
    new AS MATERIALIZED (
      SELECT nextval(at.ids) AS id, at.now, n.* FROM at,
        unnest($1::TEXT[], $2::BYTEA[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::INTEGER[]${arrays})
        WITH ORDINALITY AS n (func, arg, uniqkey, due_at, due_in, priority${columns}, nth)),
    stored AS (
      INSERT INTO job (id, func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
      SELECT new.id, f.id, arg, uniqkey, now, 0, coalesce(due_at, now + due_in)::INTEGER, 0, priority
      FROM new JOIN func f ON f.name = new.func ${isKeyed ? BY_KEY : ''} ON CONFLICT DO NOTHING
      RETURNING ${checkedId('id')} AS id, run_after)
    ${isBeside ? `, ${writeBeside(kept, isMore)}, ${sweep(isMore ? 9 + MORE_COLUMNS.length : 9)}` : ''}
    ${isNamed ? `, ${insertTokens('token', 'fingerprint', named)}` : ''}
    SELECT (SELECT string_agg(id::TEXT, ',' ORDER BY nth) FROM new) AS ids,
      (SELECT string_agg(id || ',' || run_after, ',') FROM stored) AS stored ${isBeside ? `, ${SWEPT}` : ''}`
}

/**
 * Ids are taken from the sequence in the order of the jobs, rows inserted in the order of their keys: transactions that
 * store the same keys wait for each other, but never in a circle.
 */
const BY_KEY = `WHERE NOT ${isTaken('f.id', 'new.uniqkey')} ORDER BY f.id, uniqkey, nth`
const STATEMENTS = new Map<string, Statement>()

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
  /** Where each stretch begins, by the place in the order of all. */
  readonly #stretches: {nth: number; ids: readonly number[]}[] = []
  count = 0
  /** What was stored last. */
  last: {id: number; runAfter: number}[] = []

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
    const edges = await this.#edgesOf(jobs, before)
    const waits = edges.map(ofJob => ofJob.length > 0)
    const {statement, values, read} = insertMany(jobs, this.#sweeper, waits)
    const [reply] = await Promise.all([this.#send(statement, values), made]).catch(error => {
      throw explainRange(error, null)
    })
    const {ids, runAfter} = read(reply.rows)
    this.#firstId = Math.min(this.#firstId, ids[0]!)
    this.count += runAfter.size
    this.#stretches.push({nth: before + 1, ids})
    if (runAfter.size === jobs.length) {
      await sweepKeys(this.#send, jobs)
      this.last = ids.map(id => ({id, runAfter: runAfter.get(id)!}))
      if (waits.includes(true)) await this.#insertEdges(jobs, edges)
      for (const [i, {batch}] of jobs.entries())
        if (batch !== undefined) await insertBatch(this.#send, ids[i]!, batch)
      return
    }
    const i = ids.findIndex(id => !runAfter.has(id))
    const {func, uniqkey} = jobs[i]!
    const [holder = null] = await findDuplicates(this.#send, [jobs[i]!])
    const [taken] = holder === null ? await takersOf(this.#send, [jobs[i]!]) : []
    if (taken) throw Object.assign(taken, {nth: before + i + 1})
    const isMine = holder !== null && holder >= this.#firstId
    const refusal = new DuplicateJobError(func, uniqkey ?? '', isMine ? null : holder)
    throw Object.assign(refusal, {nth: before + i + 1})
  }

  /** Of those that are to wait for others; a job of the same call is told by its place, below 0. */
  async #edgesOf(jobs: readonly NewJob[], before: number): Promise<Edge[][]> {
    if (jobs.every(({after}) => after === undefined)) return []
    const known = await knownOf(this.#send, idsIn(jobs))
    return jobs.map((job, i) => {
      const earlier = (nth: number) => (nth >= 1 && nth <= before + i ? -nth : undefined)
      return checkNth(before + i + 1, () => edgesOf(job, id => known.get(id), earlier))
    })
  }

  async #insertEdges(jobs: readonly NewJob[], edges: readonly (readonly Edge[])[]): Promise<void> {
    const [{now}] = (await this.#send(NOW_IS, [])).rows as unknown as [{now: number}]
    const waiting = jobs.flatMap(({due}, i) => {
      if (edges[i]!.length === 0) return []
      const runAfter = 'at' in due ? due.at : now + due.in
      this.last[i]!.runAfter = runAfter
      const ofJob = edges[i]!.map(edge => (edge.id < 0 ? {...edge, id: this.#idOf(-edge.id)} : edge))
      return [{id: this.last[i]!.id, runAfter, edges: ofJob}]
    })
    await this.#send(...insertEdges(waiting)).catch(error => {
      throw explainRange(error, null)
    })
  }

  #idOf(nth: number): number {
    const stretch = this.#stretches.findLast(stretch => stretch.nth <= nth)!
    return stretch.ids[nth - stretch.nth]!
  }
}
