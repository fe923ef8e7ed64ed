/** `jobq wait` once its words are known: tells each end as it comes, and adds up the exit status. */

import type {JobQueue} from '../../client/queue.ts'
import {EXIT, JobqError} from '../../jobs/errors.ts'
import {idOf, type JobEnd, type RowRef} from '../../jobs/job.ts'
import {line} from '../../render/listing.ts'
import {complain} from '../output-guard.ts'

export interface WaitResult {
  ended: JobEnd[]
  refused: {job: RowRef; error: JobqError}[]
  exitCode: number
}

/** @param timeout seconds, for all of them together; undefined: however long it takes */
export async function runWaits(
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

export function waitDocument({ended, refused}: WaitResult): Record<string, unknown> {
  return {
    ended: ended.map(end => ({id: idOf(end), outcome: end.outcome, message: end.message})),
    refused: refused.map(({job, error}) => ({id: idOf(job), code: error.code, message: error.message})),
  }
}
