/** The picture of `jobq top`: a summary, the functions, what runs, the managers; as many rows of each as the terminal has. */
import {idOf, type ListedJob} from '../jobs/job.ts'
import type {ManagerStatus, Slot} from '../jobs/manager.ts'
import type {FuncStats, Stats} from '../jobs/stats.ts'
import {countCell, memoryText, orDash} from './cells.ts'
import {PROGRESS, progressCell} from './status.ts'
import type {Cell, Column} from './table.ts'
import {duration, oneLine, sparkline} from './text.ts'

/** What is looked at, anew for each picture. */
export interface TopFacts {
  /** As a message may name it: no password. */
  database: string
  stats: Stats
  running: readonly ListedJob[]
  managers: readonly ManagerStatus[]
  /** Jobs that ended in a second, of late; null: not known yet. */
  rate: number | null
}

export const PANES = ['funcs', 'running'] as const
export type Pane = (typeof PANES)[number]
export const SORTS = {
  funcs: ['name', 'ready', 'running', 'failed', 'oldest'],
  running: ['time', 'job', 'function'],
} as const

/** How it is looked at. */
export interface TopView {
  pane: Pane
  /** Which of SORTS, in each pane. */
  sort: Readonly<Record<Pane, number>>
  /** In each pane the row that keys are for: a function, a job's id; null: the first. */
  selected: Readonly<Record<Pane, string | null>>
  /** A question, or what became of the last key; else the keys are named. */
  message: string
}

interface RunningRow {
  job: ListedJob
  /** null: it is a Perl worker's, or its manager has not told yet. */
  where: {host: string; pid: number | null; seconds: number | null} | null
}

function sortedFuncs({stats}: TopFacts, {sort}: Pick<TopView, 'sort'>): FuncStats[] {
  const by = SORTS.funcs[sort.funcs % SORTS.funcs.length]!
  const {funcs} = stats
  switch (by) {
    case 'name':
      return funcs
    case 'oldest':
      return funcs.toSorted((a, b) => (b.oldestReadyAge ?? -1) - (a.oldestReadyAge ?? -1))
    default:
      return funcs.toSorted((a, b) => b[by] - a[by])
  }
}

function sortedRunning({running, managers}: TopFacts, {sort}: Pick<TopView, 'sort'>): RunningRow[] {
  const places = new Map<string, {host: string; slot: Slot}>()
  for (const {host, slots, gone} of managers)
    if (!gone) for (const slot of slots) if (slot.id !== null) places.set(String(slot.id), {host, slot})
  const rows = running.map((job): RunningRow => {
    const place = places.get(String(idOf(job)))
    if (!place) return {job, where: null}
    const {host, slot} = place
    return {job, where: {host, pid: slot.pid, seconds: slot.seconds}}
  })
  const by = SORTS.running[sort.running % SORTS.running.length]!
  const seconds = ({where}: RunningRow) => where?.seconds ?? Number.POSITIVE_INFINITY
  if (by === 'time') return rows.sort((a, b) => seconds(b) - seconds(a) || a.job.id - b.job.id)
  if (by === 'job') return rows.sort((a, b) => a.job.id - b.job.id)
  return rows.sort((a, b) => (a.job.func < b.job.func ? -1 : Number(a.job.func > b.job.func)))
}

/** The rows of a pane by what they are selected by, in their order. */
export function keysOf(pane: Pane, facts: TopFacts, view: Pick<TopView, 'sort'>): string[] {
  return pane === 'funcs'
    ? sortedFuncs(facts, view).map(({func}) => func)
    : sortedRunning(facts, view).map(({job}) => String(idOf(job)))
}

/** Which of these rows keys are for: where what was selected is gone, the first. -1: there is none. */
export function markedOf(keys: readonly string[], selected: string | null): number {
  const at = selected === null ? -1 : keys.indexOf(selected)
  return at < 0 ? Math.min(0, keys.length - 1) : at
}

