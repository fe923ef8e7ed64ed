/** INT and TERM for a command that ends in order: the first one asks it to, a second one ends the process. */
import {EXIT} from '../jobs/errors.ts'

export class Stop implements Disposable {
  readonly #controller = new AbortController()
  readonly #cleanUp: () => void
  #exitCode: number | null = null

  /** @param cleanUp done at once before a second signal ends the process: it comes when the first one was no use */
  constructor(cleanUp: () => void = () => {}) {
    this.#cleanUp = cleanUp
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** What the process ends with if it was cut short; null while it was not asked to stop. */
  get exitCode(): number | null {
    return this.#exitCode
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#onSignal)
    process.off('SIGTERM', this.#onSignal)
  }

  readonly #onSignal = (name: NodeJS.Signals) => {
    if (this.#exitCode === null) {
      this.#exitCode = name === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
      this.#controller.abort()
      return
    }
    this.#cleanUp()
    this[Symbol.dispose]()
    process.kill(process.pid, name) // nobody listens any more: it ends the process
  }
}
