/** What the calls of a JobQueue may be told, and the checks of it. */

import {EVENT_NAMES} from '../hooks/events.ts'
import type {SupportOptions} from '../hooks/extensions.ts'
import {NotFoundError, UsageError} from '../jobs/errors.ts'
import type {JobState, NewJob, RowRef} from '../jobs/job.ts'
import {checkDue, dueOf} from '../jobs/new-job.ts'
import {checkOptions, is} from '../jobs/options.ts'
import {describe, isObject} from '../jobs/value.ts'
import type {OpenOptions} from '../store/open.ts'
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
}

/** Which jobs a listing has. */
export interface JobOptions extends PageOptions {
  state?: JobState | undefined
  /** @internal */
  contexts?: boolean | undefined
}

/** Which failed attempts a listing has. */
export interface ExceptionOptions extends PageOptions {
  /** Only those not retried yet. */
  unretried?: boolean | undefined
  /** Only those at or after this time (Unix seconds), or of the last so many seconds. */
  since?: {at: number} | {ago: number} | undefined
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
const RETRY = {priority: is.priority, delay: is.delay, runAfter: is.date, again: is.yesNo}
const CHOICE = {ids: is.array, jobs: is.array, func: is.text, since: is.since}
const PAGE = {func: is.text, uniqkey: is.text, limit: is.count, offset: is.count}
const JOBS = {...PAGE, state: is.state, contexts: is.yesNo}
const EXCEPTIONS = {...PAGE, unretried: is.yesNo, since: is.since}
const PRUNE = {
  olderThan: is.seconds,
  failed: is.yesNo,
  finished: is.yesNo,
  func: is.text,
  dryRun: is.yesNo,
}
const WAIT = {timeout: is.seconds, signal: is.signal}

/** Each @throws UsageError */
export const check = {
  open: (options: QueueOptions) => checkOptions(options, 'open', OPEN),
  init: (options: InitOptions) => checkOptions(options, 'init', INIT),
  list: (options: JobOptions) => checkOptions(options, 'list', JOBS),
  exceptions: (options: ExceptionOptions) => checkOptions(options, 'exceptions', EXCEPTIONS),
  statuses: (options: PageOptions) => checkOptions(options, 'statuses', PAGE),
  prune: (options: PruneOptions) => checkOptions(options, 'prune', PRUNE),
  wait: (options: object) => checkOptions(options, 'wait', WAIT),
  event: (name: unknown, listener: unknown) => {
    if (!(EVENT_NAMES as readonly unknown[]).includes(name))
      throw new UsageError(`on: expected the name of an event, got ${describe(name)}`, {
        hint: `known are ${EVENT_NAMES.join(', ')}`,
      })
    is.callback(listener, `on: ${name}`)
  },
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
  retryMany: (choice: RetryChoice, options: RetryOptions & {dryRun?: boolean | undefined}) => {
    checkOptions(choice, 'retryMany', CHOICE)
    if ('ids' in choice) for (const id of choice.ids) refOf(id, 'retryMany: ids')
    if ('jobs' in choice) for (const job of choice.jobs) refOf(job, 'retryMany: jobs')
    checkOptions(options, 'retryMany', {...RETRY, dryRun: is.yesNo})
    checkDue(options, 'retryMany: ')
  },
}

/** How a retried job is stored. */
export function rowOf(options: RetryOptions): {priority: number; due: NewJob['due']; again: boolean} {
  return {priority: options.priority ?? 0, due: dueOf(options), again: options.again ?? false}
}

export const ALL = Number.MAX_SAFE_INTEGER

export function page({limit, offset}: PageOptions, all = 10): {limit: number; offset: number} {
  return {limit: limit ?? all, offset: offset ?? 0}
}

/** As a store of so many databases knows it: the rows of a single one have no number. @throws NotFoundError */
export function refIn({id, db}: RowRef, databases: number): RowRef {
  if (databases > 1 || db === undefined) return db === undefined ? {id} : {id, db}
  if (db === 1) return {id}
  throw new NotFoundError(`no database ${db}`, {hint: 'there is one, which is 1'})
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
