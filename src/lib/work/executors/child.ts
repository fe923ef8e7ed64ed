/**
 * A pool's child: loads the workers' files, then runs one job at a time, or as many as the pool says. It owns no database
 * connection; whatever a job does here harms this process only.
 */
import {Socket} from 'node:net'
import {pathToFileURL} from 'node:url'
import {makeJobqImportable} from '../../config/self-import.ts'
import {type Extensions, NO_EXTENSIONS} from '../../hooks/extensions.ts'
import {JobqError, JobStoppedError, type StopReason, WorkerError} from '../../jobs/errors.ts'
import {idOf, type JobRow, type Progress} from '../../jobs/job.ts'
import {CHANNEL_FD, Channel} from './channel.ts'
import type {Teller} from './job-context.ts'
import {Latest} from './latest.ts'
import {keepDescriptors, lostDescriptors, outputWritten, watchOutput} from './own-output.ts'
import {
  type FromChild,
  jobFromWire,
  outcomeToWire,
  pack,
  type ToChild,
  type ToLoad,
  type WireJob,
} from './protocol.ts'
import {type ReadyWorker, readyWorker} from './ready-worker.ts'
import {nextTry, runJob, strayOutcome} from './run-job.ts'
import {RunningJob} from './running-job.ts'
import {messageOf} from './thrown.ts'

/** Reading it takes three system calls: only who limits it pays for them at each job. */
let memory = () => 0
const workers = new Map<string, ReadyWorker>()
/** By the number of the run. */
const running = new Map<number, Running>()
/** Whose code runs, where several jobs do so at once: else null. */
let context: typeof import('./job-context.ts') | null = null
let extensions: Extensions = NO_EXTENSIONS
let isLossTold = false
const teller: Teller = {
  tell: (run, stream, bytes, onTold) => send({kind: 'output', run, stream, bytes: pack(bytes)}, onTold),
  get hasRoom() {
    return channel.hasRoom
  },
  onRoom: call => channel.onRoom(call),
}

makeJobqImportable()
watchOutput()
const channel = new Channel(new Socket({fd: CHANNEL_FD}), {
  onMessage: message => obey(message as ToChild),
  onNonsense: disband,
  onClose: disband,
})
// Meant for what the job has started; this process is told by message.
process.on('SIGTERM', () => {})
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})
// Thrown where no job can catch it (a timer, a promise nobody awaits): the job has failed, and this process is done.
process.on('uncaughtException', error => {
  const number = context?.currentRun()
  if (number !== undefined && !running.has(number)) {
    send({kind: 'stray', failure: messageOf(error)})
    return
  }
  const [only] = running.size === 1 ? running.values() : []
  const failed = number === undefined ? only : running.get(number)
  if (!failed) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(1)
  }
  const outcome = outcomeToWire(strayOutcome(error, failed.retryIn))
  const ended = {kind: 'ended', run: failed.run, outcome, rss: 0, left: 'broken'} as const
  running.delete(failed.run)
  const written = outputWritten()
  if (written) void written.then(() => send(ended))
  else send(ended)
})

interface Running {
  run: number
  job: RunningJob
  retryIn: number | null
  stop: AbortController
}

function obey(message: ToChild): void {
  if (message.kind === 'load') void load(message)
  else if (message.kind === 'run') void run(message.run, message.job)
  else if (message.kind === 'end') void end()
  else {
    const told = running.get(message.run)
    if (told && context !== null) send({kind: 'told', run: told.run})
    if (told) within(told.run, () => stop(told, message.why))
  }
}

function stop({job, stop}: Running, why: StopReason): void {
  job.isCancelled = why === 'cancelled'
  stop.abort(new JobStoppedError(why))
}

function within<T>(run: number, work: () => T): T {
  return context === null ? work() : context.within(run, work)
}

/** The dispatcher is gone: so is the right to this job. What the job has started goes with it. */
function disband(): void {
  process.kill(-process.pid, 'SIGKILL')
}

