/**
 * Connections to PostgreSQL: a few of them, made when they are needed and again when they have died.
 *
 * Statements of one connection are sent without waiting for the answer to the one before (pg's pipeline mode): a
 * transaction whose statements are known from the start is one round trip. Each is prepared once a connection.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import pg, {type PoolClient, type QueryResult} from 'pg'
import {monotonic} from '../clock.ts'
import {Client, configOf} from './postgres-client.ts'
import {explain, isDead, isLost, isPassing} from './postgres-errors.ts'

/** The database's clock. */
export const NOW = 'floor(extract(epoch FROM clock_timestamp()))::INTEGER'
/** One for the dispatcher's turns, the others for what else is called meanwhile. */
const MAX_CONNECTIONS = 4
/** An answer that takes longer will not come: the network is taken for dead. Bulk inserts are many statements. */
const ANSWER_MS = 120_000
/** A large index takes its time. */
const PATIENT_MS = 2 ** 31 - 1
const CONNECT_MS = 10_000
/** How long one attempt waits for a row that is locked. */
const LOCK_MS = 5000
/** How long deadlocks and locked rows are tried again, all attempts together. */
const PATIENCE_MS = 30_000

/** A setting that says: who deletes jobs on this connection writes down how they ended. */
export const TELLS_ENDS = 'jobq.tells_ends'

export interface Statement {
  /** Prepared under this name, once a connection. */
  name: string
  text: string
}

export type Value = string | number | boolean | Buffer | null | readonly (string | number | boolean | null)[]
export type Row = Record<string, unknown>
export type Reply = QueryResult<Row>
/** Sends a statement. Its failure is told by the promise, and by those of all that follow in its transaction. */
export type Send = (statement: Statement | string, values?: readonly Value[]) => Promise<Reply>

export interface LinkOptions {
  /** false: a commit may be lost by a crash of the server. Default true: as the server is set up. */
  durable?: boolean
  /** How long a lock is waited for, in milliseconds, before LOCKED is raised. Default 30,000. */
  patience?: number
}

export class Link {
  readonly name: string
  readonly #pool: pg.Pool
  readonly #patience: number
  #free = MAX_CONNECTIONS
  readonly #waiting: (() => void)[] = []

