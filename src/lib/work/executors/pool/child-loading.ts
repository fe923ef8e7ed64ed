/** A pool's child that loads its workers: at which file it is, and for how long it may be. */
import {ProcessError, WorkerError} from '../../../jobs/errors.ts'
import type {JobLog} from '../../log/log.ts'

/** A file that has not been loaded by then never will be (a loop, a read from a terminal). */
const LOAD_TIMEOUT_MS = 30_000
/** Then it is told, and the others no longer wait for it. */
const SLOW_LOAD_MS = 3000

/** A file that a child has not loaded. */
export class LoadError extends WorkerError {
  readonly file: string

  constructor(file: string, message: string, hint = '') {
    super(message, {hint})
    this.file = file
  }
}

export class ChildLoading {
  /** @throws LoadError if a worker's file can't be loaded here, ProcessError if Node.js can't be started */
  readonly done: Promise<void>
  /** The file that keeps it from being loaded; without an end where none does for long. */
  readonly late: Promise<string>
  isDone = false
  readonly #done = Promise.withResolvers<void>()
  readonly #late = Promise.withResolvers<string>()
  #lateTimer: NodeJS.Timeout | undefined
  /** The file that it is at; '' before the first. */
  #file = ''

  /** @param kill called when it has taken too long */
  constructor(log: JobLog, kill: () => void) {
    this.done = this.#done.promise
    this.late = this.#late.promise
    const timer = setTimeout(() => {
      const within = `within ${LOAD_TIMEOUT_MS / 1000} s`
      this.#fail(`${this.#file} was not loaded ${within}`, `it did not start ${within}`)
      kill()
    }, LOAD_TIMEOUT_MS)
    const slow = setTimeout(() => {
      const left = (LOAD_TIMEOUT_MS - SLOW_LOAD_MS) / 1000
      log.trouble(`${this.#file || 'a worker'} is still loading; it is waited for, ${left} s more at most`)
    }, SLOW_LOAD_MS)
    const off = () => {
      for (const each of [timer, slow, this.#lateTimer]) clearTimeout(each)
    }
    this.done.then(off, off)
  }

  /** It comes to that file. */
  begin(file: string): void {
    this.#file = file
    clearTimeout(this.#lateTimer)
    this.#lateTimer = setTimeout(this.#late.resolve, SLOW_LOAD_MS, file)
  }

  end(): void {
    this.isDone = true
    this.#done.resolve()
  }

  /** The child itself says what is wrong with the file. */
  refuse(message: string, hint: string): void {
    this.#done.reject(new LoadError(this.#file, message, hint))
  }

  /** Its process is gone: of no account once it was loaded. @param lastWords what it wrote to stderr at its end */
  died(how: string, lastWords: string | undefined): void {
    this.#fail(`${this.#file} can't be loaded: its process ${how} meanwhile`, `it ${how}`, lastWords)
    this.done.catch(() => {}) // whoever waits for it has been told
  }

  /** Where it has not come to a file yet, Node.js itself has not started: short of threads, it waits for them without an end. */
  #fail(message: string, early: string, hint?: string): void {
    this.#done.reject(
      this.#file === '' ? new ProcessError(new Error(early)) : new LoadError(this.#file, message, hint),
    )
  }
}
