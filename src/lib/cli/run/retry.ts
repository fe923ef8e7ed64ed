/** `jobq retry` once its words are read: tells each outcome as it comes, and adds up the exit status. */

import type {RetryOptions} from '../../client/options.ts'
import type {JobQueue} from '../../client/queue.ts'
import type {RetryChoice, RetryOutcome} from '../../client/retry.ts'
import {DuplicateJobError, EXIT, type JobqError, StillTriedError, UsageError} from '../../jobs/errors.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {parseRef, parseRefs, parseWhole} from '../../jobs/names.ts'
import {durationOf, parseDelay, parsePast} from '../../jobs/time.ts'
import {line} from '../../render/listing.ts'
import {withQueueOf} from '../command-queue.ts'
import {isTerminal, nextTurn} from '../output.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {Stop} from '../stop.ts'
import {tagOptions} from '../tag-options.ts'

export interface RetryFlags extends QueueFlags {
  exception_id?: string[] | undefined
  job?: string[] | undefined
  all?: boolean | undefined
  func?: string | undefined
  since?: string | undefined
  tag?: string[] | undefined
  again?: boolean | undefined
  'dry-run'?: boolean | undefined
  priority?: string | undefined
  delay?: string | undefined
  tracked?: boolean | undefined
  'keep-result'?: string | undefined
  json?: boolean | undefined
}

interface RetryResult {
  outcomes: RetryOutcome[]
  exitCode: number
}

export async function run(flags: RetryFlags): Promise<Record<string, unknown>> {
  const {exception_id: ids = [], job: jobs = [], all = false, func, since, 'keep-result': keep} = flags
  const given = [ids.length > 0 && 'ids', jobs.length > 0 && '--job', all && '--all'].filter(Boolean)
  if (given.length !== 1)
    throw new UsageError(`expected ids of exceptions, --job or --all, got ${given.join(' and ') || 'none'}`, {
      hint: 'see `jobq list --failed`; --job takes the id of a job',
    })
  const choice = all
    ? {
        func,
        since: since === undefined ? undefined : parsePast(since, '--since'),
        tags: tagOptions(flags.tag),
      }
    : jobs.length > 0
      ? {jobs: parseRefs(jobs, '--job')}
      : {ids: ids.map(id => parseRef(id, 'EXCEPTION_ID'))}
  const options = {
    again: flags.again ?? false,
    dryRun: flags['dry-run'] ?? false,
    priority: parseWhole(flags.priority ?? '0', '--priority'),
    delay: parseDelay(flags.delay ?? '0', '--delay'),
    tracked: flags.tracked ?? false,
    keepResult: keep === undefined ? undefined : durationOf(keep, '--keep-result'),
  }
  const result = await withQueueOf(flags, queue => retryAll(queue, choice, options, printer(flags.json)))
  if (result.exitCode !== 0) process.exitCode = result.exitCode
  return retryDocument(result)
}

async function retryAll(
  queue: JobQueue,
  choice: RetryChoice,
  options: RetryOptions & {dryRun: boolean},
  print: (text: string) => void,
): Promise<RetryResult> {
  using stop = new Stop()
  const isAll = !('ids' in choice || 'jobs' in choice)
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
  else if (isTerminal()) complain(summary(outcomes.length - skipped, refused.length, options.dryRun))
  return {outcomes, exitCode: stop.exitCode ?? exitCodeOf(refused)}
}

function retryDocument({outcomes}: RetryResult): Record<string, unknown> {
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
      refused === null
        ? []
        : {
            exception_id: exception && idOf(exception),
            code: refused.code,
            message: refused.message,
            hint: hintOf(refused),
          },
    ),
  }
}

/** The message, with the exception in it as the user knows it. */
function complaint(exception: RowRef | null, refused: JobqError): string {
  const told = exception ? named(exception, refused.message) : refused.message
  const hint = hintOf(refused)
  return hint ? `${told} (${hint})` : told
}

function named(exception: RowRef, message: string): string {
  const [plain, known] = [`exception ${exception.id}`, `exception ${idOf(exception)}`]
  return message.includes(plain) ? message.replace(plain, known) : `${known}: ${message}`
}

/** What an enqueue is told of a key that is waiting is of no use here. */
function hintOf(refused: JobqError): string {
  return refused instanceof DuplicateJobError ? 'retry it when that job has left the queue' : refused.hint
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
