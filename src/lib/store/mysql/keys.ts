/**
 * Waiting jobs by their keys on MySQL, in the order of a listing, by the index jobq_lane.
 *
 * Lane by lane that is a statement each. Where there are so many lanes that these would take long, one statement reads the
 * index from end to end and sorts. (a, b) > (x, y) is written out: MySQL seeks by `a > x OR (a = x AND b > y)`, not by
 * the pair.
 */
import type {JobState} from '../../jobs/job.ts'
import {
  type Ask,
  answeredLater,
  delayedOf,
  FIRST,
  type JobPlace,
  type Key,
  type Keys,
  LAST,
  type Lane,
  ORDERS,
  readyOf,
  type Spot,
  wantedAt,
  withKeys,
} from '../shared/keys.ts'
import type {Link} from './connection.ts'

/** Ids that JavaScript can't hold are none that it could find again. */
const HAS_ID = `id <= ${LAST}`
const FROM = 'FROM job FORCE INDEX (jobq_lane)'
const SELECT_KEY = `SELECT id, priority, run_after AS runAfter ${FROM} WHERE ${HAS_ID} AND`
/** From so many lanes on, each asked by itself would take longer than to sort what waits (30 µs a statement, 1 µs a row). */
const MANY_LANES = 1000
/** How many keys are then read at once. */
const SORTED_KEYS = 100_000

/** DISTINCT would read the index from end to end. */
const NEXT_FUNC = [`SELECT MIN(func_id) INTO @func ${FROM} WHERE func_id > @func`, 'SELECT @func AS id']
const FUNCS_TOGETHER = 50

export class MysqlKeys {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  /** Keys are read until there are some, or no more of this state. @param func of which function; undefined: of all */
  async readAhead(place: JobPlace, func: string | undefined): Promise<JobPlace> {
    let here = place
    if (here.ids.length > 0 || !here.hasMore) return here
    const funcs = await this.#withJobs(func)
    while (here.ids.length === 0 && here.hasMore) here = await this.#read(here, funcs)
    return here
  }

  async #read(place: JobPlace, funcs: readonly number[]): Promise<JobPlace> {
    const {state, now} = place
    const aside = place.aside ?? (await this.#besideLanes(funcs, state, now))
    if (state === 'running' || funcs.length === 0) return withKeys(place, {keys: [], end: null}, aside)
    const lanes = await this.#lanes(funcs)
    return withKeys(place, await (lanes ? this.#byLanes(place, lanes) : this.#sorted(place, funcs)), aside)
  }

  #byLanes(place: JobPlace, lanes: readonly Lane[]): Promise<Keys> {
    const {state, after, now} = place
    const wanted = wantedAt(place, lanes.length)
    const due = `run_after ${state === 'ready' ? '<=' : '>'} ${now}`
    const asking = state === 'ready' ? readyOf(lanes, after, wanted) : delayedOf(lanes, after, wanted)
    return answeredLater(asking, ({lanes, limit}: Ask) =>
      this.#keysOf(
        lanes.map(
          ({lane: {funcId, priority}, behind}) => `${SELECT_KEY} func_id = ${funcId} AND grabbed_until = 0
            AND priority = ${priority} AND ${behindSpot(behind)} AND ${due} ORDER BY run_after, id LIMIT ${limit}`,
        ),
      ),
    )
  }

