/**
 * The job store on MySQL 8 and MariaDB 10.6 or later, in Qudo's own tables.
 *
 * Every statement runs at READ COMMITTED and finds its rows by a key, so that it locks those and no others. A turn is
 * one transaction and, where jobs are ready, one round trip: what has ended, the take and the COMMIT go to the server
 * together (mysql-lanes.ts tells how the take decides there). Only where it comes back with less than was wanted does a
 * second round trip look for why: a delayed lane that hides others, a lease that ran out, a lane that others are at.
 *
 * The clock is the server's: UNIX_TIMESTAMP() for every time that is stored or compared.
 *
 * The server tells no one of a change. One poll a process, a few seeks, asks what would be taken next: every 10 ms
 * while there is something going on, seldomer and seldomer up to every 250 ms when there is not.
 */
import {AlreadyRetriedError, DuplicateJobError, NotFoundError, StoreError} from '../errors.ts'
import type {EnqueuedJob, ExceptionRow, Lease, ListedJob, NewJob, Settlement, StatusRow} from '../job.ts'
import type {JobPlace, LogPlace, Stretch} from './keys.ts'
import {ERRNO, hasErrno, isLost, isPassing, mayBeStored} from './mysql-errors.ts'
import {checkTime, duplicateOf, Inserter, insertOne} from './mysql-insert.ts'
import {type Look, MysqlLanes, type Skipped} from './mysql-lanes.ts'
import {connectionOptions, Links, literal, PATIENCE_MS, textOf, textOrNull} from './mysql-link.ts'
import {Poll} from './mysql-poll.ts'
import {MysqlReads} from './mysql-reads.ts'
import {prepareSchema, type SchemaStep, schemaPlan} from './mysql-schema.ts'
import {countDeaths, Settling} from './mysql-settle.ts'
import type {
  ExceptionPage,
  JobPage,
  Page,
  Peek,
  Preparation,
  SettleResult,
  Store,
  Turn,
  Want,
  Watch,
} from './store.ts'

/** Turns and renewals have a connection to themselves; all else shares these. */
const CONNECTIONS = 3
/** How many leases that ran out are put back in one transaction. */
const EXPIRE_BATCH = 500
/** How often a turn looks again for why it got less than it wanted. */
const MOST_LOOKS = 50
/** So much of an enqueueMany can be sent again after a deadlock; what is longer can't start over. */
const REPLAY_JOBS = 20_000
const REPLAY_BYTES = 16 << 20

const BEGIN = ['START TRANSACTION', 'SET @now = UNIX_TIMESTAMP()']

export interface MysqlOptions {
  /** How long locks and deadlocks are put up with, in milliseconds, before LOCKED is raised. Default 30,000. */
  patience?: number
}

/** A store that connects when it is first used, and again when a connection has died. @throws StoreError */
export async function openMysql(url: string, name: string, options: MysqlOptions = {}): Promise<MysqlStore> {
  return new MysqlStore(url, name, options)
}

/** `jobq init` on MySQL. */
export async function prepareMysql(
  url: string,
  name: string,
  {dryRun}: {dryRun: boolean},
): Promise<Preparation> {
  const store = new MysqlStore(url, name)
  try {
    const steps = await (dryRun ? store.plan() : store.prepare())
    return {database: name, made: steps.flatMap(({makes}) => makes), sql: steps.map(({sql}) => sql)}
  } finally {
    await store.close()
  }
}

export class MysqlStore implements Store {
  readonly name: string
  readonly #links: Links
  readonly #turnLinks: Links
  readonly #lanes = new MysqlLanes()
  readonly #poll: Poll

  constructor(url: string, name: string, {patience = PATIENCE_MS}: MysqlOptions = {}) {
    this.name = name
    const options = connectionOptions(url, name)
    this.#links = new Links(options, name, CONNECTIONS, patience)
    this.#turnLinks = new Links(options, name, 1, patience)
    this.#poll = new Poll(this.#links)
  }

  /** How many transactions were done again because of a deadlock or a lock that was waited for too long. */
  get deadlocks(): number {
    return this.#links.deadlocks + this.#turnLinks.deadlocks
  }

  async init(): Promise<void> {
    await this.prepare()
  }

  /** What prepare would do. */
  plan(): Promise<SchemaStep[]> {
    return this.#links.read(link => schemaPlan(link, this.name))
  }

