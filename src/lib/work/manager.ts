/**
 * `jobq work` as one call: finds the workers, puts the executors together, runs the dispatcher, obeys signals, leaves nothing behind.
 * Qudo::Parallel::Manager's part.
 */
import {access} from 'node:fs'
import type {Server} from 'node:net'
import {join} from 'node:path'
import type {JobQueue} from '../client/queue.ts'
import {type Teller, tellerOf, tellersIn, withTellers} from '../config/notices.ts'
import type {Schedule} from '../config/schedules.ts'
import type {JobqConfig} from '../config/schema.ts'
import {databasesName, reread, type Settings} from '../config/settings.ts'
import {EXIT, UsageError} from '../jobs/errors.ts'
import {idOf, type RowRef} from '../jobs/job.ts'
import {ADMIN_PORT} from '../jobs/names.ts'
import {choose} from './claims/chosen.ts'
import {Dispatcher, type DispatcherOptions} from './dispatcher.ts'
import {CombinedExecutors, leftOutWords} from './executors/combined.ts'
import type {PoolOptions, PoolSettings} from './executors/pool/pool.ts'
import {Guardian} from './executors/process-groups.ts'
import type {WorkerDefaults} from './executors/run-job.ts'
import {type Found, findHandlers, type Handler} from './handlers.ts'
import type {JobLog} from './log/log.ts'
import {Notices} from './notices/notices.ts'
import type {Summary} from './outcomes.ts'
import {RetentionKeeper} from './retention.ts'
import {schedulesOf, Ticker} from './schedules.ts'
import {serveScoreboard} from './status/admin.ts'
import {Heartbeat} from './status/heartbeat.ts'
import {Scoreboard} from './status/scoreboard.ts'
import {SystemdNotifier} from './systemd.ts'

/** A drain or a job that ends sooner is nothing that others need to see: cron starts one every minute. */
const BRIEF_MS = 1000
/** Jobs at once, in all. */
const MAX_PLACES = 10_000

/** A configuration may wait for something as it is loaded, for ever too. */
const LATE_RELOAD_MS = 3_000
const STILL_LOADING =
  'not reloaded yet: the configuration is still loading; all goes on as it was until it has, or is mended and told to reload again'

/** What is undefined comes from the configuration file, else from Qudo's defaults. */
export interface WorkOptions
  extends Pick<DispatcherOptions, 'mode' | 'job' | 'maxJobs' | 'onProgress'>,
    Undefinable<PoolOptions>,
    Pick<WorkerDefaults, 'keepOutput'> {
  /** Functions to work; `all`: every one that a worker is found for, as without the configuration's. */
  abilities?: readonly string[] | 'all' | undefined
  /** The workers folder, absolute. Default: `workers` beside the configuration file, else here. */
  workersDir?: string | undefined
  /** `FUNC=COMMAND` words. */
  exec?: readonly string[] | undefined
  /** Take so many jobs more than can start. Default 0: strict priority. */
  prefetch?: number | undefined
  /** Among functions of equal priority, serve each in turn. Default false. */
  fair?: boolean | undefined
  /** End after so many milliseconds, from the start. Default none. */
  maxTimeMs?: number | undefined
  /** Default 30 s. */
  shutdownTimeoutMs?: number | undefined
  /** Default 5 s, as Qudo's. */
  workDelayMs?: number | undefined
  /** Where the scoreboard is served, if either is given. Default 127.0.0.1, port 24464. */
  adminHost?: string | undefined
  adminPort?: number | undefined
  /** Called when it begins to take jobs. */
  onStart?: (start: WorkStart) => void
  /** Called at the first signal that ends it, while jobs run: so many, which have so many seconds left. */
  onEnding?: (signal: NodeJS.Signals, running: number, seconds: number) => void
}

/** What is worked, from where, with what. */
export interface WorkStart {
  /** As a message may name it. */
  database: string
  handlers: readonly Handler[]
  /** How many jobs may run at once. */
  places: number
}

/** In milliseconds; undefined: none. */
export function maxTimeOf({maxTimeMs}: WorkOptions, {maxTime}: JobqConfig): number | undefined {
  return maxTimeMs ?? (maxTime === undefined ? undefined : maxTime * 1000)
}

type Undefinable<T> = {[Key in keyof T]?: T[Key] | undefined}

export interface WorkResult extends Summary {
  /** What the process should end with. */
  exitCode: number
}

