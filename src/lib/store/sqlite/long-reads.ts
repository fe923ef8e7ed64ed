/**
 * Reads of a large database that may take long, such as counts or a search of a log: 50 to 300 ms where a million rows are
 * looked at. A thread with a connection of its own does them (long-reads-thread.ts), so that an application's
 * event loop goes on. It takes 25 ms to start, and ends when it has not been asked for a second.
 */
import {Worker} from 'node:worker_threads'
import {EXTENSION, LIBRARY} from '../../own-modules.ts'
import type {JobPlace} from '../shared/listing.ts'
import {STRETCH_ROWS} from '../shared/stretch.ts'
import type {ExceptionPage, JobPage} from '../store.ts'
import type {SqliteLink} from './connection.ts'
import type {Answer} from './long-reads-thread.ts'
import type {Read} from './reads.ts'
import {errorOf} from './thread-errors.ts'

const THREAD = new URL(`store/sqlite/long-reads-thread${EXTENSION}`, LIBRARY)
/** All of them are looked at within a few milliseconds, whatever is asked. */
const FEW_ROWS = 20_000
/** A listing asks for its next stretch, a page for its next count. */
const STAY_MS = 1000

/** So many rows at most: ids grow, and as a rule rows go from the low end. */
const MOST_ROWS = `SELECT ${['job', 'job_status', 'exception_log']
  .map(table => `coalesce((SELECT max(id) FROM ${table}) - (SELECT min(id) FROM ${table}), 0)`)
  .join(' + ')}`

export class LongReads {
  readonly #link: SqliteLink
  #thread: ReadsThread | undefined
  #ended: Promise<void> | undefined

  constructor(link: SqliteLink) {
    this.#link = link
  }

  /** Is it one? Within a read of the link. */
  has(read: Read): boolean {
    return mayBeLong(read) && (this.#link.pluck(MOST_ROWS).get() as number) > FEW_ROWS
  }

  /** @throws what it throws, as it is */
  do(read: Read): Promise<unknown> {
    this.#thread ??= new ReadsThread(this.#link, () => void this.end())
    return this.#thread.do(read)
  }

  async end(): Promise<void> {
    this.#ended = this.#thread?.end() ?? this.#ended
    this.#thread = undefined
    await this.#ended
  }
}

/** May it look at more rows than a stretch of a listing has? Jobs are found by an index, whichever are asked for. */
function mayBeLong({what, args}: Read): boolean {
  if (what === 'counts' || what === 'times' || what === 'attempts') return true
  const [page, place] = args as [JobPage & ExceptionPage, (Partial<JobPlace> | null)?]
  const isStretch = what === 'jobs' || what === 'exceptionLog' || what === 'statusLog'
  const passed = place ? (place.skip ?? 0) : page.offset
  if (passed + (isStretch ? 0 : page.limit) > STRETCH_ROWS) return true
  const isOfJobs = what === 'jobs' || what === 'list'
  return !isOfJobs && isSearch(page)
}

function isSearch({func, uniqkey, unretried, since}: ExceptionPage): boolean {
  return func !== undefined || uniqkey !== undefined || unretried === true || since !== undefined
}

/** Rows as the connection gives them: a Buffer comes out of a thread as a Uint8Array. */
function withBuffers<Found>(found: Found): Found {
  const {rows = found} = found as {rows?: unknown}
  for (const row of rows as {arg?: Uint8Array | null}[])
    if (row.arg) row.arg = Buffer.from(row.arg.buffer, row.arg.byteOffset, row.arg.byteLength)
  return found
}

interface Asked {
  resolve: (found: unknown) => void
  reject: (error: unknown) => void
}

class ReadsThread {
  readonly #link: SqliteLink
  readonly #worker: Worker
  readonly #exited = Promise.withResolvers<void>()
  /** In the order in which they are answered. */
  readonly #asked: Asked[] = []
  #leaving: NodeJS.Timeout | undefined

  /** @param onIdle called when it has not been asked for a while, and when it has ended by itself */
  constructor(link: SqliteLink, onIdle: () => void) {
    this.#link = link
    this.#worker = new Worker(THREAD, {workerData: link.address, execArgv: []})
    let failure: unknown = new Error('the thread that reads has ended')
    this.#worker.on('message', (answer: Answer) => {
      const asked = this.#asked.shift()!
      if ('found' in answer) asked.resolve(withBuffers(answer.found))
      else asked.reject(this.#link.explained(errorOf(answer.failed)))
      if (this.#asked.length > 0) return
      this.#worker.unref() // nobody waits for it
      this.#leaving = setTimeout(onIdle, STAY_MS).unref()
    })
    this.#worker.once('error', error => {
      failure = error
    })
    this.#worker.once('exit', () => {
      onIdle()
      for (const {reject} of this.#asked) reject(failure)
      this.#exited.resolve()
    })
  }

  do(read: Read): Promise<unknown> {
    clearTimeout(this.#leaving)
    this.#worker.ref()
    return new Promise((resolve, reject) => {
      this.#asked.push({resolve, reject})
      this.#worker.postMessage(read)
    })
  }

  /** After all that was asked. */
  end(): Promise<void> {
    clearTimeout(this.#leaving)
    this.#worker.ref()
    this.#worker.postMessage('end')
    return this.#exited.promise
  }
}
