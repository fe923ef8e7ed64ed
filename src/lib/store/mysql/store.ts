/** The job store on MySQL 8 and MariaDB 10.6 or later, in Qudo's own tables. */

import {setTimeout as sleep} from 'node:timers/promises'
import type {
  CancelledJob,
  EnqueuedJob,
  ExpiredJob,
  FailedAfter,
  JobChanges,
  JobProgress,
  JobRow,
  JobState,
  Lease,
  NewJob,
  Postponement,
  Progress,
  RowRef,
  Settlement,
  StoredArg,
  StoredEnd,
} from '../../jobs/job.ts'
import type {Beat} from '../../jobs/manager.ts'
import {type DeathRow, MOST_DEATHS} from '../../jobs/rows/history.ts'
import type {KeyLimits, Shared, ShareRequest} from '../../jobs/shares/limits.ts'
import type {Action} from '../../jobs/side-tables/actions.ts'
import type {Followed, Order, Written} from '../../jobs/side-tables/orders.ts'
import type {ScheduleDefinition, Tick, Ticked} from '../../jobs/side-tables/schedules.ts'
import {oldOutputs, oldRows, pruned} from '../shared/prune.ts'
import {type Reading, readLater} from '../shared/reads/reading.ts'
import {ServerReads} from '../shared/reads/server-reads.ts'
import type {ReadsSql} from '../shared/reads/sql.ts'
import {type Timeouts, timeoutsOf, timeoutWarnings} from '../shared/silence.ts'
import type {Spool} from '../spool.ts'
import type {
  ActionPage,
  Beside,
  Claimed,
  ClaimOptions,
  KeySpot,
  LogTable,
  Older,
  Preparation,
  Retrying,
  SharedKeys,
  Store,
  Turn,
  Want,
  Watch,
} from '../store.ts'
import {afterCall, FORGET_TOLD, failMarked, followers, goneOf} from './after.ts'
import type {CallerTransaction} from './caller-transaction.ts'
import {alike} from './claims/alike.ts'
import {claim, postpone} from './claims/claims.ts'
import {Sweeper, Waits} from './completions.ts'
import {type MysqlHosts, mysqlHosts} from './connections/address.ts'
import {literal, type MysqlConnection, textOf, textOrNull} from './connections/connection.ts'
import {MysqlConnections, PATIENCE_MS} from './connections/connections.ts'
import {Poll} from './connections/poll.ts'
import {Enqueuer} from './enqueue.ts'
import {isCancelled, isUndecided, mayBeStored} from './errors.ts'
import {Inserter} from './insert.ts'
import {mysqlSql} from './listing-sql.ts'
import {actions, countAction, logAction} from './managers/actions.ts'
import {beat, leave, managers} from './managers/managers.ts'
import {passTick, schedulesIn, takeUp} from './managers/schedules.ts'
import {follow, forgetFollowed, tell, told, unfollow} from './orders/follow.ts'
import {
  cancelJobs,
  editJob,
  findJobs,
  forgetOrders,
  hearOrders,
  ordersIn,
  withdrawOrders,
} from './orders/steer.ts'
import {deleteOutputs, deleteRows} from './prune.ts'
import {nextTry, retryException} from './retry.ts'
import {prepareSchema, type SchemaStep, schemaPlan} from './schema.ts'
import {setUpWarnings} from './set-up.ts'
import {isAnyShared, share, sharedKeys, unshare} from './shares/share.ts'
import {batchMarked, batchOf, setArg} from './side-tables/batches.ts'
import {expire} from './side-tables/expire.ts'
import {forgetExpiries} from './side-tables/expiries.ts'
import {forgetProgress, progressIn, tellProgress} from './side-tables/progress.ts'
import {ARE_ANY_OVER, resultOf, sweepResults} from './side-tables/results.ts'
import {forgetTags, sweepTags} from './side-tables/tags.ts'
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
    return {
      database: name,
      made: steps.flatMap(({makes}) => makes),
      sql: steps.map(({sql}) => sql),
      warnings: await store.warnings(true),
    }
  } finally {
    await store.close()
  }
}

export class MysqlStore extends ServerReads<string> implements Store {
  readonly name: string
  readonly #hosts: MysqlHosts
  readonly #timeouts: Timeouts
  readonly #links: MysqlConnections
  readonly #turnLinks: MysqlConnections
  readonly #turns: Turns
  readonly #enqueuer: Enqueuer
  #within: CallerTransaction | undefined
  readonly #waits: Waits
  readonly #poll: Poll

