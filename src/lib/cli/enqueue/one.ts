/** One job into a queue or a store, and what is said of it. */
import {DuplicateJobError} from '../../jobs/errors.ts'
import {type EnqueuedJob, idOf, type JobRow, type NewJob} from '../../jobs/job.ts'
import {printableJson} from '../../jobs/printable.ts'
import {noteDone} from '../output-guard.ts'

/** What `enqueue --json` prints, and the plain line. */
export interface EnqueueResult {
  line: string
  document: Record<string, unknown>
}

/** A JobQueue, or a Store. */
interface Target {
  add(job: NewJob): Promise<EnqueuedJob>
  find(id: number, db?: number): Promise<JobRow | null>
}

/** @param ifAbsent a job that waits under the uniqkey stands for this one. @throws DuplicateJobError otherwise */
export async function enqueueOne(target: Target, job: NewJob, ifAbsent: boolean): Promise<EnqueueResult> {
  for (;;) {
    try {
      const row = await target.add(job)
      const {func, uniqkey, priority, runAfter} = row
      const id = idOf(row)
      noteDone(`job ${id} is stored all the same`)
      return result(id, {id, func, uniqkey, priority, run_after: runAfter, enqueued: true})
    } catch (error) {
      if (!(ifAbsent && error instanceof DuplicateJobError)) throw error
      const waiting = error.existingId === null ? null : await target.find(error.existingId, error.existingDb)
      if (!waiting) continue // it left the queue in between: the key is free again
      const {func, uniqkey, priority, runAfter} = waiting
      const id = idOf(waiting)
      return result(id, {id, func, uniqkey, priority, run_after: runAfter, enqueued: false})
    }
  }
}

export function result(line: number | string, document: Record<string, unknown>): EnqueueResult {
  return {line: String(line), document}
}

/** The line or, for --json, the document, as it is printed. */
export function shown({line, document}: EnqueueResult, json: boolean | undefined): string {
  return `${json ? printableJson(JSON.stringify(document)) : line}\n`
}
