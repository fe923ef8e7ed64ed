/**
 * The gate that jobs of functions with limits of what is scarce pass (maxRunningPerKey, rate, ratePerKey): what a turn has
 * taken is shown to the store, which lets start what there is room for, and parks the rest, so that the next turn takes what
 * is behind. When one of a key has ended, and when a rate's while has passed, it is asked who of those that are parked may be
 * taken. Now and then it is looked for what someone else has left parked who has died. Other functions know nothing of this.
 */
import {monotonic} from '../jobs/clock.ts'
import {ArgumentError, isPassing} from '../jobs/errors.ts'
import type {JobRow, RowRef} from '../jobs/job.ts'
import {digestOf, keyOf} from '../jobs/shares/key.ts'
import type {ShareJob, ShareLimits} from '../jobs/shares/limits.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {KeySpot, Store} from '../store/store.ts'
import type {Attempt} from './attempt.ts'
import type {Executors} from './executors/executor.ts'
import type {JobLog} from './log/log.ts'
import type {StoreRetry} from './store-retry.ts'

type Limits = Executors['shares']

/** From the end of one look to the next: so many times as long as the look took, within these bounds. */
const LOOK_MS = [5000, 60_000] as const
const LOOK_PAUSES = 20
/** So many keys are asked for in one transaction. */
const KEYS_TOGETHER = 100
/**
 * Where jobs were parked, so many times as many are looked at in their lanes, up to the second: of ten thousand jobs of one
 * key most are parked without being taken, and what is behind them starts soon. Twice as many, and what is looked at in vain
 * is no more than what was parked.
 */
const AHEAD = [2, 500] as const

const START: KeySpot = {key: ''}

/** Of what a turn has taken. */
export interface Passed {
  /** May start. */
  admitted: JobRow[]
  /** Someone else has taken them. */
  lost: JobRow[]
  /** What has not started is parked, or goes back: there may be something behind it. */
  hasMore: boolean
}

export class Shares {
  readonly #store: Store
  readonly #storeRetry: StoreRetry
  readonly #executors: Pick<Executors, 'shares' | 'handled'>
  readonly #log: JobLog
  readonly #wake: () => void
  #hasTold = false
  /** The keys of what passed here. */
  readonly #keys = new WeakMap<JobRow, string>()
  /** Places at which something has ended, or a while has passed. */
  readonly #due = new Map<string, Place>()
  /** When the rates of places, and of functions, have room again. */
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #closed = new Map<string, NodeJS.Timeout>()
  /** How many of a function were parked last, where it was not yet looked what follows. */
  readonly #parked = new Map<string, number>()
  #lookAt = Number.NEGATIVE_INFINITY
  #lookedFor: Limits | null = null
  /** What is left of a look: functions, and where it has come to in the first of them. */
  #look: {since: number; funcs: string[]; spot: KeySpot} | null = null

  /** @param wake called when there is something to see to */
  constructor(
    store: Store,
    storeRetry: StoreRetry,
    executors: Pick<Executors, 'shares' | 'handled'>,
    log: JobLog,
    wake: () => void,
  ) {
    this.#store = store
    this.#storeRetry = storeRetry
    this.#executors = executors
    this.#log = log
    this.#wake = wake
  }

  /** Is anything worked here that has limits? */
  get areAny(): boolean {
    return this.#limits.size > 0
  }

  /** Has anything a rate? A start counts from when its job is taken: one that waited here would start later than that. */
  get areRated(): boolean {
    for (const {rate, perKey} of this.#limits.values()) if (rate || perKey?.rate) return true
    return false
  }

  get #limits(): Limits {
    return this.#executors.shares
  }

  /** Functions whose rate has room, as far as it is known. */
  open(funcs: readonly string[]): readonly string[] {
    return this.#closed.size === 0 ? funcs : funcs.filter(func => !this.#closed.has(func))
  }

  /** Is there something to do before the next jobs are taken? */
  get areDue(): boolean {
    return this.#due.size > 0 || this.#parked.size > 0
  }

  get isDue(): boolean {
    return (
      this.areDue || this.#look !== null || monotonic() >= this.#lookAt || this.#limits !== this.#lookedFor
    )
  }

