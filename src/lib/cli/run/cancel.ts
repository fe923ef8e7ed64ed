/** `jobq cancel` once its words are known: tells each job that was named, and of those that were chosen how many. */
import {isatty} from 'node:tty'
import type {CancelChoice, Cancellation, CancelOutcome} from '../../client/cancel.ts'
import type {JobQueue} from '../../client/queue.ts'
import {EXIT, isPassing, type JobqError, UsageError} from '../../jobs/errors.ts'
import {idOf, JOB_STATES, type JobState} from '../../jobs/job.ts'
import {parseRefs} from '../../jobs/names.ts'
import {line} from '../../render/listing.ts'
import type {Bar} from '../bar.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {Stop} from '../stop.ts'
import {tagOptions} from '../tag-options.ts'

type Chosen = Exclude<CancelChoice, {jobs: unknown}>

/** So many take some seconds. */
const LONG = 5000

export interface CancelFlags extends QueueFlags {
  id?: string[] | undefined
  func?: string | undefined
  uniqkey?: string | undefined
  tag?: string[] | undefined
  all?: boolean | undefined
  state?: string | undefined
  'dry-run'?: boolean | undefined
  yes?: boolean | undefined
  json?: boolean | undefined
}

/** @returns an array of the jobs that were named; of those that were chosen, how many */
export async function run(flags: CancelFlags): Promise<unknown> {
  const choice = choiceOf(flags)
  using stop = new Stop()
  return await withQueueOf(flags, async queue => {
    const outcomes = queue.cancelMany(choice, {dryRun: flags['dry-run'], signal: stop.signal})
    if ('jobs' in choice) return cancelNamed(outcomes, choice.jobs.length === 1, stop, flags)
    if (flags.all && !(await isMeant(queue, choice, flags))) {
      complain('nothing was cancelled')
      process.exitCode = EXIT.failed
      return {cancelled: 0, stopping: 0, refused: 0}
    }
    if (!flags['dry-run']) return cancelChosen(outcomes, await barFor(queue, choice), stop, flags)
    const total = await countOf(queue, choice)
    printer(flags.json)(String(total))
    return {would_cancel: total}
  })
}

function choiceOf({id = [], func, uniqkey, tag, all, state}: CancelFlags): CancelChoice {
  const selectors = [
    ...(func === undefined ? [] : ['--func']),
    ...(uniqkey === undefined ? [] : ['--uniqkey']),
    ...(tag === undefined ? [] : ['--tag']),
  ]
  const given = [...(id.length > 0 ? ['ids'] : []), ...(all ? ['--all'] : []), ...selectors.slice(0, 1)]
  if (given.length === 0)
    throw new UsageError('expected ids of jobs, --func, --uniqkey, --tag or --all, got none', {
      hint: 'write: jobq cancel 7 8, or: jobq cancel --func Report; `jobq list` shows the jobs in the queue',
    })
  if (given.length > 1)
    throw new UsageError(
      `expected ids of jobs, or --func, --uniqkey and --tag, or --all, got ${given.join(' and ')}`,
      {
        hint: 'give one of them',
      },
    )
  if (id.length > 0 && state !== undefined)
    throw new UsageError('expected ids of jobs or --state, got both', {
      hint: '--state goes with --func, --uniqkey, --tag and --all',
    })
  if (id.length > 0) return {jobs: parseRefs(id, 'ID')}
  const chosen = {state: state as JobState | undefined}
  return all ? {all, ...chosen} : {func, uniqkey, tags: tagOptions(tag), ...chosen}
}

/** @throws the refusal of the only one */
async function cancelNamed(
  outcomes: AsyncIterable<CancelOutcome>,
  isOne: boolean,
  stop: Stop,
  {json, 'dry-run': dryRun}: CancelFlags,
): Promise<Record<string, unknown>[]> {
  const print = printer(json)
  const done: Record<string, unknown>[] = []
  for await (const outcome of outcomes) {
    if (outcome.refused) {
      if (isOne) throw outcome.refused
      refuse(outcome.refused, isPassing(outcome.refused) ? `job ${idOf(outcome.job)}: ` : '')
    } else {
      const {func, state, result} = outcome
      print(line([idOf(outcome.job), func, dryRun ? state : result]))
      done.push(document(outcome))
    }
    if (stop.signal.aborted) break
  }
  if (stop.exitCode !== null) process.exitCode = stop.exitCode
  return done
}

function document({job, func, uniqkey, state, result}: Cancellation): Record<string, unknown> {
  return {id: idOf(job), func, uniqkey, state, result}
}

async function cancelChosen(
  outcomes: AsyncIterable<CancelOutcome>,
  bar: Bar | null,
  stop: Stop,
  {json}: CancelFlags,
): Promise<Record<string, unknown>> {
  const counts = {cancelled: 0, stopping: 0, refused: 0}
  for await (const outcome of outcomes) {
    if (outcome.refused) {
      counts.refused++
      refuse(outcome.refused)
    } else if (outcome.result) counts[outcome.result]++
    bar?.update(counts.cancelled + counts.stopping)
    if (stop.signal.aborted) break
  }
  bar?.stop()
  if (stop.exitCode !== null) process.exitCode = stop.exitCode
  printer(json)(String(counts.cancelled + counts.stopping))
  return counts
}

/** @param which for a message that names no job */
function refuse({message, hint, exitCode}: JobqError, which = ''): void {
  complain(`jobq: ${which}${message}${hint && ` (${hint})`}`)
  process.exitCode = exitCode
}

/** For a person who would wait for some seconds. */
async function barFor(queue: JobQueue, choice: Chosen): Promise<Bar | null> {
  const total = isatty(2) ? await countOf(queue, choice) : 0
  if (total < LONG) return null
  const {startBar} = await import('../bar.ts')
  return startBar(total, '{bar} {value}/{total} jobs, {duration_formatted}')
}

/** How many there are. */
async function countOf(queue: JobQueue, choice: Chosen): Promise<number> {
  if ('uniqkey' in choice && (choice.uniqkey !== undefined || choice.tags)) {
    let count = 0
    for await (const _ of queue.eachJob(choice)) count++
    return count
  }
  const counts = await queue.counts('func' in choice ? choice.func : undefined)
  const states = choice.state === undefined ? JOB_STATES : [choice.state]
  return counts.flatMap(func => states.map(state => func[state])).reduce((sum, jobs) => sum + jobs, 0)
}

/** A person is asked before everything goes; a script has said what it means. */
async function isMeant(
  queue: JobQueue,
  choice: Chosen,
  {yes, 'dry-run': dryRun}: CancelFlags,
): Promise<boolean> {
  if (yes || dryRun || !isatty(0) || !isatty(2)) return true
  const all = await countOf(queue, choice)
  const running = await countOf(queue, {state: 'running'})
  const {createInterface} = await import('node:readline/promises')
  const terminal = createInterface({input: process.stdin, output: process.stderr})
  try {
    const runs = running > 0 && choice.state === undefined ? ` (${running} running)` : ''
    const jobs = all === 1 ? 'job' : 'jobs'
    const which = choice.state === undefined ? jobs : `${choice.state} ${jobs}`
    const answer = await terminal.question(`Cancel ${all === 1 ? '' : 'all '}${all} ${which}${runs}? [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
