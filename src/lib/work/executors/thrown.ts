/** What a worker has thrown, in words: for exception_log, and for who wrote the worker. */
import {fileURLToPath} from 'node:url'
import {JobqError} from '../../jobs/errors.ts'
import {inspected} from '../../jobs/value.ts'
import {LIBRARY} from '../../own-modules.ts'

/** Errors that caused an error, and characters of what is thrown and no error, that go into exception_log. */
const MAX_CAUSES = 10
const MAX_THROWN = 4096

/** As frames name them: those of a module, and those of CommonJS. */
const OWN_PLACES = [LIBRARY.href, fileURLToPath(LIBRARY)]

/** An exception's message with its stack, as Perl's carp-ing workers log theirs; jobq's own errors in one line. */
export function messageOf(error: unknown): string {
  try {
    return message(error, MAX_CAUSES)
  } catch {
    return 'threw what can not be shown' // a getter that throws, say
  }
}

function message(error: unknown, causes: number): string {
  if (error instanceof JobqError) return error.hint ? `${error.message} (${error.hint})` : error.message
  if (error === undefined) return 'threw undefined'
  if (!(error instanceof Error)) return `threw ${described(error, MAX_THROWN)}`
  const stack = typeof error.stack === 'string' ? error.stack : `${error.name}: ${error.message}`
  const frames = stack.split('\n').filter(line => !isOwnFrame(line))
  const hasCause = error.cause !== undefined && causes > 0
  return [...frames, ...(hasCause ? [`caused by: ${message(error.cause, causes - 1)}`] : [])].join('\n')
}

/** Frames of Node and of these files say nothing to a worker's author. */
function isOwnFrame(line: string): boolean {
  return /^\s+at /.test(line) && (/[ (]node:/.test(line) || OWN_PLACES.some(place => line.includes(place)))
}

/** A value in a few characters. */
export function described(value: unknown, limit = 60): string {
  if (value === undefined) return 'none'
  if (typeof value === 'function') return 'a function'
  const text = asJson(value) ?? inspected(value)
  return text.length > limit ? `${text.slice(0, limit)}…` : text
}

/** Undefined for what JSON can't hold: a bigint, a symbol, a circle. */
function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
