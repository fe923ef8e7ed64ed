/**
 * One child of the pool, seen from the dispatcher's side: its process, what it is doing, and whose output it prints.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {getCompileCacheDir} from 'node:module'
import type {Socket} from 'node:net'
import {dirname} from 'node:path'
import {fileURLToPath} from 'node:url'
import type {JobqEvents} from '../../hooks/events.ts'
import {ProcessError, WorkerError} from '../../jobs/errors.ts'
import type {JobRow} from '../../jobs/job.ts'
import {EXTENSION, LIBRARY} from '../../own-modules.ts'
import type {JobLog} from '../log/log.ts'
import {CHANNEL_FD, Channel} from './channel.ts'
import {describeExit, type Ended, type Run, type RunSettings, retryIn, STDERR_TAIL_BYTES} from './executor.ts'
import {readFromChild} from './from-child.ts'
import {LineReader, Tail, whenRead, whenRound} from './output.ts'
import {signalGroup, stopGroup} from './process-groups.ts'
import {
  type FromChild,
  jobToWire,
  type LoadedWorker,
  outcomeFromWire,
  type ToChild,
  type ToLoad,
} from './protocol.ts'
import {checkDescriptors} from './shortage.ts'

const CHILD = fileURLToPath(new URL(`work/executors/child${EXTENSION}`, LIBRARY))
const CHILD_FLAGS = [
  // A worker in a folder without a package.json runs all the same
  '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
  // Else V8's second compiler is started for what takes the modules' paths apart, and stays in memory: 3 MB of 50
  ...(/^1[234]\./.test(process.versions.v8) ? ['--invocation-count-for-maglev=5000'] : []),
]
/** A file that has not been loaded by then never will be (a loop, a read from a terminal). */
const LOAD_TIMEOUT_MS = 30_000
/** Then it is told, and the others no longer wait for it. */
const SLOW_LOAD_MS = 3000
/** Of what it should not have said, in messages. */
const MAX_QUOTED = 100
/** A process that has ended closes its line a moment before it is told: who closes it and lives has cut itself off. */
const CLOSED_MS = 1000
/** How long a child's plugins may take to stop before it is killed. */
const PLUGINS_STOP_MS = 5000

/**
 * `busy`: it has a job, or calls the hooks behind the end of one. `ending` children have been told to end or killed, or
 * are dead, and only wait to be collected.
 */
export type ChildState = 'starting' | 'idle' | 'busy' | 'ending'
export type RecycleReason = JobqEvents['recycle']['reason']

/** A file that a child has not loaded. */
export class LoadError extends WorkerError {
  readonly file: string

  constructor(file: string, message: string, hint = '') {
    super(message, {hint})
    this.file = file
  }
}

export class PoolChild {
  readonly process: ChildProcess
  readonly toLoad: ToLoad
  /** @throws WorkerError if a worker's file can't be loaded here, ProcessError if Node.js can't be started */
  readonly loaded: Promise<void>
  /** The file that keeps it from being loaded; without an end where none does for long. */
  readonly late: Promise<string>
  readonly gone: Promise<void>
  state: ChildState = 'starting'
  wasLoaded = false
  /** Why it is to be replaced; null if it is not. It goes on working until the one that takes its place is ready. */
  worn: RecycleReason | null = null
  /** The one that takes its place is ready: it ends with the job it has. */
  isRetired = false
  jobsDone = 0
  /** Memory in bytes after the last job; 0 before the first, and if it is not measured. */
  rss = 0
  #run: CurrentRun | null = null
  /** Heard before the end of the job has been dealt with: that waits until all that the job printed was read. */
  #early: Extract<FromChild, {kind: 'free'}> | null = null
  #hasPlugins = false
  readonly #log: JobLog
  readonly #workers = new Map<string, LoadedWorker>()
  readonly #onIdle: (child: PoolChild) => void
  readonly #stderr: Tail
  readonly #readers: LineReader[]
  readonly #load: PromiseWithResolvers<void>
  readonly #late: PromiseWithResolvers<string>
  #lateTimer: NodeJS.Timeout | undefined
  /** Whose output it is: the last job handed out, since what it wrote may be read after the word that it has ended. */
  #speaker: JobRow | null = null
  #loading = ''
  #runs = 0
  /** The end of the run of that number has been heard. */
  #hasSaidEnd = false
  /** What it was killed for, if it was for what it said. */
  #offence: string | null = null
  readonly #channel: Channel

