/**
 * Enqueueing on MySQL: one job in one round trip; jobs that come while no connection is free go together in one commit,
 * which waits for the disk once, be it one job or a hundred.
 */

import {DuplicateJobError, idTooLarge, type JobqError} from '../../jobs/errors.ts'
import {type EnqueuedJob, type ListedJob, MAX_ID, type NewJob} from '../../jobs/job.ts'
import {Batcher, tell, type Waiting} from '../shared/batcher.ts'
import {checkRunAfter} from '../shared/due.ts'
import {newToken, storeOnce} from '../shared/once.ts'
import {enqueuedAs, TokenSweep} from '../shared/tokens.ts'
import type {Sweeper} from './completions.ts'
import {literal, type MysqlConnection} from './connections/connection.ts'
import type {MysqlConnections} from './connections/connections.ts'
import {ERRNO, hasErrno, isCancelled, isLost, isPassing, isUndecided, mayBeStored} from './errors.ts'
import {
  besides,
  bytesOf,
  COLUMNS,
  duplicate,
  INSERT_BYTES,
  Inserter,
  keyLiteral,
  LARGE_BYTES,
  unmake,
} from './insert.ts'
import {insertExpiryIfInserted} from './side-tables/expiries.ts'
import {isTaken, takeKey} from './side-tables/keys.ts'
import {insertTagsIfInserted} from './side-tables/tags.ts'
import {insertToken, storedUnder, sweepTokens} from './side-tables/tokens.ts'

/** The most jobs in one commit: what is written for them keeps the event loop for about a millisecond. */
const TOGETHER_JOBS = 200
/** An error (BIGINT UNSIGNED is out of range) where the last id, the greatest of them, is one that JavaScript can't hold. */
const CHECK_ID = `SELECT LAST_INSERT_ID() + ${2n ** 64n - 1n - BigInt(MAX_ID)}`

export interface EnqueueOptions {
  /** As a message may name the database. */
  name: string
  /** The job with this key, if it is waiting. */
  find: (func: string, uniqkey: string) => Promise<ListedJob | undefined>
  sweeper: Sweeper
  /** Has each enqueue a token of its own, unless it comes with one? */
  makesTokens: boolean
  /** How long an enqueue whose answer was lost is tried again, in milliseconds. */
  patience: number
}

export class Enqueuer {
  readonly #links: MysqlConnections
  readonly #options: EnqueueOptions
  /** A large one goes alone, and one that waits for others. */
  readonly #batcher = new Batcher({jobs: TOGETHER_JOBS, bytes: INSERT_BYTES}, job => {
    const bytes = bytesOf(job)
    return bytes >= LARGE_BYTES || job.after ? INSERT_BYTES + 1 : bytes
  })
  readonly #tokenSweep = new TokenSweep()
  /** Whether someone is on the way to a connection and will take along who waits. */
  #isCalled = false

  constructor(links: MysqlConnections, options: EnqueueOptions) {
    this.#links = links
    this.#options = options
  }

  /** @throws DuplicateJobError, ArgumentError, StoreError */
  enqueue(job: NewJob): Promise<EnqueuedJob> {
    const {makesTokens, patience} = this.#options
    const token = job.token ?? (makesTokens ? newToken() : undefined)
    if (token === undefined) return this.#add(job)
    const named = {...job, token}
    const find = async () => {
      const found = await this.#links.read(link => storedUnder(link, token))
      return found && enqueuedAs(job, found)
    }
    return storeOnce({token, store: () => this.#add(named), find, patience})
  }

  #add(job: NewJob): Promise<EnqueuedJob> {
    return this.#batcher.add(job, () => this.#call())
  }

  #call(): void {
    if (this.#isCalled) return
    this.#isCalled = true
    queueMicrotask(() => void this.#send())
  }

  async #send(): Promise<void> {
    let batch: Waiting[] | undefined
    try {
      const answer = await this.#links.write(link => {
        batch ??= this.#cut()
        return this.#store(link, batch)
      })
      await this.#tell(batch ?? [], answer)
    } catch (error) {
      // Where there is no connection there is none for all who wait for one
      this.#isCalled &&= batch !== undefined
      for (const {reject} of batch ?? this.#batcher.all()) reject(error)
    }
  }

  /** Who goes together; the others are on their way. */
  #cut(): Waiting[] {
    this.#isCalled = false
    const cut = this.#batcher.cut()
    if (this.#batcher.size > 0) this.#call()
    return cut
  }

  async #store(link: MysqlConnection, batch: readonly Waiting[]): Promise<Answer> {
    const jobs = batch.map(({job}) => job)
    try {
      await this.#sweep(link, jobs)
    } catch (error) {
      // Nothing is stored yet, but with tokens it is all the same to try again, on another host perhaps
      if (isLost(error) && jobs.every(isNamed)) return {lost: error}
      throw error
    }
    try {
      const [job] = jobs
      return {
        outcomes: job && jobs.length === 1 ? [await insertOne(link, job)] : await insertTogether(link, jobs),
      }
    } catch (error) {
      if (isUndecided(error) || (isCancelled(error) && (await isStored(link)))) return {lost: error}
      if (jobs.length === 1 || isPassing(error)) throw error
      await link.run('ROLLBACK')
      return {refused: error}
    }
  }

  async #sweep(link: MysqlConnection, jobs: readonly NewJob[]): Promise<void> {
    if (jobs.some(isSwept)) await this.#options.sweeper.sweepNowAndThen(link)
    const named = jobs.filter(isNamed).length
    if (named > 0) await sweepTokens(link, this.#tokenSweep, named)
  }

  async #tell(batch: readonly Waiting[], answer: Answer): Promise<void> {
    if ('outcomes' in answer) tell(batch, answer.outcomes)
    else if ('lost' in answer)
      for (const {job, resolve, reject} of batch)
        await this.#findStored(job, answer.lost).then(resolve, reject)
    else
      for (const {job, resolve, reject} of batch) {
        const alone = [{job, resolve, reject}]
        await this.#links
          .write(link => this.#store(link, alone))
          .then(each => this.#tell(alone, each), reject)
      }
  }

  /**
   * The answer to an insert was lost. With a uniqkey the job is found again, if it is still waiting; otherwise it may
   * have been stored or not, and may even be done.
   */
  async #findStored(job: NewJob, lost: unknown): Promise<EnqueuedJob> {
    const {func, uniqkey, priority, token} = job
    const unknown = mayBeStored(this.#options.name, 'the job', lost)
    if (uniqkey === null || token !== undefined) throw unknown
    const found = await this.#options.find(func, uniqkey).catch(() => undefined)
    if (!found) throw unknown
    const isOurs = found.priority === priority && Buffer.compare(stored(found.arg), stored(job.arg)) === 0
    if (!isOurs) throw new DuplicateJobError(func, uniqkey, found.id)
    return {id: found.id, func, uniqkey, priority, runAfter: found.runAfter}
  }
}

