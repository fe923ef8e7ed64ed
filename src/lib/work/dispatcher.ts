/**
 * The dispatcher: one process's loop between the store and those who run jobs. Each turn settles what has ended and
 * takes jobs for whoever is idle, in one transaction; hands them out; and sleeps until there is something to do.
 */

import {setImmediate as nextRound} from 'node:timers/promises'
import type {Events} from '../hooks/events.ts'
import {monotonic, untilSecond} from '../jobs/clock.ts'
import {idTooLarge, StoreError} from '../jobs/errors.ts'
import {idOf, isPausedIn, type JobRow, type RowRef} from '../jobs/job.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Store, Turn} from '../store/store.ts'
import {Attempt} from './attempt.ts'
import {ChangeSubscription} from './change-subscription.ts'
import {areOfBatches, tellBatches} from './claims/batches.ts'
import {claimChosen, whyNot} from './claims/chosen.ts'
import {replacedEnd, Together} from './claims/together.ts'
import {Dependents} from './dependents.ts'
import type {Ended, Executors, Room} from './executors/executor.ts'
import {Follows} from './follows.ts'
import {LEASE_SECONDS, Leases} from './leases.ts'
import type {JobLog} from './log/log.ts'
import {Losses} from './losses.ts'
import {Orders} from './orders.ts'
import {Outcomes, type Summary} from './outcomes.ts'
import {flat, Prefetch} from './prefetch.ts'
import {isOfStore, RefusedEnds} from './refused-ends.ts'
import {RunTimeouts} from './run-timeouts.ts'
import {Shares} from './shares.ts'
import {SideTables} from './side-tables.ts'
import {ProgressTeller} from './status/progress.ts'
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
  /** Work this one only, whatever is before it, and end; `mode` is `once` then. Default: what is next. */
  job?: RowRef | undefined
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
  /** Of a drain, when nothing is ready and jobs have ended: resolves to whether there may be more now. Never rejects. */
  onDrained?: () => Promise<boolean>
}

