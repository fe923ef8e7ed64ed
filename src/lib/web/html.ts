/**
 * HTML, as a tagged template: what is put into it is text and is escaped, unless it was made here itself. So nothing that a
 * job says is ever markup. Values stand between tags or in quoted attributes, and nowhere else.
 */
import {printable, printableLines} from '../jobs/printable.ts'

/** HTML that was made by `html`. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What may stand in a template. Nothing comes of null, undefined and false. */
export type Part = Html | string | number | null | undefined | false | readonly Part[]

export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.reduce((text, string, i) => text + textOf(parts[i - 1]) + string))
}

function textOf(part: Part): string {
  if (part === null || part === undefined || part === false) return ''
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(textOf).join('')
  return escaped(printable(String(part)))
}

/** Text of several lines, for a `<pre>`: its line breaks stay, and what could turn it around is shown as what it is. */
export function lines(text: string): Html {
  return new Html(escaped(printableLines(text)))
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => ESCAPES[character]!)
}
