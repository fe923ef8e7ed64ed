/**
 * Executables as workers: one process a job. The argument's bytes come on stdin, as a file that is complete before the
 * process starts; the job's facts in the environment. Exit 0 is completed, 100 is abort, anything else has failed.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {closeSync} from 'node:fs'
import type {Socket} from 'node:net'
import {idOf, type JobRow} from '../../jobs/job.ts'
import {isNoArg, type SerializerName} from '../../jobs/serializers/serializers.ts'
import type {CommandHandler} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {ArgumentFiles, NoRoomForArgument} from './argument-files.ts'
import {
  DEFAULT_GRAB_FOR,
  describeExit,
  type Ended,
  type Executor,
  limited,
  type Prospect,
  type Run,
  retryIn,
  STDERR_TAIL_BYTES,
  type WorkerView,
} from './executor.ts'
import {LineReader, Tail, whenRead} from './output.ts'
import type {Surroundings} from './pool.ts'
import {type Guardian, stopGroup} from './process-groups.ts'
import {Shortage} from './shortage.ts'

const ABORT_STATUS = 100
/** A process's output may be held open by what it left behind in the background: it is waited for no longer. */
const OUTPUT_WAIT_MS = 100

export class CommandExecutor implements Executor {
  readonly #running = new Map<ChildProcess, {job: JobRow; since: number}>()
  #handlers: ReadonlyMap<string, CommandHandler> = new Map()
  #funcs: readonly string[] = []
  #maxRunning: ReadonlyMap<string, number> = new Map()
  readonly #guardian: Guardian
  readonly #log: JobLog
  readonly #environment: NodeJS.ProcessEnv
  readonly #shortage: Shortage
  readonly #arguments: ArgumentFiles
  readonly #serializer: SerializerName | undefined

