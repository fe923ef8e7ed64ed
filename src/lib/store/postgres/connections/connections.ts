/** What is sent to PostgreSQL: statements and transactions, done again where they met a lock or a dead connection. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {QueryResult} from 'pg'
import {Backoff} from '../../../jobs/backoff.ts'
import {monotonic} from '../../../jobs/clock.ts'
import {BUILD_MS, isSilent, type Timeouts, timeoutWarnings} from '../../shared/silence.ts'
import {isDead, isLost, isPassing, isReadOnly} from '../errors.ts'
import {Connection, localSettings, type PostgresHosts, type Settings} from './connection.ts'
import {PostgresPool} from './pool.ts'

/** The database's clock. */
export const NOW = 'floor(extract(epoch FROM clock_timestamp()))::INTEGER'
export const NOW_IS = {name: 'jobq_now', text: `SELECT ${NOW} AS now`}
/** How long one attempt waits for a row that is locked; shorter than an answer may take. */
const LOCK_MS = 5000
/**
 * Rows are found by their index, whatever the statistics say of tables that were empty a moment ago. What that makes the
 * planner take for dear would be compiled: 80 ms for a listing of ten jobs.
 */
const PLANNING: Settings = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
  plan_cache_mode: 'force_generic_plan',
}
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
/** Which of the time-outs holds for what is sent. */
type Wait = 'answer' | 'read'

export interface PostgresConnectionOptions {
  /** false: a commit may be lost by a crash of the server. Default true: as the server is set up. */
  durable?: boolean
  /** How long a lock is waited for, in milliseconds, before LOCKED is raised. Default 30,000. */
  patience?: number
}

export class PostgresConnections {
  readonly name: string
  readonly #hosts: PostgresHosts
  readonly #pool: PostgresPool
  /** How long a lock is waited for, in milliseconds. */
  readonly patience: number
  readonly #timeouts: Timeouts
  readonly #settings: Settings

