/**
 * The parts of a listing that every driver shares: jobs by their keys, lanes merged in the order of a listing, and the
 * places where a listing goes on.
 *
 * Lanes come one by one (function by function, priority by priority) and are merged here, since one SQL ORDER BY over
 * all of them would sort every waiting job. To find the next key each lane has to be asked. So where there are many lanes,
 * as many keys are read at once, ahead of their rows: a listing asks each lane about once for every row that it shows.
 * What lies beside the lanes (leases that ran out, and what another program has written that no lane can hold) is read
 * once for each state.
 */
import type {JobRow, JobState, ListedJob} from '../../jobs/job.ts'

/** As they are listed: who works now, who is next, who is later. */
export const LISTED_STATES: readonly JobState[] = ['running', 'ready', 'delayed']
export const ORDERS: Record<JobState, Order> = {running: byId, ready: byOrder, delayed: byTime}

/** The most rows, and about the most bytes of arguments and messages, in one stretch. */
export const STRETCH_ROWS = 1000
export const STRETCH_BYTES = 1 << 20
/** The most keys that are read ahead of their rows. */
const MOST_AHEAD = 100_000
/** Behind every priority, time and id, and before them. */
export const LAST = Number.MAX_SAFE_INTEGER
export const FIRST = -LAST

export interface Key {
  id: number
  priority: number
  runAfter: number
}

/** Keys in order. Nothing is missing up to `end`; null: nothing comes behind them. */
export interface Keys {
  keys: Key[]
  end: Key | null
}

/** Rows of a listing, and where the next ones begin; null: these were the last. */
export interface Stretch<Row, Place> {
  rows: Row[]
  next: Place | null
}

/** Where a listing of jobs goes on. Its states are those of one moment, however long it takes. */
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

/** Where a listing of a log goes on: behind this id. Rows newer than `newest` came after it began. */
export interface LogPlace {
  newest: number
  after: number | null
  left: number
}

export function listed(row: JobRow, now: number): ListedJob {
  return {...row, state: stateOf(row, now)}
}

/** What is no number (NaN) is behind every time, as it is for the database that it is in. */
function stateOf({grabbedUntil, runAfter}: JobRow, now: number): JobState {
  if (!(grabbedUntil <= now)) return 'running'
  return runAfter <= now ? 'ready' : 'delayed'
}

// ---- a listing, stretch by stretch

export function firstPlace(now: number, only: JobState | undefined, offset: number, limit: number): JobPlace {
  return placeIn(only ?? LISTED_STATES[0]!, {now, skip: offset, left: limit})
}

function placeIn(state: JobState, rest: Pick<JobPlace, 'now' | 'skip' | 'left'>): JobPlace {
  return {...rest, state, ids: [], after: null, hasMore: true, aside: null}
}

/** How many keys to read next, where there are so many lanes. */
export function wantedAt({skip, left}: JobPlace, lanes: number): number {
  return Math.min(Math.max(STRETCH_ROWS, Math.min(lanes, MOST_AHEAD)), skip + left)
}

