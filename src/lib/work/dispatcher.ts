/**
 * The dispatcher: one process's loop between the store and those who run jobs. Each turn settles what has ended and
 * takes jobs for whoever is idle, in one transaction; hands them out; and sleeps until there is something to do.
 */

import type {Events} from '../hooks/events.ts'
import {monotonic} from '../jobs/clock.ts'
import {idTooLarge, StoreError} from '../jobs/errors.ts'
import {ALL_FUNCS, idOf, type JobRow} from '../jobs/job.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Store, Turn} from '../store/store.ts'
import {Attempt} from './attempt.ts'
import {ChangeSubscription} from './change-subscription.ts'
import type {Ended, Executors, Room} from './executors/executor.ts'
import {LEASE_SECONDS, Leases} from './leases.ts'
import type {JobLog} from './log/log.ts'
import {Losses} from './losses.ts'
import {Outcomes, type Summary} from './outcomes.ts'
import {Prefetch} from './prefetch.ts'
import {isOfStore, RefusedEnds} from './refused-ends.ts'
import {RunTimeouts} from './run-timeouts.ts'
import {StoreRetry} from './store-retry.ts'

/** How often what could not be settled is tried again. */
const PENDING_MS = 1000
/** How long an end may wait for others to be settled with it, where jobs are taken ahead. */
const FLUSH_MS = 5
/** A work_delay of 0 is no busy loop. */
const MIN_PAUSE_MS = 10

export interface DispatcherOptions {
  /** `forever` waits for more, `drain` ends when nothing is ready, `once` after one job. */
  mode: 'forever' | 'drain' | 'once'
  /**
   * Take so many jobs more than can start: they wait here, leased, and start in the order in which they were taken as
   * soon as there is room, without a turn in between. Ends are settled together then: when half of what was taken ahead
   * has started, or FLUSH_MS after the first of them. 0: priority stays strict.
   */
  prefetch: number
  /** End after so many jobs. Default none. */
  maxJobs?: number | undefined
  /** How long running jobs may take to finish once told to end. */
  shutdownTimeoutMs: number
  /** Among functions of equal priority, serve each in turn. */
  fair: boolean
  /** Look for jobs at least so often, whatever is noticed. Qudo's work_delay. */
  workDelayMs: number
  /** Called when jobs may have ended or started: how many have ended so far, and how many run. */
  onProgress?: (ended: number, running: number) => void
}

export class Dispatcher {
  readonly #store: Store
  readonly #executors: Executors
  readonly #options: DispatcherOptions
  readonly #log: JobLog
  readonly #storeRetry: StoreRetry
  readonly #changes: ChangeSubscription
  readonly #leases: Leases
  readonly #outcomes: Outcomes
  readonly #running = new Set<Attempt>()
  readonly #runTimeouts: RunTimeouts
  readonly #refusedEnds: RefusedEnds
  readonly #losses: Losses
  readonly #prefetched: Prefetch
  /** Ended, or given back, and not settled yet. */
  #finished: Attempt[] = []
  #ending: 'no' | 'finishing' | 'stopping' = 'no'
  readonly #toEnd = Promise.withResolvers<void>()
  #signalled = false
  #exhausted = false
  /** The database's clock, a short while ago. */
  #hasJumped = false
  /** Something else than a job's end has woken it: a pause may be among what the store has seen. */
  #looks = false
  #awake = false
  #resume: (() => void) | null = null
  #timer: NodeJS.Timeout | undefined
  #flush: NodeJS.Timeout | undefined
  #starting: NodeJS.Immediate | undefined
  #flushIsDue = false
  /** The database's clock at the last turn, in Unix seconds, and monotonic() then. */
  #clock = {now: 0, at: 0}

  constructor(store: Store, executors: Executors, options: DispatcherOptions, log: JobLog, events: Events) {
    this.#store = store
    this.#executors = executors
    this.#options = options
    this.#prefetched = new Prefetch(options.prefetch)
    this.#log = log
    this.#storeRetry = new StoreRetry(store.name, options.mode === 'forever', log)
    this.#changes = new ChangeSubscription(store, this.#look)
    this.#leases = new Leases(store, this.#storeRetry, log, this.wake)
    this.#outcomes = new Outcomes(log, events, {keepsFailures: options.mode !== 'forever'})
    this.#refusedEnds = new RefusedEnds(store, this.#storeRetry, log)
    this.#losses = new Losses(message => log.trouble(message))
    this.#runTimeouts = new RunTimeouts(this.#running, attempt => this.#stop(attempt, 'overrun'))
  }

