/**
 * Arguments to stored bytes and back: json (stored as it was written), msgpack (Qudo's Serialize::MessagePack),
 * none (any bytes). The store knows nothing of them; a worker says which one its arguments have.
 */
import {isUtf8} from 'node:buffer'
import {ArgumentError} from './errors.ts'
import {MAX_ARG_BYTES, type StoredArg} from './job.ts'

export type SerializerName = 'json' | 'msgpack' | 'none'
export const SERIALIZERS: readonly SerializerName[] = ['json', 'msgpack', 'none']

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
  if (serializer === 'json') return jsonFromInput(input, what)
  if (serializer === 'none') return textOrBytes(checkSize(input, what))
  return encodeMessagePack(parseJson(jsonFromInput(input, what), what), what)
}

/** Checks JSON and returns its text as it was written. Synchronous: bulk enqueues call it for every line. */
export function jsonFromInput(input: string | Uint8Array, what: string): string {
  const text = typeof input === 'string' ? input : utf8(input, what)
  parseJson(checkSize(text, what), what)
  return text
}

/** Encodes a value as JSON for an enqueue from a program. @throws ArgumentError for what JSON can't hold */
export function encodeJson(value: unknown, what: string): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new ArgumentError(`${what}: JSON can't hold it (${(cause as Error).message})`, {cause})
  }
  if (text === undefined)
    throw new ArgumentError(`${what}: expected a value that JSON can hold, got ${typeof value}`)
  return checkSize(text, what)
}

/** Encodes a value as Perl's Data::MessagePack does for the same small structures. */
export async function encodeMessagePack(value: unknown, what: string): Promise<Uint8Array> {
  const {encode} = await import('@msgpack/msgpack')
  try {
    return checkSize(encode(value), what)
  } catch (cause) {
    if (cause instanceof ArgumentError) throw cause
    throw new ArgumentError(`${what}: MessagePack can't hold it (${(cause as Error).message})`, {cause})
  }
}

/** What a worker gets to see of stored bytes. @throws ArgumentError if they are not of that serializer */
export async function decodeArg(bytes: Uint8Array | null, serializer: SerializerName): Promise<unknown> {
  if (bytes === null) return null
  if (serializer === 'none') return bytes
  if (serializer === 'msgpack') {
    const {decode} = await import('@msgpack/msgpack')
    try {
      return decode(bytes)
    } catch (cause) {
      throw new ArgumentError(`the argument is not MessagePack (${(cause as Error).message})`, {cause})
    }
  }
  const hint = `read job.argOrigin (the bytes), or set serializer: 'none' or 'msgpack' for this function`
  if (isStorable(bytes))
    throw new ArgumentError(`the argument is Perl's Storable format, which only Perl reads`, {
      hint: `let Qudo's workers do these jobs, or enqueue them as JSON`,
    })
  try {
    return JSON.parse(utf8(bytes, 'the argument'))
  } catch (cause) {
    throw new ArgumentError(`the argument is not JSON (${(cause as Error).message})`, {cause, hint})
  }
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

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const place = lineAndColumn(text, errorPosition(text, cause as SyntaxError))
    const reason = (cause as Error).message
      .replace(/ at position \d+.*$/s, '')
      .replace(/, (?:\.\.\.)?".*is not valid JSON$/s, '')
    throw new ArgumentError(`${what}: expected JSON, got ${reason} at ${place}`, {
      cause,
      hint: 'quote it for the shell; --serializer none takes any text',
    })
  }
}

/** V8 names the position in most of its messages; for the rest, the shortest prefix that fails in the same way. */
function errorPosition(text: string, error: SyntaxError): number {
  const named = /at position (\d+)/.exec(error.message)?.[1]
  if (named !== undefined) return Number(named)
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

function lineAndColumn(text: string, position: number): string {
  const before = text.slice(0, position)
  const line = before.split('\n').length
  return `line ${line} column ${position - before.lastIndexOf('\n')}`
}

function utf8(bytes: Uint8Array, what: string): string {
  if (!isUtf8(bytes))
    throw new ArgumentError(`${what}: expected JSON in UTF-8, got bytes that are not UTF-8`, {
      hint: '--serializer none takes any bytes',
    })
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

function checkSize<T extends string | Uint8Array>(arg: T, what: string): T {
  const bytes = typeof arg === 'string' ? Buffer.byteLength(arg) : arg.length
  if (bytes <= MAX_ARG_BYTES) return arg
  throw new ArgumentError(`${what}: expected an argument of at most ${MAX_ARG_BYTES} bytes, got ${bytes}`, {
    hint: 'store the data in a file or a table and enqueue its name',
  })
}
