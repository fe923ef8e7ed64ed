/**
 * Qudo's Scoreboard for work within an application's own process: what `queue.work()` is doing, as a line of characters
 * and as the facts behind it, which `jobq status` and `jobq_workers` show beside each `jobq work`, on every host.
 */
import type {Server} from 'node:net'
import {hostname} from 'node:os'
import type {Plugin, PluginContext} from '../../client/plugin.ts'
import type {JobQueue} from '../../client/queue.ts'
import {monotonic} from '../../jobs/clock.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {countSlots, MAX_SLOTS, type ManagerState, type ManagerStatus, type Slot} from '../../jobs/manager.ts'
import {ADMIN_PORT} from '../../jobs/names.ts'
import {checkOptions, is} from '../../jobs/options.ts'
import type {Heartbeat} from './heartbeat.ts'

/** Where the line is served, if either is given. */
export interface ScoreboardOptions {
  /** Default 24464, as the manager's. */
  port?: number | undefined
  /** Default 127.0.0.1: this host only. */
  host?: string | undefined
}

/** What `scoreboard()` makes. */
export interface ScoreboardPlugin extends Plugin {
  /** A character for each slot, joined by spaces: `A` works, `_` is idle, `.` is none. Empty before any work. */
  readonly line: string
  /** The facts behind it. @throws ClosedError when the queue is closed, StoreError */
  status(): Promise<ManagerStatus>
}

/**
 * A scoreboard as a plugin, for `plugins` of `JobQueue.open()` or of the configuration. With a port it is served like
 * the manager's admin port: who connects gets the line. `jobq work` has a scoreboard of its own; there this does
 * nothing.
 * @throws UsageError for an option that can't be meant
 */
export function scoreboard(options: ScoreboardOptions = {}): ScoreboardPlugin {
  checkOptions(options, 'scoreboard', {port: is.port, host: is.text})
  return new Scoreboard(options)
}

/** A slot, one of the jobs that may run at once: idle or working while a `work()` goes on; else there is none. */
interface Place {
  job: {id: number | string; func: string; since: number} | null
  jobs: number
}

const MARKS = {working: 'A', idle: '_', none: '.'}
/** What runs for a shorter time than this is nothing that others need to see. */
const BRIEF_MS = 1000

class Scoreboard implements ScoreboardPlugin {
  readonly #options: ScoreboardOptions
  #queue: JobQueue | null = null
  #started = 0
  #places: Place[] = []
  #jobs = 0
  #failed = 0
  #server: Server | null = null
  #heartbeat: Heartbeat | null = null

  constructor(options: ScoreboardOptions) {
    this.#options = options
  }

  get line(): string {
    return this.#slots()
      .map(({state}) => MARKS[state])
      .join(' ')
  }

  async status(): Promise<ManagerStatus> {
    const queue = this.#queue
    if (!queue) throw new UsageError('expected a scoreboard of an open queue, got one that was not started')
    const self = {pid: process.pid, host: hostname(), db: queue.name, started: this.#started}
    const seen = Math.floor(Date.now() / 1000)
    return {
      ...{...self, paused: await queue.paused(), seen, age: 0, gone: false},
      ...this.#state(queue),
      slots: this.#slots(),
    }
  }

  /** @throws UsageError, ServerError */
  async start({role, queue}: PluginContext): Promise<void> {
    if (role !== 'client' || !queue) return
    if (this.#queue)
      throw new UsageError('expected a plugin of its own for each queue, got one that another queue has', {
        hint: 'write scoreboard() for each',
      })
    this.#queue = queue
    this.#started = Math.floor(Date.now() / 1000)
    queue.on('start', this.#begin)
    for (const end of ['finish', 'fail', 'release'] as const) queue.on(end, this.#end)
    queue.on('fail', this.#countFailed)
    queue.onWorking = this.#changed
    try {
      await this.#serve()
    } catch (error) {
      await this.stop()
      throw error
    }
    const {Heartbeat} = await import('./heartbeat.ts')
    this.#heartbeat = new Heartbeat(
      queue.store,
      () => this.#state(queue),
      message => process.emitWarning(message),
    )
    this.#heartbeat.start(BRIEF_MS)
  }

  async stop(): Promise<void> {
    const queue = this.#queue
    this.#server?.close()
    this.#server = null
    this.#queue = null
    await this.#heartbeat?.close()
    this.#heartbeat = null
    if (!queue) return
    queue.onWorking = () => {}
    queue.off('start', this.#begin)
    for (const end of ['finish', 'fail', 'release'] as const) queue.off(end, this.#end)
    queue.off('fail', this.#countFailed)
  }

  async #serve(): Promise<void> {
    const {host = '127.0.0.1', port = ADMIN_PORT} = this.#options
    if (this.#options.host === undefined && this.#options.port === undefined) return
    const {serveScoreboard} = await import('./admin.ts')
    this.#server = await serveScoreboard(() => this.line, host, port)
  }

  #changed = (): void => this.#heartbeat?.changed()

  #begin = (job: RowRef & {func: string}): void => {
    const facts = {id: idOf(job), func: job.func, since: monotonic()}
    const free = this.#places.find(place => place.job === null)
    if (free) free.job = facts
    else this.#places.push({job: facts, jobs: 0})
    this.#changed()
  }

  #end = (job: RowRef): void => {
    const place = this.#places.find(({job: its}) => its?.id === idOf(job))
    if (!place) return // given back before it started
    place.job = null
    place.jobs++
    this.#jobs++
    this.#changed()
  }

  #countFailed = (): void => {
    this.#failed++
  }

  #state({working}: JobQueue): ManagerState {
    const all = this.#slots()
    return {
      funcs: [...new Set([...working].flatMap(({funcs}) => funcs))],
      moreFuncs: 0,
      jobs: this.#jobs,
      failed: this.#failed,
      memory: process.memoryUsage.rss(),
      workers: countSlots(all),
      slots: all
        .filter(({state}) => state !== 'none')
        .sort((a, b) => (a.state < b.state ? 1 : a.state > b.state ? -1 : 0))
        .slice(0, MAX_SLOTS),
    }
  }

  #slots(): Slot[] {
    const concurrency = [...(this.#queue?.working ?? [])].reduce((sum, work) => sum + work.concurrency, 0)
    while (this.#places.length < concurrency) this.#places.push({job: null, jobs: 0})
    let idle = concurrency - this.#places.filter(({job}) => job).length
    return this.#places.map(({job, jobs}): Slot => {
      const state = job ? 'working' : idle-- > 0 ? 'idle' : 'none'
      const seconds = job && Math.round((monotonic() - job.since) / 100) / 10
      const pid = state === 'none' ? null : process.pid
      return {state, pid, id: job?.id ?? null, func: job?.func ?? null, seconds, jobs, memory: null}
    })
  }
}
