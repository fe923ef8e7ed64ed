/** What is known of a job and its attempts, from the rows that these have left. */
import type {BatchState, JobEnd, ListedJob, Parked, RowRef, Tags} from '../job.ts'

/**
 * What has become of the job of a failed attempt, as far as jobq_attempt knows it.
 * - retried: it was enqueued again
 * - cancelled: someone has cancelled it while this attempt ran; no failure, and not retried unless it is named
 * - retrying: it waits for its next try, or is at it
 * - earlier: it has left the queue by a later attempt
 * - failed: it was given up with this one; also where nothing is known: Perl's and older jobqs' attempts
 */
export type ExceptionState = 'retried' | 'cancelled' | 'retrying' | 'earlier' | 'failed'

/** A row of `exception_log`: one for every failed attempt. */
export interface ExceptionRow extends RowRef {
  /** Whose attempt it was; null: not known. */
  jobId: number | null
  /** That job's, as long as an attempt of it is kept. */
  tags: Tags
  state: ExceptionState
  funcId: number
  func: string
  exceptionTime: number
  message: string
  uniqkey: string | null
  arg: Uint8Array | null
  retried: boolean
}

/** Of what is kept of deaths, the last ones are read. */
export const MOST_DEATHS = 1000

/** A death: the process that a job ran in, or its machine, was gone before it ended. */
export interface DeathRow extends RowRef {
  jobId: number
  func: string
  uniqkey: string | null
  how: string
  /** Unix seconds. */
  diedAt: number
}

/** So much of a message, its head, says what kind of failure it was. */
export const HEAD_BYTES = 400

/** job_status.status, in Qudo's words. */
export type FinalStatus = 'completed' | 'failed' | 'abort'

/** A row of `job_status`, written for functions whose worker asks for it (set_job_status). */
export interface StatusRow extends RowRef {
  /** Whose attempt it was; null: not known. */
  jobId: number | null
  /** That job's, as long as an attempt of it is kept. */
  tags: Tags
  funcId: number
  func: string
  arg: Uint8Array | null
  uniqkey: string | null
  status: FinalStatus
  jobStartTime: number
  jobEndTime: number
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
  /** What it has written, as far as it was kept; null: nothing. */
  output: OutputRow | null
}

/** A row of jobq_output, without what is in it. */
export interface OutputRow {
  id: number
  bytes: number
  /** There was more before. */
  isCut: boolean
}

/** All that is known of a job. One that has left the queue is known by its attempts, as long as these are kept. */
export interface JobHistory extends RowRef {
  /** null: it is not in the queue any more. */
  job: ListedJob | null
  func: string
  uniqkey: string | null
  arg: Uint8Array | null
  tags: Tags
  /** In the order in which they ended; of those that leave a row. */
  attempts: AttemptRow[]
  /** What it still waits for, by id. */
  after: WaitedFor[]
  /** What it waits for by its function's limits; null: nothing. */
  parked: Parked | null
}

/** A job that another one waits for. */
export interface WaitedFor extends RowRef {
  /** However it ends. */
  anyEnd: boolean
}

/** Where a job runs, as its manager has told it, every few seconds. */
export interface JobRun {
  host: string
  pid: number | null
  /** Unix seconds, by the database's clock. */
  start: number
}

/** All that is known of a job. */
export interface ShownJob extends JobHistory {
  /** null: it does not run, or its manager has not told it yet, or never does: a Perl worker. */
  run: JobRun | null
  /**
   * How many jobs of its function can be worked at once, by those that the database has seen within a minute; null: it runs, or has
   * left, or that is not known.
   */
  workers: number | null
  /** No dispatcher takes it until it is resumed: its function is paused, or all are. False where pauses can't be read. */
  paused: boolean
  /** Of one that has completed: what its worker returned, as long as that is kept. */
  result?: KeptResult
  /** Of one in the queue that runs when all jobs of a batch have ended: how these have ended so far. */
  batch?: BatchState
}

/** What a worker has returned. */
export interface KeptResult {
  value: unknown
  /** The same as it is kept. */
  json: string
  /** Unix seconds, by the database's clock: it is forgotten then. */
  keptUntil: number
}
