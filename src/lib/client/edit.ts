/** A job that waits, changed. */
import type {Extensions} from '../hooks/extensions.ts'
import {callOf} from '../hooks/hooked-job.ts'
import {ArgumentError, isoTime, JobRunningError} from '../jobs/errors.ts'
import {
  type EnqueuedJob,
  idOf,
  type JobChanges,
  type ListedJob,
  type NewJob,
  type RowRef,
  type StoredArg,
} from '../jobs/job.ts'
import {dueOf} from '../jobs/new-job.ts'
import {decodeArg} from '../jobs/serializers/decode.ts'
import {encodeArg} from '../jobs/serializers/encode.ts'
import {batchFactOf} from '../jobs/side-tables/batches.ts'
import {checkExpiry, durationOf} from '../jobs/time.ts'
import type {Store} from '../store/store.ts'
import {checkLast} from './batch.ts'
import {lastOf} from './cancel.ts'
import type {EditOptions} from './options.ts'

/** The argument of the job as it is found. */
export type ArgFor = (job: ListedJob) => StoredArg | Promise<StoredArg>

/** @throws NotFoundError, JobRunningError, DuplicateJobError, ArgumentError, and what `argFor` throws */
export async function editJob(
  store: Store,
  ref: RowRef,
  changes: JobChanges,
  argFor: ArgFor | null,
): Promise<EnqueuedJob> {
  const isTimed = changes.due !== undefined || typeof changes.expires === 'number'
  const isLookedAt = argFor !== null || isTimed
  const job = isLookedAt ? await store.find(ref.id, ref.db, {contexts: argFor !== null, details: true}) : null
  if (job && isTimed) checkEnd(job, changes)
  const arg = job && argFor && {arg: await argFor(job)}
  if (arg) await checkRoom(job, arg.arg)
  const edited = isLookedAt && !job ? 'gone' : await store.edit(ref.id, {...changes, ...arg}, ref.db)
  if (edited === 'running') throw new JobRunningError(idOf(ref))
  if (edited === 'gone') throw (await lastOf(store, ref)).error
  return edited
}

/** The database's clock is taken for near ours. @throws ArgumentError for what would leave the queue before it is due */
function checkEnd(job: ListedJob, {due, expires}: JobChanges): void {
  const now = Math.floor(Date.now() / 1000)
  const end = typeof expires === 'number' ? now + expires : expires === null ? null : job.expiresAt
  const own = job.state === 'delayed' ? job.runAfter : now
  const at = due === undefined ? own : 'at' in due ? due.at : now + due.in
  if (job.state === 'running' || end === null || at < end) return
  throw new ArgumentError(
    `job ${idOf(job)} would leave the queue at ${isoTime(end)}, before it is due at ${isoTime(at)}`,
    {
      hint: 'give it another time, too, or another end: --delay, --at, --expires',
    },
  )
}

/**
 * One that runs when a batch has ended is told in its argument how that went.
 * @param job with its context. @throws ArgumentError if there would be no room
 */
export async function checkRoom(job: ListedJob, arg: StoredArg): Promise<void> {
  const fact = batchFactOf(job)
  if (!fact) return
  try {
    const bytes = typeof arg === 'string' ? Buffer.from(arg) : arg
    checkLast(await decodeArg(bytes, fact.serializer), fact.serializer, 'arg')
  } catch (cause) {
    const form = fact.serializer === 'json' ? 'JSON' : 'MessagePack'
    throw new ArgumentError(
      `job ${idOf(job)} follows a batch: expected an object in ${form} as its argument, or none`,
      {
        cause,
        hint: 'how the jobs of the batch have ended comes into it, as its member "batch"',
      },
    )
  }
}

/** All but the argument. */
export function changesOf({priority, uniqkey, expires, ...due}: EditOptions): JobChanges {
  return {
    ...(expires === undefined ? {} : endOf(expires, dueOf(due), ['edit: expires', 'the delay'])),
    ...(priority === undefined ? {} : {priority}),
    ...(uniqkey === undefined ? {} : {uniqkey}),
    ...(due.delay === undefined && due.runAfter === undefined ? {} : {due: dueOf(due)}),
  }
}

/** @param expires null: never. @param names of it and of what says when the job is due. @throws UsageError */
export function endOf(
  expires: number | string | null,
  due: NewJob['due'],
  names: readonly [string, string],
): Pick<JobChanges, 'expires'> {
  if (expires === null) return {expires}
  const seconds = durationOf(expires, names[0])
  checkExpiry(seconds, due, names)
  return {expires: seconds}
}

/**
 * As an enqueue encodes it: `serialize` hooks are called, since `deserialize` hooks will undo what they do. The others are
 * not: nothing is enqueued.
 */
export function argForOptions(
  {arg, serializer}: EditOptions,
  {hooks, serializer: usual}: Pick<Extensions, 'hooks' | 'serializer'>,
): ArgFor | null {
  if (arg === undefined) return null
  return async ({func, uniqkey, priority}) => {
    const call = callOf(func, {arg, serializer, uniqkey, priority}, {serializer: usual})
    await hooks.run('serialize', call)
    return encodeArg(call.arg, call.serializer, 'edit: arg')
  }
}
