/** What came through a socket as a manager's status, checked field by field; whatever else it says is left out. */
import type {ManagerStatus, Slot} from '../../jobs/manager.ts'

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

const SLOT: Checks<Slot> = {
  state: isState,
  pid: orNothing(isWhole),
  id: orNothing(value => isWhole(value) || isText(value)),
  func: orNothing(isText),
  seconds: orNothing(isSeconds),
  jobs: isWhole,
  memory: orNothing(isWhole),
}

const MANAGER: Checks<ManagerStatus> = {
  pid: isWhole,
  host: isText,
  db: isText,
  started: isWhole,
  funcs: isListOf(isText),
  paused: isListOf(isText),
  jobs: isWhole,
  failed: isWhole,
  memory: orNothing(isWhole),
  slots: isListOf((slot: unknown) => known(slot, SLOT) !== null),
}

/** @returns null if it is none */
export function readStatus(value: unknown): ManagerStatus | null {
  const status = known<ManagerStatus>(value, MANAGER)
  return status && {...status, slots: status.slots.map(slot => known<Slot>(slot, SLOT)!)}
}

function known<T>(value: unknown, checks: Checks<T>): T | null {
  if (typeof value !== 'object' || value === null) return null
  const fields = Object.entries<Check>(checks).map(([name]) => [
    name,
    (value as Record<string, unknown>)[name],
  ])
  return fields.every(([name, field]) => checks[name as keyof T](field))
    ? (Object.fromEntries(fields) as T)
    : null
}
