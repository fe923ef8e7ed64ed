/**
 * What a manager tells of itself, written into the store for whoever looks, on any host. A beat follows what has changed,
 * CHANGED_MS after the last one at the earliest; where nothing changes there is one every IDLE_MS, by the clock: so those
 * of all idle managers come together. Each commit to a SQLite file makes all who watch it look a while, some 40 times in
 * five seconds: ten idle managers that beat when they liked would keep each other awake for good.
 *
 * It is in nobody's way: no turn waits for it, and what keeps it from the store is told by those who need the store.
 */
import {hostname} from 'node:os'
import {monotonic} from '../../jobs/clock.ts'
import {isPassing} from '../../jobs/errors.ts'
import type {ManagerState} from '../../jobs/manager.ts'
import type {Store} from '../../store/store.ts'
import {stateText} from './state-text.ts'

const CHANGED_MS = 2000
/** A third of the time after which it counts as gone. */
const IDLE_MS = 20_000
/** Idle ones on one file come within so long: one lock, and one look. */
const SPREAD_MS = 100
/** How long the end of a process may wait for its row to be taken away. */
const LEAVE_MS = 1000

export class Heartbeat {
  readonly #id = 1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1))
  readonly #since = monotonic()
  readonly #store: Pick<Store, 'beat' | 'leave'>
  readonly #state: () => ManagerState
  readonly #onTrouble: (message: string) => void
  #timer: NodeJS.Timeout | undefined
  /** Has ever been sent: there may be a row. */
  #isTold = false
  #beatAt = 0
  #beating: Promise<void> | null = null
  #hasChanged = false
  #isRefused = false
  #isClosed = false
  /** What `note` was told last. */
  #ended = 0
  #running = 0

  /** @param onTrouble told once if the store does not take it: a table or a GRANT is missing */
  constructor(
    store: Pick<Store, 'beat' | 'leave'>,
    state: () => ManagerState,
    onTrouble: (message: string) => void,
  ) {
    this.#store = store
    this.#state = state
    this.#onTrouble = onTrouble
  }

  /** The first one comes after so many milliseconds: who is done before has written nothing. */
  start(inMs: number): void {
    this.#wait(inMs)
  }

  /** Once a turn: so many jobs have ended, so many run. */
  note(ended: number, running: number): void {
    if (ended === this.#ended && running === this.#running) return
    this.#ended = ended
    this.#running = running
    this.changed()
  }

  /** Something has changed that is to be seen soon. */
  changed(): void {
    if (this.#hasChanged) return
    this.#hasChanged = true
    if (this.#isTold && !this.#beating && !this.#isRefused) this.#waitForNext()
  }

  /** Takes the row away. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    if (!this.#isTold) return
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, LEAVE_MS)
    const left = async () => {
      await this.#beating
      await this.#store.leave(this.#id).catch(() => {}) // it is told as gone, in a minute
    }
    await Promise.race([left(), late.promise])
    clearTimeout(timer)
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer)
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#start(), ms).unref()
  }

  #waitForNext(): void {
    const sinceLast = monotonic() - this.#beatAt
    if (this.#hasChanged && !this.#isRefused) this.#wait(Math.max(0, CHANGED_MS - sinceLast))
    else this.#wait(IDLE_MS - (Date.now() % IDLE_MS) + Math.random() * SPREAD_MS)
  }

  #start(): void {
    this.#hasChanged = false
    this.#isTold = true
    this.#beatAt = monotonic()
    this.#beating = this.#beat().finally(() => {
      this.#beating = null
      this.#waitForNext()
    })
  }

  async #beat(): Promise<void> {
    try {
      await this.#store.beat({
        id: this.#id,
        host: hostname().slice(0, 255),
        pid: process.pid,
        uptime: Math.floor((this.#beatAt - this.#since) / 1000),
        state: stateText(this.#state()),
      })
      this.#isRefused = false
    } catch (error) {
      if (isPassing(error) || this.#isClosed) return
      const {message, hint = ''} = error as Error & {hint?: string}
      if (!this.#isRefused)
        this.#onTrouble(`\`jobq status\` will not show this process: ${message}${hint && ` (${hint})`}`)
      this.#isRefused = true
    }
  }
}
