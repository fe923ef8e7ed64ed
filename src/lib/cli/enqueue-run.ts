/**
 * `jobq enqueue` once its words are known: opens the queue, stores, says what was stored. Shared by the oclif command
 * and by the quick lane, which runs it without loading oclif.
 */

import {DuplicateJobError} from '../errors.ts'
import {idOf, type NewJob} from '../job.ts'
import {JobQueue} from '../queue.ts'
import {type EnqueueRequest, readJob} from './enqueue-request.ts'
import {noteDone} from './output-guard.ts'

export interface EnqueueFlags extends EnqueueRequest {
  db?: string[] | undefined
  config?: string | undefined
}

/** What `enqueue --json` prints, and the plain line. */
export interface EnqueueResult {
  line: string
  document: Record<string, unknown>
}

export async function runEnqueue(flags: EnqueueFlags): Promise<EnqueueResult> {
  if (flags['args-from'] !== undefined || flags.batch !== undefined) return enqueueMany(flags)
  const job = await readJob(flags)
  const queue = await JobQueue.open(flags)
  try {
    return await enqueueOne(queue, job, flags['if-absent'] ?? false)
  } finally {
    await queue.close()
  }
}

async function enqueueOne(queue: JobQueue, job: NewJob, ifAbsent: boolean): Promise<EnqueueResult> {
  for (;;) {
    try {
      const row = await queue.add(job)
      const {func, uniqkey, priority, runAfter} = row
      const id = idOf(row)
      noteDone(`job ${id} is stored all the same`)
      return result(id, {id, func, uniqkey, priority, run_after: runAfter, enqueued: true})
    } catch (error) {
      if (!(ifAbsent && error instanceof DuplicateJobError)) throw error
      const waiting = error.existingId === null ? null : await queue.find(error.existingId, error.existingDb)
      if (!waiting) continue // it left the queue in between: the key is free again
      const {func, uniqkey, priority, runAfter} = waiting
      const id = idOf(waiting)
      return result(id, {id, func, uniqkey, priority, run_after: runAfter, enqueued: false})
    }
  }
}

async function enqueueMany(flags: EnqueueFlags): Promise<EnqueueResult> {
  const {openJobs} = await import('./bulk-request.ts')
  using source = await openJobs(flags)
  const queue = await JobQueue.open(flags)
  try {
    const count = await queue.addMany(source.jobs)
    noteDone(`${count} jobs are stored all the same`)
    return result(count, {enqueued: count})
  } catch (error) {
    throw error instanceof DuplicateJobError ? await inLine(error, source.line(), queue) : error
  } finally {
    await queue.close()
  }
}

/** Nothing is stored now: a job that still waits was there before, any other was in an earlier line. */
async function inLine(error: DuplicateJobError, line: number, queue: JobQueue): Promise<DuplicateJobError> {
  const {func, uniqkey, existingId, existingDb} = error
  const waiting = existingId === null ? null : await queue.find(existingId, existingDb)
  const isWaiting = waiting?.func === func && waiting.uniqkey === uniqkey
  const isTwice = !isWaiting && existingId !== null
  const told = new DuplicateJobError(func, uniqkey, isWaiting ? existingId : null, {line, isTwice})
  if (isWaiting && existingDb !== undefined) told.existingDb = existingDb
  return told
}

function result(line: number | string, document: Record<string, unknown>): EnqueueResult {
  return {line: String(line), document}
}
