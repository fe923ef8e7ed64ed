/**
 * Several databases as one store: Qudo's `databases`. A job is enqueued into any of them; work is taken from all, by
 * priority across them.
 */
import type {
  EnqueuedJob,
  ExceptionRow,
  FuncAttempts,
  FuncCounts,
  FuncTimes,
  JobHistory,
  Lease,
  ListedJob,
  NewJob,
  RowRef,
  Settlement,
  StatusRow,
} from '../../jobs/job.ts'
import type {Choice, ExceptionPage, JobPage, LogTable, Older, Page, Store, Want, Watch} from '../store.ts'
import {enqueueWithin} from './caller-transaction.ts'
import {endsIn, trackIn} from './completions.ts'
import {type Database, Databases, type Member} from './database.ts'
import {byAge, byWork, merged, mergedAttempts, mergedCounts, mergedTimes} from './merge.ts'
import {diedIn, peekAt, renewIn, turnOf} from './turn.ts'

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
  readonly #databases: Databases

  constructor(members: readonly Member[], {onTrouble}: SeveralOptions) {
    this.name = members.map(({name}) => name).join(', ')
    this.#databases = new Databases(members, onTrouble)
  }

  async init(): Promise<void> {
    await this.#databases.all(store => store.init())
  }

  async places(): Promise<string[]> {
    return (await this.#databases.all(store => store.places())).flatMap(([, places]) => places)
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    return this.#databases.any(async (store, db) => ({...(await store.enqueue(job)), db}))
  }

  enqueueWithin(connection: unknown, job: NewJob): EnqueuedJob | Promise<EnqueuedJob> {
    return enqueueWithin(this.#databases, connection, job)
  }

  async enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number> {
    let isRead = false
    const once = readOnce(jobs, () => {
      isRead = true
    })
    // What has begun to read its source can't start over in another database
    return this.#databases.any(
      store => store.enqueueMany(once()),
      () => !isRead,
    )
  }

  died = (jobs: readonly RowRef[]) => diedIn(this.#databases, jobs)
  track = (jobs: readonly RowRef[]) => trackIn(this.#databases, jobs)
  ends = (jobs: readonly RowRef[]) => endsIn(this.#databases, jobs)
  turn = (settlements: readonly Settlement[], want: Want) => turnOf(this.#databases, settlements, want)
  peek = (want: Want) => peekAt(this.#databases, want)
  renew = (leases: readonly Lease[], seconds: number) => renewIn(this.#databases, leases, seconds)

  async find(id: number, db?: number): Promise<ListedJob | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    const job = await database.use(store => store.find(id))
    return job && {...job, db: database.index}
  }

  async history(id: number, db?: number): Promise<JobHistory | null> {
    const database = this.#databases.at({id, ...(db === undefined ? {} : {db})})
    const found = await database.use(store => store.history(id))
    return found && {...found, db: database.index}
  }

  async list(page: JobPage): Promise<ListedJob[]> {
    return slice(this.eachJob({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async exceptions(page: ExceptionPage): Promise<ExceptionRow[]> {
    if (page.id !== undefined) return this.#oneException(page, page.id)
    return slice(this.eachException({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async statuses(page: Page): Promise<StatusRow[]> {
    return slice(this.eachStatus({...page, offset: 0, limit: page.offset + page.limit}), page)
  }

  async logCount(table: LogTable, choice: Choice): Promise<number> {
    const counts = await this.#databases.all(store => store.logCount(table, choice))
    return counts.reduce((sum, [, count]) => sum + count, 0)
  }

  eachJob(page: JobPage): AsyncGenerator<ListedJob> {
    return this.#each(
      page,
      store => store.eachJob({...page, offset: 0, limit: page.offset + page.limit}),
      byWork,
    )
  }

  eachException(page: ExceptionPage): AsyncGenerator<ExceptionRow> {
    const all = {...page, offset: 0, limit: page.offset + page.limit}
    return this.#each(
      page,
      store => store.eachException(all),
      byAge(row => row.exceptionTime, page.oldestFirst),
    )
  }

  eachStatus(page: Page): AsyncGenerator<StatusRow> {
    const all = {...page, offset: 0, limit: page.offset + page.limit}
    return this.#each(
      page,
      store => store.eachStatus(all),
      byAge(row => row.jobEndTime),
    )
  }

  async retry(
    exceptionId: number,
    options: {priority: number; due: NewJob['due']; again?: boolean | undefined},
    db?: number,
  ): Promise<EnqueuedJob> {
    const database = this.#databases.at({id: exceptionId, ...(db === undefined ? {} : {db})})
    return {...(await database.use(store => store.retry(exceptionId, options))), db: database.index}
  }

  async nextTry(exceptionId: number, db?: number): Promise<number | null> {
    const database = this.#databases.at({id: exceptionId, ...(db === undefined ? {} : {db})})
    return database.use(store => store.nextTry(exceptionId))
  }

  /** One after the other, those that can be reached. */
  async *prune(table: LogTable, older: Older, dryRun: boolean): AsyncGenerator<number> {
    for (const [, counts] of await this.#databases.all(async store => store.prune(table, older, dryRun)))
      yield* counts
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

  async funcs(): Promise<string[]> {
    return unique((await this.#databases.all(store => store.funcs())).flatMap(([, funcs]) => funcs))
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
    rows: (store: Store) => AsyncGenerator<Row>,
    order: (a: Row, b: Row) => number,
  ): AsyncGenerator<Row> {
    const sources = (await this.#databases.all(async store => rows(store))).map(([{index: db}, source]) =>
      withDb(source, db),
    )
    let n = 0
    for await (const row of merged(sources, order)) {
      if (n >= offset + limit) return
      if (n++ >= offset) yield row
    }
  }

  async #oneException(page: ExceptionPage, id: number): Promise<ExceptionRow[]> {
    const database = this.#databases.at({id, ...(page.db === undefined ? {} : {db: page.db})})
    const rows = await database.use(store => store.exceptions(page))
    return rows.map(row => ({...row, db: database.index}))
  }
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

async function* withDb<Row extends RowRef>(rows: AsyncGenerator<Row>, db: number): AsyncGenerator<Row> {
  for await (const row of rows) yield {...row, db}
}

async function slice<Row>(rows: AsyncGenerator<Row>, {offset, limit}: Page): Promise<Row[]> {
  const page: Row[] = []
  for await (const row of rows) page.push(row)
  return page.slice(offset, offset + limit)
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}
