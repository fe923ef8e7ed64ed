/** How many an action on all that match would concern: counted for a moment, since nobody waits for a million. */
import {monotonic} from '../../jobs/clock.ts'
import {exceptionsOf, filtersOf, fitsJob, fitsRetry, jobsOf} from '../filters.ts'
import {ofGroup} from '../groups.ts'
import type {Site} from '../site.ts'
import {FIELDS} from './plans.ts'
import type {Plan} from './runs.ts'

const MOST = 10_000
const COUNT_MS = 500

/** Null: it is not about all that match. */
export async function countUpToMost(site: Site, form: URLSearchParams): Promise<Plan['total']> {
  const what = form.get('all')
  if (what !== 'jobs' && what !== 'exceptions') return null
  const filters = {...filtersOf(form, what, FIELDS), all: ''}
  if (what === 'jobs') return counted(jobsOf(site, filters), fitsJob(filters))
  const {func, group, q, since, uniqkey} = filters
  if (group && func && !q && !since && !uniqkey) return counted(ofGroup(site.queue, func, group), () => true)
  return counted(exceptionsOf(site, filters), fitsRetry(filters))
}

async function counted<Row>(rows: AsyncIterable<Row>, fits: (row: Row) => boolean): Promise<Plan['total']> {
  const since = monotonic()
  let jobs = 0
  for await (const row of rows) {
    if (jobs === MOST || monotonic() - since > COUNT_MS) return {jobs, isMore: true}
    if (fits(row)) jobs++
  }
  return {jobs, isMore: false}
}
