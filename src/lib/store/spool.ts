/**
 * Reads the source of an enqueueMany to its end before anything is stored: so a transaction is open no longer than it
 * must be, however slow the source is, and can start over. From some megabytes on the jobs are kept in a file without a
 * name.
 */
import {closeSync, read, write} from 'node:fs'
import {tmpdir} from 'node:os'
import {setImmediate as breathe} from 'node:timers/promises'
import {promisify} from 'node:util'
import {deserialize, serialize} from 'node:v8'
import {monotonic} from '../jobs/clock.ts'
import {isShort, type JobqError, ProcessError, StoreError} from '../jobs/errors.ts'
import type {NewJob} from '../jobs/job.ts'
import {openNameless} from '../jobs/nameless-file.ts'

/** A stretch is what is handled at once: so many jobs, or so many bytes of arguments. */
const STRETCH_JOBS = 1000
const STRETCH_BYTES = 1 << 20
/** What is kept in memory, in bytes of arguments; a job without one counts as some as well. */
const MEMORY_BYTES = 8 << 20
const JOB_BYTES = 200
/** How long the event loop is kept at a time. */
const SLICE_MS = 3

const readAt = promisify(read)
const writeAt = promisify(write)

export class Spool {
  #kept: NewJob[][] = []
  #bytes = 0
  #file: {reading: number; writing: number} | null = null
  readonly #places: {at: number; length: number}[] = []
  #end = 0

  /** @throws what the source throws, as it is; StoreError where there is no room for it */
  static async of(source: Iterable<NewJob> | AsyncIterable<NewJob>): Promise<Spool> {
    const spool = new Spool()
    try {
      for await (const stretch of stretches(source)) await spool.#add(stretch)
      return spool
    } catch (error) {
      spool.close()
      throw error
    }
  }

  /** In their order; as often as it is asked for. */
  async *stretches(): AsyncGenerator<NewJob[]> {
    for (const {at, length} of this.#places) {
      yield deserialize(await this.#read(at, length)) as NewJob[]
    }
    yield* this.#kept
  }

  close(): void {
    if (this.#file) for (const fd of [this.#file.reading, this.#file.writing]) closeSync(fd)
    this.#file = null
  }

  async #add(jobs: NewJob[]): Promise<void> {
    this.#kept.push(jobs)
    for (const {arg} of jobs) this.#bytes += JOB_BYTES + (arg?.length ?? 0)
    if (this.#bytes < MEMORY_BYTES) return
    const stretches = this.#kept
    this.#kept = []
    this.#bytes = 0
    try {
      this.#file ??= openNameless(tmpdir())
      for (const stretch of stretches) await this.#write(serialize(stretch))
    } catch (cause) {
      throw noRoom(cause)
    }
  }

  async #read(at: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length)
    for (let done = 0; done < length; ) {
      const {bytesRead} = await readAt(this.#file!.reading, bytes, done, length - done, at + done)
      if (bytesRead === 0)
        throw new StoreError('DAMAGED', `the file of jobs in ${tmpdir()} has been cut short`)
      done += bytesRead
    }
    return bytes
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const left = bytes.length - done
      done += (await writeAt(this.#file!.writing, bytes, done, left, this.#end + done)).bytesWritten
    }
    this.#places.push({at: this.#end, length: bytes.length})
    this.#end += bytes.length
  }
}

function noRoom(cause: unknown): JobqError {
  if (isShort(cause)) return new ProcessError(cause, "can't keep the jobs until all are read")
  const {code, message} = cause as NodeJS.ErrnoException
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return new StoreError(
    'FULL',
    `${isFull ? 'no room' : 'no file can be made'} in ${tmpdir()} to keep the jobs until all are read (${message})`,
    {hint: 'set TMPDIR to a folder with more room; nothing was stored', cause},
  )
}

/** A source as it is read; the event loop is kept for SLICE_MS at a time. */
export async function* stretches(source: Iterable<NewJob> | AsyncIterable<NewJob>): AsyncGenerator<NewJob[]> {
  let stretch: NewJob[] = []
  let bytes = 0
  let sliceEnd = monotonic() + SLICE_MS
  const add = (job: NewJob) => {
    stretch.push(job)
    bytes += job.arg?.length ?? 0
  }
  const isFull = () => stretch.length >= STRETCH_JOBS || bytes >= STRETCH_BYTES
  const cut = () => {
    const full = stretch
    ;[stretch, bytes] = [[], 0]
    return full
  }
  const rest = async () => {
    await breathe()
    sliceEnd = monotonic() + SLICE_MS
  }
  // `for await` would do for both, but takes a promise for each job
  if (Symbol.asyncIterator in source) {
    for await (const job of source) {
      add(job)
      if (isFull()) yield cut()
      if (monotonic() > sliceEnd) await rest()
    }
  } else {
    for (const job of source) {
      add(job)
      if (isFull()) yield cut()
      if (monotonic() > sliceEnd) await rest()
    }
  }
  if (stretch.length > 0) yield stretch
}
