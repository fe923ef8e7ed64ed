/** A batch: jobs, and what runs when all of them have ended, stored in one transaction. */
import {randomBytes} from 'node:crypto'
import {StoreError, UsageError} from '../jobs/errors.ts'
import type {NewJob} from '../jobs/job.ts'
import {encodeArg} from '../jobs/serializers/encode.ts'
import type {SerializerName} from '../jobs/serializers/serializers.ts'
import {type Batch, type BatchRole, lastJob} from '../jobs/side-tables/batches.ts'
import {isObject} from '../jobs/value.ts'
import type {Store} from '../store/store.ts'

const MOST = Number.MAX_SAFE_INTEGER
const MOST_COUNTS = {jobs: MOST, completed: MOST, failed: MOST, aborted: MOST}

/** A job that runs at the end, as it is enqueued by itself. */
export interface LastJob {
  role: BatchRole
  serializer: SerializerName
  job: NewJob
}

/**
 * @param store stores them all, or none
 * @throws what that throws; UNCERTAIN where they are stored, and the database can't say any more as which job the last one is
 */
export async function addBatch(
  store: Store,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  lasts: readonly LastJob[],
  add: (jobs: AsyncIterable<NewJob>) => Promise<number>,
): Promise<Batch> {
  const marked = lasts.map(last => ({...last, mark: randomBytes(12).toString('hex')}))
  let count = 0
  await add(
    (async function* () {
      for await (const job of jobs) {
        count++
        yield {...job, tracked: true} // how it ends is kept until the last one asks
      }
      for (const {job, role, serializer, mark} of marked) yield lastJob(job, {role, serializer}, count, mark)
    })(),
  )
  const batch: Batch = {jobs: count, thenJob: null, failureJob: null}
  for (const {mark, role, job} of marked) {
    const ref = await store.batchMarked(mark).catch(error => {
      throw error instanceof StoreError ? isStored(error, count, job.func) : error
    })
    if (ref) batch[role === 'then' ? 'thenJob' : 'failureJob'] = {...ref, func: job.func}
  }
  return batch
}

/** What is stored must not be enqueued again, though its id is not known. */
function isStored(cause: StoreError, jobs: number, last: string): StoreError {
  const message = `${cause.message}: the batch is stored, ${jobs} jobs and ${last} behind them, but the id of that one is not known`
  return new StoreError('UNCERTAIN', message, {
    hint: 'do not enqueue it again: `jobq list --state waiting` shows the last one',
    cause,
  })
}

/** @throws UsageError for what can't have the counts of a batch in it */
export function checkLast(arg: unknown, serializer: SerializerName, what: string): void {
  if (serializer === 'none')
    throw new UsageError(`${what}: expected the serializer json or msgpack, got none`, {
      hint: 'how the jobs of the batch have ended comes into its argument',
    })
  if (arg === undefined || arg === null) return
  if (isObject(arg)) {
    encodeArg({...arg, batch: MOST_COUNTS}, serializer, what) // there must be room for them, too
    return
  }
  throw new UsageError(`${what}: expected an object as its argument, or none`, {
    hint: 'how the jobs of the batch have ended comes into it, as its member "batch"',
  })
}
