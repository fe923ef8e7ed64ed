/**
 * A logger for workers, as a plugin: `job.plugin('logger').info('sent', {to})` writes one line with the time, the job's
 * id and its function.
 */
import {inspect} from 'node:util'
import {UsageError} from '../jobs/errors.ts'
import {idOf} from '../jobs/job.ts'
import {checkOptions} from '../jobs/options.ts'
import {printable, printableJson} from '../jobs/printable.ts'
import type {Job} from '../jobs/worker.ts'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
/** How much a line of a log matters. */
export type LogLevel = (typeof LEVELS)[number]

/** What a line says besides its message. An Error is shown by its message, in JSON with its stack. */
export type LogFields = Readonly<Record<string, unknown>>

/** Writes a line for each call. */
export interface Logger {
  /** For who looks for a mistake; not written unless that is asked for. */
  debug(message: string, fields?: LogFields): void
  /** For the record. */
  info(message: string, fields?: LogFields): void
  /** Someone should know. */
  warn(message: string, fields?: LogFields): void
  /** Someone should do something. */
  error(message: string, fields?: LogFields): void
}

/** How lines look, and where they go. */
export interface LoggerOptions {
  /** `text`: for people. `json`: an object a line, with time, level, id, func, message, and the fields. Default 'text'. */
  format?: 'text' | 'json' | undefined
  /** What matters less is not written. Default 'info'. */
  level?: LogLevel | undefined
  /** Gets each line. Default process.stderr. */
  to?: LineWriter | undefined
}

/** A stream, or anything that lines can be written to. */
export interface LineWriter {
  /** Gets a line, with its end. */
  write(line: string): unknown
}

/** What `logger()` makes. By itself it writes lines without a job; a job gets one that knows it. */
export interface LoggerPlugin extends Logger {
  /** What a worker's process writes to its stderr gets its job's label from `jobq work`: it needs none here. */
  start(context: {readonly role: string}): void
  /** A logger that knows the job. */
  forJob(job: Pick<Job, 'id' | 'db' | 'func'>): Logger
}

/**
 * A logger as a plugin, for `plugins` of the configuration or of `JobQueue.open()`. An application that has a logger of
 * its own makes a plugin of that instead: an object with a `forJob(job)` that returns its logger with the job's id.
 * @throws UsageError for an option that can't be meant
 */
export function logger(options: LoggerOptions = {}): LoggerPlugin {
  checkOptions(options, 'logger', OPTIONS)
  const {format = 'text', level = 'info', to = process.stderr} = options
  const lines = format === 'json' ? jsonLine : textLine
  let isLabelled = false
  const writer = (job: Subject | null): Logger => {
    const write =
      (its: LogLevel) =>
      (message: string, fields: LogFields = {}) => {
        if (LEVELS.indexOf(its) < LEVELS.indexOf(level)) return
        to.write(`${lines({time: new Date(), level: its, message, fields}, job, isLabelled)}\n`)
      }
    return {debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error')}
  }
  return {
    ...writer(null),
    start: ({role}) => {
      isLabelled = role === 'worker' && to === process.stderr
    },
    forJob: job => writer({id: idOf(job), func: job.func}),
  }
}

interface Subject {
  id: number | string
  func: string
}

interface Entry {
  time: Date
  level: LogLevel
  message: string
  fields: LogFields
}

function jsonLine({time, level, message, fields}: Entry, job: Subject | null): string {
  const own = {time: time.toISOString(), level, ...(job ?? {}), message: String(message)}
  const more = Object.entries(fields).filter(([key]) => !Object.hasOwn(own, key))
  const parts = [...Object.entries(own), ...more].map(
    ([key, value]) => `${JSON.stringify(key)}:${asJson(value)}`,
  )
  return printableJson(`{${parts.join(',')}}`)
}

/** @param isLabelled what reads it puts the time and the job before it */
function textLine({time, level, message, fields}: Entry, job: Subject | null, isLabelled: boolean): string {
  const label = isLabelled ? [] : [time.toISOString(), ...(job ? [String(job.id), job.func] : [])]
  const pairs = Object.entries(fields).map(([key, value]) => `${key}=${asText(value)}`)
  return printable([...label, level, String(message), ...pairs].join(' '))
}

/** A word as it is, all else as JSON. */
function asText(value: unknown): string {
  const text = value instanceof Error ? value.message : value
  return typeof text === 'string' && /^[^\s"=]+$/.test(text) ? text : asJson(text)
}

/** What JSON can't hold is shown as Node shows it. */
function asJson(value: unknown): string {
  const plain =
    value instanceof Error ? {name: value.name, message: value.message, stack: value.stack} : value
  try {
    return JSON.stringify(plain) ?? JSON.stringify(inspect(plain))
  } catch {
    return JSON.stringify(inspect(plain))
  }
}

const oneOf = (words: readonly string[]) => (value: unknown, what: string) => {
  if (!words.includes(value as string))
    throw new UsageError(`${what}: expected one of ${words.join(', ')}, got ${inspect(value)}`)
}
const OPTIONS = {
  format: oneOf(['text', 'json']),
  level: oneOf(LEVELS),
  to: (value: unknown, what: string) => {
    if (typeof (value as LineWriter | null)?.write !== 'function')
      throw new UsageError(`${what}: expected something with write(line), got something else`)
  },
}
