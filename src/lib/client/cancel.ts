/**
 * Many jobs cancelled, some at a time, each time in a transaction of its own: what is done stays done. What waits is gone
 * then; who runs one is waited for until it has heard, or seems not to hear at all.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../jobs/clock.ts'
import {isElsewhere, type JobqError, NotFoundError, NotHeardError} from '../jobs/errors.ts'
import {
  CANCELLED,
  type CancelledJob,
  idOf,
  type JobState,
  type RowRef,
  rowRef,
  type TagOptions,
} from '../jobs/job.ts'
import type {Order} from '../jobs/side-tables/orders.ts'
import type {Choice, Store} from '../store/store.ts'
import {failDependents} from './after.ts'
import {portions, slices} from './portions.ts'

/** Some jobs; or those that are there of a function, with a uniqkey, with tags, or of several of these; or all; the latter in a state, or any. */
export type CancelChoice =
  | {jobs: readonly (number | RowRef)[]}
  | {
      func?: string | undefined
      uniqkey?: string | undefined
      tags?: TagOptions | undefined
      state?: JobState | undefined
    }
  | {all: true; state?: JobState | undefined}

/** The same as a store knows it. */
export type Chosen = {jobs: readonly RowRef[]} | (Choice & {state?: JobState | undefined})

/** What was done: it has left the queue, or who runs it has heard that it is to stop. null in a dry run. */
export type CancelResult = 'cancelled' | 'stopping' | null

/** A job that was cancelled, or why one was not. */
export type CancelOutcome = Cancellation | {job: RowRef; refused: JobqError}

/** A job that was cancelled. `state`: as it was. */
export interface Cancellation {
  job: RowRef
  func: string
  uniqkey: string | null
  state: JobState
  result: CancelResult
  refused: null
}

/** So many in one transaction: their locks are held for some 5 ms. */
const PORTION = 500
/** How long it is waited for whoever runs a job. A dispatcher looks every half second, if it is not told at once. */
const HEARD_MS = 3000
/** Between two looks whether it was heard. */
const PAUSE_MS = [5, 100] as const

/** How they are cancelled. */
export interface CancelOptions {
  /** Change nothing, only tell. Default false. */
  dryRun?: boolean | undefined
  /** When it aborts, no more are cancelled, and what nobody has heard yet is taken back. */
  signal?: AbortSignal | undefined
}

/** Of a choice that names no jobs those are met that were there when it began. Yields what was done at once. */
export async function* cancelMany(
  store: Store,
  choice: Chosen,
  {dryRun = false, signal}: CancelOptions,
): AsyncGenerator<CancelOutcome[]> {
  if (dryRun && !('jobs' in choice)) {
    const all = {...choice, limit: Number.MAX_SAFE_INTEGER, offset: 0}
    for await (const job of store.eachJob(all)) yield [outcomeOf(job, null)]
    return
  }
  const state = 'jobs' in choice ? undefined : choice.state
  const told = new Told(store, signal)
  try {
    for await (const portion of portions(chosen(store, choice), PORTION)) {
      if (signal?.aborted) return
      const since = monotonic()
      const found = dryRun ? await look(store, portion) : await store.cancel(portion, state)
      const done: CancelOutcome[] = []
      for (const job of found)
        if (dryRun) done.push(outcomeOf(job, null))
        else if (job.state !== 'running') done.push(outcomeOf(job, 'cancelled'))
        else told.add(job)
      yield done
      if ('jobs' in choice) {
        const there = new Set(found.map(idOf))
        for (const job of portion) if (!there.has(idOf(job))) yield [{job, refused: await whyNot(store, job)}]
      } else await sleep(monotonic() - since) // for who works meanwhile
    }
    yield* told.ends()
  } finally {
    await told.withdraw().catch(() => {}) // what went wrong before is told
    if (!dryRun) await failDependents(store).catch(() => {}) // likewise, and whoever works goes on with it
  }
}

/** Why it was not cancelled. @throws StoreError */
async function whyNot(store: Store, job: RowRef): Promise<JobqError> {
  try {
    return (await lastOf(store, job)).error
  } catch (error) {
    if (isElsewhere(job, error)) return error
    throw error
  }
}

/** Those that run and were told to stop, until it is known that they were heard. */
class Told {
  readonly #store: Store
  readonly #signal: AbortSignal | undefined
  readonly #jobs = new Map<number | string, CancelledJob>()
  #since = 0

