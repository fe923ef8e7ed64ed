/**
 * Listings of jobs on MySQL, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * A listing is read in stretches, each from where the one before it ended (a key, not an offset: rows that come and go
 * meanwhile move nothing), each of one moment (a REPEATABLE READ snapshot), and each small enough to hold, whatever the
 * arguments' size. (a, b) > (x, y) is written out: MySQL seeks by `a > x OR (a = x AND b > y)`, not by the pair.
 */
import type {JobState, ListedJob} from '../job.ts'
import {
  byId,
  byOrder,
  byTime,
  type JobPlace,
  joined,
  type Key,
  type Keys,
  LAST,
  LISTED_STATES,
  type LogPlace,
  listed,
  merged,
  ORDERS,
  STRETCH_ROWS,
  type Stretch,
  share,
} from './keys.ts'
import {type Link, type Row, textOf} from './mysql-link.ts'
import {funcName, MysqlLogs, uptoBytes} from './mysql-logs.ts'
import {jobColumns, jobOf} from './mysql-rows.ts'
import {attemptsOf, countsOf, type Func, timesOf} from './mysql-stats.ts'
import type {ExceptionPage, JobPage, Page} from './store.ts'

const SNAPSHOT = [
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  'SELECT UNIX_TIMESTAMP() AS now',
]
const LANE = 'FROM job FORCE INDEX (jobq_lane) WHERE func_id ='
const SELECT_KEY = `SELECT id, priority, run_after AS runAfter ${LANE}`

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
    const states = LISTED_STATES.filter(state => only === undefined || state === only)
    const here = place ?? {now: this.#now, state: states[0]!, after: null, skip: offset, left: limit}
    const {now, state, after} = here
    const wanted = Math.min(STRETCH_ROWS, here.skip + here.left)
    const {keys, end} = await this.#keys(state, await this.#chosen(func), after, wanted, now)
    const shown = keys.slice(here.skip, here.skip + here.left)
    const {rows, cut} = await this.#jobsOf(shown, now)
    const left = here.left - rows.length
    const skip = Math.max(0, here.skip - keys.length)
    const next = cut ?? end
    if (left === 0) return {rows, next: null}
    if (next) return {rows, next: {now, state, after: next, skip, left}}
    const following = states[states.indexOf(state) + 1]
    return {rows, next: following ? {now, state: following, after: null, skip, left} : null}
  }

  exceptionLog = (page: ExceptionPage, place: LogPlace | null) =>
    new MysqlLogs(this.#link, this.#now).exceptions(page, place)

  statusLog = (page: Page, place: LogPlace | null) =>
    new MysqlLogs(this.#link, this.#now).statuses(page, place)

  counts = async (only?: string) => countsOf(this.#link, this.#now, await this.#chosen(only))
  times = async (only?: string) => timesOf(this.#link, this.#now, await this.#chosen(only))
  attempts = async (only?: string) => attemptsOf(this.#link, await this.#chosen(only))

  // ---- jobs

  async #jobsOf(keys: readonly Key[], now: number): Promise<{rows: ListedJob[]; cut: Key | null}> {
    if (keys.length === 0) return {rows: [], cut: null}
    const sizes = await this.#rows(
      `SELECT id, COALESCE(OCTET_LENGTH(arg), 0) AS bytes FROM job WHERE id IN (${keys.map(({id}) => id)})`,
    )
    const bytes = new Map(sizes.map(row => [Number(row.id), row]))
    const shown = uptoBytes(keys.map(({id}) => bytes.get(id)!))
    const rows = await this.#jobRows(`job.id IN (${shown.map(({id}) => id)})`)
    const byId = new Map(rows.map(row => [Number(row.id), listed(jobOf(row), now)]))
    const cut = shown.length < keys.length ? keys[shown.length - 1]! : null
    return {rows: shown.map(({id}) => byId.get(Number(id))!), cut}
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

  /** The next jobs of one state behind a key, in their order: at least one if there is one, often about `wanted`. */
  async #keys(
    state: JobState,
    funcs: readonly Func[],
    after: Key | null,
    wanted: number,
    now: number,
  ): Promise<Keys> {
    if (wanted === 0 || funcs.length === 0) return {keys: [], end: null}
    if (state === 'running') {
      const parts = funcs.map(
        ({id}) =>
          `${SELECT_KEY} ${id} AND grabbed_until > ${now} AND id > ${after?.id ?? -1} ORDER BY id LIMIT ${wanted}`,
      )
      return merged(await this.#keysOf(parts), wanted, byId)
    }
    return state === 'ready'
      ? this.#readyKeys(funcs, after, wanted, now)
      : this.#delayedKeys(funcs, after, wanted, now)
  }

  /** Priority by priority from the highest down, all functions' lanes of one priority together. */
  async #readyKeys(funcs: readonly Func[], after: Key | null, wanted: number, now: number): Promise<Keys> {
    const from = after ?? {id: -1, priority: LAST, runAfter: -1}
    const priorities = await this.#priorities(funcs)
    const heads = funcs.map(({id}) => ({id, left: priorities.get(id)!.filter(each => each <= from.priority)}))
    const parts: Keys[] = []
    for (let found = 0; found < wanted; ) {
      const priority = heads.reduce((highest, {left}) => Math.max(highest, left[0] ?? -1), -1)
      if (priority < 0) break
      const lanes = heads.filter(({left}) => left[0] === priority)
      const limit = share(wanted - found, lanes.length)
      const behind = priority === from.priority ? `AND ${behindTime(from.runAfter, from.id)}` : ''
      const part = merged(
        await this.#keysOf(
          lanes.map(
            ({id}) => `${SELECT_KEY} ${id} AND grabbed_until = 0 AND priority = ${priority} ${behind}
              AND run_after <= ${now} ORDER BY run_after, id LIMIT ${limit}`,
          ),
        ),
        limit,
        byOrder,
      )
      parts.push({keys: part.keys, end: part.end ?? {priority, runAfter: LAST, id: LAST}})
      if (part.end) break
      found += part.keys.length
      for (const {left} of lanes) left.shift()
    }
    const isAll = heads.every(({left}) => left.length === 0)
    const place = after
      ? `AND (priority < ${from.priority} OR (priority = ${from.priority} AND ${behindTime(from.runAfter, from.id)}))`
      : ''
    const strays = await this.#keysOf(
      funcs.map(
        ({id}) => `${SELECT_KEY} ${id} AND grabbed_until BETWEEN 1 AND ${now} AND run_after <= ${now} ${place}
          ORDER BY priority DESC, run_after, id LIMIT ${wanted}`,
      ),
    )
    const inLanes = {keys: parts.flatMap(({keys}) => keys), end: isAll ? null : (parts.at(-1)?.end ?? null)}
    return joined([inLanes, merged(strays, wanted, byOrder)], byOrder)
  }

  /** All lanes together: the order is that of the clock. */
  async #delayedKeys(funcs: readonly Func[], after: Key | null, wanted: number, now: number): Promise<Keys> {
    const from = after ?? {id: -1, priority: LAST, runAfter: -1}
    const priorities = await this.#priorities(funcs)
    const lanes = funcs.flatMap(({id}) => priorities.get(id)!.map(priority => ({id, priority})))
    const limit = share(wanted, lanes.length)
    // At the key's own time, lanes of a higher priority have been passed and those of a lower one are still to come
    const behind = (priority: number) =>
      priority === from.priority ? from.id : priority > from.priority ? LAST : -1
    const parts = await this.#keysOf(
      lanes.map(
        ({id, priority}) => `${SELECT_KEY} ${id} AND grabbed_until = 0 AND priority = ${priority}
          AND ${behindTime(from.runAfter, behind(priority))} AND run_after > ${now}
          ORDER BY run_after, id LIMIT ${limit}`,
      ),
    )
    const place = after
      ? `AND (run_after > ${from.runAfter} OR (run_after = ${from.runAfter} AND (priority < ${from.priority}
           OR (priority = ${from.priority} AND id > ${from.id}))))`
      : ''
    const strays = await this.#keysOf(
      funcs.map(
        ({id}) => `${SELECT_KEY} ${id} AND grabbed_until BETWEEN 1 AND ${now} AND run_after > ${now} ${place}
          ORDER BY run_after, priority DESC, id LIMIT ${wanted}`,
      ),
    )
    return joined([merged(parts, limit, byTime), merged(strays, wanted, byTime)], byTime)
  }

  /** The priorities at which functions have jobs that no one holds, highest first: one seek each. */
  async #priorities(funcs: readonly Func[]): Promise<Map<number, number[]>> {
    const found = new Map<number, number[]>(funcs.map(({id}) => [id, []]))
    let open = [...funcs]
    while (open.length > 0) {
      const replies = await this.#link.batch(
        open.map(({id}) => {
          const below = found.get(id)!.at(-1)
          const less = below === undefined ? '' : `AND priority < ${below}`
          return `SELECT ${id} AS f, priority ${LANE} ${id} AND grabbed_until = 0 ${less} ORDER BY priority DESC LIMIT 1`
        }),
      )
      const rows = replies.flatMap(({rows}) => rows)
      for (const {f, priority} of rows) found.get(Number(f))!.push(Number(priority))
      open = open.filter(({id}) => rows.some(({f}) => Number(f) === id))
    }
    return found
  }

  async #keysOf(statements: readonly string[]): Promise<Key[][]> {
    if (statements.length === 0) return []
    const replies = await this.#link.batch(statements)
    return replies.map(({rows}) =>
      rows.map(({id, priority, runAfter}) => ({
        id: Number(id),
        priority: Number(priority),
        runAfter: Number(runAfter),
      })),
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

function behindTime(runAfter: number, id: number): string {
  return id === LAST
    ? `run_after > ${runAfter}`
    : `(run_after > ${runAfter} OR (run_after = ${runAfter} AND id > ${id}))`
}
