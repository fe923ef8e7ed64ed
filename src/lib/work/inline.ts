/**
 * `queue.work()`: the dispatcher within an application's own process, and the application's functions as its executors.
 */

import type {JobqConfig} from '../config/schema.ts'
import type {Events} from '../hooks/events.ts'
import {type Extensions, NO_EXTENSIONS} from '../hooks/extensions.ts'
import {UsageError} from '../jobs/errors.ts'
import type {FuncName, Functions, ResultOf, TakenArg} from '../jobs/functions.ts'
import type {RowRef} from '../jobs/job.ts'
import {checkFunc} from '../jobs/names.ts'
import {type Check, checkOptions, is, needs, whole} from '../jobs/options.ts'
import {isObject, kindOf} from '../jobs/value.ts'
import type {OfJob, Worker, WorkResult} from '../jobs/worker.ts'
import type {Store} from '../store/store.ts'
import {choose} from './claims/chosen.ts'
import {Dispatcher, type DispatcherOptions} from './dispatcher.ts'
import {InlineExecutors} from './executors/inline.ts'
import {type ReadyWorker, readyWorker} from './executors/ready-worker.ts'
import type {JobLog} from './log/log.ts'
import type {Summary} from './outcomes.ts'
import {type PassTick, schedulesOf, Ticker} from './schedules.ts'

/** A worker, or only its `work`, for each function that is to be worked. */
export type InlineWorkers<F = Functions> = {
  readonly [Name in FuncName<F>]?:
    | Worker<TakenArg<F, Name>, ResultOf<F, Name>>
    | OfJob<TakenArg<F, Name>, WorkResult<ResultOf<F, Name>>>
}

/** Who works what, how many at once, and for how long. */
export interface InlineOptions<F = Functions> {
  /** Who works which function. The configuration's `funcs` has the last word on their settings. */
  workers: InlineWorkers<F>
  /** Those of them that are to work. Default all. */
  abilities?: readonly FuncName<F>[] | undefined
  /** How many jobs run at once. Default 1. */
  concurrency?: number | undefined
  /**
   * Take so many jobs more than can start, and settle their ends together: several times the throughput for small jobs.
   * A job that arrives meanwhile with a higher priority waits for those. Default 0: strict priority.
   */
  prefetch?: number | undefined
  /** Ends the work when it aborts, as TERM ends `jobq work`: what runs may finish, within shutdownTimeout. */
  signal?: AbortSignal | undefined
  /** `forever` waits for more, `drain` ends when nothing is ready, `once` after one job. Default 'forever'. */
  mode?: DispatcherOptions['mode'] | undefined
  /**
   * Work this job only, whatever is before it, due or not, paused or not, and end: with `mode: 'once'` or none. Its id, or
   * what an enqueue or a listing has returned. Default: what is next.
   */
  job?: number | RowRef | undefined
  /** End after so many jobs. Default: the configuration's, else none. */
  maxJobs?: number | undefined
  /** End after so many seconds. Default: the configuration's, else none. */
  maxTime?: number | undefined
  /** Look for jobs at least every so many seconds, whatever is noticed. Default: the configuration's, else 5. */
  workDelay?: number | undefined
  /**
   * How many seconds running jobs have to finish once told to end; then their signals abort, and a second later they are
   * released, though a function that does not heed its signal may go on. Default: the configuration's, else 30.
   */
  shutdownTimeout?: number | undefined
  /** Among functions of equal priority, serve each in turn. Default: the configuration's, else false. */
  fair?: boolean | undefined
  /** Told what a person should look at: a database that is out of reach, a job that someone else took. Default no one. */
  onTrouble?: ((message: string) => void) | undefined
}

/** Work that goes on. */
export interface Working {
  readonly funcs: readonly string[]
  /** How many jobs may run at once. */
  readonly concurrency: number
}

/** What the queue has for it. */
export interface InlineHost {
  /** The queue's: told unless the call has its own. */
  onTrouble: (message: string) => void
  /** Where it is told while it goes on. */
  working: Set<Working>
  /** Called when that has changed. */
  onWorking?: () => void
  config: JobqConfig
  /** The configuration's. */
  file: string | null
  events: Events
  /** Default: no hooks and no plugins. */
  extensions?: Extensions
  tick: PassTick
  /** A job as the caller names it, to what it goes by. @throws UsageError */
  refOf(job: number | RowRef): RowRef
  openStore(onTrouble: (message: string) => void): Promise<{store: Store; close(): Promise<void>}>
}

/**
 * Listens to no signal, opens no port and prints nothing: that is the application's. A job that blocks the event loop
 * blocks the dispatcher with it (what it then settles is fenced by its lease), one that never ends can't be killed, and
 * one that ends the process ends all of it.
 * @param closing ends it as the options' signal does
 * @throws UsageError, WorkerError before anything is grabbed; StoreError; NotFoundError, JobHeldError if `job` can't be taken
 */
