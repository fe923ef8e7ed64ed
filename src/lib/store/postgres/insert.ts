/** A job into the table: duplicates are found without an error, which would end the transaction. */
import {ArgumentError, DuplicateJobError, idTooLarge} from '../../jobs/errors.ts'
import {type EnqueuedJob, MAX_ID, type NewJob} from '../../jobs/job.ts'
import {fingerprintOf} from '../shared/tokens.ts'
import {bytesOf} from './arrays.ts'
import {NOW, type Row, type Send, type Statement, type Value} from './connections/connections.ts'
import {isTaken, sweepKeys, takersOf} from './side-tables/keys.ts'
import {insertTokens} from './side-tables/tokens.ts'
import {
  type Beside,
  hasBeside,
  hasMore,
  MAX_INTEGER,
  MORE_COLUMNS,
  moreValues,
  SWEPT,
  type Sweeper,
  sweep,
  writeBeside,
} from './side-tables.ts'

/** The server takes no message of 1 GiB, the rest of the row included. */
const MAX_ARG_BYTES = 2 ** 30 - 2 ** 20
/** Its key is free, and yet it is refused: so often at most, by jobs that come and go. */
const MAX_ATTEMPTS = 5

/** An id that JavaScript can't hold fails the statement, so that nothing of it is stored; the error has its digits. */
export function checkedId(id: string): string {
  return `CASE WHEN ${id} <= ${MAX_ID} THEN ${id} ELSE ('id ' || ${id})::BIGINT END`
}

/**
 * Common table expressions, of insertValues' parameters. The function's row is made on first use, as Qudo does; none comes
 * back if another transaction makes it just now.
 * @param gate a row of it lets the job in
 */
export const funcByName = (gate = '(SELECT) AS here') => `
  made AS (
    INSERT INTO func (name) SELECT $1::VARCHAR FROM ${gate}
    WHERE NOT EXISTS (SELECT FROM func WHERE name = $1::VARCHAR) ON CONFLICT DO NOTHING RETURNING id),
  f AS (SELECT id FROM func WHERE name = $1::VARCHAR UNION ALL SELECT id FROM made)`
/** @param isKeyed it is looked whether its key stays taken */
export const insertNew = (isKeyed: boolean, gate = '(SELECT) AS here') => `
  new AS (
    INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT f.id, $2::BYTEA, $3::VARCHAR, ${NOW}, 0, coalesce($4::BIGINT, ${NOW} + $5::BIGINT)::INTEGER, 0, $6::INTEGER
    FROM ${gate}, f ${isKeyed ? `WHERE NOT ${isTaken('f.id', '$3::VARCHAR')}` : ''} ON CONFLICT DO NOTHING
    RETURNING ${checkedId('id')} AS id, run_after, func_id, uniqkey)`

/** What is written beside it, of besideValues' parameters. */
export const insertBeside = (first: number, isMore: boolean) =>
  writeBeside(`(SELECT id, func_id, uniqkey, ${besideColumns(first, isMore)} FROM new) AS beside`, isMore)

export function besideColumns(first: number, isMore: boolean): string {
  const more = isMore
    ? MORE_COLUMNS.map(([name, type], i) => `, $${first + 2 + i}::${type} AS ${name}`).join('')
    : ''
  return `$${first}::TEXT AS context, $${first + 1}::BOOLEAN AS tracked${more}`
}

const INSERTS = new Map<string, Statement>()

/** Few of them are used: each is made when it is. */
function insertStatement(job: NewJob): Statement {
  const [isKeyed, isMore] = [isChecked(job), hasMore(job)]
  const beside = !hasBeside(job) ? '' : isMore ? '_more' : '_beside'
  const isNamed = job.token !== undefined
  const name = `jobq_insert${isKeyed ? '_keyed' : ''}${beside}${isNamed ? '_named' : ''}`
  const known = INSERTS.get(name)
  if (known) return known
  const [more, swept] =
    beside === ''
      ? ['', '']
      : [`, ${insertBeside(7, isMore)}, ${sweep(isMore ? 9 + MORE_COLUMNS.length : 9)}`, `, ${SWEPT}`]
  const last = 7 + (beside === '' ? 0 : 5) + (isMore ? MORE_COLUMNS.length : 0)
  const named = isNamed ? `, ${insertTokens(`$${last}::VARCHAR`, `$${last + 1}::INTEGER`, 'new')}` : ''
  const text = `WITH ${funcByName()}, ${insertNew(isKeyed)}${more}${named} SELECT id, run_after AS "runAfter"${swept} FROM new`
  INSERTS.set(name, {name, text})
  return {name, text}
}

/** Does a key that stays taken refuse it? */
export function isChecked({uniqkey, isContinuation = false}: NewJob): boolean {
  return uniqkey !== null && !isContinuation
}

const FIND_DUPLICATE = {
  name: 'jobq_find_duplicate',
  text: `SELECT job.id, arg IS NOT DISTINCT FROM $3::BYTEA AND priority = $4::INTEGER AS "isSame", run_after AS "runAfter"
    FROM func JOIN job ON func_id = func.id AND uniqkey = $2::VARCHAR WHERE name = $1::VARCHAR`,
}

