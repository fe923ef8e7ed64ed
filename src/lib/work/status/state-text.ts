/** A manager's state as its row has it: bounded, since it is written every two seconds. */
import type {ManagerState} from '../../jobs/manager.ts'

/** Names of functions have 255 characters at most, and there may be thousands. */
const MAX_FUNCS_BYTES = 32 << 10
/** 200 slots that all work take 25 KB, with names of a usual length. */
const MAX_SLOTS_BYTES = 48 << 10

export function stateText(state: ManagerState): string {
  const funcs = firstOf(state.funcs, MAX_FUNCS_BYTES)
  const slots = firstOf(state.slots, MAX_SLOTS_BYTES)
  const moreFuncs = state.moreFuncs + state.funcs.length - funcs.length
  return JSON.stringify({...state, funcs, moreFuncs, slots})
}

/** As many as have so many bytes of JSON. */
function firstOf<T>(items: readonly T[], bytes: number): readonly T[] {
  let left = bytes
  const end = items.findIndex(item => {
    left -= Buffer.byteLength(JSON.stringify(item)) + 1
    return left < 0
  })
  return end < 0 ? items : items.slice(0, end)
}
