/**
 * The grab on SQLite: which job is next, by lanes. A lane is what is ready of one function and priority, in the order
 * in which it is due: finding a job costs functions × priorities, not rows.
 */
import {ALL_FUNCS, type JobRow, type Lease, MAX_ID, MAX_UINT32} from '../../jobs/job.ts'
import {LeaseClock} from '../shared/lease-clock.ts'
import type {Peek, Turn, Want} from '../store.ts'
import type {SqliteConnection} from './connection.ts'
import type {SqliteInsert} from './insert.ts'
import type {Passed, SqliteMemory} from './memory.ts'
import type {SqliteSettle} from './settle.ts'

/** How many leases that ran out are put back in one transaction. */
const EXPIRE_BATCH = 1000

/** The first job of a function that is due. */
interface Head {
  id: number
  funcId: number
  priority: number
  runAfter: number
  /** Where all of it was asked for. */
  row: Row | null
}

type Row = [
  id: number,
  priority: number,
  runAfter: number,
  arg: Buffer | null,
  uniqkey: string | null,
  enqueueTime: number,
  retryCnt: number,
  context?: string | null,
]
const KEY = 'id, priority, run_after'
const ROW = `${KEY}, CAST(arg AS BLOB), uniqkey, enqueue_time, retry_cnt`
const ROW_WITH_CONTEXT = `${ROW}, (SELECT context FROM jobq_context WHERE job_id = job.id)`
/** A job whose id JavaScript can't hold is passed over: it would be lost at each end, and taken again. */
const HAS_ID = `id <= ${MAX_ID}`
/**
 * The head of the highest lane below a priority. Statements with ORDER BY say `+?`: binding a bare `?` that the planner
 * has looked at makes SQLite prepare the statement anew at every run (measured: 3.3 µs for a seek instead of 0.4).
 */
const headOf = (columns: string) =>
  `SELECT ${columns} FROM job INDEXED BY jobq_lane
   WHERE func_id = +? AND grabbed_until = 0 AND ${HAS_ID} AND priority = (
     SELECT priority FROM job INDEXED BY jobq_lane
     WHERE func_id = +? AND grabbed_until = 0 AND priority < +? AND ${HAS_ID} ORDER BY priority DESC LIMIT 1)
   ORDER BY run_after, id LIMIT 1`
const HEAD = {key: headOf(KEY), row: headOf(ROW), withContext: headOf(ROW_WITH_CONTEXT)}
const LANE = `FROM job INDEXED BY jobq_lane WHERE func_id = +? AND grabbed_until = 0 AND priority = +? AND ${HAS_ID}`
const IN_ORDER = 'ORDER BY run_after, id LIMIT +?'
/** From a lane's head on: what is due before a time, or what is due when the head is and has a lesser id than another. */
const DUE_BEFORE = `${LANE} AND run_after < +? ${IN_ORDER}`
const DUE_ALIKE = `${LANE} AND run_after = +? AND id < +? ${IN_ORDER}`
const stretchOf = (columns: string) => ({
  before: `SELECT ${columns} ${DUE_BEFORE}`,
  alike: `SELECT ${columns} ${DUE_ALIKE}`,
})
const STRETCH = {row: stretchOf(ROW), withContext: stretchOf(ROW_WITH_CONTEXT)}
/** Rows are read, then written: RETURNING, which first collects its rows, takes 3 µs more. */
const TAKE = 'UPDATE job SET grabbed_until = ? WHERE id = ?'

/**
 * Rows of a function that lie in no lane though nobody works them, and what makes them lie in one. Columns hold
 * whatever other programs write into them; this is mended where nothing else is left to take.
 */
const ODD = [
  ['grabbed_until < 0', 'grabbed_until = 0'],
  [`grabbed_until = 0 AND priority > ${MAX_ID}`, `priority = min(CAST(priority AS INTEGER), ${MAX_UINT32})`],
  [`grabbed_until = 0 AND priority < ${-MAX_ID}`, `priority = ${-MAX_ID}`],
] as const
const HAS_ODD = `SELECT ${ODD.map(
  ([condition]) =>
    `EXISTS (SELECT 1 FROM job INDEXED BY jobq_lane WHERE func_id = $func AND ${condition} AND ${HAS_ID})`,
).join(' OR ')}`

