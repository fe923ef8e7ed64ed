/** An argument as a user wrote it to what is stored, and what is wrong with it where it is not JSON. */
import {ArgumentError} from '../errors.ts'
import type {StoredArg} from '../job.ts'
import {checkSize, type SerializerName, textOrBytes, utf8} from './serializers.ts'

/** What to do about an argument that is not JSON, where a shell is what usually mangled it. */
const QUOTE_IT = 'quote it for the shell; --serializer none takes any text or bytes'

/**
 * Turns an argument as a user wrote it into what is stored: JSON checked and kept byte for byte; for msgpack, the
 * JSON encoded; for none, the bytes themselves.
 * @param what where it stood, for the message
 * @throws ArgumentError
 */
export async function storedFromInput(
  input: string | Uint8Array,
  serializer: SerializerName,
  what: string,
): Promise<StoredArg> {
  if (serializer === 'none') return textOrBytes(checkSize(input, what))
  const {text} = jsonFromInput(checkSize(input, what), what)
  return serializer === 'json' ? text : (await jsonPacker())(text, what)
}

/** JSON as it was written, checked, and its value. Synchronous: bulk enqueues call it for every line. */
export function jsonFromInput(
  input: string | Uint8Array,
  what: string,
  hint = QUOTE_IT,
): {text: string; value: unknown} {
  const text = typeof input === 'string' ? input : utf8(input, what, hint)
  try {
    return {text, value: JSON.parse(text) as unknown}
  } catch (cause) {
    const {phrase} = jsonMistake(text, cause as Error)
    throw new ArgumentError(`${what}: expected JSON, got ${phrase}`, {cause, hint})
  }
}

type Reviver = (key: string, value: unknown, context: {source?: string}) => unknown
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => unknown // TypeScript's types lack the context

/** JSON to MessagePack, which has whole numbers of 64 bits: they keep the digits that a double would lose. */
export async function jsonPacker(): Promise<(text: string, what: string) => Uint8Array> {
  const {encodeMessagePack} = await import('./encode.ts')
  return (text, what) => {
    const mayBeLarge = /\d{10}|[eE]/.test(text)
    return encodeMessagePack(mayBeLarge ? parseLarge(text, what) : JSON.parse(text), what)
  }
}

function parseLarge(text: string, what: string): unknown {
  return parseWithSource(text, (_key, value, {source = ''}) => {
    if (typeof value !== 'number' || Math.abs(value) < 2 ** 31) return value
    const whole = /^-?\d+$/.test(source) ? BigInt(source) : null
    if (whole === null ? Number.isFinite(value) : whole >= -(2n ** 63n) && whole < 2n ** 64n)
      return whole ?? value
    throw new ArgumentError(`${what}: expected a number that MessagePack can hold, got ${source}`, {
      hint: 'give it as text, in quotes; --serializer json keeps all its digits',
    })
  })
}

/** What is wrong with a text that is not JSON, as a phrase with the place. @param error JSON.parse's */
export function jsonMistake(text: string, error: Error): {phrase: string; line: number} {
  if (text.trim() === '') return {phrase: text === '' ? 'nothing' : 'blanks only', line: 1}
  const position = errorPosition(text, error)
  const before = text.slice(0, position)
  const line = before.split('\n').length
  const column = position - before.lastIndexOf('\n')
  const place = text.trimEnd().includes('\n') ? `line ${line} column ${column}` : `column ${column}`
  if (position >= text.trimEnd().length) return {phrase: `text that ends too early, at ${place}`, line}
  const reason = error.message
    .replace(/ at position \d+.*$/s, '')
    .replace(/ in JSON$/, '')
    .replace(/, (?:\.\.\.)?".*is not valid JSON$/s, '')
    .replace(/^".*" is not valid JSON$/s, 'Unexpected word')
    .replace(/[^ -~]/g, char => `U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`)
  return {phrase: `a mistake at ${place}: ${reason.slice(0, 1).toLowerCase()}${reason.slice(1)}`, line}
}

/** V8 names the position in most of its messages; for the rest, the shortest prefix that fails in the same way. */
function errorPosition(text: string, error: Error): number {
  const named = /at position (\d+)/.exec(error.message)?.[1]
  if (named !== undefined) return Number(named)
  if (error.message.endsWith('" is not valid JSON') && !error.message.startsWith('Unexpected')) return 0
  if (!error.message.startsWith('Unexpected token')) return text.length
  let [good, bad] = [0, text.length]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (failsAtToken(text.slice(0, middle))) bad = middle
    else good = middle
  }
  return bad - 1
}

function failsAtToken(prefix: string): boolean {
  try {
    JSON.parse(prefix)
    return false
  } catch (error) {
    return (error as Error).message.startsWith('Unexpected token')
  }
}
