/** What `jobq show` tells of a job: as a document, or as lines for people. */

import {type BatchState, idOf, type Parked} from '../jobs/job.ts'
import type {AttemptRow, JobHistory, ShownJob, WaitedFor} from '../jobs/rows/history.ts'
import {progressText} from '../jobs/side-tables/progress.ts'
import {oneLineJson, RawJson} from './json.ts'
import {argDocument} from './listing.ts'
import {argLine, duration, fromNow, oneLine} from './text.ts'

export const NO_WORKER = 'none: no jobq work that is seen has one for it'
/** How many of the jobs that one waits for are shown to people. */
const MOST_AFTER = 20

export function showDocument(history: ShownJob): Record<string, unknown> {
  const {job, run, func, uniqkey, arg, tags, attempts, after, parked, result, batch} = history
  return {
    id: idOf(history),
    func,
    state: stateOf(history),
    paused: history.paused,
    workers: history.workers,
    arg: argDocument(arg),
    uniqkey,
    tags,
    priority: job?.priority ?? null,
    enqueue_time: job?.enqueueTime ?? null,
    run_after: job?.runAfter ?? null,
    grabbed_until: job?.grabbedUntil ?? null,
    expires_at: job?.expiresAt ?? null,
    retry_cnt: job?.retryCnt ?? null,
    ...(batch ? {batch} : {}),
    ...(job?.progress ? {progress: job.progress} : {}),
    run: run && {host: run.host, pid: run.pid, start_time: run.start},
    attempts: attempts.map(attempt => ({
      attempt: attempt.nth,
      outcome: attempt.outcome,
      is_last: attempt.isLast,
      start_time: attempt.start,
      end_time: attempt.end,
      host: attempt.host,
      pid: attempt.pid,
      exception_id: attempt.exceptionId,
      message: attempt.message,
      retried_as: attempt.retriedAs,
      output: attempt.output && {bytes: attempt.output.bytes, is_cut: attempt.output.isCut},
    })),
    ...(result ? {result: new RawJson(oneLineJson(result.json)), result_kept_until: result.keptUntil} : {}),
    after: after.map(({id, anyEnd}) => ({job_id: idOf({id, db: history.db}), any_end: anyEnd})),
    parked: parked && {waits_for: parked.waitsFor, key: parked.key, run_after: parked.runAfter},
  }
}

export function showText(history: ShownJob): string {
  const {job, run, func, uniqkey, arg, tags, attempts, after, parked, result, batch} = history
  const facts: [name: string, text: string][] = [
    ['job', String(idOf(history))],
    ['function', oneLine(func)],
    ['state', `${stateOf(history)}${history.paused ? ', paused' : ''}`],
    ...(history.workers === 0 ? [['workers', NO_WORKER] as [string, string]] : []),
    ['argument', arg === null ? '-' : argLine(arg)],
    ['uniqkey', uniqkey === null ? '-' : oneLine(uniqkey)],
  ]
  const pairs = Object.entries(tags).map(([name, value]) => oneLine(`${name}=${value}`))
  if (pairs.length > 0) facts.push(['tags', pairs.join(' ')])
  if (job)
    facts.push(
      ['priority', String(job.priority)],
      ['enqueued', time(job.enqueueTime)],
      ...(parked ? [['waits', `for ${oneLine(waitsForText(parked))}`] as [string, string]] : []),
      job.state === 'waiting' && !parked
        ? ['after', afterText(after, history)]
        : ['due', time(parked?.runAfter ?? job.runAfter)],
      ['retries', String(job.retryCnt)],
    )
  if (job && job.expiresAt !== null) facts.push(['expires', time(job.expiresAt)])
  if (run) facts.push(['runs', `${place(run).trimStart()}, since ${time(run.start)}`])
  if (batch) facts.push(['batch', batchText(batch)])
  if (job?.progress) facts.push(['progress', oneLine(progressText(job.progress))])
  if (result)
    facts.push(['result', oneLine(oneLineJson(result.json))], ['kept until', time(result.keptUntil)])
  const width = Math.max(...facts.map(([name]) => name.length))
  return [
    ...facts.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`),
    ...attempts.flatMap(attempt => attemptLines(attempt, history)),
  ].join('')
}

/** `10 jobs: 8 completed, 1 failed, 1 in the queue` */
export function batchText({jobs, completed, failed, aborted, left}: BatchState): string {
  const parts = Object.entries({completed, failed, aborted, 'in the queue': left})
    .filter(([, count]) => count > 0)
    .map(([how, count]) => `${count} ${how}`)
  return `${jobs} jobs${parts.length > 0 ? `: ${parts.join(', ')}` : ''}`
}

/** The first of them; `12 (any end)` where it may fail. */
function afterText(after: readonly WaitedFor[], {db}: JobHistory): string {
  const shown = after
    .slice(0, MOST_AFTER)
    .map(({id, anyEnd}) => `${idOf({id, db})}${anyEnd ? ' (any end)' : ''}`)
  const more = after.length - shown.length
  return `${shown.join(', ') || '-'}${more > 0 ? ` and ${more} more` : ''}`
}

/** What a job waits for that its function's limits do not let start. */
export function waitsForText({key, waitsFor}: Parked): string {
  return waitsFor === 'place' ? `a place of ${key}` : `the rate of ${key}`
}

function attemptLines(attempt: AttemptRow, {db}: JobHistory): string[] {
  const {nth, outcome, start, end, host, pid, exceptionId, message, retriedAs, output} = attempt
  const where = place({host, pid})
  const took = start === null ? '' : `, after ${duration(Math.max(0, end - start))}`
  const exception = exceptionId === null ? '' : `, exception ${idOf({id: exceptionId, db})}`
  const retried = retriedAs === null ? '' : `, retried as job ${idOf({id: retriedAs, db})}`
  const kept = output === null ? '' : `, ${output.isCut ? 'the last ' : ''}${output.bytes} bytes of output`
  return [
    `\nattempt ${nth}: ${outcome} ${time(end)}${took}${where}${exception}${retried}${kept}\n`,
    ...message
      .trimEnd()
      .split('\n')
      .filter(text => text !== '')
      .map(text => `  ${oneLine(text)}\n`),
  ]
}

function place({host, pid}: {host: string | null; pid: number | null}): string {
  return host === null ? '' : ` on ${oneLine(host)}${pid === null ? '' : `, process ${pid}`}`
}

/** Of one that has left the queue: how its last attempt ended. */
export function stateOf({job, attempts}: JobHistory): string {
  return job?.state ?? attempts.at(-1)?.outcome ?? 'completed'
}

/** In the reader's own time zone; of what is no time, a column holding whatever was written into it, `?`. */
function time(seconds: number): string {
  const local = new Date(seconds * 1000 - new Date(seconds * 1000).getTimezoneOffset() * 60_000)
  if (Number.isNaN(local.getTime())) return '?'
  return `${local.toISOString().slice(0, 19).replace('T', ' ')} (${fromNow(seconds)})`
}
