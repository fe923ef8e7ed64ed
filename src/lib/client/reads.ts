/** What there is in a queue: jobs, exceptions, statuses, counts; and whether it hands them out. */

import {suggestion} from '../jobs/closest.ts'
import {NotFoundError, UsageError} from '../jobs/errors.ts'
import type {FuncName, Functions} from '../jobs/functions.ts'
import {ALL_FUNCS, isPausedIn, type ListedJob, type RowRef, rowRef, type StoredResult} from '../jobs/job.ts'
import type {ManagerStatus} from '../jobs/manager.ts'
import type {ExceptionRow, JobHistory, ShownJob, StatusRow} from '../jobs/rows/history.ts'
import type {Action, ActionRow} from '../jobs/side-tables/actions.ts'
import {decodeResult} from '../jobs/side-tables/results.ts'
import {type FuncAttempts, type FuncCounts, type FuncTimes, type Stats, statsOf} from '../jobs/stats.ts'
import type {ActionPage, Choice, LogTable, Store} from '../store/store.ts'
import type {Calls} from './in-flight.ts'
import type {JobOutput} from './logs.ts'
import {
  ALL,
  check,
  type ExceptionOptions,
  type JobOptions,
  type PageOptions,
  type PruneOptions,
  page,
  refIn,
  refOf,
} from './options.ts'
import {eachWithProgress, slotsWithProgress, withProgress} from './progress.ts'

/** How many rows were deleted. */
export interface Pruned {
  failed: number
  finished: number
}

const PRUNED_SECONDS = 30 * 86_400

export abstract class QueueView<F = Functions> {
  /** @internal */
  protected readonly calls: Calls
  /** How many databases it has. */
  readonly #databases: number

  /** @internal */
  constructor(calls: Calls, databases: number) {
    this.calls = calls
    this.#databases = databases
  }

  /** @internal Something that a person should look at. */
  protected abstract tell(message: string): void

