/** A listing of jobs, by the index jobq_lane: a page costs what it shows, not what waits. */
import type {JobRow, JobState, ListedJob, Parked, RowRef, TagChoice, WaitsFor} from '../../../jobs/job.ts'
import type {Extras, IdChoice, JobPage, JobSpot} from '../../store.ts'
import {type Keys, laterOf, ORDERS, readyOf} from '../lanes.ts'
import {fewTagged, type TagRow, tagged, tagsOf, withTags} from '../tags.ts'
import {atNow, nowOf, type Reading, rowsOf, textOf} from './reading.ts'
import {
  type Condition,
  chosen,
  FIRST,
  type Func,
  type Greatest,
  type Key,
  LAST,
  type ReadsSql,
  type Sized,
  type TagPlace,
  tooLarge,
} from './sql.ts'
import {fitting, STRETCH_ROWS, type Stretch} from './stretch.ts'

/** As they are listed: who works now, who is next, who is later, who waits for others. */
const LISTED_STATES: readonly JobState[] = ['running', 'ready', 'delayed', 'waiting']
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
  /** Where tags are asked for: the jobs that have them; null: they are too many to be held. Not there: not looked at yet. */
  tagged?: readonly TagRow[] | null
}

/**
 * One stretch, of one moment: first keys in order (lanes.ts), then as many of their rows as fit. It goes on through the
 * states until it is full: a job that is taken between two stretches has left the one and is looked for in the other no more.
 */
export function* jobs<Query>(
  sql: ReadsSql<Query>,
  page: JobPage,
  place: JobPlace | null,
): Reading<Query, Stretch<ListedJob, JobPlace>> {
  const {func, state: only, uniqkey, tags = [], limit, offset, after} = page
  if (uniqkey !== undefined) {
    const rows = yield* withTags(sql, yield* withUniqkey(sql, uniqkey, func), tags)
    const wanted = rows.filter(
      row => (only === undefined || row.state === only) && (after === undefined || isBehind(row, after)),
    )
    const chosen = wanted.slice(offset, offset + limit)
    return {rows: yield* withBeside(sql, chosen, page), next: null}
  }
  if (limit === 0) return {rows: [], next: null}
  const rows: ListedJob[] = []
  let here: JobPlace
  let next: JobPlace | null = place ?? firstPlace(page, yield* nowOf(sql))
  do {
    here = yield* readAhead(sql, next, func, tags)
    const ids = here.ids.slice(0, Math.min(STRETCH_ROWS - rows.length, here.left))
    const {found, passed} = yield* asManyAsFit(sql, ids)
    // One that has left its state since its key was read is met where it is now, or has been passed
    const some = found.map(row => listed(row, here.now, sql.never)).filter(({state}) => state === here.state)
    rows.push(...some)
    next = placeBehind(here, passed, some.length, only)
  } while (next !== null && next.state !== here.state && rows.length < STRETCH_ROWS)
  return {rows: yield* withBeside(sql, rows, page), next}
}

export function* find<Query>(
  sql: ReadsSql<Query>,
  id: number,
  extras: Extras = {},
): Reading<Query, ListedJob | null> {
  const [now, [row]] = yield* atNow(sql, sql.jobs([id]))
  if (row === undefined) return null
  const [job] = yield* withBeside(sql, [listed(sql.jobOf(row), now, sql.never)], extras)
  return job!
}

export function* funcs<Query>(sql: ReadsSql<Query>): Reading<Query, string[]> {
  const rows = yield* rowsOf<Func, Query>(sql.funcs())
  return rows.map(({name}) => textOf(name))
}

export function* tooLargeId<Query>(sql: ReadsSql<Query>): Reading<Query, string | null> {
  const [row] = yield* rowsOf<Greatest, Query>(sql.greatestId('job'))
  return tooLarge(row!)
}

/** Where the ids of jobs go on. Those beyond `upTo` came after the reading began. */
export interface IdPlace {
  after: number
  upTo: number
  /** Of jobs with tags: along their rows. */
  tagged?: TagPlace
}

