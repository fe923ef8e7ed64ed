/** What a notice says. */
import type {NoticeName} from '../../config/notices.ts'
import {gist} from '../../jobs/printable.ts'
import type {Happened} from './happened.ts'

/** What is told of by itself in one notice. */
const MOST_TOLD = 10

/** What is told, as JSON: the argument of the job that tells, or a command line's standard input. */
export interface Notice {
  notice: NoticeName
  /** In one line. */
  text: string
  /** How many jobs, or attempts, it is about. */
  count: number
  /** How many of each function. */
  funcs: Record<string, number>
  /** The first and the last of them, as ISO 8601. */
  from: string
  to: string
  database: string
  /** The first ten. */
  jobs: Told[]
}

/** One of them. */
interface Told {
  job_id: number | null
  db?: number
  func: string
  uniqkey: string | null
  time: string
  /** Its head; empty for what has completed. */
  message: string
  /** Is it in the queue no more? */
  is_last: boolean
  exception_id: number | null
}

export function noticeOf(name: NoticeName, happened: readonly Happened[], database: string): Notice {
  const funcs: Record<string, number> = {}
  for (const {func} of happened) funcs[func] = (funcs[func] ?? 0) + 1
  const first = happened.reduce((least, {at}) => Math.min(least, at), Number.POSITIVE_INFINITY)
  const last = happened.reduce((most, {at}) => Math.max(most, at), 0)
  return {
    notice: name,
    text: textOf(name, happened, funcs),
    count: happened.length,
    funcs,
    from: iso(first),
    to: iso(last),
    database,
    jobs: happened.slice(0, MOST_TOLD).map(toldOf),
  }
}

const WORDS: Record<NoticeName, string> = {
  onFailed: 'failed',
  onGivenUp: 'was given up',
  onCompleted: 'completed',
  onDeath: 'died',
}

function textOf(name: NoticeName, happened: readonly Happened[], funcs: Record<string, number>): string {
  const [only] = happened
  if (happened.length === 1) {
    const {func, jobId, message} = only!
    const job = jobId === null ? func : `job ${jobId} (${func})`
    return `${job} ${WORDS[name]}${message === '' ? '' : `: ${gist(message)}`}`
  }
  const each = Object.entries(funcs).map(([func, count]) => `${func} ${count}`)
  return `${happened.length} more in a minute, each of which ${WORDS[name]}: ${each.join(', ')}`
}

function toldOf({jobId, db, func, uniqkey, at, message, isLast, exceptionId}: Happened): Told {
  return {
    job_id: jobId,
    ...(db === undefined ? {} : {db}),
    ...{func, uniqkey, time: iso(at), message, is_last: isLast, exception_id: exceptionId},
  }
}

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}
