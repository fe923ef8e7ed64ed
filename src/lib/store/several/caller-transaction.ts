/** A caller's own transaction, where there are several databases: the job goes where that is. */
import {isSqlite} from '../../jobs/connections.ts'
import {TransactionError, UsageError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'

import type {Database, Databases} from './database.ts'

/** @throws TransactionError if that is none of them */
export function enqueueWithin(
  databases: Databases,
  connection: unknown,
  job: NewJob,
): EnqueuedJob | Promise<EnqueuedJob> {
  if (job.after)
    throw new UsageError('after: expected none with several databases in a transaction of your own', {
      hint: 'open a queue on the one database that the transaction is in',
    })
  const isLocal = isSqlite(connection) || [...databases].every(({driver}) => driver === 'sqlite')
  const candidates = [...databases].filter(({driver}) => (driver === 'sqlite') === isLocal)
  return isLocal ? withinNow(candidates, connection, job) : withinLater(candidates, connection, job)
}

/** A Database of better-sqlite3: only what is open already can be asked without waiting. */
function withinNow(candidates: readonly Database[], connection: unknown, job: NewJob): EnqueuedJob {
  let failure: unknown
  for (const {store, index: db} of candidates) {
    if (!store) continue
    try {
      return {...(store.enqueueWithin(connection, job) as EnqueuedJob), db}
    } catch (error) {
      if (!isElsewhere(error)) throw error
      failure = error
    }
  }
  throw ofNone(candidates, failure)
}

async function withinLater(
  candidates: readonly Database[],
  connection: unknown,
  job: NewJob,
): Promise<EnqueuedJob> {
  let failure: unknown
  for (const database of candidates) {
    try {
      const stored = await database.use(async store => store.enqueueWithin(connection, job))
      return {...stored, db: database.index}
    } catch (error) {
      if (!isElsewhere(error)) throw error
      failure = error
    }
  }
  throw ofNone(candidates, failure)
}

function isElsewhere(error: unknown): boolean {
  return error instanceof TransactionError && error.isElsewhere
}

function ofNone(candidates: readonly Database[], cause: unknown): unknown {
  if (cause && candidates.length === 1) return cause
  return new TransactionError("expected a connection to one of the queue's databases, got one to another", {
    hint: 'give the connection that has the transaction open',
    isElsewhere: true,
    cause,
  })
}
