/**
 * Reads of a large database that may take long, such as counts or a search of a log: 50 to 300 ms where a million rows are
 * looked at. A thread with a connection of its own does them (thread.ts), so that an application's event loop
 * goes on. It takes 25 ms to start, and ends when it has not been asked for a second.
 */
import type {JobPlace} from '../shared/listing.ts'
import {STRETCH_ROWS} from '../shared/stretch.ts'
import type {ExceptionPage, JobPage} from '../store.ts'
import type {SqliteConnection} from './connection.ts'
import type {Read} from './reads.ts'
import {Thread} from './thread.ts'

/** All of them are looked at within a few milliseconds, whatever is asked. */
const FEW_ROWS = 20_000
/** A listing asks for its next stretch, a page for its next count. */
const STAY_MS = 1000

/** So many rows at most: ids grow, and as a rule rows go from the low end. */
const MOST_ROWS = `SELECT ${['job', 'job_status', 'exception_log']
  .map(table => `coalesce((SELECT max(id) FROM ${table}) - (SELECT min(id) FROM ${table}), 0)`)
  .join(' + ')}`

export class LongReads {
  readonly #link: SqliteConnection
  #thread: Thread | undefined
  #asked = 0
  #leaving: NodeJS.Timeout | undefined

  constructor(link: SqliteConnection) {
    this.#link = link
  }

  /** Is it one? Within a read of the link. */
  has(read: Read): boolean {
    return mayBeLong(read) && (this.#link.pluck(MOST_ROWS).get() as number) > FEW_ROWS
  }

  /** @throws what it throws, as it is */
  async do(read: Read): Promise<unknown> {
    clearTimeout(this.#leaving)
    if (this.#thread?.isOver) this.#thread = undefined
    this.#thread ??= new Thread({task: 'reads', address: this.#link.address})
    this.#asked++
    try {
      return withBuffers(await this.#thread.ask(read))
    } catch (error) {
      throw this.#link.explained(error)
    } finally {
      this.#asked--
      if (this.#asked === 0) this.#leaving = setTimeout(() => void this.end(), STAY_MS).unref()
    }
  }

  async end(): Promise<void> {
    clearTimeout(this.#leaving)
    const thread = this.#thread
    this.#thread = undefined
    await thread?.end()
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
