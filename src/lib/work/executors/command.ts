/**
 * Executables as workers: one process a job. The argument's bytes come on stdin, as a file that is complete before the
 * process starts; the job's facts in the environment. Exit 0 is completed, 100 is abort, anything else has failed.
 */
import {type ChildProcess, type StdioOptions, spawn} from 'node:child_process'
import {closeSync} from 'node:fs'
import type {Socket} from 'node:net'
import type {Progress} from '../../jobs/job.ts'
import {idOf, type JobRow, KEPT_OUTPUT_BYTES, type TakenJob} from '../../jobs/job.ts'
import {isNoArg} from '../../jobs/serializers/serializers.ts'
import {shareLimits} from '../../jobs/shares/limits.ts'
import {givenContext, keepsResult} from '../../jobs/side-tables/keep-result.ts'
import {readProgress} from '../../jobs/side-tables/progress.ts'
import type {CommandHandler} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {AbsentFiles} from './absent-files.ts'
import {ArgumentFiles, NoRoomForArgument} from './arguments/files.ts'
import {OTHERS, othersFile} from './arguments/others.ts'
import {
  type Coalescing,
  coalescing,
  DEFAULT_GRAB_FOR,
  describeExit,
  type Ended,
  type Executor,
  limited,
  NOTHING_SHARED,
  type Prospect,
  type Run,
  retryIn,
  STDERR_TAIL_BYTES,
  sharing,
  type WorkerView,
} from './executor.ts'
import {LineReader, Tail, whenRead} from './output.ts'
import type {Surroundings} from './pool/pool.ts'
import {type Guardian, stopGroup} from './process-groups.ts'
import type {WorkerDefaults} from './ready-worker.ts'
import {ResultFile} from './result-file.ts'
import {RunOutput} from './run-output.ts'
import {Shortage} from './shortage.ts'
import {messageOf} from './thrown.ts'

const ABORT_STATUS = 100
/** Where a process says how far it is: standard output, so that it costs no other job anything. */
const PROGRESS_FD = 1
/** A process's output may be held open by what it left behind in the background: it is waited for no longer. */
const OUTPUT_WAIT_MS = 100

export class CommandExecutor implements Executor {
  readonly #running = new Map<ChildProcess, {job: JobRow; since: number}>()
  #handlers: ReadonlyMap<string, CommandHandler> = new Map()
  #funcs: readonly string[] = []
  #maxRunning: ReadonlyMap<string, number> = new Map()
  shares: Executor['shares'] = NOTHING_SHARED
  /** The files of functions whose starts are limited. */
  #rated: ReadonlyMap<string, string> = new Map()
  #coalesced: ReadonlyMap<string, Coalescing> = new Map()
  readonly #guardian: Guardian
  readonly #log: JobLog
  readonly #environment: NodeJS.ProcessEnv
  readonly #shortage: Shortage
  readonly #arguments: ArgumentFiles
  readonly #absent: AbsentFiles
  #defaults: WorkerDefaults

  /**
   * @param db the database's address for JOBQ_DB, as the job may pass it on to jobq
   */
  constructor(
    handlers: readonly CommandHandler[],
    {guardian, log, onRoom}: Pick<Surroundings, 'guardian' | 'log' | 'onRoom'>,
    {db, defaults}: {db: string; defaults: WorkerDefaults},
  ) {
    this.#defaults = defaults
    this.#absent = new AbsentFiles(log, onRoom)
    this.reload(handlers, defaults)
    this.#guardian = guardian
    this.#log = log
    this.#shortage = new Shortage(log, onRoom)
    this.#arguments = new ArgumentFiles(log, onRoom, () => {
      let bytes = 0
      for (const {job} of this.#running.values()) bytes += job.arg?.length ?? 0
      return bytes
    })
    // A jobq work that a job has started: what that one is worked with is no other's
    this.#environment = {...process.env, JOBQ_DB: db, JOBQ_OTHERS: undefined, JOBQ_RESULT: undefined}
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

  /** There is no room for the arguments of its jobs at the moment, or its file is not there. */
  readonly #isResting = (func: string): boolean => {
    if (this.#arguments.isResting(func) || this.#absent.isResting(func)) return true
    const file = this.#rated.get(func)
    return file !== undefined && this.#absent.isMissing(func, file)
  }

