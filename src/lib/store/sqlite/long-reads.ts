/**
 * Reads of a large database that may take long, such as counts or a search of a log: 50 to 300 ms where a million rows are
 * looked at. Threads with connections of their own do them (thread.ts), so that an application's event loop
 * goes on. One takes 25 ms to start, and ends when it has not been asked for ten.
 */
import type {JobPlace} from '../shared/reads/listing.ts'
import {STRETCH_ROWS} from '../shared/reads/stretch.ts'
import type {ExceptionPage, IdChoice, JobPage} from '../store.ts'
import type {SqliteConnection} from './connection.ts'
import type {Read} from './reads.ts'
import {Thread} from './thread.ts'

/** All of them are looked at within a few milliseconds, whatever is asked. */
const FEW_ROWS = 20_000
/** A listing asks for its next stretch, a page for its next count, a person for the next page. */
const STAY_MS = 10_000

/** So many rows at most: ids grow, and as a rule rows go from the low end. */
const MOST_ROWS = `SELECT ${['job', 'job_status', 'exception_log']
  .map(table => `coalesce((SELECT max(id) FROM ${table}) - (SELECT min(id) FROM ${table}), 0)`)
  .join(' + ')}`

export class LongReads {
  readonly #link: SqliteConnection
  /** A listing does not wait behind a count of all there is. */
  readonly #counts: Reader
  readonly #rows: Reader

  constructor(link: SqliteConnection) {
    this.#link = link
    this.#counts = new Reader(link)
    this.#rows = new Reader(link)
  }

  /** Is it one? Within a read of the link. */
  has(read: Read): boolean {
    return mayBeLong(read) && (this.#link.pluck(MOST_ROWS).get() as number) > FEW_ROWS
  }

  /** @throws what it throws, as it is */
  do(read: Read): Promise<unknown> {
    return (isOfAll(read) ? this.#counts : this.#rows).do(read)
  }

  async end(): Promise<void> {
    await Promise.all([this.#counts.end(), this.#rows.end()])
  }
}

/** One read after the other, in a thread. */
class Reader {
  readonly #link: SqliteConnection
  #thread: Thread | undefined
  #asked = 0
  #leaving: NodeJS.Timeout | undefined

  constructor(link: SqliteConnection) {
    this.#link = link
  }

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

function isOfAll({what}: Read): boolean {
  return what === 'counts' || what === 'times' || what === 'attempts'
}

/** May it look at more rows than a stretch of a listing has? Jobs are found by an index, whichever are asked for. */
function mayBeLong({what, args}: Read): boolean {
  if (isOfAll({what, args})) return true
  if (what === 'jobIds') return isSearch(args[0] as IdChoice)
  const [page, place] = args as [JobPage & ExceptionPage, (Partial<JobPlace> | null)?]
  const isStretch = what === 'jobs' || what === 'exceptionLog' || what === 'statusLog'
  const passed = place ? (place.skip ?? 0) : page.offset
  if (passed + (isStretch ? 0 : page.limit) > STRETCH_ROWS) return true
  if (hasTags(page)) return true
  const isOfJobs = what === 'jobs' || what === 'list'
  return !isOfJobs && isSearch(page)
}

function isSearch(page: Partial<ExceptionPage>): boolean {
  const {func, uniqkey, unretried, since} = page
  const isAny = func !== undefined || uniqkey !== undefined || unretried === true || since !== undefined
  return isAny || hasTags(page)
}

function hasTags({tags = []}: IdChoice): boolean {
  return tags.length > 0
}

/** Rows as the connection gives them: a Buffer comes out of a thread as a Uint8Array. */
function withBuffers<Found>(found: Found): Found {
  const {rows = found} = found as {rows?: unknown}
  for (const row of rows as {arg?: Uint8Array | null}[])
    if (row.arg) row.arg = Buffer.from(row.arg.buffer, row.arg.byteOffset, row.arg.byteLength)
  return found
}
