/**
 * The job store on MySQL 8 and MariaDB 10.6 or later, in Qudo's own tables.
 *
 * Every statement runs at READ COMMITTED and finds its rows by a key, so that it locks those and no others.
 * turn.ts tells how jobs are settled and taken, lanes.ts how the best one is found.
 *
 * The clock is the server's: UNIX_TIMESTAMP() for every time that is stored or compared.
 *
 * The server tells no one of a change. One poll a process, a few seeks, asks what would be taken next: every 10 ms
 * while there is something going on, seldomer and seldomer up to every 250 ms when there is not.
 */

import {setTimeout as sleep} from 'node:timers/promises'
import {AlreadyRetriedError, NotFoundError, StillTriedError} from '../../jobs/errors.ts'
import type {
  EnqueuedJob,
  ExceptionRow,
  JobEnd,
  Lease,
  ListedJob,
  NewJob,
  RowRef,
  Settlement,
  StatusRow,
} from '../../jobs/job.ts'
import type {JobPlace, LogPlace, Stretch} from '../shared/keys.ts'
import {timeoutsOf} from '../shared/silence.ts'
import {Spool} from '../spool.ts'
import type {ExceptionPage, JobPage, Page, Preparation, Store, Turn, Want, Watch} from '../store.ts'
import {connectionOptions} from './address.ts'
import {Within} from './caller-transaction.ts'
import {Sweeper, Waits} from './completions.ts'
import {type Link, literal, textOf, textOrNull} from './connection.ts'
import {Links, PATIENCE_MS} from './connections.ts'
import {Enqueuer} from './enqueue.ts'
import {ERRNO, hasErrno, isCancelled, isLost, mayBeStored} from './errors.ts'
import {checkTime, duplicateOf, Inserter} from './insert.ts'
import {nextTry, tooLargeId} from './logs.ts'
import {Poll} from './poll.ts'
import {PROCEDURE} from './procedure.ts'
import {MysqlReads} from './reads.ts'
import {idOfRow} from './rows.ts'
import {prepareSchema, type SchemaStep, schemaPlan} from './schema.ts'
import {Turns} from './turn.ts'

/** Turns and renewals have a connection to themselves; all else shares these. */
const CONNECTIONS = 3

/** How long the last COMMITs are waited for at the end. */
const CLOSING_MS = 5000
/**
 * How many turns may wait for the server's disk at once, where nobody waits for them. With a disk that takes 3 ms, 4 of
 * them work 590 jobs a second, 8 work 1,150, 16 work 1,960; with one that takes 0.1 ms, each of them 3,000. A connection
 * each, where turns are that dense.
 */
const COMMITS = 8

export interface MysqlOptions {
  /** false: turns don't wait for the server's disk; a power cut there may take back the last ones. Default true. */
  durable?: boolean
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
    const skipped = steps.flatMap(step => step.skipped ?? [])
    return {
      database: name,
      made: steps.flatMap(({makes}) => makes),
      sql: steps.filter(step => step.skipped === undefined).map(({sql}) => sql),
      ...(skipped.length > 0 ? {skipped} : {}),
    }
  } finally {
    await store.close()
  }
}

export class MysqlStore implements Store {
  readonly name: string
  readonly #links: Links
  readonly #turnLinks: Links
  readonly #turns: Turns
  readonly #enqueuer: Enqueuer
  readonly #within: Within
  readonly #waits: Waits
  readonly #poll: Poll

