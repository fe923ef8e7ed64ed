/**
 * One job through one worker object, wherever that runs: in a pool's child, or inline in an application.
 */

import {type Extensions, NO_EXTENSIONS} from '../../hooks/extensions.ts'
import {replacementJobs} from '../../hooks/hooked-job.ts'
import type {PluginSet} from '../../hooks/plugin-set.ts'
import type {RetryDelay} from '../../jobs/backoff.ts'
import {HookError, PluginError, WorkerError} from '../../jobs/errors.ts'
import {CANCELLED, type RunOutcome} from '../../jobs/job.ts'
import {encodeResult} from '../../jobs/side-tables/results.ts'
import {isThenable} from '../../jobs/value.ts'
import type {Job} from '../../jobs/worker.ts'
import {retryIn} from './executor.ts'
import type {ReadyWorker} from './ready-worker.ts'
import {type End, endOf, LeftJob, type RunningJob} from './running-job.ts'
import {described, messageOf} from './thrown.ts'

/** What a job waits for whose retryDelay, a function, throws or says what is no delay. In seconds. */
const WITHOUT_DELAY: RetryDelay = {first: 10, longest: 3600}

/** How a job ended. */
export interface Ran {
  /** As its worker left it. */
  job: RunningJob
  /** `died`: a hook at deserialize or preWork has failed, which in Qudo is the end of the worker. */
  outcome: End
  /**
   * Calls the postWork hooks; null if there are none. To be called once the outcome has been reported, which stands.
   * @throws HookError
   */
  afterwards: (() => Promise<void>) | null
}

/** Runs the job, with the hooks before it and the plugins around it, and says how it ended. Never throws. */
export function runJob(
  worker: ReadyWorker,
  job: RunningJob,
  extensions: Extensions = NO_EXTENSIONS,
): Promise<Ran> {
  const {aroundWork} = extensions.plugins
  return aroundWork ? within(aroundWork, worker, job, extensions) : attempt(worker, job, extensions)
}

function ran(job: RunningJob, ended: End, {hooks}: Extensions): Ran {
  const isUndone = ended.kind === 'failed' || ended.kind === 'died' || ended.kind === 'declined'
  const outcome: End = job.isCancelled && isUndone ? {kind: 'aborted', reason: CANCELLED} : ended
  if (outcome.kind === 'died' || !hooks.has('postWork')) return {job, outcome, afterwards: null}
  return {job, outcome, afterwards: () => hooks.run('postWork', job.ended(outcome))}
}

const COMPLETED: End = {kind: 'completed'}

/** What a plugin has thrown after the attempt changes nothing of how that ended. */
async function within(
  aroundWork: NonNullable<PluginSet['aroundWork']>,
  worker: ReadyWorker,
  job: RunningJob,
  extensions: Extensions,
): Promise<Ran> {
  await job.decode(worker.serializer)
  let working: Promise<Ran> | null = null
  const once = async () => {
    working ??= attempt(worker, job, extensions)
    return endOf((await working).outcome, job.thrown)
  }
  const around = (async () => aroundWork(job, once))() // it may throw at once
  const complaint = await around.then(
    () => null,
    (error: unknown) => ({error}),
  )
  const done = await (working as Promise<Ran> | null)
  if (done) return complaint ? {...done, afterwards: async () => Promise.reject(complaint.error)} : done
  const error = complaint?.error ?? new PluginError('a plugin did not call work() in its aroundWork()')
  return ran(job, failure(worker, job, error), extensions)
}

async function attempt(worker: ReadyWorker, job: RunningJob, extensions: Extensions): Promise<Ran> {
  const {hooks} = extensions
  try {
    const decoding = job.decode(worker.serializer)
    if (decoding) await decoding
    if (job.mistake) throw job.mistake
    if (hooks.has('deserialize')) await hooks.run('deserialize', job)
    if (hooks.has('preWork')) await hooks.run('preWork', job)
    const working = worker.work(job)
    const result = isThenable(working) ? await working : working
    if (job.ending === null && job.replacements === null && job.keepsResult(worker.keepResult))
      return ran(job, {kind: 'completed', result: encodeResult(result)}, extensions)
  } catch (error) {
    if (job.ending === null) {
      // A hook's own failure, not one of an enqueue within work()
      if (error instanceof HookError && (error.point === 'deserialize' || error.point === 'preWork')) {
        job.thrown = error
        return ran(job, {kind: 'died', how: messageOf(error)}, extensions)
      }
      return ran(job, failure(worker, job, error), extensions)
    }
  }
  if (job.ending !== null) return ran(job, job.ending, extensions)
  if (job.replacements === null) return ran(job, COMPLETED, extensions)
  try {
    const jobs = await replacementJobs(job.replacements, extensions)
    return ran(job, {kind: 'replaced', jobs, retryIn: nextTry(worker, job)}, extensions)
  } catch (error) {
    return ran(job, failure(worker, job, error), extensions)
  }
}

/**
 * Seconds until this job is due again if it fails now, null if no retries are left. A mistake in a retryDelay that is a
 * function takes no retries away: the delay is one of WITHOUT_DELAY then.
 */
export function nextTry(
  {maxRetries, retryDelay}: ReadyWorker,
  job: Job,
  onMistake = (_mistake: unknown) => {},
): number | null {
  if (job.retryCnt >= maxRetries) return null
  if (typeof retryDelay !== 'function') return retryIn(maxRetries, job.retryCnt, retryDelay)
  try {
    const delay: unknown = retryDelay(job)
    if (isThenable(delay)) void Promise.resolve(delay).catch(() => {}) // told as what it is: no number
    if (typeof delay === 'number' && delay >= 0 && delay < Number.POSITIVE_INFINITY)
      return retryIn(maxRetries, job.retryCnt, delay)
    onMistake(new WorkerError(`retryDelay: expected seconds from 0, got ${described(delay)}`))
  } catch (error) {
    onMistake(error)
  }
  return retryIn(maxRetries, job.retryCnt, WITHOUT_DELAY)
}

/** The outcome of what was thrown where no work() could catch it: in a timer, in a promise that nobody awaits. */
export function strayOutcome(error: unknown, retryIn: number | null): RunOutcome {
  if (error instanceof LeftJob) return error.ending
  return {kind: 'failed', message: messageOf(error), retryIn}
}

function failure(worker: ReadyWorker, job: RunningJob, error: unknown): Extract<End, {kind: 'failed'}> {
  job.thrown = error
  let message = messageOf(error)
  const retryIn = nextTry(worker, job, mistake => {
    message += `\n${messageOf(mistake)}`
  })
  return {kind: 'failed', message, retryIn}
}
