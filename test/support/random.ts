/** Choices that a seed repeats: JOBQ_SEED, else 1; with JOBQ_SOAK=1, for as long as one cares to wait, one of its own. */

/** Is it the long form, `npm run soak`? */
export const SOAK = process.env.JOBQ_SOAK === '1'
export const SEED = Number(process.env.JOBQ_SEED ?? (SOAK ? Date.now() % 2 ** 31 : 1))

/** How long something is waited for before it counts as never, in milliseconds: a soak goes on beside whatever else a machine does. */
export function patient(ms: number): number {
  return SOAK ? 10 * ms : ms
}

export class Random {
  #state: number

  constructor(seed = SEED) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to below this. */
  below(bound: number): number {
    return Math.floor(this.#next() * bound)
  }

  /** A whole number from the one to the other. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** @param probability from 0 to 1 */
  chance(probability: number): boolean {
    return this.#next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  /** One of the names, as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const names = Object.keys(weights) as Name[]
    return this.pick(names.flatMap(name => Array.from({length: weights[name]}, () => name)))
  }

  /** Weyl's sequence, its bits mixed by multiplications. */
  #next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0
    let bits = this.#state
    bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad)
    bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97)
    return ((bits ^ (bits >>> 15)) >>> 0) / 2 ** 32
  }
}
