/**
 * This process's stdout and stderr, as a pool's child has them: what its socket has no room for waits in here, 300 short
 * lines suffice for that. A job's end is told when that is written, else the last lines would come after it.
 */
import {fstatSync} from 'node:fs'
import type {Stream} from './run-output.ts'

const DESCRIPTORS = {stdout: 1, stderr: 2} as const
const files: Partial<Record<Stream, string | null>> = {}
const opened = new Set<NodeJS.WriteStream>()

/**
 * From now on it is known which of them are in use: to make one takes a millisecond, and most jobs print nothing.
 * @param onOpen called with each of them before it is used for the first time from now on
 */
export function watchOutput(onOpen?: (stream: NodeJS.WriteStream, name: Stream) => void): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const {get} = Object.getOwnPropertyDescriptor(process, name)!
    let isNew = true
    const made = (): NodeJS.WriteStream => {
      const stream: NodeJS.WriteStream = get!.call(process)
      opened.add(stream)
      if (isNew) onOpen?.(stream, name)
      isNew = false
      return stream
    }
    Object.defineProperty(process, name, {get: made, configurable: true, enumerable: true})
  }
}

/** Null: all that was printed is written; else resolves when it is, or can't be. */
export function outputWritten(): Promise<unknown> | null {
  if (opened.size === 0) return null
  const waits = [...opened].filter(stream => stream.writableLength > 0 && stream.writable)
  if (waits.length === 0) return null
  return Promise.all(waits.map(stream => new Promise<void>(done => stream.write('', () => done()))))
}

/** Their descriptors are to stay what they are now: what its import has made of them is the worker's own matter. */
export function keepDescriptors(): void {
  for (const stream of ['stdout', 'stderr'] as const) files[stream] = fileAt(DESCRIPTORS[stream])
}

/** Whose descriptor was closed since, or is another file's: the next job's output would be lost. 5 µs for both. */
export function lostDescriptors(): Stream[] {
  return (['stdout', 'stderr'] as const).filter(stream => fileAt(DESCRIPTORS[stream]) !== files[stream])
}

function fileAt(fd: number): string | null {
  try {
    const {dev, ino} = fstatSync(fd)
    return `${dev} ${ino}`
  } catch {
    return null
  }
}