  async #sorted(place: JobPlace, funcs: readonly number[]): Promise<Keys> {
    const {state, after, now} = place
    const wanted = Math.min(SORTED_KEYS, place.skip + place.left)
    const [columns, due] =
      state === 'ready' ? ['priority DESC, run_after, id', '<='] : ['run_after, priority DESC, id', '>']
    const [keys = []] = await this.#keysOf([
      `${SELECT_KEY} func_id IN (${funcs}) AND grabbed_until = 0 AND run_after ${due} ${now}
       ${after ? `AND ${behindKey(after, state)}` : ''} ORDER BY ${columns} LIMIT ${wanted}`,
    ])
    return {keys, end: keys.length === wanted ? (keys.at(-1) ?? null) : null}
  }

  /** What someone works, or leases that ran out: these lie outside the lanes. */
  async #besideLanes(funcs: readonly number[], state: JobState, now: number): Promise<Key[]> {
    const condition =
      state === 'running'
        ? `grabbed_until > ${now}`
        : `grabbed_until > 0 AND grabbed_until <= ${now} AND run_after ${state === 'ready' ? '<=' : '>'} ${now}`
    const parts = await this.#keysOf(funcs.map(id => `${SELECT_KEY} func_id = ${id} AND ${condition}`))
    return parts.flat().sort(ORDERS[state])
  }

  /** One seek for each. Null: there are too many. */
  async #lanes(funcs: readonly number[]): Promise<Lane[] | null> {
    const lanes: Lane[] = []
    let open = funcs.map((funcId): {funcId: number; below: number | null} => ({funcId, below: null}))
    while (open.length > 0) {
      const statements = open.map(({funcId, below}) => {
        const less = below === null ? '' : `AND priority < ${below}`
        return `SELECT priority ${FROM} WHERE func_id = ${funcId} AND grabbed_until = 0 ${less} ORDER BY priority DESC LIMIT 1`
      })
      const replies = await this.#batches(statements)
      open = open.flatMap(({funcId}, i) => {
        const row = replies[i]!.rows[0]
        return row ? [{funcId, below: Number(row.priority)}] : []
      })
      for (const {funcId, below} of open) lanes.push({funcId, priority: below!})
      if (lanes.length > MANY_LANES) return null
    }
    return lanes
  }

  async #keysOf(statements: readonly string[]): Promise<Key[][]> {
    return (await this.#batches(statements)).map(({rows}) =>
      rows.map(({id, priority, runAfter}) => ({
        id: Number(id),
        priority: Number(priority),
        runAfter: Number(runAfter),
      })),
    )
  }

  /** A packet holds only so much. */
  async #batches(statements: readonly string[]) {
    const replies = []
    for (let at = 0; at < statements.length; at += MANY_LANES)
      replies.push(...(await this.#link.batch(statements.slice(at, at + MANY_LANES))))
    return replies
  }

  /** The functions that have jobs, those that have no row of their own among them. */
  async #withJobs(only: string | undefined): Promise<number[]> {
    if (only === undefined) return this.#idsWithJobs()
    const {names} = this.#link
    const {rows} = await this.#link.run(`SELECT id FROM func WHERE name = ${names.literal(only)}`)
    if (rows.length > 0) return rows.map(({id}) => Number(id))
    return (await this.#idsWithJobs()).filter(id => only === `#${id}`)
  }

  /** One seek each, many in a round trip: each begins where the last has ended. */
  async #idsWithJobs(): Promise<number[]> {
    const ids: number[] = []
    for (;;) {
      const replies = await this.#link.batch([
        `SET @func = ${ids.at(-1) ?? -1}`,
        ...Array.from({length: FUNCS_TOGETHER}, () => NEXT_FUNC).flat(),
      ])
      const found = replies.flatMap(({rows}) => rows.flatMap(({id}) => (id === null ? [] : Number(id))))
      for (const id of found) ids.push(id)
      if (found.length < FUNCS_TOGETHER) return ids
    }
  }
}

function behindSpot({runAfter, id}: Spot): string {
  if (runAfter === FIRST) return 'TRUE'
  if (id === LAST) return `run_after > ${runAfter}`
  return `(run_after > ${runAfter} OR (run_after = ${runAfter} AND id > ${id}))`
}

function behindKey({id, priority, runAfter}: Key, state: JobState): string {
  const inLane = behindSpot({runAfter, id})
  return state === 'ready'
    ? `(priority < ${priority} OR (priority = ${priority} AND ${inLane}))`
    : `(run_after > ${runAfter} OR (run_after = ${runAfter} AND (priority < ${priority}
        OR (priority = ${priority} AND id > ${id}))))`
}
