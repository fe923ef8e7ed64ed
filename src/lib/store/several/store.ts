/**
 * Several databases as one store: Qudo's `databases`. A job is enqueued into any of them; work is taken from all, by
 * priority across them.
 */
import {checkOneDatabase} from '../../jobs/errors.ts'
import type {
  BatchState,
  EnqueuedJob,
  JobChanges,
  JobRow,
  JobState,
  Lease,
  ListedJob,
  NewJob,
  Postponement,
  Progress,
  RowRef,
  Settlement,
  StoredArg,
  StoredResult,
} from '../../jobs/job.ts'
import type {Beat, ManagerRow} from '../../jobs/manager.ts'
import type {ExceptionRow, JobHistory, StatusRow} from '../../jobs/rows/history.ts'
import type {KeyLimits, Shared, ShareRequest} from '../../jobs/shares/limits.ts'
import type {Action, ActionRow} from '../../jobs/side-tables/actions.ts'
import type {Order, Written} from '../../jobs/side-tables/orders.ts'
import type {ScheduleDefinition, Tick, Ticked} from '../../jobs/side-tables/schedules.ts'
import type {FuncAttempts, FuncCounts, FuncTimes} from '../../jobs/stats.ts'
import type {
  ActionPage,
  Choice,
  ClaimOptions,
  ExceptionPage,
  Extras,
  IdChoice,
  JobPage,
  JobSpot,
  KeySpot,
  LogPage,
  LogTable,
  Older,
  OneDatabase,
  Page,
  Retrying,
  Schedules,
  SharedKeys,
  Store,
  Want,
  Watch,
} from '../store.ts'
import {actionsIn, countActionIn, logActionIn} from './actions.ts'
import {failAfterIn, lookAfterIn, placeOf, placeOfAll} from './after.ts'
import {enqueueWithin} from './caller-transaction.ts'
import {alikeIn, claimIn, postponeIn} from './claims/claims.ts'
import {endsIn, trackIn} from './completions.ts'
import {begun, type Database, Databases, type Member, withDb} from './database.ts'
import {byAge, byWork, merged, mergedAttempts, mergedCounts, mergedManagers, mergedTimes} from './merge.ts'
import {oneOf} from './one.ts'
import {followIn, forgetFollowedIn, tellIn, toldIn, unfollowIn} from './orders/follow.ts'
import {cancelIn, editIn, forgetIn, hearIn, ordersIn, withdrawIn} from './orders/steer.ts'
import {schedulesIn, takeUpIn, tickIn} from './schedules.ts'
import {sharedKeysIn, shareIn, unshareIn} from './shares/share.ts'
import {
  batchMarkedIn,
  besideIn,
  expireIn,
  forgetBesideIn,
  forgetProgressIn,
  progressIn,
  sweepResultsIn,
  sweepTagsIn,
  tellProgressIn,
} from './side-tables.ts'
import {deathsIn, diedIn, peekAt, renewIn, turnOf} from './turn.ts'

export interface SeveralOptions {
  /** Called once each time that a database is found to be out of reach, and again when it is back. */
  onTrouble: (message: string) => void
}

/**
 * A job goes into one of them, picked at random; where that fails, to another one, unless it may have been stored
 * already. What is listed and counted is that of all that live; the others are told of. A row says which database it is
 * in: the first is 1.
 */
export class SeveralStores implements Store {
  readonly name: string
  readonly databases: readonly OneDatabase[]
  readonly #databases: Databases