  /** @internal */
  protected refOf(job: number | RowRef, what: string): RowRef {
    return refIn(refOf(job, what), this.#databases)
  }

  /**
   * The waiting job, null if there is none.
   * @param job its id, or a row that says which it is
   * @param db with an id: which of several databases, the first being 1
   * @throws NotFoundError if there is no such database
   */
  find(job: number | RowRef, db?: number): Promise<ListedJob | null> {
    return this.calls.make(async store => {
      const ref = this.refOf(typeof job === 'number' ? rowRef({id: job, db}) : job, 'find')
      const found = await store.find(ref.id, ref.db, {details: true})
      return found && (await withProgress(store, [found]))[0]!
    })
  }

  /**
   * All that is known of a job, also when it has left the queue, as long as an attempt or the result of it is kept; null: nothing.
   * @param job its id, or what an enqueue or a listing has returned
   */
  show(job: number | RowRef): Promise<ShownJob | null> {
    return this.calls.make(async store => {
      const {id, db} = this.refOf(job, 'show')
      const history = await store.history(id, db)
      if (!history?.job) return leftJob({id, db}, history, await store.result(id, db))
      const state = await store.batch(id, db)
      const batch = state ? {batch: state} : {}
      const {runOf, workersOf} = await import('./managers.ts')
      if (history.job.state === 'running') {
        const [job] = await withProgress(store, [history.job])
        return {...history, ...NOWHERE, job: job!, run: await runOf(store, history), ...batch}
      }
      // Who may not read what is paused is shown all else
      const [paused, workers] = await Promise.all([
        store.paused().catch((): string[] => []),
        workersOf(store, history),
      ])
      return {...history, run: null, paused: isPausedIn(paused, history.func), workers, ...batch}
    })
  }

  /** @internal What its worker has returned, as it is kept: who may read only that gets it so. */
  resultJson(job: RowRef): Promise<string | undefined> {
    return this.calls.make(async store => {
      const {id, db} = this.refOf(job, 'show')
      const found = await store.result(id, db)
      return found ? decodeResult(found.json).json : undefined
    })
  }

  /**
   * What a job has written, as far as it was kept: of one attempt, or of the last of which there is something. Null: nothing
   * was kept.
   * @param job its id, or what an enqueue or a listing has returned
   * @param options.attempt which, as `show` numbers them, from 1
   * @throws NotFoundError if nothing is known of the job, or it has no such attempt
   */
  logs(job: number | RowRef, options: {attempt?: number | undefined} = {}): Promise<JobOutput | null> {
    return this.calls.make(async store => {
      check.logs(options)
      const {outputOf} = await import('./logs.ts')
      return outputOf(store, this.refOf(job, 'logs'), options.attempt)
    })
  }

  /** Waiting jobs: the running ones, the ready in the order of work, the delayed by their time, and what waits for others. */
  list(options: JobOptions = {}): Promise<ListedJob[]> {
    return this.calls.make(async store => {
      check.list(options)
      return withProgress(store, await store.list({...options, ...page(options)}))
    })
  }

  /** Failed attempts, newest first. Qudo's exception_list. */
  exceptions(options: ExceptionOptions = {}): Promise<ExceptionRow[]> {
    return this.calls.make(store => {
      check.exceptions(options)
      return store.exceptions({...options, ...page(options)})
    })
  }

  /** Finished jobs of functions that keep a status, newest first. Qudo's job_status_list. */
  statuses(options: PageOptions = {}): Promise<StatusRow[]> {
    return this.calls.make(store => {
      check.statuses(options)
      return store.statuses({...options, ...page(options)})
    })
  }

  /**
   * As list, exceptions and statuses, but row by row in flat memory, and by default all of them.
   * @throws NotFoundError if the function has never been enqueued here
   */
  eachJob(options: JobOptions = {}): AsyncGenerator<ListedJob> {
    check.list(options)
    return this.each(options, store =>
      eachWithProgress(store, store.eachJob({...options, ...page(options, ALL)})),
    )
  }

  /** @see eachJob */
  eachException(options: ExceptionOptions = {}): AsyncGenerator<ExceptionRow> {
    check.exceptions(options)
    return this.each(options, store => store.eachException({...options, ...page(options, ALL)}))
  }

  /** @see eachJob */
  eachStatus(options: PageOptions = {}): AsyncGenerator<StatusRow> {
    check.statuses(options)
    return this.each(options, store => store.eachStatus({...options, ...page(options, ALL)}))
  }

  /**
   * Stops handing out jobs, of these functions or, without them, of all, on every host, until resumed. Enqueueing goes on.
   * @throws UsageError for an empty array: which was made of nothing, and would stop everything
   */
  pause(funcs?: readonly string[]): Promise<void> {
    return this.calls.make(async store => {
      checkSome(funcs, 'pause')
      check.funcs(funcs ?? [], 'pause')
      return store.pause(funcs ?? [ALL_FUNCS])
    })
  }

  /** Lifts a pause: of these functions, or every one there is. @returns what was paused, '' for the whole queue */
  resume(funcs?: readonly string[]): Promise<string[]> {
    return this.calls.make(async store => {
      checkSome(funcs, 'resume')
      check.paused(funcs ?? [], 'resume')
      return store.resume(funcs ?? (await store.paused()))
    })
  }

  /**
   * Deletes old rows of exception_log and job_status, and what jobq keeps beside them, a few at a time, so that it
   * disturbs no worker; yields how many were deleted so far.
   * @throws NotFoundError if the function has never been enqueued here
   */
  async *prune(options: PruneOptions = {}): AsyncGenerator<Pruned> {
    check.prune(options)
    const {olderThan = PRUNED_SECONDS, func, dryRun = false} = options
    const {failed, finished} = options.failed || options.finished ? options : {failed: true, finished: true}
    const pruned = {failed: 0, finished: 0}
    const each = (table: LogTable) =>
      this.each(options, store => store.prune(table, {ago: olderThan, func}, dryRun))
    yield {...pruned}
    if (failed)
      for await (const count of each('exception_log')) {
        pruned.failed += count
        yield {...pruned}
      }
    if (finished)
      for await (const count of each('job_status')) {
        pruned.finished += count
        yield {...pruned}
      }
    if (!dryRun) await this.calls.make(sweepTags)
  }

  /** What is paused: names of functions, '' for the whole queue. */
  paused(): Promise<string[]> {
    return this.calls.make(store => store.paused())
  }

  /**
   * Every `jobq work` and every application with a scoreboard that works here, on any host, oldest first: what it told when
   * it was last seen. Those that were not seen for a minute are `gone`, ten minutes later they are not told any more.
   * Workers of Perl's are not among them.
   * @throws StoreError
   */
  managers(): Promise<ManagerStatus[]> {
    return this.calls.make(async store => {
      const [rows, paused] = await Promise.all([store.managers(), store.paused()])
      const {managersOf} = await import('./managers.ts')
      const managers = managersOf(rows, {db: this.calls.name, paused}, message => this.tell(message))
      return slotsWithProgress(store, managers)
    })
  }

  /** The names of all functions ever enqueued here. */
  funcs(): Promise<string[]> {
    return this.calls.make(store => store.funcs())
  }

  /** How many jobs are in the queue, running ones included: of these functions, or of all. Qudo's job_count. */
  async count(...funcs: readonly FuncName<F>[]): Promise<number> {
    const names: readonly string[] = funcs
    check.funcs(names, 'count')
    const counts = await this.calls.make(store => store.counts(names.length === 1 ? names[0] : undefined))
    return counts
      .filter(({func}) => names.length === 0 || names.includes(func))
      .reduce((sum, {ready, delayed, waiting, running}) => sum + ready + delayed + waiting + running, 0)
  }

  /** Counts by function. @throws NotFoundError if the function has never been enqueued here */
  counts(func?: string): Promise<FuncCounts[]> {
    return this.calls.make(store => countsOf(store, func))
  }

  /** Counts and run times by function and in total. @throws NotFoundError as counts */
  stats(func?: string): Promise<Stats> {
    return this.calls.make(async store =>
      statsOf(await countsOf(store, func), await store.times(func), await store.paused()),
    )
  }

  /** Run times by function over the last hour, for those that keep a job status. */
  times(func?: string): Promise<FuncTimes[]> {
    return this.calls.make(async store => {
      check.func(func, 'times')
      return store.times(func)
    })
  }

  /** @internal Keeps an action that is about to begin, of no jobs so far. @returns its row */
  logAction(action: Action): Promise<RowRef> {
    return this.calls.make(store => store.logAction(action))
  }

  /** @internal It has been done to so many jobs. */
  countAction(action: RowRef, jobs: number): Promise<void> {
    return this.calls.make(store => store.countAction(action, jobs))
  }

  /** @internal The actions that are kept, newest first. */
  actions(page: ActionPage): Promise<ActionRow[]> {
    return this.calls.make(store => store.actions(page))
  }

  /** @internal How many rows a listing of a log has. */
  logCount(table: LogTable, choice: Choice): Promise<number> {
    return this.calls.make(store => store.logCount(table, choice))
  }

  /** @internal How attempts have ended, by function, for those that keep a job status; all of it is read. */
  attempts(func?: string): Promise<FuncAttempts[]> {
    return this.calls.make(store => store.attempts(func))
  }

  /** @internal */
  protected async *each<T>(
    {func}: {func?: string | undefined},
    rows: (store: Store) => AsyncGenerator<T> | Promise<AsyncGenerator<T>>,
  ): AsyncGenerator<T> {
    let source: AsyncGenerator<T> | undefined
    const begun = async (store: Store) => {
      if (func !== undefined && !(await store.funcs()).includes(func))
        throw noSuchFunc(func, await store.funcs(true)) // of a database that is out of reach nobody knows
      return rows(store)
    }
    try {
      for (;;) {
        const {value, done} = await this.calls.make(async store => {
          source ??= await begun(store)
          return source.next()
        })
        if (done) return
        yield value
      }
    } finally {
      await source?.return(undefined)
    }
  }
}

async function countsOf(store: Store, func: string | undefined): Promise<FuncCounts[]> {
  check.func(func, 'counts')
  const counts = await store.counts(func)
  if (func !== undefined && counts.length === 0) throw noSuchFunc(func, await store.funcs(true))
  return counts
}

/** Of a job that nobody is to take, or someone has. */
const NOWHERE = {run: null, paused: false, workers: null}

/** One that has left the queue: what it has left behind. */
function leftJob(
  {id, db}: {id: number; db?: number | undefined},
  history: JobHistory | null,
  stored: StoredResult | null,
): ShownJob | null {
  if (!stored) return history && {...history, ...NOWHERE}
  const {func, json, keptUntil} = stored
  const none = {job: null, uniqkey: null, arg: null, tags: {}, attempts: [], after: [], parked: null}
  const result = {...decodeResult(json), keptUntil}
  return {...(history ?? {...rowRef({id, db}), func, ...none}), ...NOWHERE, result}
}

/** @param known the functions there are */
export function noSuchFunc(func: string, known: readonly string[]): NotFoundError {
  return new NotFoundError(`no job of ${JSON.stringify(func)} was ever enqueued here`, {
    hint: `${suggestion(func, known)}\`jobq stats\` shows the functions there are`,
  })
}

/** Where only Perl works, nobody else takes away the tags of jobs that are gone. */
async function sweepTags(store: Store): Promise<void> {
  for (let from: number | null = 0; from !== null; ) from = await store.sweepTags(from)
}

function checkSome(funcs: readonly string[] | undefined, call: string): void {
  if (!Array.isArray(funcs) || funcs.length > 0) return
  throw new UsageError(`${call}: expected functions, got an empty array`, {
    hint: `leave it out to ${call} everything: ${call}()`,
  })
}