  constructor(store: Store, signal: AbortSignal | undefined) {
    this.#store = store
    this.#signal = signal
  }

  add(job: CancelledJob): void {
    this.#jobs.set(idOf(job), job)
    this.#since = monotonic()
  }

  async *ends(): AsyncGenerator<CancelOutcome[]> {
    for (let pause: number = PAUSE_MS[0]; ; pause = Math.min(2 * pause, PAUSE_MS[1])) {
      yield* this.#look()
      if (this.#jobs.size === 0 || this.#signal?.aborted) return
      if (monotonic() - this.#since > HEARD_MS)
        yield (await this.withdraw()).map(order => {
          this.#jobs.delete(idOf(order))
          return {job: rowRef(order), refused: new NotHeardError(idOf(order), HEARD_MS / 1000)}
        })
      else await sleep(pause)
    }
  }

  /** Takes back what nobody has heard. @returns the orders */
  async withdraw(): Promise<Order[]> {
    const orders = [...this.#jobs.values()].map(job => ({...rowRef(job), what: 'cancel'}) as const)
    return orders.length === 0 ? [] : this.#store.withdraw(orders)
  }

  /** One that is given back meanwhile is deleted like any that waits. */
  async *#look(): AsyncGenerator<CancelOutcome[]> {
    for (const portion of slices([...this.#jobs.values()], PORTION)) {
      const found = new Map((await this.#store.cancel(portion.map(rowRef))).map(job => [idOf(job), job]))
      const done: CancelOutcome[] = []
      for (const job of portion) {
        const now = found.get(idOf(job))
        if (now?.state === 'running' && !now.isHeard) continue
        done.push(now ? outcomeOf(job, now.isHeard ? 'stopping' : 'cancelled') : await this.#ended(job))
        this.#jobs.delete(idOf(job))
      }
      yield done
    }
  }

  /** It was heard and has ended since; or it had ended before. */
  async #ended(job: CancelledJob): Promise<CancelOutcome> {
    const {isCancelled, error} = await lastOf(this.#store, job)
    if (isCancelled) return outcomeOf(job, 'stopping')
    await this.#store.forgetOrders([rowRef(job)])
    return {job: rowRef(job), refused: error}
  }
}

function outcomeOf(job: Omit<CancelledJob, 'isHeard'>, result: CancelResult): Cancellation {
  const {func, uniqkey, state} = job
  return {job: rowRef(job), func, uniqkey, state, result, refused: null}
}

/** What is known of a job that is not in the queue: whether it was cancelled while it ran, and what to say of it. */
export async function lastOf(
  store: Store,
  job: RowRef,
): Promise<{isCancelled: boolean; error: NotFoundError}> {
  const known = await store.history(job.id, job.db).catch((error: unknown) => {
    if (error instanceof NotFoundError) return error // there is no such database
    throw error
  })
  if (known instanceof NotFoundError) return {isCancelled: false, error: known}
  const last = known?.attempts.findLast(({isLast}) => isLast)
  const id = idOf(job)
  if (!last)
    return {
      isCancelled: false,
      error: new NotFoundError(`no job ${id} is in the queue`, {hint: 'see `jobq list`'}),
    }
  const isCancelled = last.outcome === 'aborted' && last.message === CANCELLED
  const how = isCancelled ? CANCELLED : last.outcome
  const error = new NotFoundError(`job ${id} has left the queue: ${how}`, {hint: `see \`jobq show ${id}\``})
  return {isCancelled, error}
}

async function look(store: Store, jobs: readonly RowRef[]): Promise<CancelledJob[]> {
  const found: CancelledJob[] = []
  for (const {id, db} of jobs) {
    const job = await store.find(id, db)
    if (job) found.push({...job, isHeard: false})
  }
  return found
}

async function* chosen(store: Store, choice: Chosen): AsyncGenerator<RowRef> {
  if ('jobs' in choice) yield* choice.jobs
  else if (choice.uniqkey === undefined) yield* store.eachId(choice)
  else {
    const {func, uniqkey, tags} = choice
    for (const job of await store.list({func, uniqkey, tags, limit: Number.MAX_SAFE_INTEGER, offset: 0}))
      yield rowRef(job)
  }
}
