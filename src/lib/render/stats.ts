/** What `jobq stats` shows: as a JSON document, as tab-separated lines, as a table, and for Prometheus. */
import type {FuncStats, Stats} from '../stats.ts'
import {line} from './listing.ts'
import type {Cell, Column} from './table.ts'
import {duration, oneLine, sparkline} from './text.ts'

type Numbers = Stats['total']

export function statsDocument({funcs, total}: Stats): Record<string, unknown> {
  return {funcs: funcs.map(func => ({func: func.func, ...numbers(func)})), total: numbers(total)}
}

function numbers(stats: Numbers) {
  return {
    ready: stats.ready,
    delayed: stats.delayed,
    running: stats.running,
    failed: stats.failed,
    completed: stats.completed,
    aborted: stats.aborted,
    oldest_ready_age: stats.oldestReadyAge,
    run_time_median: stats.median,
    run_time_p95: stats.p95,
    jobs_per_minute: jobsPerMinute(stats),
    per_minute: stats.perMinute,
    paused: stats.paused,
  }
}

/** On average over the last hour. */
function jobsPerMinute({perMinute}: Numbers): number | null {
  if (perMinute === null) return null
  const jobs = perMinute.reduce((sum, count) => sum + count, 0)
  return Math.round((100 * jobs) / perMinute.length) / 100
}

/** The fields of a line, for --help. */
export const STATS_FIELDS = [
  ...['func', 'ready', 'delayed', 'running', 'failed', 'completed', 'aborted', 'oldest_ready_age'],
  ...['run_time_median', 'run_time_p95', 'jobs_per_minute'],
]

/** A line for every function, by name; the last line is the total. */
export function statsLines({funcs, total}: Stats): string {
  return [...funcs, {func: 'total', ...total}].map(stats => line(fields(stats))).join('')
}

function fields(stats: FuncStats): (string | number | null)[] {
  const {func, ready, delayed, running, failed, completed, aborted, oldestReadyAge, median, p95} = stats
  return [
    ...[func, ready, delayed, running, failed, completed, aborted, oldestReadyAge, median, p95],
    jobsPerMinute(stats),
  ]
}

const COLUMNS: readonly Column[] = [
  {head: 'FUNC', gives: 'hardly'},
  {head: 'READY', align: 'right'},
  {head: 'DELAYED', align: 'right'},
  {head: 'RUNNING', align: 'right'},
  {head: 'FAILED', align: 'right'},
  {head: 'COMPLETED', align: 'right'},
  {head: 'ABORTED', align: 'right'},
  {head: 'OLDEST', align: 'right'},
  {head: 'MEDIAN', align: 'right'},
  {head: 'P95', align: 'right'},
  {head: 'PER MIN', align: 'right'},
]

/** The columns without the sparkline, at least; with a narrow function name. */
const NARROW = 100
const SPARK_WIDTHS = [60, 30, 20, 15]

export async function statsTable({funcs, total}: Stats, width: number): Promise<string> {
  const {TableDrawer} = await import('./table.ts')
  const spark = SPARK_WIDTHS.find(wanted => wanted <= width - NARROW) ?? 0
  const columns = spark > 0 ? [...COLUMNS, {head: 'LAST HOUR'}] : COLUMNS
  const rows = [...funcs.map(func => cells(func, spark)), ...totalRow({funcs, total}, spark)]
  return new TableDrawer(columns, width).draw(rows)
}

function totalRow({funcs, total}: Stats, spark: number): Cell[][] {
  if (funcs.length === 1) return []
  const [, ...row] = cells({func: '', ...total}, spark)
  const name = total.paused ? 'total (all paused)' : 'total'
  return [[{text: name}, ...row].map(({text}) => ({text, tone: 'strong'}))]
}

function cells(stats: FuncStats, spark: number): Cell[] {
  const {func, ready, delayed, running, failed, completed, aborted, oldestReadyAge, median, p95} = stats
  const perMinute = jobsPerMinute(stats)
  return [
    {text: oneLine(func) + (stats.paused ? ' (paused)' : '')},
    count(ready, 'good'),
    count(delayed, 'waiting'),
    count(running, 'busy'),
    count(failed, 'bad'),
    count(completed),
    count(aborted, 'bad'),
    orDash(oldestReadyAge === null ? null : duration(oldestReadyAge)),
    orDash(median === null ? null : duration(median)),
    orDash(p95 === null ? null : duration(p95)),
    orDash(perMinute === null ? null : String(perMinute)),
    ...(spark > 0 ? [{text: sparkline(stats.perMinute ?? [], spark), tone: 'busy' as const}] : []),
  ]
}

function count(jobs: number, tone?: Cell['tone']): Cell {
  if (jobs === 0) return {text: '0', tone: 'dim'}
  return tone === undefined ? {text: String(jobs)} : {text: String(jobs), tone}
}

function orDash(text: string | null): Cell {
  return text === null ? {text: '-', tone: 'dim'} : {text}
}

/** Prometheus's text exposition format 0.0.4. Functions come and go with their rows, so that all are gauges. */
export function statsMetrics({funcs}: Stats): string {
  const states = ['ready', 'delayed', 'running', 'failed', 'completed', 'aborted'] as const
  return [
    ...metric(
      'jobq_jobs',
      'Jobs by function and state. failed: exceptions not retried yet; completed, aborted: rows of job_status.',
      funcs.flatMap(stats => states.map(state => [{func: stats.func, state}, stats[state]] as const)),
    ),
    ...metric(
      'jobq_latency_seconds',
      'How long the oldest ready job has been ready; 0 if none is.',
      funcs.map(({func, oldestReadyAge}) => [{func}, oldestReadyAge ?? 0] as const),
    ),
    ...metric(
      'jobq_run_time_seconds',
      'Run times over the last hour, of functions that keep a job status.',
      funcs.flatMap(({func, median, p95}) =>
        [[{func, quantile: '0.5'}, median] as const, [{func, quantile: '0.95'}, p95] as const].flatMap(
          ([labels, value]) => (value === null ? [] : [[labels, value] as const]),
        ),
      ),
    ),
  ].join('')
}

function metric(
  name: string,
  help: string,
  samples: readonly (readonly [labels: Record<string, string>, value: number])[],
): string[] {
  const lines = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${labelValue(text)}"`)
    return `${name}{${pairs.join(',')}} ${value}\n`
  })
  return [`# HELP ${name} ${help}\n`, `# TYPE ${name} gauge\n`, ...lines]
}

function labelValue(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
