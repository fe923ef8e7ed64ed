/**
 * A value to the bytes that are stored, for an enqueue from a program. What can't be held is refused with the place where
 * it stands, and never stored as something else.
 */
import {ArgumentError} from '../errors.ts'
import type {StoredArg} from '../job.ts'
import {pack} from './messagepack.ts'
import {type Besides, findFault, isHoldable} from './serializable.ts'
import {checkSize, noArg, type SerializerName, textOrBytes} from './serializers.ts'

/**
 * @param what where the value stood, for the message
 * @throws ArgumentError
 */
export function encodeArg(arg: unknown, serializer: SerializerName, what: string): StoredArg {
  if (arg === undefined || arg === null) return noArg(serializer)
  if (serializer === 'json') return encodeJson(arg, what)
  if (serializer === 'msgpack') return encodeMessagePack(arg, what)
  if (typeof arg === 'string' || arg instanceof Uint8Array) return textOrBytes(checkSize(arg, what))
  throw new ArgumentError(`${what}: expected text or bytes for the serializer 'none', got ${kindOf(arg)}`, {
    hint: "the serializer 'json' takes other values, too",
  })
}

/** @throws ArgumentError for what JSON can't hold */
function encodeJson(value: unknown, what: string): string {
  const text = encoded('JSON', value, what, {}, () => JSON.stringify(value) as string | undefined)
  if (text === undefined) throw notHeld('JSON', what, kindOf(value)) // by a toJSON
  return checkSize(text, what)
}

const PACKED: Besides = {bytes: true, bigints: true, anyNumber: true}

/** As Perl's Data::MessagePack writes it. @throws ArgumentError for what MessagePack can't hold */
export function encodeMessagePack(value: unknown, what: string): Uint8Array {
  return checkSize(
    encoded('MessagePack', value, what, PACKED, () => pack(value)),
    what,
  )
}

/** A circle is told by the encoding, which gives up; the rest by a look at every part. */
function encoded<T>(format: string, value: unknown, what: string, besides: Besides, encode: () => T): T {
  try {
    const result = encode()
    if (isHoldable(value, besides)) return result
  } catch (cause) {
    const fault = faultOf(value, what, besides)
    if (fault) throw notHeld(format, fault.path, fault.what, cause)
    const {message} = cause as Error
    const why = /call stack/.test(message) ? 'it is nested too deeply' : message
    throw new ArgumentError(`${what}: ${format} can't hold it (${why})`, {cause})
  }
  const fault = findFault(value, what, besides)
  throw notHeld(format, fault?.path ?? what, fault?.what ?? kindOf(value))
}

/** Null also for what is nested too deeply to be looked at. */
function faultOf(value: unknown, what: string, besides: Besides): ReturnType<typeof findFault> {
  try {
    return findFault(value, what, besides)
  } catch {
    return null
  }
}

function notHeld(format: string, path: string, got: string, cause?: unknown): ArgumentError {
  return new ArgumentError(`${path}: expected a value that ${format} can hold, got ${got}`, {
    hint: /Date|BigInt/.test(got) ? 'give it as text' : 'leave it out, or give what is in it',
    ...(cause === undefined ? {} : {cause}),
  })
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
