/**
 * Many jobs stored in one transaction, or none.
 *
 * What one stretch of the source holds is stored at once. More goes to a thread that has a connection of its own
 * (bulk-thread.ts): a big transaction's inserts, its commit and the checkpoint that follows (for 300,000 jobs
 * 0.5 s after the last of them) keep no event loop waiting, and what this process does meanwhile is not in it. The
 * source is read here, for a few milliseconds at a time, while the thread inserts: on two cores that is faster, too.
 */
import {setImmediate as breathe} from 'node:timers/promises'
import {Worker} from 'node:worker_threads'
import type {NewJob} from '../../jobs/job.ts'
import {EXTENSION, LIBRARY} from '../../own-modules.ts'
import {Spool, stretches} from '../spool.ts'
import type {Answer, Order} from './bulk-thread.ts'
import type {SqliteLink} from './connection.ts'
import type {SqliteInsert} from './insert.ts'
import {errorOf} from './thread-errors.ts'

const THREAD = new URL(`store/sqlite/bulk-thread${EXTENSION}`, LIBRARY)
/** Of the thread's memory, for what does not live long: as much again as V8 would take for itself makes it no faster. */
const YOUNG = {maxYoungGenerationSizeMb: 8}
/** How many stretches the thread may be behind: what is held in memory. */
const MAX_BEHIND = 4

/** @throws what the source throws, as it is; DuplicateJobError, ArgumentError, with `nth`; StoreError */
export async function insertMany(
  link: SqliteLink,
  inserts: SqliteInsert,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
): Promise<number> {
  if (!(Symbol.asyncIterator in jobs)) return insertAll(link, inserts, stretches(jobs))
  const spool = await Spool.of(jobs) // no lock waits for its source
  try {
    return await insertAll(link, inserts, spool.stretches())
  } finally {
    await spool.close()
  }
}

async function insertAll(
  link: SqliteLink,
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

/** The thread that holds the transaction. */
class BulkThread {
  readonly #link: SqliteLink
  readonly #worker: Worker
  readonly #exited = Promise.withResolvers<void>()
  #behind = 0
  #committed: number | null = null
  #failure: unknown
  #answered = () => {}

  constructor(link: SqliteLink) {
    this.#link = link
    this.#worker = new Worker(THREAD, {workerData: link.address, execArgv: [], resourceLimits: YOUNG})
    this.#worker.on('message', answer => this.#hears(answer))
    this.#worker.once('error', error => {
      this.#failure ??= error
    })
    this.#worker.once('exit', () => {
      this.#failure ??= new Error('the thread that stores the jobs has ended')
      this.#answered()
      this.#exited.resolve()
    })
  }

  /** Waits while the thread is too far behind. */
  async add(jobs: readonly NewJob[]): Promise<void> {
    if (this.#failure) throw this.#failure // what is still in the source need not be read
    this.#behind++
    this.#tell(jobs.map(compact))
    await this.#until(() => this.#behind <= MAX_BEHIND)
  }

  async commit(): Promise<number> {
    this.#link.checkFile()
    this.#tell('commit')
    await this.#until(() => this.#committed !== null)
    this.#link.checkFile()
    return this.#committed!
  }

  /** Rolls back what is not committed. */
  async end(): Promise<void> {
    this.#tell('end')
    await this.#exited.promise
  }

  #hears(answer: Answer): void {
    if ('taken' in answer) this.#behind--
    if ('committed' in answer) this.#committed = answer.committed
    if ('failed' in answer) this.#failure ??= this.#link.explained(errorOf(answer.failed))
    this.#answered()
  }

  #tell(order: Order): void {
    this.#worker.postMessage(order)
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.#failure) throw this.#failure
      await new Promise<void>(resolve => (this.#answered = resolve))
    }
  }
}

/** A view of a larger buffer would take all of that along. */
function compact(job: NewJob): NewJob {
  const {arg} = job
  const isView = arg instanceof Uint8Array && arg.byteLength < arg.buffer.byteLength
  return isView ? {...job, arg: new Uint8Array(arg)} : job
}
