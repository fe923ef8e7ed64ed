/** `jobq wait` once its words are known: tells each end as it comes, and adds up the exit status. */

import type {JobQueue} from '../../client/queue.ts'
import {EXIT, JobqError, UsageError} from '../../jobs/errors.ts'
import {idOf, type JobEnd, type RowRef} from '../../jobs/job.ts'
import {parseRef} from '../../jobs/names.ts'
import {parseDuration} from '../../jobs/time.ts'
import {line} from '../../render/listing.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

export interface WaitFlags extends QueueFlags {
  id?: string[] | undefined
  timeout?: string | undefined
  json?: boolean | undefined
}

interface WaitResult {
  ended: JobEnd[]
  refused: {job: RowRef; error: JobqError}[]
  exitCode: number
}

export async function run(flags: WaitFlags): Promise<Record<string, unknown>> {
  if (!flags.id)
    throw new UsageError('expected ids of jobs, got none', {
      hint: 'write: jobq wait 7 8; `jobq enqueue` prints the id of a job, and `jobq list` shows those in the queue',
    })
  const jobs = flags.id.map(id => parseRef(id, 'ID'))
  const timeout = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, '--timeout')
  const result = await withQueueOf(flags, queue => waitForAll(queue, jobs, timeout, printer(flags.json)))
  if (result.exitCode !== 0) process.exitCode = result.exitCode
  return waitDocument(result)
}

/** @param timeout seconds, for all of them together; undefined: however long it takes */
async function waitForAll(
  queue: JobQueue,
  jobs: readonly RowRef[],
  timeout: number | undefined,
  print: (text: string) => void,
): Promise<WaitResult> {
  const result: WaitResult = {ended: [], refused: [], exitCode: EXIT.done}
  const waitFor = async (job: RowRef) => {
    try {
      const end = await queue.wait(job, {timeout})
      result.ended.push(end)
      print(line([idOf(end), end.outcome, end.message]))
    } catch (error) {
      if (!(error instanceof JobqError)) throw error
      result.refused.push({job, error})
      complain(`jobq: ${error.message}${error.hint && ` (${error.hint})`}`)
    }
  }
  await Promise.all(jobs.map(waitFor))
  return {...result, exitCode: exitCodeOf(result)}
}

/** A job's failure is what is waited for; then comes what is not known. */
function exitCodeOf({ended, refused}: WaitResult): number {
  const outcomes = ended.map(({outcome}) => outcome)
  if (outcomes.includes('failed') || outcomes.includes('aborted')) return EXIT.jobFailed
  if (outcomes.includes('gone')) return EXIT.notFound
  return refused.reduce<number>((code, {error}) => Math.max(code, error.exitCode), EXIT.done)
}

function waitDocument({ended, refused}: WaitResult): Record<string, unknown> {
  return {
    ended: ended.map(end => ({id: idOf(end), outcome: end.outcome, message: end.message})),
    refused: refused.map(({job, error}) => ({id: idOf(job), code: error.code, message: error.message})),
  }
}
