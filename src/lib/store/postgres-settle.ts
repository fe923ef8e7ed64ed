/**
 * The ends of attempts, as statements: all of a turn in one, as far as none depends on another.
 *
 * Each says `grabbed_until = mine`: what someone else has grabbed meanwhile is left to them.
 */
import {JobqError} from '../errors.ts'
import {type Lease, MAX_DEATHS, type NewJob, type Outcome, type Settlement} from '../job.ts'
import {Inserter, MAX_INTEGER} from './postgres-insert.ts'
import {bytesArray, numbersArray, type Row, type Send, textArray, type Value} from './postgres-link.ts'
import {NOW} from './postgres-reads.ts'
import type {SettleResult} from './store.ts'

/** $3 does the row go; $4 the message, $5 the seconds till the retry; $6 the status, $7 and $8 its times. */
export const END = {
  name: 'jobq_end',
  text: `WITH ends AS MATERIALIZED (
    SELECT * FROM unnest($1::BIGINT[], $2::INTEGER[], $3::BOOLEAN[], $4::BYTEA[], $5::BIGINT[], $6::VARCHAR[],
      $7::INTEGER[], $8::INTEGER[]) WITH ORDINALITY AS e (job_id, mine, goes, message, retry_in, status, started, ended, nth)
  ), gone AS (
    DELETE FROM job USING ends WHERE goes AND job.id = job_id AND grabbed_until = mine
    RETURNING nth, func_id, uniqkey, arg
  ), kept AS (
    UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + (message IS NOT NULL)::INTEGER,
      run_after = CASE WHEN message IS NULL THEN run_after ELSE least(${NOW} + retry_in, ${MAX_INTEGER})::INTEGER END
    FROM ends WHERE NOT goes AND job.id = job_id AND grabbed_until = mine
    RETURNING nth, func_id, uniqkey, arg
  ), held AS (SELECT * FROM gone UNION ALL SELECT * FROM kept
  ), exceptions AS (
    INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
    SELECT func_id, ${NOW}, message, uniqkey, arg, 0 FROM held JOIN ends USING (nth) WHERE message IS NOT NULL ORDER BY nth
  ), statuses AS (
    INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
    SELECT func_id, arg, uniqkey, status, started, ended FROM held JOIN ends USING (nth) WHERE status IS NOT NULL ORDER BY nth
  )
  SELECT nth FROM held`,
}

export const DIE = {
  name: 'jobq_die',
  text: `SELECT held, failed FROM jobq_die_1($1, $2, $3, $4, $5, ${MAX_DEATHS})`,
}

/** What can be told in END. */
type Plain = Settlement & {outcome: Exclude<Outcome, {kind: 'replaced' | 'died'}>}

/** A part of a turn's settlements, one statement; `replaced` takes several, each by the answer to the one before. */
export type Step =
  | {kind: 'ends'; statement: {name: string; text: string}; values: Value[]; count: number}
  | {kind: 'died'; statement: {name: string; text: string}; values: Value[]; count: 1}
  | {kind: 'replaced'; settlement: Settlement; count: 1}

/** What needs no more than the row's deletion, each job once: a grab does that on its way. */
export function areDone(settlements: readonly Settlement[]): boolean {
  const ids = new Set(settlements.map(({lease}) => lease.id))
  return (
    ids.size === settlements.length &&
    settlements.every(({outcome, span}) => outcome.kind === 'completed' && !span)
  )
}

/** In their order; an id that comes twice is settled by the first. */
export function stepsOf(settlements: readonly Settlement[]): Step[] {
  const steps: Step[] = []
  let plain: Plain[] = []
  const ids = new Set<number>()
  const flush = () => {
    if (plain.length > 0) steps.push(endStep(plain))
    plain = []
    ids.clear()
  }
  for (const settlement of settlements) {
    const {lease, outcome, span} = settlement
    if (outcome.kind === 'replaced') {
      flush()
      steps.push({kind: 'replaced', settlement, count: 1})
    } else if (outcome.kind === 'died') {
      flush()
      const how = outcome.how.replaceAll('\0', '␀')
      const values = [lease.id, lease.grabbedUntil, how, span?.start ?? null, span?.end ?? null]
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
  const status = ({outcome, span}: Plain) =>
    !span || outcome.kind === 'released' ? null : outcome.kind === 'aborted' ? 'abort' : outcome.kind
  const retryIn = ({outcome}: Plain) => (outcome.kind === 'failed' ? outcome.retryIn : null)
  return [
    numbersArray(plain.map(({lease}) => lease.id)),
    numbersArray(plain.map(({lease}) => lease.grabbedUntil)),
    `{${plain.map(item => item.outcome.kind !== 'released' && retryIn(item) === null)}}`,
    bytesArray(plain.map(({outcome}) => messageOf(outcome))),
    numbersArray(plain.map(retryIn)),
    textArray(plain.map(status)),
    numbersArray(plain.map(({span}) => span?.start ?? null)),
    numbersArray(plain.map(({span}) => span?.end ?? null)),
  ]
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
export async function replace(send: Send, settlement: Settlement): Promise<SettleResult> {
  const {lease, outcome, span} = settlement
  if (outcome.kind !== 'replaced') throw new Error(`expected replaced, got ${outcome.kind}`)
  send('SAVEPOINT replacing').catch(() => {})
  try {
    const result = await end(send, {lease, outcome: {kind: 'completed'}, span})
    if (result.held) await insertAll(send, outcome.jobs)
    await send('RELEASE replacing')
    return result
  } catch (error) {
    if (!(error instanceof JobqError)) throw error
    await send('ROLLBACK TO replacing')
    await send('RELEASE replacing')
    const message = `job.replace: ${error.message}`
    return {
      ...(await end(send, {lease, outcome: {kind: 'failed', message, retryIn: outcome.retryIn}, span})),
      failed: message,
    }
  }
}

async function insertAll(send: Send, jobs: readonly NewJob[]): Promise<void> {
  const inserter = new Inserter(send)
  for (const job of jobs) await inserter.add(job)
  await inserter.end()
}

async function end(send: Send, settlement: Plain): Promise<SettleResult> {
  const {rows} = await send(END, endValues([settlement]))
  return {held: rows.length === 1}
}

/** Extends leases: rows in any order. */
export const RENEW = {
  name: 'jobq_renew',
  text: `UPDATE job SET grabbed_until = ${NOW} + $3::INTEGER
    FROM unnest($1::BIGINT[], $2::INTEGER[]) AS lease (job_id, mine) WHERE id = job_id AND grabbed_until = mine
    RETURNING id, grabbed_until AS "grabbedUntil"`,
}

export function leaseValues(leases: readonly Lease[]): [ids: string, ends: string] {
  return [numbersArray(leases.map(({id}) => id)), numbersArray(leases.map(({grabbedUntil}) => grabbedUntil))]
}
