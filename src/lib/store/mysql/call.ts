/** A call of the procedure that is a turn on MySQL: its values, and what its answer says. */
import {type JobRow, keptOutput, type Lease, type Settlement} from '../../jobs/job.ts'
import type {SettleResult, Want} from '../store.ts'
import {literal, type Reply, type Row, textOf} from './connections/connection.ts'
import type {Funcs} from './funcs.ts'
import {PROCEDURE} from './procedure.ts'
import {jobOf} from './rows.ts'

/** What a call is to do, besides what is wanted. */
export interface Call {
  want: Want
  /** Ends that are `areDone`. */
  ends?: readonly Settlement[]
  /** Begin a transaction and commit it. */
  isWhole?: boolean
  /** Take nothing. */
  isLook?: boolean
  /** A clock beyond that has jumped. */
  latest: number | null
}

export interface Answer {
  now: number
  settled: SettleResult[]
  jobs: JobRow[]
  /** Why there are fewer than were wanted. */
  why: 'stale' | 'held' | 'passed' | ''
  /** When the first job comes due, and when the first lease ends; null: never. */
  due: number | null
  leaseEnd: number | null
  /** Is something due that has waited for what ended with it? */
  hasFreed: boolean
  /** Of those whose lease ran out once too often, the last one's exception. */
  buried: {id: number; priority: number; exceptionId: number}[]
  /** Of a mere look. */
  head: {priority: number; runAfter: number} | null
  /** Of a mere look: the lanes down to the first that is due. */
  lanes: string
}

/** Whether the turn's procedure writes this end. */
export function isDone({outcome, span, output, result}: Settlement): boolean {
  if (outcome.kind !== 'completed' || span !== undefined || result !== undefined) return false
  return keptOutput(output, 'completed') === undefined
}

export function callOf(
  funcs: Funcs,
  {want, ends = [], isWhole = false, isLook = false, latest}: Call,
): string {
  const {one, several} = groupsOf(ends)
  const groups = several.map(leases => `${leases[0]!.grabbedUntil}:${leases.map(({id}) => id)}`)
  const ids = want.limit === 0 ? [] : funcs.idsOf(want.funcs)
  const isFair = want.fair === true && ids.length > 1
  const [func = null, ...others] = isFair ? funcs.byTurn(ids) : ids
  const limits = func === null ? [] : funcs.limits(want)
  const waiting = funcs.idsOf(want.held ?? [])
  const odd = [
    funcs.paused,
    limits.length > 0 ? `,${limits.map(limit => limit.join('=')).join()},` : '',
    limits.flatMap(([id, most]) => (most > 0 ? id : [])).join(),
    waiting.length > 0 ? `,${waiting},` : '',
    isFair ? 'fair' : '',
  ]
  const values = [
    one?.id ?? null,
    one?.grabbedUntil ?? null,
    groups.join(';'),
    func,
    others.join(),
    want.limit > 0 ? funcs.countFor(want) : null,
    isLook || odd.some(part => part !== '') ? odd.join(';') : null,
    // Another program may have ended a lease within this second: who is in no haste looks
    ...[ends.length > 0 ? funcs.checked : 0, latest, isLook ? null : want.lease, want.limit, Number(isWhole)],
  ]
  return `CALL ${PROCEDURE}(${values.map(literal).join(', ')})`
}

/** One end, or several, each group with the same grabbed_until. */
function groupsOf(ends: readonly Settlement[]): {one?: Lease | undefined; several: Lease[][]} {
  const leases = ends.map(({lease}) => lease)
  if (leases.length < 2) return {one: leases[0], several: []}
  return {several: [...Map.groupBy(leases, ({grabbedUntil}) => grabbedUntil).values()]}
}

/** Whether all rows have come of the answer to a call: what else comes is of the COMMIT. */
export function isAnswered([answer]: readonly Reply[]): boolean {
  const [row] = answer?.rows ?? []
  return row !== undefined && answer!.rows.length === Math.max(1, Number(row.n))
}

export function answerOf(funcs: Funcs, {ends = []}: Pick<Call, 'ends'>, {rows}: Reply): Answer {
  const [first] = rows as [Row]
  const [checked, buried, why = '', due, leaseEnd = '', freed = '0'] = textOf(first.state).split(' ')
  funcs.checked = Number(checked)
  const jobs = Number(first.n) === 0 ? [] : rows.map(row => takenJob(funcs, row))
  for (const {funcId} of jobs) funcs.served(funcId)
  return {
    now: Number(first.now),
    settled: heldOf(ends, textOf(first.held)),
    jobs,
    why: why as Answer['why'],
    due: due ? Number(due) : null,
    leaseEnd: leaseEnd ? Number(leaseEnd) : null,
    hasFreed: freed === '1',
    buried: (buried ? buried.split(',') : []).map(each => {
      const [id, priority, exceptionId] = each.split(':').map(Number) as [number, number, number]
      return {id, priority, exceptionId}
    }),
    head:
      (first.best ?? null) === null
        ? null
        : {priority: Number(first.priority), runAfter: Number(first.run_after)},
    lanes: String(first.lanes),
  }
}

/** How the ends went. */
function heldOf(ends: readonly Settlement[], held: string): SettleResult[] {
  const {one, several} = groupsOf(ends)
  if (one) return [{held: held !== ''}]
  const told = held.split(';')
  const isHeld = new Map(several.map(([lease], i) => [lease!.grabbedUntil, new Set(told[i]!.split(','))]))
  // An end that is there twice counts once
  return ends.map(({lease}) => ({held: isHeld.get(lease.grabbedUntil)!.delete(String(lease.id))}))
}

function takenJob(funcs: Funcs, row: Row): JobRow {
  const job = jobOf(row)
  job.func = funcs.nameOf(job.funcId)
  return row.context === null ? job : {...job, context: textOf(row.context)}
}
