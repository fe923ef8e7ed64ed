/**
 * Waiting jobs by their keys on SQLite, in the order of a listing: seeks in the index jobq_lane, lane by lane.
 *
 * A column holds whatever is written into it, by other programs too. Lanes are of whole numbers and fractions that JavaScript
 * can hold. Beside them lie leases that ran out and that no grab has put back yet, and rows with anything else in them:
 * they are listed by numbers that stand for it.
 */
import type {JobState} from '../../jobs/job.ts'
import {
  type Ask,
  answered,
  byId,
  delayedOf,
  FIRST,
  type JobPlace,
  type Key,
  LAST,
  type Lane,
  ORDERS,
  readyOf,
  wantedAt,
  withKeys,
} from '../shared/keys.ts'
import type {SqliteLink} from './connection.ts'

/** Ids that JavaScript can't hold are none that it could find again. */
const SELECT_KEY = `SELECT id, priority, run_after AS runAfter FROM job WHERE id <= ${LAST} AND func_id = +?`
const LANE = 'grabbed_until = 0 AND priority = +?'
/** Of what nobody works, what is in no lane, whichever time it is due. One `?` is now. */
const BESIDE_LANES = [
  'grabbed_until < 0',
  'grabbed_until > 0 AND grabbed_until <= +?',
  `grabbed_until = 0 AND priority > ${LAST}`,
  `grabbed_until = 0 AND priority < ${FIRST}`,
]

export interface Func {
  id: number
  name: string
}

export class SqliteKeys {
  readonly #link: SqliteLink

  constructor(link: SqliteLink) {
    this.#link = link
  }

  /** Keys are read until there are some, or no more of this state. */
  readAhead(place: JobPlace, funcs: readonly Func[]): JobPlace {
    let here = place
    while (here.ids.length === 0 && here.hasMore) here = this.#read(here, funcs)
    return here
  }

  #read(place: JobPlace, funcs: readonly Func[]): JobPlace {
    const {now, state, after} = place
    if (state === 'running') return withKeys(place, {keys: [], end: null}, this.#runningKeys(funcs, now))
    const lanes = funcs.flatMap(({id}) => this.priorities(id).map(priority => ({funcId: id, priority})))
    const wanted = wantedAt(place, lanes.length)
    const inLanes =
      state === 'ready'
        ? answered(readyOf(lanes, after, wanted), ask => this.#inLanes(ask, '<=', now))
        : answered(delayedOf(lanes, after, wanted), ask => this.#inLanes(ask, '>', now))
    return withKeys(place, inLanes, place.aside ?? this.#besideLanes(funcs, lanes, state, now))
  }

  #runningKeys(funcs: readonly Func[], now: number): Key[] {
    const running = this.#link.sql(`${SELECT_KEY} AND grabbed_until > ?`)
    return funcs
      .flatMap(({id}) => running.all(id, now) as Key[])
      .map(asNumbers)
      .sort(byId)
  }

  #inLanes({lanes, limit}: Ask, due: '<=' | '>', now: number): Key[][] {
    const lane = this.#link.sql(
      `${SELECT_KEY} AND ${LANE} AND (run_after, id) > (+?, +?) AND run_after ${due} +? AND run_after <= ${LAST}
       ORDER BY run_after, id LIMIT +?`,
    )
    return lanes.map(
      ({lane: {funcId, priority}, behind: {runAfter, id}}) =>
        lane.all(funcId, priority, runAfter, id, now, limit) as Key[],
    )
  }

  #besideLanes(funcs: readonly Func[], lanes: readonly Lane[], state: JobState, now: number): readonly Key[] {
    const due = state === 'ready' ? 'run_after <= +?' : 'run_after > +?'
    const keys: Key[] = []
    for (const condition of BESIDE_LANES) {
      const found = this.#link.sql(`${SELECT_KEY} AND ${condition} AND ${due}`)
      const values = condition.includes('?') ? [now, now] : [now]
      for (const {id} of funcs) for (const key of found.all(id, ...values) as Key[]) keys.push(key)
    }
    const never = state === 'ready' ? `run_after < ${FIRST}` : `run_after > ${LAST}`
    const odd = this.#link.sql(`${SELECT_KEY} AND ${LANE} AND ${never}`)
    for (const {funcId, priority} of lanes)
      for (const key of odd.all(funcId, priority) as Key[]) keys.push(key)
    return keys.map(asNumbers).sort(ORDERS[state])
  }

  /** The priorities at which a function has jobs that no one holds, highest first: one seek each. */
  priorities(funcId: number): number[] {
    const sql = `SELECT priority FROM job WHERE func_id = +? AND grabbed_until = 0 AND priority < +? AND priority >= ${FIRST}
      ORDER BY priority DESC LIMIT 1`
    const next = this.#link.pluck(sql)
    const priorities: number[] = []
    for (let below = LAST + 1; ; below = priorities.at(-1)!) {
      const priority = next.get(funcId, below) as number | undefined
      if (priority === undefined) return priorities
      priorities.push(priority)
    }
  }

  /** How many of a function are ready or delayed that are in no lane, and since when the first of them is due. */
  countBeside(funcId: number, now: number): {ready: number; delayed: number; oldest: number | null} {
    const total = {ready: 0, delayed: 0, oldest: null as number | null}
    for (const condition of BESIDE_LANES) {
      const count = this.#link.raw(
        `SELECT count(*), count(*) FILTER (WHERE run_after <= ?), min(run_after) FILTER (WHERE run_after <= ?) FROM job
         WHERE func_id = ? AND ${condition}`,
      )
      const values = condition.includes('?') ? [now, now, funcId, now] : [now, now, funcId]
      const [all, ready, oldest] = count.get(...values) as [number, number, number | null]
      total.ready += ready
      total.delayed += all - ready
      if (oldest !== null && (total.oldest === null || oldest < total.oldest)) total.oldest = oldest
    }
    return total
  }
}

/** Text comes behind every number, as in the index, and so does what JavaScript can't hold. */
function asNumbers({id, priority, runAfter}: Key): Key {
  return {id, priority: held(priority), runAfter: held(runAfter)}
}

function held(value: unknown): number {
  return typeof value === 'number' ? Math.max(FIRST, Math.min(LAST, value)) : LAST
}
