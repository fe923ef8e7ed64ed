/**
 * A dispatcher's checkpoints: a thread moves the pages of SQLite's WAL into the database while commits go on. SQLite
 * would do it within a commit, which waits for the disk: half of the time of a dispatcher of small jobs.
 */
import type {Database, Statement} from 'better-sqlite3'
import {monotonic} from '../../../jobs/clock.ts'
import type {FilePlace} from '../file/known-file.ts'
import {Thread} from '../thread.ts'

/** In pages: what is worth a checkpoint; SQLite's own bound; and where this connection would do it by itself all the same. */
const SOME = 750
const LONG = 1000
const TOO_LONG = 4000
/**
 * In pages a millisecond, of which a job in a turn of its own writes four: what is worth a thread. Its memory makes
 * each process that is started from here dearer: by 0.1 of 1.65 ms, which is more than the checkpoints take from jobs
 * that are so long.
 */
const DENSE = 5
/** How long the thread stays when it has nothing to do. */
const STAY_MS = 10_000

type Wal = [isBusy: number, pages: number, moved: number]

export class Checkpoints {
  readonly #db: Database
  readonly #place: FilePlace
  readonly #length: Statement<unknown[]>
  #thread: Thread | undefined
  #ended: Promise<void> = Promise.resolve()
  #isAtWork = false
  #isOff = false
  #isTrusted = false
  #leaving: NodeJS.Timeout | undefined
  /** How many pages waited at the last look. */
  #waiting = Number.POSITIVE_INFINITY
  /** The first look after some were moved: when, by monotonic(), and how many waited then. */
  #first = {at: 0, waiting: 0}
  #resume = () => {}
  /**
   * What commits have to wait for; null: nothing. The WAL begins anew only when all of it was moved. Where commits go
   * on so fast that it never is, they wait once it is LONG, without the event loop, while the thread moves the rest:
   * others' connections checkpoint by themselves beyond that.
   */
  pause: Promise<void> | null = null

  constructor(db: Database, place: FilePlace) {
    this.#db = db
    this.#place = place
    this.#length = db.prepare<unknown[]>('PRAGMA wal_checkpoint(NOOP)').raw()
  }

  /** To be called after some commits: 2 µs. */
  look(): void {
    if (this.#isAtWork || this.#isOff) return
    const [pages, moved] = this.#wal()
    const waiting = pages - moved
    if (waiting < this.#waiting) this.#first = {at: monotonic(), waiting}
    this.#waiting = waiting
    if (waiting < SOME) return
    const isDense = waiting - this.#first.waiting > DENSE * (monotonic() - this.#first.at)
    if (isDense) this.#tell()
    else this.#leave()
  }

  async end(): Promise<void> {
    this.#isOff = true
    this.#leave()
    await this.#ended
  }

  #tell(): void {
    clearTimeout(this.#leaving)
    this.#isAtWork = true
    this.#thread ??= new Thread({task: 'checkpoint', place: this.#place})
    this.#thread.ask('checkpoint').then(
      () => this.#isDone(),
      () => this.#giveUp(),
    )
  }

  #isDone(): void {
    this.#isAtWork = false
    const hasPaused = this.pause !== null
    this.#goOn()
    if (this.#isOff || !this.#db.open) {
      this.#leave()
      return
    }
    if (!this.#isTrusted) this.#trust(true)
    this.#leaving = setTimeout(() => this.#leave(), STAY_MS).unref()
    if (hasPaused || this.#wal()[0] < LONG) return
    this.pause = new Promise(resolve => {
      this.#resume = resolve
    })
    this.#tell()
  }

  #goOn(): void {
    this.pause = null
    this.#resume()
  }

  /** A checkpoint that fails is SQLite's again, at the next commit; who reads or writes is told why. */
  #giveUp(): void {
    this.#isOff = true
    this.#isAtWork = false
    this.#goOn()
    this.#trust(false)
    this.#leave()
  }

  /** Is there a thread that has done it? Until then this connection's commits do it as ever. */
  #trust(trusted: boolean): void {
    this.#isTrusted = trusted
    if (this.#db.open) this.#db.pragma(`wal_autocheckpoint = ${trusted ? TOO_LONG : LONG}`)
  }

  /** How many pages it has, and how many of them were moved; of a file without a WAL none. */
  #wal(): [pages: number, moved: number] {
    try {
      const [, pages, moved] = this.#length.get() as Wal
      return [pages, moved]
    } catch {
      this.#giveUp()
      return [0, 0]
    }
  }

  #leave(): void {
    clearTimeout(this.#leaving)
    const thread = this.#thread
    this.#thread = undefined
    if (!thread) return
    if (this.#isTrusted) this.#trust(false)
    this.#ended = thread.end()
  }
}
