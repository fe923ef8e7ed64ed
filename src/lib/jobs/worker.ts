/**
 * A worker as its author writes it: Qudo's worker class as one object, and the job that its `work` gets.
 */

import type {ArgOf, FuncName, Functions} from './functions.ts'
import type {JobRow} from './job.ts'
import type {JobRequest} from './new-job.ts'
import type {PluginOf} from './plugins.ts'
import type {SerializerName} from './serializers/serializers.ts'

/** A job that takes another one's place: what enqueue takes, with its function. */
export type Replacement = JobRequest

/** The job as `work` sees it. */
export interface Job<Arg = unknown>
  extends Readonly<
    Pick<JobRow, 'id' | 'db' | 'func' | 'uniqkey' | 'retryCnt' | 'priority' | 'grabbedUntil'>
  > {
  /** The argument, deserialized. */
  readonly arg: Arg
  /** The argument's bytes as they are stored; null for none. Qudo's arg_origin. */
  readonly argOrigin: Uint8Array | null
  /** What was enqueued with it beside its argument; empty if there is nothing. */
  readonly context: Readonly<Record<string, string>>
  /** Aborts when the job is told to stop: it ran longer than grabFor, or the dispatcher is ending. */
  readonly signal: AbortSignal
  /** Ends the job for good, whatever retries are left; the reason is logged as its exception. Never returns. */
  abort(reason: string): never
  /** Takes this job's place, atomically: it is completed and these are enqueued when `work` resolves. */
  replace(...jobs: Replacement[]): void
  /** What the configuration's or the queue's `plugins` have under that name. @throws PluginError if there is none */
  plugin<Name extends string>(name: Name): PluginOf<Name>
}

/** Of a job, as a method is: a worker of some argument's type stands where any worker may stand. */
export type OfJob<Arg, Result = unknown> = {
  /** Called with the job. */
  method(job: Job<Arg>): Result
}['method']

/**
 * A worker. `work` resolving is completed, throwing is failed: unlike in Qudo there is no word to forget.
 */
export interface Worker<Arg = unknown> {
  /** How often a failed job is tried again. Default 0. Qudo's max_retries. */
  maxRetries?: number
  /** Seconds until a failed job is due again, or a function of the job. Default 0. Qudo's retry_delay. */
  retryDelay?: number | OfJob<Arg, number>
  /** Seconds after which a running job is stopped and has failed. Default 3600. Qudo's grab_for. */
  grabFor?: number
  /** Write a row of job_status for each attempt. Default false. Qudo's set_job_status. */
  setJobStatus?: boolean
  /** At most so many at once, over all processes and hosts of the store. Default 0: any number. */
  maxRunning?: number
  /** What the arguments are. Default 'json'. */
  serializer?: SerializerName
  /** Does the job: what it throws, or rejects with, is the exception that is logged. */
  work(job: Job<Arg>): unknown
}

/**
 * For `export default defineWorker({…})` in a worker's file: checks the keys while they are typed. With the name of a
 * function first, `job.arg` has the type that `Functions` says: `defineWorker('Notify', {…})`; else it can be given:
 * `defineWorker<{to: string}>({…})`.
 */
export function defineWorker<Name extends FuncName>(
  func: Name,
  worker: Worker<ArgOf<Functions, Name>>,
): Worker<ArgOf<Functions, Name>>
export function defineWorker<Arg = unknown>(worker: Worker<Arg>): Worker<Arg>
export function defineWorker(...given: [func: string, worker: Worker] | [worker: Worker]): Worker {
  return given.length === 2 ? given[1] : given[0]
}
