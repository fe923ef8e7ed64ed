/** Of what is said often, what was said last: passed on at once, then at most every so many milliseconds. */
const PAUSE_MS = 250

export class Latest<T> {
  readonly #pass: (said: T) => void
  #said: {value: T} | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(pass: (said: T) => void) {
    this.#pass = pass
  }

  say(value: T): void {
    this.#said = {value}
    if (this.#timer === undefined) this.#passOn()
  }

  /** Nothing is passed on any more. */
  end(): void {
    clearTimeout(this.#timer)
    this.#said = null
  }

  readonly #passOn = (): void => {
    this.#timer = undefined
    if (this.#said === null) return
    const {value} = this.#said
    this.#said = null
    this.#timer = setTimeout(this.#passOn, PAUSE_MS).unref()
    this.#pass(value)
  }
}