  constructor(url: string, name: string, {patience = PATIENCE_MS, durable = true}: MysqlOptions = {}) {
    this.name = name
    const options = connectionOptions(url, name)
    const timeouts = timeoutsOf(url)
    this.#links = new Links(options, name, CONNECTIONS, patience, timeouts)
    this.#turnLinks = new Links(options, name, durable ? 1 : COMMITS, patience, timeouts, link =>
      link.setUpForTurns(PROCEDURE),
    )
    const sweeper = new Sweeper()
    this.#waits = new Waits(this.#links, sweeper)
    this.#poll = new Poll(this.#links, this.#waits)
    this.#turns = new Turns(this.#turnLinks, {name, durable, onDoubt: () => this.#poll.ring()})
    this.#within = new Within(this.#links, name)
    this.#enqueuer = new Enqueuer(this.#links, {
      name,
      find: async (func, uniqkey) => (await this.list({func, uniqkey, limit: 1, offset: 0}))[0],
      sweeper,
    })
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
    const enqueued = await this.#enqueuer.enqueue(job)
    if (job.tracked) this.#waits.await(enqueued.id)
    this.#poll.ring()
    return enqueued
  }

  async enqueueWithin(connection: unknown, job: NewJob): Promise<EnqueuedJob> {
    const enqueued = await this.#within.enqueue(connection, job)
    if (job.tracked) this.#waits.await(enqueued.id)
    this.#poll.isBusy() // it appears at their commit, probably soon
    return enqueued
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    await this.#links.read(link => link.run('DO 0')) // before much is read: whether there is a server
    const spool = await Spool.of(jobs)
    try {
      const count = await this.#links.write(link => this.#insertAll(link, spool), 'read')
      this.#poll.ring()
      return count
    } finally {
      await spool.close()
    }
  }

  async #insertAll(link: Link, spool: Spool): Promise<number> {
    const [, clock] = await link.batch(['START TRANSACTION', 'SELECT UNIX_TIMESTAMP() AS now'])
    const inserter = new Inserter(link, Number(clock!.rows[0]!.now))
    let inserted = 0
    for await (const stretch of spool.stretches()) {
      await inserter.insert(stretch)
      inserted += stretch.length
    }
    await link.run('COMMIT').catch(error => {
      throw isLost(error) || isCancelled(error)
        ? mayBeStored(this.name, `all ${inserted} jobs`, error)
        : error
    })
    return inserted
  }

  track = (jobs: readonly RowRef[]): Promise<RowRef[]> => this.#waits.track(jobs)

  ends = (jobs: readonly RowRef[]): Promise<JobEnd[]> => this.#waits.ends(jobs)

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    this.#poll.narrow(want)
    const turn = await this.#turns.turn(settlements, want)
    if (settlements.length > 0 || turn.jobs.length > 0) this.#poll.isBusy()
    if (turn.buried.length > 0 || turn.settled.some(({held}) => held)) this.#poll.ring()
    return turn
  }

  peek = (want: Want) => this.#turns.peek(want)

  renew = (leases: readonly Lease[], seconds: number) => this.#turns.renew(leases, seconds)

  async died(jobs: readonly RowRef[]): Promise<RowRef[]> {
    if (jobs.length === 0) return []
    const sql = `SELECT DISTINCT job_id FROM jobq_death WHERE job_id IN (${jobs.map(({id}) => id)})`
    const {rows} = await this.#links.read(link => link.run(sql))
    return rows.map(row => ({id: Number(row.job_id)}))
  }

  nextTry = (exceptionId: number) => this.#links.read(link => nextTry(link, exceptionId))

  async retry(
    exceptionId: number,
    {priority, due, again}: {priority: number; due: NewJob['due']; again?: boolean | undefined},
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
      const tried = again ? null : await nextTry(link, exceptionId)
      if (tried !== null) throw new StillTriedError(exceptionId, tried)
      const now = Number(clock!.rows[0]!.now)
      const runAfter = checkTime('at' in due ? due.at : now + due.in)
      const func = exception.func === null ? `#${exception.func_id}` : textOf(exception.func)
      const uniqkey = textOrNull(exception.uniqkey)
      // uniqkey and arg go from row to row inside the database: their bytes stay as they are
      const insert = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
        SELECT func_id, arg, uniqkey, ${now}, 0, ${runAfter}, 0, ${priority} FROM exception_log WHERE id = ${exceptionId}`
      const mark = `UPDATE exception_log SET retried = 1 WHERE id = ${exceptionId}`
      try {
        const id = idOfRow((await link.run(insert)).insertId)
        await link.batch([mark, 'COMMIT'])
        return {id, func, uniqkey, priority, runAfter}
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
  tooLargeId = () => this.#links.read(link => tooLargeId(link, 'job'))
  counts = (func?: string) => this.#read(reads => reads.counts(func))
  times = (func?: string) => this.#read(reads => reads.times(func))
  attempts = (func?: string) => this.#read(reads => reads.attempts(func))

  watch(onChange: () => void): Watch {
    return this.#poll.watch(onChange)
  }

  async close(): Promise<void> {
    this.#poll.close()
    await Promise.race([this.#turnLinks.quiet(), sleep(CLOSING_MS, null, {ref: false})])
    this.#links.close()
    this.#turnLinks.close()
  }

  // ---- reads

  #read<T>(work: (reads: MysqlReads) => Promise<T>): Promise<T> {
    return this.#links.read(link => MysqlReads.of(link, work), 'read')
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

async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
}