  /** Jobs that have ended here so far, and how many of these attempts failed. */
  get progress(): {ended: number; failed: number} {
    return {ended: this.#outcomes.ended, failed: this.#outcomes.counts.failed}
  }

  get running(): number {
    return this.#running.size
  }

  /** Resolves when it takes no more jobs because it was told to. */
  get ending(): Promise<void> {
    return this.#toEnd.promise
  }

  /** It takes no more jobs. */
  get isEnding(): boolean {
    return this.#ending !== 'no'
  }

  /** Something may have changed: take another turn. */
  wake = (): void => {
    this.#awake = true
    const resume = this.#resume
    if (!resume) return
    this.#resume = null
    // What else ends in this round of the event loop shares the turn
    if (this.#executors.isPrompt && this.#running.size === 0) resume()
    else setImmediate(resume)
  }

  /** A signal: finish what runs, for at most shutdownTimeoutMs. The second one: stop it and release the jobs. */
  end(): void {
    this.#signalled = true
    this.#storeRetry.end()
    if (this.#ending === 'no') this.finish()
    else this.#stopRunning()
  }

  /** @param ms undefined: never. @returns what takes it back; no type of Node.js, which an application may not have */
  finishAfter(ms: number | undefined): () => void {
    const timer = ms === undefined ? undefined : setTimeout(() => this.finish(), Math.min(ms, MAX_TIMER_MS))
    return () => clearTimeout(timer)
  }

  /** Takes no more, and lets what runs finish, for at most shutdownTimeoutMs. */
  finish(): void {
    if (this.#ending !== 'no') return
    this.#ending = 'finishing'
    this.#toEnd.resolve()
    this.#log.debug(`ending: ${this.#running.size} running`)
    this.#giveBack(() => true)
    const timeout = Math.min(this.#options.shutdownTimeoutMs, MAX_TIMER_MS)
    const timer = setTimeout(() => this.#stopRunning(), timeout)
    timer.unref()
    this.wake()
  }

  /** Works until it is done or told to end; then all has settled and nothing runs. @throws StoreError */
  async run(): Promise<Summary> {
    this.#changes.listen()
    this.#leases.start()
    try {
      await this.#tellTooLargeId()
      await this.#loop()
    } finally {
      this.#changes.stop()
      this.#leases.stop()
      this.#runTimeouts.stop()
      for (const timer of [this.#timer, this.#flush]) clearTimeout(timer)
    }
    const {counts, taken, notDone} = this.#outcomes
    return {...counts, taken, notDone, cutShort: this.#isCutShort()}
  }

  /** Once: it stays as long as nobody mends it. */
  async #tellTooLargeId(): Promise<void> {
    const digits = await this.#storeRetry.with(
      () => this.#store.tooLargeId(),
      () => true,
    )
    if (digits) this.#log.trouble(`${idTooLarge('job', digits).message}: no such job is worked`)
  }

  async #loop(): Promise<void> {
    for (;;) {
      this.#awake = false
      this.#exhausted = false
      if (this.#leases.isDue) await this.#renew()
      if (this.#looks) await this.#obeyPauses()
      this.#startWaiting()
      const room = this.#room()
      if (this.#isTurnDue(room)) await this.#turn(room)
      this.#options.onProgress?.(this.#outcomes.ended, this.#running.size)
      if (this.#isDone()) return
      this.#giveUpIfStuck()
      if (!this.#awake) await new Promise<void>(resolve => (this.#resume = resolve))
    }
  }

  #look = (): void => {
    this.#looks = true
    this.wake()
  }

  // ---- the turn

  #room(): Room {
    const room = this.#executors.room(this.#prefetched.wanted)
    const {mode, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    const left = (mode === 'once' ? 1 : maxJobs) - this.#outcomes.taken
    const limit = this.#ending === 'no' ? Math.max(0, Math.min(room.limit - this.#prefetched.size, left)) : 0
    return limit === room.limit ? room : {...room, limit}
  }

  #isTurnDue({limit}: Room): boolean {
    if (this.#prefetched.isLow) return limit > 0 || this.#finished.length > 0
    return this.#flushIsDue && this.#finished.length > 0
  }

  async #turn({isWhole, ...room}: Room): Promise<void> {
    const finished = this.#finished
    this.#finished = []
    this.#flushIsDue = false
    const settlements = finished.map(attempt => attempt.settlement)
    const {limit} = room
    const funcs = this.#losses.among(room.funcs)
    const want = {...room, funcs, lease: LEASE_SECONDS, fair: this.#options.fair}
    const at = monotonic()
    let turn: Turn | null
    try {
      turn = await this.#storeRetry.with(
        () => this.#store.turn(settlements, want),
        () => settlements.length === 0 && this.#running.size === 0,
        at,
      )
    } catch (error) {
      if (finished.length === 0 || isOfStore(error)) throw error
      await this.#settleApart(finished)
      return
    }
    if (!turn) return
    this.#clock = {now: turn.now, at}
    if (turn.jumped !== undefined || this.#hasJumped) this.#handleJump(turn.jumped)
    const refused = this.#handle(turn, finished)
    if (refused.length > 0) await this.#settleApart(refused)
    if (this.#options.prefetch > 0 && turn.jobs.length > 0) await this.#handleDeaths(turn.jobs)
    if (limit > 0) this.#plan(turn, limit, isWhole)
  }

  /** @returns those whose end was refused */
  #handle(turn: Turn, finished: readonly Attempt[]): Attempt[] {
    const refused = this.#handleSettled(finished, turn.settled)
    this.#outcomes.buried(turn.buried)
    for (const job of turn.jobs) {
      this.#outcomes.grabbed(job, turn.now)
      this.#prefetched.add(new Attempt(job, this.#clock.at))
    }
    if (this.#ending === 'no') this.#startWaiting()
    else this.#giveBack(() => true) // told to end since the turn began
    return refused
  }

  #handleSettled(finished: readonly Attempt[], settled: Turn['settled']): Attempt[] {
    const refused: Attempt[] = []
    let hasPending = false
    for (let i = 0; i < finished.length; i++) {
      const result = settled[i]!
      // Its database is out of reach: it keeps its lease as long as that holds, and is settled by a later turn
      if (result.isPending) {
        hasPending = true
        this.#finished.push(finished[i]!)
      } else if (result.isRefused) refused.push(finished[i]!)
      else this.#settled(finished[i]!, result)
    }
    if (hasPending) this.#settleLater()
    return refused
  }

  /** The store has not taken them together. */
  async #settleApart(attempts: readonly Attempt[]): Promise<void> {
    this.#handleSettled(attempts, await this.#refusedEnds.settle(attempts))
    this.wake()
  }

  #settled(attempt: Attempt, result: Turn['settled'][number]): void {
    if (!attempt.run) {
      this.#outcomes.givenBack(attempt)
      return
    }
    this.#outcomes.settled(attempt, result)
    if (!result.held) this.#losses.add(attempt.job)
    this.#options.onProgress?.(this.#outcomes.ended, this.#running.size)
  }

  #settleLater(): void {
    if (this.#storeRetry.isOver)
      throw new StoreError('UNREACHABLE', `${this.#finished.length} jobs could not be settled`, {
        hint: 'their database is out of reach; they run again when their leases have run out',
      })
    setTimeout(this.wake, PENDING_MS).unref()
  }

  #handleJump(seconds: number | undefined): void {
    if (seconds !== undefined && !this.#hasJumped)
      this.#log.trouble(
        `the database's clock has jumped ahead by ${seconds} s: leases that ran out by it are left for half a minute to those who may hold them`,
      )
    this.#hasJumped = seconds !== undefined
  }

  /** When to look again, unless something is noticed before. */
  #plan({jobs, nextDueIn, jumped}: Turn, limit: number, isWhole: boolean): void {
    clearTimeout(this.#timer)
    const {workDelayMs} = this.#options
    if (jobs.length === limit) {
      if (this.#room().limit > 0) this.wake() // an executor of the other kind has room left
      if (this.#prefetched.size > 0) this.#timer = setTimeout(this.#look, Math.min(workDelayMs, MAX_TIMER_MS))
      if (this.#options.prefetch === 0) this.#changes.foundAll() // what waits here must hear of a pause
      return
    }
    this.#exhausted = isWhole && jumped === undefined
    if (!this.#changes.foundLess()) this.wake()
    // Due times are whole seconds: the next look is just behind the second's turn
    const intoSecond = Date.now() % 1000
    const due = nextDueIn === null ? Infinity : Math.max(10, nextDueIn * 1000 - intoSecond + 5)
    const pause = Math.max(MIN_PAUSE_MS, Math.min(due, workDelayMs, MAX_TIMER_MS))
    if (this.#log.isVerbose)
      this.#log.debug(`nothing ready, looking again in ${Math.round(pause)} ms or when something changes`)
    this.#timer = setTimeout(this.#look, pause)
  }

  #isDone(): boolean {
    if (!this.#isIdle()) return false
    if (this.#ending !== 'no') return true
    const {mode, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    if (this.#outcomes.taken >= (mode === 'once' ? 1 : maxJobs)) return true
    return mode !== 'forever' && this.#exhausted && !this.#awake
  }

  /** Who only drains does not wait for workers to be mended. */
  #giveUpIfStuck(): void {
    const {failure} = this.#executors
    if (failure && this.#options.mode !== 'forever' && this.#isIdle()) throw failure
  }

  #isIdle(): boolean {
    return this.#running.size === 0 && this.#finished.length === 0 && this.#prefetched.size === 0
  }

  // ---- what was taken ahead

  /** Starts as many as there is room for. What no executor can start any more goes back to the queue. */
  #startWaiting(since?: number): void {
    if (this.#prefetched.size === 0) return
    const now = since ?? monotonic()
    for (let next = this.#prefetched.first; next; next = this.#prefetched.first) {
      const prospect = this.#executors.prospect(next.job.func)
      if (prospect === 'soon') return
      if (prospect === 'now' && !this.#leases.isFresh(next, now)) {
        this.#leases.renewNow()
        return
      }
      this.#prefetched.shift()
      if (prospect === 'now') this.#start(next, now)
      else this.#finished.push(next)
    }
  }

  #giveBack(isWanted: (attempt: Attempt) => boolean): void {
    this.#finished.push(...this.#prefetched.takeOut(isWanted))
  }

  /** Where a worker of one has died. */
  async #handleDeaths(taken: readonly JobRow[]): Promise<void> {
    const died = await this.#storeRetry.with(
      () => this.#store.died(taken),
      () => this.#isIdle(),
    )
    const back = this.#prefetched.takeOutFrom(died ?? [])
    if (back.length === 0) return
    this.#finished.push(...back)
    this.wake()
  }

  /** What is paused is not started any more. */
  async #obeyPauses(): Promise<void> {
    this.#looks = false
    if (this.#prefetched.size === 0) return
    const paused = await this.#storeRetry.with(
      () => this.#store.paused(),
      () => this.#isIdle(),
    )
    if (!paused || paused.length === 0) return
    this.#giveBack(({job}) => paused.includes(job.func) || paused.includes(ALL_FUNCS))
  }

  // ---- a job's run

  #start(attempt: Attempt, now: number): void {
    attempt.since = now
    attempt.startedAt = this.#clock.now + Math.floor((now - this.#clock.at) / 1000)
    attempt.run = this.#executors.start(attempt.job, now, ended => this.#hasEnded(attempt, ended))
    this.#running.add(attempt)
    this.#runTimeouts.watch(attempt)
    this.#outcomes.started(attempt)
  }

  #hasEnded(attempt: Attempt, ended: Ended): void {
    const now = monotonic()
    attempt.end(ended, now)
    this.#running.delete(attempt)
    this.#finished.push(attempt)
    if (this.#executors.isPrompt) this.#startWaiting(now)
    else if (this.#prefetched.size > 0) this.#starting ??= setImmediate(this.#startInTurn)
    if (this.#prefetched.isLow || this.#finished.length >= this.#options.prefetch) this.#flushNow()
    else this.#flush ??= setTimeout(this.#flushNow, FLUSH_MS)
  }

  #startInTurn = (): void => {
    this.#starting = undefined
    this.#startWaiting()
  }

  #flushNow = (): void => {
    clearTimeout(this.#flush)
    this.#flush = undefined
    this.#flushIsDue = true
    this.wake()
  }

  #stop(attempt: Attempt, why: 'overrun' | 'shutdown'): void {
    if (why === 'overrun') this.#log.debug(`${idOf(attempt.job)} runs longer than its grab_for, stopping it`)
    attempt.stop(why)
  }

  /** What has ended but is not settled yet needs its lease as well, and so does what waits. */
  async #renew(): Promise<void> {
    const held = [...this.#running, ...this.#finished, ...this.#prefetched]
    const lost = await this.#leases.renew(held, () => this.#isIdle())
    if (lost.length === 0) return
    for (const attempt of lost) if (!attempt.run) this.#outcomes.givenBack(attempt)
    this.#prefetched.takeOut(attempt => lost.includes(attempt))
  }

  // ---- the end

  #stopRunning(): void {
    if (this.#ending === 'stopping') return
    this.#ending = 'stopping'
    for (const attempt of this.#running) this.#stop(attempt, 'shutdown')
  }

  #isCutShort(): boolean {
    if (!this.#signalled) return false
    return this.#options.mode !== 'forever' || this.#outcomes.counts.released > 0
  }
}
