/** The job store on PostgreSQL, 12 or later. docs/servers.md has the GRANTs that each call needs. */
import type {
  CancelledJob,
  EnqueuedJob,
  FailedAfter,
  JobChanges,
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
import type {Beat, ManagerRow} from '../../jobs/manager.ts'
import {type DeathRow, MOST_DEATHS} from '../../jobs/rows/history.ts'
import type {KeyLimits, Shared, ShareRequest} from '../../jobs/shares/limits.ts'
import type {Action} from '../../jobs/side-tables/actions.ts'
import type {Order, Written} from '../../jobs/side-tables/orders.ts'
import type {ScheduleDefinition, Tick, Ticked} from '../../jobs/side-tables/schedules.ts'
import {managerRow} from '../shared/managers.ts'
import {oldOutputs, oldRows, pruned} from '../shared/prune.ts'
import {type Reading, readLater} from '../shared/reads/reading.ts'
import {ServerReads} from '../shared/reads/server-reads.ts'
import type {ReadsSql} from '../shared/reads/sql.ts'
import {timeoutsOf} from '../shared/silence.ts'
import {UnansweredRenewals} from '../shared/unanswered.ts'
import {mayBeStored} from '../shared/uncertain.ts'
import type {
  ActionPage,
  Claimed,
  ClaimOptions,
  KeySpot,
  LogTable,
  Older,
  Peek,
  Retrying,
  Schedules,
  SharedKeys,
  Store,
  Turn,
  Want,
  Watch,
} from '../store.ts'
import {failAfter, followers, lookAfter} from './after.ts'
import {bigints, booleans, texts} from './arrays.ts'
import type {CallerTransaction} from './caller-transaction.ts'
import {alike} from './claims/alike.ts'
import {claim, postpone} from './claims/claims.ts'
import {endsOf, trackJobs} from './completions.ts'
import {postgresHosts} from './connections/connection.ts'
import {
  NOW_IS,
  type PostgresConnectionOptions,
  PostgresConnections,
  type Reply,
  type Send,
  type Statement,
  type Value,
} from './connections/connections.ts'
import {Listener} from './connections/watch.ts'
import {Enqueuer} from './enqueue.ts'
import {explain, isLost} from './errors.ts'
import {partsOf, postgresSql, type Query} from './listing-sql.ts'
import {actions, countAction, logAction} from './managers/actions.ts'
import {BEAT, beatValues, LEAVE, MANAGERS} from './managers/managers.ts'
import {passTick, schedulesIn, takeUp} from './managers/schedules.ts'
import {follow, forgetFollowed, tell, told, unfollow} from './orders/follow.ts'
import {cancelJobs, editJob, forgetOrders, hearOrders, ordersIn, withdrawOrders} from './orders/steer.ts'
import {missingIn, prepare} from './prepare.ts'
import {deleteOutputs, deleteRows} from './prune.ts'
import {nextTry, retryException} from './retry.ts'
import type {SchemaStep} from './schema.ts'
import {SET_UP, setUpWarnings} from './set-up.ts'
import {leaseValues, RENEW} from './settle.ts'
import {share, sharedKeys, unshare} from './shares/share.ts'
import {batchMarked, batchOf, setArg} from './side-tables/batches.ts'
import {expire, forgetExpiries} from './side-tables/expire.ts'
import {forgetProgress, progressIn, tellProgress} from './side-tables/progress.ts'
import {resultOf, sweepResults} from './side-tables/results.ts'
import {besideIn, forgetTags, sweepTags} from './side-tables/tags.ts'
import {Sweeper} from './side-tables.ts'
import {PostgresTurn} from './turn.ts'

const KNOCK = {name: 'jobq_knock', text: 'SELECT pg_notify($1, $2)'}
const DIED = {
  name: 'jobq_died',
  text: `SELECT t.id FROM unnest($1::BIGINT[]) AS t (id) WHERE EXISTS (SELECT FROM jobq_death d WHERE d.job_id = t.id)`,
}
const DEATHS = {
  name: 'jobq_deaths',
  text: `SELECT d.id, d.job_id AS "jobId", coalesce(func.name, '') AS func, job.uniqkey, d.how, d.died_at AS "diedAt"
    FROM jobq_death d LEFT JOIN job ON job.id = d.job_id LEFT JOIN func ON func.id = job.func_id
    ORDER BY d.id DESC LIMIT ${MOST_DEATHS}`,
}
const PAUSE = {
  name: 'jobq_pause',
  text: 'INSERT INTO jobq_pause (func) SELECT unnest($1::TEXT[]) ON CONFLICT DO NOTHING',
}
const RESUME = {
  name: 'jobq_resume',
  text: 'DELETE FROM jobq_pause WHERE func = ANY ($1::TEXT[]) RETURNING func',
}
const PAUSED = {name: 'jobq_paused', text: 'SELECT func FROM jobq_pause ORDER BY func COLLATE "C"'}

export interface PostgresOptions extends PostgresConnectionOptions {
  /** Told once what a person should look at: that new jobs are noticed late. Default: no one. */
  onTrouble?: ((message: string) => void) | undefined
}

/**
 * A store on a PostgreSQL database, which connects when it is first used. The schema is `init`'s.
 * @param name the address as messages may show it, without a password
 * @throws UsageError if the URL says what can't be done
 */
export function postgresStore(
  url: string,
  name: string,
  {onTrouble = () => {}, ...options}: PostgresOptions = {},
): PostgresStore {
  const hosts = postgresHosts(url, name)
  const timeouts = timeoutsOf(url)
  const link = new PostgresConnections(hosts, name, timeouts, options)
  const knock = async (channel: string, word: string) => void (await link.run(KNOCK, [channel, word], true))
  const onDeaf = () =>
    onTrouble(
      `${name}: no NOTIFY arrives, as behind a pooler in transaction mode: new jobs are noticed after up to 250 ms; give the server's own address to notice them at once`,
    )
  return new PostgresStore(link, new Listener(hosts, timeouts, knock, onDeaf), hosts.areSeveral)
}

/**
 * Each call is one transaction, READ COMMITTED, on one of a few connections; deadlocks and locked rows are tried again.
 * A turn is one round trip, and two for a `replaced`.
 */
export class PostgresStore extends ServerReads<Query> implements Store {
  readonly #link: PostgresConnections
  readonly #listener: Listener
  readonly #watches = new Set<Watch>()
  readonly #sweeper = new Sweeper()
  readonly #renewals = new UnansweredRenewals()
  readonly #together: Enqueuer
  readonly #turns: PostgresTurn
  #within: CallerTransaction | undefined
  /** Is all there that a dispatcher calls? */
  #isReady = false

  /** @param makesTokens has each enqueue a token of its own, unless it comes with one? */
  constructor(link: PostgresConnections, listener: Listener, makesTokens: boolean) {
    super()
    this.#link = link
    this.#listener = listener
    this.#together = new Enqueuer(link, this.#sweeper, makesTokens)
    this.#turns = new PostgresTurn(link, this.#sweeper)
  }

  get name(): string {
    return this.#link.name
  }

  async places(): Promise<string[]> {
    return [await (await this.#startCallerTransaction()).place()]
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
    return this.#explained(this.#link.alone((...sends) => prepare(this.name, ...sends)))
  }

  enqueue(job: NewJob): Promise<EnqueuedJob> {
    return this.#together.enqueue(job)
  }

  async enqueueWithin(connection: unknown, job: NewJob): Promise<EnqueuedJob> {
    return (await this.#startCallerTransaction()).enqueue(connection, job)
  }

  async #startCallerTransaction(): Promise<CallerTransaction> {
    const {CallerTransaction} = await import('./caller-transaction.ts')
    this.#within ??= new CallerTransaction(this.#link)
    return this.#within
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    const [{Inserter}, {Spool}] = await Promise.all([import('./bulk.ts'), import('../spool.ts')])
    await this.#run(NOW_IS, [], true) // before much is read: whether there is a server
    const spool = await Spool.of(jobs)
    let isCommitting = false
    const insertAll = async (send: Send) => {
      isCommitting = false
      const inserter = new Inserter(send, this.#sweeper)
      for await (const stretch of spool.stretches()) await inserter.add(stretch)
      await inserter.end()
      return inserter.count
    }
    try {
      const onCommit = () => {
        isCommitting = true
      }
      return await this.#link.transaction(insertAll, onCommit, 'read')
    } catch (error) {
      if (isCommitting && isLost(error)) throw mayBeStored(this.name, 'the jobs', error)
      throw explain(this.name, error)
    } finally {
      spool.close()
    }
  }

  track(jobs: readonly RowRef[]): Promise<RowRef[]> {
    return this.#explained(trackJobs(this.#link, this.#sweeper, jobs))
  }

  ends(jobs: readonly RowRef[]): Promise<StoredEnd[]> {
    return this.#explained(endsOf(this.#link, jobs))
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    if (!this.#isReady) await this.#checkReady()
    return this.#explained(this.#turns.turn(settlements, want))
  }

  async #checkReady(): Promise<void> {
    const {checkFunctions} = await import('./functions.ts')
    await this.#explained(checkFunctions(this.#link))
    this.#isReady = true
  }

  peek(want: Want): Promise<Peek> {
    return this.#explained(this.#turns.peek(want))
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    if (leases.length === 0) return []
    const {rows} = await this.#renewals.renew(leases, mayBeDone =>
      this.#run(RENEW, [...leaseValues(leases), seconds, booleans(leases.map(mayBeDone))]),
    )
    const ends = new Map(rows.map(({id, grabbedUntil}) => [id, Number(grabbedUntil)]))
    return leases.flatMap(({id}) => (ends.has(id) ? [{id, grabbedUntil: ends.get(id)!}] : []))
  }

  postpone = (jobs: readonly Postponement[]) => this.#explained(postpone(this.#link, jobs))

  async claim(jobs: readonly RowRef[], seconds: number, options?: ClaimOptions): Promise<Claimed> {
    if (!this.#isReady) await this.#checkReady()
    return this.#explained(claim(this.#link, jobs, seconds, options))
  }

  alike = (job: JobRow, among?: {key: string; limit: number}) =>
    this.#explained(alike(this.#link, job, among))

  async deaths(): Promise<DeathRow[]> {
    const {rows} = await this.#run(DEATHS, [])
    return rows.map(({id, jobId, func, uniqkey, how, diedAt}) => ({
      ...{id: Number(id), jobId: Number(jobId), func: String(func), how: String(how), diedAt: Number(diedAt)},
      uniqkey: uniqkey === null ? null : String(uniqkey),
    }))
  }

  async died(jobs: readonly RowRef[]): Promise<RowRef[]> {
    const {rows} = await this.#run(DIED, [bigints(jobs.map(({id}) => id))])
    return rows.map(({id}) => ({id: Number(id)}))
  }

  followers = (exceptionId: number) => this.#read(send => followers(send, exceptionId))

  nextTry = (exceptionId: number) => this.#read(send => nextTry(send, exceptionId))

  async retry(exceptionId: number, options: Retrying): Promise<EnqueuedJob> {
    return this.#explained(retryException(this.#link, this.name, exceptionId, options))
  }

  async pause(funcs: readonly string[]): Promise<void> {
    await this.#run(PAUSE, [texts(funcs)], true)
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    const {rows} = await this.#run(RESUME, [texts(funcs)])
    const resumed = new Set(rows.map(({func}) => func))
    return funcs.filter(func => resumed.has(func))
  }

  async *prune(table: LogTable, older: Older, dryRun: boolean, signal?: AbortSignal): AsyncGenerator<number> {
    const old = (after: number) => this.look(sql => oldRows(sql, table, older, after))
    const send: Send = (statement, values) => this.#run(statement, values ?? [])
    const remove = (ids: readonly number[]) => deleteRows(send, table, ids)
    yield* pruned(old, dryRun ? null : remove, signal)
    const outputs = (after: number) => this.look(sql => oldOutputs(sql, table, older, after))
    const removeOutputs = (ids: readonly number[]) => deleteOutputs(send, ids)
    yield* pruned(outputs, dryRun ? null : removeOutputs, signal)
  }

  async paused(): Promise<string[]> {
    return (await this.#run(PAUSED, [], true)).rows.map(({func}) => String(func))
  }

  cancel(jobs: readonly RowRef[], state?: JobState): Promise<CancelledJob[]> {
    return this.#explained(cancelJobs(this.#link, jobs, state))
  }

  failAfter(): Promise<{failed: FailedAfter[]; isMore: boolean}> {
    return this.#explained(failAfter(this.#link))
  }

  lookAfter(from: number): Promise<number | null> {
    return this.#explained(lookAfter(this.#link, from))
  }

  share(request: ShareRequest): Promise<Shared> {
    return this.#explained(share(this.#link, request))
  }

  sharedKeys(func: string, limits: KeyLimits, {key}: KeySpot): Promise<SharedKeys> {
    return this.#explained(sharedKeys(this.#link, func, limits, key))
  }

  unshare(funcs: readonly string[]): Promise<boolean> {
    return this.#explained(unshare(this.#link, funcs))
  }

  orders(): Promise<Order[]> {
    return this.#explained(ordersIn(this.#link))
  }

  hear(orders: readonly Order[]): Promise<Order[]> {
    return this.#explained(hearOrders(this.#link, orders))
  }

  withdraw(orders: readonly Order[]): Promise<Order[]> {
    return this.#explained(withdrawOrders(this.#link, orders))
  }

  forgetOrders(jobs: readonly RowRef[]): Promise<void> {
    return this.#explained(forgetOrders(this.#link, jobs))
  }

  follow = (job: RowRef, mine?: number) => this.#explained(follow(this.#link, job, mine))
  unfollow = (job: RowRef, orderedAt: number) => this.#explained(unfollow(this.#link, job, orderedAt))
  forgetFollowed = () => this.#explained(forgetFollowed(this.#link))
  tell = (written: readonly Written[]) => this.#explained(tell(this.#link, written))
  told = (job: RowRef, after: number) => this.#explained(told(this.#link, job, after))

  beside = () => this.#explained(besideIn(this.#link))
  result = (id: number) => this.#explained(resultOf(this.#link, id))
  batchMarked = (mark: string) => this.#explained(batchMarked(this.#link, mark))
  batch = (id: number) => this.#explained(batchOf(this.#link, id))
  setArg = (lease: Lease, arg: StoredArg) => this.#explained(setArg(this.#link, lease, arg))
  tellProgress = (told: readonly (RowRef & Progress)[]) => this.#explained(tellProgress(this.#link, told))
  forgetProgress = (jobs: readonly RowRef[]) => this.#explained(forgetProgress(this.#link, jobs))
  progress = (jobs: readonly RowRef[]) => this.#explained(progressIn(this.#link, jobs))
  sweepResults = () => this.#explained(sweepResults(this.#link))
  sweepTags = (from: number) => this.#explained(sweepTags(this.#link, from))

  expire = () => this.#explained(expire(this.#link))

  async forgetBeside(jobs: readonly RowRef[]): Promise<void> {
    const ids = jobs.map(({id}) => id)
    await this.#explained(this.#link.pipeline([forgetTags(ids), forgetExpiries(ids)]))
  }

  edit(id: number, changes: JobChanges): Promise<EnqueuedJob | 'gone' | 'running'> {
    return this.#explained(editJob(this.#link, id, changes))
  }

  async beat(manager: Beat): Promise<void> {
    await this.#run(BEAT, beatValues(manager), true)
  }

  async leave(id: Beat['id']): Promise<void> {
    await this.#run(LEAVE, [id], true)
  }

  async managers(): Promise<ManagerRow[]> {
    return (await this.#run(MANAGERS, [], true)).rows.map(managerRow)
  }

  logAction = (action: Action) => this.#explained(logAction(this.#link, action))
  countAction = (action: RowRef, jobs: number) => this.#explained(countAction(this.#link, action, jobs))
  actions = (page: ActionPage) => this.#explained(actions(this.#link, page))

  schedules(): Promise<Schedules> {
    return this.#explained(schedulesIn(this.#link))
  }

  takeUp(schedules: readonly ScheduleDefinition[]): Promise<void> {
    return this.#explained(takeUp(this.#link, schedules))
  }

  async tick(tick: Tick, job: NewJob | null): Promise<Ticked> {
    let isCommitting = false
    const pass = (send: Send) => {
      isCommitting = false
      return passTick(send, this.#sweeper, tick, job)
    }
    const onCommit = () => {
      isCommitting = true
    }
    try {
      return await this.#link.transaction(pass, onCommit)
    } catch (error) {
      if (isCommitting && isLost(error)) throw mayBeStored(this.name, 'the job', error)
      throw explain(this.name, error)
    }
  }

  async warnings(always: boolean): Promise<string[]> {
    if (!always && !this.#link.hasHosts) return []
    const {rows} = await this.#run(SET_UP, [], true)
    return [...setUpWarnings(rows[0]!, this.#link.hasHosts), ...this.#link.timeoutWarnings()]
  }

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

  #run(statement: Statement | string, values: readonly Value[], again = false): Promise<Reply> {
    return this.#explained(this.#link.run(statement, values, again))
  }

  #read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#explained(this.#link.read(work))
  }

  /** Of one moment. It may be begun again. */
  protected look<Found>(reading: (sql: ReadsSql<Query>) => Reading<Query, Found>): Promise<Found> {
    return this.#read(send =>
      readLater(reading(postgresSql), async queries => {
        const replies = queries.map(({statement, values}) => send(statement, values))
        return (await Promise.all(replies)).flatMap(({rows}, i) => partsOf(queries[i]!, rows))
      }),
    )
  }

  async #explained<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      throw explain(this.name, error)
    }
  }
}
