/** Merges lanes in the order of a listing. A lane is what waits of one function and priority, in order. */
import type {JobState} from '../../jobs/job.ts'
import type {Reading} from './reads/reading.ts'
import {type Ask, FIRST, type Key, LAST, type Lane, type ReadsSql, type Spot} from './reads/sql.ts'

/** Keys in order. Nothing is missing up to `end`; null: nothing comes behind them. */
export interface Keys {
  keys: Key[]
  end: Key | null
}

type Order = (a: Key, b: Key) => number
/** Running jobs by id, ready ones as they are worked, delayed ones as they come due, those that wait for others likewise. */
const byDue: Order = (a, b) => a.runAfter - b.runAfter || b.priority - a.priority || a.id - b.id
export const ORDERS: Record<JobState, Order> = {
  running: (a, b) => a.id - b.id,
  ready: (a, b) => b.priority - a.priority || a.runAfter - b.runAfter || a.id - b.id,
  delayed: byDue,
  waiting: byDue,
}

type InLanes<Query> = Pick<ReadsSql<Query>, 'inLanes'>

const START: Spot = {runAfter: FIRST, id: FIRST}

/** The next ready jobs behind a key, from the highest priority down: at first one, then twice as many at once each time. */
export function* readyOf<Query>(
  sql: InLanes<Query>,
  lanes: readonly Lane[],
  after: Key | null,
  wanted: number,
  now: number,
): Reading<Query, Keys> {
  const levels = [...Map.groupBy(lanes, ({priority}) => priority)]
    .filter(([priority]) => !after || priority <= after.priority)
    .sort(([a], [b]) => b - a)
  const keys: Key[] = []
  for (let [at, size] = [0, 1]; at < levels.length; size *= 2) {
    const some = levels.slice(at, at + size)
    at += size
    const asked = some.flatMap(([priority, lanes]) => {
      const behind = after?.priority === priority ? after : START
      return lanes.map(lane => ({lane, behind}))
    })
    const part = yield* merged(sql, asked, wanted - keys.length, now, ORDERS.ready)
    for (const key of part.keys) keys.push(key)
    if (part.end) return {keys, end: part.end}
    if (keys.length >= wanted && at < levels.length)
      return {keys, end: {priority: some.at(-1)![0], runAfter: LAST, id: LAST}}
  }
  return {keys, end: null}
}

/**
 * The next jobs behind a key that are due later than `from` and no later than `upTo`, of all lanes together: the order is
 * that of the clock.
 */
export function laterOf<Query>(
  sql: InLanes<Query>,
  lanes: readonly Lane[],
  after: Key | null,
  wanted: number,
  {from, upTo}: {from: number; upTo: number},
): Reading<Query, Keys> {
  // At the key's own time, lanes of a higher priority have been passed and those of a lower one are still to come
  const behind = ({priority}: Lane): Spot => {
    if (!after) return {runAfter: from, id: LAST}
    const id = priority === after.priority ? after.id : priority > after.priority ? LAST : FIRST
    return {runAfter: after.runAfter, id}
  }
  const asked = lanes.map(lane => ({lane, behind: behind(lane)}))
  return merged(sql, asked, wanted, upTo, ORDERS.delayed)
}

/**
 * The first keys of lanes together: one SQL ORDER BY over all of them would sort every waiting job. Of each lane a few are
 * read; those whose few all come before the last that is wanted are asked again, for twice as many: so neither many lanes
 * nor a long one among them make it read much more than it returns.
 */
function* merged<Query>(
  sql: InLanes<Query>,
  lanes: Ask['lanes'],
  wanted: number,
  upTo: number,
  order: Order,
): Reading<Query, Keys> {
  if (wanted <= 0 || lanes.length === 0) return {keys: [], end: null}
  const parts = lanes.map(({lane, behind}) => ({lane, behind, last: null as Key | null, isOpen: true}))
  let keys: Key[] = []
  let asked = parts
  for (let limit = Math.min(wanted, Math.max(2, Math.ceil((2 * wanted) / lanes.length))); ; ) {
    const answers = (yield sql.inLanes({lanes: asked, upTo, limit})) as Key[][]
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
