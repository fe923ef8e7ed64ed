/**
 * The dispatcher: one process's loop between the store and those who run jobs.
 *
 * Each turn it 1. settles what has ended and grabs for whoever is idle, in one transaction; 2. hands the jobs out;
 * 3. sleeps until a job ends, the store changes, an executor is ready, a job comes due, or work_delay has passed.
 * Besides it renews leases, stops jobs that overrun grabFor, and obeys signals. It never runs a user's code, so nothing
 * that a job does can keep it from these. It grabs no more than can start at once: priority stays strict.
 */
import {StoreError} from '../errors.ts'
import {idOf, type JobRow, type Lease, type Outcome, type Settlement} from '../job.ts'
import type {SettleResult, Store, Turn} from '../store/store.ts'
import type {Crew, Room} from './crew.ts'
import type {Ended, Run} from './executor.ts'
import type {JobLog, LoggedOutcome} from './log.ts'
import {StorePatience} from './patience.ts'

/** A lease is short, so that a dead machine's jobs run again soon, and renewed while the job runs. */
const LEASE_SECONDS = 60
const RENEW_MS = 20_000
/** How often what could not be settled is tried again. */
const PENDING_MS = 1000
/** Node's longest timer, 24.8 days: a longer one would go off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** A work_delay of 0 is no busy loop. */
const MIN_PAUSE_MS = 10

export interface DispatcherOptions {
  /** `forever` waits for more, `drain` ends when nothing is ready, `once` after one job. */
  mode: 'forever' | 'drain' | 'once'
  /** End after so many jobs. Default none. */
  maxJobs?: number | undefined
  /** End after so many milliseconds. Default none. */
  maxTimeMs?: number | undefined
  /** How long running jobs may take to finish once told to end. */
  shutdownTimeoutMs: number
  /** Among functions of equal priority, serve each in turn. */
  fair: boolean
  /** Look for jobs at least so often, whatever is noticed. Qudo's work_delay. */
  workDelayMs: number
  /** Called when a job has ended: how many so far, and how many run. */
  onProgress?: (ended: number, running: number) => void
}

export interface Summary {
  /** How many jobs were grabbed. */
  taken: number
  completed: number
  failed: number
  aborted: number
  released: number
  /** Attempts whose process died; these jobs run again. */
  died: number
  /** Attempts whose job someone else had taken meanwhile. */
  lost: number
  /** Jobs whose last attempt here did not complete. */
  notDone: number
  /** Was it told to end while there was work left for it (a drain cut short, jobs released)? */
  cutShort: boolean
}

interface Running {
  job: JobRow
  run: Run
  lease: Lease
  /** performance.now() at the start. */
  since: number
  /** Unix seconds by the database's clock. */
  startedAt: number
  overrun: NodeJS.Timeout
  stopped: 'overrun' | 'shutdown' | null
}

interface Finished {
  running: Running
  outcome: Outcome
  durationMs: number
}

