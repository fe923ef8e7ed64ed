/**
 * The ends of attempts, as statements: all of a turn in one, as far as none depends on another.
 *
 * Each says `grabbed_until = mine`: what someone else has grabbed meanwhile is left to them.
 */
import {JobqError} from '../../jobs/errors.ts'
import {
  type JobEnd,
  keptOutput,
  type Lease,
  MAX_DEATHS,
  type NewJob,
  type Outcome,
  type Settlement,
} from '../../jobs/job.ts'
import type {FinalStatus} from '../../jobs/rows/history.ts'
import type {SettleResult} from '../store.ts'
import {afterEnds, alsoAfter} from './after.ts'
import {bigints, booleans, bytes, bytesOf, integers, texts} from './arrays.ts'
import {Inserter} from './bulk.ts'
import {NOW, type Row, type Send, type Value} from './connections/connections.ts'
import {keepResults} from './side-tables/results.ts'
import type {Sweeper} from './side-tables.ts'

const END = {
  name: 'jobq_end',
  text: 'SELECT jobq_end_6($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS nth',
}

const DIE = {
  name: 'jobq_die',
  text: `SELECT held, failed FROM jobq_die_5($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, ${MAX_DEATHS})`,
}

/** What can be told in END; the jobs that replace one are inserted besides. */
type Plain = Settlement & {outcome: Exclude<Outcome, {kind: 'died'}>}

/** A part of a turn's settlements, one statement; `replaced` takes several, each by the answer to the one before. */
export type Step =
  | {kind: 'ends'; statement: {name: string; text: string}; values: Value[]; count: number}
  | {kind: 'kept'; statement: {name: string; text: string}; values: Value[]; count: 0}
  | {kind: 'died'; statement: {name: string; text: string}; values: Value[]; count: 1}
  | {kind: 'replaced'; settlement: Settlement; count: 1}

/** What needs no more than the row's deletion, each job once: a grab does that on its way. */
export function areDone(settlements: readonly Settlement[]): boolean {
  const ids = new Set(settlements.map(({lease}) => lease.id))
  return (
    ids.size === settlements.length &&
    settlements.every(
      ({outcome, span, output, result}) =>
        outcome.kind === 'completed' && !span && !result && !keptOutput(output, 'completed'),
    )
  )
}

/** In their order, results before all ends; an id that comes twice is settled by the first. */
export function stepsOf(settlements: readonly Settlement[]): Step[] {
  const kept = keepResults(settlements)
  const steps: Step[] = kept ? [{kind: 'kept', ...kept, count: 0}] : []
  let plain: Plain[] = []
  const ids = new Set<number>()
  const flush = () => {
    if (plain.length > 0) steps.push(endStep(plain))
    plain = []
    ids.clear()
  }
  for (const settlement of settlements) {
    const {lease, outcome, span, ran, output} = settlement
    if (outcome.kind === 'replaced') {
      flush()
      steps.push({kind: 'replaced', settlement, count: 1})
    } else if (outcome.kind === 'died') {
      flush()
      const how = outcome.how.replaceAll('\0', '␀')
      const where = [ran?.start ?? null, ran?.host ?? null, ran?.pid ?? null]
      const kept = keptOutput(output, 'died')
      const written = [kept?.isCut ?? null, kept ? bytesOf(kept.bytes) : null]
      const values = [
        lease.id,
        lease.grabbedUntil,
        how,
        span?.start ?? null,
        span?.end ?? null,
        ...where,
        ...written,
      ]
      steps.push({kind: 'died', statement: DIE, values, count: 1})
    } else {
      if (ids.has(lease.id)) flush()
      ids.add(lease.id)
      plain.push(settlement as Plain)
    }
  }
  flush()
  return steps
}

function endStep(plain: readonly Plain[]): Step {
  return {kind: 'ends', statement: END, values: endValues(plain), count: plain.length}
}

