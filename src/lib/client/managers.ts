/**
 * What managers have written into the store, as the client shows it. Other processes write it, and a person may have: it
 * is checked field by field, and whatever else it says is left out.
 */

import {
  GONE_SECONDS,
  MAX_SLOTS,
  type ManagerRow,
  type ManagerState,
  type ManagerStatus,
  type Slot,
  slotsOf,
  withEmptySlots,
} from '../jobs/manager.ts'
import type {JobHistory, JobRun} from '../jobs/rows/history.ts'
import type {Store} from '../store/store.ts'

/** @param onTrouble told of those that can't be read, which are left out */
export function managersOf(
  rows: readonly ManagerRow[],
  known: Pick<ManagerStatus, 'db' | 'paused'>,
  onTrouble: (message: string) => void,
): ManagerStatus[] {
  return rows.flatMap(row => {
    const status = statusOf(row, known)
    if (status === null)
      onTrouble(`row ${row.id} of jobq_manager is not shown: it holds no status of a manager`)
    return status ?? []
  })
}

/**
 * Where it runs. One that works several databases tells an id with a number before it, which is its own: where that leaves
 * more than one, or managers can't be read, it is not known.
 */
export async function runOf(store: Store, {id, db, func}: JobHistory): Promise<JobRun | null> {
  const rows = await store.managers(db).catch(() => [])
  const runs = managersOf(rows, {db: '', paused: []}, () => {}).flatMap(({host, gone, seen, age, slots}) =>
    gone
      ? []
      : slots
          .filter(slot => slot.state === 'working' && slot.func === func && isOf(slot, id))
          .map(({pid, seconds}) => ({host, pid, start: Math.round(seen + age - (seconds ?? 0))})),
  )
  return runs.length === 1 ? runs[0]! : null
}

/** How many of its function can be worked at once; null: not known, as managers can't be read, or name only some of theirs. */
export async function workersOf(store: Store, {db, func}: JobHistory): Promise<number | null> {
  const rows = await store.managers(db).catch(() => null)
  if (rows === null) return null
  const managers = managersOf(rows, {db: '', paused: []}, () => {})
  return managers.some(({gone, moreFuncs}) => !gone && moreFuncs > 0) ? null : slotsOf(managers, func)
}

function isOf(slot: Slot, id: number): boolean {
  return String(slot.id).replace(/^\d+:/, '') === String(id)
}

function statusOf(row: ManagerRow, known: Pick<ManagerStatus, 'db' | 'paused'>): ManagerStatus | null {
  const {pid, startedAt: started, seenAt: seen} = row
  const state = readState(row.state)
  if (!state || ![pid, started, seen].every(isWhole)) return null
  const age = Math.max(0, row.now - seen)
  const gone = Math.abs(row.now - seen) >= GONE_SECONDS // in the future: the clock was set back since
  // What works goes on working until it says otherwise
  const slots = state.slots.map(slot =>
    slot.seconds === null || gone ? slot : {...slot, seconds: slot.seconds + age},
  )
  return {
    ...{pid, host: row.host, ...known, started, seen, age, gone},
    ...state,
    slots: withEmptySlots(slots, state.workers),
  }
}

/** @returns null if it is none */
function readState(text: string): ManagerState | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  const state = taken<ManagerState>(value, STATE)
  return (
    state && {
      ...state,
      workers: taken<ManagerState['workers']>(state.workers, WORKERS)!,
      slots: state.slots.slice(0, MAX_SLOTS).map(slot => taken<Omit<Slot, 'progress'>>(slot, SLOT)!),
    }
  )
}

// ---- the fields

type Check = (value: unknown) => boolean
type Checks<T> = Readonly<Record<keyof T, Check>>

const isText: Check = value => typeof value === 'string'
const isWhole: Check = value => Number.isSafeInteger(value) && (value as number) >= 0
const isSeconds: Check = value => Number.isFinite(value) && (value as number) >= 0
const isState: Check = value => value === 'none' || value === 'idle' || value === 'working'
const isListOf =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check)
const orNothing =
  (check: Check): Check =>
  value =>
    value === null || check(value)

const SLOT: Checks<Omit<Slot, 'progress'>> = {
  state: isState,
  pid: orNothing(isWhole),
  id: orNothing(value => isWhole(value) || isText(value)),
  func: orNothing(isText),
  seconds: orNothing(isSeconds),
  jobs: isWhole,
  memory: orNothing(isWhole),
}

const WORKERS: Checks<ManagerState['workers']> = {working: isWhole, idle: isWhole, none: isWhole}

const STATE: Checks<ManagerState> = {
  funcs: isListOf(isText),
  moreFuncs: isWhole,
  jobs: isWhole,
  failed: isWhole,
  memory: orNothing(isWhole),
  workers: value => taken(value, WORKERS) !== null,
  slots: isListOf(slot => taken<Omit<Slot, 'progress'>>(slot, SLOT) !== null),
}

/** The fields that are known, if all of them are there and can be. */
function taken<T>(value: unknown, checks: Checks<T>): T | null {
  if (typeof value !== 'object' || value === null) return null
  const fields = Object.entries<Check>(checks).map(([name]) => [
    name,
    (value as Record<string, unknown>)[name],
  ])
  return fields.every(([name, field]) => checks[name as keyof T](field))
    ? (Object.fromEntries(fields) as T)
    : null
}
