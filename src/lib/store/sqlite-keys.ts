/**
 * Waiting jobs by their keys on SQLite, in the order of a listing: seeks in the index jobq_lane, lane by lane.
 *
 * Leases that ran out and that no grab has put back yet are strays: they count as ready or delayed, but lie outside the
 * lanes.
 */
import type {JobState} from '../job.ts'
import {byId, byOrder, byTime, joined, type Key, type Keys, LAST, merged, share} from './keys.ts'
import type {SqliteLink} from './sqlite-link.ts'

const SELECT_KEY = 'SELECT id, priority, run_after AS runAfter FROM job WHERE func_id = ?'

export interface Func {
  id: number
  name: string
}

export class SqliteKeys {
  readonly #link: SqliteLink

  constructor(link: SqliteLink) {
    this.#link = link
  }

  /** The next jobs of one state behind a key, in their order: at least one if there is one, often about `wanted`. */
  next(state: JobState, funcs: readonly Func[], after: Key | null, wanted: number, now: number): Keys {
    if (wanted === 0 || funcs.length === 0) return {keys: [], end: null}
    if (state === 'running') return this.#runningKeys(funcs, after, wanted, now)
    return state === 'ready'
      ? this.#readyKeys(funcs, after, wanted, now)
      : this.#delayedKeys(funcs, after, wanted, now)
  }

  #runningKeys(funcs: readonly Func[], after: Key | null, wanted: number, now: number): Keys {
    const sql = `${SELECT_KEY} AND grabbed_until > ? AND id > ? ORDER BY id LIMIT ?`
    const parts = funcs.map(({id}) => this.#link.sql(sql).all(id, now, after?.id ?? -1, wanted) as Key[])
    return merged(parts, wanted, byId)
  }

  /** Priority by priority from the highest down, all functions' lanes of one priority together. */
  #readyKeys(funcs: readonly Func[], after: Key | null, wanted: number, now: number): Keys {
    const from = after ?? {id: -1, priority: LAST, runAfter: -1}
    const lane = this.#link.sql(
      `${SELECT_KEY} AND grabbed_until = 0 AND priority = ? AND (run_after, id) > (?, ?) AND run_after <= ?
       ORDER BY run_after, id LIMIT ?`,
    )
    const heads = funcs.map(({id}) => ({id, priority: this.#nextPriority(id, from.priority + 1)}))
    const parts: Keys[] = []
    for (let found = 0; found < wanted; ) {
      const priority = heads.reduce((highest, head) => Math.max(highest, head.priority ?? -1), -1)
      if (priority < 0) break
      const lanes = heads.filter(head => head.priority === priority)
      const limit = share(wanted - found, lanes.length)
      const [time, id] = priority === from.priority ? [from.runAfter, from.id] : [-1, -1]
      const part = merged(
        lanes.map(head => lane.all(head.id, priority, time, id, now, limit) as Key[]),
        limit,
        byOrder,
      )
      parts.push({keys: part.keys, end: part.end ?? {priority, runAfter: LAST, id: LAST}})
      if (part.end) break
      found += part.keys.length
      for (const head of lanes) head.priority = this.#nextPriority(head.id, priority)
    }
    const isAll = heads.every(({priority}) => priority === undefined)
    const strays = funcs.map(
      ({id}) =>
        this.#link
          .sql(
            `${SELECT_KEY} AND grabbed_until BETWEEN 1 AND ? AND run_after <= ? AND (-priority, run_after, id) > (?, ?, ?)
           ORDER BY priority DESC, run_after, id LIMIT ?`,
          )
          .all(id, now, now, -from.priority, from.runAfter, from.id, wanted) as Key[],
    )
    const inLanes = {keys: parts.flatMap(({keys}) => keys), end: isAll ? null : (parts.at(-1)?.end ?? null)}
    return joined([inLanes, merged(strays, wanted, byOrder)], byOrder)
  }

  /** All lanes together: the order is that of the clock. */
  #delayedKeys(funcs: readonly Func[], after: Key | null, wanted: number, now: number): Keys {
    const from = after ?? {id: -1, priority: LAST, runAfter: -1}
    const lane = this.#link.sql(
      `${SELECT_KEY} AND grabbed_until = 0 AND priority = ? AND (run_after, id) > (?, ?) AND run_after > ?
       ORDER BY run_after, id LIMIT ?`,
    )
    const lanes = funcs.flatMap(({id}) => this.priorities(id).map(priority => ({id, priority})))
    const limit = share(wanted, lanes.length)
    // At the key's own time, lanes of a higher priority have been passed and those of a lower one are still to come
    const behind = (priority: number) =>
      priority === from.priority ? from.id : priority > from.priority ? LAST : -1
    const parts = lanes.map(
      ({id, priority}) => lane.all(id, priority, from.runAfter, behind(priority), now, limit) as Key[],
    )
    const strays = funcs.map(
      ({id}) =>
        this.#link
          .sql(
            `${SELECT_KEY} AND grabbed_until BETWEEN 1 AND ? AND run_after > ? AND (run_after, -priority, id) > (?, ?, ?)
           ORDER BY run_after, priority DESC, id LIMIT ?`,
          )
          .all(id, now, now, from.runAfter, -from.priority, from.id, wanted) as Key[],
    )
    return joined([merged(parts, limit, byTime), merged(strays, wanted, byTime)], byTime)
  }

  /** The priorities at which a function has jobs that no one holds, highest first: one seek each. */
  priorities(funcId: number): number[] {
    const priorities: number[] = []
    for (let below = LAST; ; below = priorities.at(-1)!) {
      const priority = this.#nextPriority(funcId, below)
      if (priority === undefined) return priorities
      priorities.push(priority)
    }
  }

  #nextPriority(funcId: number, below: number): number | undefined {
    const sql = `SELECT priority FROM job WHERE func_id = ? AND grabbed_until = 0 AND priority < ?
      ORDER BY priority DESC LIMIT 1`
    return this.#link.pluck(sql).get(funcId, below) as number | undefined
  }
}
