/**
 * A dispatcher's turns on MySQL: what has ended, and the next jobs, in one transaction and one round trip. Mostly that
 * is one call of a procedure; other ends than completed have one of their own, and go with it.
 */
import {StoreError} from '../../jobs/errors.ts'
import type {Lease, Settlement} from '../../jobs/job.ts'
import {LeaseClock} from '../shared/lease-clock.ts'
import {Unanswered, UnansweredRenewals} from '../shared/unanswered.ts'
import type {Peek, SettleResult, Turn, Want} from '../store.ts'
import {type Answer, answerOf, callOf, isAnswered, isDone} from './call.ts'
import {type MysqlConnection, type Reply, textOf, textOrNull} from './connections/connection.ts'
import type {MysqlConnections} from './connections/connections.ts'
import {Funcs} from './funcs.ts'
import {endCall, replace, resultOf} from './settle.ts'
import {keepResults} from './side-tables/results.ts'
import {Doubts} from './unconfirmed-commits.ts'

/** How often a turn asks again that has got less than it wanted. */
const MOST_CALLS = 50

const BEGIN = ['START TRANSACTION', 'SET @now = UNIX_TIMESTAMP()']

const NOTHING: Want = {funcs: [], limit: 0, lease: 0}

export interface TurnsOptions {
  /** As a message may name the database. */
  name: string
  /**
   * Wait for the server's disk. If not, a turn is told as soon as its statements are done, and its COMMIT waits while
   * the next turn is under way on another connection. Till then its rows are locked: no one else gets a job of it, and
   * what the next turn settles waits for it. In a cluster another node may still refuse a COMMIT: there it is always
   * waited for; and where it has freed what waited for others, since that one sees how they have ended.
   */
  durable: boolean
  /** Called where a turn is to be called soon. */
  onDoubt: () => void
}

export class Turns {
  readonly #links: MysqlConnections
  readonly #options: TurnsOptions
  readonly #funcs = new Funcs()
  readonly #doubts = new Doubts()
  readonly #unanswered = new Unanswered()
  readonly #renewals = new UnansweredRenewals()
  readonly #leaseClock = new LeaseClock()

