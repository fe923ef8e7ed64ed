/** What `jobq status` shows: a document, tab-separated lines, or a table of slots for each manager. */

import type {Progress} from '../jobs/job.ts'
import {countSlots, type ManagerStatus, type Slot} from '../jobs/manager.ts'
import {progressText} from '../jobs/side-tables/progress.ts'
import {memoryText, orDash} from './cells.ts'
import {line} from './listing.ts'
import type {Cell, Column} from './table.ts'
import {duration, oneLine} from './text.ts'

/** The fields of a line, for --help: one line a slot. */
export const STATUS_FIELDS = [
  'manager',
  'state',
  'pid',
  'id',
  'func',
  'seconds',
  'jobs',
  'memory',
  'host',
  'age',
  'progress',
]

export function statusLines(managers: readonly ManagerStatus[]): string {
  return managers
    .flatMap(({pid: manager, slots, host, age}) =>
      slots.map(({state, pid, id, func, seconds, jobs, memory, progress}) =>
        line([
          ...[manager, state, pid, id, func, seconds, jobs, memory, host, age],
          progress ? progressText(progress) : null,
        ]),
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

/** Where a job has said how far it is. */
export const PROGRESS: Column = {head: 'PROGRESS', gives: 'gladly'}

export function progressCell({progress}: {progress?: Progress | undefined}): Cell {
  return orDash(progress ? oneLine(progressText(progress)) : null)
}

export async function statusTables(managers: readonly ManagerStatus[], width: number): Promise<string> {
  const {TableDrawer} = await import('./table.ts')
  return managers
    .map(manager => {
      const isTold = manager.slots.some(({progress}) => progress)
      const columns = isTold ? [...COLUMNS, PROGRESS] : COLUMNS
      const rows = manager.slots.map(slot => (isTold ? [...cells(slot), progressCell(slot)] : cells(slot)))
      const table = new TableDrawer(columns, width).draw(rows)
      return `${heading(manager)}\n${table}${moreSlots(manager)}`
    })
    .join('\n')
}

function heading({pid, host, started, seen, jobs, failed, memory, paused, ...now}: ManagerStatus): string {
  const since = now.gone ? `not seen for ${duration(now.age)}` : `for ${duration(seen + now.age - started)}`
  const pause =
    paused.length === 0 ? '' : `, paused: ${paused.map(func => oneLine(func) || 'everything').join(', ')}`
  return `jobq work ${pid} on ${oneLine(host)}, ${since}: ${jobs} jobs, ${failed} failed, ${memoryText(memory)}${pause}`
}

function moreSlots({slots, workers}: ManagerStatus): string {
  const shown = countSlots(slots)
  const left = (['working', 'idle', 'none'] as const).flatMap(state =>
    workers[state] > shown[state] ? [`${workers[state] - shown[state]} ${state}`] : [],
  )
  return left.length === 0 ? '' : `and more slots: ${left.join(', ')}\n`
}

function cells({state, pid, id, func, seconds, jobs, memory}: Slot): Cell[] {
  return [
    {text: state, tone: state === 'working' ? 'busy' : state === 'idle' ? 'good' : 'dim'},
    orDash(pid),
    orDash(id),
    {text: func === null ? '-' : oneLine(func)},
    {text: seconds === null ? '-' : seconds < 10 ? `${seconds}s` : duration(seconds)},
    orDash(pid === null ? null : jobs),
    {text: memoryText(memory)},
  ]
}
