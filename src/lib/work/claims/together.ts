/**
 * Jobs that are worked together with another one of their function and key (`coalesce`): when a job of such a function has
 * been taken, those that are alike to it and ready are taken, too, and one run is for all of them. Each is an attempt of its
 * own, with its own lease, retries and end; how they end is what its leader's run says.
 *
 * A job whose worker has died runs alone: what kills workers must take no others along.
 */
import {monotonic} from '../../jobs/clock.ts'
import {isPassing} from '../../jobs/errors.ts'
import {ALIKE_BYTES, idOf, type JobRow, type RowRef, rowRef} from '../../jobs/job.ts'
import {decodeArg} from '../../jobs/serializers/decode.ts'
import {keyOf} from '../../jobs/shares/key.ts'
import type {SettleResult, Store} from '../../store/store.ts'
import {Attempt} from '../attempt.ts'
import type {Coalescing, Ended, Executors} from '../executors/executor.ts'
import {LEASE_SECONDS} from '../leases.ts'
import type {JobLog} from '../log/log.ts'
import type {Orders} from '../orders.ts'
import type {StoreRetry} from '../store-retry.ts'

interface Surroundings {
  store: Store
  storeRetry: StoreRetry
  executors: Pick<Executors, 'coalesced'>
  orders: Orders
  log: JobLog
  /** Called with each job that is taken here. */
  onTaken: (job: JobRow, now: number) => void
}

export class Together {
  readonly #in: Surroundings
  #isRefused = false

  constructor(surroundings: Surroundings) {
    this.#in = surroundings
  }

  /** Is there anything to do? Mostly no function is such. */
  isFor(attempts: readonly Attempt[]): boolean {
    const {coalesced} = this.#in.executors
    return coalesced.size > 0 && attempts.some(({job}) => coalesced.has(job.func))
  }

  /**
   * Finds others for those of these that may have some: among those that come behind, and in the store.
   * @returns the leaders, and those that run alone, in their order. @throws StoreError
   */
  async join(attempts: readonly Attempt[]): Promise<Attempt[]> {
    const left = [...attempts]
    const leaders: Attempt[] = []
    try {
      const died = await this.#died(attempts.map(({job}) => job))
      for (let leader = left.shift(); leader; leader = left.shift()) {
        leaders.push(leader)
        const how = this.#in.executors.coalesced.get(leader.job.func)
        if (how && !died.has(idOf(leader.job))) await this.#find(leader, how, left, died)
      }
    } catch (error) {
      if (isPassing(error)) throw error
      const message = `jobs are worked one by one: those to go with them can't be found (${(error as Error).message})`
      if (!this.#isRefused) this.#in.log.trouble(message)
      this.#isRefused = true
    }
    return [...leaders, ...left]
  }

  /** @param left what was taken with it: those that go with it are taken out */
  async #find(
    leader: Attempt,
    how: Coalescing,
    left: Attempt[],
    died: ReadonlySet<number | string>,
  ): Promise<void> {
    const {job} = leader
    const key = await commonKey(job, how)
    if (key === null) return
    const isAlike = async (other: Pick<JobRow, 'uniqkey' | 'arg'>) => (await commonKey(other, how)) === key
    const others: Attempt[] = []
    leader.others = others
    for (const other of [...left]) {
      if (others.length === how.most) return
      const isOne = other.job.func === job.func && other.job.db === job.db && !died.has(idOf(other.job))
      if (!isOne || !(await isAlike(other.job))) continue
      left.splice(left.indexOf(other), 1)
      others.push(other)
    }
    const limit = how.most - others.length
    if (limit > 0) others.push(...(await this.#take(job, how, {key, limit})))
  }

  async #take(job: JobRow, how: Coalescing, among: {key: string; limit: number}): Promise<Attempt[]> {
    const {store, orders} = this.#in
    const byKey = how.by === null ? among : undefined
    const found = await this.#ask(() => store.alike(job, byKey))
    const chosen: RowRef[] = []
    for (const each of found) {
      if (chosen.length === among.limit) break
      const uniqkey = among.key // of those that were asked for by it
      if (orders.areOf(each) || (await commonKey({...each, uniqkey}, how)) !== among.key) continue
      chosen.push(rowRef(each))
    }
    const died = await this.#died(chosen)
    const wanted = chosen.filter(each => !died.has(idOf(each)))
    if (wanted.length === 0) return []
    const since = monotonic()
    const {jobs, now} = await this.#ask(() => store.claim(wanted, LEASE_SECONDS))
    for (const each of jobs) this.#in.onTaken(each, now)
    return jobs.toSorted(byOrder).map(each => new Attempt(each, since))
  }

  /** Those of which a worker has died. */
  async #died(jobs: readonly RowRef[]): Promise<ReadonlySet<number | string>> {
    if (jobs.length === 0) return new Set()
    return new Set((await this.#ask(() => this.#in.store.died(jobs))).map(idOf))
  }

  /** What is leased here by now has to be settled in any case: so the store is waited for. */
  async #ask<T>(work: () => Promise<T>): Promise<T> {
    return (await this.#in.storeRetry.with(work, () => false))!
  }
}

/** What has become of the others of one that was to be replaced, as that was written. */
export function replacedEnd({outcome}: Attempt, {held, failed}: SettleResult): Ended {
  if (!held || outcome.kind === 'released') return {kind: 'abandoned'}
  const message = failed ?? (outcome.kind === 'failed' ? outcome.message : undefined)
  if (message === undefined) return {kind: 'finished', outcome: {kind: 'completed'}}
  return {kind: 'finished', outcome: {kind: 'failed', message, retryIn: null}}
}

/**
 * What jobs that are worked together have in common. Null also for one whose argument is long, or can't be read: it runs alone,
 * and its worker will say what is wrong.
 */
async function commonKey(
  {uniqkey, arg}: Pick<JobRow, 'uniqkey' | 'arg'>,
  {by, serializer}: Coalescing,
): Promise<string | null> {
  if ((arg?.length ?? 0) > ALIKE_BYTES) return null
  if (by !== null) return keyOf({uniqkey, arg}, by, serializer)
  // As it is, to be looked for in the store
  const key = uniqkey?.split(':', 1)[0] || null
  return key === null
    ? null
    : decodeArg(arg, serializer).then(
        () => key,
        () => null,
      )
}

/** The order of work. */
function byOrder(a: JobRow, b: JobRow): number {
  return b.priority - a.priority || a.runAfter - b.runAfter || a.id - b.id
}
