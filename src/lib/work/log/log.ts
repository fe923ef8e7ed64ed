/**
 * What `jobq work` tells of its jobs: one line a job, the lines they print, and what the dispatcher decides.
 * For people on stderr; as JSON lines on stdout; or in a file.
 */
import {idOf, type JobRow, type RowRef} from '../../jobs/job.ts'
import {printable, printableJson} from '../../jobs/printable.ts'
import type {Sink} from './log-writer.ts'

type Subject = RowRef & Pick<JobRow, 'func'>

/** How a job's attempt ended, as the log calls it. */
export type LoggedOutcome =
  | 'completed'
  | 'replaced'
  | 'failed'
  | 'aborted'
  | 'released'
  | 'declined'
  | 'died'
  | 'lost'

export interface JobLog {
  ended(job: Subject, outcome: LoggedOutcome, durationMs: number, message: string): void
  /** @returns what the job's next line is to wait for, if it is to */
  output(job: Subject | null, stream: 'stdout' | 'stderr', line: string): Promise<void> | null
  /** Something that a person should look at. */
  trouble(message: string): void
  /** Old attempts were deleted: so many. */
  pruned(counts: {failed: number; finished: number}): void
  /** Is `debug` heard? If not, what it would say need not be put together. */
  readonly isVerbose: boolean
  debug(message: string): void
}

export interface LogOptions {
  json: boolean
  debug: boolean
  sink: Sink
  /** Colours the outcome; the identity where there is no terminal. */
  paint?: (outcome: LoggedOutcome) => string
  /** Called before anything is written, for what shares the terminal (a progress bar). */
  beforeLine?: () => void
}

export function openLog(options: LogOptions): JobLog {
  return options.json ? new JsonLog(options) : new TextLog(options)
}

/** What stands in a log for lines that are missing. */
export function droppedLines(count: number, json: boolean): string {
  const message = `${count} lines of log were dropped`
  return json ? jsonLine({event: 'trouble', message}) : textLine(`jobq: ${message}`)
}

class TextLog implements JobLog {
  readonly #options: LogOptions

  constructor(options: LogOptions) {
    this.#options = options
  }

  ended(job: Subject, outcome: LoggedOutcome, durationMs: number, message: string): void {
    const word = this.#options.paint?.(outcome) ?? outcome
    const how = `${duration(durationMs)}${message ? ` ${firstLine(message)}` : ''}`
    this.#write(`${idOf(job)} ${printable(job.func)} ${word} ${printable(how)}`)
  }

  output(job: Subject | null, _stream: 'stdout' | 'stderr', line: string): Promise<void> | null {
    this.#line(`${job ? `${idOf(job)} ${job.func}` : 'worker'} | ${line}`)
    return this.#options.sink.room()
  }

  trouble(message: string): void {
    this.#line(`jobq: ${message}`)
  }

  pruned({failed, finished}: {failed: number; finished: number}): void {
    this.#line(`jobq: deleted ${failed} failed and ${finished} finished attempts that were old`)
  }

  get isVerbose(): boolean {
    return this.#options.debug
  }

  debug(message: string): void {
    if (this.#options.debug) this.#line(`debug: ${message}`)
  }

  #line(text: string): void {
    this.#write(printable(text))
  }

  #write(text: string): void {
    this.#options.beforeLine?.()
    this.#options.sink.write(textLine(text))
  }
}

class JsonLog implements JobLog {
  readonly #options: LogOptions

  constructor(options: LogOptions) {
    this.#options = options
  }

  ended(job: Subject, outcome: LoggedOutcome, durationMs: number, message: string): void {
    this.#line({
      event: 'job',
      id: idOf(job),
      func: job.func,
      outcome,
      duration_ms: Math.round(durationMs),
      ...(message ? {message} : {}),
    })
  }

  output(job: Subject | null, stream: 'stdout' | 'stderr', line: string): Promise<void> | null {
    this.#line({event: 'output', id: job && idOf(job), func: job?.func ?? null, stream, line})
    return this.#options.sink.room()
  }

  trouble(message: string): void {
    this.#line({event: 'trouble', message})
  }

  pruned(counts: {failed: number; finished: number}): void {
    this.#line({event: 'pruned', ...counts})
  }

  get isVerbose(): boolean {
    return this.#options.debug
  }

  debug(message: string): void {
    if (this.#options.debug) this.#line({event: 'debug', message})
  }

  #line(fields: Record<string, unknown>): void {
    this.#options.sink.write(jsonLine(fields))
  }
}

function textLine(text: string): string {
  return `${now()} ${text}\n`
}

function jsonLine(fields: Record<string, unknown>): string {
  return `${printableJson(JSON.stringify({time: now(), ...fields}))}\n`
}

/** The second that was last written, and its text up to the point. */
let written = {second: 0, text: ''}

/** As toISOString, which takes 0.5 µs, and all else of a line 0.1: most lines are of the same second as the one before. */
function now(): string {
  const ms = Date.now()
  const second = Math.floor(ms / 1000)
  if (second !== written.second) written = {second, text: new Date(second * 1000).toISOString().slice(0, -4)}
  return `${written.text}${String(ms - second * 1000).padStart(3, '0')}Z`
}

function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}ms`
  return `${(ms / 1000).toFixed(1)}s`
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!
}
