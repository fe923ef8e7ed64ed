/**
 * The job store on PostgreSQL, 12 or later.
 *
 * Each call is one transaction, READ COMMITTED, on one of a few connections; deadlocks and locked rows are tried again.
 * A turn is a round trip, and two for a `replaced`: settlements, the grab (a function in the database, see
 * postgres-functions.ts) and BEGIN and COMMIT around them are sent together. The database's clock counts.
 *
 * What it needs, besides USAGE on the schema (docs/servers.md has the GRANTs):
 * - enqueue: SELECT, INSERT on func and job, USAGE on their sequences
 * - work: these, UPDATE and DELETE on job, SELECT and INSERT on exception_log and job_status and USAGE on their
 *   sequences; SELECT, INSERT, DELETE on jobq_death and USAGE on its sequence; SELECT on jobq_pause
 * - list and stats: SELECT on all; retry: enqueue's, SELECT and UPDATE on exception_log; pause: INSERT, DELETE on jobq_pause
 * - init: CREATE on the schema; where Qudo made the tables, to own them
 */
import {AlreadyRetriedError, DuplicateJobError, NotFoundError, StoreError} from '../errors.ts'
import {type EnqueuedJob, type JobRow, type Lease, MAX_DEATHS, type NewJob, type Settlement} from '../job.ts'
import type {JobPlace, LogPlace, Stretch} from './keys.ts'
import {explain, isLost, mayBeStored} from './postgres-errors.ts'
import {
  checkDue,
  checkJob,
  dueValues,
  explainRange,
  findDuplicate,
  Inserter,
  insertOne,
} from './postgres-insert.ts'
import {
  Link,
  type LinkOptions,
  numbersArray,
  type Reply,
  type Row,
  type Send,
  type Statement,
  textArray,
  type Value,
} from './postgres-link.ts'
import {missingIn, prepare} from './postgres-prepare.ts'
import {NOW, PostgresReads} from './postgres-reads.ts'
import type {SchemaStep} from './postgres-schema.ts'
import {areDone, leaseValues, RENEW, replace, resultsOf, type Step, stepsOf} from './postgres-settle.ts'
import {Listener} from './postgres-watch.ts'
import type {ExceptionPage, JobPage, Page, Peek, SettleResult, Store, Turn, Want, Watch} from './store.ts'

const GRAB = {
  name: 'jobq_grab',
  text: `SELECT what, job_id AS id, job_func_id AS "funcId", job_func AS func, job_arg AS arg, job_uniqkey AS uniqkey,
    job_enqueue_time AS "enqueueTime", job_grabbed_until AS "grabbedUntil", job_run_after AS "runAfter",
    job_retry_cnt AS "retryCnt", job_priority AS priority
  FROM jobq_grab_1($1, $2, $3, $4, $5, $6, $7, $8, $9, ${MAX_DEATHS})`,
}
const NOW_IS = {name: 'jobq_now', text: `SELECT ${NOW} AS now`}
const LOCK_EXCEPTION = {
  name: 'jobq_lock_exception',
  text: `SELECT coalesce(func.name, '#' || func_id) AS func, uniqkey, retried
    FROM exception_log LEFT JOIN func ON func.id = func_id WHERE exception_log.id = $1::BIGINT FOR UPDATE OF exception_log`,
}
const RETRY = {
  name: 'jobq_retry',
  text: `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT func_id, arg, uniqkey, ${NOW}, 0, coalesce($2::BIGINT, ${NOW} + $3::BIGINT)::INTEGER, 0, $4::INTEGER
    FROM exception_log WHERE id = $1::BIGINT ON CONFLICT DO NOTHING RETURNING id, run_after AS "runAfter"`,
}
const FIND_RETRIED = {
  name: 'jobq_find_retried',
  text: `SELECT job.id FROM exception_log e JOIN job ON job.func_id = e.func_id AND job.uniqkey = e.uniqkey
    WHERE e.id = $1::BIGINT`,
}
const MARK_RETRIED = {
  name: 'jobq_mark_retried',
  text: 'UPDATE exception_log SET retried = 1 WHERE id = $1::BIGINT',
}
const PAUSE = {
  name: 'jobq_pause',
  text: 'INSERT INTO jobq_pause (func) SELECT unnest($1::VARCHAR[]) ON CONFLICT DO NOTHING',
}
const RESUME = {
  name: 'jobq_resume',
  text: 'DELETE FROM jobq_pause WHERE func = ANY ($1::VARCHAR[]) RETURNING func',
}
const PAUSED = {name: 'jobq_paused', text: 'SELECT func FROM jobq_pause ORDER BY func COLLATE "C"'}

