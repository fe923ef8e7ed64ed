/** Stored bytes to what a worker gets. */
import {isUtf8} from 'node:buffer'
import {ArgumentError} from '../errors.ts'
import {kindOf} from '../value.ts'
import {isNoArg, isPlainText, type SerializerName, utf8} from './serializers.ts'

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
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key === PROTO ? '__proto__' : key, asValue(item)]),
  )
}

/** Stands for the key `__proto__` while the package sets keys: it would make the value the prototype of its object. */
const PROTO = `__proto__ ${Math.random()}`

/** Perl's Data::MessagePack writes the keys of a hash as bytes, unless they are flagged as characters. */
function mapKeyConverter(key: unknown): string | number {
  if (key instanceof Uint8Array) {
    const text = Buffer.from(key).toString('utf8')
    return text === '__proto__' ? PROTO : text
  }
  if (typeof key === 'string' || typeof key === 'number') return key
  if (typeof key === 'bigint') return String(key)
  throw new Error(`a map's key should be text or a number, but is ${kindOf(key)}`)
}

/** Storable's freeze and nfreeze begin with a version byte pair; `pst0` is its file form. */
function isStorable(bytes: Uint8Array): boolean {
  const [a = 0, b = 0] = bytes
  if (a === 0x70 && bytes[1] === 0x73 && bytes[2] === 0x74 && bytes[3] === 0x30) return true
  return (a === 4 || a === 5) && b >= 5 && b <= 12 && bytes.length > 2 && !isPlainText(bytes)
}
