/**
 * A server that has gone silent: it was asked something, and nothing comes from it or goes to it any more. So looks a
 * network that drops packets, a machine that hangs, a line that stalls in the midst of an answer. TCP itself waits for a
 * quarter of an hour, or for ever. What is slow is not silent: as long as bytes move, the wait goes on.
 */
import type {Socket} from 'node:net'
import {UsageError} from '../../jobs/errors.ts'
import {urlsOf} from './host-list.ts'

/** In milliseconds. */
export interface Timeouts {
  /** For a new connection: to find the host, TLS, to prove who one is. */
  connect: number
  /** For an answer. */
  answer: number
  /** For the first word about what may be many rows: to count or to sort them is silent work. */
  read: number
}

/**
 * A lease still has 40 s when it is to be renewed: that is enough for a server that does not answer, a new connection,
 * and a second try. So no job is lost to who was silent for a while.
 */
const SECONDS = {connect: 10, answer: 15}
const LEFT_MS = 40_000
/** A read may take so many times as long. */
const READ_FACTOR = 4
const MOST_SECONDS = 86_400
/**
 * What was written may lie in a queue of the kernel's, or of a tunnel's, and leave it unseen for as long as a line of 64 kB/s
 * takes. What they don't hold waits in this process, and is seen to leave.
 */
const SLOWEST_BYTES_PER_MS = 64
const MOST_UNSEEN_BYTES = 16 << 20
/** For an index that is made of a table full of rows. */
export const BUILD_MS = MOST_SECONDS * 1000

/** As the URL says: `connect-timeout` and `answer-timeout`, in seconds; 0 is the default. @throws UsageError */
export function timeoutsOf(url: string): Timeouts {
  const {searchParams} = new URL(urlsOf(url)[0])
  const milliseconds = (kind: keyof typeof SECONDS) => {
    const name = `${kind}-timeout`
    const text = searchParams.get(name) ?? searchParams.get(name.replace('-', '_'))
    const seconds = text === null || text === '0' ? SECONDS[kind] : Number(text)
    if (seconds > 0 && seconds <= MOST_SECONDS) return seconds * 1000
    throw new UsageError(
      `${name}: expected at most ${MOST_SECONDS} seconds, or 0 for the default, got ${JSON.stringify(text)}`,
    )
  }
  const [connect, answer] = [milliseconds('connect'), milliseconds('answer')]
  return {connect, answer, read: answer * READ_FACTOR}
}

/** Of an address with several hosts. */
export function timeoutWarnings({connect, answer}: Timeouts): string[] {
  const longest = connect + 2 * answer
  if (longest <= LEFT_MS) return []
  return [
    `a host that hangs is left, and the next has answered, after up to ${longest / 1000} s, when leases may have ended and their jobs run twice: have connect-timeout and twice answer-timeout be ${LEFT_MS / 1000} s together at most`,
  ]
}

/** One connection's: it is broken if the server is silent for too long. */
export class Silence {
  readonly #socket: Socket
  #isAsked = false
  #writtenBefore = 0

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('timeout', () => {
      const {bytesRead} = socket
      const leaving = Math.min(socket.bytesWritten - this.#writtenBefore, MOST_UNSEEN_BYTES)
      const patience = Math.ceil(leaving / SLOWEST_BYTES_PER_MS)
      if (patience > socket.timeout!) {
        socket.setTimeout(patience)
        return
      }
      // Was it this process that slept? Then the answer is here, and is read before the next immediate
      setImmediate(() => {
        if (this.#isAsked && socket.bytesRead === bytesRead) this.#break()
      })
    })
  }

  /** It is asked something from now on. */
  begin(patienceMs: number): void {
    this.#isAsked = true
    this.#writtenBefore = this.#socket.bytesWritten
    this.#socket.setTimeout(patienceMs)
  }

  /** It has answered. */
  end(): void {
    this.#isAsked = false
    this.#socket.setTimeout(0)
  }

  #break(): void {
    const seconds = (this.#socket.timeout ?? 0) / 1000
    this.#socket.destroy(silent(`no answer for ${seconds} s`))
  }
}

/** The connection was given up here, since nothing was heard. */
export function silent(what: string): Error {
  return Object.assign(new Error(`ETIMEDOUT: ${what}`), {code: 'ETIMEDOUT'})
}

export function isSilent(error: unknown): boolean {
  return (error as {code?: unknown} | null)?.code === 'ETIMEDOUT'
}
