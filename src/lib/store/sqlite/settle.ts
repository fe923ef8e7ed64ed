/** How attempts go on and end on SQLite: leases renewed, ends and deaths written, within the transaction of a turn. */
import type {RunResult} from 'better-sqlite3'
import {JobqError} from '../../jobs/errors.ts'
import {
  deathMessage,
  type JobEnd,
  keptOutput,
  type Lease,
  MAX_DEATHS,
  type NewJob,
  type Output,
  type RowRef,
  type Settlement,
  WAS_CANCELLED,
} from '../../jobs/job.ts'
import type {FinalStatus} from '../../jobs/rows/history.ts'
import type {SettleResult} from '../store.ts'
import {NEVER} from './after/edges.ts'
import {alsoAfter, ended} from './after/ends.ts'
import type {SqliteConnection} from './connection.ts'
import type {SqliteInsert} from './insert.ts'
import type {SqliteMemory} from './memory.ts'
import {keepResult} from './side-tables/results.ts'

/**
 * The id and the end of the lease that a statement's last two values say, `WHERE id = … AND grabbed_until = …`: a job
 * that someone else has taken meanwhile is left to them.
 */
type Mine = readonly [id: number, grabbedUntil: number]

type Attempted = Pick<Settlement, 'span' | 'ran' | 'output'>

/** An end that leaves rows. */
interface Logged extends Attempted {
  outcome: Exclude<JobEnd['outcome'], 'gone'> | 'died'
  /** Of the exception; not there: it has none. */
  message?: string
  isTriedAgain?: boolean
  isCancelled?: boolean
}

const STATUSES = {completed: 'completed', replaced: 'completed', failed: 'failed', aborted: 'abort'} as const

export class SqliteSettle {
  readonly #link: SqliteConnection
  readonly #inserts: SqliteInsert
  readonly #memory: SqliteMemory

  constructor(link: SqliteConnection, memory: SqliteMemory, inserts: SqliteInsert) {
    this.#link = link
    this.#memory = memory
    this.#inserts = inserts
  }

  renew(leases: readonly Lease[], seconds: number): Lease[] {
    const until = this.#link.now() + seconds
    return leases.flatMap(({id, grabbedUntil}) => {
      const sql = 'UPDATE job SET grabbed_until = ? WHERE id = ? AND grabbed_until = ?'
      return this.#link.sql(sql).run(until, id, grabbedUntil).changes === 1 ? [{id, grabbedUntil: until}] : []
    })
  }

