/** A listing of jobs, by the index jobq_lane: a page costs what it shows, not what waits. */
import type {JobRow, JobState, ListedJob} from '../../jobs/job.ts'
import type {JobPage} from '../store.ts'
import {delayedOf, type Keys, ORDERS, readyOf} from './lanes.ts'
import {atNow, nowOf, type Reading, rowsOf, textOf} from './reading.ts'
import {
  chosen,
  FIRST,
  type Func,
  type Greatest,
  type Key,
  LAST,
  type ReadsSql,
  type Sized,
  tooLarge,
} from './reads-sql.ts'
import {fitting, STRETCH_ROWS, type Stretch} from './stretch.ts'

/** As they are listed: who works now, who is next, who is later. */
const LISTED_STATES: readonly JobState[] = ['running', 'ready', 'delayed']
/**
 * The most keys that are read ahead of their rows. Where there are many lanes, that many keys are read at once: a
 * listing asks each lane about once for every row that it shows.
 */
const MOST_AHEAD = 100_000

/**
 * Where a listing of jobs goes on. Its states are those of one moment, however long it takes. It is a key, not an
 * offset: rows that come and go meanwhile move nothing.
 */
export interface JobPlace {
  now: number
  state: JobState
  /** Of what comes next: read already, but not yet its rows. */
  ids: readonly number[]
  /** The last key that was read; null: none yet. */
  after: Key | null
  /** Does anything come behind that? */
  hasMore: boolean
  /** The keys beside the lanes that are not among those that were read; null: not looked at yet. */
  aside: readonly Key[] | null
  skip: number
  left: number
}

/** One stretch, of one moment: first keys in order (lanes.ts), then as many of their rows as fit. */
export function* jobs<Query>(
  sql: ReadsSql<Query>,
  page: JobPage,
  place: JobPlace | null,
): Reading<Query, Stretch<ListedJob, JobPlace>> {
  const {func, state: only, uniqkey, limit, offset} = page
  if (uniqkey !== undefined) {
    const rows = yield* withUniqkey(sql, uniqkey, func)
    const wanted = rows.filter(({state}) => only === undefined || state === only)
    const chosen = wanted.slice(offset, offset + limit)
    return {rows: yield* withContexts(sql, chosen, page), next: null}
  }
  if (limit === 0) return {rows: [], next: null}
  const begun =
    place ?? placeIn(only ?? LISTED_STATES[0]!, {now: yield* nowOf(sql), skip: offset, left: limit})
  const here = yield* readAhead(sql, begun, func)
  const ids = here.ids.slice(0, Math.min(STRETCH_ROWS, here.left))
  const {found, passed} = yield* asManyAsFit(sql, ids)
  // One that has left its state since its key was read is met where it is now, or has been passed
  const rows = found.map(row => listed(row, here.now)).filter(({state}) => state === here.state)
  const next = placeBehind(here, passed, rows.length, only)
  return {rows: yield* withContexts(sql, rows, page), next}
}

export function* find<Query>(sql: ReadsSql<Query>, id: number): Reading<Query, ListedJob | null> {
  const [now, [row]] = yield* atNow(sql, sql.jobs([id]))
  return row === undefined ? null : listed(sql.jobOf(row), now)
}

export function* funcs<Query>(sql: ReadsSql<Query>): Reading<Query, string[]> {
  const rows = yield* rowsOf<Func, Query>(sql.funcs())
  return rows.map(({name}) => textOf(name))
}

export function* tooLargeId<Query>(sql: ReadsSql<Query>): Reading<Query, string | null> {
  const [row] = yield* rowsOf<Greatest, Query>(sql.greatestId('job'))
  return tooLarge(row!)
}

function* withContexts<Query>(
  sql: ReadsSql<Query>,
  rows: ListedJob[],
  {contexts}: JobPage,
): Reading<Query, ListedJob[]> {
  if (!contexts || rows.length === 0) return rows
  const found = yield* rowsOf<{id: number; context: unknown}, Query>(sql.contexts(rows.map(({id}) => id)))
  const byId = new Map(found.map(({id, context}) => [id, textOf(context)]))
  return rows.map(row => ({...row, context: byId.get(row.id)}))
}

function listed(row: JobRow, now: number): ListedJob {
  return {...row, state: stateOf(row, now)}
}

/** What is no number (NaN) is behind every time, as it is for the database that it is in. */
function stateOf({grabbedUntil, runAfter}: JobRow, now: number): JobState {
  if (!(grabbedUntil <= now)) return 'running'
  return runAfter <= now ? 'ready' : 'delayed'
}

/** A (func, uniqkey) is unique: at most one row a function. */
function* withUniqkey<Query>(
  sql: ReadsSql<Query>,
  uniqkey: string,
  func: string | undefined,
): Reading<Query, ListedJob[]> {
  const [now, funcs] = yield* atNow<Func, Query>(sql, chosen(sql, func))
  if (funcs.length === 0) return []
  const ids = funcs.map(({id}) => id)
  const rows = yield* rowsOf(sql.withUniqkey(uniqkey, ids))
  const rank = ({state}: ListedJob) => LISTED_STATES.indexOf(state)
  return rows
    .map(row => listed(sql.jobOf(row), now))
    .sort((a, b) => rank(a) - rank(b) || ORDERS[a.state](a, b))
}

