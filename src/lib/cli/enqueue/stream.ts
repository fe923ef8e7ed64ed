/**
 * `enqueue --each`: every line is an enqueue by itself, and is answered as soon as it is on disk, in the order of the lines.
 * Lines that are there together are asked for in one breath, so that the store lets them share a commit. Of what was read,
 * only so much is under way at once: who does not read the answers is not read from either.
 */
import {EXIT, JobqError, NotFoundError, UsageError} from '../../jobs/errors.ts'
import type {After, NewJob, RowRef} from '../../jobs/job.ts'
import {toJson} from '../../render/json.ts'
import {factsOf, lineOf} from '../errors.ts'
import {nextTurn, sayAtPace} from '../output.ts'
import {complain, noteDone} from '../output-guard.ts'
import {Stop} from '../stop.ts'
import type {ToJob} from './bulk.ts'
import type {Line, Lines} from './lines.ts'

/** What is under way at once, or is not told yet: four commits of SQLite's, and what they hold. */
const MOST_LINES = 1000
const MOST_BYTES = 4 << 20
/** Of so many lines it is known which jobs they have become, for `"after": ["#3"]`. */
const KNOWN_LINES = 10_000

/** What a line has become: the job, and what is told of it. */
export interface Stored {
  ref: RowRef
  document: Record<string, unknown>
}

/**
 * Ends with the last line, or at INT or TERM when what was read by then is told. Sets the exit status: the first one in the
 * table, of those of the lines that were refused.
 * @param store called at once for lines that are there together
 */
export async function enqueueEach(
  source: {lines: Lines; toJob: ToJob},
  store: (job: NewJob) => Promise<Stored>,
  json = false,
): Promise<void> {
  using stop = new Stop()
  const answers = new Answers(json)
  const known = new KnownLines()
  let number = 0
  noteDone('what was not told may be stored all the same')
  const stored = async (line: Line, nth: number) => {
    const what = `line ${nth}`
    const job = source.toJob(line, what)
    // Where it waits for no line there must be no await before `store`
    const placed = job.after?.some(isLine) ? {...job, after: await known.idsFor(job.after, nth)} : job
    return store(placed).catch(error => {
      throw error instanceof JobqError ? ofLine(error, what) : error
    })
  }
  for await (const lines of untilAborted(source.lines.together(), stop.signal)) {
    for (const line of lines) {
      if (answers.areMany) await answers.room()
      if (stop.signal.aborted) break
      const answer = stored(line, ++number)
      known.add(number, answer)
      answers.add(number, answer, line?.length ?? 0)
    }
    await nextTurn() // for signals
  }
  await answers.end()
  if (stop.exitCode !== null) complain(`jobq: stopped: nothing behind line ${number} is stored`)
  const exitCode = stop.exitCode ?? answers.exitCode
  if (exitCode !== EXIT.done) process.exitCode = exitCode
}

/** Lines that share a commit share its error, too: each tells it as its own. */
function ofLine(error: JobqError, what: string): JobqError {
  return Object.create(error, {message: {value: `${what}: ${error.message}`}})
}

/** As the source, but it ends at once when that is asked for: who writes there may never go on. */
async function* untilAborted<T>(
  source: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  let end = () => {}
  signal.addEventListener('abort', () => end())
  for (;;) {
    const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
      end = () => resolve({done: true, value: undefined})
      if (signal.aborted) end()
      else Promise.resolve(iterator.next()).then(resolve, reject)
    })
    if (next.done) return
    yield next.value
  }
}

type LineRef = Extract<After, {nth: number}>

function isLine(after: After): after is LineRef {
  return 'nth' in after
}

/** Which job each of the last lines has become, or is about to; null: none. */
class KnownLines {
  readonly #jobs = new Map<number, Promise<RowRef | null>>()

  add(number: number, stored: Promise<Stored>): void {
    const job = stored.then(
      ({ref}) => ref,
      () => null,
    )
    this.#jobs.set(number, job)
    this.#jobs.delete(number - KNOWN_LINES)
  }

  /** @param number of the line that waits for these. @throws UsageError, NotFoundError */
  async idsFor(after: readonly After[], number: number): Promise<After[]> {
    const idOf = async (one: After) => {
      if (!isLine(one)) return one
      const {nth, ...how} = one
      return {...(await this.#idOf(nth, number)), ...how}
    }
    return Promise.all(after.map(idOf))
  }

  async #idOf(nth: number, number: number): Promise<RowRef> {
    const what = `line ${number}: after`
    if (nth >= number)
      throw new UsageError(`${what}: expected an earlier line, got #${nth}`, {hint: '#1 is the first'})
    const job = this.#jobs.get(nth)
    if (!job)
      throw new UsageError(`${what}: expected one of the ${KNOWN_LINES} lines before it, got #${nth}`, {
        hint: 'name that job by its id',
      })
    const ref = await job
    if (ref) return ref
    throw new NotFoundError(`${what}: line ${nth} was refused, so there is no job to wait for`)
  }
}

interface Answer {
  number: number
  bytes: number
  outcome: Stored | {error: unknown} | null
  settled: Promise<void>
}

/** What is told of the lines, in their order: each when it and all before it are settled, those of a commit at once. */
class Answers {
  readonly #json: boolean
  readonly #waiting: Answer[] = []
  #bytes = 0
  #telling: Promise<void> | null = null
  #onRoom = () => {}
  exitCode: number = EXIT.done

  constructor(json: boolean) {
    this.#json = json
  }

  get areMany(): boolean {
    return this.#waiting.length >= MOST_LINES || this.#bytes >= MOST_BYTES
  }

  add(number: number, stored: Promise<Stored>, bytes: number): void {
    const answer: Answer = {number, bytes, outcome: null, settled: Promise.resolve()}
    const settle = (outcome: Answer['outcome']) => {
      answer.outcome = outcome
    }
    answer.settled = stored.then(settle, error => settle({error}))
    this.#bytes += bytes
    this.#waiting.push(answer)
    this.#telling ??= this.#tell()
  }

  /** Resolves when more have been told. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.#onRoom = resolve
    })
  }

  /** Resolves when all are told. */
  async end(): Promise<void> {
    await this.#telling
  }

  async #tell(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#waiting[0]!.settled
      let text = ''
      for (let next = this.#next(); next; next = this.#next()) {
        if (this.#json || 'ref' in next.outcome!) text += this.#textOf(next)
        else {
          await sayAtPace(text)
          text = ''
          complain(`jobq: ${lineOf(next.outcome!.error)}`)
        }
      }
      await sayAtPace(text)
      this.#onRoom()
    }
    this.#telling = null
  }

  /** The one that is to be told next, if it is settled. */
  #next(): Answer | null {
    const [first] = this.#waiting
    if (!first?.outcome) return null
    this.#waiting.shift()
    this.#bytes -= first.bytes
    if ('error' in first.outcome) {
      const {exitCode} = factsOf(first.outcome.error)
      this.exitCode = this.exitCode === EXIT.done ? exitCode : Math.min(this.exitCode, exitCode)
    }
    return first
  }

  #textOf({number, outcome}: Answer): string {
    if ('ref' in outcome!)
      return this.#json ? `${toJson({line: number, ...outcome.document})}\n` : `${outcome.document.id}\n`
    const {exitCode: _, ...error} = factsOf(outcome!.error)
    return `${toJson({line: number, error})}\n`
  }
}
