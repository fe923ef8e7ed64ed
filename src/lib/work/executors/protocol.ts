/**
 * What the pool and its children say to each other, as JSON: bytes travel as text where they are UTF-8, else as base64.
 *
 * What is said of a run has its number: were it taken for another's, that job would end as one it knows nothing of.
 */
import {isUtf8} from 'node:buffer'
import type {FuncSettings} from '../../config/schema.ts'
import type {JobRow, NewJob, Outcome} from '../../jobs/job.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {withMessageCut} from '../messages.ts'

export type ToChild =
  /** First of all. */
  | ({kind: 'load'} & ToLoad)
  | {kind: 'run'; run: number; job: WireJob}
  /** The running job is to stop: its signal aborts. */
  | {kind: 'stop'}
  /** Said to a child with plugins: they are to be stopped, then it ends. Others are killed. */
  | {kind: 'end'}

/** What a child is to have loaded before its first job. */
export interface ToLoad {
  workers: {func: string; file: string; settings: FuncSettings}[]
  /** The configuration's, for workers that say nothing of it. */
  serializer: SerializerName | undefined
  /** The configuration file, if it has hooks for workers, or plugins. */
  extensions: string | null
  /** Tell its memory after each job? */
  measure: boolean
}

export type FromChild =
  /** Said before each import, so that a file that kills its process can be named. */
  | {kind: 'loading'; file: string}
  | {kind: 'loaded'; workers: LoadedWorker[]; hasPlugins: boolean}
  | {kind: 'refused'; message: string; hint: string}
  /** Before a run whose retryDelay is a function: what it says now, in case the job never gets to say how it ended. */
  | {kind: 'retry'; run: number; retryIn: number | null}
  /**
   * `rss`: the child's memory in bytes, 0 if it is not asked for. `left`: what the job leaves behind, a child that
   * can't be trusted with another one, or hooks to be called first.
   */
  | {kind: 'ended'; run: number; outcome: WireOutcome; rss: number; left?: 'broken' | 'hooks'}
  /** The hooks behind the job's end are done. `failure`: one of them threw, and the child is broken. */
  | {kind: 'free'; run: number; failure: string | null}

export interface LoadedWorker {
  func: string
  maxRetries: number
  /** Seconds; null if it is a function, which only the child can ask. */
  retryDelay: number | null
  grabFor: number
  setJobStatus: boolean
  maxRunning: number
}

export type Bytes = {text: string} | {base64: string} | null
export type WireJob = Omit<JobRow, 'arg'> & {arg: Bytes}
export type WireNewJob = Omit<NewJob, 'arg'> & {arg: Bytes; plain: boolean}
export type WireOutcome =
  | Exclude<Outcome, {kind: 'replaced'}>
  | {kind: 'replaced'; jobs: WireNewJob[]; retryIn: number | null}

export function jobToWire(job: JobRow): WireJob {
  return {...job, arg: pack(job.arg)}
}

export function jobFromWire(job: WireJob): JobRow {
  return {...job, arg: unpack(job.arg)}
}

export function outcomeToWire(outcome: Outcome): WireOutcome {
  if (outcome.kind !== 'replaced') return withMessageCut(outcome)
  const jobs = outcome.jobs.map(job => ({
    ...job,
    arg: pack(typeof job.arg === 'string' ? Buffer.from(job.arg) : job.arg),
    plain: typeof job.arg === 'string',
  }))
  return {...outcome, jobs}
}

export function outcomeFromWire(outcome: WireOutcome): Outcome {
  if (outcome.kind !== 'replaced') return outcome
  const jobs = outcome.jobs.map(({plain, ...job}) => {
    const bytes = unpack(job.arg)
    return {...job, arg: plain && bytes ? bytes.toString('utf8') : bytes}
  })
  return {...outcome, jobs}
}

function pack(bytes: Uint8Array | null): Bytes {
  if (bytes === null) return null
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? {text: buffer.toString('utf8')} : {base64: buffer.toString('base64')}
}

function unpack(bytes: Bytes): Buffer | null {
  if (bytes === null) return null
  return 'text' in bytes ? Buffer.from(bytes.text) : Buffer.from(bytes.base64, 'base64')
}
