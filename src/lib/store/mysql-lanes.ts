/**
 * Finding and taking jobs on MySQL, along the index jobq_lane.
 *
 * A lane is the ready side of one (function, priority): entries with grabbed_until = 0, by run_after and id. Two seeks
 * find the first job of a function's highest lane: the greatest priority, then the lane's first entry. If that is not
 * due, nothing in the lane is, but a lower lane may have something. The lanes that were not due when last looked at are
 * remembered, and every look asks for all of them at once: each `arm` of the question covers the priorities from one
 * of them up to the next. So it is complete whatever has been enqueued since, in one round trip, and what it reads
 * depends on functions and priorities, never on rows.
 *
 * A take decides on the server which lane is the best and locks its first row with SKIP LOCKED: another process's take
 * that has not ended is passed over instead of waited for, and no row is locked that is not taken. It finds that row
 * with a plain read and locks it by its id: a locking read along the lane also looks up every entry at its front whose
 * job was taken a moment ago and is not purged yet (measured at 1,000 jobs a second: 150 µs instead of 20).
 *
 * KEY priority, which Qudo's schema has, lures the planner: every statement forces jobq_lane. And no number in them is
 * above what its column holds: MariaDB's MAX(priority) under `priority < 4294967296` is wrong.
 */
import {ALL_FUNCS, type JobRow, MAX_UINT32} from '../job.ts'
import {type Link, literal, type Reply, type Row, textOf, textOrNull} from './mysql-link.ts'
import type {Want} from './store.ts'

/** How many lanes a walk goes down in one round trip. */
const WALK_LANES = 16
/** How many arms the takes of one batch may have together: the server reads each of them anew for each job. */
const BATCH_ARMS = 48

/** The first job of a lane. */
export interface Head {
  funcId: number
  id: number
  priority: number
  runAfter: number
}

/** A stretch of a function's priorities from `least` up; `from` finds its highest lane. */
interface Arm {
  funcId: number
  least: number
  from: string
}

/** Lanes whose due jobs were all being taken by others: not to be tried again in this turn. */
export type Skipped = Map<number, Set<number>>

/** Where things stand. */
export interface Look {
  now: number
  /** The best job that is due and may be taken. */
  best: Head | null
  /** Where a function has nothing due: when the first of its jobs will be. */
  dueAt: number | null
  /** Functions with leases that have run out. */
  ended: number[]
  /** When the next lease of any of the functions ends. */
  nextEnd: number | null
  /** The same text as before: nothing that matters has changed. */
  signature: string
}

export class MysqlLanes {
  readonly #ids = new Map<string, number>()
  readonly #names = new Map<number, string>()
  /** By function: the priorities of lanes that were not due, highest first. */
  readonly #delayed = new Map<number, number[]>()
  /** As far as is known here; every take has the server check it. */
  #paused: string[] = []
  readonly #lastServed = new Map<number, number>()
  #served = 0

  nameOf(funcId: number): string {
    return this.#names.get(funcId) ?? `#${funcId}`
  }

