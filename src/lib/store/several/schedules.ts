/**
 * Schedules over several databases: the first keeps them, and their jobs are there. While it is out of reach none ticks; a
 * tick that another one passed meanwhile could be passed twice.
 */
import type {NewJob} from '../../jobs/job.ts'
import type {ScheduleDefinition, Tick, Ticked} from '../../jobs/side-tables/schedules.ts'
import type {Schedules} from '../store.ts'
import type {Databases} from './database.ts'

const FIRST = 1

/** As Store.schedules. */
export async function schedulesIn(databases: Databases): Promise<Schedules> {
  const {now, rows} = await first(databases).use(store => store.schedules())
  return {
    now,
    rows: rows.map(row => ({...row, lastJob: row.lastJob && {...row.lastJob, db: FIRST}})),
  }
}

/** As Store.takeUp. */
export function takeUpIn(databases: Databases, schedules: readonly ScheduleDefinition[]): Promise<void> {
  return first(databases).use(store => store.takeUp(schedules))
}

/** As Store.tick. */
export async function tickIn(databases: Databases, tick: Tick, job: NewJob | null): Promise<Ticked> {
  const ticked = await first(databases).use(store => store.tick(tick, job))
  return {...ticked, job: ticked.job && {...ticked.job, db: FIRST}}
}

function first(databases: Databases) {
  return databases.at({id: 0, db: FIRST})
}
