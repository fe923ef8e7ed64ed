/** What `jobq stats` shows: as a JSON document, as tab-separated lines, as a table. */
import type {FuncStats, Stats} from '../jobs/stats.ts'
import {countCell, orDash} from './cells.ts'
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
    retrying: stats.retrying,
    waiting: stats.waiting,
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
  ...['run_time_median', 'run_time_p95', 'jobs_per_minute', 'retrying', 'waiting'],
]

/** A line for every function, by name; the last line is the total. */
export function statsLines({funcs, total}: Stats): string {
  return [...funcs, {func: 'total', ...total}].map(stats => line(fields(stats))).join('')
}

function fields(stats: FuncStats): (string | number | null)[] {
  const {func, ready, delayed, running, failed, completed, aborted, oldestReadyAge, median, p95} = stats
  return [
    ...[func, ready, delayed, running, failed, completed, aborted, oldestReadyAge, median, p95],
    ...[jobsPerMinute(stats), stats.retrying, stats.waiting],
  ]
}

const COUNT_COLUMNS: readonly Column[] = [
  {head: 'READY', align: 'right'},
  {head: 'DELAYED', align: 'right'},
  {head: 'RUNNING', align: 'right'},
  {head: 'FAILED', align: 'right'},
  {head: 'RETRYING', align: 'right'},
  {head: 'COMPLETED', align: 'right'},
  {head: 'ABORTED', align: 'right'},
  {head: 'OLDEST', align: 'right'},
]
/** Where jobs wait for others: behind DELAYED. */
const WAITING: Column = {head: 'WAITING', align: 'right'}
const TIME_COLUMNS: readonly Column[] = [
  {head: 'MEDIAN', align: 'right'},
  {head: 'P95', align: 'right'},
  {head: 'PER MIN', align: 'right'},
  {head: 'LAST HOUR'},
]

/** From here on all columns go beside each other, with a name and a curve of some use. */
const WIDE = 142
const CURVES = [60, 30, 20]

/** One table, or on a terminal as most are, two: the counts, and below them the times of those that have some. */
export async function statsTable({funcs, total}: Stats, width: number): Promise<string> {
  const {TableDrawer} = await import('./table.ts')
  const all = funcs.length === 1 ? funcs : [...funcs, {func: 'total', ...total}]
  const table = (
    columns: readonly Column[],
    rows: readonly FuncStats[],
    cells: (stats: FuncStats) => Cell[],
  ) => {
    const drawer = new TableDrawer([{head: 'FUNC', gives: 'hardly'}, ...columns], width)
    return drawer.draw(
      rows.map((stats, i) => {
        const row = [{text: oneLine(stats.func) + (stats.paused ? ' (paused)' : '')}, ...cells(stats)]
        return funcs.length > 1 && i === rows.length - 1 ? row.map(({text}) => ({text, tone: 'strong'})) : row
      }),
    )
  }
  const isAny = total.waiting > 0
  const counts = isAny ? COUNT_COLUMNS.toSpliced(2, 0, WAITING) : COUNT_COLUMNS
  const countCells = (stats: FuncStats) => {
    const cells = cellsOf(stats)
    return isAny ? cells.toSpliced(2, 0, countCell(stats.waiting, 'waiting')) : cells
  }
  const wide = WIDE + (isAny ? WAITING.head.length + 2 : 0)
  if (width >= wide) {
    const curve = CURVES.find(wanted => wanted <= width - wide + 20)!
    return table([...counts, ...TIME_COLUMNS], all, stats => [
      ...countCells(stats),
      ...timeCells(stats, curve),
    ])
  }
  const timed = all.filter(({perMinute}) => perMinute !== null)
  const curve = width < 80 ? 15 : 30
  return (
    table(counts, all, countCells) +
    (timed.length > 0 ? `\n${table(TIME_COLUMNS, timed, stats => timeCells(stats, curve))}` : '')
  )
}

function cellsOf(stats: FuncStats): Cell[] {
  const {ready, delayed, running, failed, retrying, completed, aborted, oldestReadyAge} = stats
  return [
    countCell(ready, 'good'),
    countCell(delayed, 'waiting'),
    countCell(running, 'busy'),
    countCell(failed, 'bad'),
    countCell(retrying, 'waiting'),
    countCell(completed),
    countCell(aborted, 'bad'),
    orDash(oldestReadyAge === null ? null : duration(oldestReadyAge)),
  ]
}

function timeCells(stats: FuncStats, curve: number): Cell[] {
  const {median, p95} = stats
  const perMinute = jobsPerMinute(stats)
  return [
    orDash(median === null ? null : duration(median)),
    orDash(p95 === null ? null : duration(p95)),
    orDash(perMinute),
    {text: sparkline(stats.perMinute ?? [], curve), tone: 'busy'},
  ]
}
