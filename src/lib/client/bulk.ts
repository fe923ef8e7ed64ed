/** Many jobs in one transaction, and where in them the one is that was refused. */
import {ArgumentError, DuplicateJobError, JobqError} from '../jobs/errors.ts'
import type {NewJob} from '../jobs/job.ts'
import type {Store} from '../store/store.ts'

/** Names the nth job in its source, `line 3` or `job 3`; without a number, the one that was read last. */
export type At = (nth?: number) => string | Promise<string>

/**
 * @param at without it a refusal has no place
 * @throws DuplicateJobError, ArgumentError, NotFoundError, AfterFailedError with that place, StoreError, or what the source throws; then nothing is stored
 */
export async function storeAll(
  store: Store,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  at?: At,
): Promise<number> {
  try {
    return await store.enqueueMany(jobs)
  } catch (error) {
    if (!at) throw error
    if (error instanceof DuplicateJobError) throw await placed(error, await at(error.nth), store)
    if (error instanceof JobqError && !(error instanceof ArgumentError) && error.nth !== undefined)
      error.message = `${await at(error.nth)}: ${error.message}`
    if (!(error instanceof ArgumentError) || error.nth === undefined) throw error
    throw new ArgumentError(`${await at(error.nth)}: ${error.message}`, {hint: error.hint, cause: error})
  }
}

/** Nothing is stored now: a job that still waits was there before, any other was in this very source. */
async function placed(error: DuplicateJobError, place: string, store: Store): Promise<DuplicateJobError> {
  const {func, uniqkey, existingId, existingDb: db, takenUntil} = error
  const waiting = existingId === null ? null : await store.find(existingId, db)
  const isWaiting = waiting?.func === func && waiting.uniqkey === uniqkey
  if (isWaiting) return new DuplicateJobError(func, uniqkey, existingId, {place, db})
  return takenUntil === null
    ? new DuplicateJobError(func, uniqkey, null, {place, isTwice: true})
    : new DuplicateJobError(func, uniqkey, existingId, {place, takenUntil, db})
}