export class Dispatcher {
  readonly #store: Store
  readonly #executors: Executors
  readonly #options: DispatcherOptions
  readonly #log: JobLog
  readonly #storeRetry: StoreRetry
  readonly #changes: ChangeSubscription
  readonly #orders: Orders
  readonly #dependents: Dependents
  readonly #sideTables: SideTables
  readonly #follows: Follows
  readonly #leases: Leases
  readonly #outcomes: Outcomes
  readonly #running = new Set<Attempt>()
  readonly #runTimeouts: RunTimeouts
  readonly #progress: ProgressTeller
  readonly #refusedEnds: RefusedEnds
  readonly #losses: Losses
  readonly #prefetched: Prefetch
  readonly #shares: Shares
  readonly #together: Together
  /** Taken, and others are to be found that go with them. */
  #joining: Attempt[] = []
  /** Ended, or given back, and not settled yet. */
  #finished: Attempt[] = []
  #ending: 'no' | 'finishing' | 'stopping' = 'no'
  readonly #toEnd = Promise.withResolvers<void>()
  #signalled = false
  #exhausted = false
  /** How many had ended when nothing was ready last. */
  #drainedAt = -1
  /** In this round, and there was no more than has been taken. */
  #hasLooked = false
  /** The database's clock, a short while ago. */
  #hasJumped = false
  #awake = false
  #resume: (() => void) | null = null
  #timer: NodeJS.Timeout | undefined
  #flush: NodeJS.Timeout | undefined
  #starting: NodeJS.Immediate | undefined
  #flushIsDue = false
  /** Among what has ended may be what is to be due later. */
  #hasDeclined = false
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
    this.#orders = new Orders(store, this.wake)
    this.#follows = new Follows(store, this.#orders, this.wake)
    this.#leases = new Leases(store, this.#storeRetry, log, this.wake)
    this.#outcomes = new Outcomes(log, events, {keepsFailures: options.mode !== 'forever'})
    this.#dependents = new Dependents(store, failed => {
      this.#outcomes.buried(failed)
      this.wake() // what waited for their end only may be ready
    })
    this.#sideTables = new SideTables(store, this.wake, expired => {
      this.#outcomes.expired(expired)
      this.#dependents.ring()
    })
    this.#progress = new ProgressTeller(store, events, log)
    this.#refusedEnds = new RefusedEnds(store, this.#storeRetry, log)
    this.#losses = new Losses(message => log.trouble(message))
    this.#shares = new Shares(store, this.#storeRetry, executors, log, this.wake)
    this.#together = new Together({
      ...{store, storeRetry: this.#storeRetry, executors, orders: this.#orders, log},
      onTaken: (job, now) => this.#outcomes.grabbed(job, now),
    })
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
    const over = () => {
      this.#storeRetry.timeIsOver()
      this.finish()
    }
    const timer = ms === undefined ? undefined : setTimeout(over, Math.min(ms, MAX_TIMER_MS))
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

  /**
   * Works until it is done or told to end; then all has settled and nothing runs.
   * @throws StoreError; NotFoundError, JobHeldError if the one job that it is to work can't be taken
   */
  async run(): Promise<Summary> {
    this.#changes.listen()
    this.#leases.start()
    try {
      await this.#tellTooLargeId()
      await Promise.all([this.#orders.look(), this.#sideTables.look()])
      if (this.#options.job) await this.#takeChosen(this.#options.job)
      await this.#loop()
      await Promise.all([this.#sideTables.end(), this.#progress.close()])
    } finally {
      this.#changes.stop()
      this.#leases.stop()
      this.#orders.stop()
      this.#sideTables.stop()
      this.#follows.stop()
      this.#progress.stop()
      this.#shares.stop()
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

  async #takeChosen(job: RowRef): Promise<void> {
    const at = monotonic()
    const claimed = await this.#storeRetry.with(
      () => claimChosen(this.#store, job, LEASE_SECONDS),
      () => true,
      at,
    )
    if (!claimed) return // told to end
    if (claimed.jobs.length === 0) throw await whyNot(this.#store, job)
    this.#clock = {now: claimed.now, at}
    const turn: Turn = {settled: [], buried: [], nextDueIn: null, ...claimed}
    if (areOfBatches(turn.jobs)) await this.#tellBatches(turn)
    this.#handle(turn, [])
    if (this.#orders.areAny) await this.#handleOrders(turn, [])
  }

  async #loop(): Promise<void> {
    for (;;) {
      this.#awake = false
      this.#exhausted = false
      this.#hasLooked = false
      if (this.#leases.isDue) await this.#renew()
      if (this.#orders.isDue) await this.#lookAround()
      if (this.#orders.areNew) await this.#obeyOrders()
      if (this.#follows.isDue) await this.#follows.tell()
      if (this.#sideTables.isLookDue) void this.#sideTables.look()
      if (this.#sideTables.isDue) await this.#sideTables.see()
      this.#startWaiting()
      if (this.#finished.length > 0) await this.#readEnded()
      if (this.#shares.isDue) await this.#shares.see()
      const room = this.#room()
      if (this.#isTurnDue(room)) await this.#turn(room)
      if (this.#dependents.isDue) await this.#dependents.see()
      this.#options.onProgress?.(this.#outcomes.ended, this.#running.size)
      if (this.#isDone()) {
        if (await this.#isLast()) return
        continue
      }
      this.#giveUpIfStuck()
      if (!this.#awake && !this.#dependents.areAny && !this.#sideTables.isExpiring)
        await new Promise<void>(resolve => (this.#resume = resolve))
    }
  }

  /** What they wrote last is there, and told to who follows them, before they are settled. More may end meanwhile. */
  async #readEnded(): Promise<void> {
    for (;;) {
      if (this.#finished.some(({run}) => run?.output?.isUnread)) await nextRound()
      else if (this.#follows.areAmong(this.#finished)) await this.#follows.finish(this.#finished)
      else return
    }
  }

  /** Something else than a job's end: a pause or an order may be among what the store has seen. */
  #look = (): void => {
    this.#orders.ring()
    this.#sideTables.ring()
    this.wake()
  }

  // ---- the turn

  #room(): Room {
    const room = this.#executors.room(this.#shares.areRated ? 0 : this.#prefetched.wanted)
    const {mode, job, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    const left = job ? 0 : (mode === 'once' ? 1 : maxJobs) - this.#outcomes.taken
    const isOpen = this.#ending === 'no' && !this.#sideTables.isExpiring && !this.#prefetched.isHeldUp
    const limit = isOpen ? Math.max(0, Math.min(room.limit - this.#prefetched.size, left)) : 0
    return limit === room.limit ? room : {...room, limit}
  }

  #isTurnDue({limit}: Room): boolean {
    if (this.#prefetched.isLow) return limit > 0 || this.#finished.length > 0
    return this.#flushIsDue && this.#finished.length > 0
  }

  async #turn({isWhole, ...room}: Room): Promise<void> {
    if (this.#hasDeclined) await this.#postpone()
    const finished = this.#finished
    this.#finished = []
    this.#flushIsDue = false
    const settlements = finished.map(attempt => attempt.settlement)
    // Who waits for the place of one of them may be the next
    const limit = this.#shares.areAmong(finished) ? 0 : room.limit
    const funcs = this.#shares.open(this.#losses.among(room.funcs))
    const want = {...room, funcs, limit, lease: LEASE_SECONDS, fair: this.#options.fair}
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
    const taken = turn.jobs.length
    if (this.#shares.areAny) await this.#pass(turn)
    if (areOfBatches(turn.jobs)) await this.#tellBatches(turn)
    const refused = this.#handle(turn, finished)
    if (this.#joining.length > 0) this.#take(await this.#together.join(this.#joining.splice(0)))
    if (this.#orders.areAny) await this.#handleOrders(turn, finished)
    if (refused.length > 0) await this.#settleApart(refused)
    if (this.#options.prefetch > 0 && turn.jobs.length > 0) await this.#handleDeaths(turn.jobs)
    if (limit > 0) this.#plan(turn, {isFull: taken === limit, isWhole})
  }

  /** Of functions with limits of what is scarce: leaves in the turn what may start. */
  async #pass(turn: Turn): Promise<void> {
    if (turn.buried.length > 0) this.#shares.ring()
    const {admitted, lost, hasMore} = await this.#shares.pass(turn.jobs)
    turn.jobs = admitted
    for (const job of lost) {
      this.#outcomes.grabbed(job, turn.now)
      this.#finished.push(new Attempt(job, this.#clock.at))
    }
    if (hasMore || lost.length > 0) this.wake()
  }

  /** What has nothing to do has completed. */
  async #tellBatches(turn: Turn): Promise<void> {
    const idle = await this.#storeRetry.with(
      () => tellBatches(this.#store, turn.jobs),
      () => false,
    )
    if (!idle || idle.length === 0) return
    turn.jobs = turn.jobs.filter(job => !idle.includes(job))
    for (const job of idle) {
      this.#outcomes.grabbed(job, turn.now)
      const attempt = new Attempt(job, this.#clock.at)
      attempt.outcome = {kind: 'completed'}
      this.#finished.push(attempt)
    }
    this.wake()
  }

  /** It is written while it is held: should this process die now, it is due at that time, too. */
  async #postpone(): Promise<void> {
    this.#hasDeclined = false
    const later = this.#finished.flatMap(({postponement}) => postponement ?? [])
    if (later.length === 0) return
    await this.#storeRetry.with(
      () => this.#store.postpone(later),
      () => false,
    )
  }

  /** @returns those whose end was refused */
  #handle(turn: Turn, finished: readonly Attempt[]): Attempt[] {
    const refused = this.#handleSettled(finished, turn.settled)
    this.#outcomes.buried(turn.buried)
    if (turn.buried.length > 0) this.#dependents.ring()
    for (const job of turn.jobs) this.#outcomes.grabbed(job, turn.now)
    const taken = turn.jobs
      .filter(job => !this.#orders.areOf(job))
      .map(job => new Attempt(job, this.#clock.at))
    if (!this.#options.job && this.#together.isFor(taken)) this.#joining = taken
    else this.#take(taken)
    return refused
  }

  #take(attempts: readonly Attempt[]): void {
    for (const attempt of attempts) this.#prefetched.add(attempt)
    if (this.#ending === 'no') this.#startWaiting()
    else this.#giveBack(() => true) // told to end since the turn began
  }

  /** What was cancelled before it came here is not started. What is ordered of who has left is done with. */
  async #handleOrders(turn: Turn, finished: readonly Attempt[]): Promise<void> {
    const ordered = turn.jobs
      .filter(job => this.#orders.areOf(job))
      .map(job => new Attempt(job, this.#clock.at))
    const cancelled = await this.#orders.hear('cancel', ordered)
    this.#take(ordered.filter(attempt => !cancelled.includes(attempt)))
    this.#cancel(cancelled)
    await this.#orders.settled(finished, turn.settled)
  }

  #handleSettled(finished: readonly Attempt[], settled: Turn['settled']): Attempt[] {
    const refused: Attempt[] = []
    let hasPending = false
    for (let i = 0; i < finished.length; i++) {
      const result = settled[i]!
      // Its database is out of reach: it keeps its lease as long as that holds, and is settled by a later turn
      if (result.isPending) {
        hasPending = true
        this.#hasDeclined ||= finished[i]!.postponement !== null
        this.#finished.push(finished[i]!)
      } else if (result.isRefused) refused.push(finished[i]!)
      else this.#settled(finished[i]!, result)
    }
    if (hasPending) this.#settleLater()
    return refused
  }

  /** The store has not taken them together. */
  async #settleApart(attempts: readonly Attempt[]): Promise<void> {
    const results = await this.#refusedEnds.settle(attempts)
    this.#handleSettled(attempts, results)
    await this.#orders.settled(attempts, results)
    this.wake()
  }

  #settled(attempt: Attempt, result: Turn['settled'][number]): void {
    this.#progress.settled(attempt)
    this.#shares.left(attempt.job)
    if (!attempt.run && attempt.outcome.kind === 'released') {
      this.#outcomes.givenBack(attempt)
      return
    }
    if (attempt.others.length > 0 && this.#running.has(attempt.others[0]!))
      this.#endOthers(attempt, replacedEnd(attempt, result), monotonic())
    this.#outcomes.settled(attempt, result)
    if (attempt.outcome.kind !== 'completed' && attempt.hasLeft(result)) this.#dependents.ring()
    if (this.#sideTables.isKept && attempt.hasLeft(result)) this.#sideTables.left(attempt.job)
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
  #plan({nextDueIn, jumped}: Turn, {isFull, isWhole}: {isFull: boolean; isWhole: boolean}): void {
    clearTimeout(this.#timer)
    const {workDelayMs} = this.#options
    if (isFull) {
      if (this.#room().limit > 0) this.wake() // an executor of the other kind has room left
      if (this.#prefetched.size > 0) this.#timer = setTimeout(this.#look, Math.min(workDelayMs, MAX_TIMER_MS))
      if (this.#options.prefetch === 0) this.#changes.foundAll() // what waits here must hear of a pause
      return
    }
    this.#hasLooked = true
    this.#exhausted = isWhole && jumped === undefined
    if (!this.#changes.foundLess()) this.wake()
    const due = nextDueIn === null ? Infinity : Math.max(10, untilSecond(nextDueIn, this.#clock.at))
    const pause = Math.max(MIN_PAUSE_MS, Math.min(due, workDelayMs, MAX_TIMER_MS))
    if (this.#log.isVerbose)
      this.#log.debug(`nothing ready, looking again in ${Math.round(pause)} ms or when something changes`)
    this.#timer = setTimeout(this.#look, pause)
  }

  #isDone(): boolean {
    if (!this.#isAtRest()) return false
    const {mode, job, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    if (this.#ending !== 'no') return true
    if (job) return this.#outcomes.taken > 0 || !this.#executors.failure
    if (this.#outcomes.taken >= (mode === 'once' ? 1 : maxJobs)) return true
    return mode !== 'forever' && this.#exhausted && !this.#awake
  }

  /** Is there nothing more, though what has ended here may have become a job's argument? Asked once for what has ended. */
  async #isLast(): Promise<boolean> {
    const {mode, onDrained, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    const {ended, taken} = this.#outcomes
    if (mode !== 'drain' || !onDrained || this.#ending !== 'no' || taken >= maxJobs) return true
    if (ended === this.#drainedAt) return true
    this.#drainedAt = ended
    return !(await onDrained()) && !this.#awake
  }

  /** Who only drains does not wait for workers to be mended. */
  #giveUpIfStuck(): void {
    const {failure} = this.#executors
    if (!failure || this.#options.mode === 'forever' || this.#awake || !this.#isAtRest()) return
    if (this.#hasLooked || this.#room().limit === 0) throw failure
    this.wake() // for what can be worked all the same
  }

  /** Nothing runs here, and what has ended makes nothing else ready. */
  #isAtRest(): boolean {
    return this.#isIdle() && !this.#dependents.areAny && !this.#shares.areDue
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
      const prospect = this.#executors.prospect(next.job.func, next.job)
      if (prospect === 'soon') return
      if (prospect === 'now' && !this.#leases.isFresh(next, now)) {
        this.#leases.renewNow()
        return
      }
      this.#prefetched.shift()
      if (prospect === 'now') this.#start(next, now)
      else this.#finished.push(...flat([next]))
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
    const back = this.#prefetched.takeOutFrom(died ?? [], job => this.#isForOneToCome(job))
    if (back.length === 0) return
    this.#finished.push(...back)
    this.#flushNow()
  }

  /** There is room, but not for this one, which is to run alone: given back it would be taken again at once. */
  #isForOneToCome(job: JobRow): boolean {
    const {limit, funcs} = this.#executors.room(0)
    return limit > 0 && funcs.includes(job.func) && this.#executors.prospect(job.func, job) === 'soon'
  }

  async #lookAround(): Promise<void> {
    void this.#orders.look()
    await this.#obeyPauses()
  }

  /** What is cancelled is stopped, or not started; what has ended is not tried again. */
  async #obeyOrders(): Promise<void> {
    const held = [...this.#running, ...this.#finished, ...this.#prefetched]
    const cancelled = await this.#orders.hear(
      'cancel',
      held.filter(({stopped}) => stopped !== 'cancelled'),
    )
    this.#cancel(cancelled)
    this.#follows.obey(this.#running)
  }

  #cancel(attempts: readonly Attempt[]): void {
    if (attempts.length === 0) return
    this.#prefetched.remove(attempts)
    for (const attempt of attempts) {
      attempt.cancel()
      if (!attempt.run && !this.#finished.includes(attempt)) this.#finished.push(attempt)
    }
    this.#flushNow()
  }

  /** What is paused is not started any more. */
  async #obeyPauses(): Promise<void> {
    if (this.#prefetched.size === 0) return
    const paused = await this.#storeRetry.with(
      () => this.#store.paused(),
      () => this.#isIdle(),
    )
    if (!paused || paused.length === 0) return
    this.#giveBack(({job}) => isPausedIn(paused, job.func))
  }

  // ---- a job's run

  #start(attempt: Attempt, now: number): void {
    attempt.since = now
    attempt.startedAt = this.#clock.now + Math.floor((now - this.#clock.at) / 1000)
    attempt.run = this.#executors.start(
      attempt.taken,
      now,
      ended => this.#hasEnded(attempt, ended),
      progress => this.#progress.hear(attempt, progress),
    )
    this.#running.add(attempt)
    this.#runTimeouts.watch(attempt)
    this.#follows.started(attempt)
    this.#outcomes.started(attempt)
    if (attempt.others.length > 0) this.#startOthers(attempt)
  }

  #startOthers(leader: Attempt): void {
    for (const [nth, other] of leader.others.entries()) {
      other.startWith(leader, nth)
      this.#running.add(other)
      this.#outcomes.started(other)
    }
  }

  #hasEnded(attempt: Attempt, ended: Ended): void {
    const now = monotonic()
    attempt.end(ended, now)
    this.#hasDeclined ||= attempt.outcome.kind === 'declined'
    this.#running.delete(attempt)
    this.#progress.ended(attempt)
    this.#finished.push(attempt)
    if (attempt.others.length > 0 && attempt.outcome.kind !== 'replaced') this.#endOthers(attempt, ended, now)
    if (this.#executors.isPrompt) this.#startWaiting(now)
    else if (this.#prefetched.size > 0) this.#starting ??= setImmediate(this.#startInTurn)
    if (this.#prefetched.isLow || this.#finished.length >= this.#options.prefetch) this.#flushNow()
    else this.#flush ??= setTimeout(this.#flushNow, FLUSH_MS)
  }

  /** Those of one that was replaced go on until that is written: if it is refused, they have failed as well. */
  #endOthers(leader: Attempt, ended: Ended, now: number): void {
    for (const other of leader.others) {
      other.endWith(leader, ended, now)
      this.#running.delete(other)
      this.#progress.ended(other)
      this.#finished.push(other)
      this.#hasDeclined ||= other.outcome.kind === 'declined'
    }
    this.#flushNow()
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
    // Those that have ended, or are on their way back already, are told of when they are settled
    for (const attempt of this.#prefetched.remove(lost)) {
      this.#outcomes.givenBack(attempt)
      this.#shares.left(attempt.job)
    }
  }

  // ---- the end

  #stopRunning(): void {
    if (this.#ending === 'stopping') return
    this.#ending = 'stopping'
    for (const attempt of this.#running) this.#stop(attempt, 'shutdown')
  }

  #isCutShort(): boolean {
    if (!this.#signalled) return false
    const {mode} = this.#options
    const isDone = mode === 'forever' || (mode === 'once' && this.#outcomes.taken > 0)
    return !isDone || this.#outcomes.stopped > 0
  }
}
