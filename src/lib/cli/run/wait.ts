/** `jobq wait` once its words are known: tells each end as it comes, and adds up the exit status. */

import type {JobQueue} from '../../client/queue.ts'
import {EXIT, JobqError, NotFoundError, UsageError} from '../../jobs/errors.ts'
import {idOf, type JobEnd, type RowRef, type TagOptions} from '../../jobs/job.ts'
import {parseRefs} from '../../jobs/names.ts'
import {gist, printableJson} from '../../jobs/printable.ts'
import {parseDuration} from '../../jobs/time.ts'
import {oneLineJson} from '../../render/json.ts'
import {line} from '../../render/listing.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {tagOptions} from '../tag-options.ts'

export interface WaitFlags extends QueueFlags {
  id?: string[] | undefined
  func?: string | undefined
  tag?: string[] | undefined
  all?: boolean | undefined
  timeout?: string | undefined
  result?: boolean | undefined
  json?: boolean | undefined
}

export async function run(flags: WaitFlags): Promise<Record<string, unknown>> {
  const {id, func, all, json} = flags
  const choice = {func, tags: tagOptions(flags.tag)}
  const [selector] = [all && '--all', func !== undefined && '--func', choice.tags && '--tag'].filter(Boolean)
  if (id && selector)
    throw new UsageError(`expected ids of jobs or ${selector}, got both`, {
      hint: 'write: jobq wait 7 8, or: jobq wait --func Report',
    })
  if (all && choice.tags)
    throw new UsageError('expected --all or --tag, got both', {hint: 'those with the tag are --tag alone'})
  if (!id && !selector)
    throw new UsageError('expected ids of jobs, got none', {
      hint: 'write: jobq wait 7 8; `jobq enqueue` prints the id of a job, and `jobq list` shows those in the queue; --func, --tag and --all are for all that are in there',
    })
  if (flags.result && !id)
    throw new UsageError(`--result: expected ids of jobs with it, got ${selector}`, {
      hint: 'write: jobq wait --result 7 8',
    })
  const jobs = id && parseRefs(id, 'ID')
  const timeout = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, '--timeout')
  const told = new Told(printer(json), json ?? false)
  const waitForIds = flags.result ? tellResults : waitForThese
  await withQueueOf(flags, queue =>
    jobs ? waitForIds(queue, jobs, timeout, told) : waitForAll(queue, choice, timeout, told),
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

/** In the order of the jobs, when all have ended. */
async function tellResults(
  queue: JobQueue,
  jobs: readonly RowRef[],
  timeout: number | undefined,
  told: Told,
): Promise<void> {
  const ends = await Promise.allSettled(jobs.map(job => queue.wait(job, {timeout})))
  for (const [i, job] of jobs.entries()) {
    const end = ends[i]!
    if (end.status === 'rejected') told.refusal(end.reason, job)
    else told.result(end.value, await queue.resultJson(job))
  }
}

async function waitForAll(
  queue: JobQueue,
  choice: {func: string | undefined; tags: TagOptions | undefined},
  timeout: number | undefined,
  told: Told,
): Promise<void> {
  try {
    for await (const end of queue.waitFor(choice, {timeout})) told.end(end)
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

  /** @param json undefined: none is kept */
  result(end: JobEnd, json: string | undefined): void {
    const {outcome, message} = end
    const which = `job ${idOf(end)}`
    const isDone = outcome === 'completed' || outcome === 'replaced'
    if (isDone && json === undefined) {
      const hint =
        'what is enqueued with --keep-result 1h, or by a worker with keepResult, keeps its result so long'
      this.refusal(new NotFoundError(`${which} was ${outcome}, and no result of it is kept`, {hint}), end)
      return
    }
    this.#outcomes.add(outcome)
    if (this.#keeps) this.#ended.push(end)
    if (!isDone) complain(`jobq: ${which} ${outcome}${message && `: ${gist(message)}`}`)
    else this.#print(`${printableJson(oneLineJson(json!))}\n`)
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
      ended: this.#ended.map(({result, ...end}) => ({
        ...{id: idOf(end), outcome: end.outcome, message: end.message},
        ...(result === undefined ? {} : {result}),
      })),
      refused: this.#refused.map(({job, error}) => ({
        id: job && idOf(job),
        code: error.code,
        message: error.message,
        hint: error.hint,
      })),
    }
  }
}
