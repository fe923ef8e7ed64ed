/** JSON's numbers as they are written, digit by digit. */

interface RawJson {
  rawJSON(text: string): unknown
  isRawJSON(value: unknown): boolean
}
const raw = JSON as unknown as RawJson

/** For JSON.parse: a number that a double does not hold stays as it was written. */
export function exactly(_key: string, value: unknown, {source}: {source?: string}): unknown {
  return typeof value === 'number' && source !== undefined && String(value) !== source
    ? raw.rawJSON(source)
    : value
}

export function isRaw(value: unknown): boolean {
  return raw.isRawJSON(value)
}