  /** As init. @returns what was done */
  prepare(): Promise<SchemaStep[]> {
    return this.#links.write(link => prepareSchema(link, this.name))
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    const enqueued = await this.#links.write(async link => {
      try {
        return await insertOne(link, job)
      } catch (error) {
        if (!isLost(error)) throw error
        return await this.#findStored(job, error)
      }
    })
    this.#poll.ring()
    return enqueued
  }

  async enqueueMany(jobs: Iterable<NewJob>): Promise<number> {
    const replay = new Replay(jobs)
    const count = await this.#links
      .write(async link => {
        const [, clock] = await link.batch(['START TRANSACTION', 'SELECT UNIX_TIMESTAMP() AS now'])
        const inserter = new Inserter(link, Number(clock!.rows[0]!.now))
        let inserted = 0
        try {
          for (const job of replay.jobs()) {
            inserted++
            if (inserter.add(job)) await inserter.flush()
          }
          await inserter.flush()
        } catch (error) {
          throw isPassing(error) && !replay.isWhole ? tooLong(this.name, error) : error
        }
        await link.run('COMMIT').catch(error => {
          throw isLost(error) ? mayBeStored(this.name, `all ${inserted} jobs`, error) : error
        })
        return inserted
      })
      .catch(error => {
        throw error instanceof SourceError ? error.cause : error
      })
      .finally(() => replay.end())
    this.#poll.ring()
    return count
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    this.#poll.narrow(want)
    if (settlements.length === 0) {
      // An idle dispatcher that looks takes no lock and begins no transaction
      const look = await this.#look(want)
      if (want.limit === 0 || nextDueIn(look) !== 0)
        return {
          settled: [],
          buried: [],
          jobs: [],
          nextDueIn: want.limit === 0 ? null : nextDueIn(look),
          now: look.now,
        }
    }
    const {settled, ...first} = await this.#takeAndSettle(settlements, want)
    const turn: Turn = {settled, buried: [], jobs: first.jobs, nextDueIn: null, now: first.now}
    // What has been committed must be told, whatever happens to the search for more
    if (first.jobs.length < want.limit)
      await this.#takeMore(turn, want, first.tried).catch(() => {
        turn.nextDueIn = 0
      })
    this.#poll.isBusy()
    if (settled.some(({held}) => held)) this.#poll.ring()
    return turn
  }

  async peek(want: Want): Promise<Peek> {
    const look = await this.#look(want)
    const {best, now} = look
    return {
      head: best && {priority: best.priority, dueFor: now - best.runAfter},
      nextDueIn: nextDueIn(look),
    }
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    if (leases.length === 0) return []
    return this.#turnLinks.write(async link => {
      const replies = await link.batch([
        ...BEGIN,
        ...leases.map(
          ({id, grabbedUntil}) =>
            `UPDATE job SET grabbed_until = @now + ${seconds} WHERE id = ${id} AND grabbed_until = ${grabbedUntil}`,
        ),
        'SELECT @now AS now',
        'COMMIT',
      ])
      const until = Number(replies.at(-2)!.rows[0]!.now) + seconds
      return leases.flatMap(({id}, i) =>
        replies[BEGIN.length + i]!.matched === 1 ? [{id, grabbedUntil: until}] : [],
      )
    })
  }

  async retry(
    exceptionId: number,
    {priority, due}: {priority: number; due: NewJob['due']},
  ): Promise<EnqueuedJob> {
    const enqueued = await this.#links.write(async link => {
      const [, clock, exceptions] = await link.batch([
        'START TRANSACTION',
        'SELECT UNIX_TIMESTAMP() AS now',
        `SELECT func_id, retried, ${link.keys.select('uniqkey')} AS uniqkey,
           (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func
         FROM exception_log WHERE id = ${exceptionId} FOR UPDATE`,
      ])
      const exception = exceptions!.rows[0]
      if (!exception)
        throw new NotFoundError(`no exception ${exceptionId}`, {hint: 'see `jobq list --failed`'})
      if (Number(exception.retried) !== 0) throw new AlreadyRetriedError(exceptionId)
      const now = Number(clock!.rows[0]!.now)
      const runAfter = checkTime('at' in due ? due.at : now + due.in)
      const func = exception.func === null ? `#${exception.func_id}` : textOf(exception.func)
      const uniqkey = textOrNull(exception.uniqkey)
      // uniqkey and arg go from row to row inside the database: their bytes stay as they are
      const insert = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
        SELECT func_id, arg, uniqkey, ${now}, 0, ${runAfter}, 0, ${priority} FROM exception_log WHERE id = ${exceptionId}`
      const mark = `UPDATE exception_log SET retried = 1 WHERE id = ${exceptionId}`
      try {
        const [inserted] = await link.batch([insert, mark, 'COMMIT'])
        return {id: inserted!.insertId, func, uniqkey, priority, runAfter}
      } catch (error) {
        if (!hasErrno(error, ERRNO.duplicate) || uniqkey === null) throw error
        throw await duplicateOf(link, Number(exception.func_id), func, uniqkey)
      }
    })
    this.#poll.ring()
    return enqueued
  }

  async pause(funcs: readonly string[]): Promise<void> {
    if (funcs.length === 0) return
    const rows = funcs.map(func => `(${literal(func)})`)
    await this.#links.write(link => link.run(`INSERT IGNORE INTO jobq_pause (func) VALUES ${rows}`))
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    if (funcs.length === 0) return []
    const statements = funcs.map(func => `DELETE FROM jobq_pause WHERE func = ${literal(func)}`)
    const replies = await this.#links.write(link => link.batch(statements))
    this.#poll.ring()
    return funcs.filter((_, i) => replies[i]!.matched === 1)
  }

  async paused(): Promise<string[]> {
    const {rows} = await this.#links.read(link => link.run('SELECT func FROM jobq_pause ORDER BY func'))
    return rows.map(({func}) => textOf(func))
  }

  find = (id: number) => this.#read(reads => reads.find(id))
  list = (page: JobPage) => collect(this.eachJob(page))
  exceptions = (page: ExceptionPage) => collect(this.eachException(page))
  statuses = (page: Page) => collect(this.eachStatus(page))
  eachJob = (page: JobPage) => this.#each<ListedJob, JobPlace>((reads, place) => reads.jobs(page, place))
  eachException = (page: ExceptionPage) =>
    this.#each<ExceptionRow, LogPlace>((reads, place) => reads.exceptionLog(page, place))
  eachStatus = (page: Page) => this.#each<StatusRow, LogPlace>((reads, place) => reads.statusLog(page, place))
  funcs = () => this.#read(async reads => (await reads.funcs()).map(({name}) => name))
  counts = (func?: string) => this.#read(reads => reads.counts(func))
  times = (func?: string) => this.#read(reads => reads.times(func))

  watch(onChange: () => void): Watch {
    return this.#poll.watch(onChange)
  }

  async close(): Promise<void> {
    this.#poll.close()
    this.#links.close()
    this.#turnLinks.close()
  }

  // ---- enqueue

  /**
   * The answer to an insert was lost. With a uniqkey the job is found again, if it is still waiting; otherwise it may
   * have been stored or not, and may even be done.
   */
  async #findStored(job: NewJob, lost: unknown): Promise<EnqueuedJob> {
    const {func, uniqkey, priority} = job
    const unknown = mayBeStored(this.name, 'the job', lost)
    if (uniqkey === null) throw unknown
    const stored = await this.list({func, uniqkey, limit: 1, offset: 0}).catch(() => [])
    const [found] = stored
    if (!found) throw unknown
    const isOurs = found.priority === priority && Buffer.compare(bytesOf(found.arg), bytesOf(job.arg)) === 0
    if (!isOurs) throw new DuplicateJobError(func, uniqkey, found.id)
    return {id: found.id, func, uniqkey, priority, runAfter: found.runAfter}
  }

  // ---- turn

  #look(want: Want, skipped?: Skipped): Promise<Look> {
    return this.#turnLinks.read(link => this.#lanes.look(link, want, skipped))
  }

  /** One transaction: the ends, and a first batch of jobs. */
  #takeAndSettle(settlements: readonly Settlement[], want: Want, skipped: Skipped = new Map()) {
    return this.#turnLinks.write(async link => {
      if (link.tooOld !== '')
        throw new StoreError('DATABASE', `${this.name}: ${link.tooOld}`, {
          hint: 'jobq needs SELECT … SKIP LOCKED',
        })
      const settling = new Settling(link, BEGIN)
      await settling.settle(settlements)
      const count = want.limit === 0 ? 0 : this.#lanes.batchSize(want, want.limit)
      const takes = count === 0 ? ['SELECT @now AS now'] : this.#lanes.takes(link, want, count, skipped)
      const replies = await settling.send([...takes, 'COMMIT'])
      const settled: SettleResult[] = settling.results
      if (count === 0) return {settled, jobs: [], tried: null, now: Number(replies[0]!.rows[0]!.now)}
      return {settled, ...this.#lanes.taken(replies, want)}
    })
  }

  /** The rest of a turn that has got less than it wanted, or why there is no more. Each batch is a transaction. */
  async #takeMore(turn: Turn, want: Want, first: {funcId: number; priority: number} | null): Promise<void> {
    const skipped: Skipped = new Map()
    let tried = first
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const look = await this.#look(want, skipped)
      if (look.ended.length > 0) {
        turn.buried.push(...(await this.#releaseEnded(look.ended)))
        tried = null
      } else if (!look.best) {
        turn.nextDueIn = skipped.size > 0 ? 0 : nextDueIn(look)
        return
      } else if (want.held?.has(this.#lanes.nameOf(look.best.funcId))) return
      else if (tried?.funcId === look.best.funcId && tried.priority === look.best.priority) {
        const lanes = skipped.get(tried.funcId) ?? new Set()
        skipped.set(tried.funcId, lanes.add(tried.priority))
        tried = null
        continue
      }
      const rest = {...want, limit: want.limit - turn.jobs.length}
      const more = await this.#takeAndSettle([], rest, skipped)
      turn.jobs.push(...more.jobs)
      turn.now = more.now
      if (turn.jobs.length === want.limit) return
      tried = more.tried
    }
    turn.nextDueIn = 0
  }

  /** Puts jobs whose lease ran out back into their lanes: their worker is gone, and its machine may be. */
  #releaseEnded(funcIds: readonly number[]): Promise<Turn['buried']> {
    return this.#turnLinks.write(async link => {
      const [, , gone, ...ended] = await link.batch([
        ...BEGIN,
        // Deaths of jobs that have ended otherwise: nobody asks for them, but they must not pile up
        `SELECT DISTINCT job_id FROM jobq_death LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${EXPIRE_BATCH}`,
        ...funcIds.map(
          id => `SELECT id, func_id FROM job FORCE INDEX (jobq_lane)
            WHERE func_id = ${id} AND grabbed_until BETWEEN 1 AND @now
            ORDER BY grabbed_until LIMIT ${EXPIRE_BATCH} FOR UPDATE SKIP LOCKED`,
        ),
      ])
      const rows = ended.flatMap(({rows}) => rows)
      const how = 'its lease ran out (its dispatcher or machine is gone)'
      const failed = await countDeaths(
        link,
        rows.map(({id}) => ({id: Number(id), how})),
      )
      const sweep = gone!.rows.map(({job_id}) => Number(job_id))
      await link.batch([
        ...(sweep.length > 0 ? [`DELETE FROM jobq_death WHERE job_id IN (${sweep})`] : []),
        'COMMIT',
      ])
      return rows.flatMap(({id, func_id}) => {
        const message = failed.get(Number(id))
        return message === undefined
          ? []
          : [{id: Number(id), func: this.#lanes.nameOf(Number(func_id)), message}]
      })
    })
  }

  // ---- reads

  #read<T>(work: (reads: MysqlReads) => Promise<T>): Promise<T> {
    return this.#links.read(link => MysqlReads.of(link, work))
  }

  /** A listing row by row: every stretch of it is a read of its own. */
  async *#each<Row, Place>(
    stretch: (reads: MysqlReads, place: Place | null) => Promise<Stretch<Row, Place>>,
  ): AsyncGenerator<Row> {
    let place: Place | null = null
    do {
      const from: Place | null = place
      const {rows, next}: Stretch<Row, Place> = await this.#read(reads => stretch(reads, from))
      yield* rows
      place = next
    } while (place)
  }
}

/** A source that is read once, but can be told again from the start as long as that is not too long to keep. */
class Replay {
  readonly #source: Iterator<NewJob>
  #kept: NewJob[] = []
  #bytes = 0
  isWhole = true

  constructor(source: Iterable<NewJob>) {
    this.#source = source[Symbol.iterator]()
  }

  *jobs(): Generator<NewJob> {
    for (const job of [...this.#kept]) yield job
    for (let job = this.#next(); job !== null; job = this.#next()) yield job
  }

  end(): void {
    this.#source.return?.()
  }

  #next(): NewJob | null {
    let next: IteratorResult<NewJob>
    try {
      next = this.#source.next()
    } catch (cause) {
      throw new SourceError('', {cause})
    }
    if (next.done) return null
    if (this.isWhole) this.#keep(next.value)
    return next.value
  }

  #keep(job: NewJob): void {
    this.#kept.push(job)
    this.#bytes += job.arg?.length ?? 0
    if (this.#kept.length <= REPLAY_JOBS && this.#bytes <= REPLAY_BYTES) return
    this.isWhole = false
    this.#kept = []
  }
}

/** What an enqueueMany's source threw: it is the caller's, whatever code it carries. */
class SourceError extends Error {}

function tooLong(name: string, cause: unknown): StoreError {
  return new StoreError(
    'LOCKED',
    `${name}: another transaction was in the way of a long one; nothing was stored`,
    {
      hint: 'try again, or in parts of at most 20,000 jobs, which start over by themselves',
      cause,
    },
  )
}

/** 0: something can be done now. Null: nothing waits. */
function nextDueIn({now, best, dueAt, nextEnd}: Look): number | null {
  if (best) return 0
  const next = Math.min(dueAt ?? Infinity, nextEnd ?? Infinity)
  return next === Infinity ? null : Math.max(0, next - now)
}

function bytesOf(arg: NewJob['arg']): Uint8Array {
  return typeof arg === 'string' ? Buffer.from(arg) : (arg ?? new Uint8Array())
}

async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
}
