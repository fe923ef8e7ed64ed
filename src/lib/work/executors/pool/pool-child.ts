/**
 * One child of the pool, seen from the dispatcher's side: its process, and the jobs that it has: one at a time, or as many
 * as it has places. What is told to stop and does not ends its process: with several jobs in it, the others run again.
 */
import type {ChildProcess} from 'node:child_process'
import type {Socket} from 'node:net'
import type {JobqEvents} from '../../../hooks/events.ts'
import type {StopReason} from '../../../jobs/errors.ts'
import type {Progress} from '../../../jobs/job.ts'
import {idOf, type TakenJob} from '../../../jobs/job.ts'
import type {JobLog} from '../../log/log.ts'
import {CHANNEL_FD, Channel} from '../channel.ts'
import {describeExit, type Ended, type Run, STOP_GRACE_MS, type WorkerView} from '../executor.ts'
import {readFromChild} from '../from-child.ts'
import {whenRound} from '../output.ts'
import {signalGroup, stopGroup} from '../process-groups.ts'
import {
  type FromChild,
  jobToWire,
  type LoadedWorker,
  outcomeFromWire,
  type ToChild,
  type ToLoad,
  unpack,
} from '../protocol.ts'
import {ChildLoading} from './child-loading.ts'
import {type ChildOutput, PipedOutput, ToldOutput} from './child-output.ts'
import {ChildRun} from './child-run.ts'
import {forkChild} from './fork-child.ts'

/** Of what it should not have said, in messages. */
const MAX_QUOTED = 100
/** A process that has ended closes its line a moment before it is told: who closes it and lives has cut itself off. */
const CLOSED_MS = 1000
/** So long what a process that has ended said last is waited for, where something that it has left behind holds the line open. */
const LAST_WORDS_MS = 100
/** How long a child's plugins may take to stop before it is killed. */
const PLUGINS_STOP_MS = 5000

/**
 * `busy`: it has a job, or calls the hooks behind the end of one. `ending` children have been told to end or killed, or
 * are dead, and only wait to be collected.
 */
export type ChildState = 'starting' | 'idle' | 'busy' | 'ending'
export type RecycleReason = JobqEvents['recycle']['reason']

export class PoolChild {
  readonly process: ChildProcess
  readonly toLoad: ToLoad
  readonly gone: Promise<void>
  state: ChildState = 'starting'
  /** Why it is to be replaced; null if it is not. It goes on working until the one that takes its place is ready. */
  worn: RecycleReason | null = null
  /** The one that takes its place is ready, or it can't be trusted with one more: it ends with the jobs that it has. */
  isRetired = false
  /** For a job that is to have no other beside it: else it takes none. */
  isForOne = false
  jobsDone = 0
  /** Memory in bytes after the last job; 0 before the first, and if it is not measured. */
  rss = 0
  /** Its places that are taken, by the number of the run. */
  readonly #runs = new Map<number, ChildRun>()
  #lastRun = 0
  #hasPlugins = false
  /** What a job of it has left behind (it was told to stop, it threw in vain) must not go on beside one more. */
  #isSpent = false
  /** Its process has ended, and what it said last is still to be read. */
  #isLost = false
  /** The run for which it was killed, since that did not stop. */
  #overdue: ChildRun | null = null
  /** What it was killed for, if it was for what it said. */
  #offence: string | null = null
  readonly #log: JobLog
  readonly #workers = new Map<string, LoadedWorker>()
  readonly #onRoom: (child: PoolChild) => void
  readonly #loading: ChildLoading
  readonly #output: ChildOutput
  readonly #channel: Channel
  readonly #closed = Promise.withResolvers<void>()

