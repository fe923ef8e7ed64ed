/**
 * Storing a job in a transaction of the caller's own, on a Client or PoolClient of pg that the application has
 * connected to the queue's database.
 */
import {SqlSender} from '../../jobs/connections.ts'
import {DuplicateJobError, JobqError, StoreError, TransactionError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'
import {classOf} from '../../jobs/value.ts'
import {edgesOf, idsIn} from '../shared/after.ts'
import {insertEdges, knownOf, NEVER} from './after.ts'
import type {PostgresConnections, Reply, Send, Value} from './connections/connections.ts'
import {explain, isDead, isReadOnly, stateOf} from './errors.ts'
import {
  besideValues,
  checkJob,
  explainRange,
  findDuplicate,
  funcByName,
  insertBeside,
  insertNew,
  insertValues,
  isChecked,
} from './insert.ts'
import {takersOf} from './side-tables/keys.ts'
import {hasBeside, hasMore} from './side-tables.ts'

/** What is used of a connection. */
interface Client {
  query(query: {text: string; values?: readonly Value[]}): Promise<unknown>
}

interface Place {
  /** The database's name. */
  name: string
  /** Of this table, in this database, of this server since it was started. */
  place: string
}

const STATE = {noTransaction: '25P01', failed: '25P02', serialization: '40001', deadlock: '40P01'}
/** Tables, columns or the schema are not there. */
const UNPREPARED = ['42P01', '42703', '3F000']

const PLACE = {
  name: 'jobq_place',
  text: `SELECT current_database() AS name, concat_ws(' ',
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'job'::REGCLASS::OID,
    extract(epoch FROM pg_postmaster_start_time())) AS place`,
}
const FIND_FUNC = {name: 'jobq_find_func', text: 'SELECT id FROM func WHERE name = $1::VARCHAR'}

/** Behind insertValues' parameters: the place; besideValues', if there are some; the function's id, if it is known. */
function insertText(beside: Value[], job: NewJob, isKnown: boolean): string {
  const isBeside = beside.length > 0
  const func = isKnown ? `f AS (SELECT $${8 + beside.length}::INTEGER AS id)` : funcByName('gate')
  return `WITH here AS MATERIALIZED (${PLACE.text}),
    gate AS MATERIALIZED (SELECT FROM here WHERE place = $7::TEXT${isKnown ? ' AND $1::VARCHAR IS NOT NULL' : ''}),
    ${func}, ${insertNew(isChecked(job), 'gate')}${isBeside ? `, ${insertBeside(8, hasMore(job))}` : ''}
    SELECT here.name, here.place, new.id::TEXT AS id, new.run_after::TEXT AS "runAfter" FROM here LEFT JOIN new ON TRUE`
}

/** Nothing is remembered of the database from one call to the next: the caller may have rolled back in between. */
export class CallerTransaction {
  readonly #link: PostgresConnections
  #place: Place | null = null
  /** What a connection is at: its calls are done one after the other. */
  readonly #last = new WeakMap<Client, Promise<unknown>>()

  constructor(link: PostgresConnections) {
    this.#link = link
  }

  /** As Store.places. */
  async place(): Promise<string> {
    return `postgres ${(await this.#askPlace()).place}`
  }

  /** What is refused leaves the caller's transaction as it was. @throws TransactionError, DuplicateJobError, StoreError */
  async enqueue(connection: unknown, job: NewJob): Promise<EnqueuedJob> {
    const client = clientOf(connection)
    checkJob(job)
    const before = this.#last.get(client) ?? Promise.resolve()
    const enqueued = before.then(() => this.#enqueue(client, job))
    this.#last.set(
      client,
      enqueued.catch(() => {}),
    )
    return enqueued
  }

  async #enqueue(client: Client, job: NewJob): Promise<EnqueuedJob> {
    const guest = new CallerConnection(client)
    const attempt = (funcId: number | null) => guest.atomically(() => this.#insert(guest, job, funcId))
    try {
      return await attempt(null).catch(async error => {
        if (stateOf(error) !== STATE.serialization) throw error
        return attempt(await this.#unseen(job, error))
      })
    } catch (error) {
      throw this.#explained(error)
    }
  }

  /**
   * What the transaction's snapshot does not show has been stored meanwhile: the same key, or the function's row.
   * @returns the function's id
   * @throws DuplicateJobError, or the error that told of it
   */
  async #unseen(job: NewJob, error: unknown): Promise<number> {
    const holder = job.uniqkey === null ? null : await this.#lookup(send => findDuplicate(send, job))
    if (holder) throw new DuplicateJobError(job.func, job.uniqkey ?? '', holder.id)
    const [func] = (await this.#lookup(send => send(FIND_FUNC, [job.func]))).rows
    if (!func) throw error
    return Number(func.id)
  }

  async #insert(guest: CallerConnection, job: NewJob, funcId: number | null): Promise<EnqueuedJob> {
    const {func, uniqkey, priority, due} = job
    for (let isFirst = true; ; isFirst = false) {
      const own = this.#place ?? (await this.#askPlace())
      const beside = hasBeside(job) ? besideValues(job) : []
      const values = [...insertValues(job), own.place, ...beside, ...(funcId === null ? [] : [funcId])]
      const text = insertText(beside, job, funcId !== null)
      const {rows} = await guest.send(text, values).catch(error => {
        throw explainRange(error, due)
      })
      const {name, place, id, runAfter} = rows[0] as unknown as Place &
        Record<'id' | 'runAfter', string | null>
      if (id !== null) {
        const stored = {id: Number(id), func, uniqkey, priority, runAfter: Number(runAfter)}
        if (job.after) await makeWait(guest.send, job, stored)
        return stored
      }
      if (place !== own.place) {
        // The server may have been started anew since it was asked
        if ((await this.#askPlace()).place !== place) throw elsewhere(this.#link.name, own.name, name)
        continue
      }
      const holder = uniqkey === null ? null : await findDuplicate(guest.send, job)
      if (holder) throw new DuplicateJobError(func, uniqkey ?? '', holder.id)
      const [taken] = uniqkey === null ? [] : await takersOf(guest.send, [job])
      if (taken) throw taken
      // The other job has left meanwhile, or the function has just been made elsewhere
      if (!isFirst && uniqkey !== null) throw new DuplicateJobError(func, uniqkey, null)
    }
  }

  async #askPlace(): Promise<Place> {
    const {rows} = await this.#lookup(send => send(PLACE, []))
    this.#place = rows[0] as unknown as Place
    return this.#place
  }

  /** What this queue's own connection sees. */
  async #lookup<T>(look: (send: Send) => Promise<T>): Promise<T> {
    try {
      return await look((statement, values) => this.#link.run(statement, values, true))
    } catch (error) {
      throw explain(this.#link.name, error)
    }
  }

  #explained(error: unknown): unknown {
    if (error instanceof JobqError) return error
    const state = stateOf(error)
    if (UNPREPARED.includes(state))
      return new TransactionError(
        `the client is connected to a database without jobq's tables (${(error as Error).message})`,
        {
          hint: `give one that is connected to ${this.#link.name}, with its search_path`,
          isElsewhere: true,
          cause: error,
        },
      )
    if (isReadOnly(error))
      return new TransactionError(`the client's transaction takes no writes (${(error as Error).message})`, {
        hint: 'connect it to the host that takes writes: a standby takes none; and begin it without READ ONLY',
        cause: error,
      })
    if (state === STATE.deadlock)
      return new StoreError('LOCKED', 'two transactions wait for keys that the other one has enqueued', {
        hint: 'roll back and begin again; enqueue jobs with keys in the same order everywhere',
        cause: error,
      })
    if (state === STATE.serialization)
      return new StoreError('LOCKED', `what another transaction has stored can't be seen in this one`, {
        hint: 'roll back and begin again',
        cause: error,
      })
    return explain(this.#link.name, error)
  }
}

/**
 * A caller's connection, one statement at a time. Nothing is prepared on it, since its owner may reset it, or have a
 * pooler behind it.
 */
class CallerConnection {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  /** @throws TransactionError; and what work throws, when all of it is undone */
  async atomically<T>(work: () => Promise<T>): Promise<T> {
    await this.send('SAVEPOINT jobq_enqueue').catch(error => {
      throw withoutTransaction(error)
    })
    try {
      const result = await work()
      await this.send('RELEASE SAVEPOINT jobq_enqueue')
      return result
    } catch (error) {
      if (!isClosed(error)) {
        await this.send('ROLLBACK TO SAVEPOINT jobq_enqueue')
        await this.send('RELEASE SAVEPOINT jobq_enqueue')
      }
      throw error
    }
  }

  /** @throws TransactionError if the connection is closed */
  send: Send = async (statement, values = []) => {
    const text = typeof statement === 'string' ? statement : statement.text
    try {
      return (await this.#client.query({text, values})) as Reply
    } catch (error) {
      throw isDead(error) ? closed(error) : error
    }
  }
}

/** Nobody sees it before it waits. */
async function makeWait(send: Send, job: NewJob, {id, runAfter}: EnqueuedJob): Promise<void> {
  const known = await knownOf(send, idsIn([job]))
  const edges = edgesOf(job, id => known.get(id))
  if (edges.length === 0) return
  await send(...insertEdges([{id, runAfter, edges}]))
  await send('UPDATE job SET run_after = $2 WHERE id = $1', [id, NEVER])
}

function closed(cause: unknown): TransactionError {
  return new TransactionError('the connection is closed, and its transaction is rolled back', {
    hint: 'begin the transaction again on a new connection',
    cause,
  })
}

function isClosed(error: unknown): boolean {
  return error instanceof TransactionError && isDead(error.cause)
}

function withoutTransaction(error: unknown): unknown {
  const cause = error
  if (stateOf(error) === STATE.noTransaction)
    return new TransactionError('the client is in no transaction', {
      hint: `send BEGIN on it first, and COMMIT when all is stored`,
      cause,
    })
  if (stateOf(error) === STATE.failed)
    return new TransactionError('the transaction of this client has failed: it can only be rolled back', {
      hint: 'send ROLLBACK, and begin it again; an error of an earlier statement was passed over',
      cause,
    })
  return error
}

/** An ORM's transaction as a client: there values are part of the text. */
const ofOrms = new WeakMap<SqlSender, Client>()

function ormClient(sender: SqlSender): Client {
  const known = ofOrms.get(sender)
  if (known) return known
  const client = {
    query: ({text, values = []}: {text: string; values?: readonly Value[]}) =>
      sender.send(text.replace(/\$(\d+)/g, (_, nth) => literal(values[Number(nth) - 1]!))),
  }
  ofOrms.set(sender, client)
  return client
}

/** As SQL, whatever standard_conforming_strings says. */
function literal(value: Value): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return `(${value})`
  if (typeof value === 'string') return `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
  if (Buffer.isBuffer(value)) return `E'\\\\x${value.toString('hex')}'`
  return `ARRAY[${(value as readonly Value[]).map(literal)}]`
}

/** It may be of another copy of pg: it is known by what it can do. @throws TransactionError */
function clientOf(value: unknown): Client {
  if (value instanceof SqlSender) return ormClient(value)
  const client = value as Partial<Record<string, unknown>> | null | undefined
  const isObject = typeof client === 'object' && client !== null
  if (isObject && typeof client.query === 'function' && typeof client.totalCount === 'number')
    throw new TransactionError(`expected a client in a transaction, got a pool`, {
      hint: 'a pool sends each statement where it likes: take one with `await pool.connect()`',
    })
  if (!isObject || typeof client.query !== 'function' || typeof client.escapeLiteral !== 'function')
    throw new TransactionError(`expected a Client or PoolClient of pg, got ${classOf(value)}`, {
      hint: 'the queue is in PostgreSQL: give the client itself, not what wraps it',
      isElsewhere: true,
    })
  if (client.processID === null)
    throw new TransactionError('the client is not connected', {hint: 'call `await client.connect()` first'})
  return client as unknown as Client
}

function elsewhere(name: string, own: string, theirs: string): TransactionError {
  const where = theirs === own ? `${theirs} of another server, or with another search_path` : theirs
  return new TransactionError(
    `expected a client that is connected to ${own}, the queue's database ${name}, got one to ${where}`,
    {hint: 'the job is stored in the transaction only if both are in the same database', isElsewhere: true},
  )
}