const MARK: Column = {head: ''}
const FUNC_COLUMNS: readonly Column[] = [
  MARK,
  {head: 'FUNC', gives: 'hardly'},
  {head: 'READY', align: 'right'},
  {head: 'DELAYED', align: 'right', leaves: true},
  {head: 'RUNNING', align: 'right', leaves: true},
  {head: 'FAILED', align: 'right', leaves: true},
  {head: 'RETRYING', align: 'right', leaves: true},
  {head: 'OLDEST', align: 'right', leaves: true},
  {head: 'P95', align: 'right', leaves: true},
  {head: 'LAST HOUR', leaves: true},
]
/** Where jobs wait for others: behind DELAYED. */
const WAITING: Column = {head: 'WAITING', align: 'right', leaves: true}
const WAITING_AT = 4
/** The last so many of them. */
const TIMES = 2
const RUNNING_COLUMNS: readonly Column[] = [
  MARK,
  {head: 'JOB', align: 'right'},
  {head: 'FUNC', gives: 'hardly'},
  {head: 'FOR', align: 'right', leaves: true},
  {head: 'PRIORITY', align: 'right', leaves: true},
  {head: 'HOST', gives: 'hardly', leaves: true},
  {head: 'PID', align: 'right', leaves: true},
]
const MANAGER_COLUMNS: readonly Column[] = [
  MARK,
  {head: 'JOBQ WORK', align: 'right'},
  {head: 'HOST', gives: 'hardly'},
  {head: 'BUSY', align: 'right', leaves: true},
  {head: 'JOBS', align: 'right', leaves: true},
  {head: 'FAILED', align: 'right', leaves: true},
  {head: 'MEMORY', align: 'right', leaves: true},
  {head: 'SEEN', align: 'right', leaves: true},
]
const KEYS = '↑↓ Tab select · s sort · p pause · r retry failed · c cancel · q quit'
const CURVE = 20
/** From here on functions' names have room beside their run times. */
const WIDE = 100
/** Managers are shown below all else, in so much of what rows there are. */
const MANAGERS_PART = 1 / 4

/** @returns lines, at most as many as the terminal has */
export async function topPicture(
  facts: TopFacts,
  view: TopView,
  {columns, rows}: {columns: number; rows: number},
): Promise<string[]> {
  const {TableDrawer} = await import('./table.ts')
  const table = (
    shape: readonly Column[],
    lines: readonly Cell[][],
    at: number,
    title: string,
    room: number,
  ) => {
    if (room < 2 || lines.length === 0) return []
    const size = room - 1
    const first = Math.max(0, Math.min(at - Math.floor(size / 2), lines.length - size))
    const shown = lines.slice(first, first + size)
    const drawn = new TableDrawer(shape, columns)
      .draw(shown.map(row => row.slice(0, shape.length)))
      .trimEnd()
      .split('\n')
    if (shown.length === lines.length) return ['', ...drawn]
    return [`${lines.length} ${title}, from ${first + 1}`, ...drawn]
  }
  const marked = (pane: Pane) =>
    view.pane === pane ? markedOf(keysOf(pane, facts, view), view.selected[pane]) : -1
  const [funcAt, runningAt] = [marked('funcs'), marked('running')]
  const isAny = facts.stats.total.waiting > 0
  const shape = isAny ? FUNC_COLUMNS.toSpliced(WAITING_AT, 0, WAITING) : FUNC_COLUMNS
  const funcs = sortedFuncs(facts, view).map((stats, i) => {
    const cells = funcCells(stats, i === funcAt)
    return isAny ? cells.toSpliced(WAITING_AT, 0, countCell(stats.waiting, 'waiting')) : cells
  })
  const isTold = facts.running.some(({progress}) => progress)
  const running = sortedRunning(facts, view).map((row, i) => runningCells(row, i === runningAt, isTold))
  const managers = facts.managers.map(managerCells)
  const head = summary(facts, view)
  const room = Math.max(0, rows - head.length - 1)
  const forManagers = Math.min(managers.length + 2, Math.floor(room * MANAGERS_PART))
  const left = room - forManagers
  const forRunning = Math.min(running.length + 2, Math.max(Math.floor(left / 2), left - funcs.length - 2))
  const lines = [
    ...head,
    ...table(
      columns < WIDE ? shape.slice(0, -TIMES) : shape,
      funcs,
      funcAt,
      'functions',
      left - forRunning - 1,
    ),
    ...table(
      isTold ? [...RUNNING_COLUMNS, PROGRESS] : RUNNING_COLUMNS,
      running,
      runningAt,
      'jobs run',
      forRunning - 1,
    ),
    ...table(MANAGER_COLUMNS, managers, 0, 'jobq work', forManagers - 1),
  ].slice(0, Math.max(1, rows - 1))
  const blank = Array.from({length: Math.max(0, rows - 1 - lines.length)}, () => '')
  return rows < 2 ? lines : [...lines, ...blank, oneLine(view.message) || KEYS]
}