  constructor(members: readonly Member[], {onTrouble}: SeveralOptions) {
    this.name = members.map(({name}) => name).join(', ')
    this.#databases = new Databases(members, onTrouble)
    this.databases = [...this.#databases].map(oneOf)
  }

  async init(): Promise<void> {
    await this.#databases.all(store => store.init())
  }

  async places(): Promise<string[]> {
    return (await this.#databases.all(store => store.places())).flatMap(([, places]) => places)
  }

  /** What waits for others goes where they are. */
  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    checkOneDatabase(job.token, [...this.#databases].length)
    const place = placeOf(this.#databases, job)
    if (place) {
      const {database} = place
      return {...(await database.use(store => store.enqueue(place.job))), db: database.index}
    }
    return this.#databases.any(async (store, db) => ({...(await store.enqueue(job)), db}))
  }

  enqueueWithin(connection: unknown, job: NewJob): EnqueuedJob | Promise<EnqueuedJob> {
    return enqueueWithin(this.#databases, connection, job)
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    let isRead = false
    const {database, jobs: placed} = await placeOfAll(this.#databases, jobs)
    if (database) return database.use(store => store.enqueueMany(placed))
    const once = readOnce(placed, () => {
      isRead = true
    })
    // What has begun to read its source can't start over in another database
    return this.#databases.any(
      store => store.enqueueMany(once()),
      () => !isRead,
    )
  }

  deaths = () => deathsIn(this.#databases)
  died = (jobs: readonly RowRef[]) => diedIn(this.#databases, jobs)
  track = (jobs: readonly RowRef[]) => trackIn(this.#databases, jobs)
  ends = (jobs: readonly RowRef[]) => endsIn(this.#databases, jobs)
  turn = (settlements: readonly Settlement[], want: Want) => turnOf(this.#databases, settlements, want)
  peek = (want: Want) => peekAt(this.#databases, want)
  renew = (leases: readonly Lease[], seconds: number) => renewIn(this.#databases, leases, seconds)

  postpone = (jobs: readonly Postponement[]) => postponeIn(this.#databases, jobs)
  claim = (jobs: readonly RowRef[], seconds: number, options?: ClaimOptions) =>
    claimIn(this.#databases, jobs, seconds, options)
  alike = (job: JobRow, among?: {key: string; limit: number}) => alikeIn(this.#databases, job, among)

  cancel = (jobs: readonly RowRef[], state?: JobState) => cancelIn(this.#databases, jobs, state)
  failAfter = () => failAfterIn(this.#databases)
  lookAfter = () => lookAfterIn(this.#databases)
  share = (request: ShareRequest): Promise<Shared> => shareIn(this.#databases, request)
  sharedKeys = (func: string, limits: KeyLimits, after: KeySpot): Promise<SharedKeys> =>
    sharedKeysIn(this.#databases, func, limits, after)
  unshare = (funcs: readonly string[]) => unshareIn(this.#databases, funcs)
  beside = () => besideIn(this.#databases)
  expire = () => expireIn(this.#databases)
  forgetBeside = (jobs: readonly RowRef[]) => forgetBesideIn(this.#databases, jobs)
  batchMarked = (mark: string) => batchMarkedIn(this.#databases, mark)
  setArg = ({db, ...lease}: Lease, arg: StoredArg) =>
    this.#databases.at({...lease, ...(db === undefined ? {} : {db})}).use(store => store.setArg(lease, arg))

  async batch(id: number, db?: number): Promise<BatchState | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    return database.use(store => store.batch(id))
  }

  tellProgress = (told: readonly (RowRef & Progress)[]) => tellProgressIn(this.#databases, told)
  forgetProgress = (jobs: readonly RowRef[]) => forgetProgressIn(this.#databases, jobs)
  progress = (jobs: readonly RowRef[]) => progressIn(this.#databases, jobs)
  sweepResults = () => sweepResultsIn(this.#databases)
  sweepTags = (from: number) => sweepTagsIn(this.#databases, from)
  orders = () => ordersIn(this.#databases)
  follow = (job: RowRef, mine?: number) => followIn(this.#databases, job, mine)
  unfollow = (job: RowRef, orderedAt: number) => unfollowIn(this.#databases, job, orderedAt)
  forgetFollowed = () => forgetFollowedIn(this.#databases)
  tell = (written: readonly Written[]) => tellIn(this.#databases, written)
  told = (job: RowRef, after: number) => toldIn(this.#databases, job, after)
  hear = (orders: readonly Order[]) => hearIn(this.#databases, orders)
  withdraw = (orders: readonly Order[]) => withdrawIn(this.#databases, orders)
  forgetOrders = (jobs: readonly RowRef[]) => forgetIn(this.#databases, jobs)
  edit = (id: number, changes: JobChanges, db?: number) =>
    editIn(this.#databases, {id, ...(db === undefined ? {} : {db})}, changes)

  schedules = (): Promise<Schedules> => schedulesIn(this.#databases)
  takeUp = (schedules: readonly ScheduleDefinition[]): Promise<void> => takeUpIn(this.#databases, schedules)
  tick = (tick: Tick, job: NewJob | null): Promise<Ticked> => tickIn(this.#databases, tick, job)

  logAction = (action: Action): Promise<RowRef> => logActionIn(this.#databases, action)
  countAction = (action: RowRef, jobs: number): Promise<void> => countActionIn(this.#databases, action, jobs)
  actions = (page: ActionPage): Promise<ActionRow[]> => actionsIn(this.#databases, page)

  async find(id: number, db?: number, extras?: Extras): Promise<ListedJob | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    const job = await database.use(store => store.find(id, undefined, extras))
    return job && {...job, db: database.index}
  }

  async history(id: number, db?: number): Promise<JobHistory | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    const found = await database.use(store => store.history(id))
    return found && {...found, db: database.index}
  }

  async output(id: number, db?: number): Promise<Uint8Array | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    return database.use(store => store.output(id))
  }

  async result(id: number, db?: number): Promise<StoredResult | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    return database.use(store => store.result(id))
  }

  async list(page: JobPage): Promise<ListedJob[]> {
    return slice(this.eachJob({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async exceptions(page: ExceptionPage): Promise<ExceptionRow[]> {
    if (page.id !== undefined) return this.#oneException(page, page.id)
    return slice(this.eachException({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async statuses(page: LogPage): Promise<StatusRow[]> {
    return slice(this.eachStatus({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async logCount(table: LogTable, choice: Choice): Promise<number> {
    const counts = await this.#databases.all(store => store.logCount(table, choice))
    return counts.reduce((sum, [, count]) => sum + count, 0)
  }

  eachJob(page: JobPage): AsyncGenerator<ListedJob> {
    const all = {...page, offset: 0, limit: page.offset + page.limit}
    return this.#each(page, (store, db) => store.eachJob({...all, after: spotIn(page.after, db)}), byWork)
  }

  eachException(page: ExceptionPage): AsyncGenerator<ExceptionRow> {
    const all = {...page, offset: 0, limit: page.offset + page.limit}
    return this.#each(
      page,
      (store, db) => store.eachException({...all, after: lastIn(page.after, db)}),
      byAge(row => row.exceptionTime, page.oldestFirst),
    )
  }

  eachStatus(page: LogPage): AsyncGenerator<StatusRow> {
    const all = {...page, offset: 0, limit: page.offset + page.limit}
    return this.#each(
      page,
      (store, db) => store.eachStatus({...all, after: lastIn(page.after, db)}),
      byAge(row => row.jobEndTime),
    )
  }

  /** One database after the other. */
  async *eachId(choice: IdChoice = {}): AsyncGenerator<RowRef> {
    for await (const [{index: db}, ref] of this.#databases.inTurn(store => store.eachId(choice)))
      yield {...ref, db}
  }

  async retry(exceptionId: number, options: Retrying, db?: number): Promise<EnqueuedJob> {
    const database = this.#databases.at({id: exceptionId, ...(db === undefined ? {} : {db})})
    return {...(await database.use(store => store.retry(exceptionId, options))), db: database.index}
  }

  async followers(exceptionId: number, db?: number): Promise<RowRef[]> {
    const database = this.#databases.at({id: exceptionId, ...(db === undefined ? {} : {db})})
    const found = await database.use(store => store.followers(exceptionId))
    return found.map(({id}) => ({id, db: database.index}))
  }

  async nextTry(exceptionId: number, db?: number): Promise<number | null> {
    const database = this.#databases.at({id: exceptionId, ...(db === undefined ? {} : {db})})
    return database.use(store => store.nextTry(exceptionId))
  }

  /** One after the other, those that can be reached. */
  async *prune(table: LogTable, older: Older, dryRun: boolean, signal?: AbortSignal): AsyncGenerator<number> {
    const counts = this.#databases.inTurn(store => store.prune(table, older, dryRun, signal))
    for await (const [, count] of counts) yield count
  }

  async pause(funcs: readonly string[]): Promise<void> {
    await this.#databases.all(store => store.pause(funcs))
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    if (funcs.length === 0) return [] // a server is not asked then: one that is out of reach would count as back
    return unique((await this.#databases.all(store => store.resume(funcs))).flatMap(([, resumed]) => resumed))
  }

  async paused(): Promise<string[]> {
    return unique((await this.#databases.all(store => store.paused())).flatMap(([, paused]) => paused))
  }

  /** In each that lives: who looks may have only one of them. */
  async beat(manager: Beat): Promise<void> {
    await this.#inAll(store => store.beat(manager))
  }

  async leave(id: Beat['id']): Promise<void> {
    await this.#inAll(store => store.leave(id))
  }

  async managers(db?: number): Promise<ManagerRow[]> {
    if (db !== undefined) return this.#databases.at({id: 0, db}).use(store => store.managers())
    return mergedManagers((await this.#databases.all(store => store.managers())).flatMap(([, rows]) => rows))
  }

  async funcs(isWhole = false): Promise<string[]> {
    return unique((await this.#databases.all(store => store.funcs(), isWhole)).flatMap(([, funcs]) => funcs))
  }

  async warnings(always: boolean): Promise<string[]> {
    const asked = [...this.#databases].filter(({isDead}) => !isDead) // one that is not asked would count as back
    const parts = asked.map(async database => {
      const warnings = (await database.ifAlive(store => store.warnings(always))) ?? []
      return warnings.map(warning => `database ${database.index}: ${warning}`)
    })
    return (await Promise.all(parts)).flat()
  }

  async tooLargeId(): Promise<string | null> {
    const found = await this.#databases.all(store => store.tooLargeId())
    return found.map(([, digits]) => digits).find(digits => digits !== null) ?? null
  }

  async counts(func?: string): Promise<FuncCounts[]> {
    return mergedCounts(
      (await this.#databases.all(store => store.counts(func))).flatMap(([, counts]) => counts),
    )
  }

  async times(func?: string): Promise<FuncTimes[]> {
    return mergedTimes((await this.#databases.all(store => store.times(func))).flatMap(([, times]) => times))
  }

  async attempts(func?: string): Promise<FuncAttempts[]> {
    return mergedAttempts(
      (await this.#databases.all(store => store.attempts(func))).flatMap(([, attempts]) => attempts),
    )
  }

  /** One that can't be reached rings when it is back, since it is tried again then. */
  watch(onChange: () => void): Watch {
    const watches = new Map<Database, Watch>()
    const arm = () => {
      for (const database of this.#databases) {
        if (watches.has(database) || !database.store) continue
        watches.set(database, database.store.watch(onChange))
        onChange()
      }
    }
    arm()
    const timer = setInterval(arm, 1000)
    timer.unref()
    return {
      close: () => {
        clearInterval(timer)
        for (const watch of watches.values()) watch.close()
      },
    }
  }

  /** Opens the SQLite files now, so that they can be asked without waiting. What fails is told where it is used. */
  async openLocal(): Promise<void> {
    const local = [...this.#databases].filter(({driver}) => driver === 'sqlite')
    await Promise.allSettled(local.map(database => database.open()))
  }

  async close(): Promise<void> {
    await Promise.all([...this.#databases].map(database => database.close()))
  }

  async *#each<Row extends RowRef>(
    {offset, limit}: Page,
    rows: (store: Store, db: number) => AsyncGenerator<Row>,
    order: (a: Row, b: Row) => number,
  ): AsyncGenerator<Row> {
    const found = await this.#databases.all((store, db) => begun(withDb(rows(store, db), db)))
    const sources = found.map(([, source]) => source)
    let n = 0
    for await (const row of merged(sources, order)) {
      if (n >= offset + limit) return
      if (n++ >= offset) yield row
    }
  }

  /** One that refuses keeps it from no other. */
  async #inAll(work: (store: Store) => Promise<void>): Promise<void> {
    const done = await Promise.allSettled([...this.#databases].map(database => database.ifAlive(work)))
    for (const each of done) if (each.status === 'rejected') throw each.reason
  }

  async #oneException(page: ExceptionPage, id: number): Promise<ExceptionRow[]> {
    const database = this.#databases.at({id, ...(page.db === undefined ? {} : {db: page.db})})
    const rows = await database.use(store => store.exceptions(page))
    return rows.map(row => ({...row, db: database.index}))
  }
}

/** At its key the databases come in their order: those before have passed it, those behind it have not begun. */
function spotIn(spot: JobSpot | undefined, db: number): JobSpot | undefined {
  if (spot === undefined || spot.db === db || spot.db === undefined) return spot
  return {...spot, id: spot.db > db ? Number.MAX_SAFE_INTEGER : 0}
}

function lastIn(last: readonly RowRef[] | undefined, db: number): RowRef[] | undefined {
  return last?.filter(row => row.db === db)
}

/** Each call gives the source from its start; to be called again only if it was not read. */
function readOnce<T>(source: Iterable<T> | AsyncIterable<T>, onRead: () => void) {
  if (Symbol.iterator in source)
    return function* () {
      onRead()
      yield* source
    }
  return async function* () {
    onRead()
    yield* source
  }
}

async function slice<Row>(rows: AsyncGenerator<Row>, {offset, limit}: Page): Promise<Row[]> {
  const page: Row[] = []
  for await (const row of rows) page.push(row)
  return page.slice(offset, offset + limit)
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}
