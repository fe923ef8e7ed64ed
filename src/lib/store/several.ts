/**
 * Several databases as one store: Qudo's `databases`.
 *
 * A job is enqueued into one of them, picked at random; one that fails is left alone for DEAD_MS and then tried again,
 * and the job goes to another one, unless it may have been stored already. What is listed and counted is that of all
 * that live; the others are told of. Work is taken from all, by priority across them. A row says which database it is
 * in: the first is 1.
 */
import {DuplicateJobError, NotFoundError, StoreError, UsageError} from '../errors.ts'
import type {
  EnqueuedJob,
  ExceptionRow,
  FuncAttempts,
  FuncCounts,
  FuncTimes,
  Lease,
  ListedJob,
  NewJob,
  RowRef,
  Settlement,
  StatusRow,
} from '../job.ts'
import {byAge, byWork, merged, mergedAttempts, mergedCounts, mergedTimes} from './merge.ts'
import type {ExceptionPage, JobPage, Page, Peek, SettleResult, Store, Turn, Want, Watch} from './store.ts'

const DEAD_MS = 30_000
/** What another database, or this one later, may not suffer from. */
const PASSING = ['UNREACHABLE', 'READ_ONLY', 'FULL', 'LOCKED']

export interface Member {
  /** As a message may name it: no password. */
  name: string
  open(): Promise<Store>
}

export interface SeveralOptions {
  /** Called once each time that a database is found to be out of reach, and again when it is back. */
  onTrouble: (message: string) => void
}

export class SeveralStores implements Store {
  readonly name: string
  readonly #databases: readonly Database[]

  constructor(members: readonly Member[], {onTrouble}: SeveralOptions) {
    this.name = members.map(({name}) => name).join(', ')
    this.#databases = members.map((member, i) => new Database(i + 1, member, onTrouble))
  }

