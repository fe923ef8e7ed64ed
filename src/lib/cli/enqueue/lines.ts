/**
 * The lines of a file, one after the other, in flat memory; those that are not UTF-8 come as their bytes. A disk is
 * read without waiting; a pipe, a terminal or a socket gives lines when it has them, and the store collects them first
 * (spool.ts), so that a slow writer holds no lock.
 */
import {isUtf8} from 'node:buffer'
import {closeSync, createReadStream, fstatSync, openSync, readSync, type Stats} from 'node:fs'
import {Socket} from 'node:net'
import type {Readable} from 'node:stream'
import {unreadable} from './whole-file.ts'

/** Larger blocks are no faster, and make V8 keep a larger young generation: 204 MB at 1 MiB, 115 at 64 KiB. */
const BLOCK = 1 << 16
const NEWLINE = 10

/** A line, or null: it is longer than the limit, and none of it is kept. */
export type Line = string | Buffer | null

/** To be read once, in one of the two ways. Both throw UsageError if it can't be read. */
export interface Lines extends Disposable {
  /** Each line as `toLine` makes it. @throws what toLine throws */
  map<To>(toLine: (line: Line) => To): Iterable<To> | AsyncIterable<To>
  /** Those that are there at once, together. */
  together(): Iterable<Iterable<Line>> | AsyncIterable<Iterable<Line>>
}

/**
 * @param file a path, or - for standard input
 * @param limit the most bytes a line may have
 * @throws UsageError if it can't be read
 */
export function openLines(file: string, limit: number): Lines {
  const split = splitter(limit)
  try {
    const fd = file === '-' ? process.stdin.fd : openSync(file, 'r')
    const stat = fstatSync(fd)
    if (stat.isDirectory()) throw new Error('it is a folder')
    if (!stat.isFile()) {
      const blocks = file === '-' ? process.stdin : streamOf(fd, stat)
      return {
        map: toLine => eachLater(linesLater(blocks, split, file), toLine),
        together: () => linesLater(blocks, split, file),
        [Symbol.dispose]: () => blocks.destroy(),
      }
    }
    return {
      map: toLine => eachNow(linesNow(fd, split, file), toLine),
      together: () => linesNow(fd, split, file),
      [Symbol.dispose]: () => file === '-' || closeSync(fd),
    }
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

/** A file's stream reads a pipe on a thread, where nothing can take it back: jobq would end only with who writes there. */
function streamOf(fd: number, stat: Stats): Readable {
  return stat.isFIFO() ? new Socket({fd, readable: true, writable: false}) : createReadStream('', {fd})
}

function* linesNow(fd: number, split: Splitter, file: string): Generator<Iterable<Line>> {
  const block = Buffer.allocUnsafe(BLOCK)
  for (let size = -1; size !== 0; ) {
    try {
      size = readSync(fd, block)
    } catch (cause) {
      throw unreadable(file, cause)
    }
    yield split(block.subarray(0, size))
  }
}

async function* linesLater(
  blocks: AsyncIterable<Buffer>,
  split: Splitter,
  file: string,
): AsyncGenerator<Iterable<Line>> {
  try {
    for await (const block of blocks) yield split(block)
  } catch (error) {
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : unreadable(file, error)
  }
  yield split(Buffer.alloc(0))
}

function* eachNow<To>(blocks: Iterable<Iterable<Line>>, toLine: (line: Line) => To): Generator<To> {
  for (const lines of blocks) for (const line of lines) yield toLine(line)
}

async function* eachLater<To>(
  blocks: AsyncIterable<Iterable<Line>>,
  toLine: (line: Line) => To,
): AsyncGenerator<To> {
  for await (const lines of blocks) for (const line of lines) yield toLine(line)
}

/** The lines that a block ends; an empty block is the end of all. */
type Splitter = (block: Buffer) => Iterable<Line>

function splitter(limit: number): Splitter {
  /** Of a line whose end is still to come. */
  let kept: Buffer[] = []
  let size = 0
  let isPassingOver = false
  const keep = (part: Buffer) => {
    kept.push(Buffer.from(part)) // a file's next block is read into the same memory
    size += part.length
  }
  const take = () => {
    const whole = Buffer.concat(kept)
    kept = []
    size = 0
    return whole
  }
  return function* (block) {
    let rest = block
    if (isPassingOver) {
      const end = block.indexOf(NEWLINE)
      if (end < 0) return
      isPassingOver = false
      rest = block.subarray(end + 1)
      if (rest.length === 0) return
    }
    const end = rest.lastIndexOf(NEWLINE)
    if (end >= 0) {
      keep(rest.subarray(0, end))
      const whole = take()
      if (end + 1 < rest.length) keep(rest.subarray(end + 1))
      yield* linesOf(whole)
    } else if (rest.length > 0) {
      keep(rest)
      if (size <= limit) return
      kept = []
      size = 0
      isPassingOver = true
      yield null
    } else if (size > 0) yield* linesOf(take())
  }
}

function linesOf(bytes: Buffer): Iterable<string | Buffer> {
  return isUtf8(bytes) ? bytes.toString('utf8').split('\n') : splitBytes(bytes)
}

function* splitBytes(lines: Buffer): Generator<string | Buffer> {
  for (let start = 0; start <= lines.length; ) {
    const found = lines.indexOf(NEWLINE, start)
    const end = found < 0 ? lines.length : found
    const line = lines.subarray(start, end)
    yield isUtf8(line) ? line.toString('utf8') : Buffer.from(line)
    start = end + 1
  }
}
