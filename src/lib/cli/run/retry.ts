/** `jobq retry` once its words are known: tells each outcome as it comes, and adds up the exit status. */
import {setImmediate as nextTurn} from 'node:timers/promises'
import type {RetryOptions} from '../../client/options.ts'
import type {JobQueue} from '../../client/queue.ts'
import type {RetryChoice, RetryOutcome} from '../../client/retry.ts'
import {EXIT, type JobqError, StillTriedError} from '../../jobs/errors.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {line} from '../../render/listing.ts'
import {complain} from '../output-guard.ts'
import {Stop} from '../stop.ts'

export interface RetryResult {
  outcomes: RetryOutcome[]
  exitCode: number
}

export async function runRetries(
  queue: JobQueue,
  choice: RetryChoice,
  options: RetryOptions & {dryRun: boolean},
  print: (text: string) => void,
): Promise<RetryResult> {
  using stop = new Stop()
  const isAll = !('ids' in choice)
  const isSkipped = (refused: JobqError | null) => isAll && refused instanceof StillTriedError
  const outcomes: RetryOutcome[] = []
  for await (const outcome of queue.retryMany(choice, options)) {
    outcomes.push(outcome)
    if (outcome.refused === null)
      print(
        outcome.job
          ? String(idOf(outcome.job))
          : line([idOf(outcome.exception), outcome.func, outcome.uniqkey]),
      )
    else if (!isSkipped(outcome.refused)) complain(`jobq: ${complaint(outcome.exception, outcome.refused)}`)
    await nextTurn() // for signals
    if (stop.signal.aborted) break
  }
  const skipped = outcomes.filter(({refused}) => isSkipped(refused)).length
  const refused = outcomes.flatMap(({refused}) => (refused === null || isSkipped(refused) ? [] : refused))
  if (skipped > 0) complain(`jobq: ${skipping(skipped)}`)
  if (isAll && outcomes.length === 0) complain('there is nothing to retry')
  else if (process.stdout.isTTY) complain(summary(outcomes.length - skipped, refused.length, options.dryRun))
  return {outcomes, exitCode: stop.exitCode ?? exitCodeOf(refused)}
}

export function retryDocument({outcomes}: RetryResult): Record<string, unknown> {
  return {
    retried: outcomes.flatMap(outcome => {
      if (outcome.refused !== null) return []
      const {exception, func, uniqkey, job} = outcome
      return {
        exception_id: idOf(exception),
        id: job && idOf(job),
        func,
        uniqkey,
        ...(job ? {priority: job.priority, run_after: job.runAfter} : {}),
      }
    }),
    refused: outcomes.flatMap(({exception, refused}) =>
      refused === null ? [] : {exception_id: idOf(exception), code: refused.code, message: refused.message},
    ),
  }
}

/** The message, with the exception in it as the user knows it. */
function complaint(exception: RowRef, {message}: JobqError): string {
  const [plain, known] = [`exception ${exception.id}`, `exception ${idOf(exception)}`]
  return message.includes(plain) ? message.replace(plain, known) : `${known}: ${message}`
}

/** 3 only if nothing was amiss but waiting keys. */
function exitCodeOf(refused: readonly JobqError[]): number {
  return refused.reduce<number>((code, {exitCode}) => Math.max(code, exitCode), EXIT.done)
}

function skipping(count: number): string {
  const which =
    count === 1 ? '1 attempt skipped: its job waits' : `${count} attempts skipped: their jobs wait`
  return `${which} for the next try; --again enqueues one more all the same`
}

function summary(all: number, refused: number, dryRun: boolean): string {
  const retried = `${all - refused} ${dryRun ? 'would be retried' : 'retried'}`
  return refused === 0 ? retried : `${retried}, ${refused} refused`
}
