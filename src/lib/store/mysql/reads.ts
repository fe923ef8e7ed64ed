/**
 * Listings of jobs on MySQL, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * A listing is read in stretches, each from where the one before it ended (a key, not an offset: rows that come and go
 * meanwhile move nothing), each of one moment (a REPEATABLE READ snapshot), and each small enough to hold, whatever the
 * arguments' size.
 */
import type {JobState, ListedJob} from '../../jobs/job.ts'
import {
  firstPlace,
  type JobPlace,
  LISTED_STATES,
  type LogPlace,
  listed,
  nextIds,
  ORDERS,
  placeBehind,
  type Stretch,
  stillThere,
} from '../shared/keys.ts'
import type {ExceptionPage, JobPage, Page} from '../store.ts'
import {type Link, type Row, textOf} from './connection.ts'
import {MysqlKeys} from './keys.ts'
import {checkIds, funcName, MysqlLogs, uptoBytes} from './logs.ts'
import {jobColumns, jobOf} from './rows.ts'
import {attemptsOf, countsOf, type Func, timesOf} from './stats.ts'

const SNAPSHOT = [
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  'SELECT UNIX_TIMESTAMP() AS now',
]

/** Reads of one moment. */
export class MysqlReads {
  readonly #link: Link
  readonly #now: number

  private constructor(link: Link, now: number) {
    this.#link = link
    this.#now = now
  }

  static async of<T>(link: Link, work: (reads: MysqlReads) => Promise<T>): Promise<T> {
    const clock = (await link.batch(SNAPSHOT)).at(-1)!
    const result = await work(new MysqlReads(link, Number(clock.rows[0]!.now)))
    await link.run('COMMIT')
    return result
  }

  async funcs(): Promise<Func[]> {
    const rows = await this.#rows(`SELECT id, ${this.#link.names.select('name')} AS name FROM func`)
    const funcs = rows.map(({id, name}) => ({id: Number(id), name: textOf(name)}))
    return funcs.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  }

  async find(id: number): Promise<ListedJob | null> {
    const [row] = await this.#jobRows(`job.id = ${id}`)
    return row ? listed(jobOf(row), this.#now) : null
  }

  async jobs(page: JobPage, place: JobPlace | null): Promise<Stretch<ListedJob, JobPlace>> {
    const {func, state: only, uniqkey, limit, offset} = page
    if (uniqkey !== undefined)
      return {rows: (await this.#withUniqkey(uniqkey, func, only)).slice(offset, offset + limit), next: null}
    if (limit === 0) return {rows: [], next: null}
    const begun = place ?? firstPlace(this.#now, only, offset, limit)
    const here = await new MysqlKeys(this.#link).readAhead(begun, func)
    const {found, passed} = await this.#jobsOf(nextIds(here), here.now)
    const rows = stillThere(found, here)
    const next = placeBehind(here, passed, rows.length, only)
    if (!next && rows.length < here.left) await checkIds(this.#link, 'job')
    return {rows, next}
  }

  exceptionLog = (page: ExceptionPage, place: LogPlace | null) =>
    new MysqlLogs(this.#link, this.#now).exceptions(page, place)

  statusLog = (page: Page, place: LogPlace | null) =>
    new MysqlLogs(this.#link, this.#now).statuses(page, place)

  counts = async (only?: string) => countsOf(this.#link, this.#now, await this.#chosen(only))
  times = async (only?: string) => timesOf(this.#link, this.#now, await this.#chosen(only))
  attempts = async (only?: string) => attemptsOf(this.#link, await this.#chosen(only))

  // ---- jobs

  /** As many as fit into a stretch, but for those that have left since their keys were read. */
  async #jobsOf(ids: readonly number[], now: number): Promise<{found: ListedJob[]; passed: number}> {
    if (ids.length === 0) return {found: [], passed: 0}
    const sizes = await this.#rows(
      `SELECT id, COALESCE(OCTET_LENGTH(arg), 0) AS bytes FROM job WHERE id IN (${ids})`,
    )
    const bytes = new Map(sizes.map(row => [Number(row.id), row]))
    const fitting = uptoBytes(ids.map(id => bytes.get(id) ?? {id, bytes: 0})).map(({id}) => Number(id))
    const rows = await this.#jobRows(`job.id IN (${fitting})`)
    const byId = new Map(rows.map(row => [Number(row.id), listed(jobOf(row), now)]))
    return {found: fitting.flatMap(id => byId.get(id) ?? []), passed: fitting.length}
  }

  /** A (func, uniqkey) is unique: at most one row a function. */
  async #withUniqkey(uniqkey: string, func: string | undefined, state: JobState | undefined) {
    const funcs = await this.#chosen(func)
    if (funcs.length === 0) return []
    const where = `job.func_id IN (${funcs.map(({id}) => id)}) AND job.uniqkey = ${this.#link.keys.literal(uniqkey)}`
    return (await this.#jobRows(where))
      .map(row => listed(jobOf(row), this.#now))
      .filter(job => state === undefined || job.state === state)
      .sort(
        (a, b) => LISTED_STATES.indexOf(a.state) - LISTED_STATES.indexOf(b.state) || ORDERS[a.state](a, b),
      )
  }

  #jobRows(where: string): Promise<Row[]> {
    return this.#rows(
      `SELECT ${jobColumns(this.#link)}, ${funcName(this.#link, 'job.func_id')} AS func
       FROM job LEFT JOIN func ON func.id = job.func_id WHERE ${where}`,
    )
  }

  async #chosen(only: string | undefined): Promise<Func[]> {
    if (only === undefined) return this.funcs()
    const {names} = this.#link
    const sql = `SELECT id, ${names.select('name')} AS name FROM func WHERE name = ${names.literal(only)}`
    return (await this.#rows(sql)).map(({id, name}) => ({id: Number(id), name: textOf(name)}))
  }

  async #rows(statement: string): Promise<Row[]> {
    return (await this.#link.run(statement)).rows
  }
}
