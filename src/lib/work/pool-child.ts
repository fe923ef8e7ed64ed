/**
 * One child of the pool, seen from the dispatcher's side: its process, what it is doing, and whose output it prints.
 */
import {type ChildProcess, fork} from 'node:child_process'
import {getCompileCacheDir} from 'node:module'
import {fileURLToPath} from 'node:url'
import {ProcessError, WorkerError} from '../errors.ts'
import type {JobRow} from '../job.ts'
import {describeExit, type Ended, type Run, type RunSettings, retryIn, STDERR_TAIL_BYTES} from './executor.ts'
import type {ModuleHandler} from './handlers.ts'
import type {JobLog} from './log.ts'
import {LineReader, Tail, whenRead} from './output.ts'
import {signalGroup, stopGroup} from './processes.ts'
import {type FromChild, jobToWire, type LoadedWorker, outcomeFromWire, type ToChild} from './wire.ts'

const CHILD = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url),
)
/** A worker in a folder without a package.json runs all the same. */
const CHILD_FLAGS = ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON']
/** A file that has not been loaded by then never will be (a loop, a read from a terminal). */
const LOAD_TIMEOUT_MS = 30_000

/** `ending` children have been killed, or are dead, and only wait to be collected. */
export type ChildState = 'starting' | 'idle' | 'busy' | 'ending'

export class PoolChild {
  readonly process: ChildProcess
  /** @throws WorkerError if a worker's file can't be loaded here */
  readonly loaded: Promise<void>
  readonly gone: Promise<void>
  state: ChildState = 'starting'
  wasLoaded = false
  /** It is to be replaced: goes on working until the one that takes its place is ready. */
  isWorn = false
  /** The one that takes its place is ready: it ends with the job it has. */
  isRetired = false
  jobsDone = 0
  /** Memory in bytes after the last job; 0 before the first, and if it is not measured. */
  rss = 0
  #run: CurrentRun | null = null
  readonly #workers = new Map<string, LoadedWorker>()
  readonly #onIdle: (child: PoolChild) => void
  readonly #stderr: Tail
  readonly #readers: LineReader[]
  readonly #load: PromiseWithResolvers<void>
  /** Whose output it is: the last job handed out, since what it wrote may be read after the word that it has ended. */
  #speaker: JobRow | null = null
  #loading = ''