export function* jobIds<Query>(
  sql: ReadsSql<Query>,
  {func, tags = []}: IdChoice,
  place: IdPlace | null,
): Reading<Query, Stretch<RowRef, IdPlace>> {
  const begun = place ?? {after: 0, upTo: yield* greatestJob(sql)}
  if (tags.length > 0) return yield* taggedIds(sql, func, tags, begun)
  const {after, upTo} = begun
  const where: Condition[] = [
    ['id > ?', after],
    ['id <= ?', upTo],
  ]
  if (func !== undefined) {
    const [named] = yield* rowsOf<Func, Query>(sql.named(func))
    if (!named) return {rows: [], next: null}
    where.push(['func_id = ?', named.id])
  }
  const found = yield* rowsOf<RowRef, Query>(sql.jobIds(where, STRETCH_ROWS))
  const rows = found.map(({id}) => ({id: Number(id)}))
  return {rows, next: rows.length < STRETCH_ROWS ? null : {after: rows.at(-1)!.id, upTo}}
}

/** A tag's rows are neither moved by work. */
function* taggedIds<Query>(
  sql: ReadsSql<Query>,
  func: string | undefined,
  tags: readonly TagChoice[],
  place: IdPlace,
): Reading<Query, Stretch<RowRef, IdPlace>> {
  const [named] = func === undefined ? [] : yield* rowsOf<Func, Query>(sql.named(func))
  if (func !== undefined && !named) return {rows: [], next: null}
  const {rows, next} = yield* tagged(sql, tags, place.tagged ?? null)
  const isThere = ({id, funcId}: TagRow) =>
    funcId !== null && id <= place.upTo && (named === undefined || funcId === named.id)
  return {rows: rows.filter(isThere).map(({id}) => ({id})), next: next && {...place, tagged: next}}
}

function* greatestJob<Query>(sql: ReadsSql<Query>): Reading<Query, number> {
  const [row] = yield* rowsOf<Greatest, Query>(sql.greatestId('job'))
  return Math.min(Number(row!.digits), LAST)
}

/** With what is kept beside them. */
function* withBeside<Query>(
  sql: ReadsSql<Query>,
  rows: ListedJob[],
  {contexts, details}: Extras,
): Reading<Query, ListedJob[]> {
  if (rows.length === 0 || !(contexts || details)) return rows
  const ids = rows.map(({id}) => id)
  const tags = yield* tagsOf(sql, details ? ids : [])
  type Expiry = {id: number; expiresAt: number}
  const expiries = details ? yield* rowsOf<Expiry, Query>(sql.expiries(ids)) : []
  const expiryOf = new Map(expiries.map(({id, expiresAt}) => [id, expiresAt]))
  const found = contexts ? yield* rowsOf<{id: number; context: unknown}, Query>(sql.contexts(ids)) : []
  const byId = new Map(found.map(({id, context}) => [id, textOf(context)]))
  const waiting = contexts ? rows.filter(({state}) => state === 'waiting') : []
  const parked = yield* parkedOf(
    sql,
    waiting.map(({id}) => id),
  )
  return rows.map(row => ({
    ...row,
    tags: tags.get(row.id) ?? {},
    expiresAt: expiryOf.get(row.id) ?? null,
    ...(contexts ? {context: byId.get(row.id), parked: parked.get(row.id)} : {}),
  }))
}

/** What those of these jobs wait for that are parked. */
export function* parkedOf<Query>(
  sql: ReadsSql<Query>,
  ids: readonly number[],
): Reading<Query, Map<number, Parked>> {
  if (ids.length === 0) return new Map()
  type Found = {id: number; key: unknown; waitsFor: unknown; runAfter: number}
  const rows = yield* rowsOf<Found, Query>(sql.parked(ids))
  return new Map(
    rows.map(({id, key, waitsFor, runAfter}) => [
      Number(id),
      {key: textOf(key), waitsFor: textOf(waitsFor) as WaitsFor, runAfter: Number(runAfter)},
    ]),
  )
}

