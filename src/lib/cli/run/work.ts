/** `jobq work`, and what people see of it: the log's colours, a progress bar while it drains, a summary at its end. */

import {refIn} from '../../client/options.ts'
import type {JobQueue} from '../../client/queue.ts'
import {monotonic} from '../../jobs/clock.ts'
import {EXIT, isPassing, UsageError} from '../../jobs/errors.ts'
import {droppedLines, type LoggedOutcome, openLog} from '../../work/log/log.ts'
import {FileSink, type Lost, type Sink, streamSink} from '../../work/log/log-writer.ts'
import {type WorkResult, work} from '../../work/manager/manager.ts'
import {maxTimeOf, type WorkOptions} from '../../work/manager/options.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, tellUnwritten} from '../output-guard.ts'
import {optionsOf, type WorkFlags} from './work-flags.ts'
import {endingWords, startWords, summaryLine, summaryWords, whatIsLeft, whyNothing} from './work-words.ts'

/** Sets the exit status. */
export async function run(flags: WorkFlags): Promise<void> {
  // While all is being loaded, a deploy or logrotate does no harm: what is loaded then is new
  for (const signal of ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1'] as const) process.on(signal, () => {})
  if (process.pid === 1) (await import('../../work/manager/systemd.ts')).becomeInit()
  const options = optionsOf(flags)
  process.exitCode = await withQueueOf(
    flags,
    queue =>
      workShown(
        queue,
        {...options, job: options.job && refIn(options.job, queue.settings.databases.length)},
        {
          json: flags.json ?? false,
          debug: flags.debug ?? queue.settings.config.debug ?? false,
          logFile: flags.log,
        },
      ),
    {durable: flags.durable, role: 'dispatcher'},
  )
}

/** @returns the exit status */
async function workShown(
  queue: JobQueue,
  options: WorkOptions,
  {json, debug, logFile}: {json: boolean; debug: boolean; logFile?: string | undefined},
): Promise<number> {
  const tellDropped = (lines: number) => droppedLines(lines, json)
  const sink =
    logFile === undefined ? streamSink(json ? 1 : 2, tellDropped) : openLogFile(logFile, tellDropped)
  const isTerminal = process.stderr.isTTY && !json && logFile === undefined
  const bar = isTerminal && options.mode === 'drain' ? await startBar(queue, options) : null
  const log = openLog({
    json,
    debug,
    sink,
    ...(isTerminal ? {paint: await painter()} : {}),
    ...(bar ? {beforeLine: bar.clear} : {}),
  })
  const since = monotonic()
  let result: WorkResult
  let handled: readonly string[] = []
  const tell = (line: string) => {
    bar?.clear()
    complain(`jobq: ${line}`)
  }
  const told: Partial<WorkOptions> = {
    onStart: start => {
      handled = start.handlers.map(({func}) => func)
      if (options.mode === 'forever') tell(startWords(start))
    },
    onEnding: (...facts) => tell(endingWords(...facts)),
    ...(bar ? {onProgress: bar.update} : {}),
  }
  try {
    result = await work(queue, {...options, ...told}, log, () => {
      try {
        sink.reopen()
      } catch (error) {
        log.trouble(`the log could not be opened anew (${(error as Error).message})`)
      }
    })
  } finally {
    bar?.stop()
  }
  await sink.flush() // the log may go where the summary goes, which comes last
  if (json) {
    if (options.mode !== 'forever') sink.write(summaryLine(result))
  } else await tellSummary(queue, options, result, {handled, seconds: (monotonic() - since) / 1000, tell})
  const isLookedAt = result.exitCode === EXIT.done && options.mode !== 'forever'
  const isPart = isLookedAt && (await isAnyAway(queue, tell))
  await sink.flush()
  const exitCode = isPart ? EXIT.failed : result.exitCode
  return sink.lost === null ? exitCode : tellLost(sink.lost, {json, logFile, exitCode})
}

/**
 * A file of its own is beside the result: the jobs' ends stand, and the exit status is about them. Under --json standard output is
 * the result. Of a log on stderr there is nowhere left to say it.
 */
function tellLost(
  {lines, error}: Lost,
  {json, logFile, exitCode}: {json: boolean; logFile?: string | undefined; exitCode: number},
): number {
  if (logFile === undefined) return json ? tellUnwritten(error) : exitCode
  const what = lines === 1 ? 'its last line is' : `its last ${lines} lines are`
  complain(`jobq: can't write the log ${JSON.stringify(logFile)} (${error.message}): ${what} lost`)
  return exitCode
}

/** For people: what was done, and what is left; or why there was nothing. */
async function tellSummary(
  queue: JobQueue,
  options: WorkOptions,
  result: WorkResult,
  {handled, seconds, tell}: {handled: readonly string[]; seconds: number; tell: (line: string) => void},
): Promise<void> {
  const {mode, maxJobs = Number.POSITIVE_INFINITY} = options
  const words = summaryWords(result)
  const worked = {handled, limited: result.limited}
  if (words === '' && mode !== 'forever') {
    const isOnce = mode === 'once' // which then ends with 6: no such exit without a word
    const why = result.cutShort ? null : await whyNothing(queue, worked, isChosen(queue, options), isOnce)
    if (why !== null && isOnce) tell(why)
    else if (why !== null) process.stdout.write(`${why}\n`)
  } else if (mode === 'drain') {
    const maxTimeMs = maxTimeOf(options, queue.settings.config) ?? Number.POSITIVE_INFINITY
    const isAtLimit = result.cutShort || result.taken >= maxJobs || seconds * 1000 >= maxTimeMs
    const left = isAtLimit ? null : await whatIsLeft(queue, worked)
    process.stdout.write(`${words} in ${seconds.toFixed(1)} s\n${left === null ? '' : `${left}\n`}`)
  }
}

/** Of several databases what is in one that is out of reach has not been worked. */
async function isAnyAway({store, settings}: JobQueue, tell: (line: string) => void): Promise<boolean> {
  if (settings.databases.length < 2) return false
  try {
    await store.funcs(true)
    return false
  } catch (error) {
    if (!isPassing(error)) throw error
    tell(`not all is worked: ${(error as Error).message}`)
    return true
  }
}

/** Whoever names functions leaves the others to others on purpose. */
function isChosen({settings}: JobQueue, {abilities}: WorkOptions): boolean {
  return (abilities ?? settings.config.abilities ?? 'all') !== 'all'
}

function openLogFile(path: string, tellDropped: (lines: number) => string): Sink {
  try {
    return new FileSink(path, tellDropped)
  } catch (cause) {
    throw new UsageError(`can't write the log ${JSON.stringify(path)} (${(cause as Error).message})`, {
      hint: 'check --log and the permissions of its folder',
      cause,
    })
  }
}

async function startBar(queue: JobQueue, {abilities}: WorkOptions) {
  const counts = await queue.counts()
  const isAll = abilities === undefined || abilities === 'all'
  const wanted = counts.filter(({func}) => isAll || abilities.includes(func))
  let total = wanted.reduce((sum, {ready}) => sum + ready, 0)
  const {startBar: start} = await import('../bar.ts')
  const bar = await start(total, '{bar} {value}/{total} jobs, {duration_formatted}, {running} running', {
    running: 0,
  })
  return {
    update: (ended: number, running: number) => {
      // Retries and jobs enqueued meanwhile come on top of what was ready at the start
      if (ended > total) {
        total = ended + running
        bar.setTotal(total)
      }
      bar.update(ended, {running})
    },
    clear: () => process.stderr.write('\r\u001b[K'),
    stop: bar.stop,
  }
}

async function painter(): Promise<(outcome: LoggedOutcome) => string> {
  const {Chalk, supportsColorStderr} = await import('chalk')
  // NO_COLOR is obeyed here: chalk leaves it to its users
  const chalk = new Chalk({
    level: !process.env.NO_COLOR && supportsColorStderr ? supportsColorStderr.level : 0,
  })
  const colours = {
    completed: chalk.green,
    replaced: chalk.green,
    failed: chalk.red,
    aborted: chalk.red,
    died: chalk.red,
    released: chalk.yellow,
    declined: chalk.yellow,
    lost: chalk.yellow,
  }
  return outcome => colours[outcome](outcome)
}