  async init(): Promise<void> {
    await this.#all(store => store.init())
  }

  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    return this.#any(async (store, db) => ({...(await store.enqueue(job)), db}))
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
    let isRead = false
    const once = function* () {
      isRead = true
      yield* jobs
    }
    // What has begun to read its source can't start over in another database
    return this.#any(
      store => store.enqueueMany(once()),
      () => !isRead,
    )
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    const settled = new Array<SettleResult>(settlements.length).fill({held: false, isPending: true})
    const turn: Turn = {settled, buried: [], jobs: [], nextDueIn: null, now: Math.floor(Date.now() / 1000)}
    for (const database of this.#databases) {
      const mine = [...settlements.entries()].filter(([, {lease}]) => lease.db === database.index)
      if (mine.length === 0) continue
      const part = await database.ifAlive(store =>
        store.turn(
          mine.map(([, item]) => item),
          {...want, limit: 0},
        ),
      )
      for (const [k, [i]] of mine.entries()) if (part) settled[i] = part.settled[k]!
    }
    while (turn.jobs.length < want.limit && (await this.#takeOne(want, turn)));
    return turn
  }

  /** @returns whether there may be more to take */
  async #takeOne(want: Want, turn: Turn): Promise<boolean> {
    const peeks = await Promise.all(
      this.#databases.map(async database => ({
        database,
        peek: await database.ifAlive(store => store.peek(want)),
      })),
    )
    const best = peeks.reduce((best, next) => (isSooner(next.peek, best.peek) ? next : best))
    const chosen = best.peek?.head ? best : peeks.find(({peek}) => peek?.nextDueIn === 0)
    turn.nextDueIn = soonest(peeks.map(({peek, database}) => (peek ? peek.nextDueIn : database.backIn)))
    if (!chosen) return false
    const part = await chosen.database.ifAlive(store => store.turn([], {...want, limit: 1}))
    if (!part) return true
    const {index: db} = chosen.database
    turn.now = part.now
    turn.buried.push(...part.buried.map(job => ({...job, db})))
    turn.jobs.push(...part.jobs.map(job => ({...job, db})))
    if (part.jobs.length === 0) turn.nextDueIn = soonest([turn.nextDueIn || null, part.nextDueIn, 1])
    return part.jobs.length > 0 || part.buried.length > 0
  }

  async peek(want: Want): Promise<Peek> {
    const peeks = await this.#all(store => store.peek(want))
    const best = peeks.map(([, peek]) => peek).reduce((best, next) => (isSooner(next, best) ? next : best))
    return {head: best.head, nextDueIn: soonest(peeks.map(([, {nextDueIn}]) => nextDueIn))}
  }

  /** Where a database can't be asked, its leases are taken to hold: they are shorter than its absence, or they hold. */
  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    const parts = await Promise.all(
      this.#databases.map(async database => {
        const mine = leases.filter(({db}) => db === database.index)
        if (mine.length === 0) return []
        const renewed = await database.ifAlive(store => store.renew(mine, seconds))
        return renewed ? renewed.map(lease => ({...lease, db: database.index})) : mine
      }),
    )
    return parts.flat()
  }

  async find(id: number, db?: number): Promise<ListedJob | null> {
    const database = this.#at({id, ...(db === undefined ? {} : {db})})
    const job = await database.use(store => store.find(id))
    return job && {...job, db: database.index}
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
    options: {priority: number; due: NewJob['due']},
    db?: number,
  ): Promise<EnqueuedJob> {
    const database = this.#at({id: exceptionId, ...(db === undefined ? {} : {db})})
    return {...(await database.use(store => store.retry(exceptionId, options))), db: database.index}
  }

  async pause(funcs: readonly string[]): Promise<void> {
    await this.#all(store => store.pause(funcs))
  }

  async resume(funcs: readonly string[]): Promise<string[]> {
    return unique((await this.#all(store => store.resume(funcs))).flatMap(([, resumed]) => resumed))
  }

  async paused(): Promise<string[]> {
    return unique((await this.#all(store => store.paused())).flatMap(([, paused]) => paused))
  }

  async funcs(): Promise<string[]> {
    return unique((await this.#all(store => store.funcs())).flatMap(([, funcs]) => funcs))
  }

  async counts(func?: string): Promise<FuncCounts[]> {
    return mergedCounts((await this.#all(store => store.counts(func))).flatMap(([, counts]) => counts))
  }

  async times(func?: string): Promise<FuncTimes[]> {
    return mergedTimes((await this.#all(store => store.times(func))).flatMap(([, times]) => times))
  }

  async attempts(func?: string): Promise<FuncAttempts[]> {
    return mergedAttempts(
      (await this.#all(store => store.attempts(func))).flatMap(([, attempts]) => attempts),
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

  async close(): Promise<void> {
    await Promise.all(this.#databases.map(database => database.close()))
  }

  /** The first that can, in random order; those that have just failed come last. */
  async #any<T>(use: (store: Store, db: number) => Promise<T>, mayGoOn = () => true): Promise<T> {
    const shuffled = this.#databases
      .map(database => ({database, at: Math.random() + (database.isDead ? 1 : 0)}))
      .sort((a, b) => a.at - b.at)
    let failure: unknown
    for (const {database} of shuffled) {
      try {
        return await database.use(store => use(store, database.index))
      } catch (error) {
        if (error instanceof DuplicateJobError) error.existingDb = database.index
        if (!isPassing(error) || !mayGoOn()) throw error
        failure = error
      }
    }
    throw failure
  }

  /** What every database says that can be reached. @throws StoreError if none can */
  async #all<T>(use: (store: Store) => Promise<T>): Promise<[Database, T][]> {
    const answers = await Promise.allSettled(this.#databases.map(database => database.use(use)))
    const failures = answers.flatMap(answer => (answer.status === 'rejected' ? [answer.reason] : []))
    const other = failures.find(reason => !isPassing(reason))
    if (other) throw other
    if (failures.length === answers.length) throw failures[0]
    return answers.flatMap((answer, i) =>
      answer.status === 'fulfilled' ? [[this.#databases[i]!, answer.value] as [Database, T]] : [],
    )
  }

  async *#each<Row extends RowRef>(
    {offset, limit}: Page,
    rows: (store: Store) => AsyncGenerator<Row>,
    order: (a: Row, b: Row) => number,
  ): AsyncGenerator<Row> {
    const sources = (await this.#all(async store => rows(store))).map(([{index: db}, source]) =>
      withDb(source, db),
    )
    let n = 0
    for await (const row of merged(sources, order)) {
      if (n >= offset + limit) return
      if (n++ >= offset) yield row
    }
  }

  async #oneException(page: ExceptionPage, id: number): Promise<ExceptionRow[]> {
    const database = this.#at({id, ...(page.db === undefined ? {} : {db: page.db})})
    const rows = await database.use(store => store.exceptions(page))
    return rows.map(row => ({...row, db: database.index}))
  }

  #at({id, db}: RowRef): Database {
    if (db === undefined)
      throw new UsageError(`expected DATABASE:ID, such as 1:${id}, got ${id}`, {
        hint: 'there are several databases: write the id as it was printed',
      })
    const database = this.#databases[db - 1]
    if (database) return database
    throw new NotFoundError(`no database ${db}`, {
      hint: `there are ${this.#databases.length}, the first is 1`,
    })
  }
}

/** One of them: opened when it is used, and again when it has failed. */
class Database {
  readonly index: number
  store: Store | null = null
  readonly #member: Member
  readonly #onTrouble: (message: string) => void
  #opening: Promise<Store> | null = null
  #deadUntil = 0

  constructor(index: number, member: Member, onTrouble: (message: string) => void) {
    this.index = index
    this.#member = member
    this.#onTrouble = onTrouble
  }

  get isDead(): boolean {
    return performance.now() < this.#deadUntil
  }

  /** Seconds until it is tried again. */
  get backIn(): number {
    return Math.ceil(Math.max(0, this.#deadUntil - performance.now()) / 1000)
  }

  /** @throws StoreError, and takes it for dead then */
  async use<T>(work: (store: Store) => Promise<T>): Promise<T> {
    try {
      const result = await work(await this.#open())
      if (this.#deadUntil > 0) this.#onTrouble(`database ${this.index} (${this.#member.name}) is back`)
      this.#deadUntil = 0
      return result
    } catch (error) {
      if (isPassing(error)) {
        if (this.#deadUntil === 0)
          this.#onTrouble(`database ${this.index} is out of reach: ${(error as Error).message}`)
        this.#deadUntil = performance.now() + DEAD_MS
      }
      throw error
    }
  }

  /** null if it is dead, or turns out to be. */
  async ifAlive<T>(work: (store: Store) => Promise<T>): Promise<T | null> {
    if (this.isDead) return null
    try {
      return await this.use(work)
    } catch (error) {
      if (isPassing(error)) return null
      throw error
    }
  }

  async close(): Promise<void> {
    await this.store?.close()
  }

  async #open(): Promise<Store> {
    if (this.store) return this.store
    this.#opening ??= this.#member.open().finally(() => {
      this.#opening = null
    })
    this.store = await this.#opening
    return this.store
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof StoreError && PASSING.includes(error.code)
}

function isSooner(a: Peek | null, b: Peek | null): boolean {
  if (!a?.head) return false
  if (!b?.head) return true
  return (
    a.head.priority > b.head.priority ||
    (a.head.priority === b.head.priority && a.head.dueFor > b.head.dueFor)
  )
}

function soonest(times: readonly (number | null)[]): number | null {
  const known = times.filter(time => time !== null)
  return known.length === 0 ? null : Math.min(...known)
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
