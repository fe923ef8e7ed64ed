/**
 * The prefork pool for JavaScript and TypeScript workers: Qudo::Parallel::Manager's children.
 *
 * A child is starting (loading the workers' files), idle, busy with one job, or retiring (it goes once it is idle).
 * Jobs are handed to idle children only, so that what is grabbed starts at once. A child that dies is replaced; one
 * whose worker file can't be loaded any more is started again later and later.
 */
import {type ChildProcess, fork} from 'node:child_process'
import {getCompileCacheDir} from 'node:module'
import {fileURLToPath} from 'node:url'
import {WorkerError} from '../errors.ts'
import type {JobRow} from '../job.ts'
import {
  describeExit,
  type Ended,
  type Executor,
  type Run,
  type RunSettings,
  retryIn,
  STDERR_TAIL_BYTES,
} from './executor.ts'
import type {ModuleHandler} from './handlers.ts'
import type {JobLog} from './log.ts'
import {LineReader, Tail} from './output.ts'
import {type Guardian, signalGroup, stopGroup} from './processes.ts'
import {type FromChild, jobToWire, type LoadedWorker, outcomeFromWire, type ToChild} from './wire.ts'

const CHILD = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url),
)
/** A file that has not been loaded by then never will be (a loop, a read from a terminal). */
const LOAD_TIMEOUT_MS = 30_000
/** Between attempts to replace a child that could not be started: doubled each time, up to the second. */
const BACKOFF_MS = [500, 30_000] as const

export interface PoolOptions {
  /** At most so many children, and so jobs at once. */
  maxWorkers: number
}

export class Pool implements Executor {
  readonly funcs: readonly string[]
  readonly #handlers: readonly ModuleHandler[]
  readonly #options: PoolOptions
  readonly #guardian: Guardian
  readonly #log: JobLog
  readonly #onRoom: () => void
  readonly #children = new Set<Child>()
  #closing = false
  #failures = 0
  #restart: NodeJS.Timeout | undefined

  /** @param onRoom called when a child has become idle */
  constructor(
    handlers: readonly ModuleHandler[],
    options: PoolOptions,
    guardian: Guardian,
    log: JobLog,
    onRoom: () => void,
  ) {
    this.funcs = handlers.map(({func}) => func)
    this.#handlers = handlers
    this.#options = options
    this.#guardian = guardian
    this.#log = log
    this.#onRoom = onRoom
  }

