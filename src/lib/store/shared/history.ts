/** One job from its enqueue to its end: its row while it has one, its attempts, and the deaths of its workers. */
import type {AttemptRow, JobHistory} from '../../jobs/job.ts'
import {find} from './listing.ts'
import {type Reading, rowsOf, textOf} from './reading.ts'
import type {Attempted, ReadsSql} from './reads-sql.ts'

interface Death {
  how: string | Uint8Array
  diedAt: number
}

/** @returns null where nothing is known of it */
export function* history<Query>(sql: ReadsSql<Query>, id: number): Reading<Query, JobHistory | null> {
  const job = yield* find(sql, id)
  const [attempts, deaths] = (yield sql.history(id)) as [Attempted[], Death[]]
  const last = attempts.at(-1)
  const rows = merged(attempts.map(attemptOf), job ? deaths.map(deathOf) : [])
  if (job) return {job, id, func: job.func, uniqkey: job.uniqkey, arg: job.arg, attempts: rows}
  if (!last) return null
  const [left] = yield* rowsOf<{arg: Uint8Array | null}, Query>(sql.argOf(last.id))
  const uniqkey = textOrNull(last.uniqkey)
  return {job, id, func: textOf(last.func), uniqkey, arg: left?.arg ?? null, attempts: rows}
}

/** Attempts in their order, and each death before what ended after it. */
function merged(attempts: Omit<AttemptRow, 'nth'>[], deaths: Omit<AttemptRow, 'nth'>[]): AttemptRow[] {
  const rows = []
  let next = 0
  for (const attempt of attempts) {
    while (next < deaths.length && deaths[next]!.end < attempt.end) rows.push(deaths[next++]!)
    rows.push(attempt)
  }
  return [...rows, ...deaths.slice(next)].map((row, i) => ({...row, nth: i + 1}))
}

function attemptOf({outcome, isLast, host, message, ...row}: Attempted): Omit<AttemptRow, 'nth'> {
  const {start, end, pid, exceptionId, retriedAs} = row
  return {
    outcome: textOf(outcome) as AttemptRow['outcome'],
    isLast: Boolean(isLast),
    start,
    end,
    host: textOrNull(host),
    pid,
    exceptionId,
    message: message === null ? '' : textOf(message),
    retriedAs,
  }
}

/** Its worker's; where it ran is not kept. */
function deathOf({how, diedAt}: Death): Omit<AttemptRow, 'nth'> {
  const nowhere = {start: null, host: null, pid: null, exceptionId: null, retriedAs: null}
  return {...nowhere, outcome: 'died', isLast: false, end: diedAt, message: textOf(how)}
}

function textOrNull(value: string | Uint8Array | null): string | null {
  return value === null ? null : textOf(value)
}
