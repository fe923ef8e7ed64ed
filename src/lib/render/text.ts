/** Values as text: what a stored argument says, what goes on one line, how long ago, a sparkline. */
import {isUtf8} from 'node:buffer'
import {printableJson, UNPRINTABLE} from '../jobs/printable.ts'

/** How a column says that there is nothing, as in PostgreSQL's COPY and MySQL's LOAD DATA. */
export const NOTHING = '\\N'

/** The argument as text, null if it is none: not UTF-8, or with a NUL in it. */
export function argText(arg: Uint8Array): string | null {
  return isUtf8(arg) && !arg.includes(0) ? buffer(arg).toString('utf8') : null
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * An argument on one line: JSON stays JSON, with spaces for its line breaks and tabs (it has them between its tokens
 * only); other text and bytes are escaped.
 */
export function argLine(arg: Uint8Array | null): string {
  if (arg === null) return NOTHING
  const text = argText(arg)
  if (text === null)
    return buffer(arg)
      .toString('latin1')
      .replace(/[^ -[\]-~]/g, escaped)
  if (!ESCAPED.test(text)) return text
  if (!isJson(text)) return oneLine(text)
  return printableJson(text.replace(/[\t\r\n]+/g, ' '))
}

const ESCAPED = new RegExp(`[\\\\${UNPRINTABLE}]`)
const ALL_ESCAPED = new RegExp(ESCAPED, 'g')

/** Text on one line: \t \n \r \\, and \xHH for the bytes of what else is not shown as itself. `printf %b` reads it back. */
export function oneLine(text: string): string {
  return text.replace(ALL_ESCAPED, character =>
    [...Buffer.from(character)].map(byte => escaped(String.fromCharCode(byte))).join(''),
  )
}

const ESCAPES: Record<string, string> = {'\t': '\\t', '\n': '\\n', '\r': '\\r', '\\': '\\\\'}

function escaped(byte: string): string {
  return ESCAPES[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`
}

/** A duration for people, in its two largest units: 45s, 12m 5s, 3h 20m, 2d 4h. */
export function duration(seconds: number): string {
  if (Number.isNaN(seconds)) return '?'
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const
  const first = units.findIndex(([, size]) => seconds >= size)
  if (first < 0) return '0s'
  const [unit, size] = units[first]!
  const [lesser, lesserSize] = units[first + 1] ?? ['', 1]
  const rest = Math.floor((seconds % size) / lesserSize)
  return `${Math.floor(seconds / size)}${unit}${lesser && rest > 0 ? ` ${rest}${lesser}` : ''}`
}

/** A time as people tell it from now: `5m ago`, `in 2h`. */
export function fromNow(time: number, now: number = Math.floor(Date.now() / 1000)): string {
  if (Number.isNaN(time)) return '?'
  return time > now ? `in ${duration(time - now)}` : time === now ? 'now' : `${duration(now - time)} ago`
}

const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

/** A curve in `width` characters or fewer, a space for nothing: neighbours are added up where there are too many. */
export function sparkline(values: readonly number[], width: number): string {
  const size = Math.ceil(values.length / Math.max(1, width))
  const sums = Array.from({length: Math.ceil(values.length / size)}, (_, i) =>
    values.slice(i * size, (i + 1) * size).reduce((sum, value) => sum + value, 0),
  )
  const highest = Math.max(...sums)
  return sums.map(sum => (sum === 0 ? ' ' : BARS[Math.ceil((sum / highest) * BARS.length) - 1]!)).join('')
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
