/**
 * A dispatcher's turn: ends and grab in one round trip, and in one statement where all that ended was completed without
 * a status. What is known of functions stays here from one turn to the next: their ids, and for fair grabs when each was
 * last served.
 */
import {type JobRow, type Lease, MAX_DEATHS, type Settlement} from '../../jobs/job.ts'
import {LeaseClock} from '../shared/lease-clock.ts'
import {Unanswered} from '../shared/unanswered.ts'
import type {Peek, SettleResult, Turn, Want} from '../store.ts'
import {bigints, booleans, integers, texts} from './arrays.ts'
import {
  NOW,
  type PostgresConnections,
  type Reply,
  type Row,
  type Statement,
  type Value,
} from './connections/connections.ts'
import {isLost} from './errors.ts'
import {areDone, leaseValues, replace, resultsOf, type Step, stepsOf} from './settle.ts'
import type {Sweeper} from './side-tables.ts'

const GRAB = {
  name: 'jobq_grab',
  text: `SELECT what, job_id AS id, job_func_id AS "funcId", job_func AS func, job_arg AS arg, job_uniqkey AS uniqkey,
    job_enqueue_time AS "enqueueTime", job_grabbed_until AS "grabbedUntil", job_run_after AS "runAfter",
    job_retry_cnt AS "retryCnt", job_priority AS priority, job_context AS context
  FROM jobq_grab_5($1, $2, $3, $4, $5, $6, $7, CASE WHEN ${NOW} > $10::BIGINT THEN 0 ELSE $8 END, $9, ${MAX_DEATHS})`,
}

type GrabRow = Omit<JobRow, 'func' | 'context'> & {what: string; func: string | null; context: string | null}

/** Raw errors: the caller explains them. */
export class PostgresTurn {
  readonly #link: PostgresConnections
  readonly #sweeper: Sweeper
  /** Of functions whose jobs were taken here: their rows are committed. */
  readonly #funcIds = new Map<string, number>()
  readonly #funcNames = new Map<number, string>()
  /** For fair grabs: when each function was last taken from, counted in jobs. */
  readonly #lastServed = new Map<string, number>()
  #served = 0
  readonly #leaseClock = new LeaseClock()
  readonly #unanswered = new Unanswered()

  constructor(link: PostgresConnections, sweeper: Sweeper) {
    this.#link = link
    this.#sweeper = sweeper
  }

