/** Values of any kind: what they are, and how a message says it. */

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

/** What was given instead, in few words, for a message. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : value.toISOString()
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'string') return String(value)
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
}

/** JavaScript's word for it. */
export function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value
}

/** An object by its class. */
export function classOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return kindOf(value)
  return value.constructor?.name ? `a ${value.constructor.name}` : 'an object'
}

/** Anything, as a person may read it: node:util's inspect, loaded when it is first needed. It costs a process 3 MB. */
export function inspected(value: unknown): string {
  const {inspect} = process.getBuiltinModule('node:util')
  return inspect(value, {breakLength: Number.POSITIVE_INFINITY})
}

/** Bytes as text, whatever view of them it is; U+FFFD where they are no UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
