/**
 * How an application's jobs come into a store: they are checked, encoded and stored, and listeners are told, with hooks
 * and plugins around all that. Where there are none, an enqueue pays for two look-ups and no more.
 */

import type {Events} from '../hooks/events.ts'
import type {Extensions} from '../hooks/extensions.ts'
import {callOf, hookedIn, hookedJob, jobOf, jobOfCall, type ToJob} from '../hooks/hooked-job.ts'
import type {EnqueueCall, Hooks} from '../hooks/hooks.ts'
import type {PluginSet} from '../hooks/plugin-set.ts'
import {ClosedError, UsageError} from '../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../jobs/job.ts'
import {
  type AloneOption,
  checkAlone,
  type EnqueueDefaults,
  type EnqueueOptions,
  type JobRequest,
  newJob,
} from '../jobs/new-job.ts'
import type {Batch} from '../jobs/side-tables/batches.ts'
import type {Tick, Ticked} from '../jobs/side-tables/schedules.ts'
import {isObject} from '../jobs/value.ts'
import type {Store} from '../store/store.ts'
import type {LastJob} from './batch.ts'
import {type At, storeAll} from './bulk.ts'
import type {BatchOptions} from './options.ts'

type Around = NonNullable<PluginSet['aroundEnqueue']>

export class Enqueuer {
  readonly #hooks: Hooks
  readonly #around: Around
  readonly #isAround: boolean
  readonly #defaults: EnqueueDefaults
  readonly #events: Events
  /** How many there are. */
  readonly #databases: number

  constructor({hooks, plugins, serializer}: Extensions, events: Events, databases: number) {
    this.#hooks = hooks
    this.#around = plugins.aroundEnqueue ?? ((_call, enqueue) => enqueue())
    this.#isAround = plugins.aroundEnqueue !== null
    this.#defaults = {serializer}
    this.#events = events
    this.#databases = databases
  }

  /** Is there nothing around an enqueue? */
  get isPlain(): boolean {
    return this.#hooks.isEmpty && !this.#isAround
  }

