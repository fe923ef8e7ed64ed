/**
 * The lines of a file, one after the other, in flat memory; those that are not UTF-8 come as their bytes. A disk is
 * read without waiting; a pipe, a terminal or a socket gives lines when it has them, and the store collects them first
 * (spool.ts), so that a slow writer holds no lock.
 */
import {isUtf8} from 'node:buffer'
import {closeSync, createReadStream, fstatSync, openSync, readSync, type Stats} from 'node:fs'
import {Socket} from 'node:net'
import type {Readable} from 'node:stream'
import {ArgumentError} from '../../jobs/errors.ts'
import {unreadable} from './whole-file.ts'

/** Larger blocks are no faster, and make V8 keep a larger young generation: 204 MB at 1 MiB, 115 at 64 KiB. */
const BLOCK = 1 << 16
const NEWLINE = 10

export interface Lines extends Disposable {
  /** Each line as `toLine` makes it, to be read once. @throws UsageError if it can't be read; what toLine throws */
  map<To>(toLine: (line: string | Buffer) => To): Iterable<To> | AsyncIterable<To>
}

/**
 * @param file a path, or - for standard input
 * @param limit the most bytes a line may have
 * @throws UsageError if it can't be read; while it is read ArgumentError for a longer line
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
        map: toLine => linesLater(blocks, split, toLine, file),
        [Symbol.dispose]: () => blocks.destroy(),
      }
    }
    return {
      map: toLine => linesNow(fd, split, toLine, file),
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

function* linesNow<To>(
  fd: number,
  split: Splitter,
  toLine: (line: string | Buffer) => To,
  file: string,
): Generator<To> {
  const block = Buffer.allocUnsafe(BLOCK)
  for (let size = -1; size !== 0; ) {
    try {
      size = readSync(fd, block)
    } catch (cause) {
      throw unreadable(file, cause)
    }
    for (const line of split(block.subarray(0, size))) yield toLine(line)
  }
}

async function* linesLater<To>(
  blocks: AsyncIterable<Buffer>,
  split: Splitter,
  toLine: (line: string | Buffer) => To,
  file: string,
): AsyncGenerator<To> {
  try {
    for await (const block of blocks) for (const line of split(block)) yield toLine(line)
  } catch (error) {
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : unreadable(file, error)
  }
  for (const line of split(Buffer.alloc(0))) yield toLine(line)
}

/** The lines that a block ends; an empty block is the end of all. */
type Splitter = (block: Buffer) => Iterable<string | Buffer>

function splitter(limit: number): Splitter {
  let kept: Buffer = Buffer.alloc(0)
  let number = 0
  return function* (block) {
    const end = block.lastIndexOf(NEWLINE)
    if (block.length > 0 && end < 0) {
      kept = Buffer.concat([kept, block])
      if (kept.length <= limit) return
      throw new ArgumentError(`line ${number + 1}: expected at most ${limit} bytes, got more`, {
        hint: 'store the data in a file or a table and enqueue its name',
      })
    }
    const whole = end < 0 ? kept : Buffer.concat([kept, block.subarray(0, end)])
    if (end < 0 && kept.length === 0) return
    kept = Buffer.from(block.subarray(end + 1))
    for (const line of linesOf(whole)) {
      number++
      yield line
    }
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
