/**
 * Executables that are not there, are empty, or may not be run, at the moment: a deploy swaps the workers folder, or writes the
 * file. That is no job's doing: its function rests, and is tried again after a while, longer each time that is in vain. All others go on.
 */
import {accessSync, constants, statSync} from 'node:fs'
import {Backoff} from '../../jobs/backoff.ts'
import {WorkerError} from '../../jobs/errors.ts'
import {checkInterpreter} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {PAUSE_MS} from './shortage.ts'

/** Of a start in vain: no file, a folder that is none, a link to itself, no run bit, someone writes to it. */
const ABSENT: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ETXTBSY'])

/** To a shell, which is who runs such a file, that is a script that does nothing, and well: the job would be gone, undone. */
class EmptyFile extends Error {
  constructor() {
    super('it is empty')
  }
}

interface Rest {
  error: WorkerError
  backoff: Backoff
  /** undefined: it may be tried again. */
  timer: NodeJS.Timeout | undefined
}

export class AbsentFiles {
  readonly #rests = new Map<string, Rest>()
  readonly #log: JobLog
  readonly #onRoom: () => void

  /** @param onRoom called when a function has rested */
  constructor(log: JobLog, onRoom: () => void) {
    this.#log = log
    this.#onRoom = onRoom
  }

  /** Is it not there now? Then its function rests: no job is taken for it, which would count as a start where those are limited. */
  isMissing(func: string, file: string): boolean {
    if (this.isResting(func)) return true
    const error = missing(file)
    if (error) this.#rest(func, file, error)
    return error !== null
  }

  /** @throws what `isReasonOf` knows, of a file that would start and is no worker */
  check(file: string): void {
    if (isEmpty(file)) throw new EmptyFile()
  }

  /** Is the file the reason, and not the job, nor the interpreter that the file names? Then its function rests. */
  isReasonOf(error: Error, func: string, file: string): boolean {
    const {code, syscall} = error as NodeJS.ErrnoException
    const isAbsent = syscall?.startsWith('spawn') && ABSENT.has(code) && !lacksInterpreter(file)
    if (!isAbsent && !(error instanceof EmptyFile)) return false
    if (!this.isResting(func)) this.#rest(func, file, error) // else another of the same turn
    return true
  }

  #rest(func: string, file: string, {message}: Error): void {
    const last = this.#rests.get(func)
    const backoff = last?.backoff ?? new Backoff(...PAUSE_MS)
    const why = `${file} can't be started (${message})`
    if (!last) this.#log.trouble(`${why}: jobs of ${func} wait, all others go on; trying again later`)
    const error = new WorkerError(why, {
      hint: 'see that it is there, with its run bit, and written to its end',
    })
    const timer = setTimeout(() => {
      rest.timer = undefined
      if (!this.isMissing(func, file)) this.#onRoom()
    }, backoff.next())
    const rest: Rest = {error, backoff, timer}
    this.#rests.set(func, rest)
  }

  hasStarted(func: string): void {
    clearTimeout(this.#rests.get(func)?.timer)
    this.#rests.delete(func)
  }

  isResting(func: string): boolean {
    return this.#rests.get(func)?.timer !== undefined
  }

  /** Why a function rests. */
  get failure(): Error | null {
    for (const {timer, error} of this.#rests.values()) if (timer) return error
    return null
  }

  reset(): void {
    for (const {timer} of this.#rests.values()) clearTimeout(timer)
    this.#rests.clear()
  }
}

function missing(file: string): Error | null {
  try {
    accessSync(file, constants.X_OK)
    return isEmpty(file) ? new EmptyFile() : null
  } catch (error) {
    return error as Error
  }
}

/** One that can't be looked at is told by its start. */
function isEmpty(file: string): boolean {
  try {
    return statSync(file).size === 0
  } catch {
    return false
  }
}

/** The kernel's word for that would be the same. */
function lacksInterpreter(file: string): boolean {
  try {
    checkInterpreter(file)
    return false
  } catch (error) {
    return error instanceof WorkerError
  }
}
