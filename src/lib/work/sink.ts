/**
 * Where the log's lines go: a terminal, a pipe or file that stdout or stderr is, or a file of its own.
 *
 * A pipe whose reader is slow must not stop the dispatcher, which has leases to keep: lines wait here. From
 * CROWDED_BYTES on, jobs that print are made to wait as well; not so when the reader has stalled altogether: what
 * comes beyond MAX_WAITING bytes is then dropped and counted.
 */
import {closeSync, openSync, write, writeSync} from 'node:fs'

const CROWDED_BYTES = 4 << 20
const MAX_WAITING = 8 << 20
/** In one write: each that ends shows that the reader reads. */
const WRITE_BYTES = 64 << 10
const STALL_MS = 1000
const FLUSH_MS = 2000

export interface Sink {
  write(line: string): void
  /** Null if there is room for more; else resolves when there is, or when waiting for it is in vain. */
  room(): Promise<void> | null
  /**
   * For logrotate: the file of that name, which may be another one by now. Nothing for a stream.
   * @throws the system's errors, and goes on with the file it has
   */
  reopen(): void
  /** Resolves when all is written, or can't be within FLUSH_MS. */
  flush(): Promise<void>
}

/**
 * @param fd 1 or 2
 * @param tellDropped what the log says in the place of so many lines
 */
export function streamSink(fd: 1 | 2, tellDropped: (lines: number) => string): Sink {
  const stream = fd === 1 ? process.stdout : process.stderr
  if (!stream.isTTY) return new PipeSink(fd, tellDropped)
  return {write: line => stream.write(line), room: () => null, reopen: () => {}, flush: async () => {}}
}

export class FileSink implements Sink {
  readonly #path: string
  readonly #tellDropped: (lines: number) => string
  #fd: number
  #dropped = 0

  /** @throws the system's errors */
  constructor(path: string, tellDropped: (lines: number) => string) {
    this.#path = path
    this.#tellDropped = tellDropped
    this.#fd = openSync(path, 'a', 0o640)
  }

  /** A disk that is full costs lines of log, and no jobs. */
  write(line: string): void {
    try {
      if (this.#dropped > 0) writeSync(this.#fd, this.#tellDropped(this.#dropped))
      this.#dropped = 0
      writeSync(this.#fd, line)
    } catch {
      this.#dropped++
    }
  }

  room(): null {
    return null
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
  readonly #tellDropped: (lines: number) => string
  #room: PromiseWithResolvers<void> | null = null
  #isStalled = false
  #stall: NodeJS.Timeout | undefined

  constructor(fd: number, tellDropped: (lines: number) => string) {
    this.#fd = fd
    this.#tellDropped = tellDropped
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

  room(): Promise<void> | null {
    if (this.#size < CROWDED_BYTES || this.#isStalled || this.#isBroken) return null
    this.#room ??= Promise.withResolvers()
    this.#stall ??= setTimeout(() => {
      this.#isStalled = true
      this.#makeRoom()
    }, STALL_MS).unref()
    return this.#room.promise
  }

  #makeRoom(): void {
    clearTimeout(this.#stall)
    this.#stall = undefined
    this.#room?.resolve()
    this.#room = null
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
    const dropped = this.#dropped === 0 ? '' : this.#tellDropped(this.#dropped)
    const text = this.#waiting.join('') + dropped
    this.#waiting = []
    this.#size = 0
    this.#dropped = 0
    this.#makeRoom()
    if (text !== '') {
      this.#writeAll(Buffer.from(text))
      return
    }
    this.#isWriting = false
    this.#onDrained?.()
  }

  #writeAll(bytes: Buffer, pauseMs = 1): void {
    write(this.#fd, bytes, 0, Math.min(bytes.length, WRITE_BYTES), null, (error, written) => {
      if (!error) {
        this.#isStalled = false
        this.#stall?.refresh()
      }
      if (error?.code === 'EAGAIN')
        setTimeout(() => this.#writeAll(bytes, Math.min(pauseMs * 2, 50)), pauseMs)
      else if (!error && written < bytes.length) this.#writeAll(bytes.subarray(written))
      else {
        if (error) this.#isBroken = true // its reader is gone: no one is left to tell
        this.#drain()
      }
    })
  }
}