function endValues(plain: readonly Plain[]): Value[] {
  const outputs = plain.map(({output, outcome}) => keptOutput(output, outcome.kind))
  const isAny = outputs.some(output => output !== undefined)
  const retryIn = ({outcome}: Plain) => (outcome.kind === 'failed' ? outcome.retryIn : null)
  return [
    bigints(plain.map(({lease}) => lease.id)),
    integers(plain.map(({lease}) => lease.grabbedUntil)),
    texts(plain.map(item => (retryIn(item) === null ? endOf(item.outcome) : null))),
    bytes(plain.map(({outcome}) => messageOf(outcome))),
    bigints(plain.map(retryIn)),
    texts(plain.map(({span, outcome}) => (span ? statusOf(outcome) : null))),
    integers(plain.map(({span}) => span?.start ?? null)),
    integers(plain.map(({span}) => span?.end ?? null)),
    integers(plain.map(({ran}) => ran?.start ?? null)),
    texts(plain.map(({ran}) => ran?.host ?? null)),
    integers(plain.map(({ran}) => ran?.pid ?? null)),
    isAny ? booleans(outputs.map(output => output?.isCut ?? null)) : null,
    isAny ? bytes(outputs.map(output => output?.bytes ?? null)) : null,
    plain.some(({isCancelled}) => isCancelled)
      ? booleans(plain.map(({isCancelled = false}) => isCancelled))
      : null,
  ]
}

/** As JobEnd has it; null if the job stays. */
function endOf({kind}: Plain['outcome']): JobEnd['outcome'] | null {
  return kind === 'released' ? null : kind
}

function statusOf({kind}: Plain['outcome']): FinalStatus | null {
  switch (kind) {
    case 'released':
      return null
    case 'aborted':
      return 'abort'
    case 'failed':
      return 'failed'
    default:
      return 'completed'
  }
}

function messageOf(outcome: Plain['outcome']): string | null {
  if (outcome.kind === 'failed') return outcome.message
  return outcome.kind === 'aborted' ? outcome.reason : null
}

/** What a step's answer says of its settlements. */
export function resultsOf(step: Step, rows: readonly Row[]): SettleResult[] {
  if (step.kind !== 'died') {
    const held = new Set(rows.map(({nth}) => nth))
    return Array.from({length: step.count}, (_, i) => ({held: held.has(i + 1)}))
  }
  const {held, failed} = rows[0] as {held: boolean; failed: string | null}
  return [{held, ...(failed === null ? {} : {failed})}]
}

/** The new jobs and the old one's end are one: if a new one is refused, none is stored and the old one has failed. */
export async function replace(send: Send, settlement: Settlement, sweeper: Sweeper): Promise<SettleResult> {
  const {outcome, ...ended} = settlement
  if (outcome.kind !== 'replaced') throw new Error(`expected replaced, got ${outcome.kind}`)
  send('SAVEPOINT replacing').catch(() => {})
  try {
    const result = await end(send, {...ended, outcome})
    if (result.held) {
      const ids = await insertAll(send, outcome.jobs, sweeper)
      // What waits for it waits for those in its place
      const {id} = settlement.lease
      await Promise.all([send(...alsoAfter(id, ids)), send(...afterEnds([id], null))])
    }
    await send('RELEASE replacing')
    return result
  } catch (error) {
    if (!(error instanceof JobqError)) throw error
    await send('ROLLBACK TO replacing')
    await send('RELEASE replacing')
    const message = `job.replace: ${error.message}`
    return {
      ...(await end(send, {...ended, outcome: {kind: 'failed', message, retryIn: outcome.retryIn}})),
      failed: message,
    }
  }
}

async function insertAll(send: Send, jobs: readonly NewJob[], sweeper: Sweeper): Promise<number[]> {
  const inserter = new Inserter(send, sweeper)
  await inserter.add(jobs.map(job => ({...job, isContinuation: true})))
  await inserter.end()
  return inserter.last.map(({id}) => id)
}

async function end(send: Send, settlement: Plain): Promise<SettleResult> {
  const {rows} = await send(END, endValues([settlement]))
  return {held: rows.length === 1}
}

/** Extends leases: rows in any order. */
export const RENEW = {
  name: 'jobq_renew',
  text: `UPDATE job SET grabbed_until = ${NOW} + $3::INTEGER
    FROM unnest($1::BIGINT[], $2::INTEGER[], $4::BOOLEAN[]) AS lease (job_id, mine, may_be_done) WHERE id = job_id
      AND (grabbed_until + 0 = mine OR (may_be_done AND mine > ${NOW} AND grabbed_until + 0 > mine))
    RETURNING id, grabbed_until AS "grabbedUntil"`,
}

export function leaseValues(leases: readonly Lease[]): [ids: Buffer, ends: Buffer] {
  return [bigints(leases.map(({id}) => id)), integers(leases.map(({grabbedUntil}) => grabbedUntil))]
}
