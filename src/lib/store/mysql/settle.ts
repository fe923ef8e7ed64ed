/**
 * Writing how attempts ended on MySQL, within the transaction of a turn.
 *
 * Every statement says `WHERE id = … AND grabbed_until = mine`. What takes more than one locks the row first, so that
 * either all of them find it or none. Ends that need no answer in between wait here, and go to the server in one batch
 * with whatever follows; a death and a replacement are several round trips.
 */
import {JobqError} from '../../jobs/errors.ts'
import {
  deathMessage,
  type JobEnd,
  type Lease,
  MAX_DEATHS,
  MAX_UINT32,
  type Settlement,
} from '../../jobs/job.ts'
import type {SettleResult} from '../store.ts'
import {type Link, literal, type Reply, textOf} from './connection.ts'
import {Inserter} from './insert.ts'

/** Statements whose answers tell what became of a settlement. */
interface Part {
  statements: string[]
  result: (replies: readonly Reply[]) => SettleResult
  /** Its place among the results; null: nobody asks. */
  index: number | null
}

type Span = Settlement['span']

export class Settling {
  readonly #link: Link
  readonly #results: SettleResult[] = []
  /** Sent, but for these. */
  #parts: Part[] = []
  #lead: string[]

  /** @param lead statements that begin the transaction and set @now */
  constructor(link: Link, lead: readonly string[]) {
    this.#link = link
    this.#lead = [...lead]
  }

  /** @param settlements with their places among the results */
  async settle(settlements: Iterable<readonly [index: number, settlement: Settlement]>): Promise<void> {
    for (const [index, {lease, outcome, span}] of settlements) {
      if (outcome.kind === 'died') this.#results[index] = await this.#died(lease, outcome.how, span)
      else if (outcome.kind === 'replaced')
        this.#results[index] = await this.#replaced(lease, outcome, span, index)
      else this.#parts.push({...endOf(lease, outcome, span), index})
    }
  }

  /** A statement that no one wants to hear of. */
  also(statement: string): void {
    this.#parts.push({statements: [statement], result: () => ({held: true}), index: null})
  }

  /** Sends what waits, and these behind it. @returns the answers to these */
  async send(following: readonly string[]): Promise<Reply[]> {
    if (this.#lead.length + this.#parts.length + following.length === 0) return []
    return (await this.#send(following, async statements => ({replies: await this.#link.batch(statements)})))
      .replies
  }

  /**
   * The same, and then commits; see Link.batchThenCommit for what comes before that has ended.
   * @returns the answers to these, and a promise of the commit
   */
  commit(following: readonly string[]): Promise<{replies: Reply[]; committed: Promise<void>}> {
    return this.#send([...following, 'DO 0', 'COMMIT'], statements => {
      const calls = statements.filter(each => each.startsWith('CALL ')).length
      const count = statements.length - 1 + calls
      return this.#link.batchThenCommit(statements, replies => replies.length === count)
    })
  }