/**
 * Opens a store on a PostgreSQL database. The schema is `init`'s.
 * @param name the address as messages may show it, without a password
 * @throws UsageError if the URL says what can't be done, StoreError if the server can't be reached
 */
export async function openPostgres(
  url: string,
  name: string,
  options: LinkOptions = {},
): Promise<PostgresStore> {
  const store = postgresStore(url, name, options)
  try {
    await store.reach()
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** The same, but its connections are made when they are needed. */
export function postgresStore(url: string, name: string, options: LinkOptions = {}): PostgresStore {
  return new PostgresStore(new Link(url, name, options), new Listener(url))
}

export class PostgresStore implements Store {
  readonly #link: Link
  readonly #listener: Listener
  readonly #watches = new Set<Watch>()
  /** For fair grabs: when each function was last taken from, counted in jobs. */
  readonly #lastServed = new Map<string, number>()
  /** Of functions whose jobs were taken here: their rows are committed. */
  readonly #funcIds = new Map<string, number>()
  #served = 0

  constructor(link: Link, listener: Listener) {
    this.#link = link
    this.#listener = listener
  }

  get name(): string {
    return this.#link.name
  }

  /** @throws StoreError */
  async reach(): Promise<void> {
    await this.#run(NOW_IS, [], true)
  }

  async init(): Promise<void> {
    await this.prepare()
  }

  /** What prepare would do. */
  plan(): Promise<SchemaStep[]> {
    return this.#read(send => missingIn(send, this.name))
  }

  /** Makes what is missing, one process at a time. @returns what it did */
  prepare(): Promise<SchemaStep[]> {
    return this.#explained(this.#link.alone(send => prepare(send, this.name)))
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    checkJob(job)
    try {
      return await insertOne((statement, values) => this.#link.run(statement, values), job)
    } catch (error) {
      if (!isLost(error)) throw explain(this.name, error)
      if (job.uniqkey === null) throw mayBeStored(this.name, 'the job', error)
      return this.#lookAgain(job, job.uniqkey, error)
    }
  }

  /** The answer to an insert was lost: what is waiting under its key, with the same argument, is that job. */
  async #lookAgain(job: NewJob, uniqkey: string, cause: unknown): Promise<EnqueuedJob> {
    const {func, priority} = job
    const found = await findDuplicate(
      (statement, values) => this.#link.run(statement, values, true),
      job,
    ).catch(() => null)
    if (!found) throw mayBeStored(this.name, 'the job', cause)
    if (!found.isSame) throw new DuplicateJobError(func, uniqkey, found.id)
    return {id: found.id, func, uniqkey, priority, runAfter: found.runAfter}
  }

  // Not written yet: what a store owes its interface.
  enqueueWithin(): never {
    throw new StoreError('DATABASE', 'not supported yet')
  }
  async track(): Promise<never> {
    throw new StoreError('DATABASE', 'not supported yet')
  }
  async ends(): Promise<never> {
    throw new StoreError('DATABASE', 'not supported yet')
  }

  async enqueueMany(jobs: Iterable<NewJob>): Promise<number> {
    let isCommitting = false
    const insertAll = async (send: Send) => {
      const inserter = new Inserter(send)
      for (const job of markingErrors(jobs)) {
        const full = inserter.add(job)
        if (full) await full
      }
      await inserter.end()
      return inserter.count
    }
    try {
      return await this.#link.transactionOnce(insertAll, () => {
        isCommitting = true
      })
    } catch (error) {
      if (error instanceof SourceError) throw error.cause
      if (isCommitting && isLost(error)) throw mayBeStored(this.name, 'the jobs', error)
      throw explain(this.name, error)
    }
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    if (areDone(settlements)) {
      const leases = settlements.map(({lease}) => lease)
      const {rows} = await this.#run(...this.#grab(want, {leases, lease: want.lease}))
      const held = new Set(rows.filter(({what}) => what === 'done').map(({id}) => id))
      return this.#turnOf(
        settlements.map((_, i) => ({held: held.has(i + 1)})),
        rows,
        want,
      )
    }
    const grab = this.#grab(want, {leases: [], lease: want.lease})
    const {settled, reply} = await this.#explained(this.#settleAnd(stepsOf(settlements), grab))
    return this.#turnOf(settled, reply.rows, want)
  }

  async #settleAnd(
    steps: readonly Step[],
    grab: [Statement, Value[]],
  ): Promise<{settled: SettleResult[]; reply: Reply}> {
    const settled: SettleResult[] = []
    if (steps.some(step => step.kind === 'replaced')) {
      const reply = await this.#link.transaction(async send => {
        settled.length = 0
        for (const step of steps) {
          if (step.kind === 'replaced') settled.push(await replace(send, step.settlement))
          else settled.push(...resultsOf(step, (await send(step.statement, step.values)).rows))
        }
        return send(...grab)
      })
      return {settled, reply}
    }
    const statements = steps.flatMap((step): [Statement, Value[]][] =>
      step.kind === 'replaced' ? [] : [[step.statement, step.values]],
    )
    const replies = await this.#link.pipeline([...statements, grab])
    for (const [i, step] of steps.entries()) settled.push(...resultsOf(step, replies[i]!.rows))
    return {settled, reply: replies.at(-1)!}
  }

  /** @param leases of completed jobs. @param lease null: only look */
  #grab(
    {funcs, held, maxRunning, fair, limit}: Want,
    {leases, lease}: {leases: readonly Lease[]; lease: number | null},
  ): [Statement, Value[]] {
    return [
      GRAB,
      [
        ...leaseValues(leases),
        numbersArray(funcs.map(func => this.#funcIds.get(func) ?? null)),
        textArray(funcs),
        `{${funcs.map(func => held?.has(func) ?? false)}}`,
        numbersArray(funcs.map(func => maxRunning?.get(func) ?? 0)),
        fair ? numbersArray(funcs.map(func => this.#lastServed.get(func) ?? 0)) : null,
        limit,
        lease,
      ],
    ]
  }

  #turnOf(settled: SettleResult[], rows: readonly Row[], {fair}: Want): Turn {
    const jobs: JobRow[] = []
    const buried: Turn['buried'] = []
    for (const {what, ...row} of rows as unknown as readonly (JobRow & {what: string})[]) {
      if (what === 'job') jobs.push(row)
      if (what === 'buried') buried.push({id: row.id, func: row.func, message: String(row.arg)})
    }
    for (const {func, funcId} of jobs) {
      this.#funcIds.set(func, funcId)
      if (fair) this.#lastServed.set(func, ++this.#served)
    }
    const last = rows.at(-1) as unknown as {enqueueTime: number; runAfter: number | null}
    const {enqueueTime: now, runAfter: next} = last
    return {settled, buried, jobs, nextDueIn: next === null ? null : Math.max(0, next - now), now}
  }

  async peek(want: Want): Promise<Peek> {
    const {rows} = await this.#run(...this.#grab({...want, limit: 1}, {leases: [], lease: null}), true)
    const {now, nextDueIn} = this.#turnOf([], rows, {...want, limit: 1})
    const head = rows.find(({what}) => what === 'head') as {priority: number; runAfter: number} | undefined
    return {head: head ? {priority: head.priority, dueFor: now - head.runAfter} : null, nextDueIn}
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    if (leases.length === 0) return []
    const {rows} = await this.#run(RENEW, [...leaseValues(leases), seconds])
    const ends = new Map(rows.map(({id, grabbedUntil}) => [id, Number(grabbedUntil)]))
    return leases.flatMap(({id}) => (ends.has(id) ? [{id, grabbedUntil: ends.get(id)!}] : []))
  }

  async retry(
    exceptionId: number,
    {priority, due}: {priority: number; due: NewJob['due']},
  ): Promise<EnqueuedJob> {
    checkDue(due)
    const transaction = this.#link.transaction(async send => {
      const [exception] = (await send(LOCK_EXCEPTION, [exceptionId])).rows as {
        func: string
        uniqkey: string | null
        retried: number
      }[]
      if (!exception)
        throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
      if (exception.retried) throw new AlreadyRetriedError(exceptionId)
      const {func, uniqkey} = exception
      const stored = await send(RETRY, [exceptionId, ...dueValues(due), priority]).catch(error => {
        throw explainRange(error, due)
      })
      const [job] = stored.rows as {id: number; runAfter: number}[]
      if (!job) {
        const [waiting] = (await send(FIND_RETRIED, [exceptionId])).rows
        throw new DuplicateJobError(func, uniqkey ?? '', waiting ? Number(waiting.id) : null)
      }
      await send(MARK_RETRIED, [exceptionId])
      return {...job, func, uniqkey, priority}
    })
    return this.#explained(transaction)
  }

  async pause(funcs: readonly string[]): Promise<void> {
    await this.#run(PAUSE, [textArray(funcs)], true)
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    const {rows} = await this.#run(RESUME, [textArray(funcs)])
    const resumed = new Set(rows.map(({func}) => func))
    return funcs.filter(func => resumed.has(func))
  }

  async paused(): Promise<string[]> {
    return (await this.#run(PAUSED, [], true)).rows.map(({func}) => String(func))
  }

  find = (id: number) => this.#read(send => new PostgresReads(send).find(id))
  list = (page: JobPage) => gathered(this.eachJob(page))
  exceptions = (page: ExceptionPage) => gathered(this.eachException(page))
  statuses = (page: Page) => gathered(this.eachStatus(page))
  eachJob = (page: JobPage) => this.#each((reads, place: JobPlace | null) => reads.jobs(page, place))
  eachException = (page: ExceptionPage) =>
    this.#each((reads, place: LogPlace | null) => reads.exceptionLog(page, place))
  eachStatus = (page: Page) => this.#each((reads, place: LogPlace | null) => reads.statusLog(page, place))
  funcs = () => this.#read(async send => (await new PostgresReads(send).funcs()).map(({name}) => name))
  counts = (func?: string) => this.#read(send => new PostgresReads(send).counts(func))
  times = (func?: string) => this.#read(send => new PostgresReads(send).times(func))
  attempts = (func?: string) => this.#read(send => new PostgresReads(send).attempts(func))

  watch(onChange: () => void): Watch {
    const ring = () => onChange() // a function of its own: the same one may watch twice
    const watch = {
      close: () => {
        this.#listener.remove(ring)
        this.#watches.delete(watch)
      },
    }
    this.#listener.add(ring)
    this.#watches.add(watch)
    return watch
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close()
    await this.#link.close()
  }

  #run(statement: Statement, values: readonly Value[], again = false): Promise<Reply> {
    return this.#explained(this.#link.run(statement, values, again))
  }

  #read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#explained(this.#link.read(work))
  }

  /** A listing row by row: every stretch of it is a read of its own. */
  async *#each<Shown, Place>(
    stretch: (reads: PostgresReads, place: Place | null) => Promise<Stretch<Shown, Place>>,
  ): AsyncGenerator<Shown> {
    let place: Place | null = null
    do {
      const from: Place | null = place
      const {rows, next}: Stretch<Shown, Place> = await this.#read(send =>
        stretch(new PostgresReads(send), from),
      )
      yield* rows
      place = next
    } while (place)
  }

  async #explained<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      throw explain(this.name, error)
    }
  }
}

async function gathered<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
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
