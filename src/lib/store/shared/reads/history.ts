/** One job from its enqueue to its end: its row while it has one, its attempts, what they wrote, and the deaths of its workers. */
import type {AttemptRow, JobHistory, OutputRow, WaitedFor} from '../../../jobs/rows/history.ts'
import {tagsOf} from '../tags.ts'
import {find, parkedOf} from './listing.ts'
import {type Reading, rowsOf, textOf} from './reading.ts'
import type {Attempted, Kept, ReadsSql} from './sql.ts'

interface Death {
  how: string | Uint8Array
  diedAt: number
}

/** @returns null where nothing is known of it */
export function* history<Query>(sql: ReadsSql<Query>, id: number): Reading<Query, JobHistory | null> {
  const job = yield* find(sql, id, {details: true})
  const [attempts, deaths, outputs] = (yield sql.history(id)) as [Attempted[], Death[], Kept[]]
  const last = attempts.at(-1)
  const tags = job?.tags ?? (yield* tagsOf(sql, [id])).get(id) ?? {}
  const kept = new Map(outputs.map(({attemptId, ...output}) => [attemptId, rowOf(output)]))
  const rows = merged(
    attempts.map(attempt => attemptOf(attempt, kept.get(attempt.id) ?? null)),
    job ? deaths.map(deathOf) : [],
  )
  if (job) {
    const after = job.state === 'waiting' ? yield* rowsOf<WaitedFor, Query>(sql.after(id)) : []
    const waitedFor = after.map(({id, anyEnd}) => ({id: Number(id), anyEnd: Boolean(anyEnd)}))
    const parked = job.state === 'waiting' ? yield* parkedOf(sql, [id]) : null
    const {func, uniqkey, arg} = job
    const known = {job, id, func, uniqkey, arg, tags}
    return {...known, attempts: rows, after: waitedFor, parked: parked?.get(id) ?? null}
  }
  if (!last) return null
  const [left] = yield* rowsOf<{arg: Uint8Array | null}, Query>(sql.argOf(id))
  const uniqkey = textOrNull(attempts.findLast(({uniqkey}) => uniqkey !== null)?.uniqkey ?? null)
  return {
    job,
    id,
    func: textOf(last.func),
    uniqkey,
    arg: left?.arg ?? null,
    tags,
    attempts: rows,
    after: [],
    parked: null,
  }
}

/** @returns null where it is not there any more */
export function* output<Query>(sql: ReadsSql<Query>, id: number): Reading<Query, Uint8Array | null> {
  const [row] = yield* rowsOf<{output: Uint8Array}, Query>(sql.output(id))
  return row?.output ?? null
}

/** Attempts in their order, and each death before what ended after it: but one that has left its output is an attempt already. */
function merged(attempts: Omit<AttemptRow, 'nth'>[], deaths: Omit<AttemptRow, 'nth'>[]): AttemptRow[] {
  const rows = []
  const left = [...deaths]
  for (const attempt of attempts) {
    while (left.length > 0 && left[0]!.end < attempt.end) rows.push(left.shift()!)
    const its = attempt.outcome === 'died' ? left.findIndex(({end}) => end === attempt.end) : -1
    rows.push(its < 0 ? attempt : {...attempt, message: left.splice(its, 1)[0]!.message})
  }
  return [...rows, ...left].map((row, i) => ({...row, nth: i + 1}))
}

function rowOf({id, bytes, isCut}: Omit<Kept, 'attemptId'>): OutputRow {
  return {id, bytes, isCut: Boolean(isCut)}
}

function attemptOf(
  {outcome, isLast, host, message, ...row}: Attempted,
  output: OutputRow | null,
): Omit<AttemptRow, 'nth'> {
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
    output,
  }
}

/** Its worker's; where it ran is not kept. */
function deathOf({how, diedAt}: Death): Omit<AttemptRow, 'nth'> {
  const nowhere = {start: null, host: null, pid: null, exceptionId: null, retriedAs: null, output: null}
  return {...nowhere, outcome: 'died', isLast: false, end: diedAt, message: textOf(how)}
}

function textOrNull(value: string | Uint8Array | null): string | null {
  return value === null ? null : textOf(value)
}
