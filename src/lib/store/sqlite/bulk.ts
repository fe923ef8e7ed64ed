/**
 * Many jobs stored in one SQLite transaction, or none: a few at once, more by a thread with a connection of its own
 * (bulk-task.ts).
 */
import {setImmediate as breathe} from 'node:timers/promises'
import type {NewJob} from '../../jobs/job.ts'
import {Spool, stretches} from '../spool.ts'
import type {SqliteConnection} from './connection.ts'
import type {SqliteInsert} from './insert.ts'
import {Thread} from './thread.ts'

/** Of the thread's memory, for what does not live long: as much again as V8 would take for itself makes it no faster. */
const YOUNG_MB = 8
/** How many stretches the thread may be behind: what is held in memory. */
const MAX_BEHIND = 4

/** @throws what the source throws, as it is; DuplicateJobError, ArgumentError, with `nth`; StoreError */
export async function insertMany(
  link: SqliteConnection,
  inserts: SqliteInsert,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
): Promise<number> {
  if (!(Symbol.asyncIterator in jobs)) return insertAll(link, inserts, stretches(jobs))
  const spool = await Spool.of(jobs) // no lock waits for its source
  try {
    return await insertAll(link, inserts, spool.stretches())
  } finally {
    spool.close()
  }
}

async function insertAll(
  link: SqliteConnection,
  inserts: SqliteInsert,
  stretches: AsyncIterable<NewJob[]>,
): Promise<number> {
  let few: NewJob[] = []
  let thread: BulkThread | undefined
  try {
    for await (const stretch of stretches) {
      if (few.length > 0 && !link.db.memory) {
        thread ??= new BulkThread(link)
        await thread.add(few)
        few = stretch
      } else few.push(...stretch)
      await breathe()
    }
    if (!thread) return await link.write(() => inserts.insertAll(few))
    await thread.add(few)
    return await thread.commit()
  } finally {
    await thread?.end()
  }
}

/**
 * The thread that holds the transaction. A big one's inserts, its commit and the checkpoint that follows (for 300,000
 * jobs 0.5 s after the last of them) keep no event loop waiting, and what this process does meanwhile is not in it. The
 * source is read here, for a few milliseconds at a time, while the thread inserts: on two cores that is faster, too.
 */
class BulkThread {
  readonly #link: SqliteConnection
  readonly #thread: Thread
  readonly #taking: Promise<unknown>[] = []

  constructor(link: SqliteConnection) {
    this.#link = link
    this.#thread = new Thread({task: 'bulk', address: link.address}, YOUNG_MB)
  }

  /** Waits while the thread is too far behind. */
  async add(jobs: readonly NewJob[]): Promise<void> {
    this.#taking.push(this.#thread.ask(jobs.map(compact)))
    if (this.#taking.length > MAX_BEHIND) await this.#answered(this.#taking.shift()!)
  }

  async commit(): Promise<number> {
    await this.#answered(Promise.all(this.#taking))
    this.#link.checkFile()
    const count = await this.#answered(this.#thread.ask('commit'))
    this.#link.checkFile()
    return count as number
  }

  /** Rolls back what is not committed. */
  end(): Promise<void> {
    return this.#thread.end()
  }

  #answered(answer: Promise<unknown>): Promise<unknown> {
    return answer.catch(error => {
      throw this.#link.explained(error)
    })
  }
}

/** A view of a larger buffer would take all of that along. */
function compact(job: NewJob): NewJob {
  const {arg} = job
  const isView = arg instanceof Uint8Array && arg.byteLength < arg.buffer.byteLength
  return isView ? {...job, arg: new Uint8Array(arg)} : job
}
