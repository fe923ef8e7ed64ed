/**
 * What a job prints, as whole lines, and the end of it for its exception. A line is cut at MAX_LINE, so that a job
 * that prints without end costs no memory here.
 */
import type {Readable} from 'node:stream'
import {StringDecoder} from 'node:string_decoder'

const MAX_LINE = 16_384

export class LineReader {
  #partial = ''

  constructor(stream: Readable, onLine: (line: string) => void) {
    const decoder = new StringDecoder('utf8')
    stream.on('data', (chunk: Buffer) => {
      const lines = (this.#partial + decoder.write(chunk)).split('\n')
      this.#partial = lines.pop()!
      for (const line of lines) onLine(line)
      if (this.#partial.length > MAX_LINE) this.flush()
    })
    this.#onLine = onLine
  }

  readonly #onLine: (line: string) => void

  /** Hands out what came after the last newline. */
  flush(): void {
    if (this.#partial === '') return
    const line = this.#partial
    this.#partial = ''
    this.#onLine(line)
  }
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
    this.#chunks = []
    this.#size = 0
  }
}