  async enqueue(store: Store, func: string, options?: EnqueueOptions & AloneOption): Promise<EnqueuedJob> {
    if (isObject(options) && (options.replace ?? options.token) !== undefined) {
      const {replace: isReplacing, token: name, ...rest} = options
      const {replace, token} = checkAlone(isReplacing, name)
      const add = (job: NewJob) =>
        replace ? this.addOrReplace(store, job) : this.add(store, token === undefined ? job : {...job, token})
      if (this.isPlain) return add(newJob(func, rest, this.#defaults))
      return this.#storeHooked(callOf(func, rest, this.#defaults), jobOfCall, add)
    }
    return this.enqueueInto(store, func, options)
  }

  /** The same without AloneOption's: all it takes of the store is its enqueue. */
  async enqueueInto(
    store: Pick<Store, 'enqueue'>,
    func: string,
    options?: EnqueueOptions,
  ): Promise<EnqueuedJob> {
    if (this.isPlain) return this.add(store, newJob(func, options, this.#defaults))
    return this.enqueueCall(store, callOf(func, options, this.#defaults))
  }

  /**
   * Passes a tick, and enqueues its job. Should someone else pass it just then, hooks and plugins have seen a call that came
   * to nothing.
   */
  async tick(store: Store, tick: Tick, func: string, options: EnqueueOptions): Promise<Ticked> {
    let ticked: Ticked | null = null
    const add = async (job: NewJob) => {
      ticked = await store.tick(tick, job)
      if (ticked.job) return this.#told(ticked.job)
      throw new UsageError(
        `the tick of ${tick.name} enqueues no job: ${ticked.isOurs ? 'the last one waits' : 'it was passed elsewhere'}`,
      )
    }
    try {
      if (this.isPlain) await add(newJob(func, options, this.#defaults))
      else await this.#storeHooked(callOf(func, options, this.#defaults), jobOfCall, add)
    } catch (error) {
      if (ticked === null || (ticked as Ticked).job) throw error
    }
    return ticked!
  }

  /** @param toJob makes the job of the call once the hooks have seen it. Default: as of any options */
  enqueueCall(
    store: Pick<Store, 'enqueue'>,
    call: EnqueueCall,
    toJob: ToJob = jobOfCall,
  ): Promise<EnqueuedJob> {
    return this.#storeHooked(call, toJob, job => this.add(store, job))
  }

  /** As enqueueCall, but takes the place of what waits under its key. */
  replaceCall(store: Store, call: EnqueueCall, toJob: ToJob = jobOfCall): Promise<EnqueuedJob> {
    return this.#storeHooked(call, toJob, job => this.addOrReplace(store, job))
  }

  async add(store: Pick<Store, 'enqueue'>, job: NewJob): Promise<EnqueuedJob> {
    return this.#told(await store.enqueue(job))
  }

  async addOrReplace(store: Store, job: NewJob): Promise<EnqueuedJob> {
    const {enqueueOrReplace} = await import('./replace.ts')
    const stored = await enqueueOrReplace(store, job, this.#databases)
    return stored.isReplaced ? stored : this.#told(stored)
  }

  /** @throws UsageError that names the job by its place in the source, the first being 1, and what the source throws */
  enqueueMany(
    store: Store,
    requests: Iterable<JobRequest> | AsyncIterable<JobRequest>,
    closing: AbortSignal,
  ): Promise<number> {
    const {jobs, at} = this.#numbered(requests, closing, 'enqueueMany: expected an iterable, got none')
    return this.addMany(store, jobs, at)
  }

  /** As enqueueMany, with what runs when all have ended. @throws as that */
  async batch(
    store: Store,
    requests: Iterable<JobRequest> | AsyncIterable<JobRequest>,
    lasts: BatchOptions,
    closing: AbortSignal,
  ): Promise<Batch> {
    const {addBatch, checkLast} = await import('./batch.ts')
    const given = (['then', 'onFailure'] as const).flatMap(role => {
      const request = lasts[role]
      return request === undefined ? [] : [{role, request}]
    })
    const all: LastJob[] = []
    for (const {role, request} of given) {
      const place = `batch: ${role}: `
      const serializer = request.serializer ?? this.#defaults.serializer
      checkLast(request.arg, serializer, `batch: ${role}`)
      const job = this.#isHookless
        ? jobOf(request, this.#defaults, place)
        : await this.#hookedIn(request, place)
      all.push({role, serializer, job})
    }
    const {jobs, at} = this.#numbered(requests, closing, 'batch: expected an iterable of jobs, got none')
    return addBatch(store, jobs, all, jobs => this.addMany(store, jobs, at))
  }

  /** What is asked for, checked and hooked one by one as it is read; `at` names the last, or another, in messages. */
  #numbered(
    requests: Iterable<JobRequest> | AsyncIterable<JobRequest>,
    closing: AbortSignal,
    refusal: string,
  ): {jobs: Iterable<NewJob> | AsyncIterable<NewJob>; at: (nth?: number) => string} {
    if (!isIterable(requests))
      throw new UsageError(refusal, {hint: 'give an array, or a generator, of {func, arg, …}'})
    let number = 0
    const at = (nth = number) => `job ${nth}`
    const one = (request: JobRequest) => {
      number++
      return this.#isHookless
        ? jobOf(request, this.#defaults, `${at()}: `)
        : this.#hookedIn(request, `${at()}: `)
    }
    const isNow = this.#isHookless && Symbol.iterator in requests
    const jobs = isNow
      ? mapped(requests, one as (request: JobRequest) => NewJob)
      : mappedLater(requests, one, closing)
    return {jobs, at}
  }

  addMany(store: Store, jobs: Iterable<NewJob> | AsyncIterable<NewJob>, at?: At): Promise<number> {
    return this.#around(null, async () => {
      const funcs = new Map<string, number>()
      const isHeard = this.#events.hears('enqueueMany')
      const count = await storeAll(store, isHeard ? counted(jobs, funcs) : jobs, at)
      if (isHeard && count > 0)
        this.#events.tell('enqueueMany', () => ({count, funcs: Object.fromEntries(funcs)}))
      return count
    })
  }

  /** The job of a call once its hooks have seen it. */
  hookedJob(call: EnqueueCall, place: string, toJob: ToJob): Promise<NewJob> {
    return hookedJob(this.#hooks, call, place, toJob)
  }

  async enqueueWithin(
    store: Store,
    connection: unknown,
    func: string,
    options?: EnqueueOptions,
  ): Promise<EnqueuedJob> {
    const add = async (job: NewJob) => this.#told(await store.enqueueWithin(connection, job))
    if (this.isPlain) return add(newJob(func, options, this.#defaults))
    return this.#storeHooked(callOf(func, options, this.#defaults), jobOfCall, add)
  }

  /** In a transaction of better-sqlite3, where nothing can be waited for. */
  enqueueWithinNow(store: Store, connection: unknown, func: string, options?: EnqueueOptions): EnqueuedJob {
    const add = (job: NewJob) => this.#told(store.enqueueWithin(connection, job) as EnqueuedJob)
    if (this.isPlain) return add(newJob(func, options, this.#defaults))
    const call = callOf(func, options, this.#defaults)
    return this.#around(call, () => {
      this.#hooks.runSync('preEnqueue', call)
      this.#hooks.runSync('serialize', call)
      const stored = add(jobOfCall(call))
      this.#hooks.runSync('postEnqueue', stored, call)
      return stored
    })
  }

  get #isHookless(): boolean {
    return this.#hooks.isEmpty
  }

  #hookedIn(request: JobRequest, place: string): Promise<NewJob> {
    return hookedIn(this.#hooks, request, this.#defaults, place)
  }

  #storeHooked(
    call: EnqueueCall,
    toJob: ToJob,
    store: (job: NewJob) => Promise<EnqueuedJob>,
  ): Promise<EnqueuedJob> {
    return this.#around(call, async () => {
      const stored = await store(await this.hookedJob(call, '', toJob))
      await this.#hooks.run('postEnqueue', stored, call)
      return stored
    })
  }

  #told(stored: EnqueuedJob): EnqueuedJob {
    this.#events.tell('enqueue', () => stored)
    return stored
  }
}

function isIterable(value: unknown): value is Iterable<never> | AsyncIterable<never> {
  return (
    typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
  )
}

function* mapped<From, To>(source: Iterable<From>, map: (from: From) => To): Generator<To> {
  for (const item of source) yield map(item)
}

/** A source that never goes on must not keep the queue from closing. */
async function* mappedLater<From, To>(
  source: Iterable<From> | AsyncIterable<From>,
  map: (from: From) => To | Promise<To>,
  closing: AbortSignal,
): AsyncGenerator<To> {
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  let giveUp = () => {}
  const onClose = () => giveUp()
  closing.addEventListener('abort', onClose)
  const next = () =>
    new Promise<IteratorResult<From>>((resolve, reject) => {
      giveUp = () =>
        reject(new ClosedError('the queue was closed before the source of enqueueMany had ended'))
      if (closing.aborted) giveUp()
      else Promise.resolve(iterator.next()).then(resolve, reject)
    })
  try {
    for (let item = await next(); !item.done; item = await next()) yield await map(item.value)
  } finally {
    closing.removeEventListener('abort', onClose)
    void Promise.resolve(iterator.return?.()).catch(() => {}) // what ended it is told already
  }
}

/** With the number of jobs of each function. */
function counted(
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  funcs: Map<string, number>,
): Iterable<NewJob> | AsyncIterable<NewJob> {
  const count = (job: NewJob) => {
    funcs.set(job.func, (funcs.get(job.func) ?? 0) + 1)
    return job
  }
  return Symbol.iterator in jobs ? mapped(jobs, count) : mappedAsync(jobs, count)
}

async function* mappedAsync<From, To>(
  source: AsyncIterable<From>,
  map: (from: From) => To,
): AsyncGenerator<To> {
  for await (const item of source) yield map(item)
}