  async look(link: Link, want: Want, skipped: Skipped = new Map()): Promise<Look> {
    for (;;) {
      const unknown = this.#unknown(want)
      const ids = this.#idsOf(want.funcs)
      const limited = this.#limited(want)
      const [clock, paused, newest, found, heads, ends, counts] = await askAll(link, [
        'SELECT UNIX_TIMESTAMP() AS now',
        'SELECT func FROM jobq_pause ORDER BY func',
        'SELECT MAX(id) AS id FROM job',
        unknown.length > 0 ? selectFuncs(link, unknown) : null,
        ids.length > 0
          ? ids
              .flatMap(id => this.#arms(id, skipped))
              .map(selectArm)
              .join(' UNION ALL ')
          : null,
        ids.length > 0 ? ids.map(selectNextEnd).join(' UNION ALL ') : null,
        limited.length > 0 ? limited.map(selectRunning).join(' UNION ALL ') : null,
      ])
      this.#paused = paused!.map(({func}) => textOf(func))
      if (this.#learn(found!)) continue
      const now = Number(clock![0]!.now)
      const isFull = new Set(
        counts!.filter(({n, most}) => Number(n) >= Number(most)).map(row => Number(row.f)),
      )
      const open = new Set(this.#idsOf(this.#unpaused(want.funcs)).filter(id => !isFull.has(id)))
      const byFunc = Map.groupBy(heads!, ({f}) => Number(f))
      const allLanes: Head[][] = []
      let best: Head | null = null
      let dueAt: number | null = null
      for (const id of ids) {
        const lanes = await this.#lanesOf(link, id, byFunc.get(id) ?? [], now)
        allLanes.push(lanes)
        if (!open.has(id)) continue
        const due = lanes.find(({runAfter}) => runAfter <= now)
        if (due && (!best || this.#isSooner(due, best, want.fair ?? false))) best = due
        for (const {runAfter} of due ? [] : lanes) if (dueAt === null || runAfter < dueAt) dueAt = runAfter
      }
      const leaseEnds = ends!.map(row => ({funcId: Number(row.f), end: Number(row.e)}))
      return {
        now,
        best,
        dueAt,
        ended: leaseEnds.filter(({end}) => end <= now).map(({funcId}) => funcId),
        nextEnd: leaseEnds.reduce<number | null>((least, {end}) => Math.min(least ?? end, end), null),
        signature: JSON.stringify([paused, newest, allLanes, ends, counts]),
      }
    }
  }

  /** How many jobs the next batch of takes should ask for. */
  batchSize(want: Want, count: number): number {
    const funcs = this.#idsOf(want.funcs)
    const arms = funcs.reduce((sum, id) => sum + 1 + (this.#delayed.get(id)?.length ?? 0), 0)
    if (want.fair && funcs.length > 1) return 1 // whose turn it is changes with every job
    return Math.max(1, Math.min(count, Math.floor(BATCH_ARMS / Math.max(1, arms))))
  }

  /** Statements that take so many jobs, each the best there is. Needs a transaction around it, and @now before it. */
  takes(link: Link, want: Want, count: number, skipped: Skipped): string[] {
    const ids = this.#idsOf(want.funcs)
    const limited = this.#limited(want)
    const statements: string[] = []
    // Who counts what runs must be alone at it, over all processes
    if (limited.length > 0)
      statements.push(`SELECT id FROM func WHERE id IN (${limited.map(({id}) => id)}) ORDER BY id FOR UPDATE`)
    // SELECT … INTO, not SET: that reads with shared locks
    statements.push(`SELECT ${this.#guards(link, want, ids).join(' AND ')} INTO @go`)
    const most = new Map(limited.map(({id, most}) => [id, most]))
    const arms = this.#idsOf(this.#unpaused(want.funcs)).flatMap(id => this.#arms(id, skipped, most.get(id)))
    if (arms.length === 0) return []
    const order = want.fair
      ? `priority DESC, run_after > @now, FIELD(f, ${this.#byTurn(ids)}), run_after, id`
      : 'priority DESC, run_after, id'
    const held = this.#idsOf([...(want.held ?? [])])
    const butHeld = held.length > 0 ? `AND @f NOT IN (${held})` : ''
    const take = [
      'SET @f = NULL, @p = NULL, @r = NULL, @head = NULL, @id = NULL',
      // A lane that is not due and may hide others is chosen as well, and then nothing is taken: a look finds out
      arms.length === 1
        ? `SELECT func_id, priority, run_after, id INTO @f, @p, @r, @head ${arms[0]!.from} AND @go ${FIRST}`
        : `SELECT f, priority, run_after, id INTO @f, @p, @r, @head
           FROM (${arms.map(selectArm).join(' UNION ALL ')}) heads
           WHERE @go AND (run_after <= @now OR priority > least) ORDER BY ${order} LIMIT 1`,
      `SELECT id INTO @id FROM job
       WHERE id = @head AND grabbed_until = 0 AND run_after <= @now ${butHeld} FOR UPDATE SKIP LOCKED`,
      // Someone else has it: the next one of its lane that no one has
      `SELECT id INTO @id FROM job FORCE INDEX (jobq_lane)
       WHERE @id IS NULL AND func_id = @f AND grabbed_until = 0 AND priority = @p AND run_after <= @now
         AND (run_after > @r OR (run_after = @r AND id > @head)) ${butHeld} ${FIRST} FOR UPDATE SKIP LOCKED`,
      `UPDATE job SET grabbed_until = @now + ${want.lease} WHERE id = @id`,
      `SELECT @now AS now, ${jobColumns(link)}, (SELECT context FROM jobq_context WHERE job_id = @id) AS context
       FROM job WHERE id = @id`,
    ]
    for (let i = 0; i < count; i++) statements.push(...take)
    return statements
  }

  /** The jobs that the statements of `takes` have got, and when; null if none. */
  taken(replies: readonly Reply[], want: Want): {jobs: JobRow[]; now: number | null} {
    const rows = replies.flatMap(({rows}) => rows).filter(row => 'grabbed_until' in row)
    const jobs = rows.map(row => this.#job(row))
    if (want.fair) for (const {funcId} of jobs) this.#lastServed.set(funcId, ++this.#served)
    return {jobs, now: rows[0] ? Number(rows[0].now) : null}
  }

  #job(row: Row): JobRow {
    const job = jobOf(row)
    job.func = this.nameOf(job.funcId)
    return row.context === null ? job : {...job, context: textOf(row.context)}
  }

  /** What must be so for a take to be right; if it is not, nothing is taken, and a look tells why. */
  #guards(link: Link, want: Want, ids: readonly number[]): string[] {
    const known = this.#paused.map(literal)
    const unknown = this.#unknown(want)
    return [
      `(SELECT COUNT(*) FROM jobq_pause) = ${known.length}`,
      ...(known.length > 0
        ? [`(SELECT COUNT(*) FROM jobq_pause WHERE func IN (${known.join(', ')})) = ${known.length}`]
        : []),
      ...(unknown.length > 0 ? [`NOT EXISTS (${selectFuncs(link, unknown)})`] : []),
      // Backwards from now, where live entries are: behind now lie those of leases that were settled and not purged yet
      ...ids.map(
        id => `COALESCE((SELECT MAX(grabbed_until) FROM job FORCE INDEX (jobq_lane)
          WHERE func_id = ${id} AND grabbed_until <= @now), 0) = 0`,
      ),
    ]
  }

  /**
   * A function's lanes from the highest down to the first that is due, or to the last.
   * @param heads of its arms, in any order
   */
  async #lanesOf(link: Link, funcId: number, heads: readonly Row[], now: number): Promise<Head[]> {
    const lanes: Head[] = []
    const sorted = [...heads].sort((a, b) => Number(b.priority) - Number(a.priority))
    for (const row of sorted) {
      lanes.push(headOf(row))
      const least = Number(row.least)
      while (lanes.at(-1)!.runAfter > now && lanes.at(-1)!.priority > least) {
        const more = await walk(link, funcId, least, lanes.at(-1)!.priority)
        for (const head of more) {
          lanes.push(head)
          if (head.runAfter <= now) break
        }
        if (more.length < WALK_LANES) break
      }
      if (lanes.at(-1)!.runAfter <= now) break
    }
    this.#delayed.set(
      funcId,
      lanes.filter(({runAfter}) => runAfter > now).map(({priority}) => priority),
    )
    return lanes
  }

  /** One SELECT for each stretch of priorities, with the first job of its highest lane. */
  #arms(funcId: number, skipped: Skipped, most?: number): Arm[] {
    const skip = skipped.get(funcId) ?? new Set()
    const borders = [...new Set([...(this.#delayed.get(funcId) ?? []), ...skip])].sort((a, b) => b - a)
    const running = most === undefined ? '' : `AND (${countRunning(funcId, most)}) < ${most}`
    let below = MAX_UINT32 + 1
    return [...borders, 0].flatMap((border, i) => {
      const least = i < borders.length && skip.has(border) ? border + 1 : border
      const isEmpty = least >= below
      const highest = `SELECT MAX(priority) FROM job FORCE INDEX (jobq_lane) WHERE func_id = ${funcId}
        AND grabbed_until = 0 AND priority >= ${least} AND priority <= ${below - 1}`
      below = border
      if (isEmpty) return []
      const from = `FROM job FORCE INDEX (jobq_lane)
        WHERE func_id = ${funcId} AND grabbed_until = 0 AND priority = (${highest}) ${running}`
      return [{funcId, least, from}]
    })
  }

  #isSooner(a: Head, b: Head, fair: boolean): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority
    if (fair) return (this.#lastServed.get(a.funcId) ?? 0) < (this.#lastServed.get(b.funcId) ?? 0)
    return a.runAfter !== b.runAfter ? a.runAfter < b.runAfter : a.id < b.id
  }

  #byTurn(ids: readonly number[]): number[] {
    const served = (id: number) => this.#lastServed.get(id) ?? 0
    return [...ids].sort((a, b) => served(a) - served(b))
  }

  #limited({funcs, maxRunning}: Want): {id: number; most: number}[] {
    if (!maxRunning) return []
    const limited = this.#idsOf(funcs).map(id => ({id, most: maxRunning.get(this.nameOf(id)) ?? 0}))
    return limited.filter(({most}) => most > 0)
  }

  #unpaused(funcs: readonly string[]): readonly string[] {
    if (this.#paused.includes(ALL_FUNCS)) return []
    return this.#paused.length === 0 ? funcs : funcs.filter(func => !this.#paused.includes(func))
  }

  #unknown({funcs}: Want): string[] {
    return funcs.filter(func => !this.#ids.has(func))
  }

  #idsOf(funcs: readonly string[]): number[] {
    return [...new Set(funcs.flatMap(func => this.#ids.get(func) ?? []))]
  }

  /** @returns whether there were any new ones */
  #learn(rows: readonly Row[]): boolean {
    for (const {id, asked} of rows) {
      this.#ids.set(textOf(asked), Number(id))
      this.#names.set(Number(id), textOf(asked))
    }
    return rows.length > 0
  }
}

export function jobColumns({keys}: Link): string {
  return `job.id, job.func_id, job.arg, ${keys.select('job.uniqkey')} AS uniqkey, job.enqueue_time, job.grabbed_until,
    job.run_after, job.retry_cnt, job.priority`
}

/** @param row of `jobColumns`, and the function's name as `func` */
export function jobOf(row: Row): JobRow {
  return {
    id: Number(row.id),
    funcId: Number(row.func_id),
    func: textOf(row.func ?? ''),
    arg: row.arg as Buffer | null,
    uniqkey: textOrNull(row.uniqkey),
    enqueueTime: Number(row.enqueue_time),
    grabbedUntil: Number(row.grabbed_until),
    runAfter: Number(row.run_after),
    retryCnt: Number(row.retry_cnt),
    priority: Number(row.priority),
  }
}

function headOf({f, id, priority, run_after}: Row): Head {
  return {funcId: Number(f), id: Number(id), priority: Number(priority), runAfter: Number(run_after)}
}

/** Names as they were asked for: where the collation knows no case, the row may say another one. */
function selectFuncs({names}: Link, funcs: readonly string[]): string {
  return funcs
    .map(func => `(SELECT id, ${literal(func)} AS asked FROM func WHERE name = ${names.literal(func)})`)
    .join(' UNION ALL ')
}

function selectNextEnd(funcId: number): string {
  return `(SELECT ${funcId} AS f, grabbed_until AS e FROM job FORCE INDEX (jobq_lane)
    WHERE func_id = ${funcId} AND grabbed_until > 0 ORDER BY grabbed_until LIMIT 1)`
}

function selectRunning({id, most}: {id: number; most: number}): string {
  return `(SELECT ${id} AS f, ${most} AS most, (${countRunning(id, most, 'UNIX_TIMESTAMP()')}) AS n)`
}

/** Counts no further than it must: the cost is that of the limit, not of the leases. */
function countRunning(funcId: number, most: number, now = '@now'): string {
  return `SELECT COUNT(*) FROM (SELECT 1 FROM job FORCE INDEX (jobq_lane)
    WHERE func_id = ${funcId} AND grabbed_until > ${now} LIMIT ${most}) running`
}

const FIRST = 'ORDER BY run_after, id LIMIT 1'
function selectArm({funcId, least, from}: Arm): string {
  return `(SELECT ${funcId} AS f, ${least} AS least, id, priority, run_after ${from} ${FIRST})`
}

/** The next lanes of a function below a priority, in one round trip: each statement begins where the last has ended. */
async function walk(link: Link, funcId: number, least: number, below: number): Promise<Head[]> {
  const where = `FROM job FORCE INDEX (jobq_lane) WHERE func_id = ${funcId} AND grabbed_until = 0`
  const step = [
    `SELECT MAX(priority) INTO @lane ${where} AND priority >= ${least} AND priority < @lane`,
    `SELECT ${funcId} AS f, id, priority, run_after ${where} AND priority = @lane ORDER BY run_after, id LIMIT 1`,
  ]
  const replies = await link.batch([
    `SET @lane = ${below}`,
    ...Array.from({length: WALK_LANES}, () => step).flat(),
  ])
  return replies.flatMap(({rows}) => rows.map(headOf))
}

/** Several questions in one round trip; to null the answer is empty. */
async function askAll(link: Link, questions: readonly (string | null)[]): Promise<Row[][]> {
  const replies = await link.batch(questions.filter(question => question !== null))
  let at = 0
  return questions.map(question => (question === null ? [] : replies[at++]!.rows))
}
