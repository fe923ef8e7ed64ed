/**
 * A job and what becomes of it: the rows of Qudo's four tables as types. Columns keep Qudo's names in SQL and in JSON
 * output (render/listing.ts). All times are whole Unix seconds by the *database's* clock, all durations whole seconds.
 */

/** The longest function name and uniqkey, in characters: VARCHAR(255) in all of Qudo's schemas. */
export const MAX_NAME_LENGTH = 255
/** INTEGER UNSIGNED, the type of every time, count and priority in Qudo's MySQL schema. */
export const MAX_UINT32 = 4_294_967_295
/** The greatest id that can be told from others: a JavaScript number holds no whole numbers beyond. */
export const MAX_ID = Number.MAX_SAFE_INTEGER
/** The most bytes an argument may have: MEDIUMBLOB's limit, kept on every store so that queues can move. */
export const MAX_ARG_BYTES = 16_777_215

/**
 * Among so many jobs of a function, those that were enqueued first, it is looked for the one of a failed attempt that waits
 * for its next try.
 */
export const TRIED_ROWS = 10_000

/** In the place of a function's name: the whole store. No function is called that. */
export const ALL_FUNCS = ''

/** An argument as it is stored: text as TEXT (so that it reads well in a shell), bytes as a BLOB. */
export type StoredArg = string | Uint8Array | null

/** What a row goes by: with several databases its id alone does not say where it is. */
export interface RowRef {
  id: number
  /** Which of several databases it is in, the first being 1; not there where there is only one. */
  db?: number
}

/** A row's id as people and scripts have it: `17`, or with several databases `2:17`. */
export function idOf({id, db}: {id: number; db?: number | undefined}): number | string {
  return db === undefined ? id : `${db}:${id}`
}

/** A job that is to be stored. */
export interface NewJob {
  func: string
  arg: StoredArg
  /** At most one waiting job per (func, uniqkey); null never collides. */
  uniqkey: string | null
  /** 0 … 4294967295; larger is sooner. */
  priority: number
  /** Due so many seconds after the database's now, or at a time; Qudo's run_after is the first. */
  due: {in: number} | {at: number}
  /** What travels beside the argument, a trace's context say: an object of texts, as JSON. In jobq_context. */
  context?: string | undefined
  /** Keep how it ends for who asks, in jobq_wait: @see JobEnd. */
  tracked?: boolean | undefined
}

/** What an enqueue wrote. */
export interface EnqueuedJob extends RowRef {
  func: string
  uniqkey: string | null
  priority: number
  runAfter: number
}

/** What the clock makes of a row: `running` is leased into the future, `delayed` is not due yet. */
export type JobState = 'ready' | 'delayed' | 'running'
export const JOB_STATES: readonly JobState[] = ['ready', 'delayed', 'running']

/** A row of `job`. Where another program has written something else than a number (SQLite takes anything), it is NaN. */
export interface JobRow extends RowRef {
  funcId: number
  func: string
  /** The bytes as stored, whatever storage class they have; null is SQL's NULL. */
  arg: Uint8Array | null
  uniqkey: string | null
  enqueueTime: number
  grabbedUntil: number
  runAfter: number
  retryCnt: number
  priority: number
  /** As NewJob's; not there for a job without one, and in listings that were not asked for it. */
  context?: string | undefined
}

/** How long an end is kept that nobody asks for; and one that someone has asked for, since others may wait for it, too. */
export const KEPT_SECONDS = 86_400
export const TOLD_SECONDS = 60

/** How a job that someone waits for has left the queue. `gone`: it is not there, and who took it away did not say. */
export interface JobEnd extends RowRef {
  outcome: 'completed' | 'replaced' | 'failed' | 'aborted' | 'gone'
  /** Why it failed or was aborted; else empty. */
  message: string
}

/** A row of `job` with what the clock makes of it. */
export interface ListedJob extends JobRow {
  state: JobState
}

/**
 * The right to work a job and to settle it: it holds while the row still says this grabbedUntil.
 * Who has lost it (a Perl worker or another jobq took the job) changes nothing any more.
 */
export interface Lease extends RowRef {
  grabbedUntil: number
}

/**
 * What has become of the job of a failed attempt, as far as jobq_attempt knows it.
 * - retried: it was enqueued again
 * - retrying: it waits for its next try, or is at it
 * - earlier: it has left the queue by a later attempt
 * - failed: it was given up with this one; also where nothing is known: Perl's and older jobqs' attempts
 */
export type ExceptionState = 'retried' | 'retrying' | 'earlier' | 'failed'

/** A row of `exception_log`: one for every failed attempt. */
export interface ExceptionRow extends RowRef {
  /** Whose attempt it was; null: not known. */
  jobId: number | null
  state: ExceptionState
  funcId: number
  func: string
  exceptionTime: number
  message: string
  uniqkey: string | null
  arg: Uint8Array | null
  retried: boolean
}

/** job_status.status, in Qudo's words. */
export type FinalStatus = 'completed' | 'failed' | 'abort'

