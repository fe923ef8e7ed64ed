/**
 * What the dispatcher knows of those who run jobs, the executors. One owns no database connection: it is handed a job
 * and says how it ended, once.
 */
import {type JobRow, MAX_UINT32, type Outcome} from '../../jobs/job.ts'
import type {Want} from '../../store/store.ts'

/** All whom a dispatcher hands jobs to, as one: those of `jobq work`, or an application's own workers. */
export interface Executors {
  /**
   * What may be grabbed now.
   * @param ahead so many jobs more than can start, to wait here until they can
   */
  room(ahead: number): Room
  prospect(func: string): Prospect
  /**
   * @param since now, by monotonic()
   * @param onEnd called once, and never before this returns
   */
  start(job: JobRow, since: number, onEnd: (ended: Ended) => void): Run
  /**
   * May a job start in the same round of the event loop in which one has ended? Not where the last that one printed is
   * still to be read.
   */
  readonly isPrompt: boolean
  /** Why nothing can be worked at the moment. */
  readonly failure: Error | null
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
  | {kind: 'finished'; outcome: Outcome}
  /** Its process is gone without one: how, in words ("its process was killed by SIGKILL"). */
  | {kind: 'died'; how: string}
  /** The machine had no room for its process: it has not run, and is not to blame. */
  | {kind: 'unstarted'}
  /** It was told to stop and did not; nothing can end it but the end of this process. It is waited for no longer. */
  | {kind: 'abandoned'}

/** A job that is being run. */
export interface Run {
  readonly settings: RunSettings
  /** The process that runs it; null: none could be started. */
  readonly pid: number | null
  /** Tells the job to stop (TERM to its processes), and kills them if it does not within STOP_GRACE_MS. */
  stop(): void
}

/** What the dispatcher must know of a worker: durations in seconds. */
export interface RunSettings {
  grabFor: number
  setJobStatus: boolean
  /** When this job is due again if it fails now; null if no retries are left. */
  retryIn(): number | null
}

/** A worker's process as the scoreboard shows it. */
export interface WorkerView {
  state: 'starting' | 'idle' | 'busy' | 'ending'
  pid: number
  job: JobRow | null
  /** When the job was started, by monotonic(). */
  since: number | null
  jobsDone: number
}

/** One kind of executor among several. */
export interface Executor {
  /** The functions it could start a job of right now. */
  readonly funcs: readonly string[]
  /** Of those that are limited: at most so many at once, over all processes and hosts of the store. */
  readonly maxRunning: ReadonlyMap<string, number>
  readonly workers: readonly WorkerView[]
  /** As far as it is concerned: others may have taken the places that there are. */
  prospect(func: string): Prospect
  /** Resolves when it can take jobs. @throws WorkerError if a worker can't be loaded */
  ready(): Promise<void>
  start(job: JobRow, since: number, onEnd: (ended: Ended) => void): Run
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

/** @returns seconds until the next attempt, null if none is left */
export function retryIn(maxRetries: number, retryCnt: number, delay: number): number | null {
  return retryCnt < maxRetries ? Math.min(Math.max(0, Math.ceil(delay)), MAX_UINT32) : null
}

/** How a process ended, in words, for an exception's message. */
export function describeExit(code: number | null, signal: string | null): string {
  if (signal) return `was killed by ${signal}`
  return `exited with status ${code}`
}
