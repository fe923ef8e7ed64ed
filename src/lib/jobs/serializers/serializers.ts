/**
 * How an argument is stored: json (as it was written), msgpack (Qudo's Serialize::MessagePack), none (any bytes). The
 * store knows nothing of them; a worker says which one its arguments have. input.ts stores what a user wrote, encode.ts
 * what a program gives, decode.ts reads what is stored.
 */
import {isUtf8} from 'node:buffer'
import {ArgumentError} from '../errors.ts'
import {MAX_ARG_BYTES, type StoredArg} from '../job.ts'

/** How an argument becomes what is stored. */
export type SerializerName = 'json' | 'msgpack' | 'none'
export const SERIALIZERS: readonly SerializerName[] = ['json', 'msgpack', 'none']

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

/** Text as text where nothing is lost by it, so that it reads well in a database shell; else the bytes. */
export function textOrBytes(input: string | Uint8Array): string | Uint8Array {
  if (typeof input === 'string') return input.includes('\0') ? Buffer.from(input) : input
  return isPlainText(input) ? Buffer.from(input).toString('utf8') : input
}

export function isPlainText(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && !bytes.includes(0)
}

export function utf8(bytes: Uint8Array, what: string, hint: string): string {
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
