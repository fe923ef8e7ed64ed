/**
 * A file's lines, one after the other, in flat memory and without waiting: a bulk enqueue reads them with the store's
 * lock held. Lines that are not UTF-8 come as their bytes.
 */
import {isUtf8} from 'node:buffer'
import {readSync} from 'node:fs'
import {ArgumentError} from '../../jobs/errors.ts'

/** Larger blocks are no faster, and make V8 keep a larger young generation: 204 MB at 1 MiB, 115 at 64 KiB. */
const BLOCK = 1 << 16
const NEWLINE = 10

/**
 * @param fd an open file, read from where it stands
 * @param limit the most bytes a line may have
 * @throws ArgumentError for a longer one; the system's errors
 */
export function* readLines(fd: number, limit: number): Generator<string | Buffer> {
  const block = Buffer.allocUnsafe(BLOCK)
  let kept: Buffer = Buffer.alloc(0)
  let number = 0
  for (;;) {
    const size = readSync(fd, block)
    if (size === 0) break
    const read = block.subarray(0, size)
    const end = read.lastIndexOf(NEWLINE)
    if (end < 0) {
      kept = Buffer.concat([kept, read])
      if (kept.length > limit)
        throw new ArgumentError(`line ${number + 1}: expected at most ${limit} bytes, got more`, {
          hint: 'store the data in a file or a table and enqueue its name',
        })
      continue
    }
    for (const line of split(Buffer.concat([kept, read.subarray(0, end)]))) {
      number++
      yield line
    }
    kept = Buffer.from(read.subarray(end + 1))
  }
  if (kept.length > 0) yield* split(kept)
}

function split(lines: Buffer): Iterable<string | Buffer> {
  return isUtf8(lines) ? lines.toString('utf8').split('\n') : splitBytes(lines)
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
