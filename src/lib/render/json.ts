/** Values as JSON documents, in which text that is JSON already stays as it was written. */
import {printableJson} from '../jobs/printable.ts'

/** JSON text that goes into a document as it is: an argument keeps its digits and its depth. */
export class RawJson {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** A value as one JSON document. RawJson inside it is spliced in as text. */
export function toJson(value: unknown): string {
  const raw: string[] = []
  const text = JSON.stringify(value, (_key, inner: unknown) =>
    inner instanceof RawJson ? `${MARK}${raw.push(inner.text) - 1}-` : inner,
  )
  return printableJson(raw.length === 0 ? text : text.replace(MARKED, (_, i: string) => raw[Number(i)]!))
}

/** Stands for a RawJson while the rest is written; random, so that no text that was stored before can look like it. */
const MARK = `raw-${Math.random()}${Math.random()}-`
const MARKED = new RegExp(`"${MARK}(\\d+)-"`, 'g')

/** Its line breaks are blanks to JSON: in its texts there are none. */
export function oneLineJson(json: string): string {
  return json.replace(/[\r\n]+/g, ' ')
}
