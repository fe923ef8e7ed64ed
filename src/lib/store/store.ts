/** The job store: what a queue and a dispatcher need of a database, in Qudo's tables. Types only. */

import type {
  AlikeJob,
  BatchState,
  CancelledJob,
  EnqueuedJob,
  ExpiredJob,
  FailedAfter,
  JobChanges,
  JobProgress,
  JobRow,
  JobState,
  Lease,
  ListedJob,
  NewJob,
  Postponement,
  Progress,
  RowRef,
  Settlement,
  StoredArg,
  StoredEnd,
  StoredResult,
  TagChoice,
} from '../jobs/job.ts'
import type {Beat, ManagerRow} from '../jobs/manager.ts'
import type {DeathRow, ExceptionRow, JobHistory, StatusRow} from '../jobs/rows/history.ts'
import type {KeyLimits, Shared, ShareRequest} from '../jobs/shares/limits.ts'
import type {Action, ActionRow} from '../jobs/side-tables/actions.ts'
import type {Followed, Order, Told, Written} from '../jobs/side-tables/orders.ts'
import type {ScheduleDefinition, ScheduleRow, Tick, Ticked} from '../jobs/side-tables/schedules.ts'
import type {FuncAttempts, FuncCounts, FuncTimes} from '../jobs/stats.ts'

/**
 * Every method is one transaction (or a read without one). Drivers use the database's clock, never this process's; they
 * retry a lock that passes by themselves and throw a StoreError for what does not.
 */
export interface Store {
  /** The database as a message may name it: no password. */
  readonly name: string
  /** Of several databases each by itself, in their order. Not there: it is one. */
  readonly databases?: readonly OneDatabase[]

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

  /** Writes when jobs that are held here are due once they are given back; of those that someone else has, nothing. */
  postpone(jobs: readonly Postponement[]): Promise<void>

  /**
   * Takes these very jobs, whatever is before them: those that are ready, and by nobody locked; `early`: those that nobody
   * holds, due or not, unless they wait for others; `parked`: those that are parked, too. Pauses and limits keep it from none.
   * @param seconds the lease
   */
  claim(jobs: readonly RowRef[], seconds: number, options?: ClaimOptions): Promise<Claimed>

  /**
   * Jobs of this one's function, and database, that are ready and may be alike: with a key, those whose uniqkey is that or
   * begins with it and a colon, at most so many, the most important first; without one, the first of its own priority. Of
   * ALIKE_ROWS at most, however many there are, and those whose argument has no more than ALIKE_BYTES. Takes none.
   */
  alike(job: JobRow, among?: {key: string; limit: number}): Promise<AlikeJob[]>

  /** Deaths of jobs that are tried again, the last ones first, as far as they are kept: a job that is gone may still have some. */
  deaths(): Promise<DeathRow[]>
  /** Those among these jobs, taken here, of which a worker has died before. */
  died(jobs: readonly RowRef[]): Promise<RowRef[]>

  /** From now on how these jobs end is kept (@see NewJob.tracked). @returns those that are in the queue */
  track(jobs: readonly RowRef[]): Promise<RowRef[]>
  /**
   * How those among these jobs that have ended did so; what is told is kept for TOLD_SECONDS more. A job that is in the
   * queue is not among them. `watch` calls back soon after there is something new.
   */
  ends(jobs: readonly RowRef[]): Promise<StoredEnd[]>
  /** What the worker of a job that has completed returned; null: none is kept, or its time is over. */
  result(id: number, db?: number): Promise<StoredResult | null>
  /**
   * How far jobs are that run, as they say themselves: `tellProgress` writes it, of those that are held by anyone, `forgetProgress`
   * takes it away, and `progress` has that of those of these jobs that have said something.
   */
  tellProgress(told: readonly (RowRef & Progress)[]): Promise<void>
  forgetProgress(jobs: readonly RowRef[]): Promise<void>
  progress(jobs: readonly RowRef[]): Promise<JobProgress[]>
  /** The job of a batch that runs when all others have ended, by its mark (NewJob.batch). Null: there is none. */
  batchMarked(mark: string): Promise<RowRef | null>
  /** How the jobs of a batch have ended so far, by the id of that one; null: it is none. */
  batch(id: number, db?: number): Promise<BatchState | null>
  /** Gives a job that is held here another argument. @returns whether it still was */
  setArg(lease: Lease, arg: StoredArg): Promise<boolean>
  /** Takes away results whose time is over, some of them. @returns whether there may be more */
  sweepResults(): Promise<boolean>

