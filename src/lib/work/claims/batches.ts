/**
 * Jobs that run when all of a batch have ended: what they are handed has how these did, in `batch` of their argument, and so has their
 * row from then on, for a retry. One that is for failures only has nothing to do where all have completed.
 */

import type {JobRow} from '../../jobs/job.ts'
import {decodeArg} from '../../jobs/serializers/decode.ts'
import {encodeArg} from '../../jobs/serializers/encode.ts'
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
  const given = await decodeArg(job.arg, serializer).catch(() => null) // somebody has given it another one since
  const arg = encodeArg({...(isObject(given) ? given : {}), batch}, serializer, 'arg')
  if (!(await store.setArg(job, arg))) return
  job.arg = typeof arg === 'string' ? Buffer.from(arg) : arg
}
