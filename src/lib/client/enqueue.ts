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
import {type EnqueueDefaults, type EnqueueOptions, type JobRequest, newJob} from '../jobs/new-job.ts'
import type {Store} from '../store/store.ts'
import {type At, storeAll} from './bulk.ts'

type Around = NonNullable<PluginSet['aroundEnqueue']>

export class Enqueuer {
  readonly #hooks: Hooks
  readonly #around: Around
  readonly #isAround: boolean
  readonly #defaults: EnqueueDefaults
  readonly #events: Events

  constructor({hooks, plugins, serializer}: Extensions, events: Events) {
    this.#hooks = hooks
    this.#around = plugins.aroundEnqueue ?? ((_call, enqueue) => enqueue())
    this.#isAround = plugins.aroundEnqueue !== null
    this.#defaults = {serializer}
    this.#events = events
  }

  /** Is there nothing around an enqueue? */
  get isPlain(): boolean {
    return this.#hooks.isEmpty && !this.#isAround
  }

  async enqueue(store: Store, func: string, options?: EnqueueOptions): Promise<EnqueuedJob> {
    if (this.isPlain) return this.add(store, newJob(func, options, this.#defaults))
    return this.enqueueCall(store, callOf(func, options, this.#defaults))
  }

  /** @param toJob makes the job of the call once the hooks have seen it. Default: as of any options */
  enqueueCall(store: Store, call: EnqueueCall, toJob: ToJob = jobOfCall): Promise<EnqueuedJob> {
    return this.#storeHooked(call, toJob, job => this.add(store, job))
  }

  async add(store: Store, job: NewJob): Promise<EnqueuedJob> {
    return this.#told(await store.enqueue(job))
  }

  /** @throws UsageError that names the job by its place in the source, the first being 1, and what the source throws */
  enqueueMany(
    store: Store,
    requests: Iterable<JobRequest> | AsyncIterable<JobRequest>,
    closing: AbortSignal,
  ): Promise<number> {
    let number = 0
    const at = (nth = number) => `job ${nth}`
    const one = (request: JobRequest) => {
      number++
      return this.#isHookless
        ? jobOf(request, this.#defaults, `${at()}: `)
        : this.#hookedIn(request, `${at()}: `)
    }
    if (!isIterable(requests))
      throw new UsageError('enqueueMany: expected an iterable, got none', {
        hint: 'give an array, or a generator, of {func, arg, …}',
      })
    const isNow = this.#isHookless && Symbol.iterator in requests
    const jobs = isNow
      ? mapped(requests, one as (request: JobRequest) => NewJob)
      : mappedLater(requests, one, closing)
    return this.addMany(store, jobs, at)
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