  /**
   * @param db which of several databases; a driver has only the one
   * @param extras as of a page. Default none
   */
  find(id: number, db?: number, extras?: Extras): Promise<ListedJob | null>
  /** Whatever is known of that job, also when it has left the queue; null: nothing. */
  history(id: number, db?: number): Promise<JobHistory | null>
  /** What an attempt has written, as far as it was kept: of this row of jobq_output. Null: it is not there any more. */
  output(id: number, db?: number): Promise<Uint8Array | null>
  /** Jobs as they would be worked: the running ones, the ready by priority, the delayed by their time. */
  list(page: JobPage): Promise<ListedJob[]>
  /** exception_log, newest first. */
  exceptions(page: ExceptionPage): Promise<ExceptionRow[]>
  /** job_status, newest first. */
  statuses(page: LogPage): Promise<StatusRow[]>
  /** How many rows of a log there are: of a function, with a uniqkey, or all. */
  logCount(table: LogTable, choice: Choice): Promise<number>

  /**
   * The same three row by row, in flat memory however many there are. Between two rows no transaction is open: the
   * reader may be slow, and may change what it reads. Rows that are added meanwhile to a log are not met.
   */
  eachJob(page: JobPage): AsyncGenerator<ListedJob>
  eachException(page: ExceptionPage): AsyncGenerator<ExceptionRow>
  eachStatus(page: LogPage): AsyncGenerator<StatusRow>
  /** The jobs that are in the queue when it begins, by id, or along a tag: none is passed over that changes its state. */
  eachId(choice?: IdChoice): AsyncGenerator<RowRef>

  /**
   * Enqueues a failed job again, under its uniqkey, and marks the exception retried. Qudo's
   * enqueue_from_failed_job: priority 0, no delay, unless told otherwise. The argument's bytes stay in the database.
   * A job that failed because one that it waited for did waits again for what has been retried of those, and for those that
   * are in the queue.
   * @throws NotFoundError, AlreadyRetriedError, DuplicateJobError, AfterFailedError where that one has failed again,
   * StillTriedError unless it is wanted `again`
   */
  retry(exceptionId: number, options: Retrying, db?: number): Promise<EnqueuedJob>

  /**
   * The exceptions, not retried yet, of jobs that failed because this one's job did, in the order of their jobs: `retry` of
   * them waits again for what they waited for. Not of those that wait for another failed one as well, which was not retried.
   */
  followers(exceptionId: number, db?: number): Promise<RowRef[]>

  /**
   * The job of this failed attempt, if it waits for its next try or is at it. exception_log does not say which job it was:
   * it is one of the same function and argument, without a uniqkey (with one the database refuses the second), that was
   * enqueued before the failure, is due after it, and has counted a retry. It is looked for among the first TRIED_ROWS.
   */
  nextTry(exceptionId: number, db?: number): Promise<number | null>

