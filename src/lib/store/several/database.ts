/**
 * The databases of a store of several, each opened when it is used. One that fails is left alone for DEAD_MS, and then
 * tried again.
 */
import {monotonic} from '../../jobs/clock.ts'
import {DuplicateJobError, isPassing, NotFoundError, UsageError} from '../../jobs/errors.ts'
import type {RowRef} from '../../jobs/job.ts'
import type {Address} from '../address.ts'
import type {Store} from '../store.ts'

const DEAD_MS = 30_000

export interface Member {
  /** As a message may name it: no password. */
  name: string
  driver: Address['driver']
  open(): Promise<Store>
}

export class Databases {
  readonly #members: readonly Database[]

  constructor(members: readonly Member[], onTrouble: (message: string) => void) {
    this.#members = members.map((member, i) => new Database(i + 1, member, onTrouble))
  }

  [Symbol.iterator](): Iterator<Database> {
    return this.#members[Symbol.iterator]()
  }

  /** Asks each for those of the jobs that are in it. */
  async whereAre<Row extends RowRef>(
    jobs: readonly RowRef[],
    ask: (database: Database, mine: readonly RowRef[]) => Promise<Row[]>,
  ): Promise<Row[]> {
    const groups = Map.groupBy(jobs, job => this.at(job))
    const parts = [...groups].map(async ([database, mine]) => {
      const rows = await ask(
        database,
        mine.map(({id}) => ({id})),
      )
      return rows.map(row => ({...row, db: database.index}))
    })
    return (await Promise.all(parts)).flat()
  }

  /** The first that can, in random order; those that have just failed come last. */
  async any<T>(use: (store: Store, db: number) => Promise<T>, mayGoOn = () => true): Promise<T> {
    const shuffled = this.#members
      .map(database => ({database, at: Math.random() + (database.isDead ? 1 : 0)}))
      .sort((a, b) => a.at - b.at)
    let failure: unknown
    for (const {database} of shuffled) {
      try {
        return await database.use(store => use(store, database.index))
      } catch (error) {
        if (!isPassing(error) || !mayGoOn()) throw error
        failure = error
      }
    }
    throw failure
  }

  /** What every database says that can be reached. @throws StoreError if none can, or one can't where the answer is to be whole */
  async all<T>(use: (store: Store, db: number) => Promise<T>, isWhole = false): Promise<[Database, T][]> {
    const answers = await Promise.allSettled(
      this.#members.map(database => database.use(store => use(store, database.index))),
    )
    const failures = answers.flatMap(answer => (answer.status === 'rejected' ? [answer.reason] : []))
    const other = failures.find(reason => !isPassing(reason))
    if (other) throw other
    if (failures.length === answers.length || (isWhole && failures.length > 0)) throw failures[0]
    return answers.flatMap((answer, i) =>
      answer.status === 'fulfilled' ? [[this.#members[i]!, answer.value] as [Database, T]] : [],
    )
  }

  /** Rows of one database after the other, of those that can be reached. @throws StoreError if none can */
  async *inTurn<Row>(rows: (store: Store) => AsyncGenerator<Row>): AsyncGenerator<[Database, Row]> {
    const failures: unknown[] = []
    for (const database of this.#members) {
      const source = await database
        .use(store => begun(rows(store)))
        .catch(error => {
          if (!isPassing(error)) throw error
          failures.push(error)
        })
      if (source) for await (const row of source) yield [database, row]
    }
    if (failures.length === this.#members.length) throw failures[0]
  }

  /** Is there a database of that number? What does not say where is none's: `at` says so. */
  has({db}: RowRef): boolean {
    return db === undefined || this.#members[db - 1] !== undefined
  }

  /** @throws UsageError for an id that does not say where, NotFoundError */
  at({id, db}: RowRef): Database {
    if (db === undefined)
      throw new UsageError(`expected DATABASE:ID, such as 1:${id}, got ${id}`, {
        hint: 'there are several databases: write the id as it was printed',
      })
    const database = this.#members[db - 1]
    if (database) return database
    throw new NotFoundError(`no database ${db}`, {
      hint: `there are ${this.#members.length}, the first is 1`,
    })
  }
}

/** A source of rows of which the first is there: so it is known that who is asked for them answers. */
export async function begun<Row>(source: AsyncGenerator<Row>): Promise<AsyncGenerator<Row>> {
  const first = await source.next()
  return (async function* () {
    if (first.done) return
    yield first.value
    yield* source
  })()
}

/** The same rows, each of which says where it is. */
export async function* withDb<Row extends RowRef>(
  rows: AsyncGenerator<Row>,
  db: number,
): AsyncGenerator<Row> {
  for await (const row of rows) yield {...row, db}
}

/** One of them: opened when it is used, and again when it has failed. */
export class Database {
  readonly index: number
  readonly driver: Member['driver']
  store: Store | null = null
  readonly #member: Member
  readonly #onTrouble: (message: string) => void
  #opening: Promise<Store> | null = null
  #deadUntil = 0

  constructor(index: number, member: Member, onTrouble: (message: string) => void) {
    this.index = index
    this.driver = member.driver
    this.#member = member
    this.#onTrouble = onTrouble
  }

  get name(): string {
    return this.#member.name
  }

  get isDead(): boolean {
    return monotonic() < this.#deadUntil
  }

  /** Seconds until it is tried again. */
  get backIn(): number {
    return Math.ceil(Math.max(0, this.#deadUntil - monotonic()) / 1000)
  }

  /** @throws StoreError, and takes it for dead then */
  async use<T>(work: (store: Store) => Promise<T>): Promise<T> {
    try {
      const result = await work(await this.open())
      if (this.#deadUntil > 0) this.#onTrouble(`database ${this.index} (${this.name}) is back`)
      this.#deadUntil = 0
      return result
    } catch (error) {
      if (isPassing(error)) {
        if (this.#deadUntil === 0)
          this.#onTrouble(`database ${this.index} is out of reach: ${(error as Error).message}`)
        this.#deadUntil = monotonic() + DEAD_MS
      }
      throw error instanceof DuplicateJobError ? error.in(this.index) : error
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

  async open(): Promise<Store> {
    if (this.store) return this.store
    this.#opening ??= this.#member.open().finally(() => {
      this.#opening = null
    })
    this.store = await this.#opening
    return this.store
  }
}
