/**
 * The dispatcher's ear at the store. After enough turns that found all the jobs they wanted it listens no longer, until
 * a turn finds too little: with SQLite, to be told of its own commits costs a dispatcher 17 µs of CPU time a job, half
 * as much as the job's turn. Meanwhile it is looked now and then, since what is ordered of a job that runs must be heard
 * within a second; and where turns have become few, all executors being busy for long, it listens again.
 */
import type {Store, Watch} from '../store/store.ts'

/** By then being told has cost as much as it does to begin to listen anew: 0.2 ms where that is seldom done. */
const FULL_TURNS = 16
/** Between two looks while it does not listen. */
const LOOK_MS = 400

export class ChangeSubscription {
  readonly #store: Store
  readonly #onChange: () => void
  #watch: Watch | null = null
  #fullTurns = 0
  #looks: NodeJS.Timeout | undefined

  constructor(store: Store, onChange: () => void) {
    this.#store = store
    this.#onChange = onChange
  }

  listen(): void {
    clearInterval(this.#looks)
    this.#watch ??= this.#store.watch(this.#onChange)
  }

  stop(): void {
    clearInterval(this.#looks)
    this.#watch?.close()
    this.#watch = null
  }

  /** A turn has found all it wanted. */
  foundAll(): void {
    if (this.#fullTurns++ !== FULL_TURNS) return
    this.stop()
    let turns = this.#fullTurns
    this.#looks = setInterval(() => {
      if (this.#fullTurns - turns < FULL_TURNS) {
        this.#fullTurns = 0
        this.listen()
      }
      turns = this.#fullTurns
      this.#onChange()
    }, LOOK_MS)
  }

  /** A turn has found less. @returns false if something may have been missed since it looked: it must look again */
  foundLess(): boolean {
    this.#fullTurns = 0
    const wasListening = this.#watch !== null
    this.listen()
    return wasListening
  }
}
