/**
 * `jobq work` as one call: finds the workers, puts the executors together, runs the dispatcher, obeys signals, leaves nothing behind.
 * Qudo::Parallel::Manager's part.
 */
import {access} from 'node:fs'
import type {Server} from 'node:net'
import type {JobQueue} from '../../client/queue.ts'
import {type Teller, tellersIn} from '../../config/notices.ts'
import type {Schedule} from '../../config/schedules.ts'
import {databasesName, reread, type Settings} from '../../config/settings.ts'
import {EXIT, UsageError} from '../../jobs/errors.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {ADMIN_PORT} from '../../jobs/names.ts'
import {choose} from '../claims/chosen.ts'
import {Dispatcher, type DispatcherOptions} from '../dispatcher.ts'
import {CombinedExecutors, leftOutWords} from '../executors/combined.ts'
import type {PoolSettings} from '../executors/pool/pool.ts'
import {Guardian} from '../executors/process-groups.ts'
import type {Found} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {Notices} from '../notices/notices.ts'
import type {Summary} from '../outcomes.ts'
import {RetentionKeeper} from '../retention.ts'
import {schedulesOf, Ticker} from '../schedules.ts'
import {serveScoreboard} from '../status/admin.ts'
import {Heartbeat} from '../status/heartbeat.ts'
import {Scoreboard} from '../status/scoreboard.ts'
import {dispatcherOptions, handlersOf, maxTimeOf, poolSettings, type WorkOptions} from './options.ts'
import {listen} from './signals.ts'
import {SystemdNotifier} from './systemd.ts'

/** A drain or a job that ends sooner is nothing that others need to see: cron starts one every minute. */
const BRIEF_MS = 1000

/** A configuration may wait for something as it is loaded, for ever too. */
const LATE_RELOAD_MS = 3_000
const STILL_LOADING =
  'not reloaded yet: the configuration is still loading; all goes on as it was until it has, or is mended and told to reload again'

export interface WorkResult extends Summary {
  /** What the process should end with. */
  exitCode: number
  /** The functions with limits. */
  limited: readonly string[]
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
  const schedules = await schedulesOf(settings)
  access('/', () => {}) // starts libuv's threads: where jobs' processes have left no room for them, it aborts
  return new Manager(queue, options, log, {pool, tellers, found, schedules}).run(reopenLog)
}

/** What is made of the configuration as it was when it began. */
interface Start {
  pool: PoolSettings
  tellers: readonly Teller[]
  found: Found
  schedules: readonly Schedule[]
}

class Manager {
  readonly #queue: JobQueue
  readonly #options: WorkOptions
  readonly #log: JobLog
  readonly #start: Start
  readonly #guardian: Guardian
  readonly #executors: CombinedExecutors
  readonly #dispatching: DispatcherOptions
  readonly #dispatcher: Dispatcher
  readonly #scoreboard: Scoreboard
  readonly #heartbeat: Heartbeat
  readonly #retention: RetentionKeeper
  readonly #systemd: SystemdNotifier
  readonly #ticker: Ticker
  readonly #notices: readonly Notices[]
  #schedules: readonly Schedule[]
  #reloads = 0