  constructor(links: MysqlConnections, options: TurnsOptions) {
    this.#links = links
    this.#options = options
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    await this.#mend()
    const isAlone = !this.#links.isCommitting
    const answer = await this.#settleAndTake(settlements, want)
    const {jobs, now} = answer
    const settled = await this.#told(settlements, answer.settled, now)
    const turn: Turn = {settled, buried: [], jobs, nextDueIn: null, now}
    // What has been committed must be told, whatever happens to the search for more
    await this.#takeMore(turn, want, answer, isAlone).catch(() => {
      turn.nextDueIn = 0
    })
    return turn
  }

  async peek(want: Want): Promise<Peek> {
    const one = {...want, limit: 1}
    await this.#links.quiet()
    const {now, head, ...answer} = await this.#links.read(link =>
      peek(link, this.#funcs, one, this.#leaseClock),
    )
    const next = this.#nextDueIn({now, ...answer})
    return {head: head && {priority: head.priority, dueFor: now - head.runAfter}, nextDueIn: head ? 0 : next}
  }

  async renew(leases: readonly Lease[], seconds: number): Promise<Lease[]> {
    if (leases.length === 0) return []
    await this.#mend()
    return this.#renewals.renew(leases, mayBeDone => this.#renew(leases, seconds, mayBeDone))
  }

  #renew(leases: readonly Lease[], seconds: number, mayBeDone: (lease: Lease) => boolean): Promise<Lease[]> {
    return this.#links.write(async link => {
      const replies = await link.batch([
        ...BEGIN,
        ...leases.map(lease => {
          const {id, grabbedUntil: mine} = lease
          const isMine = mayBeDone(lease)
            ? `(grabbed_until = ${mine} OR (${mine} > @now AND grabbed_until > ${mine}))`
            : `grabbed_until = ${mine}`
          return `UPDATE job SET grabbed_until = @now + ${seconds} WHERE id = ${id} AND ${isMine}`
        }),
        'SELECT @now AS now',
        'COMMIT',
      ])
      const until = Number(replies.at(-2)!.rows[0]!.now) + seconds
      return leases.flatMap(({id}, i) =>
        replies[BEGIN.length + i]!.matched === 1 ? [{id, grabbedUntil: until}] : [],
      )
    })
  }

  /** One transaction: the ends, and as many jobs as are wanted, or are there. */
  async #settleAndTake(settlements: readonly Settlement[], want: Want): Promise<Answer> {
    try {
      return await this.#links.write(async link => {
        checkVersion(link, this.#options.name)
        const {answer, committed} = await this.#transact(link, settlements, want)
        const isWaited = answer.hasFreed && answer.jobs.length > 0
        if (this.#options.durable || link.isCluster || isWaited) await committed
        else this.#doubts.await(settlements, answer.jobs, committed, this.#options.onDoubt)
        return answer
      })
    } catch (error) {
      const isUnanswered =
        error instanceof StoreError && (error.code === 'UNREACHABLE' || error.code === 'CANCELLED')
      if (isUnanswered) this.#unanswered.add(settlements)
      throw error
    }
  }

  async #transact(link: MysqlConnection, settlements: readonly Settlement[], want: Want) {
    const {latest} = this.#leaseClock
    const ends = settlements.filter(isDone)
    const others = settlements.filter(settlement => !isDone(settlement))
    const isWhole = others.length === 0
    const call = callOf(this.#funcs, {want, ends, isWhole, latest})
    const {replies, committed, results} = isWhole
      ? {...(await link.batchThenCommit([call], isAnswered)), results: []}
      : await commitEnds(link, others, [call])
    const answer = answerOf(this.#funcs, {ends}, replies[0]!)
    return {answer: {...answer, settled: merge(settlements, isDone, answer.settled, results)}, committed}
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
    const told = settled.map((result, i) => this.#unanswered.told(settlements[i]!, result, now))
    const again = [...settlements.entries()].filter(
      ([i, {lease}]) => !told[i]!.held && this.#doubts.isTaken(lease),
    )
    if (again.length === 0) return told
    await this.#links.quiet()
    if (!this.#doubts.hasFailed) return told
    await this.#mend()
    const second = await this.#settleAndTake(
      again.map(([, settlement]) => settlement),
      NOTHING,
    )
    for (const [i, [index]] of again.entries()) told[index] = second.settled[i]!
    return told
  }

  /** Writes again what was told and then lost. */
  async #mend(): Promise<void> {
    if (!this.#doubts.hasFailed) return
    await this.#links.quiet()
    await this.#doubts.mend((settlements, statements) =>
      this.#links.write(async link => (await commitEnds(link, settlements, statements)).committed),
    )
  }

  /** The rest of a turn that has got less than it wanted, or why there is no more. Each call is a transaction. */
  async #takeMore(turn: Turn, want: Want, first: Answer, wasAlone: boolean): Promise<void> {
    let [answer, isAlone] = [first, wasAlone]
    for (let calls = 1; ; calls++) {
      Object.assign(turn, {now: answer.now}, this.#jumped(answer))
      turn.buried.push(...(await this.#buried(answer)))
      if (turn.jobs.length === want.limit || answer.why === 'held') return
      if (calls === MOST_CALLS || (answer.why !== 'stale' && isAlone)) break
      if (answer.why === 'stale') await this.#links.read(link => this.#funcs.learn(link, want))
      else await this.#links.quiet() // it has seen what was under way as it had been before
      isAlone = !this.#links.isCommitting
      answer = await this.#settleAndTake([], {...want, limit: want.limit - turn.jobs.length})
      turn.jobs.push(...answer.jobs)
    }
    turn.nextDueIn = this.#nextDueIn(answer)
  }

  async #buried({buried}: Answer): Promise<Turn['buried']> {
    if (buried.length === 0) return []
    const {rows} = await this.#links.read(link =>
      link.run(`SELECT id, func_id, ${link.keys.select('uniqkey')} AS uniqkey, message FROM exception_log
        WHERE id IN (${buried.map(({exceptionId}) => exceptionId)})`),
    )
    const exceptions = new Map(rows.map(row => [Number(row.id), row]))
    return buried.flatMap(({id, priority, exceptionId}) => {
      const {func_id, uniqkey, message} = exceptions.get(exceptionId) ?? {}
      if (message === undefined) return []
      const func = this.#funcs.nameOf(Number(func_id))
      return [{id, func, uniqkey: textOrNull(uniqkey), priority, message: textOf(message)}]
    })
  }

  /** 0: something can be done now. Null: nothing waits. */
  #nextDueIn({now, why, due, leaseEnd}: Pick<Answer, 'now' | 'why' | 'due' | 'leaseEnd'>): number | null {
    if (why !== '') return 0
    const next = Math.min((due ?? Infinity) - now, (leaseEnd ?? Infinity) - this.#leaseClock.judge(now))
    return next === Infinity ? null : Math.max(0, next)
  }

  #jumped({now}: Answer): Pick<Turn, 'jumped'> {
    const by = now - this.#leaseClock.judge(now)
    return by === 0 ? {} : {jumped: by}
  }
}

