/** What `jobq status` shows: a document, tab-separated lines, or a table of slots for each manager. */
import type {ManagerStatus, Slot} from '../jobs/manager.ts'
import {line} from './listing.ts'
import type {Cell, Column} from './table.ts'
import {duration, oneLine} from './text.ts'

/** The fields of a line, for --help: one line a slot. */
export const STATUS_FIELDS = ['manager', 'state', 'pid', 'id', 'func', 'seconds', 'jobs', 'memory']

export function statusLines(managers: readonly ManagerStatus[]): string {
  return managers
    .flatMap(({pid: manager, slots}) =>
      slots.map(({state, pid, id, func, seconds, jobs, memory}) =>
        line([manager, state, pid, id, func, seconds, jobs, memory]),
      ),
    )
    .join('')
}

const COLUMNS: readonly Column[] = [
  {head: 'SLOT'},
  {head: 'PID', align: 'right', leaves: true},
  {head: 'JOB', align: 'right'},
  {head: 'FUNC', gives: 'hardly'},
  {head: 'FOR', align: 'right'},
  {head: 'JOBS', align: 'right', leaves: true},
  {head: 'MEMORY', align: 'right', leaves: true},
]

export async function statusTables(managers: readonly ManagerStatus[], width: number): Promise<string> {
  const {TableDrawer} = await import('./table.ts')
  return managers
    .map(manager => `${heading(manager)}\n${new TableDrawer(COLUMNS, width).draw(manager.slots.map(cells))}`)
    .join('\n')
}

function heading({pid, host, started, jobs, failed, memory, paused}: ManagerStatus): string {
  const since = duration(Math.floor(Date.now() / 1000) - started)
  const pause =
    paused.length === 0 ? '' : `, paused: ${paused.map(func => oneLine(func) || 'everything').join(', ')}`
  return `jobq work ${pid} on ${oneLine(host)}, for ${since}: ${jobs} jobs, ${failed} failed, ${size(memory)}${pause}`
}

function cells({state, pid, id, func, seconds, jobs, memory}: Slot): Cell[] {
  return [
    {text: state, tone: state === 'working' ? 'busy' : state === 'idle' ? 'good' : 'dim'},
    orDash(pid),
    orDash(id),
    {text: func === null ? '-' : oneLine(func)},
    {text: seconds === null ? '-' : seconds < 10 ? `${seconds}s` : duration(seconds)},
    orDash(pid === null ? null : jobs),
    {text: size(memory)},
  ]
}

function orDash(number: number | string | null): Cell {
  return number === null ? {text: '-', tone: 'dim'} : {text: oneLine(String(number))}
}

function size(bytes: number | null): string {
  return bytes === null ? '-' : `${(bytes / 2 ** 20).toFixed(0)}M`
}