  /** How many jobs it could start right now, as far as the machine is concerned. */
  get room(): number {
    if (this.#funcs.length === 0) return 0
    return Math.min(this.#shortage.room(this.#running.size), this.#arguments.room)
  }

  /** Why not a single process could be started for long, or none of some function. */
  get failure(): Error | null {
    return this.#shortage.failure ?? this.#arguments.failure ?? this.#absent.failure
  }

  get maxRunning(): ReadonlyMap<string, number> {
    return this.#maxRunning
  }

  get coalesced(): ReadonlyMap<string, Coalescing> {
    return this.#coalesced
  }

  get workers(): WorkerView[] {
    return [...this.#running].map(([{pid = 0}, run]) => ({state: 'busy', pid, ...run, jobsDone: 0}))
  }

  /** Jobs that start from now on get these. */
  reload(handlers: readonly CommandHandler[], defaults: WorkerDefaults): void {
    this.#defaults = defaults
    this.#absent.reset()
    this.#handlers = new Map(handlers.map(handler => [handler.func, handler]))
    this.#funcs = [...this.#handlers.keys()]
    this.#maxRunning = limited(
      handlers.map(({func, settings}) => ({func, maxRunning: settings.maxRunning ?? 0})),
    )
    this.shares = sharing(
      handlers.map(({func, settings}) => {
        const serializer = settings.serializer ?? defaults.serializer ?? 'json'
        return {func, shares: shareLimits({...settings, serializer})}
      }),
      this.shares,
    )
    const rated = handlers.filter(({settings: {rate, ratePerKey}}) => rate || ratePerKey)
    this.#rated = new Map(rated.map(({func, argv: [file]}) => [func, file]))
    this.#coalesced = coalescing(
      handlers.map(({func, settings: {coalesce = 0, coalesceBy = null, serializer}}) => ({
        ...{func, coalesce, coalesceBy},
        serializer: serializer ?? defaults.serializer ?? 'json',
      })),
    )
  }

  async ready(): Promise<void> {}

  start(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run {
    const {argv, settings} = this.#handlers.get(job.func)!
    const {maxRetries = 0, retryDelay = 0, grabFor = DEFAULT_GRAB_FOR, setJobStatus = false} = settings
    const {keepResult = 0} = settings
    const keepOutput = settings.keepOutput ?? this.#defaults.keepOutput ?? KEPT_OUTPUT_BYTES
    const retry = (nth?: number) =>
      retryIn(maxRetries, (nth === undefined ? job : job.others![nth]!).retryCnt, retryDelay)
    const runSettings = {grabFor, setJobStatus, keepResult, retryIn: retry}
    const files: {result: ResultFile | null} = {result: null}
    const child = this.#spawn(argv, job, files, error => {
      if (
        error instanceof NoRoomForArgument ||
        this.#shortage.isReasonOf(error, this.#running.size) ||
        this.#absent.isReasonOf(error, job.func, argv[0])
      )
        onEnd({kind: 'unstarted'})
      else onEnd(failed(`its worker could not be started (${error.message})`, retry()))
    })
    if (!child) return {settings: runSettings, pid: null, stop: () => {}}
    this.#guardian.watch(child)
    this.#running.set(child, {job, since})
    this.#shortage.hasStarted(this.#running.size)
    this.#absent.hasStarted(job.func)
    let callOffKill = () => {}
    const output = new RunOutput(keepOutput)
    const outcome = (code: number | null, signal: NodeJS.Signals | null, tail: Tail) =>
      outcomeOf({code, signal, tail, result: files.result}, retry)
    const written = {output, onProgress}
    this.#attend(child, job, written, outcome, ended => {
      callOffKill()
      this.#running.delete(child)
      files.result?.close()
      onEnd(ended)
    })
    return {
      settings: runSettings,
      pid: child.pid!,
      output,
      stop: () => {
        callOffKill = stopGroup(child)
      },
    }
  }

  close(): void {
    this.#shortage.close()
    this.#arguments.close()
    this.#absent.reset()
  }

  /** @returns null, and calls back soon, if there is no process */
  #spawn(
    [file, ...words]: CommandHandler['argv'],
    job: TakenJob,
    files: {result: ResultFile | null},
    onError: (error: Error) => void,
  ): ChildProcess | null {
    let stdin: number | null = null
    const more: number[] = []
    try {
      this.#shortage.check(this.#running.size)
      this.#absent.check(file)
      const input = this.#inputOf(job)
      if (input?.length) stdin = this.#arguments.write(job.func, input)
      if (job.others) more.push(this.#arguments.write(job.func, othersFile(job.others)))
      const env = {...this.#environment, ...facts(job), ...this.#othersFact(job)}
      if (this.#keepsResult(job)) {
        files.result = new ResultFile()
        env.JOBQ_RESULT = `/dev/fd/${3 + more.length}`
        more.push(files.result.writing)
      }
      const stdio: StdioOptions = [stdin ?? 'ignore', 'pipe', 'pipe', ...more]
      const child = spawn(file, words, {detached: true, stdio, env})
      if (child.pid !== undefined) return child
      child.once('error', onError)
    } catch (error) {
      setImmediate(onError, error as Error) // no memory; or a uniqkey with a NUL in it, which no environment can hold
    } finally {
      for (const fd of [stdin, ...more]) if (fd !== null) closeSync(fd)
    }
    files.result?.close()
    return null
  }

  #keepsResult(job: TakenJob): boolean {
    return (this.#handlers.get(job.func)?.settings.keepResult ?? 0) > 0 || keepsResult(job)
  }

  /** Where it can read those that it is worked with; there, if empty, where it says that it may be. */
  #othersFact({func, others}: TakenJob): NodeJS.ProcessEnv {
    if (!this.#coalesced.has(func)) return {}
    return {JOBQ_OTHERS: others ? OTHERS : '/dev/null'}
  }

  /** The argument's bytes; but a job without one has none, whatever its serializer stores for that. */
  #inputOf({func, arg}: JobRow): Uint8Array | undefined {
    const serializer = this.#handlers.get(func)?.settings.serializer ?? this.#defaults.serializer
    return arg === null || (serializer !== 'none' && isNoArg(arg)) ? undefined : arg
  }

  #attend(
    child: ChildProcess,
    job: JobRow,
    {output, onProgress}: {output: RunOutput; onProgress: (progress: Progress) => void},
    outcomeOf: (code: number | null, signal: NodeJS.Signals | null, tail: Tail) => Ended,
    onEnd: (ended: Ended) => void,
  ): void {
    const {stdout, stderr} = child
    const tail = new Tail(stderr!, STDERR_TAIL_BYTES)
    let listens: RunOutput | null = output
    const lines = ([stdout!, stderr!] as const).map((stream, i) => {
      const name = i === 0 ? 'stdout' : 'stderr'
      return new LineReader(stream, (line, isWhole) => {
        const progress = i === PROGRESS_FD - 1 && line.startsWith('::jobq ') ? readProgress(line) : null
        if (progress) {
          if (listens) onProgress(progress)
          return null
        }
        listens?.add(name, line, isWhole)
        return this.#log.output(job, name, line)
      })
    })
    let ended = false
    const end = (how: Ended) => {
      if (ended) return
      ended = true
      for (const reader of lines) reader.flush()
      listens = null
      // Background processes may hold these for long: they are heard as long as there is another reason to be here
      for (const stream of [stdout, stderr]) (stream as Socket).unref()
      onEnd(how)
    }
    child.on('error', () => {}) // of a signal that came too late
    child.once('exit', (code, signal) => {
      const finish = () => end(outcomeOf(code, signal, tail))
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
    JOBQ_CONTEXT: contextFact(job),
    JOBQ_PROGRESS: String(PROGRESS_FD),
  }
}

function contextFact({context}: JobRow): string | undefined {
  if (context === undefined) return undefined
  const given = givenContext(context)
  return Object.keys(given).length > 0 ? JSON.stringify(given) : undefined
}

/** How a process ended. */
interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  tail: Tail
  result: ResultFile | null
}

function outcomeOf({code, signal, tail, result}: Exit, retry: () => number | null): Ended {
  if (code === 0 && result === null) return {kind: 'finished', outcome: {kind: 'completed'}}
  if (code === 0)
    try {
      return {kind: 'finished', outcome: {kind: 'completed', result: result!.read()}}
    } catch (error) {
      return failed(messageOf(error), retry())
    }
  const stderr = tail.text
  const message = [describeExit(code, signal), stderr].filter(Boolean).join('\n')
  if (code === ABORT_STATUS)
    return {kind: 'finished', outcome: {kind: 'aborted', reason: stderr || 'exited with status 100 (abort)'}}
  return failed(message, retry())
}

function failed(message: string, retry: number | null): Ended {
  return {kind: 'finished', outcome: {kind: 'failed', message, retryIn: retry}}
}
