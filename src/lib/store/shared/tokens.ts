/**
 * The rows of jobq_token: what was stored under the token of an enqueue. Their column `jobs` is the fingerprint of what that
 * was; an older jobq, which may work beside this one, writes 1 there and never looks at it.
 */
import {UsageError} from '../../jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../jobs/job.ts'

/** So many rows are added between two sweeps, each of which takes at most twice as many. */
const SWEEP_EVERY = 100

/** An older jobq's row: what it stored is not known. */
const UNKNOWN = 1

/** What a token's row says. */
export interface Stored {
  /** The job's. */
  id: number
  /** `fingerprintOf` that job. */
  fingerprint: number
  /** Unix seconds, by the database's clock. */
  storedAt: number
}

/** Tells what is to be done apart from anything else under the same token, in 31 bits. */
export function fingerprintOf({func, uniqkey, arg}: Pick<NewJob, 'func' | 'uniqkey' | 'arg'>): number {
  const {crc32} = process.getBuiltinModule('node:zlib') // not loaded where there is no token
  return crc32(arg ?? '', crc32(JSON.stringify([func, uniqkey, arg === null]))) >>> 1
}

/** As the first try would have told it. @throws UsageError where that was another job's */
export function enqueuedAs(job: NewJob, {id, fingerprint, storedAt}: Stored): EnqueuedJob {
  const {func, uniqkey, priority, due, token} = job
  if (fingerprint !== UNKNOWN && fingerprint !== fingerprintOf(job))
    throw new UsageError(
      `token ${JSON.stringify(token)}: expected what it has stored as job ${id}, got another function, argument or uniqkey`,
      {hint: 'a token is for one enqueue and its repetitions; give each job its own'},
    )
  return {id, func, uniqkey, priority, runAfter: 'at' in due ? due.at : storedAt + due.in}
}

/** Whose turn it is to take away tokens whose time is over. */
export class TokenSweep {
  #added = Math.floor(Math.random() * SWEEP_EVERY) // most processes that enqueue are short

  /** @param added so many rows. @returns how many may be swept now; 0: none */
  most(added: number): number {
    this.#added += added
    if (this.#added < SWEEP_EVERY) return 0
    const most = 2 * this.#added
    this.#added = 0
    return most
  }
}