  /** What is remembered is that of this transaction. */
  settle({lease, outcome, result, isCancelled = false, ...attempted}: Settlement, now: number): SettleResult {
    const mine = [lease.id, lease.grabbedUntil] as const
    const {span, ran} = attempted
    const output = keptOutput(attempted.output, outcome.kind)
    if (outcome.kind !== 'completed' && outcome.kind !== 'aborted') this.#link.arrivals++
    switch (outcome.kind) {
      case 'released': {
        const sql = 'UPDATE job SET grabbed_until = 0 WHERE id = ? AND grabbed_until = ?'
        return {held: this.#link.sql(sql).run(...mine).changes === 1}
      }
      case 'completed': {
        if (span || output) this.#log(mine, {outcome: 'completed', span, ran, output}, now)
        if (result) keepResult(this.#link, {lease, result}, now)
        return {held: this.#leave(mine, 'completed', '', now)}
      }
      case 'replaced':
        return this.#replace(mine, outcome, attempted, now)
      case 'aborted': {
        const {reason: message} = outcome
        const end = {outcome: 'aborted', message, span, ran, output, isCancelled} as const
        if (!this.#log(mine, end, now)) return {held: false}
        return {held: this.#leave(mine, 'aborted', message, now)}
      }
      case 'failed': {
        const {message, retryIn} = outcome
        const isTriedAgain = retryIn !== null
        const end = {outcome: 'failed', message, span, ran, output, isTriedAgain} as const
        if (!this.#log(mine, end, now)) return {held: false}
        if (retryIn === null) return {held: this.#leave(mine, 'failed', message, now)}
        const sql = `UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + 1, run_after = ?
          WHERE id = ? AND grabbed_until = ?`
        const runAfter = Math.min(now + retryIn, NEVER - 1)
        return {held: this.#link.sql(sql).run(runAfter, ...mine).changes === 1}
      }
      case 'died':
        this.sweepDeaths()
        return this.countDeath(mine, outcome.how, attempted, now)
    }
  }

  /**
   * A death of the job's worker: the job goes back to its lane, or fails for good with its last one. The count is kept
   * in the database, so that it holds across processes; ids are never used twice, so rows of jobs that are gone do no
   * harm until the next death sweeps them away.
   */
  countDeath(mine: Mine, how: string, {span, ran, output}: Attempted, now: number): SettleResult {
    const [id] = mine
    const sql = `INSERT INTO jobq_death (job_id, died_at, how)
      SELECT id, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
    if (this.#link.sql(sql).run(now, how, ...mine).changes === 0) return {held: false}
    const deaths = this.#link
      .pluck('SELECT how FROM jobq_death WHERE job_id = ? ORDER BY id')
      .all(id) as string[]
    if (deaths.length < MAX_DEATHS && output)
      this.#log(mine, {outcome: 'died', ran, output, isTriedAgain: true}, now)
    if (deaths.length < MAX_DEATHS)
      return {held: this.#link.sql('UPDATE job SET grabbed_until = 0 WHERE id = ?').run(id).changes === 1}
    const failed = deathMessage(deaths)
    this.#log(mine, {outcome: 'failed', message: failed, span, ran, output}, now)
    this.#link.sql('DELETE FROM jobq_death WHERE job_id = ?').run(id)
    return {held: this.#leave(mine, 'failed', failed, now), failed}
  }

  /** Mostly no worker has died. */
  died(jobs: readonly RowRef[]): RowRef[] {
    if (!this.#link.pluck('SELECT EXISTS (SELECT 1 FROM jobq_death)').get()) return []
    const hasDied = this.#link.pluck('SELECT 1 FROM jobq_death WHERE job_id = ? LIMIT 1')
    return jobs.filter(({id}) => hasDied.get(id)).map(({id}) => ({id}))
  }

  sweepDeaths(): void {
    this.#link.sql('DELETE FROM jobq_death WHERE job_id NOT IN (SELECT id FROM job)').run()
  }

  /** The new jobs and the old one's end are one: if a new one is refused, none is stored and the old one has failed. */
  #replace(
    mine: Mine,
    {jobs, retryIn}: {jobs: readonly NewJob[]; retryIn: number | null},
    attempted: Attempted,
    now: number,
  ): SettleResult {
    try {
      return this.#link.savepoint('replacing', () => {
        const output = keptOutput(attempted.output, 'replaced')
        const {span, ran} = attempted
        if (span || output) this.#log(mine, {outcome: 'replaced', span, ran, output}, now)
        const held = this.#leave(mine, 'replaced', '', now)
        if (!held) return {held}
        const {afters} = this.#memory.beside
        for (const job of jobs) {
          const {id} = this.#inserts.insert({...job, isContinuation: true})
          if (afters) alsoAfter(this.#link, mine[0], id)
        }
        if (afters) ended(this.#link, mine[0], null)
        return {held}
      })
    } catch (error) {
      if (!(error instanceof JobqError)) throw error
      const message = `job.replace: ${error.message}`
      const [id, grabbedUntil] = mine
      const outcome = {kind: 'failed', message, retryIn} as const
      return {...this.settle({lease: {id, grabbedUntil}, outcome, ...attempted}, now), failed: message}
    }
  }

  /** Out of the queue, if it is still ours: with its context, and its end is written down for who waits for it. */
  #leave(mine: Mine, outcome: JobEnd['outcome'], message: string, now: number): boolean {
    const [id, grabbedUntil] = mine
    const sql = 'DELETE FROM job WHERE id = ? AND grabbed_until = ?'
    if (this.#link.sql(sql).run(id, grabbedUntil).changes === 0) return false
    const {contexts, waits, afters} = this.#memory.beside // mostly these tables are empty
    if (contexts) this.#link.sql('DELETE FROM jobq_context WHERE job_id = ?').run(id)
    if (waits) {
      const end = 'UPDATE jobq_wait SET outcome = ?, message = ?, ended_at = ? WHERE job_id = ?'
      this.#link.sql(end).run(outcome, message, now, id)
    }
    if (afters && outcome !== 'replaced')
      ended(this.#link, id, outcome === 'failed' || outcome === 'aborted' ? outcome : null)
    return true
  }

  /**
   * What is kept of an attempt: its exception, its status, its output, and whose attempt it was.
   * @returns false if the job is someone else's
   */
  #log(mine: Mine, end: Logged, now: number): boolean {
    const {outcome, message, span, ran, output, isTriedAgain = false, isCancelled = false} = end
    const exceptionId =
      message === undefined ? null : this.#logException(mine, message, now, isCancelled ? WAS_CANCELLED : 0)
    const statusId = span && outcome !== 'died' ? this.#logStatus(mine, STATUSES[outcome], span) : null
    if (exceptionId === undefined || statusId === undefined) return false
    const [start, host, pid] = ran ? [ran.start, ran.host, ran.pid] : [span?.start ?? null, null, null]
    const sql = `INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, started_at, ended_at, host, pid, exception_id, status_id)
      SELECT id, func_id, ?, ?, ?, ?, ?, ?, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
    const values = [outcome, isTriedAgain ? 0 : 1, start, span?.end ?? now, host, pid, exceptionId, statusId]
    const attemptId = rowOf(this.#link.sql(sql).run(...values, ...mine))
    if (attemptId === undefined) return false
    if (output) this.#keepOutput(mine, attemptId, output)
    return true
  }

  #keepOutput([jobId]: Mine, attemptId: number, {isCut, bytes}: Output): void {
    const sql = 'INSERT INTO jobq_output (job_id, attempt_id, is_cut, output) VALUES (?, ?, ?, ?)'
    this.#link.sql(sql).run(jobId, attemptId, isCut ? 1 : 0, bytes)
  }

  #logException(mine: Mine, message: string, now: number, retried: number): number | undefined {
    const sql = `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
      SELECT func_id, ?, ?, uniqkey, arg, ? FROM job WHERE id = ? AND grabbed_until = ?`
    return rowOf(this.#link.sql(sql).run(now, message, retried, ...mine))
  }

  #logStatus(mine: Mine, status: FinalStatus, span: {start: number; end: number}): number | undefined {
    const sql = `INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
      SELECT func_id, arg, uniqkey, ?, ?, ? FROM job WHERE id = ? AND grabbed_until = ?`
    return rowOf(this.#link.sql(sql).run(status, span.start, span.end, ...mine))
  }
}

/** The id of the row that was inserted, if one was. */
function rowOf({changes, lastInsertRowid}: RunResult): number | undefined {
  return changes === 1 ? Number(lastInsertRowid) : undefined
}