  constructor(url: string, name: string, {durable = true, patience = PATIENCE_MS}: LinkOptions) {
    this.name = name
    this.#patience = patience
    this.#pool = new pg.Pool({
      ...configOf(url),
      Client,
      max: MAX_CONNECTIONS,
      idleTimeoutMillis: 60_000,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: ANSWER_MS,
      pipeline: true,
      allowExitOnIdle: true,
    })
    this.#pool.on('error', () => {}) // one that was idle has died: the next call makes another
    // Rows are found by their index, whatever the statistics say of tables that were empty a moment ago. What that makes
    // the planner take for dear would be compiled: 80 ms for a listing of ten jobs.
    const setUp = `SET default_transaction_isolation = 'read committed'; SET lock_timeout = ${Math.max(1, Math.min(LOCK_MS, patience))};
      SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET enable_hashjoin = off;
      SET enable_mergejoin = off; SET jit = off; SET plan_cache_mode = force_generic_plan; SET ${TELLS_ENDS} = on;
      ${durable ? '' : 'SET synchronous_commit = off'}`
    this.#pool.on('connect', client => void client.query(setUp).catch(() => {}))
  }

  /** One statement, a transaction of its own. @param again it may be repeated where the answer to it was lost */
  async run(statement: Statement | string, values: readonly Value[] = [], again = false): Promise<Reply> {
    return this.#use(client => send(client, statement, values), again)
  }

  /** Several in one transaction and one round trip. */
  async pipeline(statements: readonly [Statement, readonly Value[]][]): Promise<Reply[]> {
    return this.#use(client => pipelined(client, statements), false)
  }

  /** As pipeline, but a lock that is waited for too long, or a dead connection, is told at once. */
  async pipelineOnce(statements: readonly [Statement, readonly Value[]][]): Promise<Reply[]> {
    return this.#with(client => pipelined(client, statements))
  }

  /**
   * A transaction whose statements depend on each other's answers.
   * @param onCommit called when the commit is sent: from then on a lost connection does not tell what was done
   */
  async transaction<T>(work: (send: Send) => Promise<T>, onCommit = () => {}): Promise<T> {
    return this.#use(client => this.#transact(client, BEGIN, work, onCommit), false)
  }

  /** Several reads of one moment. */
  async read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#use(client => this.#transact(client, BEGIN_READ, work), true)
  }

  /** Outside a transaction, on a connection that ends with it: what takes long, and sets what lasts. */
  async alone<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#with(
      client => work((statement, values) => send(client, statement, values, PATIENT_MS)),
      true,
    )
  }

  async close(): Promise<void> {
    if (!this.#pool.ending) await this.#pool.end()
  }

  async #transact<T>(
    client: PoolClient,
    begin: Statement,
    work: (send: Send) => Promise<T>,
    onCommit = () => {},
  ): Promise<T> {
    const begun = send(client, begin)
    let first: unknown
    const sendFirst: Send = (statement, values) => {
      const reply = send(client, statement, values)
      reply.catch(error => {
        first ??= error
      })
      return reply
    }
    try {
      const result = await work(sendFirst)
      await begun
      onCommit()
      await send(client, COMMIT)
      return result
    } catch (error) {
      await send(client, 'ROLLBACK').catch(() => {})
      // Of several that were under way, the one that failed tells why, not those that were ignored then
      throw (error as {code?: unknown}).code === IN_FAILED_TRANSACTION ? (first ?? error) : error
    }
  }

  /** Repeats what met a lock or a deadlock, a little later each time, and once what met a dead connection. */
  async #use<T>(work: (client: PoolClient) => Promise<T>, again: boolean): Promise<T> {
    const giveUpAt = monotonic() + this.#patience
    for (let pause = 2, deaths = 0; ; pause = Math.min(pause * 2, 200)) {
      try {
        return await this.#with(work)
      } catch (error) {
        const isOver = !isPassing(error) || monotonic() > giveUpAt
        const isAlive = !isDead(error) || deaths++ > 0 || (isLost(error) && !again)
        if (isOver && isAlive) throw error
      }
      await sleep(pause * (0.5 + Math.random()))
    }
  }

  /** Raw errors: the caller explains them, with what it knows of what was lost. */
  async #with<T>(work: (client: PoolClient) => Promise<T>, isLast = false): Promise<T> {
    if (this.#free === 0) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else this.#free--
    let client: PoolClient | undefined
    let died = isLast
    try {
      client = await this.#connect()
      return await work(client)
    } catch (error) {
      died ||= isDead(error)
      throw error
    } finally {
      client?.removeListener('error', ignore)
      client?.release(died)
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  async #connect(): Promise<PoolClient> {
    try {
      const client = await this.#pool.connect()
      client.on('error', ignore) // its statement tells
      return client
    } catch (error) {
      throw explain(this.name, error)
    }
  }
}

const IN_FAILED_TRANSACTION = '25P02'
const BEGIN = {name: 'jobq_begin', text: 'BEGIN'}
const BEGIN_READ = {name: 'jobq_begin_read', text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'}
const COMMIT = {name: 'jobq_commit', text: 'COMMIT'}

function ignore(): void {}

async function pipelined(
  client: PoolClient,
  statements: readonly [Statement, readonly Value[]][],
): Promise<Reply[]> {
  const sent = [
    send(client, BEGIN),
    ...statements.map(([statement, values]) => send(client, statement, values)),
    send(client, COMMIT),
  ]
  return (await allOrFirstError(sent)).slice(1, -1)
}

function send(
  client: PoolClient,
  statement: Statement | string,
  values: readonly Value[] = [],
  timeout?: number,
): Promise<Reply> {
  const query = typeof statement === 'string' ? {text: statement} : statement
  const patient = timeout === undefined ? {} : {query_timeout: timeout}
  const reply = client.query<Row>({...query, values: [...values], ...patient})
  reply.catch(ignore) // whoever waits for an earlier one of the transaction hears of that first
  return reply
}

async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises)
  const failure = settled.find(each => each.status === 'rejected')
  if (failure) throw failure.reason
  return settled.map(each => (each as PromiseFulfilledResult<T>).value)
}
