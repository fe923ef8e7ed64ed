/**
 * Turns on MySQL: what has ended, and the next jobs, in one transaction and one round trip where jobs are ready. Only
 * where that comes back with less than was wanted does a second one look for why: a delayed lane that hides others, a
 * lease that ran out, a lane that others are at.
 */
import {StoreError} from '../errors.ts'
import type {Lease, Settlement} from '../job.ts'
import {type Head, MysqlLanes, type Skipped} from './mysql-lanes.ts'
import {textOf} from './mysql-link.ts'
import type {Links} from './mysql-links.ts'
import {type Look, look} from './mysql-look.ts'
import {countDeaths, Settling} from './mysql-settle.ts'
import {batchSize, taken, takes} from './mysql-take.ts'
import type {Peek, SettleResult, Turn, Want} from './store.ts'

/** How many leases that ran out are put back in one transaction. */
const EXPIRE_BATCH = 500
/** How often a turn looks again, in vain, for why it got less than it wanted. */
const MOST_LOOKS = 50

const BEGIN = ['START TRANSACTION', 'SET @now = UNIX_TIMESTAMP()']

export class Turns {
  readonly #links: Links
  readonly #name: string
  readonly #lanes = new MysqlLanes()

  constructor(links: Links, name: string) {
    this.#links = links
    this.#name = name
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    if (settlements.length === 0) {
      // An idle dispatcher that looks takes no lock and begins no transaction
      const look = await this.#look(want)
      if (want.limit === 0 || nextDueIn(look) !== 0)
        return {
          settled: [],
          buried: [],
          jobs: [],
          nextDueIn: want.limit === 0 ? null : nextDueIn(look),
          now: look.now,
        }
    }
    const {settled, ...first} = await this.#takeAndSettle(settlements, want)
    const turn: Turn = {settled, buried: [], jobs: first.jobs, nextDueIn: null, now: first.now ?? 0}
    // What has been committed must be told, whatever happens to the search for more
    if (first.jobs.length < want.limit)
      await this.#takeMore(turn, want).catch(() => {
        turn.nextDueIn = 0
      })
    return turn
  }

  async peek(want: Want): Promise<Peek> {
    const look = await this.#look(want)
    const {best, now} = look
    return {
      head: best && {priority: best.priority, dueFor: now - best.runAfter},
      nextDueIn: nextDueIn(look),
    }
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    if (leases.length === 0) return []
    return this.#links.write(async link => {
      const replies = await link.batch([
        ...BEGIN,
        ...leases.map(
          ({id, grabbedUntil}) =>
            `UPDATE job SET grabbed_until = @now + ${seconds} WHERE id = ${id} AND grabbed_until = ${grabbedUntil}`,
        ),
        'SELECT @now AS now',
        'COMMIT',
      ])
      const until = Number(replies.at(-2)!.rows[0]!.now) + seconds
      return leases.flatMap(({id}, i) =>
        replies[BEGIN.length + i]!.matched === 1 ? [{id, grabbedUntil: until}] : [],
      )
    })
  }

  #look(want: Want, skipped?: Skipped): Promise<Look> {
    return this.#links.read(link => look(this.#lanes, link, want, skipped))
  }

  /** One transaction: the ends, and a first batch of jobs. */
  #takeAndSettle(settlements: readonly Settlement[], want: Want, skipped: Skipped = new Map()) {
    return this.#links.write(async link => {
      if (link.tooOld !== '')
        throw new StoreError('DATABASE', `${this.#name}: ${link.tooOld}`, {
          hint: 'jobq needs SELECT … SKIP LOCKED',
        })
      const settling = new Settling(link, BEGIN)
      await settling.settle(settlements)
      const count = want.limit === 0 ? 0 : batchSize(this.#lanes, want, want.limit)
      const statements = count === 0 ? ['SELECT @now AS now'] : takes(this.#lanes, link, want, count, skipped)
      const replies = await settling.send([...statements, 'COMMIT'])
      const settled: SettleResult[] = settling.results
      if (count === 0) return {settled, jobs: [], now: Number(replies[0]!.rows[0]!.now)}
      return {settled, ...taken(this.#lanes, replies)}
    })
  }

  /** The rest of a turn that has got less than it wanted, or why there is no more. Each batch is a transaction. */
  async #takeMore(turn: Turn, want: Want): Promise<void> {
    const skipped: Skipped = new Map()
    let tried: Head | null = null
    for (let vain = 0; vain < MOST_LOOKS; vain++) {
      const look = await this.#look(want, skipped)
      const {best} = look
      turn.now = look.now
      if (look.ended.length > 0) {
        turn.buried.push(...(await this.#releaseEnded(look.ended)))
        continue
      }
      if (!best) {
        turn.nextDueIn = skipped.size > 0 ? 0 : nextDueIn(look)
        return
      }
      if (want.held?.has(this.#lanes.nameOf(best.funcId))) return
      if (tried?.funcId === best.funcId && tried.priority === best.priority) {
        skipped.set(best.funcId, (skipped.get(best.funcId) ?? new Set()).add(best.priority))
        tried = null
        continue
      }
      const rest = {...want, limit: want.limit - turn.jobs.length}
      const more = await this.#takeAndSettle([], rest, skipped)
      turn.jobs.push(...more.jobs)
      turn.now = more.now ?? look.now
      if (turn.jobs.length === want.limit) return
      tried = more.jobs.length === 0 ? best : null
      if (more.jobs.length > 0) vain = 0
    }
    turn.nextDueIn = 0
  }

  /** Puts jobs whose lease ran out back into their lanes: their worker is gone, and its machine may be. */
  #releaseEnded(funcIds: readonly number[]): Promise<Turn['buried']> {
    return this.#links.write(async link => {
      const [, , gone, ...ended] = await link.batch([
        ...BEGIN,
        // Deaths of jobs that have ended otherwise: nobody asks for them, but they must not pile up
        `SELECT DISTINCT job_id FROM jobq_death LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${EXPIRE_BATCH}`,
        ...funcIds.map(
          id => `SELECT id, func_id, uniqkey, priority FROM job FORCE INDEX (jobq_lane)
            WHERE func_id = ${id} AND grabbed_until BETWEEN 1 AND @now
            ORDER BY grabbed_until LIMIT ${EXPIRE_BATCH} FOR UPDATE SKIP LOCKED`,
        ),
      ])
      const rows = ended.flatMap(({rows}) => rows)
      const how = 'its lease ran out (its dispatcher or machine is gone)'
      const failed = await countDeaths(
        link,
        rows.map(({id}) => ({id: Number(id), how})),
      )
      const sweep = gone!.rows.map(({job_id}) => Number(job_id))
      await link.batch([
        ...(sweep.length > 0 ? [`DELETE FROM jobq_death WHERE job_id IN (${sweep})`] : []),
        'COMMIT',
      ])
      return rows.flatMap(({id, func_id, uniqkey, priority}) => {
        const message = failed.get(Number(id))
        if (message === undefined) return []
        const func = this.#lanes.nameOf(Number(func_id))
        const key = uniqkey === null ? null : textOf(uniqkey)
        return [{id: Number(id), func, uniqkey: key, priority: Number(priority), message}]
      })
    })
  }
}

/** 0: something can be done now. Null: nothing waits. */
function nextDueIn({now, best, dueAt, nextEnd}: Look): number | null {
  if (best) return 0
  const next = Math.min(dueAt ?? Infinity, nextEnd ?? Infinity)
  return next === Infinity ? null : Math.max(0, next - now)
}
