/**
 * Batches: jobs, and one that is enqueued with them and runs when all of them have ended. That one waits for them as any job waits
 * for others, and jobq_batch has a row for each of them and one for itself. That it is one, its context says, so that whoever takes
 * it knows, and puts into its argument how they ended.
 */
import type {JobRow, NewJob, RowRef} from '../job.ts'
import type {SerializerName} from '../serializers/serializers.ts'
import {OWN_CONTEXT} from './keep-result.ts'

/** When it is to run, once all have ended: always; or only if one of them has not completed. */
export type BatchRole = 'then' | 'onFailure'

/** What was enqueued, all in one transaction. */
export interface Batch {
  /** How many jobs, besides those that follow. */
  jobs: number
  thenJob: (RowRef & {func: string}) | null
  failureJob: (RowRef & {func: string}) | null
}

const BATCH = `${OWN_CONTEXT}batch`

interface BatchFact {
  role: BatchRole
  serializer: SerializerName
}

/** The job that runs when as many as come before it have ended. @param mark by which it is found */
export function lastJob(job: NewJob, fact: BatchFact, jobs: number, mark: string): NewJob {
  const given = job.context === undefined ? {} : (JSON.parse(job.context) as Record<string, string>)
  const context = JSON.stringify({...given, [BATCH]: `${fact.role} ${fact.serializer}`})
  const all = Array.from({length: jobs}, (_, i) => ({nth: i + 1, anyEnd: true}))
  return {...job, context, after: [...(job.after ?? []), ...all], batch: mark}
}

/** null: it is none of a batch. */
export function batchFactOf({context}: Pick<JobRow, 'context'>): BatchFact | null {
  if (!context?.includes(BATCH)) return null
  const said = (JSON.parse(context) as Record<string, string>)[BATCH]
  if (said === undefined) return null
  const [role, serializer] = said.split(' ') as [BatchRole, SerializerName]
  return {role, serializer}
}