async function load({workers: files, defaults, extensions: config, ...settings}: ToLoad): Promise<void> {
  memory = settings.measure ? () => process.memoryUsage.rss() : () => 0
  if (settings.jobsPerChild > 1) {
    context = await import('./job-context.ts')
    watchOutput(context.tellingOutput(teller))
  }
  try {
    for (const {func, file, settings} of files) {
      send({kind: 'loading', file})
      workers.set(func, readyWorker(await importWorker(file), settings, file, defaults))
    }
    const {serializer} = defaults
    if (serializer !== undefined) extensions = {...NO_EXTENSIONS, serializer}
    if (config !== null) {
      send({kind: 'loading', file: config})
      extensions = await (await import('./child-extensions.ts')).startExtensions(config)
    }
    keepDescriptors()
    send({
      kind: 'loaded',
      workers: [...workers].map(([func, {work: _, retryDelay, ...settings}]) => ({
        func,
        ...settings,
        retryDelay: typeof retryDelay === 'function' ? null : retryDelay,
      })),
      hasPlugins: config !== null,
    })
  } catch (error) {
    const {message, hint} = error instanceof JobqError ? error : new WorkerError(messageOf(error))
    send({kind: 'refused', message, hint})
  }
}

async function importWorker(file: string): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(file).href)) as {default?: unknown}
    return module.default
  } catch (cause) {
    const {loadError} = await import('../../config/load-error.ts')
    const {message, hint} = loadError(file, cause)
    throw new WorkerError(message, {hint, cause})
  }
}

async function run(run: number, wire: WireJob): Promise<void> {
  const row = jobFromWire(wire)
  const worker = workers.get(row.func)!
  const stop = new AbortController()
  const progress = new Latest<Progress>(said => send({kind: 'progress', run, ...said}))
  const job = new RunningJob(row, stop, extensions.plugins, said => progress.say(said))
  const current: Running = {run, job, retryIn: null, stop}
  running.set(run, current)
  const others = (row.others ?? []).map(other => new RunningJob(other, stop, extensions.plugins))
  if ([row, ...others].some(({retryCnt}) => worker.maxRetries > retryCnt)) {
    current.retryIn = await within(run, () => retryInAdvance(worker, job))
    if (typeof worker.retryDelay === 'function') {
      const ofOthers = await within(run, () =>
        Promise.all(others.map(other => retryInAdvance(worker, other))),
      )
      const more = ofOthers.length > 0 ? {others: ofOthers} : {}
      send({kind: 'retry', run, retryIn: current.retryIn, ...more})
    }
  }
  const {outcome, afterwards} = await within(run, () => runJob(worker, job, extensions))
  progress.end()
  await new Promise(setImmediate) // a promise rejected at the end, and awaited by no one, is heard of by then
  if (!running.has(run)) return // an uncaught exception has spoken for it
  const written = outputWritten()
  if (written) await written
  if (!running.delete(run)) return
  const ended = {kind: 'ended', run, outcome: outcomeToWire(outcome), rss: memory()} as const
  const lost = lostWords(row)
  if (!afterwards && lost === null) return send(ended)
  send({...ended, left: 'hooks'})
  const failure = afterwards ? await within(run, afterwards).then(() => null, messageOf) : null
  send({kind: 'free', run, failure: failure ?? lost})
}

/** Told once: the process is replaced for it. */
function lostWords(job: JobRow): string | null {
  const lost = isLossTold ? [] : lostDescriptors()
  if (lost.length === 0) return null
  isLossTold = true
  const beside = running.size > 0 ? ', or one that runs beside it,' : ''
  return `after job ${idOf(job)} of ${job.func}${beside} ${lost.join(' and ')} ${lost.length > 1 ? 'are' : 'is'} closed, or another file`
}

async function end(): Promise<void> {
  await extensions.plugins.stop().catch(error => process.stderr.write(`${messageOf(error)}\n`))
  process.exit()
}

async function retryInAdvance(worker: ReadyWorker, job: RunningJob): Promise<number | null> {
  if (typeof worker.retryDelay === 'function') await job.decode(worker.serializer)
  return job.mistake ? null : nextTry(worker, job)
}

function send(message: FromChild, onSent?: () => void): void {
  channel.send(message, onSent)
}