  constructor(url: string, name: string, {patience = PATIENCE_MS, durable = true}: MysqlOptions = {}) {
    super()
    this.name = name
    const hosts = mysqlHosts(url, name)
    const timeouts = timeoutsOf(url)
    this.#hosts = hosts
    this.#timeouts = timeouts
    this.#links = new MysqlConnections(hosts, name, CONNECTIONS, patience, timeouts)
    this.#turnLinks = new MysqlConnections(hosts, name, durable ? 1 : COMMITS, patience, timeouts, link =>
      link.setUpForTurns(),
    )
    const sweeper = new Sweeper()
    this.#waits = new Waits(this.#links, sweeper)
    this.#poll = new Poll(this.#links, this.#waits)
    this.#turns = new Turns(this.#turnLinks, {name, durable, onDoubt: () => this.#poll.ring()})
    this.#enqueuer = new Enqueuer(this.#links, {
      name,
      find: async (func, uniqkey) => (await this.list({func, uniqkey, limit: 1, offset: 0}))[0],
      sweeper,
      makesTokens: hosts.areSeveral,
      patience,
    })
  }

  /** How many transactions were done again because of a deadlock or a lock that was waited for too long. */
  get deadlocks(): number {
    return this.#links.deadlocks + this.#turnLinks.deadlocks
  }

  async places(): Promise<string[]> {
    return [await (await this.#startCallerTransaction()).place()]
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
    const enqueued = await (await this.#startCallerTransaction()).enqueue(connection, job)
    if (job.tracked) this.#waits.await(enqueued.id)
    this.#poll.isBusy() // it appears at their commit, probably soon
    return enqueued
  }

  async #startCallerTransaction(): Promise<CallerTransaction> {
    const {CallerTransaction} = await import('./caller-transaction.ts')
    this.#within ??= new CallerTransaction(this.#links, this.name)
    return this.#within
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    await this.#links.read(link => link.run('DO 0')) // before much is read: whether there is a server
    const {Spool} = await import('../spool.ts')
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
      throw isUndecided(error) || isCancelled(error)
        ? mayBeStored(this.name, `all ${inserted} jobs`, error)
        : error
    })
    return inserted
  }

  track = (jobs: readonly RowRef[]): Promise<RowRef[]> => this.#waits.track(jobs)

  ends = (jobs: readonly RowRef[]): Promise<StoredEnd[]> => this.#waits.ends(jobs)

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    this.#poll.narrow(want)
    const turn = await this.#turns.turn(settlements, want)
    if (settlements.length > 0 || turn.jobs.length > 0) this.#poll.isBusy()
    if (turn.buried.length > 0 || turn.settled.some(({held}) => held)) this.#poll.ring()
    return turn
  }

  peek = (want: Want) => this.#turns.peek(want)

  renew = (leases: readonly Lease[], seconds: number) => this.#turns.renew(leases, seconds)

  postpone = (jobs: readonly Postponement[]) => this.#links.write(link => postpone(link, jobs))

  claim(jobs: readonly RowRef[], seconds: number, options?: ClaimOptions): Promise<Claimed> {
    return this.#links.write(link => claim(link, jobs, seconds, options))
  }

  alike = (job: JobRow, among?: {key: string; limit: number}) =>
    this.#links.read(link => alike(link, job, among))

  async deaths(): Promise<DeathRow[]> {
    const {rows} = await this.#links.read(link =>
      link.run(`SELECT d.id, d.job_id, ${link.names.select('func.name')} AS func, ${link.keys.select('job.uniqkey')} AS uniqkey,
          d.how, d.died_at
        FROM jobq_death d LEFT JOIN job ON job.id = d.job_id LEFT JOIN func ON func.id = job.func_id
        ORDER BY d.id DESC LIMIT ${MOST_DEATHS}`),
    )
    return rows.map(row => ({
      ...{id: Number(row.id), jobId: Number(row.job_id), how: textOf(row.how), diedAt: Number(row.died_at)},
      ...{func: textOrNull(row.func) ?? '', uniqkey: textOrNull(row.uniqkey)},
    }))
  }

  async died(jobs: readonly RowRef[]): Promise<RowRef[]> {
    if (jobs.length === 0) return []
    const sql = `SELECT DISTINCT job_id FROM jobq_death WHERE job_id IN (${jobs.map(({id}) => id)})`
    const {rows} = await this.#links.read(link => link.run(sql))
    return rows.map(row => ({id: Number(row.job_id)}))
  }

  followers = (exceptionId: number) => this.#links.read(link => followers(link, exceptionId))

  nextTry = (exceptionId: number) => this.#links.read(link => nextTry(link, exceptionId))

  async retry(exceptionId: number, options: Retrying): Promise<EnqueuedJob> {
    const enqueued = await this.#links.write(link => retryException(link, this.name, exceptionId, options))
    if (options.tracked) this.#waits.await(enqueued.id)
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

  async *prune(table: LogTable, older: Older, dryRun: boolean, signal?: AbortSignal): AsyncGenerator<number> {
    const old = (after: number) => this.look(sql => oldRows(sql, table, older, after))
    const remove = (ids: readonly number[]) => this.#links.write(link => deleteRows(link, table, ids))
    yield* pruned(old, dryRun ? null : remove, signal)
    const outputs = (after: number) => this.look(sql => oldOutputs(sql, table, older, after))
    const removeOutputs = (ids: readonly number[]) => this.#links.write(link => deleteOutputs(link, ids))
    yield* pruned(outputs, dryRun ? null : removeOutputs, signal)
  }

  async paused(): Promise<string[]> {
    const {rows} = await this.#links.read(link => link.run('SELECT func FROM jobq_pause ORDER BY func'))
    return rows.map(({func}) => textOf(func))
  }

  async cancel(jobs: readonly RowRef[], state?: JobState): Promise<CancelledJob[]> {
    const isWanted = (job: CancelledJob) => state === undefined || job.state === state
    const seen = (await this.#links.read(link => findJobs(link, jobs))).filter(isWanted)
    const isDone = seen.every(job => job.state === 'running' && job.isOrdered)
    const found = isDone ? seen : await this.#links.write(link => cancelJobs(link, jobs, isWanted))
    if (!isDone) this.#poll.ring()
    return found.map(({isOrdered: _, ...job}) => job)
  }

  async failAfter(): Promise<{failed: FailedAfter[]; isMore: boolean}> {
    const marked = `SELECT 1 FROM jobq_after FORCE INDEX (outcome) WHERE outcome IN ('failed', 'aborted') LIMIT 1`
    const {rows} = await this.#links.read(link => link.run(marked))
    if (rows.length === 0) return {failed: [], isMore: false}
    const failed = await this.#links.write(link => failMarked(link))
    this.#poll.ring()
    return {failed, isMore: true}
  }

  async lookAfter(from: number): Promise<number | null> {
    const {next, gone} = await this.#links.read(link => goneOf(link, from))
    if (gone.size === 0 && from > 0) return next
    const calls = [...gone].map(([how, ids]) => afterCall(ids, how))
    if (gone.size > 0 || (await this.#hasTold()))
      await this.#links.write(link => link.batch(['START TRANSACTION', ...calls, FORGET_TOLD, 'COMMIT']))
    if (gone.size > 0) this.#poll.ring()
    return next
  }

  async #hasTold(): Promise<boolean> {
    const told = `SELECT 1 FROM jobq_after FORCE INDEX (outcome) WHERE outcome = 'told' LIMIT 1`
    return (await this.#links.read(link => link.run(told))).rows.length > 0
  }

  async share(request: ShareRequest): Promise<Shared> {
    await this.#turnLinks.quiet() // what has been settled is to be seen
    const shared = await this.#turnLinks.write(link => share(link, request))
    if (shared.called > 0) this.#poll.ring()
    return shared
  }

  sharedKeys(func: string, limits: KeyLimits, {key}: KeySpot): Promise<SharedKeys> {
    return this.#links.read(link => sharedKeys(link, func, limits, key))
  }

  async unshare(funcs: readonly string[]): Promise<boolean> {
    if (!(await this.#links.read(link => isAnyShared(link, funcs)))) return false
    await this.#links.write(link => unshare(link, funcs))
    this.#poll.ring()
    return true
  }

  orders = () => this.#links.read(ordersIn)

  async hear(orders: readonly Order[]): Promise<Order[]> {
    return orders.length === 0 ? [] : this.#links.write(link => hearOrders(link, orders))
  }

  async withdraw(orders: readonly Order[]): Promise<Order[]> {
    return orders.length === 0 ? [] : this.#links.write(link => withdrawOrders(link, orders))
  }

  async forgetOrders(jobs: readonly RowRef[]): Promise<void> {
    if (jobs.length > 0) await this.#links.write(link => forgetOrders(link, jobs))
  }

  async follow(job: RowRef, mine?: number): Promise<Followed> {
    const order = await this.#links.write(link => follow(link, job, mine))
    if (!order.isHeard) this.#poll.ring()
    return order
  }

  unfollow = (job: RowRef, orderedAt: number) => this.#links.write(link => unfollow(link, job, orderedAt))
  forgetFollowed = () => this.#links.write(forgetFollowed)
  tell = (written: readonly Written[]) => this.#links.write(link => tell(link, written))
  told = (job: RowRef, after: number) => this.#links.read(link => told(link, job, after))

  async beside(): Promise<Beside> {
    const sql = `SELECT EXISTS (SELECT 1 FROM jobq_tag) AS tags, (SELECT CAST(expires_at AS SIGNED) - UNIX_TIMESTAMP()
      FROM jobq_expiry FORCE INDEX (expires_at) ORDER BY expires_at LIMIT 1) AS expiry_in, ${ARE_ANY_OVER} AS old_results`
    const [row] = (await this.#links.read(link => link.run(sql))).rows
    const {tags, expiry_in, old_results} = row!
    return {
      hasTags: Number(tags) === 1,
      expiryIn: expiry_in === null ? null : Number(expiry_in),
      hasOldResults: Number(old_results) === 1,
    }
  }

  async expire(): Promise<{expired: ExpiredJob[]; isMore: boolean}> {
    const done = await this.#links.write(link => expire(link))
    this.#poll.ring()
    return done
  }

  async forgetBeside(jobs: readonly RowRef[]): Promise<void> {
    const ids = jobs.map(({id}) => id).join()
    if (jobs.length > 0) await this.#links.write(link => link.batch([forgetTags(ids), forgetExpiries(ids)]))
  }

  result = (id: number) => this.#links.read(link => resultOf(link, id))
  batchMarked = (mark: string) => this.#links.read(link => batchMarked(link, mark))
  batch = (id: number) => this.#links.read(link => batchOf(link, id))

  async setArg(lease: Lease, arg: StoredArg): Promise<boolean> {
    await this.#turnLinks.quiet() // that it was taken is to be seen
    return this.#links.write(link => setArg(link, lease, arg))
  }

  async tellProgress(told: readonly (RowRef & Progress)[]): Promise<void> {
    if (told.length === 0) return
    await this.#turnLinks.quiet() // likewise
    await this.#links.write(link => tellProgress(link, told))
  }

  async forgetProgress(jobs: readonly RowRef[]): Promise<void> {
    if (jobs.length > 0) await this.#links.write(link => forgetProgress(link, jobs))
  }

  async progress(jobs: readonly RowRef[]): Promise<JobProgress[]> {
    return jobs.length === 0 ? [] : this.#links.read(link => progressIn(link, jobs))
  }

  sweepResults = () => this.#links.write(sweepResults)
  sweepTags = (from: number) => this.#links.write(link => sweepTags(link, from))

  async edit(id: number, changes: JobChanges): Promise<EnqueuedJob | 'gone' | 'running'> {
    const edited = await this.#links.write(link => editJob(link, id, changes))
    if (typeof edited === 'object') {
      if (changes.tracked) this.#waits.await(id)
      this.#poll.ring()
    }
    return edited
  }

  beat = (manager: Beat) => this.#links.write(link => beat(link, manager))
  leave = (id: Beat['id']) => this.#links.write(link => leave(link, id))
  managers = () => this.#links.read(managers)

  logAction = (action: Action) => this.#links.write(link => logAction(link, action))
  countAction = (action: RowRef, jobs: number) => this.#links.write(link => countAction(link, action, jobs))
  actions = (page: ActionPage) => this.#links.read(link => actions(link, page))

  schedules = () => this.#links.read(schedulesIn)

  async takeUp(schedules: readonly ScheduleDefinition[]): Promise<void> {
    if (schedules.length > 0) await this.#links.write(link => takeUp(link, schedules))
  }

  async tick(tick: Tick, job: NewJob | null): Promise<Ticked> {
    const ticked = await this.#links.write(link => passTick(link, this.name, tick, job))
    if (ticked.job?.id !== undefined && job?.tracked) this.#waits.await(ticked.job.id)
    if (ticked.job) this.#poll.ring()
    return ticked
  }

  async warnings(always: boolean): Promise<string[]> {
    const areSeveral = this.#hosts.areSeveral
    if (!always && !areSeveral) return []
    const warnings = await this.#links.read(link => setUpWarnings(link, this.#timeouts))
    return areSeveral ? [...warnings, ...timeoutWarnings(this.#timeouts)] : warnings
  }

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
  protected look<Found>(reading: (sql: ReadsSql<string>) => Reading<string, Found>): Promise<Found> {
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