/**
 * Works until done or told to end by TERM or INT.
 * @param reopenLog what USR1 asks for
 * @throws WorkerError before anything is grabbed, if a function has no worker or one that can't be loaded; ServerError,
 * StoreError; NotFoundError, JobHeldError if the one job that is to be worked can't be taken
 */
export async function work(
  queue: JobQueue,
  given: WorkOptions,
  log: JobLog,
  reopenLog: () => void = () => {},
): Promise<WorkResult> {
  const {settings} = queue
  const options = given.job ? await forOneJob(queue, given.job, given) : given
  const pool = poolSettings(options, settings)
  const tellers = tellersIn(settings.config)
  const found = handlersOf(options, settings, tellers, log)
  const {handlers} = found
  let schedules = await schedulesOf(settings)
  access('/', () => {}) // starts libuv's threads: where jobs' processes have left no room for them, it aborts
  const guardian = new Guardian(log)
  const {store, events} = queue
  if (found.folderError) log.trouble(`nothing in the workers folder is worked: ${found.folderError.message}`)
  for (const {func, error} of found.leftOut) log.trouble(leftOutWords(func, error.message, error.hint))
  if (options.mode === 'forever' && !options.abilities) tellUnworked(schedules, handlers, log)
  const surroundings = {guardian, log, events, onRoom: () => dispatcher.wake()}
  const executors = new CombinedExecutors(handlers, {...pool, db: queue.address}, surroundings)
  const dispatching = dispatcherOptions(options, settings, (...progress) => heartbeat.note(...progress))
  const dispatcher = new Dispatcher(store, executors, dispatching, log, events)
  const scoreboard = new Scoreboard(executors, dispatcher)
  const heartbeat = new Heartbeat(
    store,
    () => scoreboard.state,
    message => log.trouble(message),
  )
  const retention = new RetentionKeeper(settings.config.retention, () => queue.openOwnStore(() => {}), log)
  const systemd = new SystemdNotifier(log)
  const ticker = new Ticker(store, (...tick) => queue.tick(...tick), log)
  const notices = new Notices(queue, databasesName(settings), log)
  const servers: Server[] = []
  let reloads = 0
  const reload = async () => {
    const nth = ++reloads
    log.debug('reloading the configuration and the workers')
    systemd.reloading()
    const isLate = setTimeout(() => {
      if (nth === reloads) log.trouble(STILL_LOADING)
    }, LATE_RELOAD_MS).unref()
    try {
      const now = await reread(settings)
      const ticking = await schedulesOf(now)
      if (nth !== reloads) return // the next one has begun meanwhile: what this one has read may be of before
      const tellers = tellersIn(now.config)
      const found = handlersOf(options, now, tellers, log)
      for (const {func, error} of found.leftOut)
        log.trouble(
          executors.handled.includes(func)
            ? `${func} goes on as it was: ${error.message}`
            : leftOutWords(func, error.message, error.hint),
        )
      schedules = ticking
      executors.reload(found, poolSettings(options, now))
      retention.reload(now.config.retention)
      notices.set(tellers)
      heartbeat.changed()
      queue.scheduled = now
      if (options.mode === 'forever' && !dispatcher.isEnding) ticker.set(schedules)
    } catch (error) {
      if (nth === reloads) log.trouble(`not reloaded: ${(error as Error).message}`)
    } finally {
      clearTimeout(isLate)
    }
    systemd.ready()
  }
  const signals = listen({
    end: signal => {
      systemd.stopping()
      void retention.close()
      const {running} = dispatcher
      if (running > 0 && !dispatcher.isEnding)
        options.onEnding?.(signal, running, dispatching.shutdownTimeoutMs / 1000)
      dispatcher.end()
    },
    reload: () => void reload(),
    resize: by => {
      executors.resize(by)
      log.debug(`max_workers is ${executors.maxWorkers}`)
      heartbeat.changed()
      dispatcher.wake()
    },
    reopenLog,
  })
  const {config} = settings
  const withoutMaxTime = dispatcher.finishAfter(maxTimeOf(options, config))
  let patienceMs = 0 // if it breaks off, nothing that still runs is waited for
  try {
    servers.push(...(await serve(scoreboard, options, settings)))
    await Promise.race([executors.ready(), dispatcher.ending]) // a worker's import may take long
    const isLoaded = !dispatcher.isEnding
    if (isLoaded) {
      systemd.ready()
      const worked = handlers.filter(({func}) => executors.handled.includes(func))
      options.onStart?.({
        database: databasesName(settings),
        handlers: worked,
        places: executors.places,
      })
    }
    heartbeat.start(options.mode === 'forever' && isLoaded ? 0 : BRIEF_MS)
    if (options.mode === 'forever') retention.start()
    if (options.mode === 'forever' && isLoaded) ticker.set(schedules)
    if (isLoaded) notices.set(tellers)
    void dispatcher.ending.then(() => ticker.stop())
    const summary = await dispatcher.run()
    patienceMs = dispatching.shutdownTimeoutMs
    const modules = handlers.filter(({kind}) => kind === 'module').map(({func}) => func)
    const late = isLoaded ? executors.late : signals.ended ? [] : modules
    for (const func of late) log.trouble(leftOutWords(func, 'its worker was still loading', ''))
    const isWhole =
      isLoaded && found.leftOut.length === 0 && handlers.every(({func}) => executors.handled.includes(func))
    return {...summary, exitCode: exitCode(options.mode, summary, signals.ended, isWhole)}
  } finally {
    withoutMaxTime()
    signals.close()
    systemd.close()
    for (const server of servers) server.close()
    await Promise.all([ticker.stop(), notices.close()])
    await executors.close(patienceMs)
    await Promise.all([guardian.close(), heartbeat.close(), retention.close()])
  }
}

