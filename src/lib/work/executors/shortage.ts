/**
 * What to do where the machine has no room for one more process (descriptors, processes, memory). That is no job's
 * doing: what can't be started goes back to the queue, and fewer are started, until there is room again.
 */
import {closeSync, openSync, readFileSync} from 'node:fs'
import {monotonic} from '../../jobs/clock.ts'
import {isShort, ProcessError} from '../../jobs/errors.ts'
import type {JobLog} from '../log/log.ts'

/** A job that meets with another shortage when it forks has failed: descriptors are this process's own. */
const OWN = 'EMFILE'
/** Until one more is tried: doubled each time that is in vain, up to the second; that at once where jobs may fail by it. */
export const PAUSE_MS = [500, 30_000] as const
/** So long after the last one, the next is told as a new one. */
export const OVER_MS = 60_000
/** Who only drains does not wait longer for a machine that has no room for a single process. */
export const PATIENCE_MS = 30_000

/** For a process's pipes and files, both ends of each, and for one more pipe by which libuv hears whether it has started. */
const DESCRIPTORS = 10
/** Who may have more than the three of each that runs and so many besides is not near the limit. */
const OWN_DESCRIPTORS = 100

/**
 * Are there enough descriptors for one more process? Where its pipes can be made and then no process, Node never closes
 * them: each such attempt would leave less room than it found.
 * @throws the system's error if not
 */
export function checkDescriptors(): void {
  const open: number[] = []
  try {
    while (open.length < DESCRIPTORS) open.push(openSync('/dev/null', 'r'))
  } finally {
    for (const fd of open) closeSync(fd)
  }
}

/**
 * From a shortage on no more run at once than did; but half of that where what is short is what the jobs' own processes
 * need as well. After a while one more is tried, and if that is in vain, later and later.
 */
export class Shortage {
  readonly #log: JobLog
  readonly #onRoom: () => void
  /** So many may run at once. */
  #most = Number.POSITIVE_INFINITY
  /** With so many running the last attempt was in vain. */
  #failedAt = Number.POSITIVE_INFINITY
  #pauseMs: number = PAUSE_MS[0]
  #toldAt = 0
  #limit: number | undefined
  /** Of the last attempt that was in vain. */
  #error: ProcessError | null = null
  /** Not a single one could be started since. */
  #stuckSince: number | null = null
  #timer: NodeJS.Timeout | undefined

  /** @param onRoom called when one more may be tried */
  constructor(log: JobLog, onRoom: () => void) {
    this.#log = log
    this.#onRoom = onRoom
  }

  /** How many more may be started. */
  room(running: number): number {
    if (running < this.#most) return this.#most - running
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#most++
      this.#onRoom()
    }, this.#pauseMs)
    return 0
  }

  /**
   * To be called before an attempt. Only who is near the limit, or has met with it, looks: it takes a thirtieth of the
   * time that a start takes.
   * @throws the system's error if there are too few descriptors, or if others of the same turn have met with it
   */
  check(running: number): void {
    if (running >= this.#most) throw this.#error
    this.#limit ??= descriptorLimit()
    if (this.#error || 3 * running + OWN_DESCRIPTORS > this.#limit) checkDescriptors()
  }

  /** Is the machine the reason, and not the job? Then it is remembered. */
  isReasonOf(error: Error, running: number): boolean {
    if (!isShort(error) && !(error instanceof ProcessError)) return false
    if (error === this.#error || running >= this.#most) return true
    const isShared = isShort(error) && (error as NodeJS.ErrnoException).code !== OWN && running > 0
    if (isShared) this.#pauseMs = PAUSE_MS[1]
    else if (running === this.#failedAt) this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MS[1])
    this.#most = isShared ? Math.max(1, running >> 1) : running
    this.#failedAt = running
    this.#error = error instanceof ProcessError ? error : new ProcessError(error)
    if (running === 0) this.#stuckSince ??= monotonic()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#tell(error.message, running, isShared, this.#error.hint)
    return true
  }

  #tell(why: string, running: number, isShared: boolean, hint: string): void {
    const now = monotonic()
    if (this.#toldAt === 0 || now - this.#toldAt > OVER_MS)
      this.#log.trouble(
        `the machine has room for ${running} executable${running === 1 ? '' : 's'} at once and no more (${why}): ${isShared ? `so that they can start processes themselves, ${this.#most} run from now on` : 'the other jobs wait'}, more are tried later; ${hint}`,
      )
    this.#toldAt = now
  }

  hasStarted(running: number): void {
    this.#stuckSince = null
    if (running <= this.#failedAt) return
    this.#failedAt = Number.POSITIVE_INFINITY
    this.#pauseMs = PAUSE_MS[0]
  }

  get failure(): Error | null {
    const since = this.#stuckSince
    return since !== null && monotonic() - since > PATIENCE_MS ? this.#error : null
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}

/** Of this process, from Linux's /proc; elsewhere it is not known. */
function descriptorLimit(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return Number(soft ?? Number.POSITIVE_INFINITY)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
