/** What `jobq stats` tells: each function's counts and run times, and all functions added up. */
import {ALL_FUNCS, isPausedIn} from './job.ts'
import type {FinalStatus} from './rows/history.ts'

/** How many jobs and exceptions a function has, and how old its oldest ready job is (seconds, null if none). */
export interface FuncCounts {
  func: string
  ready: number
  delayed: number
  /** Jobs that wait for others. */
  waiting: number
  running: number
  /** Jobs that were given up and not retried yet: by their exceptions. */
  failed: number
  /** Jobs that have failed and wait for their next try, or are at it. */
  retrying: number
  completed: number
  aborted: number
  oldestReadyAge: number | null
}

/** Run times and throughput from job_status, over the last hour. */
export interface FuncTimes {
  func: string
  /** Seconds, whole as Qudo stores them; null where nothing has finished. */
  median: number | null
  p95: number | null
  /** How many jobs took how many seconds, the shortest first: functions can be added up by it. */
  took: [seconds: number, jobs: number][]
  /** Jobs that ended in each of the last 60 minutes, the current one last. */
  perMinute: number[]
}

/** How a function's attempts have ended, over all that job_status holds; none of functions that keep no status. */
export interface FuncAttempts {
  func: string
  /** So many ended so, after so many whole seconds. */
  ended: {status: FinalStatus; seconds: number; attempts: number}[]
}

/** Run times of several functions, or databases, as those of one. */
export function addUp(parts: readonly FuncTimes['took'][]): FuncTimes['took'] {
  const jobs = new Map<number, number>()
  for (const [seconds, count] of parts.flat()) jobs.set(seconds, count + (jobs.get(seconds) ?? 0))
  return [...jobs].sort(([a], [b]) => a - b)
}

/** The nearest-rank quantile of values that are counted and sorted; null of none. */
export function quantile(counted: readonly [value: number, count: number][], q: number): number | null {
  const rank = q * counted.reduce((sum, [, count]) => sum + count, 0)
  let seen = 0
  for (const [value, count] of counted) {
    seen += count
    if (seen >= rank) return value
  }
  return null
}

/** What is known of one function. */
export interface FuncStats extends FuncCounts {
  /** Run times over the last hour, in seconds; null where none is known. */
  median: number | null
  p95: number | null
  /** Jobs that ended in each of the last 60 minutes, the current one last; null for what keeps no job status. */
  perMinute: number[] | null
  /** Are no jobs handed out, of this function or of all? */
  paused: boolean
}

/** All functions, and their total. */
export interface Stats {
  /** By name. */
  funcs: FuncStats[]
  total: Omit<FuncStats, 'func'>
}

/** @param paused names of functions, ALL_FUNCS for the whole queue */
export function statsOf(
  counts: readonly FuncCounts[],
  times: readonly FuncTimes[],
  paused: readonly string[],
): Stats {
  const byFunc = new Map(times.map(time => [time.func, time]))
  const funcs = counts.map(count => {
    const {median = null, p95 = null, perMinute = idle(count)} = byFunc.get(count.func) ?? {}
    return {...count, median, p95, perMinute, paused: isPausedIn(paused, count.func)}
  })
  const took = addUp(times.map(time => time.took))
  return {
    funcs,
    total: {
      ready: sum(counts, 'ready'),
      delayed: sum(counts, 'delayed'),
      waiting: sum(counts, 'waiting'),
      running: sum(counts, 'running'),
      failed: sum(counts, 'failed'),
      retrying: sum(counts, 'retrying'),
      completed: sum(counts, 'completed'),
      aborted: sum(counts, 'aborted'),
      oldestReadyAge: funcs.reduce<number | null>(
        (oldest, {oldestReadyAge: age}) => (age === null ? oldest : Math.max(age, oldest ?? 0)),
        null,
      ),
      median: quantile(took, 0.5),
      p95: quantile(took, 0.95),
      perMinute: funcs.reduce<number[] | null>(
        (total, {perMinute}) => perMinute?.map((jobs, minute) => jobs + (total?.[minute] ?? 0)) ?? total,
        null,
      ),
      paused: paused.includes(ALL_FUNCS),
    },
  }
}

/** A function that has kept statuses, but none in the last hour, did nothing; of the others nothing is known. */
function idle({completed, aborted}: FuncCounts): number[] | null {
  return completed + aborted > 0 ? Array.from({length: 60}, () => 0) : null
}

function sum(
  counts: readonly FuncCounts[],
  key: Exclude<keyof FuncCounts, 'func' | 'oldestReadyAge'>,
): number {
  return counts.reduce((total, count) => total + count[key], 0)
}
