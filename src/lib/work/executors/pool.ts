/**
 * The prefork pool for JavaScript and TypeScript workers: child processes that load the workers once and then run one
 * job after the other. They are Qudo::Parallel::Manager's children.
 */

import type {Events} from '../../hooks/events.ts'
import {Backoff} from '../../jobs/backoff.ts'
import type {WorkerError} from '../../jobs/errors.ts'
import type {JobRow} from '../../jobs/job.ts'
import type {ModuleHandler} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {type Ended, type Executor, limited, type Prospect, type Run, type WorkerView} from './executor.ts'
import {LoadError, PoolChild} from './pool-child.ts'
import type {Guardian} from './process-groups.ts'
import type {ToLoad} from './protocol.ts'

/** Between attempts to start a child that can't be loaded: doubled each time, up to the second. */
const BACKOFF_MS = [500, 30_000] as const

export interface PoolOptions {
  /** At most so many children, and so jobs at once. */
  maxWorkers: number
  minSpareWorkers: number
  maxSpareWorkers: number
  /** A child is replaced after so many jobs; 0: never. */
  maxRequestPerChild: number
  /** A child that is larger than so many bytes after a job is replaced; 0: never. */
  maxChildMemory: number
}

/** What a pool's children have besides their workers. */
export type PoolSettings = PoolOptions &
  Pick<ToLoad, 'serializer' | 'extensions'> & {
    /** May a function whose worker can't be loaded be left out, if there are others? Not one that was named. */
    mayLeaveOut: boolean
  }

/** Whom a pool tells what. */
export interface Surroundings {
  guardian: Guardian
  log: JobLog
  events: Events
  /** Called when a child has become idle, or could not be started. */
  onRoom: () => void
}

/** Without an error it is only asked. @returns false if nothing would be left to work */
type LeaveOut = (funcs: readonly string[], error?: WorkerError) => boolean

export class Pool implements Executor {
  #settings!: PoolSettings
  readonly #guardian: Guardian
  readonly #log: JobLog
  readonly #events: Events
  readonly #onRoom: () => void
  readonly #leaveOut: LeaveOut
  readonly #children = new Set<PoolChild>()
  /** What there are handlers for. */
  #all!: ToLoad
  /** Those that don't get on at a file, which the others do without meanwhile. */
  readonly #late = new Map<PoolChild, string>()
  #funcs!: readonly string[]
  /** What a new child loads. */
  #toLoad!: ToLoad
  /** As the child says that was loaded last. */
  #maxRunning: ReadonlyMap<string, number> = new Map()
  #isClosing = false
  readonly #backoff = new Backoff(...BACKOFF_MS)
  #lastFailure: Error | null = null
  #restart: NodeJS.Timeout | undefined

  constructor(
    handlers: readonly ModuleHandler[],
    settings: PoolSettings,
    {guardian, log, events, onRoom}: Surroundings,
    leaveOut: LeaveOut,
  ) {
    this.#set(handlers, settings)
    this.#guardian = guardian
    this.#log = log
    this.#events = events
    this.#onRoom = onRoom
    this.#leaveOut = leaveOut
  }

