/** What the calls of a JobQueue may be told, and the checks of it. */

import {EVENT_NAMES} from '../hooks/events.ts'
import type {SupportOptions} from '../hooks/extensions.ts'
import {noDatabase, UsageError} from '../jobs/errors.ts'
import {type JobState, type RowRef, rowRef, type TagOptions} from '../jobs/job.ts'
import {tagChoices} from '../jobs/names.ts'
import {checkDue, dueOf, type JobRequest} from '../jobs/new-job.ts'
import {checkOptions, is} from '../jobs/options.ts'
import type {SerializerName} from '../jobs/serializers/serializers.ts'
import {keptOf} from '../jobs/side-tables/keep-result.ts'
import {describe, isObject} from '../jobs/value.ts'
import type {OpenOptions} from '../store/open.ts'
import type {JobSpot, LogPage, Retrying} from '../store/store.ts'
import type {CancelChoice, CancelOptions, Chosen} from './cancel.ts'
import type {RetryChoice} from './retry.ts'

/** Which database a queue is in, and what stands around its jobs. */
export interface QueueOptions extends OpenOptions, SupportOptions {
  /** A database as --db takes it. Default: JOBQ_DB, the configuration's, `$XDG_DATA_HOME/jobq/jobq.db`. */
  db?: string | readonly string[] | undefined
  /** A configuration file, /dev/null for none. Default: JOBQ_CONFIG, else jobq.config.* in this folder or one above. */
  config?: string | undefined
}

/** Which databases are prepared. */
export interface InitOptions extends Pick<QueueOptions, 'db' | 'config'> {
  /** Change nothing, only tell. Default false. */
  dryRun?: boolean | undefined
}

/** How a failed job is enqueued again. */
export interface RetryOptions {
  /** Default 0, as Qudo's. */
  priority?: number | undefined
  /** Seconds from now. Default 0. */
  delay?: number | undefined
  /** A time, instead of a delay. */
  runAfter?: Date | undefined
  /** Also an attempt whose job still waits for its next try: then there are two of it. Default false. */
  again?: boolean | undefined
  /** Keep how it ends, as of an enqueue. Default false. */
  tracked?: boolean | undefined
  /** Keep what its worker returns, as of an enqueue. Default: as its worker says. */
  keepResult?: number | string | undefined
}

/** What is changed of a job that waits; what is left out stays as it is. */
export interface EditOptions {
  /** 0 … 4294967295, larger is sooner. */
  priority?: number | undefined
  /** Due so many seconds from now. */
  delay?: number | undefined
  /** Due at a time, instead of a delay. */
  runAfter?: Date | undefined
  /** Anything JSON holds; for the serializer 'none', text or bytes. */
  arg?: unknown
  /** Of `arg`. Default: as an enqueue's. */
  serializer?: SerializerName | undefined
  /** null: none. */
  uniqkey?: string | null | undefined
  /** It leaves the queue unless it has begun so long from now: seconds, or text such as '1h'. null: it stays. */
  expires?: number | string | null | undefined
}

/** Which rows are deleted. */
export interface PruneOptions {
  /** Rows that are older than so many seconds. Default 30 days. */
  olderThan?: number | undefined
  /** Of failed attempts, of finished ones. Default both, if neither is true. */
  failed?: boolean | undefined
  finished?: boolean | undefined
  func?: string | undefined
  /** Only count. Default false. */
  dryRun?: boolean | undefined
}

/** Which rows a listing has. */
export interface PageOptions {
  func?: string | undefined
  uniqkey?: string | undefined
  /** Default 10, as Qudo's; for what goes row by row, all. */
  limit?: number | undefined
  /** Default 0. */
  offset?: number | undefined
  /** Only those that have all of these tags, with this value, or any (true). */
  tags?: TagOptions | undefined
}

/** Which jobs a listing has. */
export interface JobOptions extends PageOptions {
  state?: JobState | undefined
  /** @internal */
  contexts?: boolean | undefined
  /** @internal Only what comes behind this one, which was listed before. */
  after?: JobSpot | undefined
}

