/**
 * A pool's child: loads the workers' files, then runs one job at a time, as the pool says. It owns no database
 * connection; whatever a job does here harms this process only.
 */
import {Socket} from 'node:net'
import {pathToFileURL} from 'node:url'
import {makeJobqImportable} from '../../config/self-import.ts'
import {type Extensions, NO_EXTENSIONS} from '../../hooks/extensions.ts'
import {JobqError, WorkerError} from '../../jobs/errors.ts'
import {CHANNEL_FD, Channel} from './channel.ts'
import {
  type FromChild,
  jobFromWire,
  outcomeToWire,
  type ToChild,
  type ToLoad,
  type WireJob,
} from './protocol.ts'
import {
  messageOf,
  nextTry,
  type ReadyWorker,
  RunningJob,
  readyWorker,
  runJob,
  strayOutcome,
} from './run-job.ts'

/** Reading it takes three system calls: only who limits it pays for them at each job. */
let memory = () => 0
const workers = new Map<string, ReadyWorker>()
let running: {run: number; retryIn: number | null; stop: AbortController} | null = null
let extensions: Extensions = NO_EXTENSIONS

makeJobqImportable()
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
  if (running === null) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(1)
  }
  const outcome = outcomeToWire(strayOutcome(error, running.retryIn))
  send({kind: 'ended', run: running.run, outcome, rss: 0, left: 'broken'})
  running = null
})

function obey(message: ToChild): void {
  if (message.kind === 'load') void load(message)
  else if (message.kind === 'run') void run(message.run, message.job)
  else if (message.kind === 'end') void end()
  else running?.stop.abort(new Error('the job was told to stop'))
}

/** The dispatcher is gone: so is the right to this job. What the job has started goes with it. */
function disband(): void {
  process.kill(-process.pid, 'SIGKILL')
}

async function load({workers: files, serializer, extensions: config, measure}: ToLoad): Promise<void> {
  memory = measure ? () => process.memoryUsage.rss() : () => 0
  try {
    for (const {func, file, settings} of files) {
      send({kind: 'loading', file})
      workers.set(func, readyWorker(await importWorker(file), settings, file, serializer))
    }
    if (serializer !== undefined) extensions = {...NO_EXTENSIONS, serializer}
    if (config !== null) {
      send({kind: 'loading', file: config})
      extensions = await (await import('./child-extensions.ts')).startExtensions(config)
    }
    send({
      kind: 'loaded',
      workers: [...workers].map(([func, {maxRetries, retryDelay, grabFor, setJobStatus, maxRunning}]) => ({
        func,
        maxRetries,
        retryDelay: typeof retryDelay === 'number' ? retryDelay : null,
        grabFor,
        setJobStatus,
        maxRunning,
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
  const current = {run, retryIn: null as number | null, stop: new AbortController()}
  const job = new RunningJob(row, current.stop, extensions.plugins)
  running = current
  if (worker.maxRetries > row.retryCnt) {
    current.retryIn = await retryInAdvance(worker, job)
    if (typeof worker.retryDelay === 'function') send({kind: 'retry', run, retryIn: current.retryIn})
  }
  const {outcome, afterwards} = await runJob(worker, job, extensions)
  await new Promise(setImmediate) // a promise rejected at the end, and awaited by no one, is heard of by then
  if (running !== current) return // an uncaught exception has spoken for it
  running = null
  const ended = {kind: 'ended', run, outcome: outcomeToWire(outcome), rss: memory()} as const
  if (!afterwards) return send(ended)
  send({...ended, left: 'hooks'})
  const failure = await afterwards().then(() => null, messageOf)
  send({kind: 'free', run, failure})
}

async function end(): Promise<void> {
  await extensions.plugins.stop().catch(error => process.stderr.write(`${messageOf(error)}\n`))
  process.exit()
}

async function retryInAdvance(worker: ReadyWorker, job: RunningJob): Promise<number | null> {
  if (typeof worker.retryDelay === 'function') await job.decode(worker.serializer)
  try {
    return job.mistake ? null : nextTry(worker, job)
  } catch {
    return null // the run itself will say what is wrong with it
  }
}

function send(message: FromChild): void {
  channel.send(message)
}
