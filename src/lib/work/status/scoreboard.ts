/**
 * What a running `jobq work` is doing, for whoever asks: Qudo's scoreboard line, and the facts behind it.
 */
import {readFileSync} from 'node:fs'
import {monotonic} from '../../jobs/clock.ts'
import {idOf} from '../../jobs/job.ts'
import {countSlots, MAX_SLOTS, type ManagerState, type Slot} from '../../jobs/manager.ts'
import type {Dispatcher} from '../dispatcher.ts'
import type {CombinedExecutors} from '../executors/combined.ts'
import type {WorkerView} from '../executors/executor.ts'

export class Scoreboard {
  readonly #executors: CombinedExecutors
  readonly #dispatcher: Dispatcher

  constructor(executors: CombinedExecutors, dispatcher: Dispatcher) {
    this.#executors = executors
    this.#dispatcher = dispatcher
  }

  /** One character for each slot, joined by spaces: `A _ . .` */
  get line(): string {
    const marks = {working: 'A', idle: '_', none: '.'}
    return this.#slots()
      .map(({state}) => marks[state])
      .join(' ')
  }

  get state(): ManagerState {
    const {ended, failed} = this.#dispatcher.progress
    const all = this.#slots()
    const slots = all.filter(({state}) => state !== 'none').slice(0, MAX_SLOTS)
    return {
      funcs: this.#executors.handled,
      moreFuncs: 0,
      jobs: ended,
      failed,
      memory: process.memoryUsage.rss(),
      workers: countSlots(all),
      slots: withMemory(slots),
    }
  }

  #slots(): Omit<Slot, 'memory'>[] {
    const {places, workers} = this.#executors
    // While children are being replaced there are more of them than slots: those that do something go first
    const shown = workers.toSorted((a, b) => rank(a) - rank(b)).slice(0, places)
    const empty = {state: 'none', pid: null, id: null, func: null, seconds: null, jobs: 0} as const
    return [...shown.map(slotOf), ...Array.from({length: places - shown.length}, () => empty)]
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

/** Several may be of one process. */
function withMemory(slots: readonly Omit<Slot, 'memory'>[]): Slot[] {
  const memory = new Map<number | null, number | null>([[null, null]])
  for (const {pid} of slots) if (pid !== null && !memory.has(pid)) memory.set(pid, memoryOf(pid))
  return slots.map(slot => ({...slot, memory: memory.get(slot.pid)!}))
}

function rank({state}: WorkerView): number {
  return ['busy', 'idle', 'starting'].indexOf(state)
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
