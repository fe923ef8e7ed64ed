/**
 * The ticks of the configuration's schedules, beside the dispatcher and never in its way: a look at the store at each tick,
 * by the database's clock, and at least every minute. Every process that works has one of these; which of them passes a tick
 * is decided in the store, so that any may be killed at any time. So that not all of them try at once, who has passed the
 * last tick goes first, and the others look a moment later whether it is still to be passed.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Schedule} from '../config/schedules.ts'
import type {JobqConfig} from '../config/schema.ts'
import {Backoff} from '../jobs/backoff.ts'
import {monotonic, untilSecond} from '../jobs/clock.ts'
import {isPassing, StoreError} from '../jobs/errors.ts'
import {idOf} from '../jobs/job.ts'
import type {ScheduleRow, Ticked} from '../jobs/side-tables/schedules.ts'
import type {Store} from '../store/store.ts'
import type {JobLog} from './log/log.ts'

/** How much later than the first the others look. */
const LAG_MS = 150
/** The database's clock may be set, and others may change what is in the store. */
const LOOK_MS = 60_000
/** An answer that takes longer is not waited for at the end. */
const OVERDUE_MS = 3000
/** With a store that is out of reach; who works says so already. */
const BACKOFF_MS = [100, 5000] as const

/** @param isWanted false: it is passed without a job */
export type PassTick = (schedule: Schedule, at: number, isWanted: boolean) => Promise<Ticked>

export class Ticker {
  readonly #store: Pick<Store, 'schedules' | 'takeUp'>
  readonly #pass: PassTick
  readonly #log: JobLog
  #schedules: readonly Schedule[] = []
  #isTakenUp = false
  #isFirst = false
  /** The tick it waits for, in Unix seconds by the database's clock. */
  #expected = Number.POSITIVE_INFINITY
  /** Ticks whose jobs could not be made here: by name, the last of them. Another process may pass them. */
  readonly #failed = new Map<string, number>()
  readonly #told = new Map<string, string>()
  readonly #backoff = new Backoff(...BACKOFF_MS)
  #isStopped = false
  #running: Promise<void> | null = null
  #wake: (() => void) | null = null

  constructor(store: Pick<Store, 'schedules' | 'takeUp'>, pass: PassTick, log: JobLog) {
    this.#store = store
    this.#pass = pass
    this.#log = log
  }

  /** From now on these, and no others. What has changed begins now. */
  set(schedules: readonly Schedule[]): void {
    this.#schedules = schedules
    this.#isTakenUp = false
    this.#failed.clear()
    this.#told.clear()
    this.#wake?.()
    if (schedules.length > 0 && !this.#isStopped) this.#running ??= this.#run()
  }

  /** Resolves when no tick is under way any more; a store that does not answer is not waited for. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#wake?.()
    if (this.#running) await Promise.race([this.#running, sleep(OVERDUE_MS, undefined, {ref: false})])
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const schedules = this.#schedules
      const pause = await this.#look(schedules).catch(error => this.#pauseAfter(error))
      if (schedules === this.#schedules) await this.#pause(pause)
    }
  }

  /** @returns in how many milliseconds to look again */
  async #look(schedules: readonly Schedule[]): Promise<number> {
    if (schedules.length === 0) return LOOK_MS
    if (!this.#isTakenUp) await this.#store.takeUp(schedules)
    if (schedules !== this.#schedules) return 0 // others have been set meanwhile
    this.#isTakenUp = true
    const asked = monotonic()
    const {now, rows} = await this.#store.schedules()
    const wasDue = now >= this.#expected
    let isFirst = false
    let next = Number.POSITIVE_INFINITY
    for (const schedule of schedules) {
      const row = rows.find(({name}) => name === schedule.name)
      if (!row)
        this.#isTakenUp = false // someone has deleted it
      else if (this.#isOurs(schedule, row)) {
        for (const tick of schedule.due(Math.max(row.passedTo, this.#failed.get(schedule.name) ?? 0), now)) {
          if (this.#isStopped) return 0
          isFirst = (await this.#tick(schedule, row, tick)) || isFirst
        }
        next = Math.min(next, schedule.next(now) ?? next)
      }
    }
    this.#backoff.reset()
    if (wasDue || isFirst) this.#isFirst = isFirst
    this.#expected = next
    const due = untilSecond(next - now, asked) + (this.#isFirst ? 0 : LAG_MS)
    return this.#isTakenUp ? Math.min(Math.max(10, due), LOOK_MS) : 10
  }

  /** Two hosts with different configurations: the one that was read last counts. */
  #isOurs({name, cron, timeZone}: Schedule, row: ScheduleRow): boolean {
    if (row.cron === cron && row.timeZone === timeZone) {
      this.#told.delete(name)
      return true
    }
    this.#tell(
      name,
      `schedule ${name}: another jobq work has read since that it is ${JSON.stringify(row.cron)} in ${row.timeZone}, here it is ${JSON.stringify(cron)} in ${timeZone}: it does not tick here; give both the same configuration, and HUP`,
    )
    return false
  }

  /** @returns whether it was passed here */
  async #tick(schedule: Schedule, row: ScheduleRow, at: number): Promise<boolean> {
    const {name, overlap} = schedule
    try {
      const {isOurs, job} = await this.#pass(schedule, at, overlap || !row.isQueued)
      if (job) row.isQueued = true
      if (this.#log.isVerbose)
        this.#log.debug(
          `schedule ${name}: the tick of ${new Date(at * 1000).toISOString()} ${job ? `is job ${idOf(job)}` : isOurs ? 'adds no job' : 'was passed elsewhere'}`,
        )
      return isOurs
    } catch (error) {
      if (error instanceof StoreError) throw error
      this.#failed.set(name, at)
      this.#log.trouble(
        `schedule ${name}: no job for the tick of ${new Date(at * 1000).toISOString()}: ${(error as Error).message}`,
      )
      return false
    }
  }

  #pauseAfter(error: unknown): number {
    if (this.#isStopped) return 0
    if (isPassing(error)) return this.#backoff.next()
    const hint = error instanceof StoreError && error.hint ? `; ${error.hint}` : ''
    this.#tell('', `schedules do not tick: ${(error as Error).message}${hint}`)
    return BACKOFF_MS[1]
  }

  /** Once, until something else is to be told of it. */
  #tell(what: string, message: string): void {
    if (this.#told.get(what) === message) return
    this.#told.set(what, message)
    this.#log.trouble(message)
  }

  async #pause(ms: number): Promise<void> {
    if (this.#isStopped) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = null
  }
}

/** What parses them is loaded where there are any. @throws ConfigError */
export async function schedulesOf({
  config,
  file,
}: {
  config: JobqConfig
  file: string | null
}): Promise<Schedule[]> {
  if (Object.keys(config.schedules ?? {}).length === 0) return []
  const {schedulesIn} = await import('../config/schedules.ts')
  return schedulesIn(config, file)
}
