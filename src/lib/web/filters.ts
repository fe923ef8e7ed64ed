/** What a listing is asked for, as its form and its URL have it. */
import {UsageError} from '../jobs/errors.ts'
import {JOB_STATES, type JobState, type ListedJob, type RowRef} from '../jobs/job.ts'
import {checkUniqkey} from '../jobs/names.ts'
import type {ExceptionRow, StatusRow} from '../jobs/rows/history.ts'
import {parsePast} from '../jobs/time.ts'
import {groupIdOf} from './groups.ts'
import {has, PAGE_ROWS, type Spot} from './search.ts'
import type {Site} from './site.ts'

/** Empty texts where nothing is said. */
export interface Filters extends Record<string, string> {
  func: string
  state: string
  uniqkey: string
  /** Text that stands in the argument, or in a message. */
  q: string
  /** A time, or how long ago. */
  since: string
  /** Of failures: those that are alike. */
  group: string
  /** Of failures: those that were retried, too. */
  all: string
}

/** What each listing can be asked for. */
const FILTERS = {
  jobs: ['func', 'state', 'uniqkey', 'q', 'since'],
  exceptions: ['func', 'uniqkey', 'q', 'since', 'group'],
  finished: ['func', 'uniqkey', 'q', 'since'],
}
/** What the address of a page says besides: where it goes on, what was done, and that those that were retried are meant, too. */
const BESIDE = ['after', 'run', 'all']

/**
 * A name and a key are as they are written: blanks may be all there is of one.
 * @param beside what else may be said
 * @throws UsageError also for another field: a filter that is misspelt, or of another listing, would leave more than was meant
 */
export function filtersOf(
  query: URLSearchParams,
  listing: keyof typeof FILTERS,
  beside: readonly string[] = BESIDE,
): Filters {
  const known = [...FILTERS[listing], ...beside]
  for (const [name, value] of query)
    if (!known.includes(name) && value !== '')
      throw new UsageError(`unknown field ${JSON.stringify(name)}`, {
        hint: `what is listed there is chosen by ${FILTERS[listing].join(', ')}`,
      })
  const exact = (name: string) => query.get(name) ?? ''
  const of = (name: string) => exact(name).trim()
  const filters: Filters = {
    ...{func: exact('func'), state: of('state'), uniqkey: exact('uniqkey'), q: of('q'), since: of('since')},
    ...{group: of('group'), all: of('all')},
  }
  if (filters.state && !JOB_STATES.includes(filters.state as JobState))
    throw new UsageError(
      `state: expected one of ${JOB_STATES.join(', ')}, got ${JSON.stringify(filters.state)}`,
    )
  if (filters.uniqkey) checkUniqkey(filters.uniqkey)
  sinceOf(filters)
  return filters
}

/** In Unix seconds; by this machine's clock, since rows are compared here. @throws UsageError */
function sinceOf({since}: Pick<Filters, 'since'>): number {
  if (since === '') return 0
  const time = parsePast(since, 'since')
  return 'at' in time ? time.at : Math.floor(Date.now() / 1000) - time.ago
}

/** Of a listing: behind which row, and how many at most. Default: all. */
interface Part<Place> {
  after?: Place | undefined
  limit?: number | undefined
}

/** How many rows a page needs: one more than it shows; as many as it takes where they are looked at one by one. */
export function limitOf({q, since, group}: Filters): number | undefined {
  return q || since || group ? undefined : PAGE_ROWS + 1
}

/** What the store finds of them, with arguments as they may be shown: none of a function that nobody knows. */
export async function* jobsOf(
  {queue, masks}: Pick<Site, 'queue' | 'masks'>,
  {func, state, uniqkey}: Filters,
  part: Part<Spot> = {},
): AsyncGenerator<ListedJob> {
  if (func && !(await queue.funcs()).includes(func)) return
  const page = {
    func: func || undefined,
    state: (state || undefined) as JobState | undefined,
    uniqkey: uniqkey || undefined,
    ...part,
  }
  for await (const job of queue.eachJob(page)) yield masks.of(job)
}

/** And what it does not look for. */
export function fitsJob(filters: Filters): (job: ListedJob) => boolean {
  const from = sinceOf(filters)
  return job => job.enqueueTime >= from && has(filters.q, job.arg, job.uniqkey)
}

/** Failed attempts that were not retried yet, unless it asks for all, newest first. */
export async function* exceptionsOf(
  {queue, masks}: Pick<Site, 'queue' | 'masks'>,
  {func, uniqkey, all}: Filters,
  part: Part<readonly RowRef[]> = {},
): AsyncGenerator<ExceptionRow> {
  if (func && !(await queue.funcs()).includes(func)) return
  const page = {func: func || undefined, uniqkey: uniqkey || undefined, unretried: all === '', ...part}
  for await (const row of queue.eachException(page)) yield masks.of(row)
}

export function fitsException(filters: Filters): (row: ExceptionRow) => boolean {
  const from = sinceOf(filters)
  return row =>
    row.exceptionTime >= from &&
    (filters.group === '' || groupIdOf(row) === filters.group) &&
    has(filters.q, row.arg, row.message, row.uniqkey)
}

/** Those with which a job was given up: what a retry of all that match is about. */
export function fitsRetry(filters: Filters): (row: ExceptionRow) => boolean {
  const fits = fitsException(filters)
  return row => row.state === 'failed' && fits(row)
}

/** Of a function that keeps them, newest first. */
export async function* statusesOf(
  {queue, masks}: Pick<Site, 'queue' | 'masks'>,
  {func, uniqkey}: Filters,
  part: Part<readonly RowRef[]> = {},
): AsyncGenerator<StatusRow> {
  if (func && !(await queue.funcs()).includes(func)) return
  const page = {func: func || undefined, uniqkey: uniqkey || undefined, ...part}
  for await (const row of queue.eachStatus(page)) yield masks.of(row)
}

export function fitsStatus(filters: Filters): (row: StatusRow) => boolean {
  const from = sinceOf(filters)
  return row => row.jobEndTime >= from && has(filters.q, row.arg, row.uniqkey)
}
