/**
 * What a job prints, as whole lines, and the end of it for its exception. A line is cut at MAX_LINE, so that a job
 * that prints without end costs no memory here.
 */
import type {Readable} from 'node:stream'
import {StringDecoder} from 'node:string_decoder'

const MAX_LINE = 16_384

/** @returns what the next line is to wait for, if it is to; a line that is not whole may go on */
export type OnLine = (line: string, isWhole: boolean) => Promise<void> | null

/** What comes in pieces, as lines. */
export class Lines {
  #partial = ''
  #decoder: StringDecoder | undefined // most jobs print nothing
  readonly #onLine: OnLine

  constructor(onLine: OnLine) {
    this.#onLine = onLine
  }

  /** @returns what the next piece is to wait for, if it is to */
  add(bytes: Buffer): Promise<void> | null {
    this.#decoder ??= new StringDecoder('utf8')
    const lines = (this.#partial + this.#decoder.write(bytes)).split('\n')
    this.#partial = lines.pop()!
    let room: Promise<void> | null = null
    for (const line of lines) room = this.#onLine(line, true)
    if (this.#partial.length > MAX_LINE) this.flush()
    return room
  }

  /** Hands out what came after the last newline. */
  flush(): void {
    if (this.#partial === '') return
    const line = this.#partial
    this.#partial = ''
    this.#onLine(line, false)
  }
}

export class LineReader {
  /** While the log has no room for more: when it has. */
  waitsFor: Promise<void> | null = null
  readonly #lines: Lines

  constructor(stream: Readable, onLine: OnLine) {
    this.#lines = new Lines(onLine)
    stream.on('data', (chunk: Buffer) => {
      const room = this.#lines.add(chunk)
      if (room === null) return
      stream.pause()
      this.waitsFor = room.then(() => {
        this.waitsFor = null
        stream.resume()
      })
    })
  }

  /** Hands out what came after the last newline. */
  flush(): void {
    this.#lines.flush()
  }
}

/** Calls back, at once if it can, when all has been read that was printed before. */
export function whenRead(readers: readonly LineReader[], done: () => void): void {
  if (readers.every(({waitsFor}) => waitsFor === null)) {
    done()
    return
  }
  const waits = readers.map(({waitsFor}) => waitsFor)
  void Promise.all(waits).then(() => whenRound(() => whenRead(readers, done)))
}

/** Calls back after one whole round of the event loop: what is in the pipes is read. */
export function whenRound(done: () => void): void {
  setImmediate(() => setImmediate(done))
}

/** The last bytes of a stream. */
export class Tail {
  #chunks: Buffer[] = []
  #size = 0
  readonly #limit: number

  constructor(stream: Readable, limit: number) {
    this.#limit = limit
    stream.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#size += chunk.length
      while (this.#size - this.#chunks[0]!.length >= this.#limit) this.#size -= this.#chunks.shift()!.length
    })
  }

  get text(): string {
    return Buffer.concat(this.#chunks).subarray(-this.#limit).toString('utf8').trim()
  }

  clear(): void {
    if (this.#size === 0) return
    this.#chunks = []
    this.#size = 0
  }
}