  /** What every idle child can work: after a reload, children of before and after may be there side by side. */
  get funcs(): readonly string[] {
    let funcs = this.#funcs
    for (const child of this.#children)
      if (child.isIdle && child.toLoad !== this.#toLoad) funcs = funcs.filter(func => child.workers.has(func))
    return funcs
  }

  /** What could be started as soon as a child that is starting is ready. */
  get soon(): readonly string[] {
    const starting = [...this.#children].some(child => child.state === 'starting' && !this.#late.has(child))
    return starting && !this.#restart ? this.#funcs : []
  }

  /** How many jobs it could start right now. */
  get room(): number {
    let idle = 0
    for (const child of this.#children) if (child.isIdle) idle++
    return idle
  }

  prospect(func: string): Prospect {
    if (this.failure || this.isLate(func)) return 'none'
    return this.#idleChild(func) ? 'now' : 'soon'
  }

  /** Why there is no child to work, and none that starts. */
  get failure(): Error | null {
    return this.#restart && [...this.#children].every(({state}) => state === 'ending')
      ? this.#lastFailure
      : null
  }

  get maxRunning(): ReadonlyMap<string, number> {
    return this.#maxRunning
  }

  get workers(): WorkerView[] {
    return [...this.#children]
      .filter(({state}) => state !== 'ending')
      .map(({state, process, job, since, jobsDone}) => ({state, pid: process.pid ?? 0, job, since, jobsDone}))
  }

  /** Is it still being loaded, while others are worked? */
  isLate(func: string): boolean {
    return (
      this.#late.size > 0 &&
      !this.#funcs.includes(func) &&
      this.#all.workers.some(worker => worker.func === func)
    )
  }

  /** Starts one child to see whether the workers load, then as many as there should be. */
  async ready(): Promise<void> {
    while (this.#funcs.length > 0) {
      const child = this.#startChild()
      try {
        await Promise.race([child.loaded, this.#isLeftBehind(child)])
        if (child.wasLoaded) break
      } catch (error) {
        if (this.#isClosing || !this.#leavesOut(error as Error)) throw error
      }
    }
    this.#balance()
  }

  start(job: JobRow, since: number, onEnd: (ended: Ended) => void): Run {
    const child = this.#idleChild(job.func)
    if (!child) throw new Error('no child is idle') // the dispatcher grabs no more than there is room for
    const run = child.run(job, since, onEnd)
    this.#balance()
    return run
  }

  /** New children get these workers; those of before are replaced one by one. */
  reload(handlers: readonly ModuleHandler[], settings: PoolSettings): void {
    this.#set(handlers, settings)
    this.#backoff.reset()
    clearTimeout(this.#restart)
    this.#restart = undefined
    for (const child of this.#children) {
      child.worn ??= 'reload'
      if (child.state === 'starting' || handlers.length === 0) this.#retire(child)
    }
    this.#balance()
  }

  resize(maxWorkers: number): void {
    const spareFollows = this.#settings.maxSpareWorkers === this.#settings.maxWorkers
    this.#settings.maxWorkers = maxWorkers
    if (spareFollows) this.#settings.maxSpareWorkers = maxWorkers
    this.#balance()
  }

  /** @param patienceMs how long hooks behind a job that has ended may still take */
  async close(patienceMs: number): Promise<void> {
    this.#isClosing = true
    clearTimeout(this.#restart)
    const children = [...this.#children]
    for (const child of children) if (child.state !== 'busy') child.end()
    const timer = setTimeout(() => {
      for (const child of this.#children) if (child.state === 'busy') child.kill()
    }, patienceMs)
    await Promise.all(children.map(({gone}) => gone))
    clearTimeout(timer)
  }

  /**
   * Resolves when a file keeps it so long that the others are worked without: another child loads those. When it is
   * loaded after all, its child takes their place; else it is left out.
   */
  async #isLeftBehind(child: PoolChild): Promise<void> {
    const file = await child.late
    const funcs = this.#all.workers.filter(worker => worker.file === file).map(({func}) => func)
    if (!this.#settings.mayLeaveOut || funcs.length === 0 || !this.#leaveOut(funcs)) await child.loaded
    else {
      this.#late.set(child, file)
      this.#choose()
      child.loaded.catch((error: Error) => {
        if (!this.#late.delete(child) || this.#isClosing) return
        this.#choose()
        if (!this.#leavesOut(error)) this.#backOff(error)
        this.#balance()
        this.#onRoom()
      })
    }
  }

  #set(handlers: readonly ModuleHandler[], settings: PoolSettings): void {
    this.#settings = {...settings}
    this.#late.clear()
    const {serializer, extensions, maxChildMemory} = settings
    const workers = handlers.map(({func, file, settings}) => ({func, file, settings}))
    this.#all = {workers, serializer, extensions, measure: maxChildMemory > 0}
    this.#choose()
  }

  /** What new children load; those that lack any of it are to be replaced, now or when they are there. */
  #choose(): void {
    const late = [...this.#late.values()]
    const workers = this.#all.workers.filter(({file}) => !late.includes(file))
    this.#toLoad = {...this.#all, workers}
    this.#funcs = workers.map(({func}) => func)
    for (const child of this.#children) if (child.wasLoaded) this.#replaceIfLacking(child)
  }

  #replaceIfLacking(child: PoolChild): void {
    if (this.#funcs.some(func => !child.workers.has(func))) child.worn ??= 'reload'
  }

  /** Jobs are handed to idle children only, so that what is grabbed starts at once. */
  #idleChild(func: string): PoolChild | undefined {
    for (const child of this.#children) if (child.isIdle && child.workers.has(func)) return child
    return undefined
  }

  /**
   * Starts and ends children until there are as many as there should be. Called twice a job, and mostly in vain. Spare
   * is who is not busy. Fewer than minSpareWorkers and below maxWorkers: one more is started. More than
   * maxSpareWorkers: one is ended. A child that is worn (after maxRequestPerChild jobs, past maxChildMemory, at a
   * reload) goes on working until another one is loaded and takes its place, so that replacing costs no throughput; a
   * worker file that can't be loaded any more leaves the old children at work.
   */
  #balance(): void {
    if (this.#isClosing || this.#funcs.length === 0) return
    let [starting, busy, idle, worn] = [0, 0, 0, 0]
    for (const child of this.#children) {
      if (child.isRetired) {
        if (child.state === 'idle') child.end()
        continue
      }
      if (child.state === 'ending' || this.#late.has(child)) continue
      if (child.state === 'starting') starting++
      else if (child.state === 'idle') idle++
      else busy++
      if (child.worn !== null) worn++
    }
    const {maxWorkers, minSpareWorkers, maxSpareWorkers} = this.#settings
    // What starts takes a worn child's place first; only what is beyond that is an addition
    const added = Math.max(0, starting - worn)
    const present = idle + busy + added
    const spare = idle + added
    const missing = Math.min(Math.max(1, minSpareWorkers) - spare, maxWorkers - present)
    for (let more = Math.max(0, worn - starting) + Math.max(0, missing); more > 0 && !this.#restart; more--)
      this.#startReplacement()
    let surplus = Math.max(spare - Math.max(1, maxSpareWorkers), present - maxWorkers)
    if (surplus <= 0) return
    for (const child of this.#children) if (child.isIdle && surplus-- > 0) this.#retire(child)
  }

  #retire(child: PoolChild): void {
    child.isRetired = true
    if (child.state !== 'busy') child.end()
  }

  #startReplacement(): void {
    let child: PoolChild
    try {
      child = this.#startChild()
    } catch (error) {
      this.#backOff(error as Error)
      return
    }
    child.loaded.then(
      () => {
        this.#backoff.reset()
      },
      (error: Error) => {
        if (child.isRetired) return
        if (this.#hasLoaded && this.#leavesOut(error)) this.#balance()
        else this.#backOff(error)
      },
    )
  }

  get #hasLoaded(): boolean {
    return [...this.#children].some(({wasLoaded, state}) => wasLoaded && state !== 'ending')
  }

  /** Children go on without what can't be loaded, unless one of them has it from before. */
  #leavesOut(error: Error): boolean {
    if (!this.#settings.mayLeaveOut || !(error instanceof LoadError)) return false
    const {workers} = this.#all
    const funcs = workers.filter(({file}) => file === error.file).map(({func}) => func)
    const isWorked = [...this.#children].some(
      child => child.state !== 'ending' && funcs.some(func => child.workers.has(func)),
    )
    if (funcs.length === 0 || isWorked || !this.#leaveOut(funcs, error)) return false
    this.#all = {...this.#all, workers: workers.filter(({file}) => file !== error.file)}
    this.#choose()
    return true
  }

  #startChild(): PoolChild {
    const child = new PoolChild(this.#toLoad, this.#log, idle => this.#hasBecomeIdle(idle))
    this.#guardian.watch(child.process)
    this.#children.add(child)
    this.#log.debug(`child ${child.process.pid} starts`)
    child.gone.then(() => {
      this.#children.delete(child)
      this.#log.debug(`child ${child.process.pid} is gone after ${child.jobsDone} jobs`)
      if (!child.wasLoaded) return
      this.#tellRecycled(child)
      this.#balance()
    })
    return child
  }

  #tellRecycled({process, jobsDone, worn}: PoolChild): void {
    if (worn === null || this.#isClosing) return
    this.#events.tell('recycle', () => ({pid: process.pid ?? 0, jobs: jobsDone, reason: worn}))
  }

  #hasBecomeIdle(child: PoolChild): void {
    if (this.#isClosing) {
      child.end()
      return
    }
    const {maxRequestPerChild, maxChildMemory} = this.#settings
    const wasLate = this.#late.delete(child)
    if (wasLate) this.#choose()
    if (child.jobsDone === 0) {
      this.#replaceIfLacking(child)
      this.#maxRunning = limited([...child.workers.values()])
      const oldest = [...this.#children].find(({worn, isRetired}) => worn !== null && !isRetired)
      if (oldest) this.#retire(oldest)
    }
    if (maxRequestPerChild > 0 && child.jobsDone >= maxRequestPerChild) child.worn ??= 'worn'
    if (maxChildMemory > 0 && child.rss > maxChildMemory) child.worn ??= 'too large'
    this.#balance()
    // One that was late may have to go itself, where others have all of its functions: these may be worked now
    if (wasLate || child.state === 'idle') this.#onRoom()
  }

  #backOff(error: Error): void {
    if (this.#isClosing || this.#restart) return
    if (this.#backoff.tries === 0) this.#log.trouble(`${error.message}; trying again later`)
    this.#lastFailure = error
    this.#restart = setTimeout(() => {
      this.#restart = undefined
      this.#balance()
    }, this.#backoff.next())
    this.#onRoom() // whoever waits for room may want to know
  }
}