  /**
   * @param onIdle called when it can take a job, and when it is broken and can't
   * @throws ProcessError if no process can be started
   */
  constructor(toLoad: ToLoad, log: JobLog, onIdle: (child: PoolChild) => void) {
    this.toLoad = toLoad
    this.#log = log
    this.#onIdle = onIdle
    this.#load = Promise.withResolvers<void>()
    this.loaded = this.#load.promise
    this.#late = Promise.withResolvers<string>()
    this.late = this.#late.promise
    this.process = forkChild(log)
    const {stdout, stderr} = this.process
    this.#stderr = new Tail(stderr!, STDERR_TAIL_BYTES)
    this.#readers = ([stdout!, stderr!] as const).map(
      (stream, i) =>
        new LineReader(stream, line => log.output(this.#speaker, i === 0 ? 'stdout' : 'stderr', line)),
    )
    this.#channel = new Channel(this.process.stdio[CHANNEL_FD] as Socket, {
      onMessage: message => this.#listen(message),
      onNonsense: line => this.#distrust(line),
      onClose: () => this.#heardLast(),
    })
    this.gone = new Promise(done =>
      this.process.once('exit', (code, signal) => done(this.#died(code, signal))),
    )
    this.#say({kind: 'load', ...toLoad})
    this.#limitLoading()
  }

  /** What the workers' files say of the functions it can work, once it is loaded. */
  get workers(): ReadonlyMap<string, LoadedWorker> {
    return this.#workers
  }

  /** Can it take a job? */
  get isIdle(): boolean {
    return this.state === 'idle' && !this.isRetired
  }

  get job(): JobRow | null {
    return this.#run?.job ?? null
  }

  /** When that was started, by monotonic(). */
  get since(): number | null {
    return this.#run?.since ?? null
  }

  run(job: JobRow, since: number, onEnd: (ended: Ended) => void): Run {
    const {maxRetries, retryDelay, grabFor, setJobStatus} = this.#workers.get(job.func)!
    this.state = 'busy'
    this.#stderr.clear()
    this.#speaker = job
    const run: CurrentRun = {
      number: ++this.#runs,
      job,
      since,
      onEnd,
      retryIn: retryDelay === null ? null : retryIn(maxRetries, job.retryCnt, retryDelay),
      isStopped: false,
      callOffKill: () => {},
    }
    this.#run = run
    this.#hasSaidEnd = false
    this.#say({kind: 'run', run: run.number, job: jobToWire(job)})
    const settings: RunSettings = {grabFor, setJobStatus, retryIn: () => run.retryIn}
    return {
      settings,
      pid: this.process.pid ?? null,
      stop: () => {
        run.isStopped = true
        this.#say({kind: 'stop'})
        run.callOffKill = stopGroup(this.process)
      },
    }
  }

  /** Ends it, its plugins first; what runs in it has ended before. */
  end(): void {
    if (this.state === 'ending') return
    if (!this.#hasPlugins) {
      this.kill()
      return
    }
    this.state = 'ending'
    this.#say({kind: 'end'})
    const timer = setTimeout(() => this.kill(), PLUGINS_STOP_MS)
    void this.gone.then(() => clearTimeout(timer))
  }

  kill(): void {
    this.state = 'ending'
    signalGroup(this.process, 'SIGKILL')
  }

  #listen(message: unknown): void {
    if (this.state === 'ending') return
    const heard = readFromChild(message)
    if (heard && this.#isTimely(heard)) this.#hear(heard)
    else this.#distrust(JSON.stringify(message))
  }

  /** Is it what a child in its place may say now? */
  #isTimely(message: FromChild): boolean {
    switch (message.kind) {
      case 'loaded':
        return this.state === 'starting' && this.#isWhatWasToLoad(message.workers)
      case 'loading':
      case 'refused':
        return this.state === 'starting'
      case 'retry':
      case 'ended':
        return this.#run?.number === message.run && !this.#hasSaidEnd
      case 'free':
        return this.state === 'busy' && this.#hasSaidEnd && this.#runs === message.run
    }
  }

