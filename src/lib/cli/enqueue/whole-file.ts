/**
 * The bytes of a file, or of standard input, up to a limit. There is nothing to do meanwhile, so they are waited for in
 * plain system calls: Node's streams take 8 ms to load.
 */
import {closeSync, openSync, readSync} from 'node:fs'
import {isShort, type JobqError, ProcessError, UsageError} from '../../jobs/errors.ts'

const BLOCK = 1 << 16
const STDIN = 0

/**
 * @param file a path, or - for standard input
 * @returns null for more than `limit` bytes: a pipe is not read to its end, which it may not have
 * @throws the system's errors
 */
export async function readWhole(file: string, limit: number): Promise<Buffer | null> {
  const fd = file === '-' ? STDIN : openSync(file, 'r')
  const blocks: Buffer[] = []
  let size = 0
  try {
    for await (const block of fd === STDIN ? standardInput() : blocksOf(fd)) {
      blocks.push(block)
      size += block.length
      if (size > limit) return null
    }
  } finally {
    if (fd !== STDIN) closeSync(fd)
  }
  return Buffer.concat(blocks)
}

/** What the system says of it, as an error. */
export function unreadable(file: string, cause: unknown): JobqError {
  const what = `can't read ${file === '-' ? 'standard input' : JSON.stringify(file)}`
  if (isShort(cause)) return new ProcessError(cause, what)
  return new UsageError(`${what} (${(cause as Error).message})`, {cause, hint: 'check the path'})
}

function* blocksOf(fd: number): Generator<Buffer> {
  const block = Buffer.allocUnsafe(BLOCK)
  for (let size = readSync(fd, block); size > 0; size = readSync(fd, block))
    yield Buffer.from(block.subarray(0, size))
}

async function* standardInput(): AsyncGenerator<Buffer> {
  try {
    yield* blocksOf(STDIN)
  } catch (error) {
    // Someone who shares it has made it one that refuses to wait: the stream can
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    yield* process.stdin
  }
}