const NEWEST = 'SELECT MAX(id) AS id FROM job'

/** What a turn would find, without taking it; and a text that is as before if nothing has changed that matters. */
export async function peek(
  link: MysqlConnection,
  funcs: Funcs,
  want: Want,
  leaseClock = new LeaseClock(),
  newest = NEWEST,
): Promise<Answer & {signature: string}> {
  for (let calls = 1; ; calls++) {
    const call = callOf(funcs, {want, isLook: true, latest: leaseClock.latest})
    const [known, reply] = await link.batch([newest, call])
    const answer = answerOf(funcs, {}, reply!)
    const signature = JSON.stringify([known!.rows, funcs.paused, answer.lanes, answer.leaseEnd])
    if (answer.why !== 'stale' || calls === MOST_CALLS) return {...answer, signature}
    await funcs.learn(link, want)
  }
}

/**
 * A transaction of ends that have a call each, or several statements, and of what follows.
 * @returns how they went, the answers to what follows, and a promise of the commit
 */
async function commitEnds(
  link: MysqlConnection,
  ends: readonly Settlement[],
  following: readonly string[],
): Promise<{results: SettleResult[]; replies: Reply[]; committed: Promise<void>}> {
  const calls = ends.filter(({outcome}) => outcome.kind !== 'replaced')
  const replaced: SettleResult[] = []
  if (calls.length < ends.length) await link.run('START TRANSACTION')
  for (const end of ends) if (end.outcome.kind === 'replaced') replaced.push(await replace(link, end))
  const lead = replaced.length > 0 ? 'DO 0' : 'START TRANSACTION'
  const before = [lead, ...keepResults(calls)]
  const statements = [...before, ...calls.map(endCall), ...following, 'DO 0', 'COMMIT']
  // A call has two answers: its row, and that it is done
  const count = statements.length - 1 + statements.filter(each => each.startsWith('CALL ')).length
  const {replies, committed} = await link.batchThenCommit(statements, replies => replies.length === count)
  const called = calls.map((_, i) => resultOf(replies[before.length + 2 * i]))
  const results = merge(ends, ({outcome}) => outcome.kind !== 'replaced', called, replaced)
  return {results, replies: replies.slice(before.length + 2 * calls.length), committed}
}

/** The results of those that are such and of those that are not, in the order of all. */
function merge(
  ends: readonly Settlement[],
  isSuch: (end: Settlement) => boolean,
  such: readonly SettleResult[],
  others: readonly SettleResult[],
): SettleResult[] {
  let [i, j] = [0, 0]
  return ends.map(end => (isSuch(end) ? such[i++]! : others[j++]!))
}

function checkVersion({tooOld}: MysqlConnection, name: string): void {
  if (tooOld !== '')
    throw new StoreError('DATABASE', `${name}: ${tooOld}`, {hint: 'jobq needs SELECT … SKIP LOCKED'})
}
