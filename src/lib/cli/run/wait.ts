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
  func?: string | undefined
  all?: boolean | undefined
  timeout?: string | undefined
  json?: boolean | undefined
}

export async function run(flags: WaitFlags): Promise<Record<string, unknown>> {
  const {id, func, all, json} = flags
  if (id && (func !== undefined || all))
    throw new UsageError(`expected ids of jobs or ${all ? '--all' : '--func'}, got both`, {
      hint: 'write: jobq wait 7 8, or: jobq wait --func Report',
    })
  if (!id && func === undefined && !all)
    throw new UsageError('expected ids of jobs, got none', {
      hint: 'write: jobq wait 7 8; `jobq enqueue` prints the id of a job, and `jobq list` shows those in the queue; --func and --all are for all that are in there',
    })
  const jobs = id?.map(word => parseRef(word, 'ID'))
  const timeout = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, '--timeout')
  const told = new Told(printer(json), json ?? false)
  await withQueueOf(flags, queue =>
    jobs ? waitForThese(queue, jobs, timeout, told) : waitForAll(queue, func, timeout, told),
  )
  const {exitCode} = told
  if (exitCode !== EXIT.done) process.exitCode = exitCode
  return told.document()
}

/** @param timeout seconds, for all of them together; undefined: however long it takes */
async function waitForThese(
  queue: JobQueue,
  jobs: readonly RowRef[],
  timeout: number | undefined,
  told: Told,
): Promise<void> {
  const waitFor = async (job: RowRef) => {
    try {
      told.end(await queue.wait(job, {timeout}))
    } catch (error) {
      told.refusal(error, job)
    }
  }
  await Promise.all(jobs.map(waitFor))
}

async function waitForAll(
  queue: JobQueue,
  func: string | undefined,
  timeout: number | undefined,
  told: Told,
): Promise<void> {
  try {
    for await (const end of queue.waitFor({func}, {timeout})) told.end(end)
  } catch (error) {
    if (!(error instanceof JobqError) || error.code !== 'WAIT_TIMEOUT') throw error
    told.refusal(error, null)
  }
}

/** What was told: of a hundred thousand ends only the outcomes are kept, unless the document is to have them all. */
class Told {
  readonly #print: (text: string) => void
  readonly #keeps: boolean
  readonly #ended: JobEnd[] = []
  readonly #refused: {job: RowRef | null; error: JobqError}[] = []
  readonly #outcomes = new Set<JobEnd['outcome']>()

  constructor(print: (text: string) => void, keeps: boolean) {
    this.#print = print
    this.#keeps = keeps
  }

  end(end: JobEnd): void {
    this.#outcomes.add(end.outcome)
    if (this.#keeps) this.#ended.push(end)
    this.#print(line([idOf(end), end.outcome, end.message]))
  }

  /** @param job null: all that were left. @throws what is none of jobq's errors */
  refusal(error: unknown, job: RowRef | null): void {
    if (!(error instanceof JobqError)) throw error
    this.#refused.push({job, error})
    complain(`jobq: ${error.message}${error.hint && ` (${error.hint})`}`)
  }

  /** A job's failure is what is waited for; then comes what is not known. */
  get exitCode(): number {
    if (this.#outcomes.has('failed') || this.#outcomes.has('aborted')) return EXIT.jobFailed
    if (this.#outcomes.has('gone')) return EXIT.notFound
    return this.#refused.reduce<number>((code, {error}) => Math.max(code, error.exitCode), EXIT.done)
  }

  document(): Record<string, unknown> {
    return {
      ended: this.#ended.map(end => ({id: idOf(end), outcome: end.outcome, message: end.message})),
      refused: this.#refused.map(({job, error}) => ({
        id: job && idOf(job),
        code: error.code,
        message: error.message,
      })),
    }
  }
}
