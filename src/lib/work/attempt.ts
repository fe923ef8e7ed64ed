/**
 * One attempt at a job, as the dispatcher follows it: grabbed, perhaps waiting for an executor, running, ended, settled.
 */
import {hostname} from 'node:os'
import type {StopReason} from '../jobs/errors.ts'
import {
  CANCELLED,
  idOf,
  type JobRow,
  keptOutput,
  type Lease,
  type Outcome,
  type Postponement,
  type RunOutcome,
  type Settlement,
  type TakenJob,
} from '../jobs/job.ts'
import {asciiJson} from '../jobs/printable.ts'
import {keepResultOf} from '../jobs/side-tables/keep-result.ts'
import type {SettleResult} from '../store/store.ts'
import type {Ended, Run} from './executors/executor.ts'
import {cut, withMessageCut} from './messages.ts'

/** An error of a server may repeat what it did not take. */
const MAX_REASON_BYTES = 1024

const HOST = hostname()

/** So many jobs of a run are named in an exception. */
const MOST_NAMED = 10

const RELEASED: Outcome = {kind: 'released'}

/** Mostly there are none: one for all. */
export const NO_OTHERS: readonly never[] = []

export class Attempt {
  readonly job: JobRow
  /** Those that its run is for as well (claims/together.ts), each an attempt of its own. */
  others: readonly Attempt[] = NO_OTHERS
  lease: Lease
  /** When it was given or renewed, by monotonic(). */
  leasedSince: number
  /** null: it has not started yet. */
  run: Run | null = null
  /** monotonic() at the start. */
  since = 0
  /** Unix seconds by the database's clock. */
  startedAt = 0
  /** Why it was told to stop, if it was. */
  stopped: StopReason | null = null
  #hasEnded = false
  /** How it ended; before that, and for what never started: given back. */
  outcome: RunOutcome = RELEASED
  /** Why it was given back, if the job can't know. */
  givenBackFor = ''
  durationMs = 0
  #isOutputRefused = false
  #leader: Attempt | null = null

  constructor(job: JobRow, leasedSince: number) {
    this.job = job
    this.lease = leaseOf(job)
    this.leasedSince = leasedSince
  }

  /** What is handed out. */
  get taken(): TakenJob {
    return this.others.length === 0 ? this.job : {...this.job, others: this.others.map(({job}) => job)}
  }

  /** Its leader's run, which has just begun, is its own. @param nth of that one's others */
  startWith(leader: Attempt, nth: number): void {
    const {settings, pid} = leader.run!
    const {grabFor, setJobStatus, keepResult} = settings
    this.#leader = leader
    this.since = leader.since
    this.startedAt = leader.startedAt
    const own = {grabFor, setJobStatus, keepResult, retryIn: () => settings.retryIn(nth)}
    this.run = {settings: own, pid, stop: () => {}}
  }

  /**
   * Its leader's run has ended: so has this, which fails with a retry of its own, and is not to blame where its leader alone
   * was cancelled.
   * @param ended how; what was replaced is that once it is written, and its others are completed
   */
  endWith(leader: Attempt, ended: Ended, now: number): void {
    if (leader.stopped) this.stopped ??= leader.stopped === 'cancelled' ? 'shutdown' : leader.stopped
    const {stopped, outcome} = leader
    const isCancelled = stopped === 'cancelled' && outcome.kind === 'aborted' && outcome.reason === CANCELLED
    this.end(isCancelled ? {kind: 'abandoned'} : this.#asMine(ended), now)
  }

  #asMine(ended: Ended): Ended {
    if (ended.kind !== 'finished' || ended.outcome.kind !== 'failed') return ended
    return {...ended, outcome: {...ended.outcome, retryIn: this.run?.settings.retryIn() ?? null}}
  }

  stop(why: Exclude<StopReason, 'cancelled'>): void {
    if (this.stopped || !this.run) return
    this.stopped = why
    this.run.stop(why)
  }

