/** What a job has written, as far as it was kept: the output of one of its attempts. */
import {NotFoundError} from '../jobs/errors.ts'
import {idOf, type RowRef} from '../jobs/job.ts'
import type {AttemptRow, JobHistory} from '../jobs/rows/history.ts'
import type {Store} from '../store/store.ts'

/** What an attempt has written to stdout and stderr, in the order in which it was read. */
export interface JobOutput extends RowRef {
  /** Which attempt, as `show` numbers them. */
  attempt: number
  /** There was more before: this is the end of it, from the beginning of a line on. */
  isCut: boolean
  /** Text as it was written; where that was no UTF-8, with U+FFFD. */
  output: Uint8Array
}

/**
 * @param nth which attempt; not given: the last one of which something was kept
 * @returns null where nothing was kept
 * @throws NotFoundError if nothing is known of the job, or it has no such attempt
 */
export async function outputOf(
  store: Store,
  ref: RowRef,
  nth: number | undefined,
): Promise<JobOutput | null> {
  const history = await store.history(ref.id, ref.db)
  if (!history) throw unknownJob(ref)
  const attempt = chosen(history, nth)
  if (!attempt?.output) return null
  const {id, isCut} = attempt.output
  const output = await store.output(id, ref.db)
  return output === null ? null : {...ref, attempt: attempt.nth, isCut, output}
}

/** Nothing is known of it. */
export function unknownJob(ref: RowRef): NotFoundError {
  return new NotFoundError(`no job ${idOf(ref)} is in the queue, and no attempt of it is kept`, {
    hint: "a job that completes leaves a trace only where its worker sets a job status, or all output is kept (keepOutput: 'all')",
  })
}

function chosen(history: JobHistory, nth: number | undefined): AttemptRow | undefined {
  const {attempts} = history
  if (nth === undefined) return attempts.findLast(({output}) => output !== null)
  const attempt = attempts[nth - 1]
  if (attempt) return attempt
  const count = attempts.length
  throw new NotFoundError(`job ${idOf(history)} has no attempt ${nth}`, {
    hint: count === 0 ? 'none has ended yet' : `it has ${count}: see \`jobq show ${idOf(history)}\``,
  })
}
