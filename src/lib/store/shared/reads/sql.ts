/** What a driver gives for its listings and counts: the queries, and behind each the rows that it answers with. */
import {idTooLarge} from '../../../jobs/errors.ts'
import type {JobRow, JobState, TagChoice} from '../../../jobs/job.ts'
import type {LogTable} from '../../store.ts'
import type {Clock, Reading} from './reading.ts'

export type {LogTable}

/** Behind every priority, time and id that JavaScript can hold, and before them. */
export const LAST = Number.MAX_SAFE_INTEGER
export const FIRST = -LAST

export interface ReadsSql<Query> extends Clock<Query> {
  /** {id, name} of every function, by name. */
  funcs(): Query
  /** {id, name} of the function of this name. */
  named(func: string): Query
  /** {digits} of it, null where there is none. */
  greatestId(table: 'job' | LogTable): Query

  /** What `jobOf` knows, in any order. */
  jobs(ids: readonly number[]): Query
  /** But those with ids beyond LAST: they could not be told from others. */
  withUniqkey(uniqkey: string, funcIds: readonly number[]): Query
  jobOf(row: unknown): JobRow
  /** Sized: of the arguments. */
  jobSizes(ids: readonly number[]): Query
  /** {id, context} of the jobs that have one. */
  contexts(ids: readonly number[]): Query
  /** {id, name, value} of the tags of these jobs. */
  tags(ids: readonly number[]): Query
  /** {id, expiresAt} of those of these jobs that expire. */
  expiries(ids: readonly number[]): Query
  /** TagRow behind a place, in the order of value and job. */
  tagged(tag: TagChoice, behind: TagPlace, limit: number): Query
  /** {id} of jobs, by id, read by it: it alone stays as it is while they are worked. */
  jobIds(where: readonly Condition[], limit: number): Query

  /** {id} of the functions that have jobs, those that have no row of their own among them. */
  withJobs(): Reading<Query, {id: number}[]>
  /** Those that have jobs. Null: too many to be asked one by one. */
  lanes(funcIds: readonly number[]): Reading<Query, Lane[] | null>
  /** Keys of each lane, in its order. Of ids beyond LAST there are none, here and below: they could not be found again. */
  inLanes(ask: Ask): readonly Query[]
  /** The run_after of what waits for other jobs. */
  readonly never: number
  /** {id, anyEnd}: what this job waits for, by id. */
  after(jobId: number): Query
  /** {id, key, waitsFor, runAfter} of those of these jobs that are parked. */
  parked(ids: readonly number[]): Query
  /** Keys in no lane, in any order: what is running, leases that ran out, what other programs have written. */
  besideLanes(funcIds: readonly number[], state: JobState, now: number): readonly Query[]
  /** Where there are too many lanes: the first keys of them all. */
  sortedKeys?(
    funcIds: readonly number[],
    state: JobState,
    now: number,
    after: Key | null,
    limit: number,
  ): Query

  /** Sized: of what may be large in a row. By id. */
  logSizes(table: LogTable, where: readonly Condition[], part: LogPart): Query
  /** {jobs}: how many rows; without conditions all, by whichever index is the smallest. */
  logCount(table: LogTable, where: readonly Condition[]): Query
  /** Rows with the function's name as `func`, in any order. @param heads no arguments, and HEAD_BYTES of the messages */
  logRows(table: LogTable, ids: readonly number[], heads: boolean): Query

  /** {id} of the rows of a log that are attempts of these jobs, by id. */
  logIds(table: LogTable, jobIds: readonly number[]): Query
  /** Link: of these rows of a log. Null: this database has no jobq_attempt. */
  links(table: LogTable, ids: readonly number[]): Query | null
  /** Attempted of the job, by id; {how, diedAt} of its deaths; Kept of its attempts. */
  history(jobId: number): readonly [attempts: Query, deaths: Query, outputs: Query]
  /** {arg} of what the last attempt has left that has left something. */
  argOf(jobId: number): Query
  /** {output} */
  output(id: number): Query
  /** OutputKey behind this id, by id. */
  outputKeys(after: number, limit: number): Query

  /**
   * {funcId, ready, delayed, waiting, running, oldest}; {funcId, jobs}: exceptions not retried; {funcId, status, jobs};
   * {funcId, attempts, jobs}: those of the exceptions whose jobs were tried again, and how many of these jobs are there
   */
  counts(funcIds: readonly number[], now: number): readonly Query[]
  /** {funcId, value, jobs}: by the seconds that they took, in order; by the minute of the hour in which they ended. */
  times(funcIds: readonly number[], hourAgo: number): readonly Query[]
  /** {funcId, status, seconds, attempts} */
  attempts(funcIds: readonly number[]): Query
}

export interface Func {
  id: number
  /** Bytes, where the column's character set is not to be trusted. */
  name: string | Uint8Array
}

/** Whose attempt a row of a log is. */
export interface Link {
  id: number
  jobId: number
  isLast: number | boolean
  /** Is the job in the queue? */
  isThere: number | boolean
}

/** A row of jobq_attempt with what it belongs to. */
export interface Attempted {
  id: number
  func: string | Uint8Array
  uniqkey: string | Uint8Array | null
  outcome: string | Uint8Array
  isLast: number | boolean
  start: number | null
  end: number
  host: string | Uint8Array | null
  pid: number | null
  exceptionId: number | null
  message: Uint8Array | null
  retriedAs: number | null
}

/** A row of jobq_output. */
export interface Kept {
  id: number
  attemptId: number
  bytes: number
  isCut: number | boolean
}

/** Whose it is, if that attempt belongs to no row of a log: else null. */
export interface OutputKey {
  id: number
  outcome: string | Uint8Array | null
  funcId: number | null
  endedAt: number | null
}

export interface Greatest {
  digits: string | null
}

export interface Sized {
  id: number
  bytes: number
}

export interface Key {
  id: number
  priority: number
  runAfter: number
}

export interface Lane {
  funcId: number
  priority: number
}

/** The next keys of each of these lanes: behind a spot and up to a time, so many of each at most. */
export interface Ask {
  lanes: {lane: Lane; behind: Spot}[]
  upTo: number
  limit: number
}

export interface Spot {
  runAfter: number
  id: number
}

/** Where a walk along the rows of a tag goes on. */
export interface TagPlace {
  value: string
  id: number
}

/** SQL with a `?` for its value, `IN ?` for several numbers; the table is called `log`. */
export type Condition = readonly [sql: string, value: number | string | readonly number[]]

interface LogPart {
  order: 'ASC' | 'DESC'
  limit: number
  offset: number
}

export function chosen<Query>(sql: ReadsSql<Query>, func: string | undefined): Query {
  return func === undefined ? sql.funcs() : sql.named(func)
}

/** @throws StoreError if that is a row whose id can't be told from others */
export function checkedId(table: LogTable, [row]: readonly Greatest[]): number {
  const digits = tooLarge(row!)
  if (digits !== null) throw idTooLarge(table, digits)
  return Number(row!.digits)
}

export function tooLarge({digits}: Greatest): string | null {
  return Number(digits) > LAST ? digits : null
}