  /** Is there one among these whose place others may wait for? */
  areAmong(attempts: readonly Attempt[]): boolean {
    return this.areAny && attempts.some(({job}) => this.#keys.has(job))
  }

  /** What a turn has taken. @throws StoreError */
  async pass(jobs: readonly JobRow[]): Promise<Passed> {
    const limits = this.#limits
    const gated = limits.size === 0 ? [] : jobs.filter(({func}) => limits.has(func))
    if (gated.length === 0) return {admitted: [...jobs], lost: [], hasMore: false}
    const [admitted, lost] = [new Set<JobRow>(jobs), new Set<JobRow>()]
    for (const job of gated) admitted.delete(job)
    for (const some of Map.groupBy(gated, ({func, db}) => placeId(func, db)).values()) {
      const byId = new Map(some.map(job => [job.id, job]))
      for (const shared of await this.#show(limits, some, await this.#withKeys(some, limits))) {
        for (const {id} of shared.admitted) admitted.add(byId.get(id)!)
        for (const {id} of shared.lost) lost.add(byId.get(id)!)
      }
    }
    return {
      admitted: jobs.filter(job => admitted.has(job)),
      lost: [...lost],
      hasMore: admitted.size + lost.size < jobs.length,
    }
  }

  /** It does not run here any more, however it has ended. */
  left(job: JobRow): void {
    const key = this.#keys.get(job)
    if (key === undefined) return
    this.#keys.delete(job)
    this.#isDueAt(job, key)
  }

  /** Something may have left its place without a word. */
  ring(): void {
    this.#lookAt = Number.NEGATIVE_INFINITY
  }

  /** Some of what is due. A database that is out of reach now is looked at again. @throws StoreError */
  async see(): Promise<void> {
    await this.#callNext()
    await this.#lookAhead()
    try {
      await this.#lookAround()
    } catch (error) {
      if (!isPassing(error)) this.#tellRefused(error)
      this.#endLook(0)
    }
  }

  stop(): void {
    for (const timer of [...this.#timers.values(), ...this.#closed.values()]) clearTimeout(timer)
    this.#timers.clear()
    this.#closed.clear()
  }

  // ---- what is parked

  async #callNext(): Promise<void> {
    const limits = this.#limits
    const due = [...this.#due.values()]
    this.#due.clear()
    for (const places of Map.groupBy(due, ({func, db}) => placeId(func, db)).values()) {
      if (!limits.get(places[0]!.func)?.perKey) continue // what is parked is found by the look
      const keys = places.map(({key}) => key)
      for (let at = 0; at < keys.length; at += KEYS_TOGETHER)
        await this.#share(limits, places[0]!, [], keys.slice(at, at + KEYS_TOGETHER))
    }
  }

  /** What of a key that has no room is next in its lane is parked without being taken first. */
  async #lookAhead(): Promise<void> {
    const parked = [...this.#parked]
    this.#parked.clear()
    const limits = this.#limits
    const [times, most] = AHEAD
    for (const [func, count] of parked) {
      if (!limits.get(func)?.perKey) continue
      const limit = Math.min(count * times, most)
      const seen = await this.#storeRetry.with(
        () => this.#seenOf(func, limit, limits),
        () => true,
      )
      for (const jobs of Map.groupBy(seen ?? [], ({db}) => db).values())
        await this.#share(limits, {func, db: jobs[0]!.db}, jobs, [])
    }
  }

  /** Without their arguments, which may be large. */
  async #seenOf(func: string, limit: number, limits: Limits): Promise<ShareJob[]> {
    const seen: ShareJob[] = []
    for await (const job of this.#store.eachJob({func, state: 'ready', limit, offset: 0}))
      seen.push({...(await shareJob(job, limits.get(func)!)), grabbedUntil: 0})
    return seen
  }

  /** For what someone else has left. */
  async #lookAround(): Promise<void> {
    const limits = this.#limits
    if (limits !== this.#lookedFor || (this.#look === null && monotonic() >= this.#lookAt)) {
      const funcs = [...limits].flatMap(([func, {perKey}]) => (perKey ? [func] : []))
      for (const func of this.#closed.keys()) if (!limits.get(func)?.rate) this.#reopen(func)
      const free = this.#executors.handled.filter(func => !funcs.includes(func))
      if (free.length > 0 && (await this.#store.unshare(free))) {
        this.#wake() // until there is no more
        return
      }
      this.#lookedFor = limits
      this.#look = {since: monotonic(), funcs, spot: START}
    }
    if (this.#look === null) return
    const {since, funcs, spot} = this.#look
    const [func] = funcs
    const perKey = func === undefined ? null : limits.get(func)?.perKey
    if (func === undefined || !perKey) {
      this.#endLook(monotonic() - since)
      return
    }
    const {keys, db, next} = await this.#store.sharedKeys(func, perKey, spot)
    for (const key of keys) if (!this.#timers.has(placeId(func, db, key))) this.#isDueAt({func, db}, key)
    if (next) this.#look.spot = next
    else this.#look = {since, funcs: funcs.slice(1), spot: START}
    this.#wake()
  }

  /** Who works nothing with limits gets on without these tables. @throws what it is, where there are limits */
  #tellRefused(error: unknown): void {
    if (this.areAny) throw error
    const message = `what other limits have left waiting is not looked for (${(error as Error).message})`
    if (!this.#hasTold) this.#log.trouble(message)
    this.#hasTold = true
    this.#lookedFor = this.#limits
  }

  #endLook(took: number): void {
    this.#look = null
    const [least, most] = LOOK_MS
    this.#lookAt = monotonic() + Math.min(Math.max(least, took * LOOK_PAUSES), most)
  }

  // ---- the store

  /** A key that the database has no characters for is shown as its digest. */
  async #show(limits: Limits, jobs: readonly JobRow[], shown: readonly ShareJob[]) {
    try {
      return [await this.#share(limits, jobs[0]!, shown, [])]
    } catch (error) {
      if (!(error instanceof ArgumentError)) throw error
    }
    const shared = []
    for (const [i, one] of shown.entries()) {
      const {key} = one
      const digested = async (error: unknown) => {
        if (!(error instanceof ArgumentError) || key === null) throw error
        const digest = digestOf(key)
        if (this.#keys.has(jobs[i]!)) this.#keys.set(jobs[i]!, digest)
        return this.#share(limits, jobs[i]!, [{...one, key: digest}], [])
      }
      shared.push(await this.#share(limits, jobs[i]!, [one], []).catch(digested))
    }
    return shared
  }

  async #share(
    limits: Limits,
    {func, db}: {func: string; db?: number | undefined},
    jobs: readonly ShareJob[],
    keys: readonly string[],
  ) {
    const request = {func, ...(db === undefined ? {} : {db}), limits: limits.get(func)!, jobs, keys}
    const shared = await this.#storeRetry.with(
      () => this.#store.share(request),
      () => jobs.length === 0,
    )
    if (!shared) return NOTHING
    if (shared.parked.length > 0) this.#parked.set(func, (this.#parked.get(func) ?? 0) + shared.parked.length)
    for (const {key, ms} of shared.again) {
      if (ms === 0) this.#isDueAt({func, db}, key)
      else this.#after(this.#timers, placeId(func, db, key), ms, () => this.#isDueAt({func, db}, key))
    }
    if (shared.closedMs > 0) this.#after(this.#closed, func, shared.closedMs, this.#wake)
    if (shared.parked.length > 0 || shared.called > 0) this.#wake()
    return shared
  }

  async #withKeys(jobs: readonly JobRow[], limits: Limits): Promise<ShareJob[]> {
    const shown: ShareJob[] = []
    for (const job of jobs) {
      const itsLimits = limits.get(job.func)!
      const one = await shareJob(job, itsLimits)
      if (one.key !== null && itsLimits.perKey!.maxRunning > 0) this.#keys.set(job, one.key)
      shown.push(one)
    }
    return shown
  }

  #isDueAt({func, db}: {func: string; db?: number | undefined}, key: string): void {
    this.#due.set(placeId(func, db, key), {func, ...(db === undefined ? {} : {db}), key})
    this.#wake()
  }

  #reopen(func: string): void {
    clearTimeout(this.#closed.get(func))
    this.#closed.delete(func)
  }

  #after(timers: Map<string, NodeJS.Timeout>, id: string, ms: number, work: () => void): void {
    clearTimeout(timers.get(id))
    const timer = setTimeout(
      () => {
        timers.delete(id)
        work()
      },
      Math.min(ms, MAX_TIMER_MS),
    )
    timers.set(id, timer)
  }
}

/** A key of a function, in one of several databases. */
interface Place extends Pick<JobRow, 'func' | 'db'> {
  key: string
}

async function shareJob(job: JobRow, {perKey, shareBy, serializer}: ShareLimits): Promise<ShareJob> {
  const {id, db, grabbedUntil, priority, runAfter} = job
  const key = perKey ? await keyOf(job, shareBy, serializer) : null
  return {id, ...(db === undefined ? {} : {db}), key, grabbedUntil, priority, runAfter}
}

const NOTHING = {admitted: [] as RowRef[], lost: [] as RowRef[]}

function placeId(func: string, db: number | undefined, key = ''): string {
  return `${db ?? ''}\0${func}\0${key}`
}