  async turn(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    const turn = await this.#settleAndGrab(settlements, want).catch(error => {
      if (isLost(error)) this.#unanswered.add(settlements)
      throw error
    })
    const settled = turn.settled.map((result, i) => this.#unanswered.told(settlements[i]!, result, turn.now))
    return {...turn, settled}
  }

  async #settleAndGrab(settlements: readonly Settlement[], want: Want): Promise<Turn> {
    if (areDone(settlements)) {
      const leases = settlements.map(({lease}) => lease)
      const {rows} = await this.#link.run(...this.#grab(want, {leases, lease: want.lease}))
      const lost = new Set(rows.filter(({what}) => what === 'lost').map(({id}) => id))
      return this.#turnOf(
        settlements.map((_, i) => ({held: !lost.has(i + 1)})),
        rows,
        want,
      )
    }
    const grab = this.#grab(want, {leases: [], lease: want.lease})
    const {settled, reply} = await this.#settleAnd(stepsOf(settlements), grab)
    return this.#turnOf(settled, reply.rows, want)
  }

  async peek(want: Want): Promise<Peek> {
    const grab = this.#grab({...want, limit: 1}, {leases: [], lease: null})
    const {rows} = await this.#link.run(...grab, true)
    const {now, nextDueIn} = this.#turnOf([], rows, {...want, limit: 1})
    const head = rows.find(({what}) => what === 'head') as {priority: number; runAfter: number} | undefined
    return {head: head ? {priority: head.priority, dueFor: now - head.runAfter} : null, nextDueIn}
  }

  async #settleAnd(
    steps: readonly Step[],
    grab: [Statement, Value[]],
  ): Promise<{settled: SettleResult[]; reply: Reply}> {
    const settled: SettleResult[] = []
    if (steps.some(step => step.kind === 'replaced')) {
      const reply = await this.#link.transaction(async send => {
        settled.length = 0
        for (const step of steps) {
          if (step.kind === 'replaced') settled.push(await replace(send, step.settlement, this.#sweeper))
          else settled.push(...resultsOf(step, (await send(step.statement, step.values)).rows))
        }
        return send(...grab)
      })
      return {settled, reply}
    }
    const statements = steps.flatMap((step): [Statement, Value[]][] =>
      step.kind === 'replaced' ? [] : [[step.statement, step.values]],
    )
    const replies = await this.#link.pipeline([...statements, grab])
    for (const [i, step] of steps.entries()) settled.push(...resultsOf(step, replies[i]!.rows))
    return {settled, reply: replies.at(-1)!}
  }

  /** @param leases of completed jobs. @param lease null: only look */
  #grab(
    {funcs, held, maxRunning, fair, limit}: Want,
    {leases, lease}: {leases: readonly Lease[]; lease: number | null},
  ): [Statement, Value[]] {
    const ids = funcs.map(func => this.#funcIds.get(func) ?? null)
    const isLimited = funcs.some(func => maxRunning?.get(func))
    return [
      GRAB,
      [
        ...(leases.length > 0 ? leaseValues(leases) : [null, null]),
        integers(ids),
        ids.includes(null) ? texts(funcs) : null,
        held?.size ? booleans(funcs.map(func => held.has(func))) : null,
        isLimited ? integers(funcs.map(func => maxRunning?.get(func) ?? 0)) : null,
        fair ? bigints(funcs.map(func => this.#lastServed.get(func) ?? 0)) : null,
        limit,
        lease,
        this.#leaseClock.latest, // the function would take what has run out: nothing is wanted where the clock has jumped
      ],
    ]
  }

  #turnOf(settled: SettleResult[], rows: readonly Row[], {fair, funcs}: Want): Turn {
    const jobs: JobRow[] = []
    const buried: Turn['buried'] = []
    for (const {what, context, func: name, ...row} of rows as unknown as readonly GrabRow[]) {
      if (what !== 'job' && what !== 'buried') continue
      if (name !== null) this.#learn(name, row.funcId)
      const func = this.#funcNames.get(row.funcId)!
      const {id, uniqkey, priority, arg} = row
      if (what === 'buried') buried.push({id, func, uniqkey, priority, message: String(arg)})
      else jobs.push(context === null ? {...row, func} : {...row, func, context})
    }
    jobs.sort(byOrder)
    const last = rows.at(-1) as unknown as {enqueueTime: number; runAfter: number | null}
    const {enqueueTime: now, runAfter: next} = last
    const jumped = now - this.#leaseClock.judge(now)
    return {
      ...(jumped > 0 ? {jumped} : {}),
      settled,
      buried,
      jobs: fair ? this.#inTurns(jobs, funcs) : jobs,
      nextDueIn: next === null ? null : Math.max(0, next - now),
      now,
    }
  }

  #learn(func: string, id: number): void {
    this.#funcIds.set(func, id)
    this.#funcNames.set(id, func)
  }

  /** Of equal priority, a job of each function in turn, as the grab chose them. */
  #inTurns(jobs: readonly JobRow[], funcs: readonly string[]): JobRow[] {
    const ordered: JobRow[] = []
    for (const level of Map.groupBy(jobs, ({priority}) => priority).values()) {
      const ranks = new Map<string, number>()
      const placed = level.map(job => {
        const rank = ranks.get(job.func) ?? 0
        ranks.set(job.func, rank + 1)
        return {job, rank, served: this.#lastServed.get(job.func) ?? 0, nth: funcs.indexOf(job.func)}
      })
      placed.sort((a, b) => a.rank - b.rank || a.served - b.served || a.nth - b.nth)
      for (const {job} of placed) this.#lastServed.set(job.func, ++this.#served)
      ordered.push(...placed.map(({job}) => job))
    }
    return ordered
  }
}

/** The order of work. */
function byOrder(a: JobRow, b: JobRow): number {
  return b.priority - a.priority || a.runAfter - b.runAfter || a.id - b.id
}
