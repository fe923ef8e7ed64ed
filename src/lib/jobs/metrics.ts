/**
 * The metrics that jobq has for Prometheus, by the same names whether they are read from the database (`jobq stats
 * --prometheus`) or counted in a process as things happen.
 */

import type {ManagerStatus} from './manager.ts'
import {printableLines} from './printable.ts'
import type {FuncAttempts, FuncCounts} from './stats.ts'

/**
 * One that can't be known in one of the two places is left out there: the database keeps no word of a job that has left
 * the queue, except in job_status, for functions that ask for it.
 */
export interface Metric {
  name: string
  type: 'gauge' | 'counter' | 'histogram'
  labels: readonly string[]
  /** What the figure is where it is read from the database; undefined where that does not know. */
  stored?: string
  /** What it is where it is counted as it happens. */
  live?: string
}

const JOBS = {
  name: 'jobq_jobs',
  type: 'gauge',
  labels: ['func', 'state'],
  stored:
    'Jobs in the database. waiting: for other jobs. failed: given up and not retried yet. retrying: failed, and waiting for the next try or at it. completed, aborted: rows of job_status, which only functions with set_job_status keep.',
} as const
const LATENCY = {
  name: 'jobq_latency_seconds',
  type: 'gauge',
  labels: ['func'],
  stored: 'How long the oldest ready job in the database has been ready; 0 if none is.',
} as const
const WORKERS = {
  name: 'jobq_workers',
  type: 'gauge',
  labels: ['state'],
  stored: 'Workers of every jobq work, on any host, that this database has seen within the last minute.',
} as const
const SCHEDULE_NEXT = {
  name: 'jobq_schedule_next_timestamp_seconds',
  type: 'gauge',
  labels: ['schedule'],
  stored: "When a schedule of the configuration ticks next, in Unix seconds by the database's clock.",
} as const
const SCHEDULE_LAST = {
  name: 'jobq_schedule_last_timestamp_seconds',
  type: 'gauge',
  labels: ['schedule'],
  stored:
    'The last tick of a schedule that enqueued a job, or when that was enqueued by hand, in Unix seconds.',
} as const
const ENQUEUED = {
  name: 'jobq_jobs_enqueued_total',
  type: 'counter',
  labels: ['func'],
  live: 'Jobs that this process has enqueued.',
} as const
const PROCESSED = {
  name: 'jobq_jobs_processed_total',
  type: 'counter',
  labels: ['func', 'outcome'],
  stored:
    'Attempts by outcome, from job_status: of functions with set_job_status only, and lower once rows are deleted.',
  live: 'Attempts that this process has dispatched, by outcome. died: the worker died, and the job runs again.',
} as const
const DURATION = {
  name: 'jobq_job_duration_seconds',
  type: 'histogram',
  labels: ['func'],
  stored:
    'Run times of attempts in whole seconds, from job_status: of functions with set_job_status only, and lower once rows are deleted.',
  live: 'Run times of the attempts that this process has dispatched.',
} as const
const WAIT = {
  name: 'jobq_job_wait_seconds',
  type: 'histogram',
  labels: ['func'],
  live: 'How long jobs that this process has taken had been due, in whole seconds.',
} as const

export const METRICS = {
  jobs: JOBS,
  latency: LATENCY,
  workers: WORKERS,
  scheduleNext: SCHEDULE_NEXT,
  scheduleLast: SCHEDULE_LAST,
  enqueued: ENQUEUED,
  processed: PROCESSED,
  duration: DURATION,
  wait: WAIT,
} satisfies Record<string, Metric>

/** Upper bounds of a histogram's buckets, in seconds: from what is hardly more than a hand-over to the longest grab_for. */
export const DURATION_BUCKETS = [
  ...[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600],
] as const
/** What is stored in whole seconds can't be told apart any finer. */
const STORED_BUCKETS = DURATION_BUCKETS.filter(Number.isInteger)
export const WAIT_BUCKETS = [1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400] as const

/** How an attempt ended; what was replaced by other jobs is completed, as job_status has it. */
export type AttemptOutcome = 'completed' | 'failed' | 'aborted' | 'died'

/** A value with its labels. */
export interface Sample {
  labels: Record<string, string>
  value: number
}

/** The text format escapes a line break itself, and shows all else as it is. */
export function funcLabel(func: string): string {
  return printableLines(func)
}

export function jobsSamples(counts: readonly FuncCounts[]): Sample[] {
  const states = [
    'ready',
    'delayed',
    'waiting',
    'running',
    'failed',
    'retrying',
    'completed',
    'aborted',
  ] as const
  return counts.flatMap(count =>
    states.map(state => ({labels: {func: funcLabel(count.func), state}, value: count[state]})),
  )
}

export function latencySamples(counts: readonly FuncCounts[]): Sample[] {
  return counts.map(({func, oldestReadyAge}) => ({
    labels: {func: funcLabel(func)},
    value: oldestReadyAge ?? 0,
  }))
}

export function workersSamples(managers: readonly ManagerStatus[]): Sample[] {
  const alive = managers.filter(({gone}) => !gone)
  return (['idle', 'working', 'none'] as const).map(state => ({
    labels: {state},
    value: alive.reduce((sum, {workers}) => sum + workers[state], 0),
  }))
}

/** What is not known, a last tick where there was none, is left out. */
export function scheduleSamples(
  schedules: readonly {name: string; next: number | null; last: number | null}[],
  which: 'next' | 'last',
): Sample[] {
  return schedules.flatMap(({name, [which]: value}) =>
    value === null ? [] : [{labels: {schedule: funcLabel(name)}, value}],
  )
}

/** Of functions without a job_status nothing is known, which is not the same as 0. */
export function processedSamples(attempts: readonly FuncAttempts[]): Sample[] {
  const outcomes = {completed: 'completed', failed: 'failed', abort: 'aborted'} as const
  return attempts.flatMap(({func, ended}) =>
    Object.entries(outcomes).map(([status, outcome]) => ({
      labels: {func: funcLabel(func), outcome},
      value: ended.reduce((sum, {status: its, attempts}) => sum + (its === status ? attempts : 0), 0),
    })),
  )
}

/** One function's run times. */
export interface Distribution {
  labels: Record<string, string>
  /** For each of the upper bounds, how many were not longer: each counts what the one before it did. */
  buckets: [le: number, count: number][]
  sum: number
  count: number
}

export function durations(attempts: readonly FuncAttempts[]): Distribution[] {
  const add = (ended: FuncAttempts['ended'], value: (end: FuncAttempts['ended'][number]) => number) =>
    ended.reduce((sum, end) => sum + value(end), 0)
  return attempts.map(({func, ended}) => ({
    labels: {func: funcLabel(func)},
    buckets: STORED_BUCKETS.map(le => [le, add(ended, end => (end.seconds <= le ? end.attempts : 0))]),
    sum: add(ended, ({seconds, attempts}) => seconds * attempts),
    count: add(ended, ({attempts}) => attempts),
  }))
}