  /**
   * @param onRoom called when it can take a job, and when it is broken and can't
   * @throws ProcessError if no process can be started
   */
  constructor(toLoad: ToLoad, log: JobLog, onRoom: (child: PoolChild) => void) {
    this.toLoad = toLoad
    this.#log = log
    this.#onRoom = onRoom
    this.process = forkChild(log)
    this.#loading = new ChildLoading(log, () => this.kill())
    this.#output = this.#hasOnePlace ? new PipedOutput(this.process, log) : new ToldOutput(this.process, log)
    this.#channel = new Channel(this.process.stdio[CHANNEL_FD] as Socket, {
      onMessage: message => this.#listen(message),
      onNonsense: line => this.#distrust(line),
      onClose: () => this.#heardLast(),
    })
    this.gone = new Promise(done =>
      this.process.once('exit', (code, signal) => {
        const died = () => done(this.#died(code, signal))
        if (this.#hasOnePlace) died()
        else this.#whenHeard(died)
      }),
    )
    this.#say({kind: 'load', ...toLoad})
  }

  /** @throws WorkerError if a worker's file can't be loaded here, ProcessError if Node.js can't be started */
  get loaded(): Promise<void> {
    return this.#loading.done
  }

  get wasLoaded(): boolean {
    return this.#loading.isDone
  }

  /** The file that keeps it from being loaded; without an end where none does for long. */
  get late(): Promise<string> {
    return this.#loading.late
  }

  /** What the workers' files say of the functions it can work, once it is loaded. */
  get workers(): ReadonlyMap<string, LoadedWorker> {
    return this.#workers
  }

  get #hasOnePlace(): boolean {
    return this.toLoad.jobsPerChild === 1
  }

  /** How many jobs it has. */
  get load(): number {
    return this.#runs.size
  }

  /** How many more jobs it can take, of those that need not be alone. */
  get room(): number {
    const isOpen = (this.state === 'idle' || this.state === 'busy') && !this.isRetired && !this.isForOne
    return isOpen && !this.#isLost ? this.toLoad.jobsPerChild - this.#runs.size : 0
  }

  /** Its places, those that are taken first. */
  get views(): WorkerView[] {
    const {pid = 0} = this.process
    const {state, jobsDone} = this
    if (state === 'ending') return []
    const taken = [...this.#runs.values()].map(({hasEnded, job, since}): WorkerView => {
      return {state: 'busy', pid, job: hasEnded ? null : job, since: hasEnded ? null : since, jobsDone}
    })
    const free = this.isRetired ? 0 : this.toLoad.jobsPerChild - taken.length
    const empty = {
      state: state === 'starting' ? state : 'idle',
      pid,
      job: null,
      since: null,
      jobsDone,
    } as const
    return [...taken, ...Array.from({length: free}, () => empty)]
  }

  run(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run {
    this.state = 'busy'
    const facts = {number: ++this.#lastRun, job, since, pid: this.process.pid ?? null}
    const run = new ChildRun(facts, this.#workers.get(job.func)!, this.#stop, {onEnd, onProgress})
    this.#runs.set(run.number, run)
    this.#output.begin(run, () => {
      if (this.state === 'busy') this.#say({kind: 'run', run: run.number, job: jobToWire(job)})
    })
    return run
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

  /** Other jobs in the same process are not told, nor are their own processes: its group gets a TERM only where there are none. */
  readonly #stop = (run: ChildRun, why: StopReason): void => {
    this.#output.flush()
    this.#say({kind: 'stop', run: run.number, why})
    if ([...this.#runs.values()].every(({isStopped}) => isStopped)) run.callOffKill = stopGroup(this.process)
    else {
      const timer = setTimeout(() => this.#killFor(run), STOP_GRACE_MS)
      run.callOffKill = () => clearTimeout(timer)
    }
    if (this.#hasOnePlace) return
    this.#spend()
    if (why !== 'shutdown') this.#onRoom(this) // another can be started
  }

  #killFor(run: ChildRun): void {
    this.#overdue ??= run
    this.kill()
  }

  #listen(message: unknown): void {
    // Of several jobs, one that has ended before the process was killed has ended
    if (this.state === 'ending' && (this.#hasOnePlace || this.#offence !== null)) return
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
      case 'progress':
      case 'ended':
        return this.#runs.get(message.run)?.hasSaidEnd === false
      case 'free':
        return this.#runs.get(message.run)?.hasSaidEnd === true
      case 'output':
      case 'told':
      case 'stray':
        return !this.#hasOnePlace && this.wasLoaded
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
    if (![...this.#runs.values()].some(({hasEnded}) => !hasEnded))
      this.#log.trouble(`a worker's process ${this.#offence}`)
    this.#break()
  }

  #heardLast(): void {
    this.#closed.resolve()
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
        this.#loading.begin(message.file)
        return
      case 'loaded':
        // What its import has printed is no job's
        whenRound(() => this.#output.whenRead(() => this.#loaded(message)))
        return
      case 'refused':
        this.#loading.refuse(message.message, message.hint)
        this.kill()
        return
      case 'output': {
        const room = this.#output.take(
          this.#runs.get(message.run) ?? null,
          message.stream,
          unpack(message.bytes),
        )
        if (room !== null) this.#channel.waitFor(room)
        return
      }
      case 'told': {
        const run = this.#runs.get(message.run)
        if (run) run.wasTold = true
        return
      }
      case 'stray':
        this.#hasStrayed(message.failure)
        this.#onRoom(this)
        return
      case 'retry':
        this.#runs.get(message.run)!.hearRetry(message)
        return
      case 'progress':
        this.#runs.get(message.run)!.onProgress({fraction: message.fraction, text: message.text})
        return
      case 'ended': {
        const run = this.#runs.get(message.run)!
        run.hasSaidEnd = true
        if (this.#hasOnePlace) this.#output.whenRead(() => this.#finished(run, message))
        else this.#finished(run, message)
        return
      }
      case 'free': {
        const run = this.#runs.get(message.run)!
        if (run.hasEnded) this.#freed(run, message)
        else run.early = message
      }
    }
  }

  #loaded({workers, hasPlugins}: Extract<FromChild, {kind: 'loaded'}>): void {
    if (this.state !== 'starting') return // it has been ended since
    for (const worker of workers) this.#workers.set(worker.func, worker)
    this.#hasPlugins = hasPlugins
    this.state = 'idle'
    this.#loading.end()
    this.#onRoom(this)
  }

  #finished(run: ChildRun, {outcome, rss, left}: Extract<FromChild, {kind: 'ended'}>): void {
    if (this.#hasOnePlace && this.state !== 'busy') return // it has died since
    this.jobsDone++
    this.rss = rss
    // What a job that was stopped has left behind goes with its child, once the hooks have seen its end
    if (run.isStopped) this.#isSpent = true
    if (left === 'broken') this.#spend()
    if (left !== 'hooks') this.#vacate(run)
    this.#tellEnd(run, {kind: 'finished', outcome: outcomeFromWire(outcome)})
    if (left !== 'hooks') this.#onRoom(this)
    else if (run.early) this.#freed(run, run.early)
  }

  #freed(run: ChildRun, {failure}: Extract<FromChild, {kind: 'free'}>): void {
    if (this.state !== 'busy') return // it has been killed since
    if (failure !== null) this.#hasStrayed(`${failure}; what became of the job stands`)
    this.#vacate(run)
    this.#onRoom(this)
  }

  /** Its place is free, unless this was the last job that it was to have. */
  #vacate(run: ChildRun): void {
    this.#runs.delete(run.number)
    if (this.#runs.size > 0 || this.state !== 'busy') return
    this.state = 'idle'
    if (this.#isSpent) this.#break()
  }

  #hasStrayed(failure: string): void {
    this.#log.trouble(`${failure}, its process is replaced`)
    this.#spend()
    if (this.#runs.size === 0) this.#break()
  }

  /** It takes no more, and is ended with the last job that it has. */
  #spend(): void {
    this.#isSpent = true
    this.worn = 'broken'
    this.isRetired = true
  }

  /** It can't be trusted with what it has, either. */
  #break(): void {
    this.worn = 'broken'
    this.kill()
  }

  /** Calls back when what a process that has ended said last was heard. */
  #whenHeard(done: () => void): void {
    this.#isLost = true
    signalGroup(this.process, 'SIGKILL') // what holds the line open, mostly
    let timer: NodeJS.Timeout | undefined
    const giveUp = () => {
      if (this.#channel.isWaiting) timer = setTimeout(giveUp, LAST_WORDS_MS)
      else this.#closed.resolve()
    }
    timer = setTimeout(giveUp, LAST_WORDS_MS)
    void this.#closed.promise.then(() => {
      clearTimeout(timer)
      done()
    })
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    const how = this.#offence ?? describeExit(code, signal)
    const running = [...this.#runs.values()]
    const isCutShort = this.state === 'busy' || this.#overdue !== null
    if (isCutShort && running.some(({hasEnded}) => hasEnded))
      this.#log.trouble(`a worker's process ${how}: what became of its job stands, its hooks were cut short`)
    if (this.state !== 'ending') this.worn = 'died'
    this.state = 'ending'
    const {lastWords} = this.#output
    this.#loading.died(how, lastWords.split('\n').at(-1))
    signalGroup(this.process, 'SIGKILL') // what the job had started
    const memory = /heap out of memory/.test(lastWords) ? ' (out of memory)' : ''
    const died: Ended = {kind: 'died', how: `its process ${how}${memory}`}
    this.#output.whenRead(() => {
      for (const run of running) if (!run.hasEnded) this.#tellEnd(run, this.#fateOf(run) ?? died)
    })
    // What a job has left running on purpose, in a session of its own, may hold them for long: nobody waits for that
    const {stdio} = this.process
    for (const stream of stdio) (stream as Socket | null)?.unref()
  }

  /**
   * Where it was killed since one job did not stop, the others are not to blame: nor those that were to stop as well, where
   * the child could not tell them. So of those that a busy loop holds up past their time only the first has failed.
   */
  #fateOf(run: ChildRun): Ended | null {
    if (this.#overdue === null || run === this.#overdue || run.wasTold) return null
    const {job} = this.#overdue
    return {kind: 'evicted', how: `its process was killed, since job ${idOf(job)} in it did not stop`}
  }

  #tellEnd(run: ChildRun, ended: Ended): void {
    this.#output.end(run)
    run.end(ended)
  }

  #say(message: ToChild): void {
    this.#channel.send(message)
  }
}

function shortened(text: string): string {
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text
}
