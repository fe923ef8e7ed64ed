/**
 * The parts of a listing that every driver shares: jobs by their keys, lanes merged in the order of a listing, and the
 * places where a listing goes on.
 *
 * Lanes come one by one (function by function, priority by priority) and are merged here, since one SQL ORDER BY over
 * all of them would sort every waiting job.
 */
import type {JobRow, JobState, ListedJob} from '../job.ts'

/** As they are listed: who works now, who is next, who is later. */
export const LISTED_STATES: readonly JobState[] = ['running', 'ready', 'delayed']
export const ORDERS: Record<JobState, Order> = {running: byId, ready: byOrder, delayed: byTime}

/** The most keys, and about the most bytes of arguments and messages, in one stretch. */
export const STRETCH_ROWS = 1000
export const STRETCH_BYTES = 1 << 20
/** Behind every priority, time and id. */
export const LAST = Number.MAX_SAFE_INTEGER

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
  after: Key | null
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
  return {...row, state: row.grabbedUntil > now ? 'running' : row.runAfter > now ? 'delayed' : 'ready'}
}

/** How many keys to read of each of several lanes: together some more than are wanted, and of each at least a few. */
export function share(wanted: number, lanes: number): number {
  return lanes < 2 ? wanted : Math.min(wanted, Math.max(16, Math.ceil((2 * wanted) / lanes)))
}

/** Sorted parts as one. A part as long as the limit may have more: the whole is known up to its last key only. */
export function merged(parts: readonly Key[][], limit: number, order: Order): Keys {
  return joined(
    parts.map(keys => ({keys, end: keys.length === limit ? (keys.at(-1) ?? null) : null})),
    order,
  )
}

export function joined(parts: readonly Keys[], order: Order): Keys {
  const ends = parts.flatMap(({end}) => end ?? [])
  const end = ends.reduce<Key | null>((first, key) => (first && order(first, key) <= 0 ? first : key), null)
  const keys = parts.flatMap(part => part.keys).filter(key => end === null || order(key, end) <= 0)
  return {keys: keys.sort(order), end}
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
