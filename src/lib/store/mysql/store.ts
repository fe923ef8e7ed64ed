/** The job store on MySQL 8 and MariaDB 10.6 or later, in Qudo's own tables. */

import {setTimeout as sleep} from 'node:timers/promises'
import type {EnqueuedJob, JobEnd, Lease, NewJob, RowRef, Settlement} from '../../jobs/job.ts'
import {history} from '../shared/history.ts'
import {find, funcs, type JobPlace, jobs, tooLargeId} from '../shared/listing.ts'
import {exceptions, type LogPlace, logCount, statuses} from '../shared/logs.ts'
import {oldRows, pruned} from '../shared/prune.ts'
import {type Reading, readLater} from '../shared/reading.ts'
import type {ReadsSql} from '../shared/reads-sql.ts'
import {timeoutsOf} from '../shared/silence.ts'
import {attempts, counts, times} from '../shared/stats.ts'
import {collect, each} from '../shared/stretch.ts'
import {Spool} from '../spool.ts'
import type {
  Choice,
  ExceptionPage,
  JobPage,
  LogTable,
  Older,
  Page,
  Preparation,
  Store,
  Turn,
  Want,
  Watch,
} from '../store.ts'
import {connectionOptions} from './address.ts'
import {CallerTransaction} from './caller-transaction.ts'
import {Sweeper, Waits} from './completions.ts'
import {literal, type MysqlConnection, textOf} from './connection.ts'
import {MysqlConnections, PATIENCE_MS} from './connections.ts'
import {Enqueuer} from './enqueue.ts'
import {isCancelled, isLost, mayBeStored} from './errors.ts'
import {Inserter} from './insert.ts'
import {mysqlSql} from './listing-sql.ts'
import {Poll} from './poll.ts'
import {deleteRows} from './prune.ts'
import {nextTry, retryException} from './retry.ts'
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

/** The most queries in one batch. */
const BATCH = 1000
const SNAPSHOT = [
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  'SELECT UNIX_TIMESTAMP() AS now',
]

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
    return {database: name, made: steps.flatMap(({makes}) => makes), sql: steps.map(({sql}) => sql)}
  } finally {
    await store.close()
  }
}

export class MysqlStore implements Store {
  readonly name: string
  readonly #links: MysqlConnections
  readonly #turnLinks: MysqlConnections
  readonly #turns: Turns
  readonly #enqueuer: Enqueuer
  readonly #within: CallerTransaction
  readonly #waits: Waits
  readonly #poll: Poll

  constructor(url: string, name: string, {patience = PATIENCE_MS, durable = true}: MysqlOptions = {}) {
    this.name = name
    const options = connectionOptions(url, name)
    const timeouts = timeoutsOf(url)
    this.#links = new MysqlConnections(options, name, CONNECTIONS, patience, timeouts)
    this.#turnLinks = new MysqlConnections(options, name, durable ? 1 : COMMITS, patience, timeouts, link =>
      link.setUpForTurns(),
    )
    const sweeper = new Sweeper()
    this.#waits = new Waits(this.#links, sweeper)
    this.#poll = new Poll(this.#links, this.#waits)
    this.#turns = new Turns(this.#turnLinks, {name, durable, onDoubt: () => this.#poll.ring()})
    this.#within = new CallerTransaction(this.#links, name)
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

  async places(): Promise<string[]> {
    return [await this.#within.place()]
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
      spool.close()
    }
  }

  async #insertAll(link: MysqlConnection, spool: Spool): Promise<number> {
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
    options: {priority: number; due: NewJob['due']; again?: boolean | undefined},
  ): Promise<EnqueuedJob> {
    const enqueued = await this.#links.write(link => retryException(link, this.name, exceptionId, options))
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

  async *prune(table: LogTable, older: Older, dryRun: boolean): AsyncGenerator<number> {
    const old = (after: number) => this.#read(sql => oldRows(sql, table, older, after))
    const remove = (ids: readonly number[]) => this.#links.write(link => deleteRows(link, table, ids))
    yield* pruned(old, dryRun ? null : remove)
  }

  async paused(): Promise<string[]> {
    const {rows} = await this.#links.read(link => link.run('SELECT func FROM jobq_pause ORDER BY func'))
    return rows.map(({func}) => textOf(func))
  }

  find = (id: number) => this.#read(sql => find(sql, id))
  history = (id: number) => this.#read(sql => history(sql, id))
  list = (page: JobPage) => collect(this.eachJob(page))
  exceptions = (page: ExceptionPage) => collect(this.eachException(page))
  statuses = (page: Page) => collect(this.eachStatus(page))
  eachJob = (page: JobPage) => each((place: JobPlace | null) => this.#read(sql => jobs(sql, page, place)))
  eachException = (page: ExceptionPage) =>
    each((place: LogPlace | null) => this.#read(sql => exceptions(sql, page, place)))
  eachStatus = (page: Page) => each((place: LogPlace | null) => this.#read(sql => statuses(sql, page, place)))
  logCount = (table: LogTable, choice: Choice) => this.#read(sql => logCount(sql, table, choice))
  funcs = () => this.#read(funcs)
  tooLargeId = () => this.#read(tooLargeId)
  counts = (func?: string) => this.#read(sql => counts(sql, func))
  times = (func?: string) => this.#read(sql => times(sql, func))
  attempts = (func?: string) => this.#read(sql => attempts(sql, func))

  watch(onChange: () => void): Watch {
    return this.#poll.watch(onChange)
  }

  async close(): Promise<void> {
    this.#poll.close()
    await Promise.race([this.#turnLinks.quiet(), sleep(CLOSING_MS, null, {ref: false})])
    this.#links.close()
    this.#turnLinks.close()
  }

  /** Of one moment. */
  #read<Found>(reading: (sql: ReadsSql<string>) => Reading<string, Found>): Promise<Found> {
    return this.#links.read(async link => {
      const clock = (await link.batch(SNAPSHOT)).at(-1)!
      const sql = mysqlSql(link, Number(clock.rows[0]!.now))
      const found = await readLater(reading(sql), queries => rowsOf(link, queries))
      await link.run('COMMIT')
      return found
    }, 'read')
  }
}

/** A packet holds only so much. */
async function rowsOf(link: MysqlConnection, queries: readonly string[]): Promise<unknown[][]> {
  const replies = []
  for (let at = 0; at < queries.length; at += BATCH)
    replies.push(...(await link.batch(queries.slice(at, at + BATCH))))
  return replies.map(({rows}) => rows)
}