function summary({database, stats, managers, rate}: TopFacts, {pane, sort}: TopView): string[] {
  const {total} = stats
  const alive = managers.filter(({gone}) => !gone)
  const busy = sum(alive, ({workers}) => workers.working)
  const slots = busy + sum(alive, ({workers}) => workers.idle + workers.none)
  const hosts = new Set(alive.map(({host}) => host)).size
  const by = SORTS[pane][sort[pane] % SORTS[pane].length]!
  const time = new Date().toLocaleTimeString('sv')
  const working =
    alive.length === 0
      ? 'no `jobq work` is running'
      : `${alive.length} jobq work on ${hosts === 1 ? '1 host' : `${hosts} hosts`}, ${busy} of ${slots} busy`
  const perSecond = rate === null ? '' : `, ${rate < 10 ? rate.toFixed(1) : rate.toFixed(0)} jobs/s`
  return [
    `${time}  ${oneLine(database)}${total.paused ? '  PAUSED' : ''}`,
    `${working}${perSecond}; by ${by}`,
  ]
}

function mark(isSelected: boolean): Cell {
  return isSelected ? {text: '▸', tone: 'strong'} : {text: ' '}
}

function funcCells(stats: FuncStats, isSelected: boolean): Cell[] {
  const {func, ready, delayed, running, failed, retrying, oldestReadyAge, p95, paused, perMinute} = stats
  return [
    mark(isSelected),
    {text: oneLine(func) + (paused ? ' (paused)' : ''), ...(paused ? {tone: 'waiting'} : {})},
    countCell(ready, 'good'),
    countCell(delayed, 'waiting'),
    countCell(running, 'busy'),
    countCell(failed, 'bad'),
    countCell(retrying, 'waiting'),
    orDash(oldestReadyAge === null ? null : duration(oldestReadyAge)),
    orDash(p95 === null ? null : duration(p95)),
    {text: sparkline(perMinute ?? [], CURVE), tone: 'busy'},
  ]
}

function runningCells({job, where}: RunningRow, isSelected: boolean, isTold: boolean): Cell[] {
  return [
    mark(isSelected),
    {text: String(idOf(job))},
    {text: oneLine(job.func)},
    orDash(where?.seconds == null ? null : duration(where.seconds)),
    {text: String(job.priority)},
    orDash(where?.host ?? null),
    orDash(where?.pid ?? null),
    ...(isTold ? [progressCell(job)] : []),
  ]
}

function managerCells({pid, host, workers, jobs, failed, memory, age, gone}: ManagerStatus): Cell[] {
  const {working, idle, none} = workers
  return [
    mark(false),
    {text: String(pid)},
    {text: oneLine(host)},
    {text: `${working}/${working + idle + none}`, tone: working > 0 ? 'busy' : 'dim'},
    countCell(jobs),
    countCell(failed, 'bad'),
    {text: memoryText(memory)},
    {text: `${duration(age)} ago`, tone: gone ? 'bad' : 'dim'},
  ]
}

function sum<T>(of: readonly T[], value: (one: T) => number): number {
  return of.reduce((total, one) => total + value(one), 0)
}