  constructor(
    hosts: PostgresHosts,
    name: string,
    timeouts: Timeouts,
    {durable = true, patience = PATIENCE_MS}: PostgresConnectionOptions,
  ) {
    this.name = name
    this.#hosts = hosts
    this.patience = patience
    this.#timeouts = timeouts
    this.#settings = {
      default_transaction_isolation: 'read committed',
      lock_timeout: String(Math.max(1, Math.ceil(Math.min(LOCK_MS, patience, this.#timeouts.answer / 2)))),
      ...PLANNING,
      [TELLS_ENDS]: 'on',
      ...(durable ? {} : {synchronous_commit: 'off'}),
    }
    const config = {
      settings: this.#settings,
      connectMs: timeouts.connect,
      mustTakeWrites: hosts.areSeveral,
      pipeline: true,
    }
    this.#pool = new PostgresPool(hosts, name, host => new Connection(host, config))
  }

  /** Has the address several hosts? */
  get hasHosts(): boolean {
    return this.#hosts.areSeveral
  }

  timeoutWarnings(): string[] {
    return this.hasHosts ? timeoutWarnings(this.#timeouts) : []
  }

  /** One statement, a transaction of its own. @param again it may be repeated where the answer to it was lost */
  async run(statement: Statement | string, values: readonly Value[] = [], again = false): Promise<Reply> {
    return this.#use(
      client =>
        client.isPooled
          ? this.#pipelined(client, [[statement, values]]).then(([reply]) => reply!)
          : send(client, statement, values),
      again,
    )
  }

  /**
   * Several in one transaction and one round trip: each is sent without waiting for the answer to the one before (pg's
   * pipeline mode).
   */
  async pipeline(statements: readonly [Statement, readonly Value[]][]): Promise<Reply[]> {
    return this.#use(client => this.#pipelined(client, statements), false)
  }

  /** As pipeline, but a lock that is waited for too long, or a dead connection, is told at once. */
  async pipelineOnce(statements: readonly [Statement, readonly Value[]][]): Promise<Reply[]> {
    return this.#with(client => this.#pipelined(client, statements))
  }

  /**
   * A transaction whose statements depend on each other's answers.
   * @param onCommit called when the commit is sent: from then on a lost connection does not tell what was done
   */
  async transaction<T>(
    work: (send: Send) => Promise<T>,
    onCommit = () => {},
    wait: Wait = 'answer',
  ): Promise<T> {
    return this.#use(client => this.#transact(client, BEGIN, work, onCommit), false, wait)
  }

  /** Several reads of one moment. */
  async read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#use(client => this.#transact(client, BEGIN_READ, work), true, 'read')
  }

  /**
   * Outside a transaction, on a connection that ends with it: what sets what lasts. It is done again where it met a lock.
   * @param work `build` is a send for what may take hours; with a pooler in between there is nothing that lasts
   */
  async alone<T>(work: (send: Send, build: Send, isPooled: boolean) => Promise<T>): Promise<T> {
    return this.#use(
      client => {
        const within = (ms: number): Send => {
          return (statement, values) => {
            client.expect(ms)
            return send(client, statement, values)
          }
        }
        return work(within(this.#timeouts.read), within(BUILD_MS), client.isPooled)
      },
      false,
      'read',
      true,
    )
  }

  /** What is still under way is given up. */
  close(): Promise<void> {
    return this.#pool.close()
  }

  async #pipelined(
    client: Connection,
    statements: readonly [Statement | string, readonly Value[]][],
  ): Promise<Reply[]> {
    const sent = [
      send(client, this.#begin(client, BEGIN)),
      ...statements.map(([statement, values]) => send(client, statement, values)),
      send(client, COMMIT),
    ]
    return (await allOrFirstError(sent)).slice(1, -1)
  }

  #begin({isPooled}: Connection, begin: Statement): Statement | string {
    return isPooled ? `${begin.text}; ${localSettings(this.#settings)}` : begin
  }

  async #transact<T>(
    client: Connection,
    begin: Statement,
    work: (send: Send) => Promise<T>,
    onCommit = () => {},
  ): Promise<T> {
    const begun = send(client, this.#begin(client, begin))
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
  async #use<T>(
    work: (client: Connection) => Promise<T>,
    again: boolean,
    wait: Wait = 'answer',
    isLast = false,
  ): Promise<T> {
    const giveUpAt = monotonic() + this.patience
    const backoff = new Backoff(2, 200)
    let {moves} = this.#hosts
    for (let deaths = 0; ; ) {
      try {
        return await this.#with(work, wait, isLast)
      } catch (error) {
        if (isReadOnly(error) && moves-- > 0) continue
        const isOver = !isPassing(error) || monotonic() > giveUpAt
        const isAlive =
          !isDead(error) ||
          deaths++ > 0 ||
          (isLost(error) && !again) ||
          (isSilent(error) && !this.#hosts.areSeveral)
        if (isOver && isAlive) throw error
      }
      await sleep(backoff.next())
    }
  }

  /** Raw errors: the caller explains them, with what it knows of what was lost. */
  #with<T>(work: (client: Connection) => Promise<T>, wait: Wait = 'answer', isLast = false): Promise<T> {
    const ms = this.#timeouts[wait]
    return this.#pool.with(client => {
      client.expect(ms)
      return work(client)
    }, isLast)
  }
}

const IN_FAILED_TRANSACTION = '25P02'
const BEGIN = {name: 'jobq_begin', text: 'BEGIN ISOLATION LEVEL READ COMMITTED'}
const BEGIN_READ = {name: 'jobq_begin_read', text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'}
const COMMIT = {name: 'jobq_commit', text: 'COMMIT'}

function ignore(): void {}

function send(
  client: Connection,
  statement: Statement | string,
  values: readonly Value[] = [],
): Promise<Reply> {
  const text = typeof statement === 'string' ? statement : statement.text
  const query = typeof statement === 'string' || client.isPooled ? {text} : statement
  const reply = client.query<Row>({...query, values: [...values]})
  reply.catch(ignore) // whoever waits for an earlier one of the transaction hears of that first
  return reply
}

async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises)
  const failure = settled.find(each => each.status === 'rejected')
  if (failure) throw failure.reason
  return settled.map(each => (each as PromiseFulfilledResult<T>).value)
}