/** Which failed attempts a listing has. */
export interface ExceptionOptions extends PageOptions {
  /** Only those not retried yet, and not cancelled. */
  unretried?: boolean | undefined
  /** Only those at or after this time (Unix seconds), or of the last so many seconds. */
  since?: {at: number} | {ago: number} | undefined
  /** @internal */
  after?: LogPage['after']
  /** @internal */
  heads?: boolean | undefined
}

/** What runs when all jobs of a batch have ended; at least one of them. */
export interface BatchOptions {
  /** However they have ended. Its argument, an object or none, gets a member `batch`: {jobs, completed, failed, aborted}. */
  then?: JobRequest | undefined
  /** Only if one of them has not completed. Its argument gets that, too. */
  onFailure?: JobRequest | undefined
}

const OPEN = {
  db: is.databases,
  config: is.text,
  serializer: is.serializer,
  hooks: is.array,
  plugins: is.object,
  hookTimeout: is.seconds,
  onTrouble: is.callback,
  patient: is.yesNo,
  durable: is.yesNo,
}
const INIT = {db: is.databases, config: is.text, dryRun: is.yesNo}
const RETRY = {
  ...{priority: is.priority, delay: is.delay, runAfter: is.date, again: is.yesNo},
  ...{tracked: is.yesNo, keepResult: is.duration},
}
const CHOICE = {ids: is.array, jobs: is.array, func: is.text, since: is.since, tags: is.tagChoice}
const PAGE = {func: is.text, uniqkey: is.text, limit: is.count, offset: is.count, tags: is.tagChoice}
const JOBS = {...PAGE, state: is.state, contexts: is.yesNo, after: is.object}
const STATUSES = {...PAGE, after: is.array}
const EXCEPTIONS = {...STATUSES, unretried: is.yesNo, since: is.since, heads: is.yesNo}
const PRUNE = {
  olderThan: is.seconds,
  failed: is.yesNo,
  finished: is.yesNo,
  func: is.text,
  dryRun: is.yesNo,
}
const EDIT = {
  priority: is.priority,
  delay: is.delay,
  runAfter: is.date,
  arg: () => {}, // checked as it is encoded
  serializer: is.serializer,
  uniqkey: is.uniqkey,
  expires: (value: unknown, what: string) => value === null || is.duration(value, what),
}
const CANCEL = {
  jobs: is.array,
  func: is.text,
  uniqkey: is.text,
  tags: is.tagChoice,
  state: is.state,
  all: is.yesNo,
}
const WAIT = {timeout: is.seconds, signal: is.signal, onProgress: is.callback}

