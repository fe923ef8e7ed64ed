/** INT and TERM for a command that ends in order: the first one asks it to, a second one ends the process. */
import {EXIT} from '../errors.ts'

export class Stop implements Disposable {
  readonly #controller = new AbortController()
  #exitCode: number | null = null

  constructor() {
    process.once('SIGINT', this.#onInt)
    process.once('SIGTERM', this.#onTerm)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** What the process ends with if it was cut short; null while it was not asked to stop. */
  get exitCode(): number | null {
    return this.#exitCode
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#onInt)
    process.off('SIGTERM', this.#onTerm)
  }

  readonly #onInt = () => this.#stop(EXIT.interrupted)
  readonly #onTerm = () => this.#stop(EXIT.terminated)

  #stop(exitCode: number): void {
    this[Symbol.dispose]()
    this.#exitCode = exitCode
    this.#controller.abort()
  }
}
