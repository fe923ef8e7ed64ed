/**
 * A job and what becomes of it: the rows of Qudo's four tables as types. Columns keep Qudo's names in SQL and in JSON
 * output (render/listing.ts). All times are whole Unix seconds by the *database's* clock, all durations whole seconds.
 */

/** The longest function name and uniqkey, in characters: VARCHAR(255) in all of Qudo's schemas. */
export const MAX_NAME_LENGTH = 255
/** INTEGER UNSIGNED, the type of every time, count and priority in Qudo's MySQL schema. */
export const MAX_UINT32 = 4_294_967_295

/** The last time at which a job can be due: the column's own last one is the mark of those that wait for others. */
export const LAST_DUE = MAX_UINT32 - 1
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

/** @param paused as Store.paused: names of functions, ALL_FUNCS among them for all */
export function isPausedIn(paused: readonly string[], func: string): boolean {
  return paused.includes(ALL_FUNCS) || paused.includes(func)
}

/** How much of what an attempt writes is kept: so many bytes, its end, if it fails (0: nothing); or of every attempt. */
export type KeepOutput = number | 'all'
/** The most bytes that are kept of an attempt. */
export const MAX_OUTPUT_BYTES = 1 << 20
/** Where nobody says otherwise. */
export const KEPT_OUTPUT_BYTES = 16 << 10

/** An argument as it is stored: text as TEXT (so that it reads well in a shell), bytes as a BLOB. */
export type StoredArg = string | Uint8Array | null

/** What a row goes by: with several databases its id alone does not say where it is. */
export interface RowRef {
  id: number
  /** Which of several databases it is in, the first being 1; not there where there is only one. */
  db?: number
}

/** Of a row, or of what tells of one, only what it goes by. */
export function rowRef({id, db}: {id: number; db?: number | undefined}): RowRef {
  return db === undefined ? {id} : {id, db}
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
  /** Not before these have ended; `due` holds besides. In jobq_after. */
  after?: readonly After[] | undefined
  /** What it is chosen by. In jobq_tag. */
  tags?: readonly Tag[] | undefined
  /** So many seconds after it was enqueued its key stays taken, though the job may have ended. In jobq_key. */
  uniqFor?: number | undefined
  /** It goes on with a job that was enqueued before: a key that stays taken does not refuse it. */
  isContinuation?: boolean | undefined
  /** It runs when those that it waits for have ended, and is told how: a text by which it is found. In jobq_batch. */
  batch?: string | undefined
  /** If it has not begun so many seconds after it was enqueued, it leaves as aborted, `expired`. In jobq_expiry. */
  expires?: number | undefined
  /**
   * Names this very enqueue: what was stored under it within TOKEN_SECONDS is not stored again, but told once more. In
   * jobq_token. Of a job that is enqueued by itself.
   */
  token?: string | undefined
}

/** Each name is there once. */
export type Tag = readonly [name: string, value: string]

/** Jobs that have a tag of this name, with this value or any (null). */
export interface TagChoice {
  name: string
  value: string | null
}

/** The same as an application says it: `{customer: '42', nightly: true}`, true being any value. */
export type TagOptions = Readonly<Record<string, string | true>>

/**
 * What a job waits for: a job that is in the queue, or the nth of the same enqueueMany, the first being 1, if that comes
 * before it: so none can wait in a circle. It must complete, or one that waits for it fails; `anyEnd`: it must end.
 */
export type After = (RowRef | {nth: number}) & {anyEnd?: boolean | undefined}

/** What an enqueue wrote. */
export interface EnqueuedJob<Func extends string = string> extends RowRef {
  func: Func
  uniqkey: string | null
  priority: number
  runAfter: number
  /** It was there already, under this uniqkey, and is now as was asked for: nothing was enqueued. */
  isReplaced?: true
}

/**
 * What the clock makes of a row: `running` is leased into the future, `delayed` is not due yet, `waiting` will not be
 * before other jobs have ended, or its function's limits let it start: its run_after is the last time that its column holds.
 */
export type JobState = 'ready' | 'delayed' | 'waiting' | 'running'
export const JOB_STATES: readonly JobState[] = ['ready', 'delayed', 'waiting', 'running']

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

