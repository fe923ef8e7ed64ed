/**
 * Characters that are never shown as themselves: control characters, line separators, and the marks that turn the rest
 * of a line around. A message has \uXXXX in their place, a document too where that is the same value; a field
 * (render/text.ts) has their bytes as \xHH.
 */

/** A terminal obeys control characters; a line separator breaks a line where no one looks for it. */
const MARKS = '\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069'

/** All of them, one character each. */
export const UNPRINTABLE = `\\u0000-\\u001f${MARKS}`

const IN_TEXT = new RegExp(`[\\u0000-\\u0008\\u000a-\\u001f${MARKS}]`, 'g')
const IN_LINES = new RegExp(`[\\u0000-\\u0008\\u000b-\\u001f${MARKS}]`, 'g')
const IN_JSON = new RegExp(`[${MARKS}]`, 'g')

/** Text that stays on its line, and says nothing to a terminal; a tab is a tab. */
export function printable(text: string): string {
  return text.replace(IN_TEXT, escaped)
}

/** The same of several lines. */
export function printableLines(text: string): string {
  return text.replace(IN_LINES, escaped)
}

/** @param json a document's text: outside of its strings there are none of these. @returns the same document */
export function printableJson(json: string): string {
  return json.replace(IN_JSON, escaped)
}

/** The same JSON for a database of few letters, LATIN1 say. */
export function asciiJson(json: string): string {
  return json.replace(/[^\0-\x7f]/g, escaped)
}

/** Text for such a database, with ? for what it may have no letter for. */
export function asciiText(text: string): string {
  return text.replace(/[^ -~]/gu, '?')
}

function escaped(char: string): string {
  if (char === '\n') return '\\n'
  if (char === '\r') return '\\r'
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Why an attempt failed, in a line: an error's first; how a process ended, and the last line that it has written. */
export function gist(message: string): string {
  const [first = '', ...lines] = message.trim().split('\n')
  const last = /^(exited with status \d+|was killed by \w+)$/.test(first) ? lines.at(-1) : undefined
  return last === undefined ? first : `${first}: ${last.trim()}`
}
