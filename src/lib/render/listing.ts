/**
 * The rows that `jobq list` shows: as JSON documents with the columns' own names, as tab-separated lines, as rows of a
 * table. The columns of a line are a promise to scripts: new ones go to the end.
 */

import {idOf, type ListedJob} from '../jobs/job.ts'
import type {ExceptionRow, StatusRow} from '../jobs/rows/history.ts'
import {percent} from '../jobs/side-tables/progress.ts'
import {RawJson} from './json.ts'
import type {Cell, Column} from './table.ts'
import {argLine, argText, duration, fromNow, isJson, NOTHING, oneLine} from './text.ts'

export interface Listing<Row> {
  document(row: Row): Record<string, unknown>
  /** The names of a line's fields, for --help. */
  fields: readonly string[]
  line(row: Row): string
  columns: readonly Column[]
  cells(row: Row): Cell[]
  /** What to say where there are none. */
  none: string
}

export const JOBS: Listing<ListedJob> = {
  document: job => ({
    id: idOf(job),
    func_id: job.funcId,
    func: job.func,
    arg: argDocument(job.arg),
    uniqkey: job.uniqkey,
    enqueue_time: job.enqueueTime,
    grabbed_until: job.grabbedUntil,
    run_after: job.runAfter,
    retry_cnt: job.retryCnt,
    priority: job.priority,
    state: job.state,
    tags: job.tags,
    expires_at: job.expiresAt,
    ...(job.progress ? {progress: job.progress} : {}),
  }),
  fields: ['id', 'func', 'state', 'priority', 'run_after', 'retry_cnt', 'uniqkey', 'arg'],
  line: ({id, db, func, state, priority, runAfter, retryCnt, uniqkey, arg}) =>
    line([idOf({id, db}), func, state, priority, runAfter, retryCnt, uniqkey], argLine(arg)),
  columns: [
    {head: 'JOB', align: 'right'},
    {head: 'FUNC', gives: 'hardly'},
    {head: 'STATE'},
    {head: 'PRIORITY', align: 'right'},
    {head: 'DUE'},
    {head: 'RETRIES', align: 'right'},
    {head: 'UNIQKEY', gives: 'hardly'},
    {head: 'ARG', gives: 'gladly'},
  ],
  cells: ({id, db, func, state, priority, runAfter, retryCnt, uniqkey, arg, progress}) => [
    {text: String(idOf({id, db}))},
    {text: oneLine(func)},
    {
      text: progress ? `${state} ${percent(progress)}` : state,
      tone: state === 'running' ? 'busy' : state === 'ready' ? 'good' : 'waiting',
    },
    numberCell(priority),
    state === 'waiting' ? {text: '-', tone: 'dim'} : {text: fromNow(runAfter)},
    numberCell(retryCnt),
    keyCell(uniqkey),
    argCell(arg),
  ],
  none: 'no such jobs are waiting',
}

export const EXCEPTIONS: Listing<ExceptionRow> = {
  document: exception => ({
    job_id: jobIdOf(exception),
    id: idOf(exception),
    func_id: exception.funcId,
    func: exception.func,
    exception_time: exception.exceptionTime,
    message: exception.message,
    uniqkey: exception.uniqkey,
    arg: argDocument(exception.arg),
    retried: Number(exception.retried),
    state: exception.state,
    tags: exception.tags,
  }),
  fields: ['job_id', 'id', 'func', 'exception_time', 'retried', 'uniqkey', 'message', 'arg', 'state'],
  line: row => {
    const {func, exceptionTime, retried, uniqkey, message, arg, state} = row
    const fields = [jobIdOf(row), idOf(row), func, exceptionTime, Number(retried), uniqkey, message]
    return line(fields, argLine(arg), state)
  },
  columns: [
    {head: 'JOB', align: 'right'},
    {head: 'EXCEPTION', align: 'right'},
    {head: 'FUNC', gives: 'hardly'},
    {head: 'FAILED'},
    {head: 'STATE'},
    {head: 'UNIQKEY', gives: 'hardly'},
    {head: 'MESSAGE', gives: 'gladly'},
    {head: 'ARG', gives: 'gladly'},
  ],
  cells: row => [
    jobCell(row),
    {text: String(idOf(row))},
    {text: oneLine(row.func)},
    {text: fromNow(row.exceptionTime)},
    {text: row.state, tone: row.state === 'failed' ? 'bad' : row.state === 'retrying' ? 'waiting' : 'dim'},
    keyCell(row.uniqkey),
    {text: oneLine(row.message.trimEnd())},
    argCell(row.arg),
  ],
  none: 'no such job has failed',
}

