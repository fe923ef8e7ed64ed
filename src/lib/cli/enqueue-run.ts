/** `jobq enqueue` once its words are known: opens the queue, stores, says what was stored. */
import {DuplicateJobError} from '../errors.ts'
import {JobQueue} from '../queue.ts'
import {type EnqueueResult, enqueueOne, result} from './enqueue-one.ts'
import {type EnqueueRequest, readJob} from './enqueue-request.ts'
import {noteDone} from './output-guard.ts'

export interface EnqueueFlags extends EnqueueRequest {
  db?: string[] | undefined
  config?: string | undefined
  json?: boolean | undefined
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