/** Its worker is loaded alone. @throws NotFoundError, JobHeldError, StoreError; UsageError if its function is not to be worked */
async function forOneJob({store}: JobQueue, ref: RowRef, options: WorkOptions): Promise<WorkOptions> {
  const {func} = await choose(store, ref)
  const {abilities = 'all'} = options
  if (abilities !== 'all' && !abilities.includes(func))
    throw new UsageError(
      `expected ${func}, the function of job ${idOf(ref)}, among the abilities, got ${abilities.join(', ')}`,
      {
        hint: 'leave them out: a job that is named needs none',
      },
    )
  return {...options, mode: 'once', abilities: [func]}
}

function handlersOf(
  options: WorkOptions,
  settings: Settings,
  tellers: readonly Teller[],
  log: JobLog,
): Found {
  const config = withTellers(settings.config, tellers)
  const named = options.workersDir ?? (config.workersDir && join(settings.folder, config.workersDir))
  const found = findHandlers({
    abilities: options.job
      ? (options.abilities as string[])
      : withCommands(abilitiesOf(options, config), tellers),
    exec: options.exec,
    folder: named ?? join(settings.folder, 'workers'),
    isNamed: named !== undefined,
    settings: {
      ...{config, file: settings.file, isNamed: settings.isNamed},
      // There may be none: it is asked for where it is needed
      get folder() {
        return settings.folder
      },
    },
  })
  // How they complete is read from job_status
  for (const handler of found.handlers)
    if (tellerOf(tellers, 'onCompleted', handler.func))
      handler.settings = {...handler.settings, setJobStatus: true}
  for (const {func, ...how} of found.handlers)
    log.debug(
      `${func}: ${how.kind === 'module' ? how.file : how.argv.join(' ')} ${JSON.stringify(how.settings)}`,
    )
  return found
}

function withCommands(abilities: readonly string[] | undefined, tellers: readonly Teller[]) {
  const commands = tellers.filter(({command}) => command !== null).map(({func}) => func)
  return abilities && [...new Set([...abilities, ...commands])]
}

/** Those that are named; undefined: whatever there is a worker for. */
function abilitiesOf({abilities}: WorkOptions, config: JobqConfig): readonly string[] | undefined {
  return abilities === 'all' ? undefined : (abilities ?? config.abilities)
}

