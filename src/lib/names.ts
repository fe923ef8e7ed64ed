/** What a function may be called and a uniqkey may say, checked once, at the door. */
import {UsageError} from './errors.ts'
import {MAX_NAME_LENGTH, MAX_UINT32} from './job.ts'

/** A function is any name of 1–255 characters. @throws UsageError */
export function checkFunc(name: string, what = 'function'): string {
  return checkText(name, what, 'a function name')
}

/** A uniqkey is any text of 1–255 characters. @throws UsageError */
export function checkUniqkey(key: string, what = 'uniqkey'): string {
  return checkText(key, what, 'a key')
}

/** @throws UsageError unless it is a whole number that the column holds */
export function checkPriority(value: number, what = 'priority'): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_UINT32) return value
  throw new UsageError(`${what}: expected a whole number from 0 to ${MAX_UINT32}, got ${value}`)
}

/** A whole number as a person writes it: digits, no sign, no exponent. @throws UsageError */
export function parseWhole(text: string, what: string, min = 0, max = MAX_UINT32): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new UsageError(`${what}: expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

function checkText(text: string, what: string, kind: string): string {
  const length = text.length > 2 * MAX_NAME_LENGTH ? text.length : [...text].length
  if (length === 0 || length > MAX_NAME_LENGTH)
    throw new UsageError(`${what}: expected ${kind} of 1 to ${MAX_NAME_LENGTH} characters, got ${length}`)
  if (text.includes('\0') || !text.isWellFormed())
    throw new UsageError(
      `${what}: expected ${kind} of valid Unicode without NUL, got ${JSON.stringify(text)}`,
    )
  return text
}
