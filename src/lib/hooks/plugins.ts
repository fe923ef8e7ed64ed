/**
 * Plugins: named objects of the application's, which its jobs and its own code reach by name, as `job.plugin('logger')`
 * and `queue.plugin('logger')`.
 */

import type {EnqueuedJob} from '../jobs/job.ts'
import type {Job} from '../jobs/worker.ts'
import type {EnqueueCall, Hook} from './hooks.ts'

/** What jobq knows of a plugin; all else in it is for those who get it by name. */
export interface Plugin<Queue = unknown> {
  /** Registered with the queue's, behind those of the configuration. */
  readonly hooks?: Hook | readonly Hook[] | undefined
  /** Before the first job is enqueued or worked. What it throws keeps the queue, or the process, from starting. */
  start?(context: PluginContext<Queue>): unknown
  /** After the last job. Not called in a process that is killed. */
  stop?(): unknown
  /**
   * Stands around an attempt at a job, with the hooks from `deserialize` on: calls `work` once and returns what that resolves to, which is
   * how the attempt ended; `work` does not throw. For what must be in force while a job runs, an AsyncLocalStorage's value
   * say. What this throws itself before `work` has failed the job; after it, how the job ended stands.
   */
  aroundWork?(job: Job, work: () => Promise<AttemptEnd>): Promise<AttemptEnd>
  /**
   * Stands around an enqueue, its hooks included: calls `enqueue` once and returns what that returns, or what becomes of
   * its promise. It may change the call before that. What is refused is thrown through here.
   * @param call null for all jobs of an `enqueueMany`
   * @param enqueue returns the job itself, without a promise, in a transaction of better-sqlite3
   */
  aroundEnqueue?<Result extends EnqueuedJob | Promise<EnqueuedJob | number>>(
    call: EnqueueCall | null,
    enqueue: () => Result,
  ): Result
  /** What `job.plugin` returns in this one's place: something that knows the job. */
  forJob?(job: Job): unknown
}

/** How an attempt at a job ended. */
export interface AttemptEnd {
  /** `died`: a hook before `work` has failed, which counts as the worker's death. */
  readonly outcome: 'completed' | 'replaced' | 'failed' | 'aborted' | 'declined' | 'died'
  /** Why it did not get done; else empty. */
  readonly message: string
  /** What was thrown, if that is why. */
  readonly error: unknown
  /** Seconds until it is tried again after it has failed or was declined, null if it is not. */
  readonly retryIn: number | null
}

/** Where a plugin is started: each process has its own. */
export interface PluginContext<Queue = unknown> {
  /**
   * `client`: an application that opened a queue. `command`: a command that is done soon, such as `jobq enqueue`.
   * `dispatcher`: `jobq work` itself, where its jobs' events are told. `worker`: one of its processes that run workers.
   */
  role: 'client' | 'command' | 'dispatcher' | 'worker'
  /** The process's queue. A worker's process has none: it owns no connection. */
  queue: Queue | null
}
