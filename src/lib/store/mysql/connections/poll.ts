/** Noticing changes on MySQL, which tells no one: one poll a process, however many watch. */
import {monotonic} from '../../../jobs/clock.ts'
import type {Want, Watch} from '../../store.ts'
import type {Waits} from '../completions.ts'
import {ERRNO, hasErrno} from '../errors.ts'
import {Funcs} from '../funcs.ts'
import {peek} from '../turn.ts'
import {type MysqlConnection, textOf} from './connection.ts'
import type {MysqlConnections} from './connections.ts'

/** For a dispatcher: also whether something is ordered. MAX(id) is read off the index only where nothing is beside it. */
const NEWEST_AND_ORDERS = `SELECT (SELECT MAX(id) FROM job) AS id,
  (SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT(job_id, what))), 0)) FROM jobq_order) AS orders`

/** How long to wait between two polls: while something goes on, and when nothing has for long. */
const POLL_MS = [10, 250] as const
/** Something goes on while something has changed within so many milliseconds. */
const BUSY_MS = 1000

export class Poll {
  readonly #links: MysqlConnections
  readonly #waits: Waits
  readonly #watchers = new Set<() => void>()
  readonly #known = new Funcs()
  readonly #funcs = new Set<string>()
  #maxRunning: ReadonlyMap<string, number> | undefined
  #timer: NodeJS.Timeout | undefined
  /** What the last poll saw; null before the first one, and where it failed. */
  #seen: string | null = null
  /** How often jobs that are waited for were found to have ended. */
  #ends = 0
  #isAsking = false
  #pause: number = POLL_MS[0]
  #busyUntil = 0

  constructor(links: MysqlConnections, waits: Waits) {
    this.#links = links
    this.#waits = waits
  }

  /** What a dispatcher takes: from now on only that is looked at, instead of all functions. */
  narrow({funcs, maxRunning}: Want): void {
    for (const func of funcs) this.#funcs.add(func)
    this.#maxRunning = maxRunning
  }

  /** Rings once at the start: what happened before the first look is not known. */
  watch(onChange: () => void): Watch {
    const watcher = () => onChange() // the same function may watch twice
    this.#watchers.add(watcher)
    if (this.#watchers.size === 1) void this.#peek()
    return {
      close: () => {
        this.#watchers.delete(watcher)
        if (this.#watchers.size === 0) this.close()
      },
    }
  }

  /** This process has changed something itself. */
  ring(): void {
    this.isBusy()
    for (const watcher of [...this.#watchers]) watcher()
  }

  /** Something goes on: the next poll comes soon. */
  isBusy(): void {
    this.#busyUntil = monotonic() + BUSY_MS
    const isAsleep = this.#pause > POLL_MS[0] && !this.#isAsking && this.#watchers.size > 0
    this.#pause = POLL_MS[0]
    if (isAsleep) this.#sleep()
  }

  close(): void {
    this.#watchers.clear()
    clearTimeout(this.#timer)
    this.#seen = null
  }

  /**
   * Asks what would be taken next (the first jobs of the lanes, the next end of a lease, the pauses), for the greatest
   * id, what is ordered, and whether jobs have ended that this process waits for: an answer that differs from the last rings. Ids alone
   * would not do: they are given before the commit, so a job can show up behind a greater one. A new job that changes
   * none of this is behind one that is ready.
   */
  async #peek(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    // What can't be read has changed: the next turn says why
    const seen = await this.#links.withConnection(link => this.#ask(link)).catch(() => null)
    this.#isAsking = false
    if (this.#watchers.size === 0) return
    if (seen !== this.#seen) this.ring()
    this.#seen = seen
    this.#sleep()
  }

  /** Who may not call the procedure takes no jobs: it hears of the ends that it waits for. */
  async #ask(link: MysqlConnection): Promise<string> {
    if (await this.#waits.haveEnded(link)) this.#ends++
    const lanes = await this.#askForLanes(link).catch(error => {
      if (hasErrno(error, ERRNO.notExecutable)) return ''
      throw error
    })
    return `${lanes} ${this.#ends}`
  }

  async #askForLanes(link: MysqlConnection): Promise<string> {
    let funcs = [...this.#funcs]
    if (funcs.length === 0) {
      const {rows} = await link.run(`SELECT ${link.names.select('name')} AS name FROM func`)
      funcs = rows.map(({name}) => textOf(name))
    }
    const want = {funcs, limit: 1, lease: 0, ...(this.#maxRunning ? {maxRunning: this.#maxRunning} : {})}
    const newest = this.#funcs.size > 0 ? NEWEST_AND_ORDERS : undefined
    return (await peek(link, this.#known, want, undefined, newest)).signature
  }

  #sleep(): void {
    clearTimeout(this.#timer)
    if (this.#watchers.size === 0) return
    const [least, most] = POLL_MS
    this.#pause = monotonic() < this.#busyUntil ? least : Math.min(most, this.#pause * 1.5)
    this.#timer = setTimeout(() => void this.#peek(), this.#pause)
  }
}
