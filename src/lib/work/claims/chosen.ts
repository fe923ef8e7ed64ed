/** The one job that is to be worked, whatever is before it: `jobq work --job`. */
import {isPassing, JobHeldError, type JobqError, NotFoundError, StoreError} from '../../jobs/errors.ts'
import {idOf, type ListedJob, type RowRef} from '../../jobs/job.ts'
import type {AttemptRow, JobHistory} from '../../jobs/rows/history.ts'
import type {Claimed, Store} from '../../store/store.ts'

/** So many of the jobs that it waits for are named. */
const MOST_NAMED = 20

/** The job, if it may be taken. @throws NotFoundError, JobHeldError, StoreError */
export async function choose(store: Store, ref: RowRef): Promise<ListedJob> {
  const job = await store.find(ref.id, ref.db)
  const isParked = job?.state === 'waiting' && ((await knownOf(store, ref))?.parked ?? null) !== null
  if (!job || job.state === 'running' || (job.state === 'waiting' && !isParked))
    throw await whyNot(store, ref)
  return job
}

/** Takes it, whatever limits its function has. @returns without a job, if it may not be taken. @throws StoreError */
export async function claimChosen(store: Store, ref: RowRef, seconds: number): Promise<Claimed> {
  const claimed = await store.claim([ref], seconds, {early: true})
  if (claimed.jobs.length > 0) return claimed
  return store.claim([ref], seconds, {early: true, parked: true})
}

/** Why it could not be taken. @throws StoreError */
export async function whyNot(store: Store, ref: RowRef): Promise<JobqError> {
  const {job, attempts, after} = (await knownOf(store, ref)) ?? NOTHING
  const id = idOf(ref)
  if (job?.state === 'waiting' && after.length > 0) {
    const named = after.slice(0, MOST_NAMED).map(each => idOf({id: each.id, db: ref.db}))
    const more = after.length - named.length
    return new JobHeldError(id, more > 0 ? [...named, `${more} more`] : named)
  }
  if (job) return new JobHeldError(id)
  const last = attempts.at(-1)
  return last
    ? new NotFoundError(`job ${id} is not in the queue any more: ${howItEnded(last)}`, {
        hint: `see \`jobq show ${id}\``,
      })
    : new NotFoundError(`no job ${id} is in the queue`, {hint: '`jobq list` shows those that are'})
}

const NOTHING = {job: null, attempts: [], after: [], parked: null}

/** Who may work jobs may know less of them: their output is others' to read. */
async function knownOf(
  store: Store,
  {id, db}: RowRef,
): Promise<Pick<JobHistory, 'job' | 'attempts' | 'after' | 'parked'> | null> {
  try {
    return await store.history(id, db)
  } catch (error) {
    if (!(error instanceof StoreError) || isPassing(error)) throw error
    const job = await store.find(id, db)
    return job && {...NOTHING, job}
  }
}

function howItEnded({outcome, message}: AttemptRow): string {
  const [first = ''] = message.split('\n', 1)
  const word = outcome === 'failed' || outcome === 'died' ? 'it has failed' : `it was ${outcome}`
  return first === '' ? word : `${word} (${first})`
}
