/**
 * Arguments to stored bytes and back: json (stored as it was written), msgpack (Qudo's Serialize::MessagePack),
 * none (any bytes). The store knows nothing of them; a worker says which one its arguments have.
 */
import {isUtf8} from 'node:buffer'
import {ArgumentError} from './errors.ts'
import {MAX_ARG_BYTES, type StoredArg} from './job.ts'

/** How an argument becomes what is stored. */
export type SerializerName = 'json' | 'msgpack' | 'none'
export const SERIALIZERS: readonly SerializerName[] = ['json', 'msgpack', 'none']

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

/** What is stored for a job without an argument: the serializer's null, which Perl's hooks can read; with none, NULL. */
export function noArg(serializer: SerializerName): StoredArg {
  if (serializer === 'none') return null
  return serializer === 'json' ? 'null' : Uint8Array.of(PACKED_NULL)
}

const PACKED_NULL = 0xc0

/** Is it a serializer's null, or nothing at all? Neither serializer can take the other's for anything else. */
export function isNoArg(bytes: Uint8Array | null): boolean {
  if (bytes === null || (bytes.length === 1 && bytes[0] === PACKED_NULL)) return true
  return (
    bytes.length === 4 && bytes[0] === 0x6e && bytes[1] === 0x75 && bytes[2] === 0x6c && bytes[3] === 0x6c
  )
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

/** What a worker gets to see of stored bytes. @throws ArgumentError if they are not of that serializer */
export async function decodeArg(bytes: Uint8Array | null, serializer: SerializerName): Promise<unknown> {
  return serializer === 'msgpack' ? decodeMessagePack(bytes) : decodeNow(bytes, serializer)
}

/** The same of what needs no package to be loaded: many jobs take less than a promise does. */
export function decodeNow(bytes: Uint8Array | null, serializer: 'json' | 'none'): unknown {
  if (bytes === null || serializer === 'none') return bytes
  if (isNoArg(bytes)) return null
  const hint = `set serializer: 'msgpack' for this function, or 'none' for its bytes`
  if (isStorable(bytes))
    throw new ArgumentError(`the argument is Perl's Storable format, which only Perl reads`, {
      hint: `let Qudo's workers do these jobs, or enqueue them as JSON`,
    })
  try {
    return JSON.parse(utf8(bytes, 'the argument', hint))
  } catch (cause) {
    throw new ArgumentError(`the argument is not JSON (${(cause as Error).message})`, {cause, hint})
  }
}

async function decodeMessagePack(bytes: Uint8Array | null): Promise<unknown> {
  if (bytes === null || isNoArg(bytes)) return null
  const {decode} = await import('@msgpack/msgpack')
  try {
    return asValue(decode(bytes, {mapKeyConverter, useBigInt64: true}))
  } catch (cause) {
    throw new ArgumentError(`the argument is not MessagePack (${(cause as Error).message})`, {cause})
  }
}

/** Text of Perl's is bytes: those that are UTF-8 are text here. A BigInt is only what is no exact number. */
function asValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (value instanceof Uint8Array) return isUtf8(value) ? Buffer.from(value).toString('utf8') : value
  if (Array.isArray(value)) return value.map(asValue)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asValue(item)]))
}

/** Perl's Data::MessagePack writes the keys of a hash as bytes, unless they are flagged as characters. */
function mapKeyConverter(key: unknown): string | number {
  if (key instanceof Uint8Array) return Buffer.from(key).toString('utf8')
  if (typeof key === 'string' || typeof key === 'number') return key
  if (typeof key === 'bigint') return String(key)
  throw new Error(`a map's key should be text or a number, but is ${key === null ? 'null' : typeof key}`)
}

/** Storable's freeze and nfreeze begin with a version byte pair; `pst0` is its file form. */
export function isStorable(bytes: Uint8Array): boolean {
  const [a = 0, b = 0] = bytes
  if (a === 0x70 && bytes[1] === 0x73 && bytes[2] === 0x74 && bytes[3] === 0x30) return true
  return (a === 4 || a === 5) && b >= 5 && b <= 12 && bytes.length > 2 && !isPlainText(bytes)
}

/** Text as text where nothing is lost by it, so that it reads well in a database shell; else the bytes. */
export function textOrBytes(input: string | Uint8Array): string | Uint8Array {
  if (typeof input === 'string') return input.includes('\0') ? Buffer.from(input) : input
  return isPlainText(input) ? Buffer.from(input).toString('utf8') : input
}

function isPlainText(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && !bytes.includes(0)
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

function utf8(bytes: Uint8Array, what: string, hint: string): string {
  if (!isUtf8(bytes))
    throw new ArgumentError(`${what}: expected JSON in UTF-8, got bytes that are not UTF-8`, {hint})
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString('utf8')
}

/** @throws ArgumentError for more bytes than an argument may have */
export function checkSize<T extends string | Uint8Array>(arg: T, what: string): T {
  const bytes = typeof arg === 'string' ? Buffer.byteLength(arg) : arg.length
  if (bytes <= MAX_ARG_BYTES) return arg
  throw new ArgumentError(`${what}: expected an argument of at most ${MAX_ARG_BYTES} bytes, got ${bytes}`, {
    hint: 'store the data in a file or a table and enqueue its name',
  })
}