  constructor(queue: JobQueue, options: WorkOptions, log: JobLog, start: Start) {
    const {store, events, settings} = queue
    const {pool, found, schedules} = start
    this.#queue = queue
    this.#options = options
    this.#log = log
    this.#start = start
    this.#schedules = schedules
    this.#guardian = new Guardian(log)
    if (found.folderError)
      log.trouble(`nothing in the workers folder is worked: ${found.folderError.message}`)
    this.#tellLeftOut(found.leftOut)
    if (options.mode === 'forever' && !options.abilities) tellUnworked(schedules, found, log)
    this.#executors = new CombinedExecutors(
      found.handlers,
      {...pool, db: queue.address},
      {guardian: this.#guardian, log, events, onRoom: () => this.#dispatcher.wake()},
    )
    this.#dispatching = {
      ...dispatcherOptions(options, settings, (...progress) => this.#heartbeat.note(...progress)),
      onDrained: async () =>
        (await Promise.all(this.#notices.map(each => each.lookNow('all')))).includes(true),
    }
    this.#dispatcher = new Dispatcher(store, this.#executors, this.#dispatching, log, events)
    this.#scoreboard = new Scoreboard(this.#executors, this.#dispatcher)
    this.#heartbeat = new Heartbeat(
      store,
      () => this.#scoreboard.state,
      message => log.trouble(message),
    )
    this.#retention = new RetentionKeeper(settings.config.retention, () => queue.openOwnStore(() => {}), log)
    this.#systemd = new SystemdNotifier(log)
    this.#ticker = new Ticker(store, (...tick) => queue.tick(...tick), log)
    this.#notices = (store.databases ?? [store]).map(database => new Notices(queue, database, log))
  }

  async run(reopenLog: () => void): Promise<WorkResult> {
    const signals = listen({
      end: signal => this.#end(signal),
      reload: () => void this.#reload(),
      resize: by => this.#resize(by),
      reopenLog,
    })
    const {settings} = this.#queue
    const {mode} = this.#options
    const withoutMaxTime = this.#dispatcher.finishAfter(maxTimeOf(this.#options, settings.config))
    const servers: Server[] = []
    let patienceMs = 0 // if it breaks off, nothing that still runs is waited for
    try {
      servers.push(...(await serve(this.#scoreboard, this.#options, settings)))
      await Promise.race([this.#executors.ready(), this.#dispatcher.ending]) // a worker's import may take long
      const isLoaded = !this.#dispatcher.isEnding
      this.#begin(isLoaded)
      const summary = await this.#dispatcher.run()
      patienceMs = this.#dispatching.shutdownTimeoutMs
      const isWhole = this.#isWhole(isLoaded, signals.ended)
      const {limited} = this.#executors
      return {...summary, exitCode: exitCode(mode, summary, signals.ended, isWhole), limited}
    } finally {
      withoutMaxTime()
      signals.close()
      this.#systemd.close()
      for (const server of servers) server.close()
      await Promise.all([this.#ticker.stop(), ...this.#notices.map(notices => notices.close())])
      await this.#executors.close(patienceMs)
      await Promise.all([this.#guardian.close(), this.#heartbeat.close(), this.#retention.close()])
    }
  }

  /** All that goes on beside the dispatcher. @param isLoaded false: it was told to end before its workers were */
  #begin(isLoaded: boolean): void {
    const isForever = this.#options.mode === 'forever'
    const {found, tellers} = this.#start
    if (isLoaded) {
      this.#systemd.ready()
      this.#options.onStart?.({
        database: databasesName(this.#queue.settings),
        handlers: found.handlers.filter(({func}) => this.#executors.handled.includes(func)),
        places: this.#executors.places,
      })
    }
    this.#heartbeat.start(isForever && isLoaded ? 0 : BRIEF_MS)
    if (isForever) this.#retention.start()
    if (isForever && isLoaded) this.#ticker.set(this.#schedules)
    if (isLoaded) for (const notices of this.#notices) notices.set(tellers)
    void this.#dispatcher.ending.then(() => this.#ticker.stop())
  }

  /** Says whose workers were not loaded when it ended. @returns whether all it was to work could be worked */
  #isWhole(isLoaded: boolean, ended: NodeJS.Signals | null): boolean {
    const {handlers, leftOut} = this.#start.found
    const modules = handlers.filter(({kind}) => kind === 'module').map(({func}) => func)
    const late = isLoaded ? this.#executors.late : ended ? [] : modules
    for (const func of late) this.#log.trouble(leftOutWords(func, 'its worker was still loading', ''))
    return (
      isLoaded && leftOut.length === 0 && handlers.every(({func}) => this.#executors.handled.includes(func))
    )
  }

  #end(signal: NodeJS.Signals): void {
    this.#systemd.stopping()
    void this.#retention.close()
    const {running, isEnding} = this.#dispatcher
    if (running > 0 && !isEnding)
      this.#options.onEnding?.(signal, running, this.#dispatching.shutdownTimeoutMs / 1000)
    this.#dispatcher.end()
  }

  #resize(by: 1 | -1): void {
    this.#executors.resize(by)
    this.#log.debug(`max_workers is ${this.#executors.maxWorkers}`)
    this.#heartbeat.changed()
    this.#dispatcher.wake()
  }

  /** The configuration and the workers, read again; what has begun by the old ones ends so. Two at once: the later one holds. */
  async #reload(): Promise<void> {
    const nth = ++this.#reloads
    this.#log.debug('reloading the configuration and the workers')
    this.#systemd.reloading()
    const isLate = setTimeout(() => {
      if (nth === this.#reloads) this.#log.trouble(STILL_LOADING)
    }, LATE_RELOAD_MS).unref()
    try {
      const now = await reread(this.#queue.settings)
      const schedules = await schedulesOf(now)
      if (nth !== this.#reloads) return // the next one has begun meanwhile: what this one has read may be of before
      this.#take(now, schedules)
    } catch (error) {
      if (nth === this.#reloads) this.#log.trouble(`not reloaded: ${(error as Error).message}`)
    } finally {
      clearTimeout(isLate)
    }
    this.#systemd.ready()
  }

  /** @throws WorkerError, UsageError: then all goes on as it was */
  #take(now: Settings, schedules: readonly Schedule[]): void {
    const options = this.#options
    const tellers = tellersIn(now.config)
    const found = handlersOf(options, now, tellers, this.#log)
    const pool = poolSettings(options, now)
    this.#tellLeftOut(found.leftOut, this.#executors.handled)
    this.#schedules = schedules
    this.#executors.reload(found, pool)
    this.#retention.reload(now.config.retention)
    for (const notices of this.#notices) notices.set(tellers)
    this.#heartbeat.changed()
    this.#queue.scheduled = now
    if (options.mode === 'forever' && !this.#dispatcher.isEnding) this.#ticker.set(schedules)
  }

  /** @param handled what goes on by the workers that it had before */
  #tellLeftOut(leftOut: Found['leftOut'], handled: readonly string[] = []): void {
    for (const {func, error} of leftOut)
      this.#log.trouble(
        handled.includes(func)
          ? `${func} goes on as it was: ${error.message}`
          : leftOutWords(func, error.message, error.hint),
      )
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

/** The admin port, if one is asked for. */
async function serve(scoreboard: Scoreboard, options: WorkOptions, {config}: Settings): Promise<Server[]> {
  const servers: Server[] = []
  const host = options.adminHost ?? config.adminHost
  const port = options.adminPort ?? config.adminPort
  if (host !== undefined || port !== undefined)
    servers.push(await serveScoreboard(() => scoreboard.line, host ?? '127.0.0.1', port ?? ADMIN_PORT))
  return servers
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
function tellUnworked(schedules: readonly Schedule[], {handlers}: Found, log: JobLog): void {
  const handled = new Set(handlers.map(({func}) => func))
  for (const {name, func} of schedules)
    if (!handled.has(func))
      log.trouble(`schedule ${name}: ${func} has no worker here; its jobs wait for another \`jobq work\``)
}
