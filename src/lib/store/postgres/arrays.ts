/**
 * Arrays as parameters, in PostgreSQL's binary form: the server copies them, where it would parse text; and arguments
 * are not written as hexadecimal digits, which for one of 16 MB would keep the event loop for 40 ms.
 */
const OID = {boolean: 16, bytes: 17, bigint: 20, integer: 23, text: 25}
const HEADER_BYTES = 20
const NULL = -1

/** BIGINT[]; what is no safe integer is no id. */
export function bigints(values: readonly (number | null)[]): Buffer {
  return fixed(values, OID.bigint, 8, (array, value, at) => {
    const high = Math.floor(value / 2 ** 32)
    array.writeInt32BE(high, at)
    array.writeUInt32BE(value - high * 2 ** 32, at + 4)
  })
}

/** INTEGER[]. @throws RangeError */
export function integers(values: readonly (number | null)[]): Buffer {
  return fixed(values, OID.integer, 4, (array, value, at) => array.writeInt32BE(value, at))
}

/** BOOLEAN[] */
export function booleans(values: readonly (boolean | null)[]): Buffer {
  return fixed(values, OID.boolean, 1, (array, value, at) => array.writeUInt8(value ? 1 : 0, at))
}

/** TEXT[] */
export function texts(values: readonly (string | null)[]): Buffer {
  return array(
    values,
    OID.text,
    value => Buffer.byteLength(value),
    (array, value, at) => array.write(value, at),
  )
}

/** BYTEA[] */
export function bytes(values: readonly (string | Uint8Array | null)[]): Buffer {
  return array(
    values,
    OID.bytes,
    value => (typeof value === 'string' ? Buffer.byteLength(value) : value.length),
    (array, value, at) => {
      if (typeof value === 'string') array.write(value, at)
      else array.set(value, at)
    },
  )
}

export function bytesOf(value: string | Uint8Array): Buffer {
  return typeof value === 'string'
    ? Buffer.from(value)
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

type Write<Value> = (array: Buffer, value: Value, at: number) => void

function fixed<Value>(
  values: readonly (Value | null)[],
  oid: number,
  size: number,
  write: Write<Value>,
): Buffer {
  return array(values, oid, () => size, write)
}

function array<Value>(
  values: readonly (Value | null)[],
  oid: number,
  sizeOf: (value: Value) => number,
  write: Write<Value>,
): Buffer {
  const sizes = values.map(value => (value === null ? NULL : sizeOf(value)))
  const length = sizes.reduce((sum, size) => sum + 4 + Math.max(0, size), HEADER_BYTES)
  const array = Buffer.allocUnsafe(length)
  array.writeInt32BE(1, 0) // one dimension
  array.writeInt32BE(sizes.includes(NULL) ? 1 : 0, 4)
  array.writeInt32BE(oid, 8)
  array.writeInt32BE(values.length, 12)
  array.writeInt32BE(1, 16) // the first index
  let at = HEADER_BYTES
  for (const [i, value] of values.entries()) {
    const size = sizes[i]!
    array.writeInt32BE(size, at)
    at += 4
    if (value === null) continue
    write(array, value, at)
    at += size
  }
  return array
}
