/**
 * Listings and counts on MySQL, by the index jobq_lane: a page costs what it shows, not what waits.
 *
 * A listing is read in stretches, each from where the one before it ended (a key, not an offset: rows that come and go
 * meanwhile move nothing), each of one moment (a REPEATABLE READ snapshot), and each small enough to hold, whatever the
 * arguments' size. (a, b) > (x, y) is written out: MySQL seeks by `a > x OR (a = x AND b > y)`, not by the pair.
 */
import {
  type ExceptionRow,
  type FinalStatus,
  type FuncCounts,
  type FuncTimes,
  type JobState,
  type ListedJob,
  quantile,
  type StatusRow,
} from '../job.ts'
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
  STRETCH_BYTES,
  STRETCH_ROWS,
  type Stretch,
  share,
} from './keys.ts'
import {jobColumns, jobOf} from './mysql-lanes.ts'
import {type Link, type Row, textOf, textOrNull} from './mysql-link.ts'
import type {ExceptionPage, JobPage, Page} from './store.ts'

const SNAPSHOT = [
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  'SELECT UNIX_TIMESTAMP() AS now',
]
const LANE = 'FROM job FORCE INDEX (jobq_lane) WHERE func_id ='
const SELECT_KEY = `SELECT id, priority, run_after AS runAfter ${LANE}`

interface Func {
  id: number
  name: string
}

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

  exceptionLog(page: ExceptionPage, place: LogPlace | null): Promise<Stretch<ExceptionRow, LogPlace>> {
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

  statusLog(page: Page, place: LogPlace | null): Promise<Stretch<StatusRow, LogPlace>> {
    const log = {table: 'job_status', columns: 'status, job_start_time, job_end_time', bytes: '0'}
    const conditions = this.#ofPage(page.func, page.uniqkey)
    return this.#log(log, conditions, {...page, oldestFirst: false}, place, row => ({
      ...this.#logRow(row),
      status: textOf(row.status) as FinalStatus,
      jobStartTime: Number(row.job_start_time),
      jobEndTime: Number(row.job_end_time),
    }))
  }

  /** Every waiting job is counted once, along the index. */
  async counts(only?: string): Promise<FuncCounts[]> {
    const funcs = await this.#chosen(only)
    if (funcs.length === 0) return []
    const among = `func_id IN (${funcs.map(({id}) => id)})`
    const now = this.#now
    const [waiting, failed, ended] = await this.#link.batch([
      `SELECT func_id AS f, SUM(grabbed_until > ${now}) AS running,
         SUM(grabbed_until <= ${now} AND run_after <= ${now}) AS ready,
         SUM(grabbed_until <= ${now} AND run_after > ${now}) AS later,
         MIN(IF(grabbed_until <= ${now} AND run_after <= ${now}, run_after, NULL)) AS oldest
       FROM job FORCE INDEX (jobq_lane) WHERE ${among} GROUP BY func_id`,
      `SELECT func_id AS f, COUNT(*) AS n FROM exception_log WHERE ${among} AND retried = 0 GROUP BY func_id`,
      `SELECT func_id AS f, status, COUNT(*) AS n FROM job_status WHERE ${among} GROUP BY func_id, status`,
    ])
    return funcs.map(({id, name}) => {
      const jobs = waiting!.rows.find(({f}) => Number(f) === id) ?? {}
      const count = (rows: readonly Row[], status?: string) =>
        Number(rows.find(row => Number(row.f) === id && (!status || textOf(row.status) === status))?.n ?? 0)
      const {oldest = null} = jobs
      return {
        func: name,
        ready: Number(jobs.ready ?? 0),
        delayed: Number(jobs.later ?? 0),
        running: Number(jobs.running ?? 0),
        failed: count(failed!.rows),
        completed: count(ended!.rows, 'completed'),
        aborted: count(ended!.rows, 'abort'),
        oldestReadyAge: oldest === null ? null : Math.max(0, now - Number(oldest)),
      }
    })
  }

  async times(only?: string): Promise<FuncTimes[]> {
    const hourAgo = (Math.floor(this.#now / 60) - 59) * 60
    const times: FuncTimes[] = []
    for (const {id, name} of await this.#chosen(only)) {
      const ended = `FROM job_status
        WHERE func_id = ${id} AND status IN ('completed', 'failed', 'abort') AND job_end_time >= ${hourAgo}`
      const [byTime, byMinute] = await this.#link.batch([
        `SELECT GREATEST(job_end_time, job_start_time) - job_start_time AS took, COUNT(*) AS n ${ended}
         GROUP BY took ORDER BY took`,
        `SELECT LEAST(59, (job_end_time - ${hourAgo}) DIV 60) AS minute, COUNT(*) AS n ${ended} GROUP BY minute`,
      ])
      const took = byTime!.rows.map(({took, n}): [number, number] => [Number(took), Number(n)])
      if (took.length === 0) continue
      const perMinute = Array.from({length: 60}, () => 0)
      for (const {minute, n} of byMinute!.rows) perMinute[Number(minute)] = Number(n)
      times.push({func: name, median: quantile(took, 0.5), p95: quantile(took, 0.95), took, perMinute})
    }
    return times
  }

  // ---- logs

  /** A stretch of exception_log or job_status, by id. */
  async #log<Shown>(
    {table, columns, bytes}: {table: string; columns: string; bytes: string},
    conditions: readonly string[],
    {limit, offset, oldestFirst}: {limit: number; offset: number; oldestFirst: boolean},
    place: LogPlace | null,
    toShown: (row: Row) => Shown,
  ): Promise<Stretch<Shown, LogPlace>> {
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
      `SELECT log.id, func_id, ${this.#funcName('func_id')} AS func, arg, ${this.#link.keys.select('uniqkey')} AS uniqkey,
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
      `SELECT ${jobColumns(this.#link)}, ${this.#funcName('job.func_id')} AS func
       FROM job LEFT JOIN func ON func.id = job.func_id WHERE ${where}`,
    )
  }

  /** An id that is not to be found in func is shown as it is: a row is never hidden. */
  #funcName(id: string): string {
    return `COALESCE(${this.#link.names.select('func.name')}, CONCAT('#', ${id}))`
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

/** The first rows that together have no more bytes than one stretch may have; at least one. */
function uptoBytes(rows: readonly Row[]): Row[] {
  let bytes = 0
  const end = rows.findIndex(row => {
    bytes += Number(row.bytes)
    return bytes >= STRETCH_BYTES
  })
  return end < 0 ? [...rows] : rows.slice(0, end + 1)
}

function behindTime(runAfter: number, id: number): string {
  return id === LAST
    ? `run_after > ${runAfter}`
    : `(run_after > ${runAfter} OR (run_after = ${runAfter} AND id > ${id}))`
}
