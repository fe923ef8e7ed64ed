/**
 * Many jobs stored in one transaction, or none.
 *
 * A few are read first, and stored at once. More than that go through a connection of their own, in slices, between
 * which the event loop goes on: what this process does meanwhile is not in that transaction, and if it writes it waits
 * for the lock as another process would. An asynchronous source may be slow: it is read to its end into a temporary
 * table before the lock is taken. (SQLite keeps that in a file that has no name, so nothing is left of it after a crash.)
 */
import {setImmediate as breathe} from 'node:timers/promises'
import type {NewJob} from '../job.ts'
import {SqliteInsert} from './sqlite-insert.ts'
import type {SqliteLink} from './sqlite-link.ts'

/** What is held in memory: so many jobs, or so many bytes of arguments. */
const STRETCH_JOBS = 500
const STRETCH_BYTES = 1 << 20
/** How long the event loop is kept at a time. */
const SLICE_MS = 3

/**
 * @param beside opens a connection of its own; null where there can't be another one (`:memory:`)
 * @throws what the source throws, as it is
 */
export async function insertMany(
  link: SqliteLink,
  inserts: SqliteInsert,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  beside: (() => Promise<SqliteLink>) | null,
): Promise<number> {
  let few: NewJob[] = []
  let bulk: Bulk | undefined
  try {
    for await (const stretch of stretches(jobs)) {
      if (few.length > 0 && beside) {
        bulk ??= new Bulk(await beside(), Symbol.asyncIterator in jobs)
        await bulk.add(few)
        few = stretch
      } else few.push(...stretch)
    }
    if (bulk) {
      await bulk.add(few)
      return await bulk.commit()
    }
    return await link.write(() => {
      for (const job of few) inserts.insert(job)
      return few.length
    })
  } finally {
    bulk?.close()
  }
}

async function* stretches(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): AsyncGenerator<NewJob[]> {
  let stretch = new Stretch()
  // `for await` would do for both, but costs 0.2 µs a job
  if (Symbol.asyncIterator in jobs) {
    for await (const job of jobs) {
      if (!stretch.add(job)) continue
      yield stretch.jobs
      stretch = new Stretch()
    }
  } else {
    for (const job of jobs) {
      if (!stretch.add(job)) continue
      yield stretch.jobs
      stretch = new Stretch()
    }
  }
  if (stretch.jobs.length > 0) yield stretch.jobs
}

/** Jobs that follow each other in the source. */
class Stretch {
  readonly jobs: NewJob[] = []
  #bytes = 0
  readonly #until = performance.now() + SLICE_MS

  /** @returns whether it is full */
  add(job: NewJob): boolean {
    this.jobs.push(job)
    this.#bytes += job.arg?.length ?? 0
    return (
      this.jobs.length >= STRETCH_JOBS || this.#bytes >= STRETCH_BYTES || performance.now() >= this.#until
    )
  }
}

/** The transaction, and before that, if it is wanted, the spool. */
class Bulk {
  readonly #link: SqliteLink
  readonly #inserts: SqliteInsert
  readonly #spool: Spool | null
  #inserted = 0
  #sliceEnd = performance.now() + SLICE_MS

  constructor(link: SqliteLink, isSpooled: boolean) {
    this.#link = link
    this.#inserts = new SqliteInsert(link)
    this.#spool = isSpooled ? new Spool(link) : null
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    if (!this.#spool) return this.#insert(jobs)
    await this.#spool.add(jobs)
    if (performance.now() >= this.#sliceEnd) await this.#pause()
  }

  async commit(): Promise<number> {
    if (this.#spool) for (const jobs of this.#spool.stretches()) await this.#insert(jobs)
    await this.#link.patiently(() => this.#link.sql('COMMIT').run())
    return this.#inserted
  }

  /** Rolls back what is not committed. */
  close(): void {
    this.#link.close()
  }

  async #insert(jobs: readonly NewJob[]): Promise<void> {
    if (!this.#link.db.inTransaction)
      await this.#link.patiently(() => this.#link.sql('BEGIN IMMEDIATE').run())
    for (const job of jobs) {
      try {
        this.#inserts.insert(job)
      } catch (error) {
        throw this.#link.explained(error)
      }
      this.#inserted++
      if (performance.now() >= this.#sliceEnd) await this.#pause()
    }
  }

  async #pause(): Promise<void> {
    await breathe()
    this.#sliceEnd = performance.now() + SLICE_MS
  }
}

type SpooledRow = [
  nth: number,
  func: string,
  arg: string | Buffer | null,
  uniqkey: string | null,
  priority: number,
  dueIn: number | null,
  dueAt: number | null,
  context: string | null,
  tracked: number,
]

/** What an asynchronous source has given, in a temporary table: no lock is held for it, and little memory. */
class Spool {
  readonly #link: SqliteLink

  constructor(link: SqliteLink) {
    this.#link = link
    const {db} = link
    db.pragma('temp.journal_mode = OFF') // what fails is thrown away with the connection
    db.exec(`CREATE TEMP TABLE jobq_spool
      (nth INTEGER PRIMARY KEY, func, arg, uniqkey, priority, due_in, due_at, context, tracked)`)
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    const keep = this.#link.sql('INSERT INTO temp.jobq_spool VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)')
    await this.#link.patiently(() => {
      this.#link.sql('BEGIN').run()
      for (const {func, arg, uniqkey, priority, due, context, tracked} of jobs) {
        const [dueIn, dueAt] = 'at' in due ? [null, due.at] : [due.in, null]
        keep.run(func, arg, uniqkey, priority, dueIn, dueAt, context ?? null, tracked ? 1 : 0)
      }
      this.#link.sql('COMMIT').run()
    })
  }

  /** In their order, each small enough to hold. */
  *stretches(): Generator<NewJob[]> {
    const rows = this.#link.db.prepare('SELECT * FROM temp.jobq_spool WHERE nth > ? ORDER BY nth').raw()
    let last = 0
    for (;;) {
      const stretch = new Stretch()
      for (const [nth, ...row] of rows.iterate(last) as Iterable<SpooledRow>) {
        last = nth
        if (stretch.add(spooled(row))) break
      }
      if (stretch.jobs.length === 0) return
      yield stretch.jobs
    }
  }
}

function spooled(row: SpooledRow extends [number, ...infer Rest] ? Rest : never): NewJob {
  const [func, arg, uniqkey, priority, dueIn, dueAt, context, tracked] = row
  return {
    func,
    arg,
    uniqkey,
    priority,
    due: dueAt === null ? {in: dueIn ?? 0} : {at: dueAt},
    ...(context === null ? {} : {context}),
    ...(tracked ? {tracked: true} : {}),
  }
}