  /**
   * @param measure tell its memory after each job
   * @param onIdle called when it can take a job, and when it is broken and can't
   * @throws ProcessError if no process can be started
   */
  constructor(
    handlers: readonly ModuleHandler[],
    measure: boolean,
    log: JobLog,
    onIdle: (child: PoolChild) => void,
  ) {
    this.#onIdle = onIdle
    this.#load = Promise.withResolvers<void>()
    this.loaded = this.#load.promise
    this.process = forkChild(log)
    const {stdout, stderr} = this.process
    this.#stderr = new Tail(stderr!, STDERR_TAIL_BYTES)
    this.#readers = ([stdout!, stderr!] as const).map(
      (stream, i) =>
        new LineReader(stream, line => log.output(this.#speaker, i === 0 ? 'stdout' : 'stderr', line)),
    )
    this.process.on('message', (message: FromChild) => this.#hear(message))
    this.gone = new Promise(done =>
      this.process.once('exit', (code, signal) => done(this.#died(code, signal))),
    )
    const workers = handlers.map(({func, file, settings}) => ({func, file, settings}))
    this.#say({kind: 'load', workers, measure})
    this.#limitLoading()
  }

  /** What the workers' files say of the functions it can work, once it is loaded. */
  get workers(): ReadonlyMap<string, LoadedWorker> {
    return this.#workers
  }

  get job(): JobRow | null {
    return this.#run?.job ?? null
  }

  /** When that was started, by performance.now(). */
  get since(): number | null {
    return this.#run?.since ?? null
  }

  run(job: JobRow, onEnd: (ended: Ended) => void): Run {
    const {maxRetries, retryDelay, grabFor, setJobStatus} = this.#workers.get(job.func)!
    this.state = 'busy'
    this.#stderr.clear()
    this.#speaker = job
    const run: CurrentRun = {
      job,
      since: performance.now(),
      onEnd,
      retryIn: retryDelay === null ? null : retryIn(maxRetries, job.retryCnt, retryDelay),
      isStopped: false,
      callOffKill: () => {},
    }
    this.#run = run
    this.#say({kind: 'run', job: jobToWire(job)})
    const settings: RunSettings = {grabFor, setJobStatus, retryIn: () => run.retryIn}
    return {
      settings,
      stop: () => {
        run.isStopped = true
        this.#say({kind: 'stop'})
        run.callOffKill = stopGroup(this.process)
      },
    }
  }

  /** Ends it; what runs in it has ended before. */
  end(): void {
    if (this.state === 'ending') return
    this.state = 'ending'
    signalGroup(this.process, 'SIGKILL')
  }

  #hear(message: FromChild): void {
    switch (message.kind) {
      case 'loading':
        this.#loading = message.file
        return
      case 'loaded':
        for (const worker of message.workers) this.#workers.set(worker.func, worker)
        this.wasLoaded = true
        this.state = 'idle'
        this.#load.resolve()
        this.#onIdle(this)
        return
      case 'refused':
        this.#load.reject(new WorkerError(message.message, {hint: message.hint}))
        this.end()
        return
      case 'retry':
        if (this.#run) this.#run.retryIn = message.retryIn
        return
      case 'ended':
        whenRead(this.#readers, () => this.#finished(message))
    }
  }

  #finished({outcome, rss, broken}: Extract<FromChild, {kind: 'ended'}>): void {
    if (this.state !== 'busy') return // it has died since
    this.state = 'idle'
    this.jobsDone++
    this.rss = rss
    // What a job that was stopped has left behind goes with its child
    if (broken || this.#run?.isStopped) this.end()
    this.#ended({kind: 'finished', outcome: outcomeFromWire(outcome)})
    this.#onIdle(this)
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    this.state = 'ending'
    const how = describeExit(code, signal)
    this.#load.reject(
      new WorkerError(`${this.#loading || 'the workers'} can't be loaded: its process ${how} meanwhile`, {
        hint: this.#stderr.text.split('\n').at(-1) ?? '',
      }),
    )
    this.loaded.catch(() => {}) // whoever waits for it has been told
    signalGroup(this.process, 'SIGKILL') // what the job had started
    const memory = /heap out of memory/.test(this.#stderr.text) ? ' (out of memory)' : ''
    this.#ended({kind: 'died', how: `its process ${how}${memory}`})
  }

  #ended(ended: Ended): void {
    const run = this.#run
    if (!run) return
    // What it printed is in the pipes already: it is read in this round of the event loop, before the next job starts
    setImmediate(() => {
      for (const reader of this.#readers) reader.flush()
    })
    run.callOffKill()
    this.#run = null
    run.onEnd(ended)
  }

  #limitLoading(): void {
    const timer = setTimeout(() => {
      this.#load.reject(new WorkerError(`${this.#loading} was not loaded within ${LOAD_TIMEOUT_MS / 1000} s`))
      this.end()
    }, LOAD_TIMEOUT_MS)
    const off = () => clearTimeout(timer)
    this.loaded.then(off, off)
  }

  #say(message: ToChild): void {
    if (this.process.connected) this.process.send(message)
  }
}

function forkChild(log: JobLog): ChildProcess {
  let child: ChildProcess
  try {
    child = fork(CHILD, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'json',
      execArgv: [...process.execArgv, ...CHILD_FLAGS],
      env: {...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() ?? process.env.NODE_COMPILE_CACHE},
    })
  } catch (cause) {
    throw new ProcessError(cause)
  }
  child.on('error', error => log.debug(`child ${child.pid}: ${error.message}`))
  if (child.pid === undefined) throw new ProcessError()
  return child
}

interface CurrentRun {
  job: JobRow
  since: number
  onEnd: (ended: Ended) => void
  retryIn: number | null
  isStopped: boolean
  callOffKill: () => void
}
