/**
 * In a pool's child that has several jobs at once: whose code it is that runs, by Node's AsyncLocalStorage, and so whose
 * output and whose stray exception. It is a file of its own, so that a child that has one job at a time loads nothing of it.
 */
import {AsyncLocalStorage} from 'node:async_hooks'
import type {Stream} from './run-output.ts'

/** A message holds no more; so that one job's does not keep the others waiting for long. */
const PIECE_BYTES = 64 << 10

/** The number of the run. */
const storage = new AsyncLocalStorage<number>()

/** What runs from here on, however late, is of that run. */
export function within<T>(run: number, work: () => T): T {
  return storage.run(run, work)
}

/** undefined: nobody knows. */
export function currentRun(): number | undefined {
  return storage.getStore()
}

/** The line on which it is told. */
export interface Teller {
  /** @param onTold called when it is on its way */
  tell(run: number, stream: Stream, bytes: Buffer, onTold?: () => void): void
  /** Has the line room for more? */
  readonly hasRoom: boolean
  /** Calls back once, when it has. */
  onRoom(call: () => void): void
}

/**
 * @returns from when a stream is given to it, what jobs write there, by `console` as well, is told as theirs instead. All
 * else is written as before.
 */
export function tellingOutput(teller: Teller): (stream: NodeJS.WriteStream, name: Stream) => void {
  return (stream, name) => {
    bindDrains(stream)
    const write = stream.write.bind(stream) as typeof stream.write
    let isFull = false
    stream.write = (chunk: unknown, ...rest: unknown[]): boolean => {
      const run = currentRun()
      const [encoding, callback] = typeof rest[0] === 'function' ? [undefined, rest[0]] : rest
      if (run === undefined || !(typeof chunk === 'string' || chunk instanceof Uint8Array))
        return write(chunk as string, encoding as BufferEncoding, callback as () => void)
      const bytes =
        typeof chunk === 'string'
          ? Buffer.from(chunk, encoding as BufferEncoding)
          : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      for (let from = 0; from < bytes.length || from === 0; from += PIECE_BYTES) {
        const to = from + PIECE_BYTES
        const isLast = to >= bytes.length
        teller.tell(run, name, bytes.subarray(from, to), isLast ? (callback as () => void) : undefined)
      }
      if (teller.hasRoom) return true
      // Who pipes something there waits for it
      if (!isFull)
        teller.onRoom(() => {
          isFull = false
          stream.emit('drain')
        })
      isFull = true
      return false
    }
  }
}

type On = (event: string, listener: (...args: unknown[]) => void) => NodeJS.WriteStream

/** It is emitted for all who wait at once: each goes on as the job that it is. */
function bindDrains(stream: NodeJS.WriteStream): void {
  const on = stream.on.bind(stream) as On
  const bound: On = (event, listener) => {
    if (event !== 'drain') return on(event, listener)
    return on(event, Object.assign(AsyncLocalStorage.bind(listener), {listener})) // off() looks for it there
  }
  stream.on = bound as typeof stream.on
  stream.addListener = stream.on
}
