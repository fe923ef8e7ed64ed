/**
 * Where the log's lines go: a terminal, a pipe or file that stdout or stderr is, or a file of its own. A pipe whose
 * reader is slow must not stop the dispatcher, which has leases to keep: lines wait here.
 */
import {closeSync, openSync, write, writeSync} from 'node:fs'

/**
 * From so many bytes that wait, jobs that print are made to wait as well; not so when the reader has stalled
 * altogether.
 */
const CROWDED_BYTES = 4 << 20
/** What comes beyond so many is dropped and counted. */
const MAX_WAITING = 8 << 20
/**
 * Between two writes, unless as much as one of them takes is waiting. One write for each of 10,000 lines a second would
 * take a seventh of the dispatcher's time.
 */
const PAUSE_MS = 20
/** In one write: each that ends shows that the reader reads. */
const WRITE_BYTES = 64 << 10
const STALL_MS = 1000
const NEWLINE = 10
/** A file may have some again. */
const HAS_NO_ROOM: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT'])
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
  /** What could not be written, and has not been told in its place yet; null also where the reader has gone. */
  readonly lost: Lost | null
}

export interface Lost {
  lines: number
  error: Error
}

/**
 * @param fd 1 or 2
 * @param tellDropped what the log says in the place of so many lines
 */
export function streamSink(fd: 1 | 2, tellDropped: (lines: number) => string): Sink {
  const stream = fd === 1 ? process.stdout : process.stderr
  if (!stream.isTTY) return new PipeSink(fd, tellDropped)
  return {
    write: line => stream.write(line),
    room: () => null,
    reopen: () => {},
    flush: async () => {},
    lost: null,
  }
}

export class FileSink implements Sink {
  readonly #path: string
  readonly #lost: LostLines
  readonly #pace = new Pace(done => {
    this.#writeWaiting()
    done()
  })
  #fd: number
  #waiting: string[] = []
  #size = 0

  /** @throws the system's errors */
  constructor(path: string, tellDropped: (lines: number) => string) {
    this.#path = path
    this.#lost = new LostLines(tellDropped)
    this.#fd = openSync(path, 'a', 0o640)
    process.on('exit', () => this.#writeWaiting()) // of a process that crashes
  }

  write(line: string): void {
    this.#waiting.push(line)
    this.#size += line.length
    this.#pace.ask(this.#size > WRITE_BYTES)
  }

  room(): null {
    return null
  }

  reopen(): void {
    this.#writeWaiting()
    const old = this.#fd
    this.#fd = openSync(this.#path, 'a', 0o640)
    closeSync(old)
  }

  async flush(): Promise<void> {
    this.#writeWaiting()
  }

  get lost(): Lost | null {
    return this.#lost.now
  }

  /** A disk that is full costs lines of log, and no jobs. */
  #writeWaiting(): void {
    if (this.#waiting.length === 0 && !this.#lost.isAny) return
    const {bytes, head} = this.#lost.before(this.#waiting.join(''))
    this.#waiting = []
    this.#size = 0
    let at = 0
    let failure: NodeJS.ErrnoException | null = null
    try {
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      failure = error as NodeJS.ErrnoException
    }
    this.#lost.count(bytes, head, at, failure)
  }
}

/**
 * The lines that a full disk had no room for: they are told as soon as there is some. Of the one that it had no more room
 * for the beginning stays, on a line of its own.
 */
class LostLines {
  readonly #tell: (lines: number) => string
  #lines = 0
  #error: NodeJS.ErrnoException | null = null
  #isTorn = false

  constructor(tell: (lines: number) => string) {
    this.#tell = tell
  }

  get isAny(): boolean {
    return this.#lines > 0
  }

