/**
 * One attempt at a job, as the dispatcher follows it: grabbed, perhaps waiting for an executor, running, ended, settled.
 */
import {hostname} from 'node:os'
import type {JobRow, Lease, Outcome, Settlement} from '../jobs/job.ts'
import type {Ended, Run} from './executors/executor.ts'
import {cut, withMessageCut} from './messages.ts'

/** An error of a server may repeat what it did not take. */
const MAX_REASON_BYTES = 1024

const HOST = hostname()

export class Attempt {
  readonly job: JobRow
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
  stopped: 'overrun' | 'shutdown' | null = null
  /** How it ended; before that, and for what never started: given back. */
  outcome: Outcome = {kind: 'released'}
  durationMs = 0

  constructor(job: JobRow, leasedSince: number) {
    this.job = job
    this.lease = leaseOf(job)
    this.leasedSince = leasedSince
  }

  stop(why: 'overrun' | 'shutdown'): void {
    if (this.stopped || !this.run) return
    this.stopped = why
    this.run.stop()
  }

  /** @param now by monotonic() */
  end(ended: Ended, now: number): void {
    this.durationMs = now - this.since
    this.outcome = withMessageCut(this.#outcome(ended))
    if (ended.kind === 'unstarted') this.run = null
  }

  /** The store has not taken its end: it has failed instead, and says why in a few words. */
  refuse(reason: string): void {
    const message = `its end (${this.outcome.kind}) could not be written: ${cut(reason, MAX_REASON_BYTES)}`
    this.outcome = {kind: 'failed', message, retryIn: this.run?.settings.retryIn() ?? null}
  }

  get settlement(): Settlement {
    const {lease, outcome, startedAt: start, run} = this
    if (!run) return {lease, outcome}
    const {setJobStatus} = run.settings
    if (!setJobStatus && (outcome.kind === 'completed' || outcome.kind === 'released'))
      return {lease, outcome}
    const ran = {start, host: HOST, pid: run.pid}
    if (!setJobStatus) return {lease, outcome, ran}
    return {lease, outcome, ran, span: {start, end: start + Math.round(this.durationMs / 1000)}}
  }

  #outcome(ended: Ended): Outcome {
    if (ended.kind === 'unstarted') return {kind: 'released'}
    if (this.stopped === 'overrun') {
      const {grabFor, retryIn} = this.run!.settings
      const end = ended.kind === 'abandoned' ? 'told to stop, but it may still be running' : 'stopped'
      const message = `ran longer than its grab_for of ${grabFor} s and was ${end}`
      return {kind: 'failed', message, retryIn: retryIn()}
    }
    // A job that was told to stop and did is not to blame for how it ended, unless it got done all the same
    if (this.stopped === 'shutdown' && !(ended.kind === 'finished' && isDone(ended.outcome)))
      return {kind: 'released'}
    switch (ended.kind) {
      case 'finished':
        return ended.outcome
      case 'died':
        return {kind: 'died', how: ended.how}
      case 'abandoned':
        return {kind: 'released'}
    }
  }
}

function leaseOf({id, db, grabbedUntil}: JobRow): Lease {
  return db === undefined ? {id, grabbedUntil} : {id, db, grabbedUntil}
}

function isDone(outcome: Outcome): boolean {
  return outcome.kind === 'completed' || outcome.kind === 'replaced' || outcome.kind === 'aborted'
}