  #isWhatWasToLoad(workers: readonly LoadedWorker[]): boolean {
    const funcs = new Set(workers.map(({func}) => func))
    return this.toLoad.workers.every(({func}) => funcs.has(func))
  }

  /** A job has written to the line, or has put what runs there out of order: no word of this child counts any more. */
  #distrust(said: string): void {
    if (this.state === 'ending') return
    this.#offence = `was killed: it wrote ${shortened(said)} where workers speak to jobq (descriptor ${CHANNEL_FD})`
    if (!this.#run) this.#log.trouble(`a worker's process ${this.#offence}`)
    this.#break()
  }

  #heardLast(): void {
    if (this.state === 'ending') return
    const timer = setTimeout(() => {
      if (this.state === 'ending') return
      this.#offence = `was killed: it closed the descriptor on which workers speak to jobq (${CHANNEL_FD})`
      this.#break()
    }, CLOSED_MS)
    void this.gone.then(() => clearTimeout(timer))
  }

  #hear(message: FromChild): void {
    switch (message.kind) {
      case 'loading':
        this.#loading = message.file
        clearTimeout(this.#lateTimer)
        this.#lateTimer = setTimeout(this.#late.resolve, SLOW_LOAD_MS, message.file)
        return
      case 'loaded':
        // What its import has printed is no job's
        whenRound(() => whenRead(this.#readers, () => this.#loaded(message)))
        return
      case 'refused':
        this.#load.reject(new LoadError(this.#loading, message.message, message.hint))
        this.kill()
        return
      case 'retry':
        if (this.#run) this.#run.retryIn = message.retryIn
        return
      case 'ended':
        this.#hasSaidEnd = true
        whenRead(this.#readers, () => this.#finished(message))
        return
      case 'free':
        if (this.#run) this.#early = message
        else this.#freed(message)
    }
  }

  #loaded({workers, hasPlugins}: Extract<FromChild, {kind: 'loaded'}>): void {
    if (this.state !== 'starting') return // it has been ended since
    for (const worker of workers) this.#workers.set(worker.func, worker)
    this.#hasPlugins = hasPlugins
    this.wasLoaded = true
    this.state = 'idle'
    this.#load.resolve()
    this.#onIdle(this)
  }

  #finished({outcome, rss, left}: Extract<FromChild, {kind: 'ended'}>): void {
    if (this.state !== 'busy') return // it has died since
    this.jobsDone++
    this.rss = rss
    // What a job that was stopped has left behind goes with its child
    if (left === 'broken' || this.#run?.isStopped) this.#break()
    else if (left === undefined) this.state = 'idle'
    this.#ended({kind: 'finished', outcome: outcomeFromWire(outcome)})
    if (left !== 'hooks') this.#onIdle(this)
    else if (this.#early) this.#freed(this.#early)
  }

  #freed({failure}: Extract<FromChild, {kind: 'free'}>): void {
    this.#early = null
    if (this.state !== 'busy') return // it has been killed since
    this.state = 'idle'
    if (failure !== null) {
      this.#log.trouble(`${failure}; what became of the job stands, its process is replaced`)
      this.#break()
    }
    this.#onIdle(this)
  }

  /** It can't be trusted with another job. */
  #break(): void {
    this.worn = 'broken'
    this.kill()
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    const how = this.#offence ?? describeExit(code, signal)
    if (this.state !== 'ending') {
      this.worn = 'died'
      if (this.state === 'busy' && !this.#run)
        this.#log.trouble(
          `a worker's process ${how}: what became of its job stands, its hooks were cut short`,
        )
    }
    this.state = 'ending'
    const last = this.#stderr.text.split('\n').at(-1)
    const message = `${this.#loading} can't be loaded: its process ${how} meanwhile`
    this.#load.reject(this.#loadError(message, `it ${how}`, last))
    this.loaded.catch(() => {}) // whoever waits for it has been told
    signalGroup(this.process, 'SIGKILL') // what the job had started
    const memory = /heap out of memory/.test(this.#stderr.text) ? ' (out of memory)' : ''
    this.#ended({kind: 'died', how: `its process ${how}${memory}`})
  }

  #ended(ended: Ended): void {
    const run = this.#run
    if (!run) return
    // What it printed is in the pipes already: it is read in this round of the event loop, before the next job starts
    setImmediate(this.#flushReaders)
    run.callOffKill()
    this.#run = null
    run.onEnd(ended)
  }

  /** Where it has not come to a file yet, Node.js itself has not started: short of threads, it waits for them without an end. */
  #loadError(message: string, early: string, hint?: string): Error {
    return this.#loading === ''
      ? new ProcessError(new Error(early))
      : new LoadError(this.#loading, message, hint)
  }

  readonly #flushReaders = (): void => {
    for (const reader of this.#readers) reader.flush()
  }

  #limitLoading(): void {
    const timer = setTimeout(() => {
      const within = `within ${LOAD_TIMEOUT_MS / 1000} s`
      this.#load.reject(
        this.#loadError(`${this.#loading} was not loaded ${within}`, `it did not start ${within}`),
      )
      this.kill()
    }, LOAD_TIMEOUT_MS)
    const slow = setTimeout(() => {
      const left = (LOAD_TIMEOUT_MS - SLOW_LOAD_MS) / 1000
      this.#log.trouble(
        `${this.#loading || 'a worker'} is still loading; it is waited for, ${left} s more at most`,
      )
    }, SLOW_LOAD_MS)
    const off = () => {
      clearTimeout(timer)
      clearTimeout(slow)
      clearTimeout(this.#lateTimer)
    }
    this.loaded.then(off, off)
  }

  #say(message: ToChild): void {
    this.#channel.send(message)
  }
}

function forkChild(log: JobLog): ChildProcess {
  let child: ChildProcess
  try {
    checkDescriptors()
    child = spawn(process.execPath, [...process.execArgv, ...CHILD_FLAGS, CHILD], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: {...process.env, ...compileCache()},
    })
  } catch (cause) {
    throw new ProcessError(cause)
  }
  child.on('error', error => log.debug(`child ${child.pid}: ${error.message}`))
  if (child.pid === undefined) throw new ProcessError()
  return child
}

function shortened(text: string): string {
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text
}

/** The same for the child: what bin/run.js has found to be this user's own, or what the user has named. */
function compileCache(): NodeJS.ProcessEnv {
  const folder = getCompileCacheDir() // in it, that is: each version of Node has one of its own there
  return folder === undefined ? {} : {NODE_COMPILE_CACHE: dirname(folder)}
}

interface CurrentRun {
  number: number
  job: JobRow
  since: number
  onEnd: (ended: Ended) => void
  retryIn: number | null
  isStopped: boolean
  callOffKill: () => void
}
