/** exception_log and job_status on MySQL, by id. */
import {idTooLarge} from '../../jobs/errors.ts'
import {type ExceptionRow, type FinalStatus, type StatusRow, TRIED_ROWS} from '../../jobs/job.ts'
import {LAST, type LogPlace, STRETCH_BYTES, STRETCH_ROWS, type Stretch} from '../shared/keys.ts'
import type {ExceptionPage, Page} from '../store.ts'
import {type Link, type Row, textOf, textOrNull} from './connection.ts'

export class MysqlLogs {
  readonly #link: Link
  readonly #now: number

  constructor(link: Link, now: number) {
    this.#link = link
    this.#now = now
  }

  exceptions(page: ExceptionPage, place: LogPlace | null): Promise<Stretch<ExceptionRow, LogPlace>> {
    const {func, uniqkey, id, unretried, since, oldestFirst = false} = page
    const conditions = [
      ...this.#ofPage(func, uniqkey),
      ...(id === undefined ? [] : [`log.id = ${id}`]),
      ...(unretried ? ['retried = 0'] : []),
      ...(since === undefined
        ? []
        : [`exception_time >= ${'at' in since ? since.at : this.#now - since.ago}`]),
    ]
    const log = {
      table: 'exception_log',
      columns: 'exception_time, message, retried',
      bytes: 'OCTET_LENGTH(message)',
    }
    return this.#log(log, conditions, {...page, oldestFirst}, place, row => ({
      ...this.#logRow(row),
      exceptionTime: Number(row.exception_time),
      message: textOf(row.message),
      retried: Number(row.retried) !== 0,
    }))
  }

  statuses(page: Page, place: LogPlace | null): Promise<Stretch<StatusRow, LogPlace>> {
    const log = {table: 'job_status', columns: 'status, job_start_time, job_end_time', bytes: '0'}
    const conditions = this.#ofPage(page.func, page.uniqkey)
    return this.#log(log, conditions, {...page, oldestFirst: false}, place, row => ({
      ...this.#logRow(row),
      status: textOf(row.status) as FinalStatus,
      jobStartTime: Number(row.job_start_time),
      jobEndTime: Number(row.job_end_time),
    }))
  }

  /** A stretch of exception_log or job_status, by id. */
  async #log<Shown>(
    {table, columns, bytes}: {table: string; columns: string; bytes: string},
    conditions: readonly string[],
    {limit, offset, oldestFirst}: {limit: number; offset: number; oldestFirst: boolean},
    place: LogPlace | null,
    toShown: (row: Row) => Shown,
  ): Promise<Stretch<Shown, LogPlace>> {
    if (!place) await checkIds(this.#link, table)
    const newest =
      place?.newest ?? Number((await this.#rows(`SELECT MAX(id) AS id FROM ${table}`))[0]!.id ?? 0)
    const after = place?.after ?? (oldestFirst ? 0 : newest + 1)
    const left = place?.left ?? limit
    const wanted = Math.min(STRETCH_ROWS, left)
    const behind = oldestFirst ? `log.id > ${after} AND log.id <= ${newest}` : `log.id < ${after}`
    const found = await this.#rows(
      `SELECT log.id, COALESCE(OCTET_LENGTH(arg), 0) + ${bytes} AS bytes FROM ${table} log
       WHERE ${[behind, ...conditions].join(' AND ')}
       ORDER BY log.id ${oldestFirst ? 'ASC' : 'DESC'} LIMIT ${wanted} OFFSET ${place ? 0 : offset}`,
    )
    const ids = uptoBytes(found).map(({id}) => Number(id))
    const isCut = ids.length === wanted || ids.length < found.length
    const rows = ids.length === 0 ? [] : await this.#logRows(table, columns, ids, oldestFirst)
    const more = ids.length > 0 && isCut && left > ids.length
    return {
      rows: rows.map(toShown),
      next: more ? {newest, after: ids.at(-1)!, left: left - ids.length} : null,
    }
  }

  #logRows(table: string, columns: string, ids: readonly number[], oldestFirst: boolean): Promise<Row[]> {
    return this.#rows(
      `SELECT log.id, func_id, ${funcName(this.#link, 'func_id')} AS func, arg, ${this.#link.keys.select('uniqkey')} AS uniqkey,
         ${columns}
       FROM ${table} log LEFT JOIN func ON func.id = func_id WHERE log.id IN (${ids})
       ORDER BY log.id ${oldestFirst ? 'ASC' : 'DESC'}`,
    )
  }

  #logRow({id, func_id, func, uniqkey, arg}: Row) {
    return {
      id: Number(id),
      funcId: Number(func_id),
      func: textOf(func),
      uniqkey: textOrNull(uniqkey),
      arg: arg as Buffer | null,
    }
  }

  #ofPage(func: string | undefined, uniqkey: string | undefined): string[] {
    const {names, keys} = this.#link
    return [
      ...(func === undefined ? [] : [`func_id = (SELECT id FROM func WHERE name = ${names.literal(func)})`]),
      ...(uniqkey === undefined ? [] : [`uniqkey = ${keys.literal(uniqkey)}`]),
    ]
  }

  async #rows(statement: string): Promise<Row[]> {
    return (await this.#link.run(statement)).rows
  }
}

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
export function funcName({names}: Link, id: string): string {
  return `COALESCE(${names.select('func.name')}, CONCAT('#', ${id}))`
}

/** @throws StoreError if there is a row whose id can't be told from others */
export async function checkIds(link: Link, table: string): Promise<void> {
  const digits = await tooLargeId(link, table)
  if (digits !== null) throw idTooLarge(table, digits)
}

export async function tooLargeId(link: Link, table: string): Promise<string | null> {
  const sql = `SELECT CAST(MAX(id) AS CHAR) AS digits FROM ${table} WHERE id > ${LAST}`
  const {digits} = (await link.run(sql)).rows[0]!
  return digits === null ? null : textOf(digits)
}

/** As Store.nextTry. Along the unique key, whose rows of one function without a uniqkey are in the order of their ids. */
export async function nextTry(link: Link, exceptionId: number): Promise<number | null> {
  const {rows} = await link.run(
    `SELECT job.id FROM (
       SELECT id FROM job WHERE func_id = (SELECT func_id FROM exception_log WHERE id = ${exceptionId})
         AND uniqkey IS NULL LIMIT ${TRIED_ROWS}) first
     JOIN job ON job.id = first.id JOIN exception_log log ON log.id = ${exceptionId}
     WHERE log.uniqkey IS NULL AND retry_cnt > 0 AND enqueue_time <= exception_time AND run_after >= exception_time
       AND job.arg <=> log.arg LIMIT 1`,
  )
  return rows[0] ? Number(rows[0].id) : null
}

/** The first rows that together have no more bytes than one stretch may have; at least one. */
export function uptoBytes(rows: readonly Row[]): Row[] {
  let bytes = 0
  const end = rows.findIndex(row => {
    bytes += Number(row.bytes)
    return bytes >= STRETCH_BYTES
  })
  return end < 0 ? [...rows] : rows.slice(0, end + 1)
}
