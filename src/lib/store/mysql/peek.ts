/** A look at the lanes on MySQL, without taking anything: what is next, what hides it, what has ended, what comes due. */
import {MAX_ID} from '../../jobs/job.ts'
import {LeaseClock} from '../shared/lease-clock.ts'
import type {Want} from '../store.ts'
import {type Link, type Row, textOf} from './connection.ts'
import type {Head, MysqlLanes, Skipped} from './lanes.ts'
import {countRunning, headOf, selectArm, selectFuncs} from './lanes.ts'

/** How many lanes a walk goes down in one round trip. */
const WALK_LANES = 16

/** Where things stand. */
export interface Look {
  now: number
  /** The best job that is due and may be taken. */
  best: Head | null
  /** Where a function has nothing due: when the first of its jobs will be. */
  dueAt: number | null
  /** By what leases are judged: now, unless the clock has jumped ahead. */
  leaseTime: number
  /** Functions with leases that have run out. */
  ended: number[]
  /** When the next lease of any of the functions ends. */
  nextEnd: number | null
  /** The same text as before: nothing that matters has changed. */
  signature: string
}

export async function look(
  lanes: MysqlLanes,
  link: Link,
  want: Want,
  skipped: Skipped = new Map(),
  leaseClock = new LeaseClock(),
): Promise<Look> {
  for (;;) {
    const unknown = lanes.unknown(want)
    const ids = lanes.idsOf(want.funcs)
    const limited = lanes.limited(want)
    const [clock, paused, newest, funcs, found, heads, ends, counts] = await askAll(link, [
      'SELECT UNIX_TIMESTAMP() AS now',
      'SELECT func FROM jobq_pause ORDER BY func',
      'SELECT MAX(id) AS id FROM job',
      unknown.length > 0 ? 'SELECT COUNT(*) AS n FROM func' : null, // before the names
      unknown.length > 0 ? selectFuncs(link, unknown) : null,
      ids.length > 0
        ? ids
            .flatMap(id => lanes.arms(id, skipped))
            .map(selectArm)
            .join(' UNION ALL ')
        : null,
      ids.length > 0 ? ids.map(selectNextEnd).join(' UNION ALL ') : null,
      limited.length > 0 ? limited.map(selectRunning).join(' UNION ALL ') : null,
    ])
    lanes.paused = paused!.map(({func}) => textOf(func))
    if (unknown.length > 0) lanes.countFuncs = Number(funcs![0]!.n)
    if (lanes.learn(found!)) continue
    const now = Number(clock![0]!.now)
    const isFull = new Set(counts!.filter(({n, most}) => Number(n) >= Number(most)).map(row => Number(row.f)))
    const open = new Set(lanes.idsOf(lanes.unpaused(want.funcs)).filter(id => !isFull.has(id)))
    const byFunc = Map.groupBy(heads!, ({f}) => Number(f))
    const allLanes: Head[][] = []
    let best: Head | null = null
    let dueAt: number | null = null
    for (const id of ids) {
      const found = await lanesOf(link, id, byFunc.get(id) ?? [], now)
      lanes.found(id, found, now)
      allLanes.push(found)
      if (!open.has(id)) continue
      const due = found.find(({runAfter}) => runAfter <= now)
      if (due && (!best || lanes.isSooner(due, best, want.fair ?? false))) best = due
      for (const {runAfter} of due ? [] : found) if (dueAt === null || runAfter < dueAt) dueAt = runAfter
    }
    const leaseEnds = ends!.map(row => ({funcId: Number(row.f), end: Number(row.e)}))
    const leaseTime = leaseClock.judge(now)
    const ended = leaseEnds.filter(({end}) => end <= leaseTime).map(({funcId}) => funcId)
    if (ended.length > 0) lanes.checked = 0
    return {
      now,
      best,
      dueAt,
      ended,
      leaseTime,
      nextEnd: leaseEnds.reduce<number | null>((least, {end}) => Math.min(least ?? end, end), null),
      signature: JSON.stringify([paused, newest, allLanes, ends, counts]),
    }
  }
}

/**
 * A function's lanes from the highest down to the first that is due, or to the last.
 * @param heads of its arms, in any order
 */
async function lanesOf(link: Link, funcId: number, heads: readonly Row[], now: number): Promise<Head[]> {
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
  return lanes
}

/** The next lanes of a function below a priority, in one round trip: each statement begins where the last has ended. */
async function walk(link: Link, funcId: number, least: number, below: number): Promise<Head[]> {
  const where = `FROM job FORCE INDEX (jobq_lane) WHERE func_id = ${funcId} AND grabbed_until = 0 AND id <= ${MAX_ID}`
  const step = [
    `SELECT (SELECT priority ${where} AND priority >= ${least} AND priority < @lane ORDER BY priority DESC LIMIT 1) INTO @lane`,
    `SELECT ${funcId} AS f, id, priority, run_after ${where} AND priority = @lane ORDER BY run_after, id LIMIT 1`,
  ]
  const replies = await link.batch([
    `SET @lane = ${below}`,
    ...Array.from({length: WALK_LANES}, () => step).flat(),
  ])
  return replies.flatMap(({rows}) => rows.map(headOf))
}

function selectNextEnd(funcId: number): string {
  return `(SELECT ${funcId} AS f, grabbed_until AS e FROM job FORCE INDEX (jobq_lane)
    WHERE func_id = ${funcId} AND grabbed_until > 0 AND id <= ${MAX_ID} ORDER BY grabbed_until LIMIT 1)`
}

function selectRunning({id, most}: {id: number; most: number}): string {
  return `(SELECT ${id} AS f, ${most} AS most, (${countRunning(id, most, 'UNIX_TIMESTAMP()')}) AS n)`
}

/** Several questions in one round trip; to null the answer is empty. */
async function askAll(link: Link, questions: readonly (string | null)[]): Promise<Row[][]> {
  const replies = await link.batch(questions.filter(question => question !== null))
  let at = 0
  return questions.map(question => (question === null ? [] : replies[at++]!.rows))
}
