/**
 * A worker as its author writes it: Qudo's worker class as one object, and the job that its `work` gets.
 */

import type {FuncName, Functions, ResultOf, TakenArg} from './functions.ts'
import type {JobRow} from './job.ts'
import type {JobRequest} from './new-job.ts'
import type {PluginOf} from './plugins.ts'
import type {SerializerName} from './serializers/serializers.ts'

/** A job that takes another one's place: what enqueue takes, with its function. */
export type Replacement = JobRequest

/** A job that is worked together with another one, as that one's worker sees it. */
export interface OtherJob<Arg = unknown>
  extends Readonly<Pick<JobRow, 'id' | 'db' | 'uniqkey' | 'retryCnt' | 'priority'>> {
  /** The argument, deserialized. */
  readonly arg: Arg
  /** The argument's bytes as they are stored; null for none. */
  readonly argOrigin: Uint8Array | null
  /** What was enqueued with it beside its argument; empty if there is nothing. */
  readonly context: Readonly<Record<string, string>>
}

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
  /**
   * Those that this run is for as well, where the worker says `coalesce`: they end as this one does. The most important
   * first; mostly there are none.
   */
  readonly others: readonly OtherJob<Arg>[]
  /** Aborts when the job is told to stop: it ran longer than grabFor, or the dispatcher is ending. */
  readonly signal: AbortSignal
  /** Ends the job for good, whatever retries are left; the reason is logged as its exception. Never returns. */
  abort(reason: string): never
  /**
   * Puts the job back, as if it had not been taken: no retry is counted, nothing is logged as its exception, and it is due
   * again after `delay`: seconds, or a duration such as '10m'. Default 10 s; 0 is at once, and whoever is idle takes it,
   * which may be this very process. Never returns.
   * @throws UsageError for what is no delay: then the job has failed
   */
  decline(delay?: number | string): never
  /**
   * Says how far it is, for whoever looks: `queue.show`, `jobq list`, `status`, `top`. As often as you like: at most one a second is
   * written, what was said last. It leaves with the job's end.
   * @param fraction from 0 to 1
   * @param text such as 'page 4 of 10'; what is longer than 255 characters is cut
   * @throws UsageError
   */
  progress(fraction: number, text?: string): void
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

/** What `work` returns, or resolves with: anything, where nothing is said of it. */
export type WorkResult<Result> = unknown extends Result ? unknown : Result | Promise<Result>

/**
 * A worker. `work` resolving is completed, throwing is failed: unlike in Qudo there is no word to forget.
 */
export interface Worker<Arg = unknown, Result = unknown> {
  /** How often a failed job is tried again. Default 0. Qudo's max_retries. */
  maxRetries?: number
  /**
   * Seconds until a failed job is due again; a duration such as '10m'; two of them, '10s..1h': it doubles with each retry
   * from the first to the second, by up to a fifth longer or shorter; or a function of the job. Default 0. Qudo's retry_delay.
   */
  retryDelay?: number | string | OfJob<Arg, number>
  /** Seconds after which a running job is stopped and has failed. Default 3600. Qudo's grab_for. */
  grabFor?: number
  /** Write a row of job_status for each attempt. Default false. Qudo's set_job_status. */
  setJobStatus?: boolean
  /** At most so many at once, over all processes and hosts of the store. Default 0: any number. */
  maxRunning?: number
  /**
   * At most so many of a key at once, over all processes and hosts of the store: two for each customer, say. A job's key is
   * what its uniqkey has before the first colon, or what `shareBy` names; those without one are not limited. The others
   * wait, and what is behind them runs. Default 0: any number.
   */
  maxRunningPerKey?: number
  /**
   * The member of the argument whose value is the job's key, text or a number. Default: the uniqkey says it.
   */
  shareBy?: string
  /**
   * At most so many starts in any such while, over all processes and hosts: '100/1m'; 'none' for no limit. Tries count, too.
   * Default 'none'.
   */
  rate?: string
  /** The same of each key: '10/1s'. Default 'none'. */
  ratePerKey?: string
  /**
   * With a job up to so many more that are ready and have the same key are worked, in one run: they are `job.others`. Up to
   * 1000. Default 0: each by itself.
   */
  coalesce?: number
  /** The key: a member at the top of the argument, such as 'customer'. Default: the uniqkey up to its first colon. */
  coalesceBy?: string
  /** What the arguments are. Default 'json'. */
  serializer?: SerializerName
  /**
   * How much of what an attempt writes to stdout and stderr is kept for `jobq logs`: of one that fails the last so many
   * bytes, or such as '64k', up to '1m'; 'all': of every one, up to 1 MiB; 'none'. Default '16k'. Not of `queue.work`.
   */
  keepOutput?: number | string
  /**
   * Keep what `work` returns so long after a job has completed: seconds, or a duration such as '1h'. It is JSON of at most 64 KiB:
   * where it is not, the job has failed. What is asked for with a job goes first. Default 0: none is kept.
   */
  keepResult?: number | string
  /** Does the job: what it throws, or rejects with, is the exception that is logged. */
  work(job: Job<Arg>): WorkResult<Result>
}

/**
 * For `export default defineWorker({…})` in a worker's file: checks the keys while they are typed. With the name of a
 * function first, `job.arg` has the type that `Functions` says: `defineWorker('Notify', {…})`; else it can be given:
 * `defineWorker<{to: string}>({…})`.
 */
export function defineWorker<Name extends FuncName>(
  func: Name,
  worker: Worker<TakenArg<Functions, Name>, ResultOf<Functions, Name>>,
): Worker<TakenArg<Functions, Name>, ResultOf<Functions, Name>>
export function defineWorker<Arg = unknown>(worker: Worker<Arg>): Worker<Arg>
export function defineWorker(...given: [func: string, worker: Worker] | [worker: Worker]): Worker {
  return given.length === 2 ? given[1] : given[0]
}