  /** Whatever else it was told to stop for; also where it has not started yet, or has ended and was not settled. */
  cancel(): void {
    const isTold = this.stopped !== null
    this.stopped = 'cancelled'
    if (!this.run || this.#hasEnded) this.outcome = cancelled(this.outcome)
    else if (!isTold) this.run.stop('cancelled')
  }

  /** As it was settled: is its job no longer in the queue? */
  hasLeft({held, failed}: SettleResult): boolean {
    const {outcome} = this
    if (!held || outcome.kind === 'released' || outcome.kind === 'declined') return false
    if (outcome.kind === 'died') return failed !== undefined
    if (outcome.kind === 'failed' || (outcome.kind === 'replaced' && failed !== undefined))
      return outcome.retryIn === null
    return true
  }

  /** @param now by monotonic() */
  end(ended: Ended, now: number): void {
    this.#hasEnded = true
    this.durationMs = now - this.since
    this.outcome = withMessageCut(this.#toldTogether(this.#outcome(ended)))
    if (ended.kind === 'unstarted') this.run = null
  }

  /** The store has not taken its end, of which a letter of its result may be the reason. @returns false if there is none */
  escapeResult(): boolean {
    const {outcome} = this
    if (outcome.kind !== 'completed' || outcome.result === undefined) return false
    const result = asciiJson(outcome.result)
    if (result === outcome.result) return false
    this.outcome = {...outcome, result}
    return true
  }

  /** The same of its output. */
  refuseOutput(): boolean {
    if (this.settlement.output === undefined) return false
    this.#isOutputRefused = true
    return true
  }

  /** The store has not taken its end: it has failed instead, and says why in a few words. */
  refuse(reason: string): void {
    const message = `its end (${this.outcome.kind}) could not be written: ${cut(reason, MAX_REASON_BYTES)}`
    const retryIn = this.stopped === 'cancelled' ? null : (this.run?.settings.retryIn() ?? null)
    this.outcome = {kind: 'failed', message, retryIn}
  }

  /** What is to be written before it is settled. Null: nothing. */
  get postponement(): Postponement | null {
    const {lease, outcome} = this
    return outcome.kind === 'declined' && outcome.delay > 0 ? {lease, seconds: outcome.delay} : null
  }

  get settlement(): Settlement {
    const {lease, outcome, startedAt: start, run} = this
    if (outcome.kind === 'declined') return {lease, outcome: RELEASED}
    const isCancelled =
      this.stopped === 'cancelled' && outcome.kind === 'aborted' && outcome.reason === CANCELLED
    if (!run) return isCancelled ? {lease, outcome, isCancelled} : {lease, outcome}
    const {setJobStatus} = run.settings
    const output = this.#output
    const result = this.#result(run)
    if (!setJobStatus && !output && (outcome.kind === 'completed' || outcome.kind === 'released'))
      return result ? {lease, outcome, result} : {lease, outcome}
    const ran = {start, host: HOST, pid: run.pid}
    const settlement: Settlement = output ? {lease, outcome, ran, output} : {lease, outcome, ran}
    if (setJobStatus) settlement.span = {start, end: start + Math.round(this.durationMs / 1000)}
    if (result) settlement.result = result
    if (isCancelled) settlement.isCancelled = true
    return settlement
  }

  /** Of a run for several jobs it is that of each of them that keeps one. */
  #result({settings}: Run): Settlement['result'] {
    const {outcome} = this
    if (outcome.kind !== 'completed' || outcome.result === undefined) return undefined
    const seconds = keepResultOf(this.job.context) ?? settings.keepResult
    return seconds > 0 ? {json: outcome.result, seconds} : undefined
  }

  /** What may have to be kept: what replaces a job may be refused, and then it has failed. */
  get #output(): Settlement['output'] {
    const {outcome, run} = this
    if (outcome.kind === 'released' || outcome.kind === 'declined' || this.#isOutputRefused) return undefined
    const output = run?.output?.kept
    return outcome.kind === 'replaced' ? output : keptOutput(output, outcome.kind)
  }

  /** An exception of several jobs says so. */
  #toldTogether(outcome: RunOutcome): RunOutcome {
    const mates = this.#leader ? [this.#leader] : this.others
    if (outcome.kind !== 'failed' || mates.length === 0) return outcome
    const named = mates.slice(0, MOST_NAMED).map(({job}) => idOf(job))
    const more = mates.length - named.length
    const which = `${mates.length > 1 ? 'jobs' : 'job'} ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
    return {
      ...outcome,
      message: `${outcome.message}
(together with ${which})`,
    }
  }

  #outcome(ended: Ended): RunOutcome {
    if (this.stopped === 'cancelled') return cancelled(ended.kind === 'finished' ? ended.outcome : null)
    if (ended.kind === 'unstarted') return RELEASED
    if (ended.kind === 'evicted' && this.stopped !== 'shutdown') {
      this.givenBackFor = ended.how
      return RELEASED
    }
    if (this.stopped === 'overrun') {
      const {settings} = this.run!
      const end = ended.kind === 'abandoned' ? 'told to stop, but it may still be running' : 'stopped'
      const message = `ran longer than its grab_for of ${settings.grabFor} s and was ${end}`
      return {kind: 'failed', message, retryIn: settings.retryIn()}
    }
    // A job that was told to stop and did is not to blame for how it ended, unless it got done all the same
    if (this.stopped === 'shutdown' && !(ended.kind === 'finished' && isItsWord(ended.outcome)))
      return RELEASED
    switch (ended.kind) {
      case 'finished':
        return ended.outcome
      case 'died':
        return {kind: 'died', how: ended.how}
      case 'evicted':
      case 'abandoned':
        return RELEASED
    }
  }
}

function leaseOf({id, db, grabbedUntil}: JobRow): Lease {
  return db === undefined ? {id, grabbedUntil} : {id, db, grabbedUntil}
}

function isItsWord(outcome: RunOutcome): boolean {
  return isDone(outcome) || outcome.kind === 'declined'
}

function isDone(outcome: RunOutcome): boolean {
  return outcome.kind === 'completed' || outcome.kind === 'replaced' || outcome.kind === 'aborted'
}

/** A job that got done is done, for all that; if what is to take its place is refused, it is not tried again. */
function cancelled(outcome: RunOutcome | null): RunOutcome {
  if (outcome?.kind === 'replaced') return {...outcome, retryIn: null}
  return outcome && isDone(outcome) ? outcome : {kind: 'aborted', reason: CANCELLED}
}