  /**
   * @param db the database's address for JOBQ_DB, as the job may pass it on to jobq
   * @param serializer of functions that say nothing of it
   */
  constructor(
    handlers: readonly CommandHandler[],
    {guardian, log, onRoom}: Pick<Surroundings, 'guardian' | 'log' | 'onRoom'>,
    {db, serializer}: {db: string; serializer: SerializerName | undefined},
  ) {
    this.#serializer = serializer
    this.reload(handlers)
    this.#guardian = guardian
    this.#log = log
    this.#shortage = new Shortage(log, onRoom)
    this.#arguments = new ArgumentFiles(log, onRoom, () => {
      let bytes = 0
      for (const {job} of this.#running.values()) bytes += job.arg?.length ?? 0
      return bytes
    })
    this.#environment = {...process.env, JOBQ_DB: db}
  }

  get funcs(): readonly string[] {
    return this.#funcs.some(this.#isResting)
      ? this.#funcs.filter(func => !this.#isResting(func))
      : this.#funcs
  }

  prospect(func: string): Prospect {
    if (this.#isResting(func)) return 'none'
    return this.room > 0 ? 'now' : 'soon'
  }

  /** There is no room for the arguments of its jobs at the moment. */
  readonly #isResting = (func: string): boolean => this.#arguments.isResting(func)

  /** How many jobs it could start right now, as far as the machine is concerned. */
  get room(): number {
    if (this.#funcs.length === 0) return 0
    return Math.min(this.#shortage.room(this.#running.size), this.#arguments.room)
  }

  /** Why not a single process could be started for long, or none of some function. */
  get failure(): Error | null {
    return this.#shortage.failure ?? this.#arguments.failure
  }

  get maxRunning(): ReadonlyMap<string, number> {
    return this.#maxRunning
  }

  get workers(): WorkerView[] {
    return [...this.#running].map(([{pid = 0}, run]) => ({state: 'busy', pid, ...run, jobsDone: 0}))
  }

  /** Jobs that start from now on get these. */
  reload(handlers: readonly CommandHandler[]): void {
    this.#handlers = new Map(handlers.map(handler => [handler.func, handler]))
    this.#funcs = [...this.#handlers.keys()]
    this.#maxRunning = limited(
      handlers.map(({func, settings}) => ({func, maxRunning: settings.maxRunning ?? 0})),
    )
  }

  async ready(): Promise<void> {}

  start(job: JobRow, since: number, onEnd: (ended: Ended) => void): Run {
    const {argv, settings} = this.#handlers.get(job.func)!
    const {maxRetries = 0, retryDelay = 0, grabFor = DEFAULT_GRAB_FOR, setJobStatus = false} = settings
    const retry = () => retryIn(maxRetries, job.retryCnt, retryDelay)
    const runSettings = {grabFor, setJobStatus, retryIn: retry}
    const child = this.#spawn(argv, job, error => {
      if (error instanceof NoRoomForArgument || this.#shortage.isReasonOf(error, this.#running.size))
        onEnd({kind: 'unstarted'})
      else onEnd(failed(`its worker could not be started (${error.message})`, retry()))
    })
    if (!child) return {settings: runSettings, pid: null, stop: () => {}}
    this.#guardian.watch(child)
    this.#running.set(child, {job, since})
    this.#shortage.hasStarted(this.#running.size)
    let callOffKill = () => {}
    this.#attend(
      child,
      job,
      ended => {
        callOffKill()
        this.#running.delete(child)
        onEnd(ended)
      },
      retry,
    )
    return {
      settings: runSettings,
      pid: child.pid!,
      stop: () => {
        callOffKill = stopGroup(child)
      },
    }
  }

  close(): void {
    this.#shortage.close()
    this.#arguments.close()
  }

  /** @returns null, and calls back soon, if there is no process */
  #spawn(
    [file, ...words]: CommandHandler['argv'],
    job: JobRow,
    onError: (error: Error) => void,
  ): ChildProcess | null {
    let stdin: number | null = null
    try {
      this.#shortage.check(this.#running.size)
      const input = this.#inputOf(job)
      if (input?.length) stdin = this.#arguments.write(job.func, input)
      const env = {...this.#environment, ...facts(job)}
      const child = spawn(file, words, {detached: true, stdio: [stdin ?? 'ignore', 'pipe', 'pipe'], env})
      if (child.pid !== undefined) return child
      child.once('error', onError)
    } catch (error) {
      setImmediate(onError, error as Error) // no memory; or a uniqkey with a NUL in it, which no environment can hold
    } finally {
      if (stdin !== null) closeSync(stdin)
    }
    return null
  }

  /** The argument's bytes; but a job without one has none, whatever its serializer stores for that. */
  #inputOf({func, arg}: JobRow): Uint8Array | undefined {
    const serializer = this.#handlers.get(func)?.settings.serializer ?? this.#serializer
    return arg === null || (serializer !== 'none' && isNoArg(arg)) ? undefined : arg
  }

  #attend(child: ChildProcess, job: JobRow, onEnd: (ended: Ended) => void, retry: () => number | null): void {
    const {stdout, stderr} = child
    const tail = new Tail(stderr!, STDERR_TAIL_BYTES)
    const lines = [stdout!, stderr!].map(
      (stream, i) =>
        new LineReader(stream, line => this.#log.output(job, i === 0 ? 'stdout' : 'stderr', line)),
    )
    let ended = false
    const end = (how: Ended) => {
      if (ended) return
      ended = true
      for (const reader of lines) reader.flush()
      // Background processes may hold these for long: they are heard as long as there is another reason to be here
      for (const stream of [stdout, stderr]) (stream as Socket).unref()
      onEnd(how)
    }
    child.on('error', () => {}) // of a signal that came too late
    child.once('exit', (code, signal) => {
      const finish = () => end(outcomeOf(code, signal, tail, retry))
      const timer = setTimeout(() => whenRead(lines, finish), OUTPUT_WAIT_MS)
      child.once('close', () => {
        clearTimeout(timer)
        finish()
      })
    })
  }
}

function facts(job: JobRow): NodeJS.ProcessEnv {
  return {
    JOBQ_ID: String(idOf(job)),
    JOBQ_FUNC: job.func,
    JOBQ_UNIQKEY: job.uniqkey ?? '',
    JOBQ_PRIORITY: String(job.priority),
    JOBQ_RETRY_CNT: String(job.retryCnt),
    JOBQ_CONTEXT: job.context,
  }
}

function outcomeOf(
  code: number | null,
  signal: NodeJS.Signals | null,
  tail: Tail,
  retry: () => number | null,
): Ended {
  if (code === 0) return {kind: 'finished', outcome: {kind: 'completed'}}
  const stderr = tail.text
  const message = [describeExit(code, signal), stderr].filter(Boolean).join('\n')
  if (code === ABORT_STATUS)
    return {kind: 'finished', outcome: {kind: 'aborted', reason: stderr || 'exited with status 100 (abort)'}}
  return failed(message, retry())
}

function failed(message: string, retry: number | null): Ended {
  return {kind: 'finished', outcome: {kind: 'failed', message, retryIn: retry}}
}