/** Each @throws UsageError */
export const check = {
  open: (options: QueueOptions) => checkOptions(options, 'open', OPEN),
  init: (options: InitOptions) => checkOptions(options, 'init', INIT),
  list: (options: JobOptions) => checkOptions(options, 'list', JOBS),
  exceptions: (options: ExceptionOptions) => checkOptions(options, 'exceptions', EXCEPTIONS),
  statuses: (options: PageOptions) => checkOptions(options, 'statuses', STATUSES),
  prune: (options: PruneOptions) => checkOptions(options, 'prune', PRUNE),
  logs: (options: object) => checkOptions(options, 'logs', {attempt: is.index}),
  follow: (options: object) => checkOptions(options, 'follow', {signal: is.signal}),
  wait: (options: object) => checkOptions(options, 'wait', WAIT),
  batch: (options: BatchOptions) => {
    checkOptions(options, 'batch', {then: is.object, onFailure: is.object})
    if (options.then === undefined && options.onFailure === undefined)
      throw new UsageError('batch: expected then or onFailure, got neither', {
        hint: 'write: queue.batch(jobs, {then: {func: "Report"}}); enqueueMany is for jobs that nothing follows',
      })
  },
  waitFor: (choice: object) => checkOptions(choice, 'waitFor', {func: is.text, tags: is.tagChoice}),
  event: (name: unknown, listener: unknown) => {
    if (!(EVENT_NAMES as readonly unknown[]).includes(name))
      throw new UsageError(`on: expected the name of an event, got ${describe(name)}`, {
        hint: `known are ${EVENT_NAMES.join(', ')}`,
      })
    is.callback(listener, `on: ${name}`)
  },
  schedule: (name: unknown) => is.text(name, 'runSchedule'),
  func: (func: unknown, what: string) => {
    if (func !== undefined) is.text(func, `${what}: function`)
  },
  funcs: is.funcs,
  /** Of what is paused '' is one: the whole queue. */
  paused: (names: unknown, what: string) => {
    is.array(names, what)
    for (const name of names as unknown[]) is.text(name, `${what}: function`)
  },
  retry: (options: RetryOptions & {db?: number | undefined}) => {
    checkOptions(options, 'retry', {...RETRY, db: is.index})
    checkDue(options, 'retry: ')
  },
  edit: (options: EditOptions) => {
    checkOptions(options, 'edit', EDIT)
    checkDue(options, 'edit: ')
    if (Object.values(options).every(value => value === undefined))
      throw new UsageError('edit: expected something to change, got nothing')
  },
  cancelMany: (options: CancelOptions) =>
    checkOptions(options, 'cancelMany', {dryRun: is.yesNo, signal: is.signal}),
  retryMany: (choice: RetryChoice, options: RetryOptions & {dryRun?: boolean | undefined}) => {
    checkOptions(choice, 'retryMany', CHOICE)
    if ('ids' in choice) for (const id of choice.ids) refOf(id, 'retryMany: ids')
    if ('jobs' in choice) for (const job of choice.jobs) refOf(job, 'retryMany: jobs')
    checkOptions(options, 'retryMany', {...RETRY, dryRun: is.yesNo})
    checkDue(options, 'retryMany: ')
  },
}

/** As a store knows the choice. @throws UsageError unless something is chosen: left out by mistake, it would be all */
export function chosenOf(choice: CancelChoice, refIn: (job: number | RowRef) => RowRef): Chosen {
  checkOptions(choice, 'cancelMany', CANCEL)
  const {jobs, func, uniqkey, tags, state, all} = choice as Partial<Record<string, unknown>> & {
    state?: JobState
  }
  const isSome = [func, uniqkey].some(value => value !== undefined) || Object.keys(tags ?? {}).length > 0
  const given = [jobs !== undefined, isSome, all === true]
  if (given.filter(Boolean).length !== 1 || (jobs !== undefined && state !== undefined))
    throw new UsageError(
      'cancelMany: expected jobs, or a func, uniqkey or tags, or all: true, and one of these',
      {
        hint: 'a state goes with the latter two',
      },
    )
  if ('jobs' in choice) return {jobs: choice.jobs.map(refIn)}
  return 'all' in choice ? {state} : {...choice, tags: tagChoices(choice.tags)}
}

/** How a retried job is stored. @throws UsageError */
export function rowOf(options: RetryOptions): Retrying {
  const {priority = 0, again = false} = options
  return {priority, again, due: dueOf(options), ...keptOf(options, 'retry: keepResult')}
}

export const ALL = Number.MAX_SAFE_INTEGER

export function page({limit, offset, tags}: PageOptions, all = 10) {
  return {limit: limit ?? all, offset: offset ?? 0, tags: tagChoices(tags), details: true}
}

/** As a store of so many databases knows it: the rows of a single one have no number. @throws NotFoundError */
export function refIn({id, db}: RowRef, databases: number): RowRef {
  if (databases > 1 || db === undefined) return rowRef({id, db})
  if (db === 1) return {id}
  throw noDatabase(db)
}

/** A job by its id, or as an enqueue or a listing has returned it. @throws UsageError */
export function refOf(job: number | RowRef, what: string): RowRef {
  if (!isObject(job) && typeof job !== 'number')
    throw new UsageError(`${what}: expected a job or its id, got ${typeof job}`)
  const {id, db} = (typeof job === 'number' ? {id: job} : job) as RowRef
  is.index(id, `${what}: id`)
  if (db === undefined) return {id}
  is.index(db, `${what}: db`)
  return {id, db}
}