export class Dispatcher {
  readonly #store: Store
  readonly #crew: Crew
  readonly #options: DispatcherOptions
  readonly #log: JobLog
  readonly #patience: StorePatience
  readonly #running = new Map<number | string, Running>()
  #finished: Finished[] = []
  readonly #failedIds = new Set<number | string>()
  readonly #counts = {completed: 0, failed: 0, aborted: 0, released: 0, died: 0, lost: 0}
  #ended = 0
  #taken = 0
  #ending: 'no' | 'finishing' | 'stopping' = 'no'
  #signalled = false
  #exhausted = false
  #renewDue = false
  #awake = false
  #resume: (() => void) | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(store: Store, crew: Crew, options: DispatcherOptions, log: JobLog) {
    this.#store = store
    this.#crew = crew
    this.#options = options
    this.#log = log
    this.#patience = new StorePatience(options.mode === 'forever', log)
  }

  /** Jobs that have ended here so far, and how many of these attempts failed. */
  get progress(): {ended: number; failed: number} {
    return {ended: this.#ended, failed: this.#counts.failed}
  }

  /** Something may have changed: take another turn. */
  wake = (): void => {
    this.#awake = true
    const resume = this.#resume
    this.#resume = null
    // What else arrives in this round of the event loop shares the turn
    if (resume) setImmediate(resume)
  }

  /** A signal: finish what runs, for at most shutdownTimeoutMs. The second one: stop it and release the jobs. */
  end(): void {
    this.#signalled = true
    this.#patience.end()
    if (this.#ending === 'no') this.#finish()
    else this.#stopRunning()
  }

  /** Works until it is done or told to end; then all has settled and nothing runs. @throws StoreError */
  async run(): Promise<Summary> {
    const watch = this.#store.watch(this.wake)
    const renewal = setInterval(() => {
      this.#renewDue = true
      this.wake()
    }, RENEW_MS)
    const {maxTimeMs} = this.#options
    const maxTime =
      maxTimeMs === undefined
        ? undefined
        : setTimeout(() => this.#finish(), Math.min(maxTimeMs, MAX_TIMER_MS))
    try {
      await this.#loop()
    } finally {
      watch.close()
      clearInterval(renewal)
      clearTimeout(maxTime)
      clearTimeout(this.#timer)
    }
    return {...this.#counts, taken: this.#taken, notDone: this.#failedIds.size, cutShort: this.#isCutShort()}
  }

  async #loop(): Promise<void> {
    for (;;) {
      this.#awake = false
      this.#exhausted = false
      if (this.#renewDue) await this.#renew()
      const room = this.#room()
      if (this.#finished.length > 0 || room.limit > 0) await this.#turn(room)
      if (this.#isDone()) return
      this.#giveUpIfStuck()
      if (!this.#awake) await new Promise<void>(resolve => (this.#resume = resolve))
    }
  }

  // ---- the turn

  #room(): Room {
    const room = this.#crew.room()
    if (this.#ending !== 'no') return {...room, limit: 0}
    const left = this.#options.mode === 'once' ? 1 : (this.#options.maxJobs ?? Number.POSITIVE_INFINITY)
    return {...room, limit: Math.min(room.limit, left - this.#taken)}
  }

  async #turn({funcs, held, maxRunning, limit, isWhole}: Room): Promise<void> {
    const finished = this.#finished
    this.#finished = []
    const settlements = finished.map(settlementOf)
    const want = {funcs, held, maxRunning, limit, lease: LEASE_SECONDS, fair: this.#options.fair}
    const turn = await this.#patience.with(
      () => this.#store.turn(settlements, want),
      () => settlements.length === 0 && this.#running.size === 0,
    )
    if (!turn) return
    for (const [i, item] of finished.entries()) {
      const result = turn.settled[i]!
      // Its database is out of reach: it keeps its lease as long as that holds, and is settled by a later turn
      if (result.isPending) this.#finished.push(item)
      else this.#settled(item, result)
    }
    if (this.#finished.some(item => finished.includes(item))) this.#settleLater()
    for (const {message, ...job} of turn.buried) {
      this.#log.ended(job, 'failed', 0, message)
      this.#counts.failed++
      this.#keepAccount(job, true)
    }
    for (const job of turn.jobs) this.#start(job, turn.now)
    if (limit > 0) this.#plan(turn, limit, isWhole)
  }

  #start(job: JobRow, now: number): void {
    this.#taken++
    this.#log.debug(
      `grabbed ${idOf(job)} ${job.func}, priority ${job.priority}, due for ${now - job.runAfter} s`,
    )
    const since = performance.now()
    const run = this.#crew.start(job, ended => this.#hasEnded(running, ended))
    const overrun = setTimeout(
      () => this.#overruns(running),
      Math.min(run.settings.grabFor * 1000, MAX_TIMER_MS),
    )
    const lease = leaseOf(job)
    const running: Running = {job, run, lease, since, startedAt: now, overrun, stopped: null}
    this.#running.set(idOf(job), running)
  }

  #settleLater(): void {
    if (this.#patience.isOver)
      throw new StoreError('UNREACHABLE', `${this.#finished.length} jobs could not be settled`, {
        hint: 'their database is out of reach; they run again when their leases have run out',
      })
    setTimeout(this.wake, PENDING_MS).unref()
  }

  /** When to look again, unless something is noticed before. */
  #plan({jobs, nextDueIn}: Turn, limit: number, isWhole: boolean): void {
    clearTimeout(this.#timer)
    if (jobs.length === limit) {
      if (this.#room().limit > 0) this.wake() // an executor of the other kind has room left
      return
    }
    this.#exhausted = isWhole
    // Due times are whole seconds: the next look is just behind the second's turn
    const intoSecond = Date.now() % 1000
    const due = nextDueIn === null ? Infinity : Math.max(10, nextDueIn * 1000 - intoSecond + 5)
    const pause = Math.max(MIN_PAUSE_MS, Math.min(due, this.#options.workDelayMs, MAX_TIMER_MS))
    this.#log.debug(`nothing ready, looking again in ${Math.round(pause)} ms or when something changes`)
    this.#timer = setTimeout(this.wake, pause)
  }

  #isDone(): boolean {
    if (this.#running.size > 0 || this.#finished.length > 0) return false
    if (this.#ending !== 'no') return true
    const {mode, maxJobs = Number.POSITIVE_INFINITY} = this.#options
    if (this.#taken >= (mode === 'once' ? 1 : maxJobs)) return true
    return mode !== 'forever' && this.#exhausted && !this.#awake
  }

  /** Who only drains does not wait for workers to be mended. */
  #giveUpIfStuck(): void {
    const {failure} = this.#crew
    if (failure && this.#options.mode !== 'forever' && this.#running.size + this.#finished.length === 0)
      throw failure
  }

  // ---- a job's end

  #hasEnded(running: Running, ended: Ended): void {
    clearTimeout(running.overrun)
    this.#running.delete(idOf(running.job))
    const durationMs = performance.now() - running.since
    this.#finished.push({running, outcome: this.#outcome(running, ended), durationMs})
    this.wake()
  }

  #outcome({run, stopped}: Running, ended: Ended): Outcome {
    if (stopped === 'overrun') {
      const {grabFor, retryIn} = run.settings
      return {
        kind: 'failed',
        message: `ran longer than its grab_for of ${grabFor} s and was stopped`,
        retryIn: retryIn(),
      }
    }
    // A job that was told to stop and did is not to blame for how it ended, unless it got done all the same
    if (stopped === 'shutdown' && !(ended.kind === 'finished' && isDone(ended.outcome)))
      return {kind: 'released'}
    return ended.kind === 'died' ? {kind: 'died', how: ended.how} : ended.outcome
  }

  #settled({running: {job}, outcome, durationMs}: Finished, result: SettleResult): void {
    this.#ended++
    const told = tell(outcome, result)
    this.#log.ended(job, told.outcome, durationMs, told.message)
    this.#counts[told.outcome === 'replaced' ? 'completed' : told.outcome]++
    this.#keepAccount(job, ['failed', 'aborted', 'died'].includes(told.outcome))
    this.#options.onProgress?.(this.#ended, this.#running.size)
  }

  /** Only of a drain that is asked for it: else the account would grow for ever. */
  #keepAccount(job: Parameters<typeof idOf>[0], hasFailed: boolean): void {
    if (this.#options.mode === 'forever') return
    if (hasFailed) this.#failedIds.add(idOf(job))
    else this.#failedIds.delete(idOf(job))
  }

  #overruns(running: Running): void {
    if (running.stopped) return
    running.stopped = 'overrun'
    this.#log.debug(`${idOf(running.job)} runs longer than its grab_for, stopping it`)
    running.run.stop()
  }

  // ---- leases

  async #renew(): Promise<void> {
    this.#renewDue = false
    // What has ended but is not settled yet needs its lease as well
    const held = [...this.#running.values(), ...this.#finished.map(({running}) => running)]
    if (held.length === 0) return
    const leases = held.map(({lease}) => lease)
    const renewed = await this.#patience.with(
      () => this.#store.renew(leases, LEASE_SECONDS),
      () => this.#running.size === 0 && this.#finished.length === 0,
    )
    if (!renewed) return
    const byId = new Map(renewed.map(lease => [idOf(lease), lease]))
    for (const running of held) {
      const lease = byId.get(idOf(running.job))
      if (lease) running.lease = lease
      else this.#log.trouble(`job ${idOf(running.job)} was taken by someone else while it ran here`)
    }
  }

  // ---- the end

  #finish(): void {
    if (this.#ending !== 'no') return
    this.#ending = 'finishing'
    this.#log.debug(`ending: ${this.#running.size} running`)
    const timeout = Math.min(this.#options.shutdownTimeoutMs, MAX_TIMER_MS)
    const timer = setTimeout(() => this.#stopRunning(), timeout)
    timer.unref()
    this.wake()
  }

  #stopRunning(): void {
    if (this.#ending === 'stopping') return
    this.#ending = 'stopping'
    for (const running of this.#running.values()) {
      if (running.stopped) continue
      running.stopped = 'shutdown'
      running.run.stop()
    }
  }

  #isCutShort(): boolean {
    if (!this.#signalled) return false
    return this.#options.mode !== 'forever' || this.#counts.released > 0
  }
}

function leaseOf({id, db, grabbedUntil}: JobRow): Lease {
  return db === undefined ? {id, grabbedUntil} : {id, db, grabbedUntil}
}

function settlementOf({running, outcome, durationMs}: Finished): Settlement {
  const {lease, startedAt, run} = running
  const span = {start: startedAt, end: startedAt + Math.round(durationMs / 1000)}
  return {lease, outcome, ...(run.settings.setJobStatus ? {span} : {})}
}

function isDone(outcome: Outcome): boolean {
  return outcome.kind === 'completed' || outcome.kind === 'replaced' || outcome.kind === 'aborted'
}

/** What the log says of a settlement. */
function tell(outcome: Outcome, {held, failed}: SettleResult): {outcome: LoggedOutcome; message: string} {
  if (!held)
    return {outcome: 'lost', message: `${outcome.kind}, but someone else had taken the job: nothing changed`}
  if (failed !== undefined) return {outcome: 'failed', message: failed}
  switch (outcome.kind) {
    case 'failed': {
      const retry = outcome.retryIn === null ? '' : ` (again in ${outcome.retryIn} s)`
      return {outcome: 'failed', message: outcome.message.split('\n', 1)[0] + retry}
    }
    case 'aborted':
      return {outcome: 'aborted', message: outcome.reason}
    case 'died':
      return {outcome: 'died', message: `${outcome.how}; the job runs again`}
    case 'replaced':
      return {outcome: 'replaced', message: `by ${outcome.jobs.length}`}
    default:
      return {outcome: outcome.kind, message: ''}
  }
}