export async function workInline<F>(
  given: InlineOptions<F>,
  host: InlineHost,
  closing: AbortSignal,
): Promise<Summary> {
  checkInline(given)
  const options = given.job === undefined ? given : {...given, mode: 'once' as const}
  const {concurrency = 1, signal, onTrouble = host.onTrouble} = options
  const {config, events, extensions = NO_EXTENSIONS} = host
  const workers = readyWorkers(options, config)
  const schedules = options.mode === undefined || options.mode === 'forever' ? await schedulesOf(host) : []
  const executors = new InlineExecutors(workers, concurrency, extensions, onTrouble)
  const {store, close} = await host.openStore(onTrouble)
  const working = {funcs: [...workers.keys()], concurrency}
  host.working.add(working)
  host.onWorking?.()
  try {
    const job = options.job === undefined ? undefined : await chosenJob(options.job, host, store, workers)
    const settings = {...dispatcherOptions(options, config), job}
    const log = quietLog(onTrouble)
    const dispatcher = new Dispatcher(store, executors, settings, log, events)
    const ticker = new Ticker(store, host.tick, log)
    ticker.set(schedules)
    void dispatcher.ending.then(() => ticker.stop())
    const maxTime = options.maxTime ?? config.maxTime
    const withoutMaxTime = dispatcher.finishAfter(maxTime === undefined ? undefined : maxTime * 1000)
    return await runUntil(dispatcher, signal ? [signal, closing] : [closing]).finally(() => {
      withoutMaxTime()
      return ticker.stop()
    })
  } finally {
    host.working.delete(working)
    host.onWorking?.()
    await executors.close()
    await close()
  }
}

/** @throws UsageError if no one works its function, NotFoundError, JobHeldError */
async function chosenJob(
  job: number | RowRef,
  {refOf}: Pick<InlineHost, 'refOf'>,
  store: Store,
  workers: ReadonlyMap<string, ReadyWorker>,
): Promise<RowRef> {
  const ref = refOf(job)
  const {func} = await choose(store, ref)
  if (workers.has(func)) return ref
  throw new UsageError(`work: job: expected one of ${[...workers.keys()].join(', ')}, got one of ${func}`, {
    hint: `give workers.${func}`,
  })
}

async function runUntil(dispatcher: Dispatcher, signals: readonly AbortSignal[]): Promise<Summary> {
  let hasEnded = false
  const end = () => {
    if (!hasEnded) dispatcher.end() // a second time would not let what runs finish
    hasEnded = true
  }
  if (signals.some(({aborted}) => aborted)) end()
  for (const signal of signals) signal.addEventListener('abort', end)
  try {
    return await dispatcher.run()
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', end)
  }
}

function dispatcherOptions(options: InlineOptions<never>, config: JobqConfig): DispatcherOptions {
  return {
    mode: options.mode ?? 'forever',
    prefetch: options.prefetch ?? 0,
    fair: options.fair ?? config.fair ?? false,
    maxJobs: options.maxJobs ?? config.maxJobs,
    shutdownTimeoutMs: (options.shutdownTimeout ?? config.shutdownTimeout ?? 30) * 1000,
    workDelayMs: (options.workDelay ?? config.workDelay ?? 5) * 1000,
  }
}

/** What a log would say of each job, events do. */
export function quietLog(onTrouble: (message: string) => void): JobLog {
  return {ended() {}, output: () => null, trouble: onTrouble, pruned() {}, isVerbose: false, debug() {}}
}

// ---- the options

function readyWorkers(
  {workers, abilities}: InlineOptions<never>,
  {funcs, serializer}: JobqConfig,
): ReadonlyMap<string, ReadyWorker> {
  const given = new Map<string, unknown>(Object.entries(workers))
  for (const func of abilities ?? [])
    if (!given.has(func))
      throw new UsageError(`work: expected a worker for ${JSON.stringify(func)}, got none`, {
        hint: `give workers.${func}, or take it from abilities`,
      })
  const names = abilities ?? [...given.keys()].filter(func => given.get(func) !== undefined)
  if (names.length === 0)
    throw new UsageError('work: expected at least one worker, got none', {
      hint: 'write: queue.work({workers: {Notify: async job => {…}}})',
    })
  return new Map(
    names.map(func => {
      const worker = given.get(func)
      const overrides = (funcs && Object.hasOwn(funcs, func) && funcs[func]) || {}
      const object = typeof worker === 'function' ? {work: worker} : worker
      if (typeof object !== 'object' || object === null || !('work' in object))
        throw mismatch(`work: workers.${func}`, 'a function, or a worker with work(job)', worker)
      return [
        checkFunc(func, 'work: workers'),
        readyWorker(object, overrides, `workers.${func}`, {serializer}),
      ]
    }),
  )
}

const seconds = needs('seconds from 0', value => typeof value === 'number' && value >= 0 && value < Infinity)
const WORKERS = 'an object of workers'
const MODES: readonly unknown[] = ['forever', 'drain', 'once']
const KNOWN: Record<keyof InlineOptions, Check> = {
  workers: needs(WORKERS, isObject),
  abilities: needs('an array of functions', Array.isArray),
  concurrency: whole(1, 10_000),
  prefetch: whole(0, 10_000),
  signal: is.signal,
  mode: needs("'forever', 'drain' or 'once'", value => MODES.includes(value)),
  job: () => {}, // where it is looked up
  maxJobs: is.index,
  maxTime: seconds,
  workDelay: seconds,
  shutdownTimeout: seconds,
  fair: is.yesNo,
  onTrouble: is.callback,
}

function checkInline(options: unknown): asserts options is InlineOptions<never> {
  if (!isObject(options)) throw mismatch('work', 'an object with workers', options)
  checkOptions(options, 'work', KNOWN, given)
  if (options.workers === undefined) throw mismatch('work: workers', WORKERS, undefined)
  if (options.job === undefined) return
  if (options.mode !== undefined && options.mode !== 'once')
    throw mismatch('work: mode', "'once', or none, with a job", options.mode)
  if (options.maxJobs !== undefined) throw mismatch('work: maxJobs', 'none, with a job', options.maxJobs)
}

function mismatch(what: string, expected: string, got: unknown): UsageError {
  return new UsageError(`${what}: expected ${expected}, got ${given(got)}`)
}

function given(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'string') return JSON.stringify(value)
  return value === undefined ? 'none' : Array.isArray(value) ? 'an array' : kindOf(value)
}
