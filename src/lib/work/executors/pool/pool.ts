/**
 * The prefork pool for JavaScript and TypeScript workers: child processes that load the workers once and then run one
 * job after the other, or so many at once. They are Qudo::Parallel::Manager's children.
 */

import type {Events} from '../../../hooks/events.ts'
import {Backoff} from '../../../jobs/backoff.ts'
import type {WorkerError} from '../../../jobs/errors.ts'
import type {JobRow, Progress, TakenJob} from '../../../jobs/job.ts'
import type {ModuleHandler} from '../../handlers.ts'
import type {JobLog} from '../../log/log.ts'
import {
  type Coalescing,
  coalescing,
  type Ended,
  type Executor,
  limited,
  NOTHING_SHARED,
  type Prospect,
  type Run,
  sharing,
  type WorkerView,
} from '../executor.ts'
import type {Guardian} from '../process-groups.ts'
import type {ToLoad} from '../protocol.ts'
import {LoadError} from './child-loading.ts'
import {Loads} from './loads.ts'
import {PoolChild} from './pool-child.ts'
import {Suspects} from './suspects.ts'

/** Between attempts to start a child that can't be loaded: doubled each time, up to the second. */
const BACKOFF_MS = [500, 30_000] as const
/** So many of them before it is told as a reason to end. */
const PATIENT_TRIES = 3

/** How long a child that is for a job alone waits for the next such. */
const FOR_ONE_MS = 1000

export interface PoolOptions {
  /** At most so many children. */
  maxWorkers: number
  /** So many jobs at once in each of them. */
  jobsPerChild: number
  minSpareWorkers: number
  maxSpareWorkers: number
  /** A child is replaced after so many jobs; 0: never. */
  maxRequestPerChild: number
  /** A child that is larger than so many bytes after a job is replaced; 0: never. */
  maxChildMemory: number
}

/** What a pool's children have besides their workers. */
export type PoolSettings = PoolOptions &
  Pick<ToLoad, 'defaults' | 'extensions'> & {
    /** May a function whose worker can't be loaded be left out, if there are others? Not one that was named. */
    mayLeaveOut: boolean
  }

/** Whom a pool tells what. */
export interface Surroundings {
  guardian: Guardian
  log: JobLog
  events: Events
  /** Called when a child has room again, or could not be started. */
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
  /** What a new child loads. */
  #loads!: Loads<PoolChild>
  /** As the child says that was loaded last. */
  #maxRunning: ReadonlyMap<string, number> = new Map()
  shares: Executor['shares'] = NOTHING_SHARED
  readonly #suspects = new Suspects()
  /** false: `ready` starts what is to be started. */
  #isReady = true
  #isClosing = false
  #coalesced: ReadonlyMap<string, Coalescing> = new Map()
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