const NOTHING_PASSED: Passed = {below: Number.MAX_SAFE_INTEGER, dueAt: null}

interface Heads {
  head: Head | null
  next: Head | null
  dueAt: number | null
}

/** None is due; the first one will be then. */
interface NoHead {
  dueAt: number | null
}

export class SqliteLanes {
  readonly #link: SqliteConnection
  readonly #inserts: SqliteInsert
  readonly #settle: SqliteSettle
  readonly #funcNames = new Map<number, string>()
  readonly #memory: SqliteMemory
  readonly #leaseClock: LeaseClock
  /** For fair grabs: when each function was last taken from, counted in jobs. */
  readonly #lastServed = new Map<number, number>()
  #served = 0

  constructor(link: SqliteConnection, memory: SqliteMemory, inserts: SqliteInsert, settle: SqliteSettle) {
    this.#link = link
    this.#leaseClock = new LeaseClock(link.elapsed)
    this.#memory = memory
    this.#inserts = inserts
    this.#settle = settle
  }

  /** What a turn without settlements says if there is nothing to take; null if there may be. */
  idleTurn(want: Want): Turn | null {
    const now = this.#link.now()
    this.#memory.forgetIfChanged()
    const nextDueIn = want.limit === 0 ? null : this.#nextDueIn(this.#funcsOf(want.funcs), now, want)
    return nextDueIn === 0 ? null : {settled: [], buried: [], jobs: [], nextDueIn, now, ...this.#jumped(now)}
  }

  /** What a grab would take first. */
  peek(want: Want): Peek {
    const now = this.#link.now()
    this.#memory.forgetIfChanged()
    const funcIds = this.#funcsOf(want.funcs)
    const head = this.#bestHead(this.#openFuncs(want, now, funcIds), now)
    const nextDueIn = this.#nextDueIn(funcIds, now, want, head)
    const dueFor = 'id' in head ? now - head.runAfter : 0
    return {head: 'id' in head ? {priority: head.priority, dueFor} : null, nextDueIn}
  }

  /**
   * Takes the best head and what follows it in its lane until another function's head is before that, and so on. What is
   * remembered is that of this transaction.
   */
  grab(want: Want, now: number): Pick<Turn, 'buried' | 'jobs' | 'nextDueIn' | 'jumped'> {
    const {limit, lease, maxRunning, fair, held} = want
    if (limit === 0) return {buried: [], jobs: [], nextDueIn: null}
    this.#memory.forgetIfWritten()
    const funcIds = this.#funcsOf(want.funcs)
    const buried = this.#releaseEnded(funcIds, now, this.#leaseClock.judge(now))
    let open = this.#openFuncs(want, now, funcIds)
    const jobs: JobRow[] = []
    while (jobs.length < limit) {
      const {head, next, dueAt} = this.#bestHeads(open, now, {
        fair,
        withRow: limit === 1 && open.length === 1,
      })
      if (!head && this.#mendOdd(funcIds)) continue
      if (!head) {
        const nextDueIn = this.#nextDueIn(funcIds, now, want, {dueAt})
        return {buried, jobs, nextDueIn, ...this.#jumped(now)}
      }
      const func = this.#funcNames.get(head.funcId)!
      if (held?.has(func)) return {buried, jobs, nextDueIn: null}
      const isLimited = maxRunning?.has(func) ?? false
      const most = fair || isLimited ? 1 : limit - jobs.length
      const rows = head.row ? [head.row] : this.#stretch(head, next, now, most)
      if (rows.length === 0) return {buried, jobs, nextDueIn: null} // never, or this would have no end
      for (const row of rows) jobs.push(this.#take(row, head.funcId, func, now + lease))
      if (fair) this.#lastServed.set(head.funcId, ++this.#served)
      if (isLimited) open = this.#openFuncs(want, now, funcIds)
    }
    return {buried, jobs, nextDueIn: null}
  }

  /** From the head on, what comes before the next function's head. */
  #stretch({funcId, priority, runAfter}: Head, next: Head | null, now: number, most: number): Row[] {
    const stretch = STRETCH[this.#rowOrMore()]
    const isRival = next !== null && next.priority === priority && most > 1
    const rows =
      isRival && next.runAfter === runAfter
        ? this.#link.raw(stretch.alike).all(funcId, priority, runAfter, next.id, most)
        : this.#link.raw(stretch.before).all(funcId, priority, isRival ? next.runAfter : now + 1, most)
    return rows as Row[]
  }

  #rowOrMore(): 'row' | 'withContext' {
    return this.#memory.beside.contexts ? 'withContext' : 'row'
  }

  #take(row: Row, funcId: number, func: string, until: number): JobRow {
    const [id, priority, runAfter, arg, uniqkey, enqueueTime, retryCnt, context = null] = row
    this.#link.sql(TAKE).run(until, id)
    this.#memory.leased(funcId, until)
    const job = {
      id,
      funcId,
      func,
      arg,
      uniqkey: uniqkey === null ? null : String(uniqkey),
      enqueueTime,
      grabbedUntil: until,
      runAfter,
      retryCnt: Number(retryCnt) || 0,
      priority,
    }
    return context === null ? job : {...job, context}
  }

