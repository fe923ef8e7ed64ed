/**
 * Pauses between tries, in milliseconds: each twice as long as the one before, up to the longest, and by up to a half
 * longer or shorter, so that those who failed together do not come back together.
 */
export class Backoff {
  readonly #first: number
  readonly #longest: number
  /** How many pauses there were. */
  tries = 0

  constructor(first: number, longest: number) {
    this.#first = first
    this.#longest = longest
  }

  next(): number {
    return Math.min(this.#first * 2 ** this.tries++, this.#longest) * (0.5 + Math.random())
  }

  reset(): void {
    this.tries = 0
  }
}
