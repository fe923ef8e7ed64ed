/**
 * Where the machine has no room for one more process: descriptors, processes, memory. That is no job's doing: what can't
 * be started goes back to the queue, and from then on no more run at once than did. After a while one more is tried,
 * and if that is in vain, later and later.
 */
import {closeSync, openSync, readFileSync} from 'node:fs'
import {monotonic} from '../../jobs/clock.ts'
import {ProcessError} from '../../jobs/errors.ts'
import type {JobLog} from '../log/log.ts'

/** Of this process, of the user, of all: descriptors; processes; memory. */
const SHORT: readonly string[] = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ENOBUFS']
/** Until one more is tried: doubled each time that is in vain, up to the second. */
const PAUSE_MS = [500, 30_000] as const
/** So long after the last one, the next is told as a new one. */
const OVER_MS = 60_000
/** Who only drains does not wait longer for a machine that has no room for a single process. */
const PATIENCE_MS = 30_000

export function isShort(error: unknown): boolean {
  return SHORT.includes((error as NodeJS.ErrnoException | null)?.code ?? '')
}

/** For a process's three pipes, both ends of each, and for one more by which libuv hears whether it has started. */
const DESCRIPTORS = 8
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
  /** Not a single one could be started since, and why. */
  #stuck: {since: number; error: Error} | null = null
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
      this.#most = running + 1
      this.#onRoom()
    }, this.#pauseMs)
    return 0
  }

  /**
   * To be called before an attempt. Only who is near the limit, or has met with it, looks: it takes a thirtieth of the
   * time that a start takes.
   * @throws the system's error if there are too few descriptors
   */
  check(running: number): void {
    this.#limit ??= descriptorLimit()
    if (this.#toldAt > 0 || 3 * running + OWN_DESCRIPTORS > this.#limit) checkDescriptors()
  }

  /** Is the machine the reason, and not the job? Then it is remembered. */
  isReasonOf(error: Error, running: number): boolean {
    const isStated = error instanceof ProcessError
    if (!isStated && !isShort(error)) return false
    this.#most = running
    if (running === this.#failedAt) this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MS[1])
    this.#failedAt = running
    const now = monotonic()
    if (this.#toldAt === 0 || now - this.#toldAt > OVER_MS)
      this.#log.trouble(
        `the machine has room for ${running} executable${running === 1 ? '' : 's'} at once and no more (${error.message}): the other jobs wait, more are tried later; ${isStated ? error.hint : 'check ulimit -n, ulimit -u'}`,
      )
    this.#toldAt = now
    if (running === 0) this.#stuck ??= {since: now, error: isStated ? error : new ProcessError(error)}
    return true
  }

  hasStarted(running: number): void {
    if (this.#failedAt === Number.POSITIVE_INFINITY) return
    this.#stuck = null
    if (running <= this.#failedAt) return
    this.#failedAt = Number.POSITIVE_INFINITY
    this.#pauseMs = PAUSE_MS[0]
  }

  get failure(): Error | null {
    const {since, error} = this.#stuck ?? {}
    return since !== undefined && monotonic() - since > PATIENCE_MS ? error! : null
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