function listed(row: JobRow, now: number, never: number): ListedJob {
  return {...row, state: stateOf(row, now, never), tags: {}, expiresAt: null}
}

/** What is no number (NaN) is behind every time, as it is for the database that it is in. */
function stateOf(
  {grabbedUntil, runAfter}: Pick<JobRow, 'grabbedUntil' | 'runAfter'>,
  now: number,
  never: number,
): JobState {
  if (!(grabbedUntil <= now)) return 'running'
  if (runAfter === never) return 'waiting'
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
  return rows.map(row => listed(sql.jobOf(row), now, sql.never)).sort(inOrder)
}

function inOrder(a: JobSpot, b: JobSpot): number {
  return LISTED_STATES.indexOf(a.state) - LISTED_STATES.indexOf(b.state) || ORDERS[a.state](a, b)
}

function isBehind(job: JobSpot, spot: JobSpot): boolean {
  return inOrder(job, spot) > 0
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
  tags: readonly TagChoice[],
): Reading<Query, JobPlace> {
  let here = place
  if (here.ids.length > 0 || !here.hasMore) return here
  const funcIds = yield* withJobs(sql, func)
  if (tags.length > 0 && here.tagged === undefined) {
    const isThere = ({funcId}: TagRow) => funcId !== null && (func === undefined || funcIds.includes(funcId))
    here = {...here, tagged: yield* fewTagged(sql, tags, isThere)}
  }
  if (here.tagged)
    return withKeys(here, {keys: behind(here, keysOf(here.tagged, here, sql.never)), end: null}, [])
  while (here.ids.length === 0 && here.hasMore) {
    const aside =
      here.aside ?? behind(here, yield* withTags(sql, yield* besideLanes(sql, funcIds, here), tags))
    const {keys, end} = yield* inLanes(sql, funcIds, here)
    here = withKeys(here, {keys: yield* withTags(sql, keys, tags), end}, aside)
  }
  return here
}

function keysOf(rows: readonly TagRow[], {state, now}: JobPlace, never: number): Key[] {
  return rows.filter(row => stateOf(row, now, never) === state).sort(ORDERS[state])
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

/** Where a listing does not begin at its beginning, what is behind that. */
function behind({state, after}: JobPlace, keys: Key[]): Key[] {
  return after === null ? keys : keys.filter(key => ORDERS[state](key, after) > 0)
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
    if (state === 'ready') return yield* readyOf(sql, lanes, after, wanted, now)
    const {never} = sql
    if (state === 'waiting') return yield* laterOf(sql, lanes, after, wanted, {from: never - 1, upTo: never})
    return yield* laterOf(sql, lanes, after, wanted, {from: now, upTo: never - 1})
  }
  const wanted = Math.min(MOST_AHEAD, skip + left)
  const keys = yield* rowsOf<Key, Query>(sql.sortedKeys!(funcIds, state, now, after, wanted))
  return {keys, end: keys.length === wanted ? (keys.at(-1) ?? null) : null}
}

// ---- places

/** A spot in a state that comes before the wanted one is passed, one behind it has passed all. */
function firstPlace({state: only, offset: skip, limit: left, after}: JobPage, now: number): JobPlace {
  const state = only ?? after?.state ?? LISTED_STATES[0]!
  const place = placeIn(state, {now, skip, left})
  if (after === undefined || LISTED_STATES.indexOf(after.state) < LISTED_STATES.indexOf(state)) return place
  if (after.state !== state) return {...place, hasMore: false, aside: []}
  return {
    ...place,
    after: {id: after.id, priority: heldNumber(after.priority), runAfter: heldNumber(after.runAfter)},
  }
}

/** A column without a number is listed as none (NaN). */
function heldNumber(value: number): number {
  return Number.isNaN(value) ? LAST : held(value)
}

function placeIn(state: JobState, rest: Pick<JobPlace, 'now' | 'skip' | 'left' | 'tagged'>): JobPlace {
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