function poolSettings(options: WorkOptions, {config, file}: Settings): PoolSettings {
  const maxWorkers = options.maxWorkers ?? config.maxWorkers ?? 1
  const jobsPerChild = options.jobsPerChild ?? config.jobsPerChild ?? 1
  if (maxWorkers * jobsPerChild > MAX_PLACES)
    throw new UsageError(
      `expected at most ${MAX_PLACES} jobs at once, got ${maxWorkers} children of ${jobsPerChild} jobs each`,
      {hint: 'take fewer --max-workers, or fewer --jobs-per-child'},
    )
  return {
    maxWorkers,
    jobsPerChild,
    minSpareWorkers: options.minSpareWorkers ?? config.minSpareWorkers ?? 1,
    maxSpareWorkers: options.maxSpareWorkers ?? config.maxSpareWorkers ?? maxWorkers,
    maxRequestPerChild: options.maxRequestPerChild ?? config.maxRequestPerChild ?? 30 * jobsPerChild,
    maxChildMemory: options.maxChildMemory ?? config.maxChildMemory ?? 0,
    mayLeaveOut: abilitiesOf(options, config) === undefined,
    defaults: {
      serializer: config.serializer,
      keepOutput: options.keepOutput ?? config.keepOutput,
    },
    extensions: hasWorkerSupport(config) ? file : null,
  }
}

/** Is there anything in it that stands around a job where it is worked? What a hook's module has, only loading it tells. */
function hasWorkerSupport({hooks = [], plugins = {}}: JobqConfig): boolean {
  const points = ['deserialize', 'preWork', 'postWork'] as const
  const isWorkers = (hook: string | object) => typeof hook === 'string' || points.some(point => point in hook)
  return Object.keys(plugins).length > 0 || hooks.some(isWorkers)
}

function dispatcherOptions(
  options: WorkOptions,
  {config}: Settings,
  note: NonNullable<DispatcherOptions['onProgress']>,
): DispatcherOptions {
  const {onProgress} = options
  return {
    mode: options.mode,
    job: options.job,
    prefetch: options.prefetch ?? config.prefetch ?? 0,
    fair: options.fair ?? config.fair ?? false,
    maxJobs: options.maxJobs ?? config.maxJobs,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? (config.shutdownTimeout ?? 30) * 1000,
    workDelayMs: options.workDelayMs ?? (config.workDelay ?? 5) * 1000,
    onProgress: onProgress
      ? (...progress) => {
          note(...progress)
          onProgress(...progress)
        }
      : note,
  }
}

/** The admin port, if one is asked for. */
async function serve(scoreboard: Scoreboard, options: WorkOptions, {config}: Settings): Promise<Server[]> {
  const servers: Server[] = []
  const host = options.adminHost ?? config.adminHost
  const port = options.adminPort ?? config.adminPort
  if (host !== undefined || port !== undefined)
    servers.push(await serveScoreboard(() => scoreboard.line, host ?? '127.0.0.1', port ?? ADMIN_PORT))
  return servers
}

interface Orders {
  end(signal: NodeJS.Signals): void
  reload(): void
  resize(by: 1 | -1): void
  reopenLog(): void
}

interface Signals {
  /** What has told this process to end. */
  readonly ended: NodeJS.Signals | null
  close(): void
}

function listen(orders: Orders): Signals {
  let ended: NodeJS.Signals | null = null
  const end = (signal: NodeJS.Signals) => {
    ended ??= signal
    orders.end(signal)
  }
  const handlers: [NodeJS.Signals, (signal: NodeJS.Signals) => void][] = [
    ['SIGTERM', end],
    ['SIGINT', end],
    ['SIGHUP', () => orders.reload()],
    ['SIGTTIN', () => orders.resize(1)],
    ['SIGTTOU', () => orders.resize(-1)],
    ['SIGUSR1', () => orders.reopenLog()],
  ]
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return {
    get ended() {
      return ended
    },
    close: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler)
    },
  }
}

/** @param isWhole false: functions were left out, and what waits for them may still do so */
function exitCode(
  mode: WorkOptions['mode'],
  summary: Summary,
  signal: NodeJS.Signals | null,
  isWhole: boolean,
): number {
  if (summary.cutShort) return signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
  if (mode === 'forever') return EXIT.done
  if (summary.notDone > 0) return EXIT.jobFailed
  if (!isWhole) return EXIT.usage
  return mode === 'once' && summary.taken === 0 ? EXIT.nothingReady : EXIT.done
}

/** Whoever works all that has a worker here may have forgotten one, or it is another host's. */
function tellUnworked(schedules: readonly Schedule[], handlers: readonly Handler[], log: JobLog): void {
  const handled = new Set(handlers.map(({func}) => func))
  for (const {name, func} of schedules)
    if (!handled.has(func))
      log.trouble(`schedule ${name}: ${func} has no worker here; its jobs wait for another \`jobq work\``)
}