/** What no column of the table holds is refused before it is sent. @throws ArgumentError */
export function checkJob({func, arg, uniqkey, priority, due}: NewJob): void {
  for (const text of [func, uniqkey ?? ''])
    if (text.includes('\0'))
      throw new ArgumentError(
        `PostgreSQL can't hold NUL in a function's name or a uniqkey, got ${JSON.stringify(text)}`,
        {hint: 'leave the NUL out; arguments may have it'},
      )
  if (priority > MAX_INTEGER)
    throw new ArgumentError(`priority: expected at most ${MAX_INTEGER} on PostgreSQL, got ${priority}`)
  if (arg !== null && arg.length * 3 > MAX_ARG_BYTES && Buffer.byteLength(arg) > MAX_ARG_BYTES)
    throw new ArgumentError(
      `larger than PostgreSQL takes: expected an argument of at most ${MAX_ARG_BYTES} bytes, got ${Buffer.byteLength(arg)}`,
      {hint: 'keep large data elsewhere, and enqueue where it is'},
    )
  checkDue(due)
}

/** @throws ArgumentError */
export function checkDue(due: NewJob['due']): void {
  if ('at' in due && due.at >= MAX_INTEGER) throw tooLate(String(due.at))
}

function tooLate(got: string): ArgumentError {
  return new ArgumentError(
    `run_after: expected a time before 2038-01-19T03:14:07Z, where PostgreSQL's column ends, got ${got}`,
  )
}

/** The only numbers that can be out of range by now are a delay's end and the id. */
export function explainRange(error: unknown, due: NewJob['due'] | null): unknown {
  const {code, message} = error as {code?: unknown; message?: unknown}
  const [, digits] = (code === '22P02' && /\bid (\d+)\b/.exec(String(message))) || []
  if (digits) return idTooLarge('job', digits)
  if (code !== '22003') return error
  return tooLate(due && 'in' in due ? `${due.in} s from now` : 'a later one')
}

export function dueValues(due: NewJob['due']): [at: number | null, seconds: number | null] {
  return 'at' in due ? [due.at, null] : [null, due.in]
}

export function insertValues({func, arg, uniqkey, due, priority}: NewJob): Value[] {
  return [func, arg === null ? null : bytesOf(arg), uniqkey, ...dueValues(due), priority]
}

export function besideValues(job: Beside): Value[] {
  return [job.context ?? null, job.tracked ?? false, ...(hasMore(job) ? moreValues(job) : [])]
}

/** What is kept beside a job that is there already. */
export function addBeside(id: number, job: Beside): [Statement, Value[]] {
  return [hasMore(job) ? ADD_MORE : ADD_BESIDE, [id, ...besideValues(job)]]
}

const addedBeside = (isMore: boolean) => ({
  name: `jobq_add_${isMore ? 'more' : 'beside'}`,
  text: `WITH ${writeBeside(`(SELECT $1::BIGINT AS id, NULL::INTEGER AS func_id, NULL::VARCHAR AS uniqkey, ${besideColumns(2, isMore)}) AS beside`, isMore)} SELECT`,
})
const ADD_BESIDE = addedBeside(false)
const ADD_MORE = addedBeside(true)

/** @throws DuplicateJobError, ArgumentError */
export async function insertOne(send: Send, job: NewJob, sweeper: Sweeper): Promise<EnqueuedJob> {
  const {func, uniqkey, priority} = job
  for (let attempt = 0; ; attempt++) {
    const row = await insertRow(send, job, sweeper)
    if (row && job.uniqFor !== undefined) await sweepKeys(send, [job])
    if (row) return {id: Number(row.id), func, uniqkey, priority, runAfter: Number(row.runAfter)}
    const id = uniqkey === null ? null : ((await findDuplicate(send, job))?.id ?? null)
    const [taken] = id === null && isChecked(job) ? await takersOf(send, [job]) : []
    if (taken) throw taken
    // The other job has left the table meanwhile, or the function has just been made elsewhere: once more
    if (uniqkey !== null && (id !== null || attempt >= MAX_ATTEMPTS))
      throw new DuplicateJobError(func, uniqkey, id)
  }
}

async function insertRow(send: Send, job: NewJob, sweeper: Sweeper): Promise<Row | undefined> {
  try {
    const token = job.token === undefined ? [] : [job.token, fingerprintOf(job)]
    if (!hasBeside(job)) return (await send(insertStatement(job), [...insertValues(job), ...token])).rows[0]
    const from = sweeper.values(1)
    const values = [...insertValues(job), ...besideValues(job), ...from, ...token]
    const [row] = (await send(insertStatement(job), values)).rows
    if (row) sweeper.swept(row, from)
    return row
  } catch (error) {
    throw explainRange(error, job.due)
  }
}

/** The job that holds this one's key, and whether it may be this one. */
export async function findDuplicate(
  send: Send,
  {func, uniqkey, arg, priority}: NewJob,
): Promise<{id: number; runAfter: number; isSame: boolean} | null> {
  const bytes = arg === null ? null : bytesOf(arg)
  const [row] = (await send(FIND_DUPLICATE, [func, uniqkey, bytes, priority])).rows
  return row ? {id: Number(row.id), runAfter: Number(row.runAfter), isSame: row.isSame === true} : null
}