/** What became of jobs that went together: each has its outcome, or all have the same fate. */
type Answer = {outcomes: (EnqueuedJob | JobqError)[]} | {lost: unknown} | {refused: unknown}

/** Does it add a row to a table that is swept? Who may not add one may not sweep either. */
function isSwept({context, tracked}: NewJob): boolean {
  return context !== undefined || tracked === true
}

function isNamed({token}: NewJob): boolean {
  return token !== undefined
}

function stored(arg: NewJob['arg']): Uint8Array {
  return typeof arg === 'string' ? Buffer.from(arg) : (arg ?? new Uint8Array())
}

/** Says whether the last enqueue on this connection has stored something after all: a COMMIT may be done and cancelled. */
async function isStored(link: MysqlConnection): Promise<boolean> {
  const [, found] = await link.batch([
    'ROLLBACK',
    'SELECT EXISTS (SELECT 1 FROM job WHERE id = LAST_INSERT_ID()) AS stored',
  ])
  return Number(found!.rows[0]!.stored) === 1
}

/** One job, committed. Its function has a row already in all but the first call: then it is one round trip. */
async function insertOne(link: MysqlConnection, job: NewJob): Promise<EnqueuedJob> {
  const {func, uniqkey, priority, due} = job
  if ('at' in due) checkRunAfter(due.at)
  if (bytesOf(job) >= LARGE_BYTES || job.after) return insertCarefully(link, job)
  const beside = uniqkey === null ? besides(link, [job]) : besidesIfInserted(job, '@func')
  const values = `@func, ${literal(job.arg)}, ${keyLiteral(link, uniqkey)}, @now, 0, ${runAfterOf(job)}, 0, ${priority}`
  try {
    const replies = await link.batch([
      'SET @now = UNIX_TIMESTAMP(), @func = NULL, @none = LAST_INSERT_ID(0)',
      `SELECT id INTO @func FROM func WHERE name = ${link.names.literal(func)}`,
      ...(beside.length > 0 ? ['START TRANSACTION'] : []),
      uniqkey === null
        ? `INSERT INTO job (${COLUMNS}) VALUES (${values})`
        : `INSERT INTO job (${COLUMNS}) SELECT ${values} FROM DUAL WHERE NOT ${isTaken('@func', uniqkey)}`,
      ...beside,
      ...(beside.length > 0 ? [CHECK_ID] : []),
      'SELECT @now AS now',
      ...(beside.length > 0 ? ['COMMIT'] : []), // the last: what fails has committed nothing
    ])
    const {insertId, matched} = replies[beside.length > 0 ? 3 : 2]!
    if (matched === 0) throw await duplicate(link, [job], null)
    if (insertId > MAX_ID) throw await unmake(link, idTooLarge('job', String(insertId)), [insertId])
    return enqueuedJob(job, insertId, Number(replies.at(beside.length > 0 ? -2 : -1)!.rows[0]!.now))
  } catch (error) {
    if (hasErrno(error, ERRNO.duplicate)) throw await duplicate(link, [job], error)
    // No such function yet, or a time or an id that does not fit: the careful way makes the one and tells the others
    const {columnIsNull, outOfRange, overflow} = ERRNO
    if (![columnIsNull, outOfRange, overflow].some(errno => hasErrno(error, errno))) throw error
    if (beside.length > 0) await link.run('ROLLBACK')
    return insertCarefully(link, job)
  }
}

