/** The job store: what a queue and a dispatcher need of a database, in Qudo's tables. Types only. */
import type {
  EnqueuedJob,
  ExceptionRow,
  FuncAttempts,
  FuncCounts,
  FuncTimes,
  JobEnd,
  JobHistory,
  JobRow,
  JobState,
  Lease,
  ListedJob,
  NewJob,
  RowRef,
  Settlement,
  StatusRow,
} from '../jobs/job.ts'

/**
 * Every method is one transaction (or a read without one). Drivers use the database's clock, never this process's; they
 * retry a lock that passes by themselves and throw a StoreError for what does not.
 */
export interface Store {
  /** The database as a message may name it: no password. */
  readonly name: string

  /** Where its tables really are: the same text by whatever address one comes there; none of what is in memory. */
  places(): Promise<string[]>

  /** Makes the schema, or adds jobq's index and tables to one that Qudo made. Safe to repeat. */
  init(): Promise<void>

  /**
   * Stores one job, durably: when this resolves, a power cut does not lose it.
   * @throws DuplicateJobError if (func, uniqkey) is waiting already
   */
  enqueue(job: NewJob): Promise<EnqueuedJob>

  /**
   * Stores all jobs of the iterable in one transaction, or none. Reads it once, in flat memory. No lock is held while
   * an asynchronous source is waited for, and the event loop is never kept for more than a few milliseconds.
   * @returns how many were stored
   * @throws DuplicateJobError, or whatever the iterable throws
   */
  enqueueMany(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<number>

  /**
   * Stores one job in the transaction that the caller has open on a connection of its own: a Database of better-sqlite3
   * (then at once, without a promise), a connection of mysql2 (with or without promises), a client of pg. What is
   * refused leaves that transaction as it was.
   * @throws TransactionError if it is no such connection, is connected to another database, or is in no transaction
   * @throws DuplicateJobError
   */
  enqueueWithin(connection: unknown, job: NewJob): EnqueuedJob | Promise<EnqueuedJob>

  /**
   * One turn of a dispatcher: writes what has ended, then takes the next jobs, in one transaction.
   * Jobs are taken strictly by priority, then by run_after, then by id.
   */
  turn(settlements: readonly Settlement[], want: Want): Promise<Turn>

  /** What a turn would take first, without taking it: to choose between several stores. */
  peek(want: Want): Promise<Peek>

  /** Extends the leases by `seconds` from now. @returns those that still hold, with their new end. */
  renew(leases: readonly Lease[], seconds: number): Promise<Lease[]>

  /** Those among these jobs, taken here, of which a worker has died before. */
  died(jobs: readonly RowRef[]): Promise<RowRef[]>

  /** From now on how these jobs end is kept (@see NewJob.tracked). @returns those that are in the queue */
  track(jobs: readonly RowRef[]): Promise<RowRef[]>
  /**
   * How those among these jobs that have ended did so; what is told is kept for TOLD_SECONDS more. A job that is in the
   * queue is not among them. `watch` calls back soon after there is something new.
   */
  ends(jobs: readonly RowRef[]): Promise<JobEnd[]>

  /** @param db which of several databases; a driver has only the one */
  find(id: number, db?: number): Promise<ListedJob | null>
  /** Whatever is known of that job, also when it has left the queue; null: nothing. */
  history(id: number, db?: number): Promise<JobHistory | null>
  /** Jobs as they would be worked: the running ones, the ready by priority, the delayed by their time. */
  list(page: JobPage): Promise<ListedJob[]>
  /** exception_log, newest first. */
  exceptions(page: ExceptionPage): Promise<ExceptionRow[]>
  /** job_status, newest first. */
  statuses(page: Page): Promise<StatusRow[]>
  /** How many rows of a log there are: of a function, with a uniqkey, or all. */
  logCount(table: LogTable, choice: Choice): Promise<number>

  /**
   * The same three row by row, in flat memory however many there are. Between two rows no transaction is open: the
   * reader may be slow, and may change what it reads. Rows that are added meanwhile to a log are not met.
   */
  eachJob(page: JobPage): AsyncGenerator<ListedJob>
  eachException(page: ExceptionPage): AsyncGenerator<ExceptionRow>
  eachStatus(page: Page): AsyncGenerator<StatusRow>

  /**
   * Enqueues a failed job again, under its uniqkey, and marks the exception retried. Qudo's
   * enqueue_from_failed_job: priority 0, no delay, unless told otherwise. The argument's bytes stay in the database.
   * @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, StillTriedError unless it is wanted `again`
   */
  retry(
    exceptionId: number,
    options: {priority: number; due: NewJob['due']; again?: boolean | undefined},
    db?: number,
  ): Promise<EnqueuedJob>

  /**
   * The job of this failed attempt, if it waits for its next try or is at it. exception_log does not say which job it was:
   * it is one of the same function and argument, without a uniqkey (with one the database refuses the second), that was
   * enqueued before the failure, is due after it, and has counted a retry. It is looked for among the first TRIED_ROWS.
   */
  nextTry(exceptionId: number, db?: number): Promise<number | null>

  /**
   * Deletes the rows of a log that are old, and what jobq keeps beside them, in transactions of a few milliseconds each.
   * Yields how many it were each time; where nothing is to be deleted, `dryRun`, how many it would be.
   */
  prune(table: LogTable, older: Older, dryRun: boolean): AsyncGenerator<number>

  /** Stops handing out jobs of these functions on every host, until resumed; `ALL_FUNCS` is the whole store. */
  pause(funcs: readonly string[]): Promise<void>
  /** @returns those that were paused */
  resume(funcs: readonly string[]): Promise<string[]>
  /** What is paused, by name; `ALL_FUNCS` among them if the whole store is. */
  paused(): Promise<string[]>

  /** The greatest id of a job if it is beyond MAX_ID, in its digits: such a job is never taken, nor listed. Null: none. */
  tooLargeId(): Promise<string | null>

  /** Every function that has a row in `func`, by name. */
  funcs(): Promise<string[]>
  /** Counts by function, by name; all functions, or the one. */
  counts(func?: string): Promise<FuncCounts[]>
  /** Run times by function, by name, for those that have a job_status in the last hour. */
  times(func?: string): Promise<FuncTimes[]>
  /** How attempts ended, by function, by name, for those that have any job_status. Reads all of their job_status. */
  attempts(func?: string): Promise<FuncAttempts[]>

  /**
   * Calls back soon after any process (this one included) may have changed the jobs: a job enqueued, released or
   * retried. May call back too often, never too seldom. Drivers without a push poll.
   */
  watch(onChange: () => void): Watch

  close(): Promise<void>
}

export interface Choice {
  func?: string | undefined
  uniqkey?: string | undefined
}

export interface Page extends Choice {
  limit: number
  offset: number
}

export interface JobPage extends Page {
  state?: JobState | undefined
  /** With their contexts, which are another table's. Default false. */
  contexts?: boolean | undefined
}

export interface ExceptionPage extends Page {
  /** Only those not retried yet. */
  unretried?: boolean | undefined
  /** Only those at or after this time, or of the last so many seconds. */
  since?: {at: number} | {ago: number} | undefined
  /** Only this one. */
  id?: number | undefined
  db?: number | undefined
  oldestFirst?: boolean | undefined
}

export type LogTable = 'exception_log' | 'job_status'

/** Rows of a log that are older than so many seconds, by the database's clock; of a function, if one is named. */
export interface Older {
  ago: number
  func?: string | undefined
}

/** What `jobq init` has done, or in a dry run would do. */
export interface Preparation {
  /** As a message may name it: no password. */
  database: string
  /** The tables and indexes, such as `table job`; empty if they were all there. */
  made: string[]
  /** Statements in order, without semicolons at their ends. */
  sql: string[]
}

/** What a dispatcher can take now. */
export interface Want {
  funcs: readonly string[]
  /** Functions whose jobs can't start this very moment, but soon: what is behind such a job waits with it. */
  held?: ReadonlySet<string>
  /** For some functions: at most so many leased at once, over all processes and hosts of this store. */
  maxRunning?: ReadonlyMap<string, number>
  /** Among functions of equal priority, take from the one served longest ago, instead of the job due longest. */
  fair?: boolean
  /** At most so many jobs; 0 only settles. */
  limit: number
  /** The lease, in seconds. */
  lease: number
}

export interface Turn {
  /** For each settlement, in order. */
  settled: SettleResult[]
  /** Jobs whose lease ran out once too often: they have failed for good. */
  buried: (RowRef & {func: string; uniqkey: string | null; priority: number; message: string})[]
  /** The jobs taken, in the order in which they are to be started. */
  jobs: JobRow[]
  /**
   * Where fewer jobs than wanted were ready: seconds until one of these functions' jobs may be due next
   * (a delay or a lease that ends), null if none waits.
   */
  nextDueIn: number | null
  /** Now, by the database's clock. */
  now: number
  /**
   * That clock has jumped ahead by so many seconds. For a while leases that ran out are left to those who may hold them,
   * and there may be more to take than was found.
   */
  jumped?: number
}

export interface Peek {
  /** The best job that is ready: its priority, and for how many seconds it has been due. */
  head: {priority: number; dueFor: number} | null
  /** As in Turn, for where there is none; 0 if a turn has something else to do, such as a lease that ran out. */
  nextDueIn: number | null
}

export interface SettleResult {
  /** It could not be written now (its database is out of reach): to be settled again, by a later turn. */
  isPending?: true
  /** With several databases: it, or another end in the same turn of its database, can't be written as it is. */
  isRefused?: true
  /** Was the lease still ours, and so the outcome written? */
  held: boolean
  /** Written as failed instead, and why: the jobs of a `replaced` were refused, or it was the last death. */
  failed?: string
}

export interface Watch {
  close(): void
}