  /**
   * Cancels those of these jobs that are in the queue, and in this state: what waits leaves it, with all that jobq keeps
   * beside it, and who waits for it hears that it was aborted. For one that runs an order is written; it goes on until
   * whoever runs it has heard. Nothing is written where there is nothing new, so this can be called again and again.
   * @returns those that were there
   */
  cancel(jobs: readonly RowRef[], state?: JobState): Promise<CancelledJob[]>
  /**
   * Fails what waits for jobs that have failed, or were aborted or cancelled, a few at a time; `isMore`: there may be more.
   * Next to nothing where there are none. Whoever has ended a job so calls it until there are no more, and whoever works
   * now and then, since that one may have died.
   */
  failAfter(): Promise<{failed: FailedAfter[]; isMore: boolean}>
  /**
   * Looks for jobs that others wait for and that have left the queue without a word to them: a Perl worker or an older
   * jobq has ended them. How a Perl worker's job ended can't be told: it counts as completed.
   * @param from 0, or where the last look has come to. @returns where this one has; null: at the end
   */
  lookAfter(from: number): Promise<number | null>
  /**
   * Of jobs of a function with limits of what is scarce, which are taken but have not started: lets those start that there
   * is room for, and parks the others, so that nobody takes them. Of each key the most important ones start first: those
   * that were parked before may be called, then they can be taken. What was seen in its lane only is parked, if it has to
   * be. One at a time does so for a function, over all processes and hosts.
   */
  share(request: ShareRequest): Promise<Shared>
  /**
   * Some keys behind that spot at which `share` may have something to do, since someone who knew of it has died, or a job was
   * taken away.
   */
  sharedKeys(func: string, limits: KeyLimits, after: KeySpot): Promise<SharedKeys>
  /**
   * Puts back what is parked of these functions, which have no limits for keys any more, some of it. Next to nothing where
   * there is none. @returns whether there may be more
   */
  unshare(funcs: readonly string[]): Promise<boolean>
  /** What there is beside jobs that whoever works has to see to. Next to nothing to ask. */
  beside(): Promise<Beside>
  /**
   * Aborts jobs that have expired and have not begun, a few at a time; `isMore`: there may be more. What is running by then, or has
   * failed or died before, has begun.
   */
  expire(): Promise<{expired: ExpiredJob[]; isMore: boolean}>
  /** Takes away what is kept beside those of these jobs that are not there any more; tags, if no attempt of it is either. */
  forgetBeside(jobs: readonly RowRef[]): Promise<void>
  /** Tags of whatever jobs likewise, some at a time: a Perl worker has ended them, or an older jobq. @see lookAfter */
  sweepTags(from: number): Promise<number | null>
  /** All orders there are, of whatever jobs: next to nothing where there are none. `watch` rings soon after a new one. */
  orders(): Promise<Order[]>
  /** From now on these can't be taken back. @returns those that still were there */
  hear(orders: readonly Order[]): Promise<Order[]>
  /** Takes back those of these orders that nobody has heard. @returns them */
  withdraw(orders: readonly Order[]): Promise<Order[]>
  /** Deletes orders about these jobs, which have left the queue; not those of who follows them. */
  forgetOrders(jobs: readonly RowRef[]): Promise<void>
  /**
   * Orders that whoever runs this job tells what it writes: again, so that it holds for FOLLOWED_SECONDS more. `watch` rings
   * soon after, where nobody has heard it.
   * @param mine when the caller gave it last
   */
  follow(job: RowRef, mine?: number): Promise<Followed>
  /** Takes that back, unless someone else has given it since; what was told is deleted. */
  unfollow(job: RowRef, orderedAt: number): Promise<void>
  /** Takes back all such orders that don't hold any more. */
  forgetFollowed(): Promise<void>
  /** Writes down what jobs have written, where that is still ordered; of each the last FOLLOWED_ROWS stay. */
  tell(written: readonly Written[]): Promise<void>
  /** What was told of this job behind that spot. */
  told(job: RowRef, after: number): Promise<Told[]>
  /**
   * Changes a job that waits.
   * @returns the job as it is then; or why nothing was changed: it is not in the queue, or it runs
   * @throws DuplicateJobError, ArgumentError
   */
  edit(id: number, changes: JobChanges, db?: number): Promise<EnqueuedJob | 'gone' | 'running'>

  /**
   * Deletes the rows of a log that are old, and what jobq keeps beside them, and attempts that have left no such row but
   * their output: those that died with exception_log, those that were done with job_status. In transactions of a few milliseconds each.
   * Yields how many it were each time; where nothing is to be deleted, `dryRun`, how many it would be.
   * @param signal ends it between two of them, in a pause, too
   */
  prune(table: LogTable, older: Older, dryRun: boolean, signal?: AbortSignal): AsyncGenerator<number>

  /** Stops handing out jobs of these functions on every host, until resumed; `ALL_FUNCS` is the whole store. */
  pause(funcs: readonly string[]): Promise<void>
  /** @returns those that were paused */
  resume(funcs: readonly string[]): Promise<string[]>
  /** What is paused, by name; `ALL_FUNCS` among them if the whole store is. */
  paused(): Promise<string[]>

  /**
   * Keeps what a manager tells of itself, seen now: its row is made, made anew or renewed. Takes the rows away of those that
   * were not seen for FORGOTTEN_SECONDS.
   */
  beat(manager: Beat): Promise<void>
  /** It has ended: takes its row away. */
  leave(id: Beat['id']): Promise<void>
  /** Every manager that has a row, by its start. @param db of several databases, those that work this one */
  managers(db?: number): Promise<ManagerRow[]>

  /** What is kept of all schedules, by name, and when it is. */
  schedules(): Promise<Schedules>
  /**
   * From now on these schedules tick as they are defined here. One that is new, or was defined otherwise, begins now; so does
   * one that has passed ticks more than a day ahead, as it is after a clock was far wrong.
   */
  takeUp(schedules: readonly ScheduleDefinition[]): Promise<void>
  /**
   * Passes a tick, and enqueues its job in the same transaction: of one tick there is one job, whoever passes it, and
   * whatever dies meanwhile. None where the last one is in the queue (unless `overlap`), or another job has its uniqkey.
   * @param job null: the tick is passed without one
   * @throws DuplicateJobError only for what is enqueued by hand
   */
  tick(tick: Tick, job: NewJob | null): Promise<Ticked>