  #bestHead(funcIds: readonly number[], now: number): Head | NoHead {
    const {head, dueAt} = this.#bestHeads(funcIds, now)
    return head ?? {dueAt}
  }

  /**
   * The first of all functions' heads: highest priority, then longest due, then lowest id; and the second.
   * @returns `dueAt`: when the first job comes due of those functions that have none
   */
  #bestHeads(funcIds: readonly number[], now: number, {fair = false, withRow = false} = {}): Heads {
    let best: Head | null = null
    let next: Head | null = null
    let dueAt: number | null = null
    for (const funcId of funcIds) {
      const head = this.#head(funcId, now, withRow)
      if (!('id' in head)) {
        if (head.dueAt !== null && (dueAt === null || head.dueAt < dueAt)) dueAt = head.dueAt
      } else if (best === null || this.#isSooner(head, best, fair)) {
        next = best
        best = head
      } else if (next === null || this.#isSooner(head, next, fair)) next = head
    }
    return {head: best, next, dueAt}
  }

  #isSooner(a: Head, b: Head, fair: boolean): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority
    if (fair) return (this.#lastServed.get(a.funcId) ?? 0) < (this.#lastServed.get(b.funcId) ?? 0)
    if (a.runAfter !== b.runAfter) return a.runAfter < b.runAfter
    return a.id < b.id
  }

  /** Those functions that may be taken from: not paused, and not running as often as they may already. */
  #openFuncs({funcs, maxRunning}: Want, now: number, funcIds: readonly number[]): readonly number[] {
    const {paused} = this.#memory
    if (paused.includes(ALL_FUNCS)) return []
    const ids = paused.length === 0 ? funcIds : this.#funcsOf(funcs.filter(func => !paused.includes(func)))
    if (!maxRunning || maxRunning.size === 0) return ids
    return ids.filter(id => {
      const most = maxRunning.get(this.#funcNames.get(id)!) ?? 0
      return most === 0 || this.#countRunning(id, this.#leaseClock.judge(now), most) < most
    })
  }

  /** Counts no further than it must: the cost is that of the limit, not of the leases. */
  #countRunning(funcId: number, now: number, most: number): number {
    const sql = `SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY jobq_lane
      WHERE func_id = ? AND grabbed_until > ? LIMIT ?)`
    return this.#link.pluck(sql).get(funcId, now, most) as number
  }

  /**
   * Walks one function's lanes from the highest priority down to the first whose head is due: if a head is not, nothing
   * in its lane is. Lanes that were passed like that are not looked at again until one of their jobs comes due, or a
   * job comes in.
   */
  #head(funcId: number, now: number, withRow: boolean): Head | NoHead {
    const lane = this.#link.raw(HEAD[withRow ? this.#rowOrMore() : 'key'])
    const passed = this.#memory.passed.get(funcId)
    let {below, dueAt} = passed && (passed.dueAt ?? Infinity) > now ? passed : NOTHING_PASSED
    for (;;) {
      const found = lane.get(funcId, funcId, below) as Row | undefined
      if (!found) return this.#hasPassed(funcId, below, dueAt)
      const [id, priority, runAfter] = found
      if (priority < -MAX_ID) return this.#hasPassed(funcId, below, dueAt)
      if (runAfter <= now) {
        this.#hasPassed(funcId, below, dueAt)
        return {id, funcId, priority, runAfter, row: withRow ? found : null}
      }
      const isTime = typeof runAfter === 'number' // of anything else the lane has no more than that, and it is never due
      if (isTime && (dueAt === null || runAfter < dueAt)) dueAt = runAfter
      below = priority
    }
  }

  #hasPassed(funcId: number, below: number, dueAt: number | null): NoHead {
    const known = this.#memory.passed.get(funcId)
    if (known?.below !== below || known.dueAt !== dueAt) this.#memory.passed.set(funcId, {below, dueAt})
    return {dueAt}
  }

  /** Puts jobs whose lease ran out back into their lanes: their worker is gone, and its machine may be. */
  #releaseEnded(funcIds: readonly number[], now: number, leaseTime: number): Turn['buried'] {
    const sql = `SELECT id, grabbed_until AS grabbedUntil, uniqkey, priority FROM job INDEXED BY jobq_lane
      WHERE func_id = +? AND grabbed_until > 0 AND grabbed_until <= +? AND ${HAS_ID}
      ORDER BY grabbed_until LIMIT ${EXPIRE_BATCH}`
    const buried: Turn['buried'] = []
    for (const funcId of funcIds) {
      if (!this.#memory.hasEndedLease(funcId, leaseTime)) continue
      this.#memory.passed.clear()
      this.#settle.sweepDeaths()
      type Ended = Lease & Pick<JobRow, 'uniqkey' | 'priority'>
      for (const {id, grabbedUntil, uniqkey, priority} of this.#link
        .sql(sql)
        .all(funcId, leaseTime) as Ended[]) {
        const how = 'its lease ran out (its dispatcher or machine is gone)'
        const {failed} = this.#settle.countDeath([id, grabbedUntil], how, {}, now)
        if (failed === undefined) continue
        buried.push({id, func: this.#funcNames.get(funcId)!, uniqkey, priority, message: failed})
      }
    }
    return buried
  }

  /** @returns whether there is more to take now */
  #mendOdd(funcIds: readonly number[]): boolean {
    const odd = funcIds.filter(func => this.#link.pluck(HAS_ODD).get({func}))
    if (odd.length === 0) return false
    this.#memory.passed.clear()
    for (const [condition, mend] of ODD)
      for (const id of odd)
        this.#link.sql(`UPDATE job SET ${mend} WHERE func_id = ? AND ${condition} AND ${HAS_ID}`).run(id)
    return true
  }

  #nextDueIn(
    funcIds: readonly number[],
    now: number,
    want: Want,
    head = this.#bestHead(this.#openFuncs(want, now, funcIds), now),
  ): number | null {
    if ('id' in head || funcIds.some(func => this.#link.pluck(HAS_ODD).get({func}))) return 0
    const ends = funcIds.flatMap(funcId => this.#memory.leaseEnd(funcId) ?? [])
    const next = Math.min((head.dueAt ?? Infinity) - now, Math.min(...ends) - this.#leaseClock.judge(now))
    return next === Infinity ? null : Math.max(0, next)
  }

  #jumped(now: number): Pick<Turn, 'jumped'> {
    const by = now - this.#leaseClock.judge(now)
    return by === 0 ? {} : {jumped: by}
  }

  /** Ids of those functions that have a row already; a function no one has enqueued yet has no jobs. */
  #funcsOf(names: readonly string[]): number[] {
    const ids: number[] = []
    for (const name of names) {
      const id = this.#inserts.findFuncId(name)
      if (id === undefined) continue
      this.#funcNames.set(id, name)
      ids.push(id)
    }
    return ids
  }
}
