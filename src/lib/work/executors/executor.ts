/**
 * What the dispatcher knows of those who run jobs, the executors. One owns no database connection: it is handed a job
 * and says how it ended, once.
 */
import {type RetryDelay, retryDelaySeconds} from '../../jobs/backoff.ts'
import type {StopReason} from '../../jobs/errors.ts'
import type {Progress} from '../../jobs/job.ts'
import {type JobRow, MAX_UINT32, type RunOutcome, type TakenJob} from '../../jobs/job.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import type {ShareLimits} from '../../jobs/shares/limits.ts'
import type {Want} from '../../store/store.ts'
import type {RunOutput} from './run-output.ts'

/** All whom a dispatcher hands jobs to, as one: those of `jobq work`, or an application's own workers. */
export interface Executors {
  /**
   * What may be grabbed now.
   * @param ahead so many jobs more than can start, to wait here until they can
   */
  room(ahead: number): Room
  /** @param job one of it that waits here; else any */
  prospect(func: string, job?: JobRow): Prospect
  /** The functions there are workers for. */
  readonly handled: readonly string[]
  /** Of those with limits of what is scarce; another map when they have changed. */
  readonly shares: ReadonlyMap<string, ShareLimits>
  /** Functions whose jobs are worked together with others; mostly there are none. */
  readonly coalesced: ReadonlyMap<string, Coalescing>
  /**
   * @param since now, by monotonic()
   * @param onEnd called once, and never before this returns
   * @param onProgress called before that, as often as the job says how far it is
   */
  start(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run
  /**
   * May a job start in the same round of the event loop in which one has ended? Not where the last that one printed is
   * still to be read.
   */
  readonly isPrompt: boolean
  /** Why nothing can be worked at the moment. */
  readonly failure: Error | null
}

/** With which jobs one of a function is worked. */
export interface Coalescing {
  /** With so many at most. */
  most: number
  /** The member of the argument that they have in common; null: it is the uniqkey up to its first colon. */
  by: string | null
  serializer: SerializerName
}

/** Could a job of a function start now, soon (when what runs has ended, or what starts is ready), or not at all? */
export type Prospect = 'now' | 'soon' | 'none'

/** What is wanted of the store. Held are those that no child is idle for, but one is starting. */
export interface Room extends Omit<Want, 'lease' | 'fair'> {
  /** Are these all the functions there are, or is some executor full? */
  isWhole: boolean
}

/** How a run ended, as far as its executor can tell. */
export type Ended =
  /** The worker's own word. */
  | {kind: 'finished'; outcome: RunOutcome}
  /** Its process is gone without one: how, in words ("its process was killed by SIGKILL"). */
  | {kind: 'died'; how: string}
  /** Its process was ended, through no fault of its own: it is not to blame, and runs again. */
  | {kind: 'evicted'; how: string}
  /** The machine had no room for its process: it has not run, and is not to blame. */
  | {kind: 'unstarted'}
  /** It was told to stop and did not; nothing can end it but the end of this process. It is waited for no longer. */
  | {kind: 'abandoned'}

/** A job that is being run. */
export interface Run {
  readonly settings: RunSettings
  /** The process that runs it; null: none could be started. */
  readonly pid: number | null
  /** What it has written; not there: nothing is heard of it. */
  readonly output?: RunOutput | undefined
  /** Tells the job to stop (TERM to its processes), and kills them if it does not within STOP_GRACE_MS. */
  stop(why: StopReason): void
}

/** What the dispatcher must know of a worker: durations in seconds. */
export interface RunSettings {
  grabFor: number
  setJobStatus: boolean
  /** For so long results are kept of jobs that do not ask for it themselves; 0: not at all. */
  keepResult: number
  /**
   * When this job is due again if it fails now; null if no retries are left.
   * @param nth of those that are worked with it: that one
   */
  retryIn(nth?: number): number | null
}

/** A place for a job in a worker's process, as the scoreboard shows it. */
export interface WorkerView {
  state: 'starting' | 'idle' | 'busy'
  pid: number
  job: JobRow | null
  /** When the job was started, by monotonic(). */
  since: number | null
  /** By its process. */
  jobsDone: number
}

/** One kind of executor among several. */
export interface Executor {
  /** The functions it could start a job of right now. */
  readonly funcs: readonly string[]
  /** Of those that are limited: at most so many at once, over all processes and hosts of the store. */
  readonly maxRunning: ReadonlyMap<string, number>
  /** Of those with limits of what is scarce; another map when they have changed. */
  readonly shares: ReadonlyMap<string, ShareLimits>
  readonly coalesced: ReadonlyMap<string, Coalescing>
  readonly workers: readonly WorkerView[]
  /** As far as it is concerned: others may have taken the places that there are. */
  prospect(func: string, job?: JobRow): Prospect
  /** Resolves when it can take jobs. @throws WorkerError if a worker can't be loaded */
  ready(): Promise<void>
  start: Executors['start']
}

/** How long a job that was told to stop may take before its processes are killed. */
export const STOP_GRACE_MS = 1000
/** Qudo's defaults. */
export const DEFAULT_GRAB_FOR = 3600
/** The end of a failed process's stderr that goes into exception_log. */
export const STDERR_TAIL_BYTES = 4096

/** @param workers a `maxRunning` of 0: as many as there is room for. @returns those that are limited */
export function limited(workers: readonly {func: string; maxRunning: number}[]): ReadonlyMap<string, number> {
  return new Map(workers.flatMap(({func, maxRunning}) => (maxRunning > 0 ? [[func, maxRunning]] : [])))
}

/** The same of what is scarce: null is no limit. @param last what it was; it stays so where nothing has changed */
export function sharing(
  workers: readonly {func: string; shares: ShareLimits | null}[],
  last: ReadonlyMap<string, ShareLimits> = NOTHING_SHARED,
): ReadonlyMap<string, ShareLimits> {
  const shares = new Map(workers.flatMap(({func, shares}) => (shares ? [[func, shares]] : [])))
  return JSON.stringify([...shares]) === JSON.stringify([...last]) ? last : shares
}

export const NOTHING_SHARED: ReadonlyMap<string, ShareLimits> = new Map()
export function coalescing(
  workers: readonly {func: string; coalesce: number; coalesceBy: string | null; serializer: SerializerName}[],
): ReadonlyMap<string, Coalescing> {
  return new Map(
    workers.flatMap(({func, coalesce: most, coalesceBy: by, serializer}) =>
      most > 0 ? [[func, {most, by, serializer}]] : [],
    ),
  )
}

/** Of two executors; mostly neither has any. */
export function joinedMaps<Value>(
  some: ReadonlyMap<string, Value>,
  more: ReadonlyMap<string, Value>,
): ReadonlyMap<string, Value> {
  if (more.size === 0) return some
  return some.size === 0 ? more : new Map([...some, ...more])
}

/** @returns seconds until the next attempt, null if none is left */
export function retryIn(maxRetries: number, retryCnt: number, delay: RetryDelay): number | null {
  if (retryCnt >= maxRetries) return null
  return Math.min(Math.max(0, Math.ceil(retryDelaySeconds(delay, retryCnt))), MAX_UINT32)
}

/** How a process ended, in words, for an exception's message. */
export function describeExit(code: number | null, signal: string | null): string {
  if (signal) return `was killed by ${signal}`
  return `exited with status ${code}`
}