/** The function's row and the job's are one transaction: what is refused leaves neither. */
async function insertCarefully(link: MysqlConnection, job: NewJob): Promise<EnqueuedJob> {
  const [, clock] = await link.batch([
    'START TRANSACTION',
    'SELECT UNIX_TIMESTAMP() AS now, LAST_INSERT_ID(0) AS none',
  ])
  const [enqueued] = await new Inserter(link, Number(clock!.rows[0]!.now)).insert([job])
  await link.run('COMMIT')
  return enqueued!
}

/**
 * Several jobs in one commit and one round trip, each with an INSERT and an id of its own. A key that is waiting already
 * refuses its job alone. Whatever else is wrong with one of them, a function that is new say, is an error of the whole.
 */
async function insertTogether(
  link: MysqlConnection,
  jobs: readonly NewJob[],
): Promise<(EnqueuedJob | JobqError)[]> {
  const funcs = [...new Set(jobs.map(({func}) => func))]
  for (const {due} of jobs) if ('at' in due) checkRunAfter(due.at)
  const statements = [
    'START TRANSACTION',
    `SET @now = UNIX_TIMESTAMP(), @none = LAST_INSERT_ID(0), ${funcs.map((_, i) => `@f${i} = NULL`)}`,
  ]
  for (const [i, func] of funcs.entries())
    statements.push(`SELECT id INTO @f${i} FROM func WHERE name = ${link.names.literal(func)}`)
  const places: number[] = []
  for (const job of jobs) {
    const {arg, uniqkey, priority} = job
    const func = `@f${funcs.indexOf(job.func)}`
    const key = keyLiteral(link, uniqkey)
    const values = `${func}, ${literal(arg)}, ${key}, @now, 0, ${runAfterOf(job)}, 0, ${priority}`
    places.push(statements.length)
    statements.push(
      uniqkey === null
        ? `INSERT INTO job (${COLUMNS}) VALUES (${values})`
        : `INSERT INTO job (${COLUMNS}) SELECT ${values} FROM DUAL
           WHERE NOT EXISTS (SELECT 1 FROM job WHERE func_id = ${func} AND uniqkey = ${key}) AND NOT ${isTaken(func, uniqkey)}`,
      ...besidesIfInserted(job, func),
    )
  }
  const replies = await link.batch([...statements, CHECK_ID, 'SELECT @now AS now', 'COMMIT'])
  const now = Number(replies.at(-2)!.rows[0]!.now)
  const outcomes: (EnqueuedJob | JobqError)[] = []
  for (const [i, job] of jobs.entries()) {
    const {matched, insertId} = replies[places[i]!]!
    if (matched === 1) outcomes.push(enqueuedJob(job, insertId, now))
    else outcomes.push((await duplicate(link, [job], null)) as DuplicateJobError)
  }
  return outcomes
}

/** For a job that may have been refused by the statement right before. @param func the function's id, as SQL */
function besidesIfInserted(job: NewJob, func: string): string[] {
  const {context, tracked, tags = [], expires} = job
  const insert = (columns: string, values: string) =>
    `REPLACE INTO ${columns} SELECT ${values} FROM DUAL WHERE ROW_COUNT() > 0`
  return [
    ...insertToken(job, 'LAST_INSERT_ID()', 'ROW_COUNT() > 0'),
    ...(context === undefined
      ? []
      : [insert('jobq_context (job_id, context)', `LAST_INSERT_ID(), ${literal(context)}`)]),
    ...(tracked ? [insert('jobq_wait (job_id)', 'LAST_INSERT_ID()')] : []),
    ...insertTagsIfInserted({literal}, tags),
    ...(expires === undefined ? [] : [insertExpiryIfInserted(expires)]),
    ...takeKey(job, func, 'LAST_INSERT_ID()', 'ROW_COUNT() > 0'),
  ]
}

function runAfterOf({due}: NewJob): string {
  return 'at' in due ? String(due.at) : `@now + ${due.in}`
}

function enqueuedJob({func, uniqkey, priority, due}: NewJob, id: number, now: number): EnqueuedJob {
  return {id, func, uniqkey, priority, runAfter: 'at' in due ? due.at : now + due.in}
}
