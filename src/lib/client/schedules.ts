/** The configuration's schedules beside what the store knows of them; one that is run by hand. */

import type {Schedule} from '../config/schedules.ts'
import {schedulesIn} from '../config/schedules.ts'
import type {JobqConfig} from '../config/schema.ts'
import {suggestion} from '../jobs/closest.ts'
import {NotFoundError} from '../jobs/errors.ts'
import type {ScheduleStatus} from '../jobs/side-tables/schedules.ts'
import type {Store} from '../store/store.ts'

type Source = {config: JobqConfig; file: string | null}

/** By name. A store is asked only where there is one. @throws ConfigError, StoreError */
export async function statusesOf(store: Store, {config, file}: Source): Promise<ScheduleStatus[]> {
  const schedules = schedulesIn(config, file)
  if (schedules.length === 0) return []
  const {now, rows} = await store.schedules()
  return schedules.map(({name, cron, timeZone, func, next}) => {
    const row = rows.find(row => row.name === name)
    return {
      ...{name, cron, timeZone, func},
      next: next(now),
      last: row?.ranAt ?? null,
      lastJob: row?.lastJob ?? null,
      isQueued: row?.isQueued ?? false,
    }
  })
}

/** @throws NotFoundError, ConfigError */
export function scheduleNamed(name: string, {config, file}: Source): Schedule {
  const schedules = schedulesIn(config, file)
  const schedule = schedules.find(schedule => schedule.name === name)
  if (schedule) return schedule
  const names = schedules.map(({name}) => name)
  throw new NotFoundError(`no schedule ${JSON.stringify(name)} in ${file ?? 'a configuration'}`, {
    hint:
      names.length === 0
        ? "there are none: write schedules: {nightly: {cron: '0 22 * * *', func: 'Report'}}"
        : `${suggestion(name, names)}\`jobq schedules\` shows those there are`,
  })
}