export const STATUSES: Listing<StatusRow> = {
  document: status => ({
    job_id: jobIdOf(status),
    id: idOf(status),
    func_id: status.funcId,
    func: status.func,
    arg: argDocument(status.arg),
    uniqkey: status.uniqkey,
    status: status.status,
    job_start_time: status.jobStartTime,
    job_end_time: status.jobEndTime,
    tags: status.tags,
  }),
  fields: ['job_id', 'id', 'func', 'status', 'job_start_time', 'job_end_time', 'uniqkey', 'arg'],
  line: row => {
    const {func, status, jobStartTime, jobEndTime, uniqkey, arg} = row
    return line([jobIdOf(row), idOf(row), func, status, jobStartTime, jobEndTime, uniqkey], argLine(arg))
  },
  columns: [
    {head: 'JOB', align: 'right'},
    {head: 'FUNC', gives: 'hardly'},
    {head: 'STATUS'},
    {head: 'ENDED'},
    {head: 'TOOK', align: 'right'},
    {head: 'UNIQKEY', gives: 'hardly'},
    {head: 'ARG', gives: 'gladly'},
  ],
  cells: row => [
    jobCell(row),
    {text: oneLine(row.func)},
    {text: row.status, tone: row.status === 'completed' ? 'good' : 'bad'},
    {text: fromNow(row.jobEndTime)},
    {text: duration(row.jobEndTime - row.jobStartTime)},
    keyCell(row.uniqkey),
    argCell(row.arg),
  ],
  none: 'no such job has left a status (only functions with setJobStatus do)',
}

/** Whose attempt it was, as people and scripts have it; null: not known, a Perl worker's say. */
function jobIdOf({jobId, db}: {jobId: number | null; db?: number | undefined}): number | string | null {
  return jobId === null ? null : idOf({id: jobId, db})
}

function jobCell(row: {jobId: number | null; db?: number | undefined}): Cell {
  const id = jobIdOf(row)
  return id === null ? {text: '-', tone: 'dim'} : {text: String(id)}
}

/** An argument in a document: JSON in its own text, else a string, else the bytes in base64. */
export function argDocument(arg: Uint8Array | null): RawJson | string | {base64: string} | null {
  if (arg === null) return null
  const text = argText(arg)
  if (text === null) return {base64: Buffer.from(arg).toString('base64')}
  return isJson(text) ? new RawJson(text) : text
}

/** Fields that are escaped, then one that is already. What should be a number and is none (NaN) is nothing. */
export function line(fields: readonly (string | number | null)[], ...more: string[]): string {
  const texts = fields.map(field =>
    field === null || Number.isNaN(field) ? NOTHING : oneLine(String(field)),
  )
  return `${[...texts, ...more].join('\t')}\n`
}

function numberCell(number: number): Cell {
  return {text: Number.isNaN(number) ? '?' : String(number)}
}

function keyCell(uniqkey: string | null): Cell {
  return uniqkey === null ? {text: '-', tone: 'dim'} : {text: oneLine(uniqkey)}
}

function argCell(arg: Uint8Array | null): Cell {
  return arg === null ? {text: '-', tone: 'dim'} : {text: argLine(arg.subarray(0, SHOWN_BYTES))}
}

/** No terminal shows more of an argument in one line. */
const SHOWN_BYTES = 4096
