/**
 * What one process knows of the lanes on MySQL, and what it must ask to take the best job.
 *
 * A lane is the ready side of one (function, priority) in the index jobq_lane: entries with grabbed_until = 0, by
 * run_after and id. Two seeks find the first job of a function's highest lane: the greatest priority, then the lane's
 * first entry. If that is not due, nothing in the lane is, but a lower lane may have something. The lanes that were not
 * due when last looked at are remembered, and every look asks for all of them at once: each `arm` of the question covers
 * the priorities from one of them up to the next. So it is complete whatever has been enqueued since, in one round trip,
 * and what it reads depends on functions and priorities, never on rows.
 *
 * KEY priority, which Qudo's schema has, lures the planner: every statement forces jobq_lane. And no number in them is
 * above what its column holds: MariaDB's MAX(priority) under `priority < 4294967296` is wrong.
 */
import {ALL_FUNCS, MAX_ID, MAX_UINT32} from '../../jobs/job.ts'
import type {Want} from '../store.ts'
import {type Link, literal, type Row, textOf} from './connection.ts'

/** The first job of a lane. */
export interface Head {
  funcId: number
  id: number
  priority: number
  runAfter: number
}

/** A stretch of a function's priorities from `least` up; `from` finds its highest lane. */
export interface Arm {
  funcId: number
  least: number
  from: string
}

/** Lanes whose due jobs were all being taken by others: not to be tried again in this turn. */
export type Skipped = Map<number, Set<number>>

/** The first entry of a lane. */
export const FIRST = 'ORDER BY run_after, id LIMIT 1'

export class MysqlLanes {
  readonly #ids = new Map<string, number>()
  readonly #names = new Map<number, string>()
  /** By function: the priorities of lanes that were not due, highest first. */
  readonly #delayed = new Map<number, number[]>()
  readonly #lastServed = new Map<number, number>()
  #served = 0
  /** As far as is known here; every take has the server check it. */
  paused: readonly string[] = []
  /** How many functions there were when names were last looked up: if there are no more, there are no new ones. */
  countFuncs = 0
  /** The last second in which no lease had run out. */
  checked = 0

  nameOf(funcId: number): string {
    return this.#names.get(funcId) ?? `#${funcId}`
  }

  /** Names that have no row in `func`, as far as is known here; every take has the server check it. */
  unknown({funcs}: Want): string[] {
    return funcs.filter(func => !this.#ids.has(func))
  }

  /** @param rows of `selectFuncs`. @returns whether there were any new ones */
  learn(rows: readonly Row[]): boolean {
    for (const {id, asked} of rows) {
      this.#ids.set(textOf(asked), Number(id))
      this.#names.set(Number(id), textOf(asked))
    }
    return rows.length > 0
  }

  idsOf(funcs: readonly string[]): number[] {
    return [...new Set(funcs.flatMap(func => this.#ids.get(func) ?? []))]
  }

  unpaused(funcs: readonly string[]): readonly string[] {
    if (this.paused.includes(ALL_FUNCS)) return []
    return this.paused.length === 0 ? funcs : funcs.filter(func => !this.paused.includes(func))
  }

  limited({funcs, maxRunning}: Want): {id: number; most: number}[] {
    if (!maxRunning) return []
    const limited = this.idsOf(funcs).map(id => ({id, most: maxRunning.get(this.nameOf(id)) ?? 0}))
    return limited.filter(({most}) => most > 0)
  }

  /** What was found of a function: the lanes from the highest down to one that is due, or to the last. */
  found(funcId: number, lanes: readonly Head[], now: number): void {
    const delayed = lanes.filter(({runAfter}) => runAfter > now).map(({priority}) => priority)
    if (delayed.length > 0) this.#delayed.set(funcId, delayed)
    else this.#delayed.delete(funcId)
  }

  /** Whether a lane that was not due may be above one that is. */
  hasDelayed(funcIds: readonly number[]): boolean {
    return this.#delayed.size > 0 && funcIds.some(id => this.#delayed.has(id))
  }

  countArms(funcIds: readonly number[]): number {
    return funcIds.reduce((sum, id) => sum + 1 + (this.#delayed.get(id)?.length ?? 0), 0)
  }

  /** One SELECT for each stretch of priorities, with the first job of its highest lane. */
  arms(funcId: number, skipped: Skipped, most?: number): Arm[] {
    const skip = skipped.get(funcId) ?? new Set()
    const borders = [...new Set([...(this.#delayed.get(funcId) ?? []), ...skip])].sort((a, b) => b - a)
    const running = most === undefined ? '' : `AND (${countRunning(funcId, most)}) < ${most}`
    let below = MAX_UINT32 + 1
    return [...borders, 0].flatMap((border, i) => {
      const least = i < borders.length && skip.has(border) ? border + 1 : border
      const isEmpty = least >= below
      const lane = `FROM job FORCE INDEX (jobq_lane) WHERE func_id = ${funcId} AND grabbed_until = 0 AND id <= ${MAX_ID}`
      const highest = `SELECT priority ${lane} AND priority >= ${least} AND priority <= ${below - 1}
        ORDER BY priority DESC LIMIT 1`
      below = border
      if (isEmpty) return []
      return [{funcId, least, from: `${lane} AND priority = (${highest}) ${running}`}]
    })
  }

  isSooner(a: Head, b: Head, fair: boolean): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority
    if (fair) return (this.#lastServed.get(a.funcId) ?? 0) < (this.#lastServed.get(b.funcId) ?? 0)
    return a.runAfter !== b.runAfter ? a.runAfter < b.runAfter : a.id < b.id
  }

  served(funcId: number): void {
    this.#lastServed.set(funcId, ++this.#served)
  }

  /** The one served longest ago first. */
  byTurn(funcIds: readonly number[]): number[] {
    const served = (id: number) => this.#lastServed.get(id) ?? 0
    return [...funcIds].sort((a, b) => served(a) - served(b))
  }
}

export function headOf({f, id, priority, run_after}: Row): Head {
  return {funcId: Number(f), id: Number(id), priority: Number(priority), runAfter: Number(run_after)}
}

export function selectArm({funcId, least, from}: Arm): string {
  return `(SELECT ${funcId} AS f, ${least} AS least, id, priority, run_after ${from} ${FIRST})`
}

/** Names as they were asked for: where the collation knows no case, the row may say another one. */
export function selectFuncs({names}: Link, funcs: readonly string[]): string {
  return funcs
    .map(func => `(SELECT id, ${literal(func)} AS asked FROM func WHERE name = ${names.literal(func)})`)
    .join(' UNION ALL ')
}

/** Counts no further than it must: the cost is that of the limit, not of the leases. */
export function countRunning(funcId: number, most: number, now = '@now'): string {
  return `SELECT COUNT(*) FROM (SELECT 1 FROM job FORCE INDEX (jobq_lane)
    WHERE func_id = ${funcId} AND grabbed_until > ${now} LIMIT ${most}) running`
}