/** A row of `job_status`, written for functions whose worker asks for it (set_job_status). */
export interface StatusRow extends RowRef {
  /** Whose attempt it was; null: not known. */
  jobId: number | null
  funcId: number
  func: string
  arg: Uint8Array | null
  uniqkey: string | null
  status: FinalStatus
  jobStartTime: number
  jobEndTime: number
}

/**
 * How an attempt ended.
 * - completed: the row is deleted
 * - replaced: the row is deleted and the new jobs are enqueued in the same transaction; if one of them is refused,
 *   it counts as failed, with `retryIn`
 * - failed: an exception is logged; with `retryIn` (seconds) the row stays and costs a retry, with null it goes
 * - aborted: an exception is logged, the row goes whatever retries are left
 * - released: the row is as it was before the grab; nothing is logged
 * - died: the worker's process is gone without a word. Released, but counted; at the MAX_DEATHS-th time it has failed
 *   for good, with a message that tells how each of them died
 */
export type Outcome =
  | {kind: 'completed'}
  | {kind: 'replaced'; jobs: readonly NewJob[]; retryIn: number | null}
  | {kind: 'failed'; message: string; retryIn: number | null}
  | {kind: 'aborted'; reason: string}
  | {kind: 'released'}
  | {kind: 'died'; how: string}

/** After so many deaths of its worker a job is not tried again: it may be what kills them. */
export const MAX_DEATHS = 3

/** The exception of a job that is not tried again for its workers' deaths: how each of them died, the first one first. */
export function deathMessage(hows: readonly string[]): string {
  return `its worker died ${hows.length} times: ${hows.map((how, i) => `${i + 1}. ${how}`).join('; ')}`
}

/** The end of one attempt, to be written if the lease still holds. */
export interface Settlement {
  lease: Lease
  outcome: Outcome
  /** Given if the worker sets a job status: when the attempt began and ended. */
  span?: {start: number; end: number} | undefined
  /** Where and since when it ran, for jobq_attempt; as far as it is known. */
  ran?: Ran | undefined
}

/** Where an attempt ran. Its row in jobq_attempt is written with the one in exception_log or job_status, if there is one. */
export interface Ran {
  /** Unix seconds by the database's clock. */
  start: number
  host: string
  /** Of the process that ran it; null: it is not known. */
  pid: number | null
}

/** A row of jobq_attempt, and of what it belongs to. */
export interface AttemptRow {
  /** By id from the first on. */
  nth: number
  outcome: JobEnd['outcome'] | 'died'
  /** Did the job leave the queue by it? */
  isLast: boolean
  start: number | null
  end: number
  host: string | null
  pid: number | null
  /** Of exception_log; null: it has none. */
  exceptionId: number | null
  /** Why it failed; else empty. */
  message: string
  /** As what job its exception was retried; null: it was not. */
  retriedAs: number | null
}

/** All that is known of a job. One that has left the queue is known by its attempts, as long as these are kept. */
export interface JobHistory extends RowRef {
  /** null: it is not in the queue any more. */
  job: ListedJob | null
  func: string
  uniqkey: string | null
  arg: Uint8Array | null
  /** In the order in which they ended; of those that leave a row. */
  attempts: AttemptRow[]
}

/** How many jobs and exceptions a function has, and how old its oldest ready job is (seconds, null if none). */
export interface FuncCounts {
  func: string
  ready: number
  delayed: number
  running: number
  /** Jobs that were given up and not retried yet: by their exceptions. */
  failed: number
  /** Jobs that have failed and wait for their next try, or are at it. */
  retrying: number
  completed: number
  aborted: number
  oldestReadyAge: number | null
}

/** Run times and throughput from job_status, over the last hour. */
export interface FuncTimes {
  func: string
  /** Seconds, whole as Qudo stores them; null where nothing has finished. */
  median: number | null
  p95: number | null
  /** How many jobs took how many seconds, the shortest first: functions can be added up by it. */
  took: [seconds: number, jobs: number][]
  /** Jobs that ended in each of the last 60 minutes, the current one last. */
  perMinute: number[]
}

/** How a function's attempts have ended, over all that job_status holds; none of functions that keep no status. */
export interface FuncAttempts {
  func: string
  /** So many ended so, after so many whole seconds. */
  ended: {status: FinalStatus; seconds: number; attempts: number}[]
}

/** Run times of several functions, or databases, as those of one. */
export function addUp(parts: readonly FuncTimes['took'][]): FuncTimes['took'] {
  const jobs = new Map<number, number>()
  for (const [seconds, count] of parts.flat()) jobs.set(seconds, count + (jobs.get(seconds) ?? 0))
  return [...jobs].sort(([a], [b]) => a - b)
}

/** The nearest-rank quantile of values that are counted and sorted; null of none. */
export function quantile(counted: readonly [value: number, count: number][], q: number): number | null {
  const rank = q * counted.reduce((sum, [, count]) => sum + count, 0)
  let seen = 0
  for (const [value, count] of counted) {
    seen += count
    if (seen >= rank) return value
  }
  return null
}
