/**
 * Failures that are alike: of one function, with the same first line but for what varies in it. Of a million, the newest
 * are looked at: which kinds there are shows there, and how many of each is told as "at least".
 */
import {createHash} from 'node:crypto'
import type {JobQueue} from '../client/queue.ts'
import {idOf} from '../jobs/job.ts'
import {type ExceptionRow, HEAD_BYTES} from '../jobs/rows/history.ts'

/** They take some 50 ms. */
export const LOOKED_AT = 5000
const SHOWN_CHARACTERS = 200

/** Failures that are alike, not retried yet, of jobs that were given up. */
export interface Group {
  /** Of its function and its line. */
  id: string
  func: string
  /** The first line, with `…` and `#` for what varies. */
  message: string
  count: number
  /** When the oldest that was looked at failed, and the newest, in Unix seconds. */
  first: number
  last: number
  /** The newest. */
  example: {exception: number | string; job: number | string | null}
}

export interface Groups {
  groups: Group[]
  /** There are older failures that were not looked at. */
  hasMore: boolean
}

export async function groupsOf(queue: JobQueue): Promise<Groups> {
  const groups = new Map<string, Group>()
  let looked = 0
  for await (const row of failures(queue, {limit: LOOKED_AT})) {
    looked++
    if (row.state !== 'failed') continue
    const id = groupIdOf(row)
    const group = groups.get(id)
    if (group) {
      group.count++
      group.first = Math.min(group.first, row.exceptionTime)
      continue
    }
    const {func, exceptionTime: time, jobId, db} = row
    groups.set(id, {
      id,
      func,
      message: lineOf(row.message),
      count: 1,
      first: time,
      last: time,
      example: {exception: idOf(row), job: jobId === null ? null : idOf({id: jobId, db})},
    })
  }
  return {
    groups: [...groups.values()].sort((a, b) => b.count - a.count || b.last - a.last),
    hasMore: looked === LOOKED_AT,
  }
}

/** All that are in this group, newest first, however many there are. */
export async function* ofGroup(queue: JobQueue, func: string, id: string): AsyncGenerator<ExceptionRow> {
  for await (const row of failures(queue, {func}))
    if (row.state === 'failed' && groupIdOf(row) === id) yield row
}

function failures(queue: JobQueue, page: {func?: string; limit?: number}): AsyncGenerator<ExceptionRow> {
  return queue.eachException({...page, unretried: true, heads: true})
}

export function groupIdOf({func, message}: Pick<ExceptionRow, 'func' | 'message'>): string {
  const text = JSON.stringify([func, lineOf(message)])
  return createHash('sha256').update(text).digest('base64url').slice(0, 16)
}

/** What varies from job to job: quoted text, hexadecimal digits, numbers. */
const VARIABLE =
  /"(?:[^"\\]|\\.)*"|`[^`]*`|(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|\b[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b|\b0x[\da-f]+\b|\b(?=[a-f]*\d)[\da-f]{6,}\b|\d+(?:[.,:]\d+)*/gi

/** The first line of a message that says anything, with what varies taken out. Its head alone gives the same as all of it. */
export function lineOf(message: string): string {
  const head = Buffer.from(message).subarray(0, HEAD_BYTES).toString()
  const line = head.split('\n').find(text => text.trim() !== '') ?? ''
  return line
    .trim()
    .replace(VARIABLE, found => (/^["'`]/.test(found) ? `${found[0]}…${found[0]}` : '#'))
    .slice(0, SHOWN_CHARACTERS)
}