  /** What every child that has room can work: after a reload, children of before and after may be there side by side. */
  get funcs(): readonly string[] {
    let {funcs} = this.#loads
    for (const child of this.#children)
      if (child.room > 0 && child.toLoad !== this.#loads.now)
        funcs = funcs.filter(func => child.workers.has(func))
    return funcs
  }

  /** What could be started as soon as a child that is starting is ready. */
  get soon(): readonly string[] {
    const starting = [...this.#children].some(
      child => child.state === 'starting' && !this.#loads.isLateAt(child) && !child.isForOne,
    )
    return starting && !this.#restart ? this.#loads.funcs : []
  }

  /** How many jobs it could start right now. */
  get room(): number {
    let room = 0
    for (const child of this.#children) room += child.room
    return room
  }

  prospect(func: string, job?: JobRow): Prospect {
    if (this.failure || this.isLate(func)) return 'none'
    if (job && this.#suspects.has(job)) return this.#childForOne(func) ? 'now' : 'soon'
    return this.#childFor(func) ? 'now' : 'soon'
  }

  /** Why there is no child to work, and none that starts: what no file is to blame for may be over at the next try. */
  get failure(): Error | null {
    const isNone = this.#restart && [...this.#children].every(({state}) => state === 'ending')
    if (!isNone || (!(this.#lastFailure instanceof LoadError) && this.#backoff.tries <= PATIENT_TRIES))
      return null
    return this.#lastFailure
  }

  get maxRunning(): ReadonlyMap<string, number> {
    return this.#maxRunning
  }

  get coalesced(): ReadonlyMap<string, Coalescing> {
    return this.#coalesced
  }

  get workers(): WorkerView[] {
    return [...this.#children].flatMap(({views}) => views)
  }

  /** Is it still being loaded, while others are worked? */
  isLate(func: string): boolean {
    return this.#loads.isLate(func)
  }

  /**
   * Starts one child to see whether the workers load, then as many as there should be. One that dies before it comes to a
   * file is started again, later.
   */
  async ready(): Promise<void> {
    while (this.#loads.funcs.length > 0) {
      this.#isReady = false
      const child = this.#startChild()
      try {
        await Promise.race([child.loaded, this.#isLeftBehind(child)])
        if (child.wasLoaded) break
      } catch (error) {
        if (this.#isClosing) throw error
        if (child.isRetired || this.#leavesOut(error as Error)) continue // by a reload: the next one loads what is there now
        if (error instanceof LoadError) throw error
        this.#backOff(error as Error)
        break
      }
    }
    this.#isReady = true
    this.#balance()
  }

  start(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run {
    const child = this.#suspects.has(job) ? this.#childForOne(job.func) : this.#childFor(job.func)
    if (!child) throw new Error('no child has room') // the dispatcher grabs no more than there is room for
    const hasEnded = this.#settings.jobsPerChild === 1 ? onEnd : this.#noting(job, onEnd)
    const run = child.run(job, since, hasEnded, onProgress)
    this.#balance()
    return run
  }

  #noting(job: JobRow, onEnd: (ended: Ended) => void): (ended: Ended) => void {
    return ended => {
      this.#suspects.note(job, ended)
      onEnd(ended)
    }
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
    const funcs = this.#loads.funcsOf(file)
    if (!this.#settings.mayLeaveOut || funcs.length === 0 || !this.#leaveOut(funcs)) await child.loaded
    else {
      this.#loads.late(child, file)
      this.#replaceLacking()
      child.loaded.catch((error: Error) => {
        if (!this.#loads.noLonger(child) || this.#isClosing) return
        this.#replaceLacking()
        if (!this.#leavesOut(error)) this.#backOff(error)
        this.#balance()
        this.#onRoom()
      })
    }
  }

  #set(handlers: readonly ModuleHandler[], settings: PoolSettings): void {
    this.#settings = {...settings}
    const {defaults, extensions, maxChildMemory, jobsPerChild} = settings
    this.#loads = new Loads(handlers, {defaults, extensions, measure: maxChildMemory > 0, jobsPerChild})
    this.#replaceLacking()
  }

  /** Those that lack any of what new ones load are to be replaced, now or when they are there. */
  #replaceLacking(): void {
    for (const child of this.#children) if (child.wasLoaded) this.#replaceIfLacking(child)
  }

  #replaceIfLacking(child: PoolChild): void {
    if (this.#loads.funcs.some(func => !child.workers.has(func))) child.worn ??= 'reload'
  }

  /**
   * Jobs are handed to children that have room only, so that what is grabbed starts at once: to the one that has the
   * fewest, which is likeliest to get on with one more.
   */
  #childFor(func: string): PoolChild | undefined {
    let best: PoolChild | undefined
    for (const child of this.#children) {
      if (child.room === 0 || (best && child.load >= best.load) || !child.workers.has(func)) continue
      best = child
      if (child.load === 0) break
    }
    return best
  }

  /**
   * One of its own for a job that is to be alone, beside those that there are: where these have much to do, none of them
   * is without a job for long. If there is none yet, it is started.
   */
  #childForOne(func: string): PoolChild | undefined {
    const children = [...this.#children].filter(({isForOne, state}) => isForOne && state !== 'ending')
    const idle = children.find(
      ({state, worn, workers}) => state === 'idle' && worn === null && workers.has(func),
    )
    const isComing = children.some(({state}) => state === 'starting') || this.#restart !== undefined
    if (!idle && !isComing && children.length < this.#settings.maxWorkers) this.#startReplacement(true)
    return idle
  }

  /**
   * Starts and ends children until there are as many as there should be. Called twice a job, and mostly in vain. Spare
   * is who has no job. Fewer than minSpareWorkers and below maxWorkers: one more is started. More than
   * maxSpareWorkers: one is ended. A child that is worn (after maxRequestPerChild jobs, past maxChildMemory, at a
   * reload) goes on working until another one is loaded and takes its place, so that replacing costs no throughput; a
   * worker file that can't be loaded any more leaves the old children at work.
   */
  #balance(): void {
    if (this.#isClosing || !this.#isReady || this.#loads.funcs.length === 0) return
    let [starting, busy, idle, worn] = [0, 0, 0, 0]
    for (const child of this.#children) {
      if (child.isRetired) {
        if (child.state === 'idle') child.end()
        continue
      }
      if (child.state === 'ending' || this.#loads.isLateAt(child) || child.isForOne) continue
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
    const surplus = Math.max(spare - Math.max(1, maxSpareWorkers), present - maxWorkers)
    if (surplus <= 0) return
    const unused = [...this.#children].filter(child => child.state === 'idle' && child.room > 0)
    for (const child of unused.slice(0, surplus)) this.#retire(child)
    if (this.#settings.jobsPerChild > 1) this.#retireBusy(present - unused.length - maxWorkers)
  }

  /** One that has several jobs may never be without any: it gets no more. */
  #retireBusy(count: number): void {
    if (count <= 0) return
    const busy = [...this.#children].filter(
      child => child.state === 'busy' && !child.isRetired && !child.isForOne,
    )
    for (const child of busy.sort((a, b) => a.load - b.load).slice(0, count)) this.#retire(child)
  }

  #retire(child: PoolChild): void {
    child.isRetired = true
    if (child.state !== 'busy') child.end()
  }

  #startReplacement(isForOne = false): void {
    let child: PoolChild
    try {
      child = this.#startChild()
      child.isForOne = isForOne
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
    const funcs = this.#loads.funcsOf(error.file)
    const isWorked = [...this.#children].some(
      child => child.state !== 'ending' && funcs.some(func => child.workers.has(func)),
    )
    if (funcs.length === 0 || isWorked || !this.#leaveOut(funcs, error)) return false
    this.#loads.leaveOut(error.file)
    this.#replaceLacking()
    return true
  }

  #startChild(): PoolChild {
    const child = new PoolChild(this.#loads.now, this.#log, child => this.#hasRoom(child))
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

  #hasRoom(child: PoolChild): void {
    if (this.#isClosing) {
      if (child.state !== 'busy') child.end()
      return
    }
    if (child.isForOne) {
      setTimeout(() => child.state === 'idle' && child.end(), FOR_ONE_MS).unref()
      this.#onRoom()
      return
    }
    const {maxRequestPerChild, maxChildMemory} = this.#settings
    const wasLate = this.#loads.noLonger(child)
    if (wasLate) this.#replaceLacking()
    if (child.jobsDone === 0) {
      this.#replaceIfLacking(child)
      this.#maxRunning = limited([...child.workers.values()])
      this.shares = sharing([...child.workers.values()], this.shares)
      this.#coalesced = coalescing([...child.workers.values()])
      const oldest = [...this.#children].find(
        ({worn, isRetired, isForOne}) => worn !== null && !isRetired && !isForOne,
      )
      if (oldest) this.#retire(oldest)
    }
    if (maxRequestPerChild > 0 && child.jobsDone >= maxRequestPerChild) child.worn ??= 'worn'
    if (maxChildMemory > 0 && child.rss > maxChildMemory) child.worn ??= 'too large'
    this.#balance()
    // One that was late may have to go itself, where others have all of its functions: these may be worked now
    if (wasLate || child.room > 0) this.#onRoom()
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
