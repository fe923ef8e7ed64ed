/**
 * Many retries, one after the other, each in a transaction of its own: what is refused is told and does not stop the
 * rest, and what is done stays done.
 */
import {
  AfterFailedError,
  AlreadyRetriedError,
  DuplicateJobError,
  isElsewhere,
  type JobqError,
  NotFoundError,
  StillTriedError,
} from '../jobs/errors.ts'
import {type EnqueuedJob, idOf, type RowRef, rowRef, type TagOptions} from '../jobs/job.ts'
import {tagChoices} from '../jobs/names.ts'
import type {ExceptionRow} from '../jobs/rows/history.ts'
import type {Retrying, Store} from '../store/store.ts'

/** Some exceptions by id, those of some jobs, or those with which all jobs were given up that were not retried yet. */
export type RetryChoice =
  | {ids: readonly RowRef[]}
  /** The last failed attempt of each of these jobs. */
  | {jobs: readonly RowRef[]}
  | {
      func?: string | undefined
      since?: {at: number} | {ago: number} | undefined
      tags?: TagOptions | undefined
    }

/** A new job (null in a dry run: it would be enqueued), or why there is none. */
export type RetryOutcome =
  | {exception: RowRef; func: string; uniqkey: string | null; job: EnqueuedJob | null; refused: null}
  /** exception: null: of the job that was named no failed attempt is known. */
  | {exception: RowRef | null; refused: JobqError}

/** Oldest first. Exceptions that the retried jobs cause meanwhile are not met, so that this ends. */
export async function* retryMany(
  store: Store,
  choice: RetryChoice,
  row: Retrying,
  dryRun: boolean,
  refIn: (ref: RowRef) => RowRef,
): AsyncGenerator<RetryOutcome> {
  const rehearsal = new Rehearsal(store)
  const retry = (ref: RowRef, exception?: ExceptionRow) =>
    orRefused(ref, () =>
      dryRun ? rehearsal.retry(ref, row.again ?? false, exception) : retryOne(store, ref, row),
    )
  const followed = new Set<number | string>()
  async function* withFollowers(outcome: RetryOutcome): AsyncGenerator<RetryOutcome> {
    yield outcome
    if (outcome.refused !== null || outcome.job === null) return
    for await (const one of retryFollowers(store, outcome.exception, row)) {
      if (one.exception) followed.add(idOf(one.exception))
      yield one
    }
  }
  if ('ids' in choice) {
    for (const named of choice.ids) {
      const ref = there(named, refIn)
      if ('refused' in ref) yield {exception: named, ...ref}
      else if (!followed.has(idOf(ref))) yield* withFollowers(await retry(ref))
    }
    return
  }
  if ('jobs' in choice) {
    for (const named of choice.jobs) {
      const job = there(named, refIn)
      if ('refused' in job) {
        yield {exception: null, ...job}
        continue
      }
      const exception = await lastException(store, job)
      if (!exception) yield {exception: null, refused: noFailure(job)}
      else if (!followed.has(idOf(exception))) yield* withFollowers(await retry(exception))
    }
    return
  }
  const tags = tagChoices(choice.tags)
  const all = {...choice, tags, unretried: true, oldestFirst: true, limit: Number.MAX_SAFE_INTEGER, offset: 0}
  for await (const exception of store.eachException(all)) {
    if (exception.state === 'earlier') continue // its job has ended since, by another attempt or a cancel
    const outcome = await retry(rowRef(exception), exception)
    // Someone else has retried it or deleted it meanwhile: what was wanted of `all` is so
    const isGone = outcome.refused instanceof AlreadyRetriedError || outcome.refused instanceof NotFoundError
    if (!isGone) yield* withFollowers(outcome)
  }
}

/**
 * What failed because the job of this exception did, and so on, each behind what it waited for: it waits for that again.
 * @param exception whose job was retried just now
 */
async function* retryFollowers(
  store: Store,
  exception: RowRef,
  first: Retrying,
): AsyncGenerator<RetryOutcome> {
  const row = {...first, due: {in: 0}}
  for (let front = [exception]; front.length > 0; ) {
    const next: RowRef[] = []
    for (const {id, db} of front)
      for (const ref of await store.followers(id, db)) {
        const outcome = await orRefused(ref, () => retryOne(store, ref, row))
        if (outcome.refused instanceof AlreadyRetriedError) continue // by way of another one
        if (outcome.refused === null) next.push(ref)
        yield outcome
      }
    front = next
  }
}

/** Or that there is no such database. */
function there(ref: RowRef, refIn: (ref: RowRef) => RowRef): RowRef | {refused: NotFoundError} {
  try {
    return refIn(ref)
  } catch (error) {
    if (error instanceof NotFoundError) return {refused: error}
    throw error
  }
}

async function retryOne(store: Store, exception: RowRef, row: Retrying): Promise<RetryOutcome> {
  const job = await store.retry(exception.id, row, exception.db)
  return {exception, func: job.func, uniqkey: job.uniqkey, job, refused: null}
}

async function orRefused(exception: RowRef, retry: () => Promise<RetryOutcome>): Promise<RetryOutcome> {
  try {
    return await retry()
  } catch (error) {
    if (
      error instanceof AfterFailedError ||
      error instanceof AlreadyRetriedError ||
      error instanceof DuplicateJobError ||
      error instanceof StillTriedError ||
      error instanceof NotFoundError ||
      isElsewhere(exception, error)
    )
      return {exception, refused: error}
    throw error
  }
}

/** A dry run: says what each retry would, with those before it in mind, and only reads. */
class Rehearsal {
  readonly #store: Store
  readonly #retried = new Set<number | string>()
  readonly #keys = new Set<string>()

  constructor(store: Store) {
    this.#store = store
  }

  async retry(row: RowRef, again: boolean, known?: ExceptionRow): Promise<RetryOutcome> {
    const exception = known ?? (await this.#store.exceptions({...row, limit: 1, offset: 0}))[0]
    if (!exception) throw noException(row.id)
    if (exception.retried || this.#retried.has(idOf(row))) throw new AlreadyRetriedError(row.id)
    const {func, uniqkey} = exception
    const tried = again ? null : await this.#store.nextTry(row.id, row.db)
    if (tried !== null) throw new StillTriedError(row.id, tried)
    if (uniqkey !== null) {
      const key = JSON.stringify([row.db, func, uniqkey])
      const everywhere = await this.#store.list({func, uniqkey, limit: Number.MAX_SAFE_INTEGER, offset: 0})
      const waiting = everywhere.find(job => job.db === row.db)
      if (waiting || this.#keys.has(key)) throw new DuplicateJobError(func, uniqkey, waiting?.id ?? null)
      this.#keys.add(key)
    }
    this.#retried.add(idOf(row))
    return {exception: row, func, uniqkey, job: null, refused: null}
  }
}

async function lastException(store: Store, job: RowRef): Promise<RowRef | null> {
  const {attempts} = (await store.history(job.id, job.db)) ?? {attempts: []}
  const failed = attempts.findLast(({exceptionId}) => exceptionId !== null)
  return failed ? {...job, id: failed.exceptionId!} : null
}

function noFailure(job: RowRef): NotFoundError {
  return new NotFoundError(`job ${idOf(job)}: no failed attempt of it is known`, {
    hint: `see \`jobq show ${idOf(job)}\`, \`jobq list --failed\``,
  })
}

function noException(id: number): NotFoundError {
  return new NotFoundError(`no exception ${id}`, {hint: 'see `jobq list --failed`'})
}
