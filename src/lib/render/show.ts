/** What `jobq show` tells of a job: as a document, or as lines for people. */
import {type AttemptRow, idOf, type JobHistory} from '../jobs/job.ts'
import {argDocument} from './listing.ts'
import {argLine, duration, fromNow, oneLine} from './text.ts'

export function showDocument(history: JobHistory): Record<string, unknown> {
  const {job, func, uniqkey, arg, attempts} = history
  return {
    id: idOf(history),
    func,
    state: stateOf(history),
    arg: argDocument(arg),
    uniqkey,
    priority: job?.priority ?? null,
    enqueue_time: job?.enqueueTime ?? null,
    run_after: job?.runAfter ?? null,
    grabbed_until: job?.grabbedUntil ?? null,
    retry_cnt: job?.retryCnt ?? null,
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
    })),
  }
}

export function showText(history: JobHistory): string {
  const {job, func, uniqkey, arg, attempts} = history
  const facts: [name: string, text: string][] = [
    ['job', String(idOf(history))],
    ['function', oneLine(func)],
    ['state', stateOf(history)],
    ['argument', arg === null ? '-' : argLine(arg)],
    ['uniqkey', uniqkey === null ? '-' : oneLine(uniqkey)],
  ]
  if (job)
    facts.push(
      ['priority', String(job.priority)],
      ['enqueued', time(job.enqueueTime)],
      ['due', time(job.runAfter)],
      ['retries', String(job.retryCnt)],
    )
  const width = Math.max(...facts.map(([name]) => name.length))
  return [
    ...facts.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`),
    ...attempts.flatMap(attempt => attemptLines(attempt, history)),
  ].join('')
}

function attemptLines(attempt: AttemptRow, {db}: JobHistory): string[] {
  const {nth, outcome, start, end, host, pid, exceptionId, message, retriedAs} = attempt
  const where = host === null ? '' : ` on ${oneLine(host)}${pid === null ? '' : `, process ${pid}`}`
  const took = start === null ? '' : `, after ${duration(Math.max(0, end - start))}`
  const exception = exceptionId === null ? '' : `, exception ${idOf({id: exceptionId, db})}`
  const retried = retriedAs === null ? '' : `, retried as job ${idOf({id: retriedAs, db})}`
  return [
    `\nattempt ${nth}: ${outcome} ${time(end)}${took}${where}${exception}${retried}\n`,
    ...message
      .trimEnd()
      .split('\n')
      .filter(text => text !== '')
      .map(text => `  ${oneLine(text)}\n`),
  ]
}

/** Of one that has left the queue: how its last attempt ended. */
function stateOf({job, attempts}: JobHistory): string {
  return job?.state ?? attempts.at(-1)!.outcome
}

/** In the reader's own time zone. */
function time(seconds: number): string {
  if (Number.isNaN(seconds)) return '?'
  const local = new Date(seconds * 1000 - new Date(seconds * 1000).getTimezoneOffset() * 60_000)
  return `${local.toISOString().slice(0, 19).replace('T', ' ')} (${fromNow(seconds)})`
}