  /** Keeps an action that is about to begin, of no jobs so far. @returns its row */
  logAction(action: Action): Promise<RowRef>
  /** It has been done to so many jobs. */
  countAction(action: RowRef, jobs: number): Promise<void>
  /** The actions that are kept, newest first. */
  actions(page: ActionPage): Promise<ActionRow[]>

  /**
   * How its servers are set up so that jobs may be lost, run twice or be held up when one of them dies: a clause for each.
   * @param always false: only where the address has several hosts, for who counts on them; without them it costs nothing
   */
  warnings(always: boolean): Promise<string[]>

  /** The greatest id of a job if it is beyond MAX_ID, in its digits: such a job is never taken, nor listed. Null: none. */
  tooLargeId(): Promise<string | null>

  /** Every function that has a row in `func`, by name. */
  /** @param isWhole of several databases: fail where one is out of reach. Default false */
  funcs(isWhole?: boolean): Promise<string[]>
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

/** A database by itself, be it one of several, for what goes by its own clock and keys. */
export interface OneDatabase
  extends Pick<Store, 'name' | 'schedules' | 'deaths' | 'eachException' | 'eachStatus' | 'enqueue'> {
  /** As RowRef's. */
  readonly db?: number
}

export interface Beside {
  hasTags: boolean
  /** Seconds until the first job expires, if it has not begun by then; null: none does. */
  expiryIn: number | null
  /** There are results whose time is over. */
  hasOldResults: boolean
}

export interface IdChoice {
  func?: string | undefined
  /** Those that have all of them. Default all. */
  tags?: readonly TagChoice[] | undefined
}

export interface Choice extends IdChoice {
  uniqkey?: string | undefined
}

export interface Page extends Choice {
  limit: number
  offset: number
  /** With their tags, which are another table's; without, they have none. Default false. */
  details?: boolean | undefined
}

/** Of a log. */
export interface LogPage extends Page {
  /** Only what comes behind these: of each database the last row that was listed, of those of which one was. */
  after?: readonly RowRef[] | undefined
}

/** Of the log of actions. */
export type ActionPage = Pick<LogPage, 'limit' | 'after'>

/** The job that a retry makes; its function, argument, key and tags are those of before. */
export interface Retrying extends Pick<NewJob, 'priority' | 'due' | 'context' | 'tracked'> {
  /** Also where the failed one still waits for its next try. */
  again?: boolean | undefined
}

/** What else is read of jobs. */
export interface Extras extends Pick<Page, 'details'> {
  /** With what other tables keep of them: contexts, and what those wait for that are parked. Default false. */
  contexts?: boolean | undefined
}

export interface JobPage extends Page, Extras {
  state?: JobState | undefined
  /** Only what comes behind this spot: a page costs the same however deep it is. */
  after?: JobSpot | undefined
}

/** A job as listings are in order by it: any that was listed says where to go on. */
export type JobSpot = Pick<ListedJob, 'id' | 'db' | 'state' | 'priority' | 'runAfter'>

export interface ExceptionPage extends LogPage {
  /** Only those not retried yet, and not cancelled. */
  unretried?: boolean | undefined
  /** Only those at or after this time, or of the last so many seconds. */
  since?: {at: number} | {ago: number} | undefined
  /** Only this one. */
  id?: number | undefined
  db?: number | undefined
  oldestFirst?: boolean | undefined
  /** Without arguments, and of messages the first HEAD_BYTES at most. */
  heads?: boolean | undefined
}

export type LogTable = 'exception_log' | 'job_status'

/** Rows of a log that are older than so many seconds, by the database's clock; of a function, if one is named. */
export interface Older {
  ago: number
  func?: string | undefined
}

export interface Schedules {
  /** By the database's clock. */
  now: number
  rows: ScheduleRow[]
}

/** What `jobq init` has done, or in a dry run would do. */
export interface Preparation {
  /** As a message may name it: no password. */
  database: string
  /** The tables and indexes, such as `table job`; empty if they were all there. */
  made: string[]
  /** Statements in order, without semicolons at their ends. */
  sql: string[]
  /** How its servers are set up so that jobs may be lost, run twice or be held up when one of them dies. */
  warnings: string[]
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

export interface Claimed {
  /** In any order. */
  jobs: JobRow[]
  /** Now, by the database's clock. */
  now: number
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

export interface ClaimOptions {
  early?: boolean
  parked?: boolean
}

/** Where the look for keys goes on. Before all of them: an empty key, and no database. */
export interface KeySpot {
  db?: number
  key: string
}

export interface SharedKeys {
  keys: string[]
  /** The database that they are in. */
  db?: number
  /** null: there are no more. */
  next: KeySpot | null
}

export interface Watch {
  close(): void
}
