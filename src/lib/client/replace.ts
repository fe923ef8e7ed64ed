/** An enqueue that takes the place of the job that waits under its key, where one does. */
import {DuplicateJobError, StoreError, UsageError} from '../jobs/errors.ts'
import {type EnqueuedJob, idOf, type JobChanges, type NewJob, type RowRef, rowRef} from '../jobs/job.ts'
import type {Store} from '../store/store.ts'
import {checkRoom} from './edit.ts'

/**
 * Each step is a transaction of its own, and holds only for what still has the key: what leaves the queue, or is given
 * another key in between, frees it.
 * @param databases how many there are: a key is unique in each, so with several it is looked for in all of them first
 * @throws DuplicateJobError if the other one runs; UsageError; UNCERTAIN where it may have been replaced; as Store.enqueue and
 * Store.edit
 */
export async function enqueueOrReplace(
  store: Pick<Store, 'enqueue' | 'edit' | 'find' | 'list'>,
  job: NewJob,
  databases: number,
): Promise<EnqueuedJob> {
  const {func, uniqkey} = job
  checkReplacing(job)
  const changes = changesOf(job)
  let holder = databases > 1 ? await holderOf(store, job) : null
  let taken: DuplicateJobError | null = null
  for (;;) {
    if (holder === null)
      try {
        return await store.enqueue(job)
      } catch (error) {
        if (!(error instanceof DuplicateJobError)) throw error
        const {existingId: id, existingDb: db} = error
        holder = id === null ? null : rowRef({id, db})
        taken = error.takenUntil === null ? null : error
        continue
      }
    const waiting = await store.find(holder.id, holder.db, {contexts: true})
    if (waiting) await checkRoom(waiting, job.arg)
    const edited = await editHolder(store, holder, changes)
    if (edited === 'running') throw stillRunning(func, uniqkey!, holder)
    if (edited !== 'gone') return {...edited, isReplaced: true}
    if (taken) throw taken // by a job that has ended
    holder = null
  }
}

/** @throws UsageError */
function checkReplacing({uniqkey, after}: NewJob): void {
  if (uniqkey === null)
    throw new UsageError('replace: expected a uniqkey with it, got none', {
      hint: 'the job that waits under the same key is replaced',
    })
  if (after)
    throw new UsageError('replace: expected no after with it', {
      hint: 'what waits for others goes on waiting for the same ones when it is replaced',
    })
}

/** All that an enqueue says of a job but its key; of what it does not say, a priority and a time hold all the same. */
function changesOf({arg, priority, due, uniqkey, context, tracked, tags, expires}: NewJob): JobChanges {
  return {arg, priority, due, context, tracked, tags, expires: expires ?? null, ifUniqkey: uniqkey!}
}

async function holderOf(store: Pick<Store, 'list'>, {func, uniqkey}: NewJob): Promise<RowRef | null> {
  const [found] = await store.list({func, uniqkey: uniqkey!, limit: 1, offset: 0})
  return found ? rowRef(found) : null
}

/** Where the answer is lost the job may be replaced, and worked, and gone: then the same again would be a second one. */
async function editHolder(store: Pick<Store, 'edit'>, holder: RowRef, changes: JobChanges) {
  try {
    return await store.edit(holder.id, changes, holder.db)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'UNREACHABLE') throw error
    const id = idOf(holder)
    throw new StoreError('UNCERTAIN', `${error.message}: job ${id} may have been replaced`, {
      hint: `look with \`jobq show ${id}\` before you enqueue again`,
      cause: error,
    })
  }
}

function stillRunning(func: string, uniqkey: string, {id, db}: RowRef): DuplicateJobError {
  return new DuplicateJobError(func, uniqkey, id, {isRunning: true, db})
}
