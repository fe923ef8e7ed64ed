/**
 * What happens to jobs, told as it happens: to the listeners of a queue, and on diagnostics channels (`jobq:enqueue` …)
 * to whoever watches the process without having the queue.
 */
import {type Channel, channel} from 'node:diagnostics_channel'
import {EventEmitter} from 'node:events'
import type {RowRef} from '../jobs/job.ts'

/** The job that an event is about. */
export interface JobSubject extends RowRef {
  func: string
  uniqkey: string | null
  priority: number
}

/**
 * Each event's name, and what its listeners get. An event is told where it happens: an enqueue in the process that
 * enqueues, what becomes of the job in the one that dispatches (`jobq work`, or an application's `queue.work()`).
 */
export interface JobqEvents {
  /** A job was stored, and is durable; within a caller's transaction: is stored if that commits. */
  enqueue: JobSubject & {runAfter: number}
  /** Jobs were stored together, by an enqueueMany: how many, and how many of each function. None is told by itself. */
  enqueueMany: {count: number; funcs: Readonly<Record<string, number>>}
  /** The dispatcher took it: from now on it is leased. `waitMs`: since it was due, in whole seconds' steps. */
  grab: JobSubject & {retryCnt: number; waitMs: number}
  /** An executor has begun to run it. */
  start: JobSubject & {retryCnt: number}
  /** It has said how far it is, from 0 to 1; at most one a second of each job is told, what it said last. */
  progress: JobSubject & {fraction: number; text: string}
  /** It has left the queue, and that is written. */
  finish: JobSubject & {outcome: 'completed' | 'replaced' | 'aborted'; durationMs: number; message: string}
  /**
   * An attempt failed, or its process died, and that is written. `retryIn`: seconds, null if it was the last one.
   * `durationMs`: null where no one knows, since the machine it ran on is gone: its lease ran out once too often.
   */
  fail: JobSubject & {
    outcome: 'failed' | 'died'
    durationMs: number | null
    message: string
    retryIn: number | null
  }
  /**
   * It is given back as it was, and nothing is written of the attempt: it was told to stop, or stopped with the process
   * that it shared, had not started yet, its worker has declined it, or someone else has taken the job.
   */
  release: JobSubject & {reason: 'stopped' | 'not started' | 'declined' | 'lost'; durationMs: number}
  /** It is in the queue again: after a failed attempt (then with its id), or by `queue.retry` of an exception. */
  retry: JobSubject & {exceptionId: number | null}
  /** A child of the pool is replaced by a new one. */
  recycle: {pid: number; jobs: number; reason: 'worn' | 'too large' | 'reload' | 'broken' | 'died'}
}

/** What can be listened to. */
export type EventName = keyof JobqEvents

export const EVENT_NAMES: readonly EventName[] = [
  'enqueue',
  'enqueueMany',
  'grab',
  'start',
  'progress',
  'finish',
  'fail',
  'release',
  'retry',
  'recycle',
]

export class Events {
  readonly #emitter = new EventEmitter()
  readonly #channels = new Map<EventName, Channel>(EVENT_NAMES.map(name => [name, channel(`jobq:${name}`)]))

  on<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): void {
    this.#emitter.on(name, listener)
  }

  off<Name extends EventName>(name: Name, listener: (event: JobqEvents[Name]) => void): void {
    this.#emitter.off(name, listener)
  }

  /** Does anyone listen to these? */
  hears(name: EventName): boolean {
    return this.#channels.get(name)!.hasSubscribers || this.#emitter.listenerCount(name) > 0
  }

  /** @param event made only if someone listens. What a listener throws surfaces as an uncaught exception, as ever. */
  tell<Name extends EventName>(name: Name, event: () => JobqEvents[Name]): void {
    if (!this.hears(name)) return
    const published = this.#channels.get(name)!
    const told = event()
    published.publish(told)
    try {
      this.#emitter.emit(name, told)
    } catch (error) {
      // What has happened has happened: whoever tells of it must not fail for a listener
      process.nextTick(() => {
        throw error
      })
    }
  }
}
