/** A running `jobq work` as it tells of itself: Qudo::Parallel::Manager's scoreboard, with the facts behind it. */

import type {Progress} from './job.ts'

/** Who has not been seen for so many seconds is gone. */
export const GONE_SECONDS = 60
/** And so many seconds later its row is taken away, by whichever manager is seen next. */
export const FORGOTTEN_SECONDS = GONE_SECONDS + 600
/** A manager may have 10,000 slots: it tells of so many, those that work first, and counts all. */
export const MAX_SLOTS = 200

/** A slot is a place for one job: `none` is Qudo's `.`, `idle` its `_`, `working` its `A`. */
export interface Slot {
  state: 'none' | 'idle' | 'working'
  pid: number | null
  /** The job being worked. */
  id: number | string | null
  func: string | null
  /** How long it has been worked, in seconds. */
  seconds: number | null
  /** Jobs this process has done, in whichever slot of it. */
  jobs: number
  /** Memory of the process in bytes, null where the system does not tell. */
  memory: number | null
  /** How far the job is, if it has said so. */
  progress?: Progress
}

/** What a manager tells of itself. */
export interface ManagerState {
  /** The functions that it works; of thousands, the first ones. */
  funcs: readonly string[]
  /** How many more functions it works. */
  moreFuncs: number
  /** Jobs that have ended there. */
  jobs: number
  /** How many of these attempts failed. */
  failed: number
  /** In bytes, of its own process; null where the system does not tell. */
  memory: number | null
  /** How many of all its slots are in which state. */
  workers: Readonly<Record<Slot['state'], number>>
  /** At most MAX_SLOTS of them, those that work first. */
  slots: readonly Slot[]
}

/** What is known of a manager: what it told when it was last seen, and when that was. */
export interface ManagerStatus extends ManagerState {
  pid: number
  host: string
  /** As a message may name it: no password. */
  db: string
  /** Unix seconds, by the database's clock, as `seen`. */
  started: number
  /** When it last told of itself. */
  seen: number
  /** How many seconds ago that was. */
  age: number
  /** It has not been seen for a minute: killed, or cut off. */
  gone: boolean
  /** What is paused, '' for the whole store. */
  paused: readonly string[]
}

/** What a manager writes into the store. */
export interface Beat {
  /** Chosen by itself, the same in every database. */
  id: number
  host: string
  pid: number
  /** Seconds since it started. */
  uptime: number
  /** ManagerState as JSON. */
  state: string
}

/** What the store has of it. Anyone may have written it: `client/managers.ts` checks it. */
export interface ManagerRow {
  id: number
  host: string
  pid: number
  /** Unix seconds, as `seenAt`. */
  startedAt: number
  seenAt: number
  /** Now, by the database's clock. */
  now: number
  state: string
}

/** Slots of a known state first to last, with as many that are `none` behind them as there are. */
export function withEmptySlots(slots: readonly Slot[], {none}: ManagerState['workers']): Slot[] {
  const count = Math.min(none, MAX_SLOTS - slots.length)
  const empty: Slot = {state: 'none', pid: null, id: null, func: null, seconds: null, jobs: 0, memory: null}
  return [...slots, ...Array.from({length: Math.max(0, count)}, () => empty)]
}

/** How many of these are in which state. */
export function countSlots(slots: readonly Pick<Slot, 'state'>[]): Record<Slot['state'], number> {
  const workers = {working: 0, idle: 0, none: 0}
  for (const {state} of slots) workers[state]++
  return workers
}

/** Jobs that can be worked at once, of a function or of any: slots of those that were seen within a minute. */
export function slotsOf(managers: readonly ManagerStatus[], func: string | undefined): number {
  return managers
    .filter(({gone, funcs}) => !gone && (func === undefined || funcs.includes(func)))
    .reduce((sum, {workers: {working, idle, none}}) => sum + working + idle + none, 0)
}
