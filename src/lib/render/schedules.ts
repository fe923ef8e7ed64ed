/** The configuration's schedules as `jobq schedules` shows them. The fields of a line are a promise: new ones go to the end. */
import {idOf} from '../jobs/job.ts'
import type {ScheduleStatus} from '../jobs/side-tables/schedules.ts'
import {line} from './listing.ts'
import type {Cell, Column} from './table.ts'
import {fromNow, oneLine} from './text.ts'

export const FIELDS = ['name', 'cron', 'time_zone', 'func', 'next', 'last', 'job_id', 'queued'] as const

export function scheduleDocument(schedule: ScheduleStatus): Record<(typeof FIELDS)[number], unknown> {
  const {name, cron, timeZone, func, next, last, lastJob, isQueued} = schedule
  const job = lastJob && idOf(lastJob)
  return {...{name, cron, time_zone: timeZone, func, next, last}, job_id: job, queued: isQueued}
}

export function scheduleLine(schedule: ScheduleStatus): string {
  const {name, cron, timeZone, func, next, last, lastJob, isQueued} = schedule
  return line([name, cron, timeZone, func, next, last, lastJob && idOf(lastJob), Number(isQueued)])
}

const COLUMNS: readonly Column[] = [
  {head: 'NAME', gives: 'hardly'},
  {head: 'CRON'},
  {head: 'TIME ZONE', leaves: true},
  {head: 'FUNC', gives: 'hardly'},
  {head: 'NEXT'},
  {head: 'LAST'},
  {head: 'JOB', align: 'right'},
]

export async function schedulesTable(schedules: readonly ScheduleStatus[], width: number): Promise<string> {
  const {TableDrawer} = await import('./table.ts')
  return new TableDrawer(COLUMNS, width).draw(schedules.map(cells))
}

function cells({name, cron, timeZone, func, next, last, lastJob, isQueued}: ScheduleStatus): Cell[] {
  return [
    {text: oneLine(name)},
    {text: oneLine(cron)},
    {text: timeZone},
    {text: oneLine(func)},
    timeCell(next),
    timeCell(last),
    lastJob ? {text: String(idOf(lastJob)), ...(isQueued ? {tone: 'waiting'} : {})} : NONE,
  ]
}

function timeCell(time: number | null): Cell {
  return time === null ? NONE : {text: fromNow(time)}
}

const NONE: Cell = {text: '-', tone: 'dim'}