/** How long the token of an enqueue is known. */
export const TOKEN_SECONDS = 3600

/** How long an end is kept that nobody asks for; and one that someone has asked for, since others may wait for it, too. */
export const KEPT_SECONDS = 86_400
export const TOLD_SECONDS = 60

/** How a job that someone waits for has left the queue. `gone`: it is not there, and who took it away did not say. */
export interface JobEnd<Result = unknown> extends RowRef {
  outcome: 'completed' | 'replaced' | 'failed' | 'aborted' | 'gone'
  /** Why it failed or was aborted; else empty. */
  message: string
  /** What its worker returned, where that was kept: null for nothing. Not there: none was kept, or its time is over. */
  result?: Result
}

/** The same as a store has it. */
export interface StoredEnd extends Omit<JobEnd, 'result'> {
  /** Its result, as JSON. Not there: none is kept. */
  json?: string
}

/** A result as it is kept. */
export interface StoredResult {
  func: string
  json: string
  /** Unix seconds, by the database's clock. */
  keptUntil: number
}

/** Why a job was aborted that someone has cancelled: for who waits for it, and in exception_log. */
export const CANCELLED = 'cancelled'

/**
 * The bits of exception_log.retried. Qudo has 0 and 1; jobq sets the other one where someone has cancelled the job, or one that it
 * waited for: that is no failure which waits to be retried. Perl and older jobqs take it for retried, and leave it.
 */
export const RETRIED = 1
export const WAS_CANCELLED = 2

/** Why a job was aborted that had not begun in time. */
export const EXPIRED = 'expired'

/** A job that was in the queue when it was cancelled. */
export interface CancelledJob extends RowRef {
  func: string
  uniqkey: string | null
  /** As it was: what waited is gone. */
  state: JobState
  /** Of one that runs: whoever runs it has heard of it. */
  isHeard: boolean
}

/** What becomes of a job that waits; what is not there stays as it is. */
export interface JobChanges extends Pick<NewJob, 'context' | 'tracked' | 'tags'> {
  priority?: number
  due?: NewJob['due']
  arg?: StoredArg
  uniqkey?: string | null
  /** null: never. */
  expires?: number | null
  /** Only if it has this key, then; else it is taken for gone. */
  ifUniqkey?: string
}

/** A job as it is handed to who runs it. */
export interface TakenJob extends JobRow {
  /** Those that the same run is for. Not there: none. */
  others?: readonly JobRow[]
}

/** A row of `job` with what the clock makes of it. */
export interface ListedJob extends JobRow {
  state: JobState
  /** Of one that waits for what its key shares, where that was asked for. */
  parked?: Parked | undefined
  tags: Tags
  /** It leaves the queue then, if it has not begun; null: never. */
  expiresAt: number | null
  /** Of one that runs: how far it is, if it has said so. */
  progress?: Progress
}

/** How far a job is, as it says itself while it runs. In jobq_progress. */
export interface Progress {
  /** From 0 to 1. */
  fraction: number
  /** '' for none. */
  text: string
}

/** As a store has it. */
export interface JobProgress extends RowRef, Progress {
  /** When it was told, in Unix seconds by the database's clock. */
  toldAt: number
}

/** How the jobs of a batch have ended, as the argument of its `then` has it, in `batch`. */
export interface BatchCounts {
  jobs: number
  /** Those that were replaced, too, and those that ended nobody knows how: a Perl worker's. */
  completed: number
  /** For good. */
  failed: number
  /** Those that were cancelled or expired, too. */
  aborted: number
}

/** As long as it has not ended: of one that is to run when all others have. */
export interface BatchState extends BatchCounts {
  /** In the queue. */
  left: number
}

/** Tags as they are shown, by name. */
export type Tags = Readonly<Record<string, string>>

/**
 * The right to work a job and to settle it: it holds while the row still says this grabbedUntil.
 * Who has lost it (a Perl worker or another jobq took the job) changes nothing any more.
 */
export interface Lease extends RowRef {
  grabbedUntil: number
}

