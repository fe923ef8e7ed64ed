/**
 * `jobq work` as one call: finds the workers, forms the crew, runs the dispatcher, obeys signals, leaves nothing behind.
 */
import {join} from 'node:path'
import {EXIT} from '../errors.ts'
import type {JobQueue} from '../queue.ts'
import {Crew} from './crew.ts'
import {Dispatcher, type DispatcherOptions, type Summary} from './dispatcher.ts'
import {findHandlers} from './handlers.ts'
import type {JobLog} from './log.ts'

export interface WorkOptions
  extends Pick<DispatcherOptions, 'mode' | 'maxJobs' | 'maxTimeMs' | 'onProgress'> {
  /** Functions to work; undefined: every one that a worker is found for. */
  abilities?: readonly string[] | undefined
  /** The workers folder, absolute. Default: `workers` beside the configuration file, else here. */
  workersDir?: string | undefined
  /** `FUNC=COMMAND` words. */
  exec?: readonly string[] | undefined
  /** Jobs at once. Default 1, as Qudo's. */
  maxWorkers?: number | undefined
  /** Default 30 s. */
  shutdownTimeoutMs?: number | undefined
  /** Default 5 s, as Qudo's. */
  workDelayMs?: number | undefined
}

export interface WorkResult extends Summary {
  /** What the process should end with. */
  exitCode: number
}

/**
 * Works until done or told to end by TERM or INT.
 * @throws WorkerError before anything is grabbed, if a function has no worker or one that can't be loaded; StoreError
 */
export async function work(queue: JobQueue, options: WorkOptions, log: JobLog): Promise<WorkResult> {
  const {config, folder} = queue.settings
  const handlers = findHandlers({
    abilities: options.abilities ?? config.abilities,
    exec: options.exec,
    folder: options.workersDir ?? join(folder, config.workersDir ?? 'workers'),
    config,
    configFolder: folder,
  })
  for (const {func, ...how} of handlers)
    log.debug(
      `${func}: ${how.kind === 'module' ? how.file : how.argv.join(' ')} ${JSON.stringify(how.settings)}`,
    )
  const maxWorkers = options.maxWorkers ?? config.maxWorkers ?? 1
  const crew = new Crew(handlers, {maxWorkers, db: queue.address}, log, () => dispatcher.wake())
  const dispatcher = new Dispatcher(
    queue.store,
    crew,
    {
      mode: options.mode,
      maxJobs: options.maxJobs ?? config.maxJobs,
      maxTimeMs: options.maxTimeMs ?? (config.maxTime === undefined ? undefined : config.maxTime * 1000),
      shutdownTimeoutMs: options.shutdownTimeoutMs ?? (config.shutdownTimeout ?? 30) * 1000,
      workDelayMs: options.workDelayMs ?? (config.workDelay ?? 5) * 1000,
      ...(options.onProgress ? {onProgress: options.onProgress} : {}),
    },
    log,
  )
  const signals = listen(dispatcher, log)
  try {
    await crew.ready()
    const summary = await dispatcher.run()
    return {...summary, exitCode: exitCode(options.mode, summary, signals.received)}
  } finally {
    signals.close()
    await crew.close()
  }
}

interface Signals {
  readonly received: NodeJS.Signals | null
  close(): void
}

function listen(dispatcher: Dispatcher, log: JobLog): Signals {
  let received: NodeJS.Signals | null = null
  const end = (signal: NodeJS.Signals) => {
    log.debug(`got ${signal}`)
    received ??= signal
    dispatcher.end()
  }
  process.on('SIGTERM', end).on('SIGINT', end)
  return {
    get received() {
      return received
    },
    close: () => process.off('SIGTERM', end).off('SIGINT', end),
  }
}

function exitCode(mode: WorkOptions['mode'], summary: Summary, signal: NodeJS.Signals | null): number {
  if (summary.cutShort) return signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
  if (mode === 'forever') return EXIT.done
  if (mode === 'once' && summary.taken === 0) return EXIT.nothingReady
  return summary.notDone > 0 ? EXIT.jobFailed : EXIT.done
}
