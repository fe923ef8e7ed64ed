/**
 * May a value become an argument? JSON.stringify drops a function, makes null of NaN and of an invalid Date, and {} of a
 * Map, all without a word; here they are found, and named by the place where they stand.
 */

/** What else a serializer takes than text, finite numbers, booleans, null, arrays and objects. */
export interface Besides {
  bytes?: boolean
  bigints?: boolean
  anyNumber?: boolean
}

/** Where a value can't be held, such as `arg.items[2].when`, and what is there. */
export interface Fault {
  path: string
  what: string
}

/**
 * Asked of every argument: 0.06 µs for a small one, as much again as JSON.stringify takes for a large one. (A replacer
 * would take four times as much.) What is wrong is walked once more, by findFault, for the place.
 */
export function isHoldable(value: unknown, besides: Besides = {}): boolean {
  if (typeof value !== 'object' || value === null) return primitiveFault(value, besides) === null
  if (Array.isArray(value)) return value.every(item => isHoldable(item, besides))
  if (objectFault(value, besides) !== null) return false
  if (isLeaf(value, besides)) return true
  if (hasToJson(value)) return isHoldable(value.toJSON(''), besides)
  for (const key of Object.keys(value))
    if (!isHoldable((value as Record<string, unknown>)[key], besides)) return false
  return true
}

/** The first thing in a value that can't be held, a circle included; null if there is none. */
export function findFault(
  value: unknown,
  path: string,
  besides: Besides = {},
  above: object[] = [],
): Fault | null {
  if (typeof value !== 'object' || value === null) {
    const what = primitiveFault(value, besides)
    return what === null ? null : {path, what}
  }
  if (above.includes(value)) return {path, what: 'a circle: an object that holds itself'}
  const inner = [...above, value]
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const fault = findFault(item, `${path}[${i}]`, besides, inner)
      if (fault) return fault
    }
    return null
  }
  const what = objectFault(value, besides)
  if (what !== null) return {path, what}
  if (isLeaf(value, besides)) return null
  if (hasToJson(value)) return findFault(value.toJSON(''), path, besides, inner)
  for (const [key, item] of Object.entries(value)) {
    const fault = findFault(item, member(path, key), besides, inner)
    if (fault) return fault
  }
  return null
}

function primitiveFault(value: unknown, {bigints, anyNumber}: Besides): string | null {
  switch (typeof value) {
    case 'number':
      return anyNumber || Number.isFinite(value) ? null : String(value)
    case 'bigint':
      return bigints || hasToJson(value) ? null : `the BigInt ${value}`
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
    default:
      return null // in an object, undefined is left out, as JSON.stringify does
  }
}

/** Kinds of objects that keep their content where no serializer looks. */
const CLOSED =
  /^\[object (Map|Headers|FormData|URLSearchParams|Blob|File|Set|WeakMap|WeakSet|WeakRef|Promise|RegExp|Error|.*Iterator|Generator|ArrayBuffer|SharedArrayBuffer|DataView|.*Array)\]$/

function objectFault(value: object, {bytes}: Besides): string | null {
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return null
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : null
  if (hasToJson(value) || (bytes && value instanceof Uint8Array)) return null
  const [, kind] = CLOSED.exec(Object.prototype.toString.call(value)) ?? []
  return kind === undefined ? null : `${/^[AEI]/.test(kind) ? 'an' : 'a'} ${kind}`
}

/** A whole in itself: a Date is its text. */
function isLeaf(value: object, {bytes}: Besides): boolean {
  return value instanceof Date || (bytes === true && value instanceof Uint8Array)
}

function hasToJson(value: unknown): value is {toJSON: (key: string) => unknown} {
  return typeof (value as {toJSON?: unknown}).toJSON === 'function'
}

function member(path: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}