  get room(): number {
    let idle = 0
    for (const child of this.#children) if (child.state === 'idle') idle++
    return idle
  }

  /** Starts one child to see whether the workers load, then the others beside it. */
  async ready(): Promise<void> {
    await this.#startChild().loaded
    this.#fill()
  }

  start(job: JobRow, onEnd: (ended: Ended) => void): Run {
    for (const child of this.#children) if (child.state === 'idle') return child.run(job, onEnd)
    throw new Error('no child is idle') // the dispatcher grabs no more than there is room for
  }

  async close(): Promise<void> {
    this.#closing = true
    clearTimeout(this.#restart)
    const gone = [...this.#children].map(child => child.gone)
    for (const child of this.#children) child.end()
    await Promise.all(gone)
  }

  #fill(): void {
    if (this.#closing || this.#restart) return
    while (this.#children.size < this.#options.maxWorkers) {
      this.#startChild().loaded.then(
        () => {
          this.#failures = 0
        },
        (error: Error) => {
          if (this.#closing) return
          if (this.#failures === 0)
            this.#log.trouble(`a worker can't be loaded, trying again: ${error.message}`)
          const pause = Math.min(BACKOFF_MS[0] * 2 ** this.#failures++, BACKOFF_MS[1])
          this.#restart ??= setTimeout(() => {
            this.#restart = undefined
            this.#fill()
          }, pause)
        },
      )
    }
  }

  #startChild(): Child {
    const child = new Child(this.#handlers, this.#log, this.#onRoom)
    this.#guardian.watch(child.process)
    this.#children.add(child)
    this.#log.debug(`child ${child.process.pid} starts`)
    child.gone.then(() => {
      this.#children.delete(child)
      this.#log.debug(`child ${child.process.pid} is gone`)
      if (child.wasLoaded) this.#fill()
    })
    return child
  }
}

type State = 'starting' | 'idle' | 'busy' | 'ending'

/** One child process and what it is doing. */
class Child {
  readonly process: ChildProcess
  /** @throws WorkerError if a worker's file can't be loaded here */
  readonly loaded: Promise<void>
  readonly gone: Promise<void>
  state: State = 'starting'
  wasLoaded = false
  readonly #workers = new Map<string, LoadedWorker>()
  readonly #log: JobLog
  readonly #onRoom: () => void
  readonly #stderr: Tail
  readonly #readers: LineReader[]
  /** Whose output it is: the last job handed out, since what it wrote may be read after the word that it has ended. */
  #speaker: JobRow | null = null
  #loading = ''
  #onLoaded: {resolve: () => void; reject: (error: Error) => void}
  #run: {job: JobRow; onEnd: (ended: Ended) => void; retryIn: number | null; callOffKill: () => void} | null =
    null

  constructor(handlers: readonly ModuleHandler[], log: JobLog, onRoom: () => void) {
    this.#log = log
    this.#onRoom = onRoom
    const {promise, resolve, reject} = Promise.withResolvers<void>()
    this.loaded = promise
    this.#onLoaded = {resolve, reject}
    this.process = fork(CHILD, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'json',
      env: {...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() ?? process.env.NODE_COMPILE_CACHE},
    })
    const {stdout, stderr} = this.process
    this.#stderr = new Tail(stderr!, STDERR_TAIL_BYTES)
    this.#readers = ([stdout!, stderr!] as const).map(
      (stream, i) =>
        new LineReader(stream, line => log.output(this.#speaker, i === 0 ? 'stdout' : 'stderr', line)),
    )
    this.process.on('message', (message: FromChild) => this.#hear(message))
    this.process.on('error', error => this.#log.debug(`child ${this.process.pid}: ${error.message}`))
    this.gone = new Promise(done =>
      this.process.once('exit', (code, signal) => done(this.#died(code, signal))),
    )
    this.#say({kind: 'load', workers: handlers.map(({func, file, settings}) => ({func, file, settings}))})
    const timer = setTimeout(() => {
      reject(new WorkerError(`${this.#loading} was not loaded within ${LOAD_TIMEOUT_MS / 1000} s`))
      signalGroup(this.process, 'SIGKILL')
    }, LOAD_TIMEOUT_MS)
    promise.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    )
  }

  run(job: JobRow, onEnd: (ended: Ended) => void): Run {
    const {maxRetries, retryDelay, grabFor, setJobStatus} = this.#workers.get(job.func)!
    this.state = 'busy'
    this.#stderr.clear()
    this.#speaker = job
    const run = {
      job,
      onEnd,
      retryIn: retryDelay === null ? null : retryIn(maxRetries, job.retryCnt, retryDelay),
      callOffKill: () => {},
    }
    this.#run = run
    this.#say({kind: 'run', job: jobToWire(job)})
    const settings: RunSettings = {grabFor, setJobStatus, retryIn: () => run.retryIn}
    return {
      settings,
      stop: () => {
        this.#say({kind: 'stop'})
        run.callOffKill = stopGroup(this.process)
      },
    }
  }

  /** Ends it; what runs in it has ended before. */
  end(): void {
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
        this.#onLoaded.resolve()
        this.#onRoom()
        return
      case 'refused':
        this.#onLoaded.reject(new WorkerError(message.message, {hint: message.hint}))
        this.end()
        return
      case 'retry':
        if (this.#run) this.#run.retryIn = message.retryIn
        return
      case 'ended':
        this.state = 'idle'
        if (message.broken) this.end()
        this.#ended({kind: 'finished', outcome: outcomeFromWire(message.outcome)})
    }
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    this.state = 'ending'
    const how = describeExit(code, signal)
    this.#onLoaded.reject(
      new WorkerError(`${this.#loading} can't be loaded: its process ${how} meanwhile`, {
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

  #say(message: ToChild): void {
    if (this.process.connected) this.process.send(message)
  }
}
