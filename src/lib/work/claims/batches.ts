/**
 * Jobs that run when all of a batch have ended: what they are handed has how these did, in `batch` of their argument, and so has their
 * row from then on, for a retry. One that is for failures only has nothing to do where all have completed.
 */

import {ArgumentError} from '../../jobs/errors.ts'
import type {JobRow, StoredArg} from '../../jobs/job.ts'
import {decodeArg} from '../../jobs/serializers/decode.ts'
import {encodeArg} from '../../jobs/serializers/encode.ts'
import {exactly} from '../../jobs/serializers/exactly.ts'
import {checkSize} from '../../jobs/serializers/serializers.ts'
import {batchFactOf} from '../../jobs/side-tables/batches.ts'
import {isObject} from '../../jobs/value.ts'
import type {Store} from '../../store/store.ts'

/** Is one of a batch among them? Mostly there is none. */
export function areOfBatches(jobs: readonly JobRow[]): boolean {
  return jobs.some(job => job.context !== undefined && batchFactOf(job) !== null)
}

/**
 * Writes that into those of these jobs that were taken here.
 * @returns those that have nothing to do
 * @throws StoreError
 */
export async function tellBatches(store: Store, jobs: readonly JobRow[]): Promise<JobRow[]> {
  const idle: JobRow[] = []
  for (const job of jobs) {
    const fact = batchFactOf(job)
    const state = fact && (await store.batch(job.id, job.db))
    if (!state) continue
    const {left: _, ...batch} = state
    if (fact.role === 'onFailure' && batch.completed === batch.jobs) idle.push(job)
    else await tell(store, job, fact.serializer, batch)
  }
  return idle
}

type Fact = NonNullable<ReturnType<typeof batchFactOf>>

async function tell(
  store: Store,
  job: JobRow,
  serializer: Fact['serializer'],
  batch: Record<string, number>,
): Promise<void> {
  const arg = await withCounts(job.arg, serializer, batch)
  if (arg === null || !(await store.setArg(job, arg))) return
  job.arg = typeof arg === 'string' ? Buffer.from(arg) : arg
}

/** null: there is no room for them in it, it is as large or as deep as may be. Then it stays as it is, and the job runs. */
async function withCounts(
  stored: Uint8Array | null,
  serializer: Fact['serializer'],
  batch: Record<string, number>,
): Promise<StoredArg> {
  const given = await decodeArg(stored, serializer).catch(() => null) // somebody has given it another one since
  const members = isObject(given) ? given : {}
  try {
    if (serializer !== 'json' || !isObject(given)) return encodeArg({...members, batch}, serializer, 'arg')
    const exact = JSON.parse(Buffer.from(stored!).toString('utf8'), exactly as never) as object
    return checkSize(JSON.stringify({...exact, batch}), 'arg')
  } catch (error) {
    if (error instanceof ArgumentError || error instanceof RangeError) return null
    throw error
  }
}
