/**
 * Enqueues on PostgreSQL share a commit: what is asked for in the same breath, or while others are on their way, is one
 * statement. None resolves before its own job is stored, and each has its own refusal.
 */
import {DuplicateJobError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {Batcher, type Waiting} from '../shared/batcher.ts'
import {mayBeStored} from '../shared/uncertain.ts'
import {findDuplicates, insertMany, makeFuncs} from './bulk.ts'
import type {PostgresConnections, Send} from './connections.ts'
import {explain, isDead, isLost, isOfData, isPassing} from './errors.ts'
import {checkJob, findDuplicate, insertOne} from './insert.ts'
import type {Sweeper} from './side-tables.ts'

/** The most jobs, and about the most bytes of arguments, in one statement. */
const MOST = {jobs: 1000, bytes: 1 << 19}
/** Of jobs without a key: the ones that come meanwhile make the next statement. */
const MAX_UNDER_WAY = 2
/**
 * A job with a key may have to wait for a transaction that holds it: those with a key wait but a moment together, and
 * then each by itself.
 */
const WAIT_BRIEFLY = {name: 'jobq_wait_briefly', text: `SET LOCAL lock_timeout = '100ms'`}

interface Lane {
  batcher: Batcher
  underWay: number
}

export class Enqueuer {
  readonly #link: PostgresConnections
  readonly #sweeper: Sweeper
  readonly #send: Send
  readonly #plain: Lane = {batcher: new Batcher(MOST), underWay: 0}
  readonly #keyed: Lane = {batcher: new Batcher(MOST), underWay: 0}
  /** Those that have a row, as far as is known. */
  readonly #funcs = new Set<string>()

  constructor(link: PostgresConnections, sweeper: Sweeper) {
    this.#link = link
    this.#sweeper = sweeper
    this.#send = (statement, values) => link.run(statement, values)
  }

  /** @throws DuplicateJobError, ArgumentError, StoreError */
  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    checkJob(job)
    const lane = job.uniqkey === null ? this.#plain : this.#keyed
    return lane.batcher.add(job, () => queueMicrotask(() => this.#go(lane)))
  }

  #go(lane: Lane): void {
    while (lane.batcher.size > 0 && lane.underWay < MAX_UNDER_WAY) {
      const batch = lane.batcher.cut()
      if (batch.length === 1 && lane === this.#keyed) {
        void this.#storeAlone(batch[0]!)
        continue
      }
      lane.underWay++
      const stored = batch.length === 1 ? this.#storeAlone(batch[0]!) : this.#storeTogether(batch)
      void stored.finally(() => {
        lane.underWay--
        this.#go(lane)
      })
    }
  }

  async #storeTogether(batch: readonly Waiting[]): Promise<void> {
    let left = batch
    try {
      left = await this.#insert(left)
      const funcs = new Set(left.map(({job}) => job.func).filter(func => !this.#funcs.has(func)))
      if (funcs.size > 0) {
        await this.#link.pipelineOnce([[WAIT_BRIEFLY, []], makeFuncs([...funcs])])
        left = await this.#insert(left)
      }
      if (left.length > 0) left = await this.#refuse(left)
      for (const each of left) void this.#storeAlone(each) // their keys are free by now
    } catch (error) {
      for (const each of left) void this.#storeAfter(error, each)
    }
  }

  /** Raw errors: then none is stored. @returns those that were not */
  async #insert(batch: readonly Waiting[]): Promise<Waiting[]> {
    const jobs = batch.map(({job}) => job)
    const {statement, values, read} = insertMany(jobs, this.#sweeper)
    const isKeyed = jobs.some(({uniqkey}) => uniqkey !== null)
    const reply = isKeyed
      ? (
          await this.#link.pipelineOnce([
            [WAIT_BRIEFLY, []],
            [statement, values],
          ])
        )[1]!
      : await this.#link.run(statement, values)
    const {ids, runAfter} = read(reply.rows)
    return batch.filter(({job: {func, uniqkey, priority}, resolve}, i) => {
      const due = runAfter.get(ids[i]!)
      if (due === undefined) return true
      this.#funcs.add(func)
      resolve({id: ids[i]!, func, uniqkey, priority, runAfter: due})
      return false
    })
  }

  /** @returns those whose keys nobody holds any more */
  async #refuse(batch: readonly Waiting[]): Promise<Waiting[]> {
    const jobs = batch.map(({job}) => job)
    const holders = await findDuplicates(this.#send, jobs)
    return batch.filter(({job: {func, uniqkey}, reject}, i) => {
      const holder = holders[i]!
      if (holder === null || uniqkey === null) return true
      reject(new DuplicateJobError(func, uniqkey, holder))
      return false
    })
  }

  /** What went wrong for all may be the fault of one, or of a lock that only one waits for. */
  async #storeAfter(error: unknown, waiting: Waiting): Promise<void> {
    if (isLost(error)) return this.#lookAgain(waiting, error)
    if (isPassing(error) || isDead(error) || isOfData(error)) return this.#storeAlone(waiting)
    waiting.reject(explain(this.#link.name, error))
  }

  async #storeAlone(waiting: Waiting): Promise<void> {
    try {
      waiting.resolve(await insertOne(this.#send, waiting.job, this.#sweeper))
    } catch (error) {
      if (isLost(error)) await this.#lookAgain(waiting, error)
      else waiting.reject(explain(this.#link.name, error))
    }
  }

  /** The answer to an insert was lost: what is waiting under its key, with the same argument, is that job. */
  async #lookAgain({job, resolve, reject}: Waiting, cause: unknown): Promise<void> {
    const {func, uniqkey, priority} = job
    const again: Send = (statement, values) => this.#link.run(statement, values, true)
    const found = uniqkey === null ? null : await findDuplicate(again, job).catch(() => null)
    if (!found || uniqkey === null) reject(mayBeStored(this.#link.name, 'the job', cause))
    else if (!found.isSame) reject(new DuplicateJobError(func, uniqkey, found.id))
    else resolve({id: found.id, func, uniqkey, priority, runAfter: found.runAfter})
  }
}
