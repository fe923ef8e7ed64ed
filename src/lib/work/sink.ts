/**
 * Where the log's lines go: a terminal, a pipe or file that stdout or stderr is, or a file of its own.
 *
 * A pipe whose reader has stalled must not stop the dispatcher, which has leases to keep: lines wait here, and beyond
 * MAX_WAITING bytes they are dropped and counted.
 */
import {closeSync, openSync, write, writeSync} from 'node:fs'

const MAX_WAITING = 8 << 20
const FLUSH_MS = 2000

export interface Sink {
  write(line: string): void
  /** For logrotate: the file of that name, which may be another one by now. Nothing for a stream. */
  reopen(): void
  /** Resolves when all is written, or can't be within FLUSH_MS. */
  flush(): Promise<void>
}

/** @param fd 1 or 2 */
export function streamSink(fd: 1 | 2): Sink {
  const stream = fd === 1 ? process.stdout : process.stderr
  if (!stream.isTTY) return new PipeSink(fd)
  return {write: line => stream.write(line), reopen: () => {}, flush: async () => {}}
}

export class FileSink implements Sink {
  readonly #path: string
  #fd: number

  /** @throws the system's errors */
  constructor(path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a', 0o640)
  }

  write(line: string): void {
    writeSync(this.#fd, line)
  }

  reopen(): void {
    const old = this.#fd
    this.#fd = openSync(this.#path, 'a', 0o640)
    closeSync(old)
  }

  async flush(): Promise<void> {}
}

class PipeSink implements Sink {
  readonly #fd: number
  #waiting: string[] = []
  #size = 0
  #dropped = 0
  #isWriting = false
  #isBroken = false
  #onDrained: (() => void) | null = null

  constructor(fd: number) {
    this.#fd = fd
  }

  write(line: string): void {
    if (this.#isBroken) return
    if (this.#size > MAX_WAITING) {
      this.#dropped++
      return
    }
    this.#waiting.push(line)
    this.#size += line.length
    if (!this.#isWriting) setImmediate(() => this.#drain())
    this.#isWriting = true
  }

  reopen(): void {}

  async flush(): Promise<void> {
    if (!this.#isWriting) return
    await new Promise<void>(resolve => {
      this.#onDrained = resolve
      setTimeout(resolve, FLUSH_MS).unref()
    })
  }

  /** One write at a time, in the thread pool: order is kept, and the event loop never waits. */
  #drain(): void {
    const dropped = this.#dropped === 0 ? '' : `jobq: ${this.#dropped} lines of log were dropped\n`
    const text = this.#waiting.join('') + dropped
    this.#waiting = []
    this.#size = 0
    this.#dropped = 0
    if (text !== '') {
      this.#writeAll(Buffer.from(text))
      return
    }
    this.#isWriting = false
    this.#onDrained?.()
  }

  #writeAll(bytes: Buffer): void {
    write(this.#fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#writeAll(bytes), 10)
      else if (!error && written < bytes.length) this.#writeAll(bytes.subarray(written))
      else {
        if (error) this.#isBroken = true // its reader is gone: no one is left to tell
        this.#drain()
      }
    })
  }
}