/**
 * How an attempt ended.
 * - completed: the row is deleted; `result`: what the worker returned, as JSON, where someone keeps that
 * - replaced: the row is deleted and the new jobs are enqueued in the same transaction; if one of them is refused,
 *   it counts as failed, with `retryIn`
 * - failed: an exception is logged; with `retryIn` (seconds) the row stays and costs a retry, with null it goes
 * - aborted: an exception is logged, the row goes whatever retries are left
 * - released: the row is as it was before the grab; nothing is logged
 * - died: the worker's process is gone without a word. Released, but counted; at the MAX_DEATHS-th time it has failed
 *   for good, with a message that tells how each of them died
 */
export type Outcome =
  | {kind: 'completed'; result?: string}
  | {kind: 'replaced'; jobs: readonly NewJob[]; retryIn: number | null}
  | {kind: 'failed'; message: string; retryIn: number | null}
  | {kind: 'aborted'; reason: string}
  | {kind: 'released'}
  | {kind: 'died'; how: string}

/**
 * How a run ended, as who runs it tells: an outcome, or that the job is not for now. What is declined is written as released,
 * and is due so many seconds later (Store.postpone).
 */
export type RunOutcome = Outcome | {kind: 'declined'; delay: number}

/** After so many deaths of its worker a job is not tried again: it may be what kills them. */
export const MAX_DEATHS = 3

/** The exception of a job that is not tried again for its workers' deaths: how each of them died, the first one first. */
export function deathMessage(hows: readonly string[]): string {
  return `its worker died ${hows.length} times: ${hows.map((how, i) => `${i + 1}. ${how}`).join('; ')}`
}

/** So many jobs are worked together with another one at most. */
export const MAX_OTHERS = 1000
/** So many rows are looked at for jobs that are alike (Store.alike), and no argument that is longer. */
export const ALIKE_ROWS = 1000
export const ALIKE_BYTES = 16 << 10

/** A job that may be worked together with another one. */
export interface AlikeJob extends RowRef {
  arg: Uint8Array | null
}

/** When a job that is held here is due once it has been given back: so many seconds from now. */
export interface Postponement {
  lease: Lease
  seconds: number
}

/** The end of one attempt, to be written if the lease still holds. */
export interface Settlement {
  lease: Lease
  outcome: Outcome
  /** Given if the worker sets a job status: when the attempt began and ended. */
  span?: {start: number; end: number} | undefined
  /** Where and since when it ran, for jobq_attempt; as far as it is known. */
  ran?: Ran | undefined
  /** What it has written, as far as it is to be kept. */
  output?: Output | undefined
  /** Of a job that has completed, if it is to be kept: JSON, and for how many seconds. */
  result?: {json: string; seconds: number} | undefined
  /** It is aborted since someone has cancelled it. Default false. */
  isCancelled?: boolean | undefined
}

/** What an attempt has written to stdout and stderr, or its end. It leaves a row in jobq_attempt, too. */
export interface Output {
  bytes: Uint8Array
  /** There was more before. */
  isCut: boolean
  /** Keep it however the attempt ends; else only if that fails, is aborted or dies. */
  isOfAny: boolean
}

/** What is kept of an attempt that ends so. */
export function keptOutput(output: Output | undefined, kind: Outcome['kind']): Output | undefined {
  if (output === undefined || kind === 'released') return undefined
  return output.isOfAny || (kind !== 'completed' && kind !== 'replaced') ? output : undefined
}

/** Where an attempt ran. Its row in jobq_attempt is written with the one in exception_log or job_status, or with its output, if there is one. */
interface Ran {
  /** Unix seconds by the database's clock. */
  start: number
  host: string
  /** Of the process that ran it; null: it is not known. */
  pid: number | null
}

/** Why a job does not start though it is due: others of its key run, or have started just now. */
export type WaitsFor = 'place' | 'rate'

/** What a job waits for that is due, but may not start: the limits of its function say so, for its key. */
export interface Parked {
  key: string
  /** `place`: until fewer jobs of the key run. `rate`: until fewer have started just now. */
  waitsFor: WaitsFor
  /** Its own, which its row has again when it may start. */
  runAfter: number
}

/** A job that has failed since one that it waited for did not complete. */
export interface FailedAfter extends RowRef {
  func: string
  uniqkey: string | null
  priority: number
  message: string
}

/** A job that has left the queue since it had not begun in time. */
export type ExpiredJob = Omit<FailedAfter, 'message'>
