/**
 * What one attempt has written, as far as it is to be kept for `jobq logs`: the end of it, whole lines, in the order in
 * which they were read. Its memory is bounded, and there is none before something is written.
 */
import {type KeepOutput, MAX_OUTPUT_BYTES, type Output} from '../../jobs/job.ts'
import {textOf} from '../../jobs/value.ts'

export type Stream = 'stdout' | 'stderr'

const NEWLINE = 10
const FIRST_BYTES = 1024
/** Whoever follows gets no more at once: what comes faster is left out. */
const UNTOLD_BYTES = 128 << 10

export class RunOutput {
  /** The run has ended, and may have written something before that is still to be read: within this round of the event loop. */
  isUnread = false
  readonly #keep: KeepOutput
  #tail: Tail | null = null
  /** What is to be told to who follows it; null: nobody does. */
  #untold: Tail | null = null
  /** Whose last line has no end yet. */
  #open: Stream | null = null

  constructor(keep: KeepOutput) {
    this.#keep = keep
  }

  /** @param isWhole false: a part of a line, of which more may come */
  add(stream: Stream, line: string, isWhole: boolean): void {
    if (this.#keep === 0 && this.#untold === null) return
    const text = `${this.#open === null || this.#open === stream ? '' : '\n'}${line}${isWhole ? '\n' : ''}`
    if (this.#keep !== 0) {
      this.#tail ??= new Tail(this.#keep === 'all' ? MAX_OUTPUT_BYTES : this.#keep)
      this.#tail.add(text)
    }
    this.#untold?.add(text)
    this.#open = isWhole ? null : stream
  }

  /** From now on there is something to be told, beginning with what is kept so far. */
  follow(): void {
    if (this.#untold !== null) return
    this.#untold = new Tail(UNTOLD_BYTES)
    const kept = this.#tail?.end
    if (kept) this.#untold.begin(kept)
  }

  unfollow(): void {
    this.#untold = null
  }

  /** What has come since it was asked last, the end of it if that is much; null: nothing. */
  takeUntold(): Pick<Output, 'bytes' | 'isCut'> | null {
    if (this.#untold === null || this.#untold.isEmpty) return null
    const {end} = this.#untold
    this.#untold = new Tail(UNTOLD_BYTES)
    return end
  }

  /** As it is now; undefined: nothing was written, or it is not to be kept. */
  get kept(): Output | undefined {
    return this.#tail ? {...this.#tail.end, isOfAny: this.#keep === 'all'} : undefined
  }
}

/**
 * The last bytes of a text. What is added goes behind what there is; when there is no more room, the part that counts
 * moves to the front: each byte is copied once more at most. The byte before those that count says whether a line begins there.
 */
class Tail {
  readonly #limit: number
  #bytes: Buffer
  #used = 0
  #beginsCut = false

  constructor(limit: number) {
    this.#limit = limit
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, this.#most))
  }

  get #most(): number {
    return 2 * (this.#limit + 1)
  }

  get isEmpty(): boolean {
    return this.#used === 0
  }

  /** Instead of what is there. */
  begin({bytes, isCut}: Pick<Output, 'bytes' | 'isCut'>): void {
    this.add(textOf(bytes))
    this.#beginsCut = isCut
  }

  add(text: string): void {
    const size = Buffer.byteLength(text)
    if (size > this.#limit + 1) {
      this.#used = 0
      this.#makeRoom(this.#limit + 1)
      this.#used = Buffer.from(text).copy(this.#bytes, 0, size - this.#limit - 1)
      return
    }
    this.#makeRoom(size)
    this.#used += this.#bytes.write(text, this.#used)
  }

  get end(): Pick<Output, 'bytes' | 'isCut'> {
    const from = this.#used - this.#limit
    if (from <= 0) return {bytes: this.#bytes.subarray(0, this.#used), isCut: this.#beginsCut}
    return {bytes: this.#bytes.subarray(this.#lineFrom(from), this.#used), isCut: true}
  }

  /** The first line that begins there or behind; within a single longer line, the next character. */
  #lineFrom(from: number): number {
    const line = this.#bytes.indexOf(NEWLINE, from - 1) + 1
    if (line > 0 && line < this.#used) return line
    let at = from
    while (at < this.#used && (this.#bytes[at]! & 0xc0) === 0x80) at++
    return at
  }

  #makeRoom(size: number): void {
    const wanted = this.#used + size
    if (wanted > this.#bytes.length && this.#bytes.length < this.#most) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#most, Math.max(wanted, 2 * this.#bytes.length)))
      this.#bytes.copy(grown, 0, 0, this.#used)
      this.#bytes = grown
    }
    if (wanted <= this.#bytes.length) return
    this.#bytes.copyWithin(0, this.#used - this.#limit - 1, this.#used)
    this.#used = this.#limit + 1
  }
}
