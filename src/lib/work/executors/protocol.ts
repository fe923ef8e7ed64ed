/**
 * What the pool and its children say to each other, as JSON: bytes travel as text where they are UTF-8, else as base64.
 *
 * What is said of a run has its number: were it taken for another's, that job would end as one it knows nothing of.
 */
import {isUtf8} from 'node:buffer'
import type {FuncSettings} from '../../config/schema.ts'
import type {RetryDelay} from '../../jobs/backoff.ts'
import type {StopReason} from '../../jobs/errors.ts'
import type {JobRow, NewJob, Progress, RunOutcome, TakenJob} from '../../jobs/job.ts'
import {withMessageCut} from '../messages.ts'
import type {WorkerDefaults, WorkerSettings} from './ready-worker.ts'
import type {Stream} from './run-output.ts'

export type ToChild =
  /** First of all. */
  | ({kind: 'load'} & ToLoad)
  | {kind: 'run'; run: number; job: WireJob}
  /** That job is to stop: its signal aborts. */
  | {kind: 'stop'; run: number; why: StopReason}
  /** Said to a child with plugins: they are to be stopped, then it ends. Others are killed. */
  | {kind: 'end'}

/** What a child is to have loaded before its first job. */
export interface ToLoad {
  workers: {func: string; file: string; settings: FuncSettings}[]
  defaults: WorkerDefaults
  /** The configuration file, if it has hooks for workers, or plugins. */
  extensions: string | null
  /** Tell its memory after each job? */
  measure: boolean
  /** So many jobs may be handed to it at once. */
  jobsPerChild: number
}

export type FromChild =
  /** Said before each import, so that a file that kills its process can be named. */
  | {kind: 'loading'; file: string}
  | {kind: 'loaded'; workers: LoadedWorker[]; hasPlugins: boolean}
  | {kind: 'refused'; message: string; hint: string}
  /**
   * Before a run whose retryDelay is a function: what it says now, in case the job never gets to say how it ended; and of those
   * that are worked with it.
   */
  | {kind: 'retry'; run: number; retryIn: number | null; others?: (number | null)[]}
  /**
   * `rss`: the child's memory in bytes, 0 if it is not asked for. `left`: what the job leaves behind, a child that
   * can't be trusted with another one, or what `free` tells the end of.
   */
  | {kind: 'ended'; run: number; outcome: WireOutcome; rss: number; left?: 'broken' | 'hooks'}
  /** How far a job is. */
  | ({kind: 'progress'; run: number} & Progress)
  /** By a child that has several jobs at once: what one of them has written. */
  | {kind: 'output'; run: number; stream: Stream; bytes: NonNullable<Bytes>}
  /** By such a child: the job is told to stop. */
  | {kind: 'told'; run: number}
  /** By such a child: something that a job has left behind threw where nobody catches it. It is broken. */
  | {kind: 'stray'; failure: string}
  /** The hooks behind the job's end are done. `failure`: one of them threw, or stdout or stderr is lost, and the child is broken. */
  | {kind: 'free'; run: number; failure: string | null}

export interface LoadedWorker extends WorkerSettings {
  func: string
  /** null if it is a function, which only the child can ask. */
  retryDelay: RetryDelay | null
}

export type Bytes = {text: string} | {base64: string} | null
export type WireJob = Omit<JobRow, 'arg'> & {arg: Bytes; others?: readonly WireJob[]}
export type WireNewJob = Omit<NewJob, 'arg'> & {arg: Bytes; plain: boolean}
export type WireOutcome =
  | Exclude<RunOutcome, {kind: 'replaced'}>
  | {kind: 'replaced'; jobs: WireNewJob[]; retryIn: number | null}

/** Mostly a job comes by itself: to take `others` out of it would cost more than all else here (1.5 µs). */
export function jobToWire(job: TakenJob): WireJob {
  const alone: JobRow = job
  if (!job.others) return {...alone, arg: pack(alone.arg)}
  const {others, ...leading} = job
  return {...leading, arg: pack(leading.arg), others: others.map(jobToWire)}
}

export function jobFromWire(job: WireJob): TakenJob {
  const alone: Omit<WireJob, 'others'> = job
  if (!job.others) return {...alone, arg: unpack(alone.arg)}
  const {others, ...leading} = job
  return {...leading, arg: unpack(leading.arg), others: others.map(jobFromWire)}
}

export function outcomeToWire(outcome: RunOutcome): WireOutcome {
  if (outcome.kind !== 'replaced') return withMessageCut(outcome)
  const jobs = outcome.jobs.map(job => ({
    ...job,
    arg: pack(typeof job.arg === 'string' ? Buffer.from(job.arg) : job.arg),
    plain: typeof job.arg === 'string',
  }))
  return {...outcome, jobs}
}

export function outcomeFromWire(outcome: WireOutcome): RunOutcome {
  if (outcome.kind !== 'replaced') return outcome
  const jobs = outcome.jobs.map(({plain, ...job}) => {
    const bytes = unpack(job.arg)
    return {...job, arg: plain && bytes ? bytes.toString('utf8') : bytes}
  })
  return {...outcome, jobs}
}

export function pack(bytes: Uint8Array): NonNullable<Bytes>
export function pack(bytes: Uint8Array | null): Bytes
export function pack(bytes: Uint8Array | null): Bytes {
  if (bytes === null) return null
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? {text: buffer.toString('utf8')} : {base64: buffer.toString('base64')}
}

export function unpack(bytes: NonNullable<Bytes>): Buffer
export function unpack(bytes: Bytes): Buffer | null
export function unpack(bytes: Bytes): Buffer | null {
  if (bytes === null) return null
  return 'text' in bytes ? Buffer.from(bytes.text) : Buffer.from(bytes.base64, 'base64')
}
