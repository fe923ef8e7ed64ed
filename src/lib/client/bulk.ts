/** Many jobs in one transaction, and where in them the one is that was refused. */
import {DuplicateJobError} from '../jobs/errors.ts'
import type {NewJob} from '../jobs/job.ts'
import type {Store} from '../store/store.ts'

/**
 * @param at says which one was read last: `line 3`, `job 3`; without it a refusal has no place. It may have been read
 * ahead of what is stored: where the store knows which one it refused, that counts
 * @throws DuplicateJobError with that place, StoreError, or what the source throws; then nothing is stored
 */
export async function storeAll(
  store: Store,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  at?: () => string,
): Promise<number> {
  try {
    return await store.enqueueMany(jobs)
  } catch (error) {
    if (!at || !(error instanceof DuplicateJobError)) throw error
    const place = error.nth === undefined ? at() : at().replace(/\d+$/, String(error.nth))
    throw await placed(error, place, store)
  }
}

/** Nothing is stored now: a job that still waits was there before, any other was in this very source. */
async function placed(error: DuplicateJobError, place: string, store: Store): Promise<DuplicateJobError> {
  const {func, uniqkey, existingId, existingDb} = error
  const waiting = existingId === null ? null : await store.find(existingId, existingDb)
  const isWaiting = waiting?.func === func && waiting.uniqkey === uniqkey
  const isTwice = !isWaiting && existingId !== null
  const told = new DuplicateJobError(func, uniqkey, isWaiting ? existingId : null, {place, isTwice})
  if (isWaiting && existingDb !== undefined) told.existingDb = existingDb
  return told
}
