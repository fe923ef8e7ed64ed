/**
 * Turns on MySQL: what has ended, and the next jobs, in one transaction and one round trip where jobs are ready. Only
 * where that comes back with less than was wanted does a second one look for why: a delayed lane that hides others, a
 * lease that ran out, a lane that others are at.
 *
 * Where a power cut may take back the last turns (durable: false), a turn is told as soon as its statements are done:
 * its COMMIT waits for the disk while the next turn is under way on another connection, and they share an fsync. Till
 * then its rows are locked, so no one else gets a job of it, and what the next turn settles waits for it. In a cluster
 * another node may still refuse a COMMIT: there it is always waited for.
 */
import {StoreError} from '../../jobs/errors.ts'
import {type JobRow, type Lease, MAX_ID, type Settlement} from '../../jobs/job.ts'
import {LeaseClock} from '../shared/lease-clock.ts'
import type {Peek, SettleResult, Turn, Want} from '../store.ts'
import {call, heldOf, isAnswered, isPlain, isPlainEnd} from './call.ts'
import {batchSize, taken, takes} from './claim.ts'
import {type Link, textOf} from './connection.ts'
import type {Links} from './connections.ts'
import {ERRNO, hasErrno} from './errors.ts'
import {type Head, MysqlLanes, type Skipped} from './lanes.ts'
import {type Look, look} from './peek.ts'
import {countDeaths, Settling} from './settle.ts'
import {Doubts} from './unconfirmed-commits.ts'

/** How many leases that ran out are put back in one transaction. */
const EXPIRE_BATCH = 500
/** How often a turn looks again, in vain, for why it got less than it wanted. */
const MOST_LOOKS = 50

const BEGIN = ['START TRANSACTION', 'SET @now = UNIX_TIMESTAMP()']

/** A settlement, and its place among all. */
type Entry = readonly [index: number, settlement: Settlement]

/** What one transaction has done, and when. */
interface Taken {
  settled: SettleResult[]
  jobs: JobRow[]
  now: number
}

export interface TurnsOptions {
  /** As a message may name the database. */
  name: string
  /** Wait for the server's disk. */
  durable: boolean
  /** Called where a turn is to be called soon. */
  onDoubt: () => void
}

export class Turns {
  readonly #links: Links
  readonly #options: TurnsOptions
  readonly #lanes = new MysqlLanes()
  readonly #doubts = new Doubts()
  readonly #leaseClock = new LeaseClock()

