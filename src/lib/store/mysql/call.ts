/**
 * A turn on MySQL as one call. The procedure does what nearly every turn is: writes what was completed, and takes the next
 * jobs where nothing is special. For all else there are the statements of settle.ts and claim.ts, and so where
 * it is missing, since `jobq init` may not make procedures, or this user may not call them.
 */
import type {Lease, Settlement} from '../../jobs/job.ts'
import type {SettleResult, Want} from '../store.ts'
import {type Reply, textOf} from './connection.ts'
import type {MysqlLanes} from './lanes.ts'
import {PROCEDURE} from './procedure.ts'

/** Whether taking what is wanted is what the procedure does. */
export function isPlain(lanes: MysqlLanes, want: Want): boolean {
  if (want.limit === 0) return true
  const ids = lanes.idsOf(want.funcs)
  const isHeld = want.held !== undefined && lanes.idsOf([...want.held]).length > 0
  const isFair = want.fair === true && ids.length > 1
  const isLimited = lanes.limited(want).length > 0
  return (
    ids.length > 0 && lanes.paused.length === 0 && !isHeld && !isFair && !isLimited && !lanes.hasDelayed(ids)
  )
}

export function isPlainEnd({outcome, span}: Settlement): boolean {
  return outcome.kind === 'completed' && span === undefined
}

/**
 * @param ends that are plain
 * @param isWhole whether the call is the whole transaction
 */
export function call(lanes: MysqlLanes, ends: readonly Settlement[], want: Want, isWhole: boolean): string {
  const {one, several} = endsOf(ends)
  const groups = several.map(leases => `${leases[0]!.grabbedUntil}:${leases.map(({id}) => id)}`)
  const [func, ...funcs] = want.limit === 0 ? [] : lanes.idsOf(want.funcs)
  const all = lanes.unknown(want).length === 0 ? null : lanes.countFuncs
  const values = [
    one?.id ?? null,
    one?.grabbedUntil ?? null,
    `'${groups.join(';')}'`,
    func ?? null,
    `'${funcs}'`,
    ...[all, lanes.checked, want.lease, want.limit, isWhole],
  ]
  return `CALL ${PROCEDURE}(${values.map(String).join(', ')})`
}

/** One end, or several, each group with the same grabbed_until. */
function endsOf(ends: readonly Settlement[]): {one?: Lease | undefined; several: Lease[][]} {
  const leases = ends.map(({lease}) => lease)
  if (leases.length < 2) return {one: leases[0], several: []}
  return {several: [...Map.groupBy(leases, ({grabbedUntil}) => grabbedUntil).values()]}
}

/** Whether all rows have come of the answer to a call: what else comes is of the COMMIT. */
export function isAnswered([answer]: readonly Reply[]): boolean {
  const [row] = answer?.rows ?? []
  return row !== undefined && answer!.rows.length === Math.max(1, Number(row.n))
}

/** How the ends of the call went, from its answer. */
export function heldOf(
  lanes: MysqlLanes,
  ends: readonly Settlement[],
  [answer]: readonly Reply[],
): SettleResult[] {
  const {held, checked} = answer!.rows[0]!
  if (Number(checked) > 0) lanes.checked = Number(checked)
  const {one, several} = endsOf(ends)
  if (one) return [{held: textOf(held) !== ''}]
  const told = textOf(held).split(';')
  const isHeld = new Map(several.map(([lease], i) => [lease!.grabbedUntil, new Set(told[i]!.split(','))]))
  // An end that is there twice counts once
  return ends.map(({lease}) => ({held: isHeld.get(lease.grabbedUntil)!.delete(String(lease.id))}))
}
