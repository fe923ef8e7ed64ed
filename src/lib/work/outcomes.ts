/**
 * What is told and counted of jobs: lines of the log, events, the summary at the end. A job's end is told only after it
 * was written.
 */
import type {Events, JobqEvents, JobSubject} from '../hooks/events.ts'
import {EXPIRED, type ExpiredJob, idOf, type JobRow, type RunOutcome} from '../jobs/job.ts'
import type {SettleResult, Turn} from '../store/store.ts'
import type {Attempt} from './attempt.ts'
import type {JobLog, LoggedOutcome} from './log/log.ts'

/** What was done, in all. */
export interface Summary {
  /** How many jobs were started. */
  taken: number
  completed: number
  failed: number
  aborted: number
  released: number
  /** Attempts whose worker put the job back: it is due later, and no retry was counted. */
  declined: number
  /** Attempts whose process died; these jobs run again. */
  died: number
  /** Attempts whose job someone else had taken meanwhile. */
  lost: number
  /** Jobs whose last attempt here did not complete. */
  notDone: number
  /** Was it told to end while there was work left for it (a drain cut short, jobs released)? */
  cutShort: boolean
}

export class Outcomes {
  readonly #log: JobLog
  readonly #events: Events
  readonly #keepsFailures: boolean
  readonly #notDoneIds = new Set<number | string>()
  readonly counts = {completed: 0, failed: 0, aborted: 0, released: 0, declined: 0, died: 0, lost: 0}
  /** Of the released, those that were stopped since this process is to end. */
  stopped = 0
  /** Attempts that have ended. */
  ended = 0
  /** Jobs that were grabbed, less those that were given back before they started. */
  taken = 0

  /** @param keepsFailures for a drain, which is asked for it: else the account would grow for ever */
  constructor(log: JobLog, events: Events, {keepsFailures}: {keepsFailures: boolean}) {
    this.#log = log
    this.#events = events
    this.#keepsFailures = keepsFailures
  }

  get notDone(): number {
    return this.#notDoneIds.size
  }

  grabbed(job: JobRow, now: number): void {
    this.taken++
    const waited = now - job.runAfter
    if (this.#log.isVerbose)
      this.#log.debug(`grabbed ${idOf(job)} ${job.func}, priority ${job.priority}, due for ${waited} s`)
    if (this.#events.hears('grab'))
      this.#events.tell('grab', () => ({...subject(job), retryCnt: job.retryCnt, waitMs: waited * 1000}))
  }

  started({job}: Attempt): void {
    if (this.#events.hears('start'))
      this.#events.tell('start', () => ({...subject(job), retryCnt: job.retryCnt}))
  }

  /** Never started: back in the queue, as if it had not been grabbed. */
  givenBack({job}: Attempt): void {
    this.taken--
    this.#tellReleased(job, 'not started', 0)
    if (this.#log.isVerbose) this.#log.debug(`${idOf(job)} ${job.func} was given back before it started`)
  }

  settled(attempt: Attempt, result: SettleResult): void {
    const {job, durationMs} = attempt
    this.ended++
    const told = tell(attempt, result)
    if (told.outcome === 'released' && attempt.givenBackFor === '') this.stopped++
    this.#log.ended(job, told.outcome, durationMs, told.message)
    this.counts[told.outcome === 'replaced' ? 'completed' : told.outcome]++
    const isDone = told.outcome === 'completed' || told.outcome === 'replaced' || told.outcome === 'lost'
    if (told.outcome !== 'declined') this.#keep(job, !isDone)
    this.#tellEnd(attempt, result, told.outcome)
  }

  /** Jobs whose lease ran out once too often. */
  buried(jobs: Turn['buried']): void {
    for (const {message, ...job} of jobs) {
      this.#log.ended(job, 'failed', 0, message)
      this.counts.failed++
      this.#keep(job, true)
      const how = {outcome: 'failed', durationMs: null, message, retryIn: null} as const
      this.#events.tell('fail', () => ({...job, ...how}))
    }
  }

  /** Jobs that had not begun in time. */
  expired(jobs: readonly ExpiredJob[]): void {
    for (const job of jobs) {
      this.#log.ended(job, 'aborted', 0, EXPIRED)
      this.counts.aborted++
      this.#keep(job, true)
      const how = {outcome: 'aborted', durationMs: 0, message: EXPIRED} as const
      this.#events.tell('finish', () => ({...job, ...how}))
    }
  }

  #keep(job: Parameters<typeof idOf>[0], isNotDone: boolean): void {
    if (!this.#keepsFailures) return
    if (isNotDone) this.#notDoneIds.add(idOf(job))
    else this.#notDoneIds.delete(idOf(job))
  }

  #tellEnd({job, outcome, durationMs}: Attempt, result: SettleResult, told: LoggedOutcome): void {
    const events = this.#events
    if (told === 'completed' || told === 'replaced' || told === 'aborted') {
      const message = outcome.kind === 'aborted' ? outcome.reason : ''
      if (events.hears('finish'))
        events.tell('finish', () => ({...subject(job), outcome: told, durationMs, message}))
    } else if (told === 'failed' || told === 'died') {
      const message = failureMessage(outcome, result)
      const retryIn = retryOf(outcome, result.failed)
      events.tell('fail', () => ({...subject(job), outcome: told, durationMs, message, retryIn}))
      if (retryIn !== null) events.tell('retry', () => ({...subject(job), exceptionId: null}))
    } else this.#tellReleased(job, told === 'released' ? 'stopped' : told, durationMs)
  }

  #tellReleased(job: JobRow, reason: JobqEvents['release']['reason'], durationMs: number): void {
    this.#events.tell('release', () => ({...subject(job), reason, durationMs}))
  }
}

export function subject({id, db, func, uniqkey, priority}: JobRow): JobSubject {
  return {id, ...(db === undefined ? {} : {db}), func, uniqkey, priority}
}

function failureMessage(outcome: RunOutcome, {failed}: SettleResult): string {
  if (failed !== undefined) return failed
  if (outcome.kind === 'failed') return outcome.message
  return outcome.kind === 'died' ? outcome.how : ''
}

/** Seconds until the job is due again; a death's next attempt comes at once. */
function retryOf(outcome: RunOutcome, failed: string | undefined): number | null {
  if (outcome.kind === 'failed' || outcome.kind === 'replaced') return outcome.retryIn
  return outcome.kind === 'died' && failed === undefined ? 0 : null
}

/** What the log says of a settlement. */
function tell(
  {outcome, givenBackFor}: Attempt,
  {held, failed}: SettleResult,
): {outcome: LoggedOutcome; message: string} {
  if (!held)
    return {outcome: 'lost', message: `${outcome.kind}, but someone else had taken the job: nothing changed`}
  const retryIn = retryOf(outcome, failed)
  const again = retryIn === null ? '' : ` (again in ${retryIn} s)`
  if (failed !== undefined) return {outcome: 'failed', message: failed + again}
  switch (outcome.kind) {
    case 'failed':
      return {outcome: 'failed', message: outcome.message.split('\n', 1)[0] + again}
    case 'aborted':
      return {outcome: 'aborted', message: outcome.reason}
    case 'declined':
      return {outcome: 'declined', message: `again in ${outcome.delay} s`}
    case 'died':
      return {outcome: 'died', message: `${outcome.how}; the job runs again`}
    case 'replaced':
      return {outcome: 'replaced', message: `by ${outcome.jobs.length}`}
    case 'released':
      return {outcome: 'released', message: givenBackFor}
    case 'completed':
      return {outcome: 'completed', message: ''}
  }
}