  constructor(links: Links, options: TurnsOptions) {
    this.#links = links
    this.#options = options
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    await this.#mend()
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
          ...jumped(look),
        }
    }
    const first = await this.#settleAndTake(settlements, want)
    const {jobs, now} = first
    const settled = await this.#told(settlements, first.settled, now)
    const turn: Turn = {settled, buried: [], jobs, nextDueIn: null, now}
    // What has been committed must be told, whatever happens to the search for more
    if (jobs.length < want.limit)
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
    await this.#mend()
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

  /** What is under way must have ended, or it would be seen as it was. */
  async #look(want: Want, skipped?: Skipped): Promise<Look> {
    await this.#links.quiet()
    return this.#links.read(link => look(this.#lanes, link, want, skipped, this.#leaseClock))
  }

  /** One transaction: the ends, and a first batch of jobs. */
  async #settleAndTake(
    settlements: readonly Settlement[],
    want: Want,
    skipped: Skipped = new Map(),
  ): Promise<Taken> {
    const work = async (link: Link) => {
      const {taken, committed} = await this.#transact(link, settlements, want, skipped)
      if (this.#options.durable || link.isCluster) await committed
      else this.#doubts.await(settlements, taken.jobs, committed, this.#options.onDoubt)
      return taken
    }
    try {
      return await this.#links.write(async link => {
        checkVersion(link, this.#options.name)
        try {
          return await work(link)
        } catch (error) {
          if (!link.hasProcedure || !isNoProcedure(error)) throw error
          link.hasProcedure = false // it is gone, or may not be called any more: then by statements
          await link.run('ROLLBACK')
          return await work(link)
        }
      })
    } catch (error) {
      const isUnanswered =
        error instanceof StoreError && (error.code === 'UNREACHABLE' || error.code === 'CANCELLED')
      if (isUnanswered) this.#doubts.unanswered(settlements)
      throw error
    }
  }

  async #transact(link: Link, settlements: readonly Settlement[], want: Want, skipped: Skipped) {
    const entries = [...settlements.entries()]
    const isCall = link.hasProcedure && skipped.size === 0 && isPlain(this.#lanes, want)
    if (isCall) return this.#call(link, entries, want)
    const settling = new Settling(link, BEGIN)
    await settling.settle(entries)
    const count = want.limit === 0 ? 0 : batchSize(this.#lanes, want, want.limit)
    const statements = count === 0 ? [] : takes(this.#lanes, link, want, count, skipped)
    const {replies, committed} = await settling.commit(['SELECT @now AS now', ...statements])
    const now = Number(replies[0]!.rows[0]!.now)
    return {taken: {settled: settling.results, jobs: taken(this.#lanes, replies), now}, committed}
  }

  /** Mostly the call is all there is to do, and the whole transaction. */
  async #call(link: Link, entries: readonly Entry[], want: Want) {
    const others = entries.filter(([, settlement]) => !isPlainEnd(settlement))
    const plain = others.length === 0 ? entries : entries.filter(([, settlement]) => isPlainEnd(settlement))
    const isWhole = others.length === 0
    const ends = plain.map(([, settlement]) => settlement)
    const statement = call(this.#lanes, ends, want, isWhole)
    const settling = new Settling(link, BEGIN)
    await settling.settle(others)
    const {replies, committed} = isWhole
      ? await link.batchThenCommit([statement], isAnswered)
      : await settling.commit([statement])
    const settled = settling.results
    for (const [i, held] of heldOf(this.#lanes, ends, replies).entries()) settled[plain[i]![0]] = held
    const now = Number(replies[0]!.rows[0]!.now)
    return {taken: {settled, jobs: taken(this.#lanes, replies), now}, committed}
  }

  /**
   * What is to be said of settlements whose lease did not hold. It may be that the turn that took the job was lost
   * meanwhile; then they are settled again.
   */
  async #told(
    settlements: readonly Settlement[],
    settled: SettleResult[],
    now: number,
  ): Promise<SettleResult[]> {
    const told = settled.map((result, i) => this.#doubts.answered(settlements[i]!, result, now))
    const again = [...settlements.entries()].filter(
      ([i, {lease}]) => !told[i]!.held && this.#doubts.isTaken(lease),
    )
    if (again.length === 0) return told
    await this.#links.quiet()
    if (!this.#doubts.hasFailed) return told
    await this.#mend()
    const none = {funcs: [], limit: 0, lease: 0}
    const second = await this.#settleAndTake(
      again.map(([, settlement]) => settlement),
      none,
    )
    for (const [i, [index]] of again.entries()) told[index] = second.settled[i]!
    return told
  }

  /** Writes again what was told and then lost. */
  async #mend(): Promise<void> {
    if (!this.#doubts.hasFailed) return
    await this.#links.quiet()
    const done = await this.#links.write(async link => {
      const settling = new Settling(link, BEGIN)
      const done = await this.#doubts.mend(settling)
      await settling.send(['COMMIT'])
      return done
    })
    done()
  }

  /** The rest of a turn that has got less than it wanted, or why there is no more. Each batch is a transaction. */
  async #takeMore(turn: Turn, want: Want): Promise<void> {
    const skipped: Skipped = new Map()
    let tried: Head | null = null
    for (let vain = 0; vain < MOST_LOOKS; vain++) {
      const look = await this.#look(want, skipped)
      const {best} = look
      Object.assign(turn, {now: look.now}, jumped(look))
      if (look.ended.length > 0) {
        turn.buried.push(...(await this.#releaseEnded(look)))
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
      const more = await this.#settleAndTake([], rest, skipped)
      turn.jobs.push(...more.jobs)
      turn.now = more.now
      if (turn.jobs.length === want.limit) return
      tried = more.jobs.length === 0 ? best : null
      if (more.jobs.length > 0) vain = 0
    }
    turn.nextDueIn = 0
  }

  /** Puts jobs whose lease ran out back into their lanes: their worker is gone, and its machine may be. */
  #releaseEnded({ended: funcIds, leaseTime}: Look): Promise<Turn['buried']> {
    return this.#links.write(async link => {
      const [, , gone, ...ended] = await link.batch([
        ...BEGIN,
        // Deaths of jobs that have ended otherwise: nobody asks for them, but they must not pile up
        `SELECT DISTINCT job_id FROM jobq_death LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${EXPIRE_BATCH}`,
        ...funcIds.map(
          id => `SELECT id, func_id, ${link.keys.select('uniqkey')} AS uniqkey, priority FROM job FORCE INDEX (jobq_lane)
            WHERE func_id = ${id} AND grabbed_until BETWEEN 1 AND ${leaseTime} AND id <= ${MAX_ID}
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
function nextDueIn({now, leaseTime, best, dueAt, nextEnd}: Look): number | null {
  if (best) return 0
  const next = Math.min((dueAt ?? Infinity) - now, (nextEnd ?? Infinity) - leaseTime)
  return next === Infinity ? null : Math.max(0, next)
}

function jumped({now, leaseTime}: Look): Pick<Turn, 'jumped'> {
  return now === leaseTime ? {} : {jumped: now - leaseTime}
}

function checkVersion({tooOld}: Link, name: string): void {
  if (tooOld !== '')
    throw new StoreError('DATABASE', `${name}: ${tooOld}`, {hint: 'jobq needs SELECT … SKIP LOCKED'})
}

function isNoProcedure(error: unknown): boolean {
  return hasErrno(error, ERRNO.notThere) || hasErrno(error, ERRNO.notExecutable)
}