  async #send<Answer extends {replies: Reply[]}>(
    following: readonly string[],
    ask: (statements: string[]) => Promise<Answer>,
  ): Promise<Answer> {
    const [lead, parts] = [this.#lead, this.#parts]
    this.#lead = []
    this.#parts = []
    const answer = await ask([...lead, ...parts.flatMap(part => part.statements), ...following])
    const {replies} = answer
    let at = lead.length
    for (const {statements, result, index} of parts) {
      const told = result(replies.slice(at, at + statements.length))
      if (index !== null) this.#results[index] = told
      at += statements.length
    }
    return {...answer, replies: replies.slice(at)}
  }

  get results(): SettleResult[] {
    return this.#results
  }

  async #died(lease: Lease, how: string, span: Span): Promise<SettleResult> {
    const [locked] = await this.send([lock(lease)])
    if (locked!.rows.length === 0) return {held: false}
    const failed = (await countDeaths(this.#link, [{id: lease.id, how, span}])).get(lease.id)
    return failed === undefined ? {held: true} : {held: true, failed}
  }

  /** The new jobs and the old one's end are one: if a new one is refused, none is stored and the old one has failed. */
  async #replaced(
    lease: Lease,
    {jobs, retryIn}: Extract<Settlement['outcome'], {kind: 'replaced'}>,
    span: Span,
    index: number,
  ): Promise<SettleResult> {
    const {statements, result} = endOf(lease, {kind: 'replaced'}, span)
    const sent = ['SAVEPOINT replacing', 'SELECT @now AS now', ...statements]
    const [, clock, ...ended] = await this.send(sent)
    const {held} = result(ended)
    if (!held) return {held}
    try {
      await new Inserter(this.#link, Number(clock!.rows[0]!.now)).insert(jobs)
      return {held}
    } catch (error) {
      if (!(error instanceof JobqError)) throw error
      const message = `job.replace: ${error.message}`
      await this.#link.run('ROLLBACK TO SAVEPOINT replacing')
      const failed = endOf(lease, {kind: 'failed', message, retryIn}, span)
      this.#parts.push({...failed, result: replies => ({...failed.result(replies), failed: message}), index})
      await this.send([])
      return this.#results[index]!
    }
  }
}

/**
 * Deaths of the workers of jobs whose rows are locked: the jobs go back to their lanes, or fail for good with the last
 * one. The count is kept in the database, so that it holds across processes; ids are never used twice.
 * @returns what became known of those that have failed, by id
 */
export async function countDeaths(
  link: Link,
  deaths: readonly {id: number; how: string; span?: Span}[],
): Promise<Map<number, string>> {
  const failed = new Map<number, string>()
  if (deaths.length === 0) return failed
  const ids = deaths.map(({id}) => id)
  const [, counted] = await link.batch([
    `INSERT INTO jobq_death (job_id, died_at, how) VALUES ${deaths.map(({id, how}) => `(${id}, @now, ${literal(how)})`)}`,
    `SELECT job_id, how FROM jobq_death WHERE job_id IN (${ids}) ORDER BY id`,
  ])
  const hows = new Map<number, string[]>()
  for (const row of counted!.rows)
    hows.set(Number(row.job_id), [...(hows.get(Number(row.job_id)) ?? []), textOf(row.how)])
  const back: number[] = []
  const statements: string[] = []
  for (const {id, span} of deaths) {
    const told = hows.get(id) ?? []
    if (told.length < MAX_DEATHS) {
      back.push(id)
      continue
    }
    const message = deathMessage(told)
    failed.set(id, message)
    statements.push(
      logException(`id = ${id}`, message),
      ...(span ? [logStatus(`id = ${id}`, 'failed', span)] : []),
      `DELETE FROM jobq_death WHERE job_id = ${id}`,
      ...leave(id, `id = ${id}`, 'failed', message),
    )
  }
  if (back.length > 0) statements.push(`UPDATE job SET grabbed_until = 0 WHERE id IN (${back})`)
  await link.batch(statements)
  return failed
}

function endOf(
  lease: Lease,
  outcome: Exclude<Settlement['outcome'], {kind: 'died'} | {kind: 'replaced'}> | {kind: 'replaced'},
  span: Span,
): Omit<Part, 'index'> {
  const mine = whereMine(lease)
  const remove = (how: JobEnd['outcome'], message = '') => leave(lease.id, mine, how, message)
  const status = (word: string) => (span ? [logStatus(mine, word, span)] : [])
  const single = (...statements: string[]) => ({
    statements,
    result: ([reply]: readonly Reply[]) => ({held: reply!.matched === 1}),
  })
  const several = (...statements: string[]) => ({
    statements: [lock(lease), ...statements],
    result: ([locked]: readonly Reply[]) => ({held: locked!.rows.length === 1}),
  })
  switch (outcome.kind) {
    case 'released':
      return single(`UPDATE job SET grabbed_until = 0 WHERE ${mine}`)
    case 'completed':
    case 'replaced':
      return span ? several(...status('completed'), ...remove(outcome.kind)) : single(...remove(outcome.kind))
    case 'aborted': {
      const {reason} = outcome
      return several(logException(mine, reason), ...status('abort'), ...remove('aborted', reason))
    }
    case 'failed': {
      const {message, retryIn} = outcome
      const again = `UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + 1,
        run_after = LEAST(@now + ${retryIn}, ${MAX_UINT32}) WHERE ${mine}`
      const end = retryIn === null ? remove('failed', message) : [again]
      return several(logException(mine, message), ...status('failed'), ...end)
    }
  }
}

/** Out of the queue, if it is still ours; with it goes its context, and who waits for it is told how it has ended. */
function leave(id: number, mine: string, outcome: JobEnd['outcome'], message: string): string[] {
  return [
    `DELETE FROM job WHERE ${mine}`,
    `UPDATE jobq_wait SET outcome = '${outcome}', message = ${literal(message)}, ended_at = @now
     WHERE job_id = ${id} AND ROW_COUNT() > 0`,
    `DELETE FROM jobq_context WHERE job_id = ${id} AND NOT EXISTS (SELECT 1 FROM job WHERE id = ${id})`,
  ]
}

function whereMine({id, grabbedUntil}: Lease): string {
  return `id = ${id} AND grabbed_until = ${grabbedUntil}`
}

function lock(lease: Lease): string {
  return `SELECT id FROM job WHERE ${whereMine(lease)} FOR UPDATE`
}

function logException(where: string, message: string): string {
  return `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
    SELECT func_id, @now, ${literal(message)}, uniqkey, arg, 0 FROM job WHERE ${where}`
}

/** job_status.arg is NOT NULL in Qudo's MySQL schema, alone: no argument is an empty one there. */
function logStatus(where: string, status: string, {start, end}: NonNullable<Span>): string {
  return `INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
    SELECT func_id, COALESCE(arg, ''), uniqkey, '${status}', ${start}, ${end} FROM job WHERE ${where}`
}
