/**
 * Arguments of executables as files without names: in memory, else where temporary files are. One that there is no room for
 * is no matter of its job, nor of those whose arguments fit: its function rests, until a job that keeps an argument there has
 * ended, or for a while, longer each time that is in vain.
 */
import {closeSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {monotonic} from '../../../jobs/clock.ts'
import {isShort, ProcessError} from '../../../jobs/errors.ts'
import {openNameless} from '../../../jobs/nameless-file.ts'
import type {JobLog} from '../../log/log.ts'
import {OVER_MS, PATIENCE_MS, PAUSE_MS} from '../shortage.ts'

export class NoRoomForArgument extends ProcessError {}

interface Rest {
  error: NoRoomForArgument
  /** With so many bytes of arguments kept, or more, none of this function is tried. */
  bound: number
  pauseMs: number
  /** Of the last attempt in vain. */
  at: number
  /** Since then not even one by itself had room. */
  stuckSince: number | null
  timer: NodeJS.Timeout
}

export class ArgumentFiles {
  readonly #rests = new Map<string, Rest>()
  readonly #log: JobLog
  readonly #onRoom: () => void
  readonly #kept: () => number

  /**
   * @param onRoom called when a function has rested
   * @param kept how many bytes of arguments the running jobs have
   */
  constructor(log: JobLog, onRoom: () => void, kept: () => number) {
    this.#log = log
    this.#onRoom = onRoom
    this.#kept = kept
  }

  /** @returns it, open for reading. @throws NoRoomForArgument; the system's errors where something else is short */
  write(func: string, argument: Uint8Array): number {
    try {
      const fd = fileOf(argument)
      const rest = this.#rests.get(func)
      if (rest) rest.stuckSince = null
      return fd
    } catch (error) {
      if (isShort(error)) throw error
      const what = `can't keep ${func}'s argument of ${argument.length} bytes in ${folders().join(' or ')}`
      throw this.#rest(
        func,
        new NoRoomForArgument(error, what, 'make room there, or let TMPDIR name another folder'),
      )
    }
  }

  isResting(func: string): boolean {
    const rest = this.#rests.get(func)
    return rest !== undefined && this.#kept() >= rest.bound
  }

  /** So many more may be started: one by one where one of them may have no room. */
  get room(): number {
    for (const [func, {at}] of this.#rests) if (monotonic() - at < OVER_MS && !this.isResting(func)) return 1
    return Number.POSITIVE_INFINITY
  }

  get failure(): Error | null {
    for (const {stuckSince, error} of this.#rests.values())
      if (stuckSince !== null && monotonic() - stuckSince > PATIENCE_MS) return error
    return null
  }

  close(): void {
    for (const {timer} of this.#rests.values()) clearTimeout(timer)
  }

  #rest(func: string, error: NoRoomForArgument): NoRoomForArgument {
    if (this.isResting(func)) return error // another of the same turn
    const now = monotonic()
    const last = this.#rests.get(func)
    clearTimeout(last?.timer)
    const isNew = !last || now - last.at > OVER_MS
    if (isNew) this.#log.trouble(`${error.message}: jobs of ${func} wait, all others go on; ${error.hint}`)
    const pauseMs = isNew ? PAUSE_MS[0] : Math.min(2 * last.pauseMs, PAUSE_MS[1])
    const bound = this.#kept()
    const stuckSince = last?.stuckSince ?? (bound === 0 ? now : null)
    const timer = setTimeout(() => {
      rest.bound = Number.POSITIVE_INFINITY
      this.#onRoom()
    }, pauseMs)
    const rest: Rest = {error, bound, pauseMs, at: now, stuckSince, timer}
    this.#rests.set(func, rest)
    return error
  }
}

function folders(): string[] {
  return ['/dev/shm', tmpdir()]
}

function fileOf(argument: Uint8Array): number {
  let cause: unknown
  for (const folder of folders()) {
    try {
      return writtenTo(folder, argument)
    } catch (error) {
      cause = error
    }
  }
  throw cause
}

function writtenTo(folder: string, argument: Uint8Array): number {
  const {reading, writing} = openNameless(folder)
  try {
    writeFileSync(writing, argument)
    return reading
  } catch (error) {
    closeSync(reading)
    throw error
  } finally {
    closeSync(writing)
  }
}