/** The place with these keys read: those of the lanes, and those beside them that come before their end. */
export function withKeys(place: JobPlace, inLanes: Keys, aside: readonly Key[]): JobPlace {
  const order = ORDERS[place.state]
  const {end} = inLanes
  const among = end === null ? aside : aside.filter(key => order(key, end) <= 0)
  const keys = among.length === 0 ? inLanes.keys : [...inLanes.keys, ...among].sort(order)
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

/** Those whose rows are read next. */
export function nextIds({ids, left}: JobPlace): readonly number[] {
  return ids.slice(0, Math.min(STRETCH_ROWS, left))
}

/** A job that has left its state since its key was read is met where it is now, or has been passed. */
export function stillThere(jobs: readonly ListedJob[], {state}: JobPlace): ListedJob[] {
  return jobs.filter(job => job.state === state)
}

/** The place behind so many ids, of which so many were listed; null: all has been. */
export function placeBehind(
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

// ---- lanes

export interface Lane {
  funcId: number
  priority: number
}

/** Where a lane is read on. */
export interface Spot {
  runAfter: number
  id: number
}

/** A question to a driver: the next keys of each of these lanes behind a spot, so many of each at most. */
export interface Ask {
  lanes: {lane: Lane; behind: Spot}[]
  limit: number
}

/** A generator of questions, answered by a part for each lane. */
export type Asking = Generator<Ask, Keys, readonly Key[][]>

/** Answers at once. */
export function answered(asking: Asking, answer: (ask: Ask) => Key[][]): Keys {
  let step = asking.next()
  while (!step.done) step = asking.next(answer(step.value))
  return step.value
}

export async function answeredLater(asking: Asking, answer: (ask: Ask) => Promise<Key[][]>): Promise<Keys> {
  let step = asking.next()
  while (!step.done) step = asking.next(await answer(step.value))
  return step.value
}

/** The next ready jobs behind a key, from the highest priority down: at first one, then twice as many at once each time. */
export function* readyOf(lanes: readonly Lane[], after: Key | null, wanted: number): Asking {
  const levels = [...Map.groupBy(lanes, ({priority}) => priority)]
    .filter(([priority]) => !after || priority <= after.priority)
    .sort(([a], [b]) => b - a)
  const keys: Key[] = []
  for (let [at, size] = [0, 1]; at < levels.length; size *= 2) {
    const some = levels.slice(at, at + size)
    at += size
    const part = yield* merged(
      some.flatMap(([priority, lanes]) => {
        const behind = after?.priority === priority ? after : START
        return lanes.map(lane => ({lane, behind}))
      }),
      wanted - keys.length,
      byOrder,
    )
    for (const key of part.keys) keys.push(key)
    if (part.end) return {keys, end: part.end}
    if (keys.length >= wanted && at < levels.length)
      return {keys, end: {priority: some.at(-1)![0], runAfter: LAST, id: LAST}}
  }
  return {keys, end: null}
}

/** The next delayed jobs behind a key, of all lanes together: the order is that of the clock. */
export function* delayedOf(lanes: readonly Lane[], after: Key | null, wanted: number): Asking {
  // At the key's own time, lanes of a higher priority have been passed and those of a lower one are still to come
  const behind = ({priority}: Lane): Spot => {
    if (!after) return START
    const id = priority === after.priority ? after.id : priority > after.priority ? LAST : FIRST
    return {runAfter: after.runAfter, id}
  }
  return yield* merged(
    lanes.map(lane => ({lane, behind: behind(lane)})),
    wanted,
    byTime,
  )
}

const START: Spot = {runAfter: FIRST, id: FIRST}

/**
 * The first keys of lanes together. Of each lane a few are read; those whose few all come before the last that is wanted are
 * asked again, for twice as many: so neither many lanes nor a long one among them make it read much more than it returns.
 */
function* merged(lanes: readonly Ask['lanes'][number][], wanted: number, order: Order): Asking {
  if (wanted <= 0 || lanes.length === 0) return {keys: [], end: null}
  const parts = lanes.map(({lane, behind}) => ({lane, behind, last: null as Key | null, isOpen: true}))
  let keys: Key[] = []
  let asked = parts
  for (let limit = Math.min(wanted, Math.max(2, Math.ceil((2 * wanted) / lanes.length))); ; ) {
    const answers = yield {lanes: asked.map(({lane, behind}) => ({lane, behind})), limit}
    for (const [i, part] of asked.entries()) {
      const found = answers[i]!
      for (const key of found) keys.push(key)
      part.isOpen = found.length >= limit
      part.last = found.at(-1) ?? null
      part.behind = part.last ?? part.behind
    }
    keys = keys.sort(order)
    const border = keys[wanted - 1]
    asked = parts.filter(({isOpen, last}) => isOpen && (!border || order(last!, border) < 0))
    if (asked.length === 0) break
    limit = Math.min(wanted, 2 * limit)
  }
  const hasMore = keys.length > wanted || parts.some(({isOpen}) => isOpen)
  keys = keys.slice(0, wanted)
  return {keys, end: hasMore ? (keys.at(-1) ?? null) : null}
}

export type Order = (a: Key, b: Key) => number

/** The order of work among ready jobs. */
export function byOrder(a: Key, b: Key): number {
  return b.priority - a.priority || byTimeThenId(a, b)
}

/** The order in which delayed jobs come due. */
export function byTime(a: Key, b: Key): number {
  return a.runAfter - b.runAfter || b.priority - a.priority || a.id - b.id
}

function byTimeThenId(a: Key, b: Key): number {
  return a.runAfter - b.runAfter || a.id - b.id
}

export function byId(a: Key, b: Key): number {
  return a.id - b.id
}
