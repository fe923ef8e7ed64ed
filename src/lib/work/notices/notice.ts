/** What a notice says. */
import type {NoticeName} from '../../config/notices.ts'
import {idOf} from '../../jobs/job.ts'
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
  /** The one that they are in, without its password. */
  database: string
  /** The first ten. */
  jobs: Told[]
}

/** One of them. */
interface Told {
  /** As people have it: with several databases the place of its own is before it. */
  job_id: number | string | null
  func: string
  uniqkey: string | null
  time: string
  /** Its head; empty for what has completed. */
  message: string
  /** Is it in the queue no more? */
  is_last: boolean
  exception_id: number | string | null
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
    const {func, message} = only!
    const id = idIn(only!, 'jobId')
    const job = id === null ? func : `job ${id} (${func})`
    return `${job} ${WORDS[name]}${message === '' ? '' : `: ${gist(message)}`}`
  }
  const each = Object.entries(funcs).map(([func, count]) => `${func} ${count}`)
  return `${happened.length} more in a minute, each of which ${WORDS[name]}: ${each.join(', ')}`
}

function toldOf(happened: Happened): Told {
  const {func, uniqkey, at, message, isLast} = happened
  return {
    job_id: idIn(happened, 'jobId'),
    ...{func, uniqkey, time: iso(at), message, is_last: isLast},
    exception_id: idIn(happened, 'exceptionId'),
  }
}

function idIn(happened: Happened, which: 'jobId' | 'exceptionId'): number | string | null {
  const {[which]: id, db} = happened
  return id === null ? null : idOf({id, db})
}

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}
