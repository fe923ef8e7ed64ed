/**
 * Where a bulk enqueue's lines come from: a file that can be read without waiting. A pipe, a terminal or a socket is
 * spooled to a temporary file first, so that a slow writer does not hold the store's lock.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {StoreError, UsageError} from '../../jobs/errors.ts'

/** @param file a path, or - for standard input. @throws UsageError if it can't be read */
export async function openLines(file: string): Promise<{fd: number} & Disposable> {
  const isStdin = file === '-'
  try {
    const fd = isStdin ? process.stdin.fd : openSync(file, 'r')
    const close = () => isStdin || closeSync(fd)
    const stat = fstatSync(fd)
    if (stat.isDirectory()) throw new Error('it is a folder')
    if (stat.isFile()) return {fd, [Symbol.dispose]: close}
    const spooled = await spool(isStdin ? process.stdin : createReadStream('', {fd}))
    return {fd: spooled, [Symbol.dispose]: () => closeSync(spooled)}
  } catch (cause) {
    throw cause instanceof StoreError ? cause : unreadable(file, cause)
  }
}

export function unreadable(file: string, cause: unknown): UsageError {
  const name = file === '-' ? 'standard input' : JSON.stringify(file)
  return new UsageError(`can't read ${name} (${(cause as Error).message})`, {cause, hint: 'check the path'})
}

/**
 * Keeps what is read in a temporary file, open for reading from its start, without a name: whatever ends the process,
 * nothing stays behind.
 */
export async function spool(input: NodeJS.ReadableStream): Promise<number> {
  const {fd, output} = nameless()
  try {
    await pipeline(input, output)
    return fd
  } catch (cause) {
    closeSync(fd)
    throw (cause as NodeJS.ErrnoException).code === 'ENOSPC' ? noRoom(cause) : cause
  }
}

function nameless(): {fd: number; output: NodeJS.WritableStream} {
  let folder: string | undefined
  try {
    folder = mkdtempSync(join(tmpdir(), 'jobq-lines-'))
    const path = join(folder, 'lines')
    const output = createWriteStream(path, {fd: openSync(path, 'wx', 0o600)})
    return {fd: openSync(path, 'r'), output}
  } catch (cause) {
    throw noRoom(cause)
  } finally {
    if (folder !== undefined) rmSync(folder, {recursive: true})
  }
}

function noRoom(cause: unknown): StoreError {
  return new StoreError('FULL', `no room in ${tmpdir()} to keep the lines (${(cause as Error).message})`, {
    hint: 'give them as a file, or set TMPDIR to a folder with more room',
    cause,
  })
}
