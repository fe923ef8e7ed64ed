/**
 * What a running `jobq work` is doing, for whoever asks: Qudo's scoreboard line, and the facts behind it.
 */
import {readFileSync} from 'node:fs'
import {hostname} from 'node:os'
import {monotonic} from '../../jobs/clock.ts'
import {idOf} from '../../jobs/job.ts'
import type {ManagerStatus, Slot} from '../../jobs/manager.ts'
import type {Dispatcher} from '../dispatcher.ts'
import type {CombinedExecutors} from '../executors/combined.ts'
import type {WorkerView} from '../executors/executor.ts'

export class Scoreboard {
  readonly #started = Math.floor(Date.now() / 1000)
  readonly #executors: CombinedExecutors
  readonly #dispatcher: Dispatcher
  readonly #db: string

  constructor(executors: CombinedExecutors, dispatcher: Dispatcher, db: string) {
    this.#executors = executors
    this.#dispatcher = dispatcher
    this.#db = db
  }

  /** One character for each slot, joined by spaces: `A _ . .` */
  get line(): string {
    const marks = {working: 'A', idle: '_', none: '.'}
    return this.#slots()
      .map(({state}) => marks[state])
      .join(' ')
  }

  status(paused: readonly string[]): ManagerStatus {
    const {ended, failed} = this.#dispatcher.progress
    return {
      pid: process.pid,
      host: hostname(),
      db: this.#db,
      started: this.#started,
      funcs: this.#executors.handled,
      paused,
      jobs: ended,
      failed,
      memory: process.memoryUsage.rss(),
      slots: this.#slots().map(slot => ({...slot, memory: slot.pid === null ? null : memoryOf(slot.pid)})),
    }
  }

  #slots(): Omit<Slot, 'memory'>[] {
    const {maxWorkers, workers} = this.#executors
    // While children are being replaced there are more of them than slots: those that do something go first
    const shown = workers.toSorted((a, b) => rank(a) - rank(b)).slice(0, maxWorkers)
    const empty = {state: 'none', pid: null, id: null, func: null, seconds: null, jobs: 0} as const
    return [...shown.map(slotOf), ...Array.from({length: maxWorkers - shown.length}, () => empty)]
  }
}

function slotOf({state, pid, job, since, jobsDone}: WorkerView): Omit<Slot, 'memory'> {
  const seconds = since === null ? null : Math.round((monotonic() - since) / 100) / 10
  return {
    state: state === 'busy' ? 'working' : 'idle',
    pid,
    id: job && idOf(job),
    func: job?.func ?? null,
    seconds,
    jobs: jobsDone,
  }
}

function rank({state}: WorkerView): number {
  return ['busy', 'idle', 'starting', 'ending'].indexOf(state)
}

/** Resident memory in bytes, from Linux's /proc; null elsewhere, and for a process that is gone. */
function memoryOf(pid: number): number | null {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1])
    return pages * 4096
  } catch {
    return null
  }
}
