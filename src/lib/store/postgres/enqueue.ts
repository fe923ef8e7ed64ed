/**
 * Enqueues on PostgreSQL share a commit: what is asked for in the same breath, or while others are on their way, is one
 * statement. None resolves before its own job is stored, and each has its own refusal.
 */
import {DuplicateJobError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {Batcher, type Waiting} from '../shared/batcher.ts'
import {newToken, storeOnce} from '../shared/once.ts'
import {enqueuedAs, TokenSweep} from '../shared/tokens.ts'
import {mayBeStored} from '../shared/uncertain.ts'
import {findDuplicates, Inserter, insertMany, makeFuncs} from './bulk.ts'
import type {PostgresConnections, Send} from './connections/connections.ts'
import {explain, isDead, isLost, isOfData, isPassing} from './errors.ts'
import {checkJob, findDuplicate, insertOne} from './insert.ts'
import {sweepKeys, takersOf} from './side-tables/keys.ts'
import {storedUnder, sweepTokens} from './side-tables/tokens.ts'
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
  readonly #makesTokens: boolean
  readonly #tokenSweep = new TokenSweep()
  readonly #plain: Lane = {batcher: new Batcher(MOST), underWay: 0}
  readonly #keyed: Lane = {batcher: new Batcher(MOST), underWay: 0}
  /** Those that have a row, as far as is known. */
  readonly #funcs = new Set<string>()

  /** @param makesTokens has each enqueue a token of its own, unless it comes with one? */
  constructor(link: PostgresConnections, sweeper: Sweeper, makesTokens: boolean) {
    this.#link = link
    this.#makesTokens = makesTokens
    this.#sweeper = sweeper
    this.#send = (statement, values) => link.run(statement, values)
  }

  /** @throws DuplicateJobError, ArgumentError, StoreError */
  async enqueue(job: NewJob): Promise<EnqueuedJob> {
    checkJob(job)
    const token = job.token ?? (this.#makesTokens ? newToken() : undefined)
    if (token === undefined) return this.#add(job)
    const named = {...job, token}
    const find = async () => {
      const again: Send = (statement, values) => this.#link.run(statement, values, true)
      const found = await storedUnder(again, token).catch(error => {
        throw explain(this.#link.name, error)
      })
      return found && enqueuedAs(job, found)
    }
    const {patience} = this.#link
    const stored = await storeOnce({token, store: () => this.#add(named), find, patience})
    void sweepTokens(this.#send, this.#tokenSweep, 1).catch(() => {}) // the next one does it
    return stored
  }

  async #add(job: NewJob): Promise<EnqueuedJob> {
    if (job.after) return this.#storeWaiting(job)
    const lane = job.uniqkey === null ? this.#plain : this.#keyed
    return lane.batcher.add(job, () => queueMicrotask(() => this.#go(lane)))
  }

  /** One that waits for others. */
  async #storeWaiting(job: NewJob): Promise<EnqueuedJob> {
    const {func, uniqkey, priority} = job
    let isCommitting = false
    const insert = async (send: Send) => {
      isCommitting = false
      const inserter = new Inserter(send, this.#sweeper)
      await inserter.add([job])
      await inserter.end()
      return inserter.last[0]!
    }
    const onCommit = () => {
      isCommitting = true
    }
    const {id, runAfter} = await this.#link.transaction(insert, onCommit).catch(error => {
      throw isCommitting && isLost(error)
        ? mayBeStored(this.#link.name, 'the job', error)
        : explain(this.#link.name, error)
    })
    return {id, func, uniqkey, priority, runAfter}
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
    void sweepKeys(this.#send, jobs).catch(() => {}) // the next one does it
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
    const takers = await takersOf(this.#send, jobs)
    return batch.filter(({job: {func, uniqkey}, reject}, i) => {
      const holder = holders[i]!
      const refusal =
        holder === null || uniqkey === null ? takers[i]! : new DuplicateJobError(func, uniqkey, holder)
      if (refusal) reject(refusal)
      return refusal === null
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
    const {func, uniqkey, priority, token} = job
    const again: Send = (statement, values) => this.#link.run(statement, values, true)
    const isFound = uniqkey !== null && token === undefined
    const found = !isFound ? null : await findDuplicate(again, job).catch(() => null)
    if (!found || uniqkey === null) reject(mayBeStored(this.#link.name, 'the job', cause))
    else if (!found.isSame) reject(new DuplicateJobError(func, uniqkey, found.id))
    else resolve({id: found.id, func, uniqkey, priority, runAfter: found.runAfter})
  }
}