  /** Who reads no more has lost nothing. */
  get now(): Lost | null {
    const [lines, error] = [this.#lines, this.#error]
    return lines === 0 || error === null || error.code === 'EPIPE' ? null : {lines, error}
  }

  /** @returns the text with what is to be said first; `head` is where that ends */
  before(text: string): {bytes: Buffer; head: number} {
    const first = (this.#isTorn ? '\n' : '') + (this.#lines === 0 ? '' : this.#tell(this.#lines))
    return {bytes: Buffer.from(first + text), head: Buffer.byteLength(first)}
  }

  /** @param at how many bytes were written; `error`: why no more */
  count(bytes: Buffer, head: number, at: number, error: NodeJS.ErrnoException | null): void {
    this.#error = error
    const isToldOf = at >= head
    if (at > 0) this.#isTorn = bytes[at - 1] !== NEWLINE
    const rest = bytes.subarray(isToldOf ? at : head)
    this.#lines =
      (isToldOf ? 0 : this.#lines) + rest.reduce((lines, byte) => lines + Number(byte === NEWLINE), 0)
  }
}

class PipeSink implements Sink {
  readonly #fd: number
  readonly #pace = new Pace(done => this.#drain(done))
  #waiting: string[] = []
  #size = 0
  #dropped = 0
  #isWriting = false
  #isBroken = false
  #onDrained: (() => void) | null = null
  readonly #tellDropped: (lines: number) => string
  readonly #lost: LostLines
  #room: PromiseWithResolvers<void> | null = null
  #isStalled = false
  #stall: NodeJS.Timeout | undefined

  constructor(fd: number, tellDropped: (lines: number) => string) {
    this.#fd = fd
    this.#tellDropped = tellDropped
    this.#lost = new LostLines(tellDropped)
    process.on('exit', () => this.#writeRest())
  }

  write(line: string): void {
    if (this.#isBroken) return
    if (this.#size > MAX_WAITING) {
      this.#dropped++
      return
    }
    this.#waiting.push(line)
    this.#size += line.length
    this.#pace.ask(this.#size > WRITE_BYTES)
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
    if (this.#isBroken || (!this.#isWriting && this.#isEmpty && !this.#lost.isAny)) return
    await new Promise<void>(resolve => {
      this.#onDrained = resolve
      this.#pace.ask(true)
      setTimeout(resolve, FLUSH_MS).unref()
    })
  }

  get lost(): Lost | null {
    return this.#lost.now
  }

  get #isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#dropped === 0
  }

  /** One write at a time, in the thread pool: order is kept, and the event loop never waits. */
  #drain(done: () => void): void {
    const text = this.#take()
    this.#makeRoom()
    this.#isWriting = true
    const end = () => {
      this.#isWriting = false
      if (this.#isEmpty) this.#onDrained?.()
      done()
    }
    const {bytes, head} = this.#lost.before(text)
    if (bytes.length === 0) {
      end()
      return
    }
    this.#writeAll(bytes, 0, (at, error) => {
      this.#lost.count(bytes, head, at, error)
      end()
    })
  }

  /** What waits, in one piece. */
  #take(): string {
    const dropped = this.#dropped === 0 ? '' : this.#tellDropped(this.#dropped)
    const text = this.#waiting.join('') + dropped
    this.#waiting = []
    this.#size = 0
    this.#dropped = 0
    return text
  }

  /** @param done told how many bytes were written, and why no more */
  #writeAll(
    bytes: Buffer,
    at: number,
    done: (at: number, error: NodeJS.ErrnoException | null) => void,
    pauseMs = 1,
  ): void {
    write(this.#fd, bytes, at, Math.min(bytes.length - at, WRITE_BYTES), null, (error, written) => {
      if (!error) {
        this.#isStalled = false
        this.#stall?.refresh()
      }
      if (error?.code === 'EAGAIN')
        setTimeout(() => this.#writeAll(bytes, at, done, Math.min(pauseMs * 2, 50)), pauseMs)
      else if (!error && at + written < bytes.length) this.#writeAll(bytes, at + written, done)
      else {
        if (error && !HAS_NO_ROOM.has(error.code)) this.#isBroken = true // its reader is gone: no one is left to tell
        done(error ? at : bytes.length, error)
      }
    })
  }

  /** Of a process that crashes. What is in the thread pool can't be waited for any more. */
  #writeRest(): void {
    if (this.#isWriting || this.#isBroken || this.#isEmpty) return
    try {
      writeWhole(this.#fd, this.#lost.before(this.#take()).bytes)
    } catch {} // a pipe that is full, or has no reader
  }
}

/** When to write: at the end of this round of the event loop, then PAUSE_MS after each write that has ended. */
class Pace {
  readonly #write: (done: () => void) => void
  #state: 'idle' | 'due' | 'writing' | 'pausing' = 'idle'
  #isAsked = false
  #isUrgent = false
  #pause: NodeJS.Timeout | undefined

  /** @param write never called again before it has called back */
  constructor(write: (done: () => void) => void) {
    this.#write = write
  }

  /** There is something to write; if it is urgent, without a pause. */
  ask(isUrgent: boolean): void {
    if (this.#state === 'idle') {
      this.#state = 'due'
      setImmediate(() => this.#go())
      return
    }
    this.#isAsked = true
    if (!isUrgent) return
    this.#isUrgent = true
    if (this.#state === 'pausing') this.#go()
  }

  #go(): void {
    clearTimeout(this.#pause)
    this.#state = 'writing'
    this.#isAsked = false
    this.#isUrgent = false
    this.#write(() => {
      this.#state = 'pausing'
      if (this.#isUrgent) this.#go()
      else this.#pause = setTimeout(() => this.#rest(), PAUSE_MS).unref() // a process that ends writes the rest
    })
  }

  #rest(): void {
    if (this.#isAsked) this.#go()
    else this.#state = 'idle'
  }
}

/** A short write is gone on with. @throws the system's errors */
function writeWhole(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}
