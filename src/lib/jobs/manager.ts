/** A running `jobq work` as it tells of itself: Qudo::Parallel::Manager's scoreboard, with the facts behind it. */

/** A slot is one of maxWorkers: `none` is Qudo's `.`, `idle` its `_`, `working` its `A`. */
export interface Slot {
  state: 'none' | 'idle' | 'working'
  pid: number | null
  /** The job being worked. */
  id: number | string | null
  func: string | null
  /** How long it has been worked, in seconds. */
  seconds: number | null
  /** Jobs this process has done. */
  jobs: number
  /** Memory in bytes, null where the system does not tell. */
  memory: number | null
}

/** What one manager is doing. */
export interface ManagerStatus {
  pid: number
  host: string
  db: string
  /** Unix seconds. */
  started: number
  funcs: readonly string[]
  /** What is paused, '' for the whole store. */
  paused: readonly string[]
  jobs: number
  failed: number
  memory: number | null
  slots: Slot[]
}