/** The first rows that fit into a stretch, but for those that have left since their keys were read. */
function* asManyAsFit<Query>(
  sql: ReadsSql<Query>,
  ids: readonly number[],
): Reading<Query, {found: JobRow[]; passed: number}> {
  if (ids.length === 0) return {found: [], passed: 0}
  const sizes = yield* rowsOf<Sized, Query>(sql.jobSizes(ids))
  const bytes = new Map(sizes.map(({id, bytes}) => [id, bytes]))
  const some = fitting(ids.map(id => ({id, bytes: bytes.get(id) ?? 0})))
  const rows = yield* rowsOf(sql.jobs(some))
  const byId = new Map(rows.map(sql.jobOf).map(row => [row.id, row]))
  return {found: some.flatMap(id => byId.get(id) ?? []), passed: some.length}
}

// ---- keys

/** Keys are read until there are some, or no more of this state. */
function* readAhead<Query>(
  sql: ReadsSql<Query>,
  place: JobPlace,
  func: string | undefined,
): Reading<Query, JobPlace> {
  let here = place
  if (here.ids.length > 0 || !here.hasMore) return here
  const funcIds = yield* withJobs(sql, func)
  while (here.ids.length === 0 && here.hasMore) {
    const aside = here.aside ?? (yield* besideLanes(sql, funcIds, here))
    here = withKeys(here, yield* inLanes(sql, funcIds, here), aside)
  }
  return here
}

function* withJobs<Query>(sql: ReadsSql<Query>, only: string | undefined): Reading<Query, number[]> {
  const named = only === undefined ? [] : yield* rowsOf<Func, Query>(sql.named(only))
  if (named.length > 0) return named.map(({id}) => id)
  if (only !== undefined && !only.startsWith('#')) return []
  const ids = (yield* sql.withJobs()).map(({id}) => id)
  if (only === undefined) return ids
  const all = yield* rowsOf<Func, Query>(sql.funcs())
  return ids.filter(id => only === `#${id}` && all.every(func => func.id !== id))
}

/** Leases that ran out, and what another program has written that no lane can hold: read once for each state. */
function* besideLanes<Query>(
  sql: ReadsSql<Query>,
  funcIds: readonly number[],
  {state, now}: JobPlace,
): Reading<Query, Key[]> {
  if (funcIds.length === 0) return []
  const parts = (yield sql.besideLanes(funcIds, state, now)) as Key[][]
  return parts
    .flat()
    .map(({id, priority, runAfter}) => ({id, priority: held(priority), runAfter: held(runAfter)}))
    .sort(ORDERS[state])
}

/** Text comes behind every number, as in SQLite's index, and so does what JavaScript can't hold. */
function held(value: unknown): number {
  return typeof value === 'number' ? Math.max(FIRST, Math.min(LAST, value)) : LAST
}

function* inLanes<Query>(
  sql: ReadsSql<Query>,
  funcIds: readonly number[],
  {state, now, after, skip, left}: JobPlace,
): Reading<Query, Keys> {
  if (state === 'running' || funcIds.length === 0) return {keys: [], end: null}
  const lanes = yield* sql.lanes(funcIds)
  if (lanes) {
    const wanted = Math.min(Math.max(STRETCH_ROWS, Math.min(lanes.length, MOST_AHEAD)), skip + left)
    return yield* (state === 'ready' ? readyOf : delayedOf)(sql, lanes, after, wanted, now)
  }
  const wanted = Math.min(MOST_AHEAD, skip + left)
  const keys = yield* rowsOf<Key, Query>(sql.sortedKeys!(funcIds, state, now, after, wanted))
  return {keys, end: keys.length === wanted ? (keys.at(-1) ?? null) : null}
}

// ---- places

function placeIn(state: JobState, rest: Pick<JobPlace, 'now' | 'skip' | 'left'>): JobPlace {
  return {...rest, state, ids: [], after: null, hasMore: true, aside: null}
}

/** The place with these keys read: those of the lanes, and those beside them that come before their end. */
function withKeys(place: JobPlace, {keys: inLanes, end}: Keys, aside: readonly Key[]): JobPlace {
  const order = ORDERS[place.state]
  const among = end === null ? aside : aside.filter(key => order(key, end) <= 0)
  const keys = among.length === 0 ? inLanes : [...inLanes, ...among].sort(order)
  const skipped = Math.min(place.skip, keys.length)
  return {
    ...place,
    ids: keys.slice(skipped).map(({id}) => id),
    after: end,
    hasMore: end !== null,
    aside: end === null ? [] : aside.filter(key => order(key, end) > 0),
    skip: place.skip - skipped,
  }
}

/** The place behind so many ids, of which so many were listed; null: all has been. */
function placeBehind(
  place: JobPlace,
  passed: number,
  listed: number,
  only: JobState | undefined,
): JobPlace | null {
  const left = place.left - listed
  if (left === 0) return null
  const ids = place.ids.slice(passed)
  if (ids.length > 0 || place.hasMore) return {...place, ids, left}
  const following = only === undefined && LISTED_STATES[LISTED_STATES.indexOf(place.state) + 1]
  return following ? placeIn(following, {...place, left}) : null
}
