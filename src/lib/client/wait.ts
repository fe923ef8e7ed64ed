/** Waiting for jobs to end. However many jobs are waited for, they share one watch on the store and one look at it. */
import {monotonic} from '../jobs/clock.ts'
import {ClosedError, NotFoundError, WaitTimeoutError} from '../jobs/errors.ts'
import {idOf, type JobEnd, type Progress, type RowRef, rowRef, type StoredEnd} from '../jobs/job.ts'
import {decodeResult} from '../jobs/side-tables/results.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Store, Watch} from '../store/store.ts'

/** How long a job is waited for. */
export interface WaitOptions {
  /** Give up after so many seconds. Default: wait however long it takes. */
  timeout?: number | undefined
  /** Give up when it aborts: the wait rejects with its reason. */
  signal?: AbortSignal | undefined
  /**
   * Of `queue.wait`: called when the job has said something new about how far it is, at most about once a second. What it throws
   * is what the wait rejects with. Default: no one asks.
   */
  onProgress?: ((progress: Progress) => void) | undefined
}

/** Looks are made besides the store's rings, in case one is missed. */
const LOOK_MS = 5000
/** While a store rings all the time, looks may take one in so many parts of the time. */
const SHARE = 5

export class Waiting {
  readonly #store: Store
  readonly #jobs = new Map<number | string, WaitedJob>()
  #untracked: WaitedJob[] = []
  #watch: Watch | null = null
  #timer: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined
  #looking: 'no' | 'yes' | 'again' = 'no'

  constructor(store: Store) {
    this.#store = store
  }

  /** @throws NotFoundError, WaitTimeoutError, ClosedError, StoreError, the signal's reason */
  async end(ref: RowRef, {timeout, signal}: WaitOptions): Promise<JobEnd> {
    signal?.throwIfAborted()
    const job = this.#jobOf(ref)
    const {promise, resolve, reject} = Promise.withResolvers<JobEnd>()
    const waiter: Waiter = {resolve, reject}
    job.waiters.add(waiter)
    const giveUp = (reason: unknown) => {
      reject(reason)
      job.waiters.delete(waiter)
      if (job.waiters.size === 0) this.#forget(job)
    }
    const aborted = () => giveUp(signal!.reason)
    signal?.addEventListener('abort', aborted, {once: true})
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(
            () => giveUp(new WaitTimeoutError(idOf(ref), timeout)),
            Math.min(timeout * 1000, MAX_TIMER_MS),
          )
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', aborted)
    }
  }

  close(): void {
    this.#fail([...this.#jobs.values()], new ClosedError('the queue was closed while a job was waited for'))
  }

  #jobOf(ref: RowRef): WaitedJob {
    const known = this.#jobs.get(idOf(ref))
    if (known) return known
    const job: WaitedJob = {
      ref: rowRef(ref),
      isTracked: false,
      wasThere: false,
      waiters: new Set(),
    }
    this.#jobs.set(idOf(ref), job)
    this.#untracked.push(job)
    if (this.#untracked.length === 1) queueMicrotask(() => void this.#begin())
    return job
  }

  /**
   * The watch begins first, so that nothing is missed from here on. Then the store is told to keep how these jobs end,
   * and is asked at once, for those that ended before, and again whenever it rings. All that are asked for in one
   * breath are tracked in one transaction. What was given up in that breath is left out: nobody would end a watch for it.
   */
  async #begin(): Promise<void> {
    const jobs = this.#untracked.filter(job => this.#jobs.get(idOf(job.ref)) === job)
    this.#untracked = []
    if (jobs.length === 0) return
    try {
      this.#watch ??= this.#store.watch(this.#look)
      this.#timer ??= setInterval(this.#look, LOOK_MS)
    } catch (error) {
      this.#fail(jobs, error)
      return
    }
    await Promise.all([...Map.groupBy(jobs, ({ref}) => ref.db).values()].map(some => this.#track(some)))
  }

  /** Those of one database: another may be out of reach. */
  async #track(jobs: readonly WaitedJob[]): Promise<void> {
    try {
      const there = new Set((await this.#store.track(jobs.map(({ref}) => ref))).map(idOf))
      for (const job of jobs) Object.assign(job, {isTracked: true, wasThere: there.has(idOf(job.ref))})
      this.#look()
    } catch (error) {
      this.#fail(jobs, error)
    }
  }

  #look = (): void => {
    if (this.#looking === 'no') void this.#lookOnce()
    else this.#looking = 'again'
  }

  async #lookOnce(): Promise<void> {
    this.#looking = 'yes'
    const since = monotonic()
    try {
      const jobs = [...this.#jobs.values()].filter(({isTracked}) => isTracked)
      const ends = jobs.length === 0 ? [] : await this.#store.ends(jobs.map(({ref}) => ref))
      for (const end of ends) this.#ended(end)
    } catch (error) {
      this.#fail([...this.#jobs.values()], error)
    }
    const isDue = (this.#looking as string) === 'again' && this.#jobs.size > 0
    this.#looking = 'no'
    if (!isDue) return
    this.#looking = 'yes'
    this.#pause = setTimeout(() => void this.#lookOnce(), (SHARE - 1) * (monotonic() - since))
  }

  #ended(stored: StoredEnd): void {
    const job = this.#jobs.get(idOf(stored))
    if (!job) return
    this.#forget(job)
    if (stored.outcome === 'gone' && !job.wasThere) void this.#tellKnown(job)
    else for (const {resolve} of job.waiters) resolve(endOf(stored))
  }

  /** It had ended before, and nobody was waiting: what is kept of its last attempt says how, if anything is. */
  async #tellKnown({ref, waiters}: WaitedJob): Promise<void> {
    const told = await this.#store.history(ref.id, ref.db).then(
      history => {
        const last = history?.attempts.findLast(({isLast}) => isLast)
        if (!last) return notThere(ref)
        return {...ref, outcome: last.outcome === 'died' ? 'failed' : last.outcome, message: last.message}
      },
      (error: unknown) => error as Error,
    )
    for (const {resolve, reject} of waiters) {
      if (told instanceof Error) reject(told)
      else resolve(told)
    }
  }

  #fail(jobs: readonly WaitedJob[], error: unknown): void {
    for (const job of jobs) {
      for (const {reject} of job.waiters) reject(error)
      this.#forget(job)
    }
  }

  #forget(job: WaitedJob): void {
    const id = idOf(job.ref)
    if (this.#jobs.get(id) !== job) return // it has been forgotten before, and someone waits for it anew
    this.#jobs.delete(id)
    if (this.#jobs.size > 0) return
    this.#watch?.close()
    this.#watch = null
    clearInterval(this.#timer)
    this.#timer = undefined
    clearTimeout(this.#pause)
    this.#looking = 'no'
  }
}

/** As who waits is told. */
export function endOf({json, ...end}: StoredEnd): JobEnd {
  return json === undefined ? end : {...end, result: decodeResult(json).value}
}

interface WaitedJob {
  ref: RowRef
  isTracked: boolean
  /** Was it in the queue when it was first waited for? */
  wasThere: boolean
  waiters: Set<Waiter>
}

interface Waiter {
  resolve(end: JobEnd): void
  reject(reason: unknown): void
}

function notThere(ref: RowRef): NotFoundError {
  return new NotFoundError(`job ${idOf(ref)} is not in the queue, and how it ended was not kept`, {
    hint: 'what is enqueued with --tracked (tracked: true) can be waited for after its end, too: for a day, or a minute once someone has asked',
  })
}
