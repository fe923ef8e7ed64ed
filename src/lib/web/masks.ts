/**
 * What the pages don't show of arguments: the configuration's `maskArguments`. A masked argument is made of the stored one
 * before anything else sees it, a search included.
 */
import type {JobqConfig} from '../config/schema.ts'
import {exactly, isRaw} from '../jobs/serializers/exactly.ts'
import {isObject} from '../jobs/value.ts'

type Fields = true | readonly string[]

/** A function that is called so means all of them. */
const EVERY = '*'
const MASK = '***'

export class Masks {
  readonly #masks: NonNullable<JobqConfig['maskArguments']>

  constructor(masks: JobqConfig['maskArguments']) {
    this.#masks = masks ?? {}
  }

  /** The row with its argument as it may be shown. */
  of<Row extends {func: string; arg: Uint8Array | null}>(row: Row): Row {
    const fields = this.#fieldsOf(row.func)
    return row.arg === null || fields === null ? row : {...row, arg: masked(row.arg, fields)}
  }

  #fieldsOf(func: string): Fields | null {
    const both = [EVERY, func].flatMap(name => (Object.hasOwn(this.#masks, name) ? [this.#masks[name]!] : []))
    if (both.length === 0) return null
    return both.includes(true) ? true : (both as (readonly string[])[]).flat()
  }
}

/** What is not JSON has no fields: it is masked whole. */
function masked(arg: Uint8Array, fields: Fields): Uint8Array {
  if (fields === true) return Buffer.from(JSON.stringify(MASK))
  try {
    const text = new TextDecoder('utf-8', {fatal: true}).decode(arg)
    return Buffer.from(JSON.stringify(maskedIn(JSON.parse(text, exactly as never), fields, '')))
  } catch {
    return Buffer.from(JSON.stringify(MASK))
  }
}

/** A field is named by itself, wherever it is, or by its path from the top, in which places in arrays don't count. */
function maskedIn(value: unknown, fields: readonly string[], path: string): unknown {
  if (Array.isArray(value)) return value.map(item => maskedIn(item, fields, path))
  if (!isObject(value) || isRaw(value)) return value
  const entries = Object.entries(value).map(([key, inner]) => {
    const its = path === '' ? key : `${path}.${key}`
    return [key, fields.includes(key) || fields.includes(its) ? MASK : maskedIn(inner, fields, its)]
  })
  return Object.fromEntries(entries)
}
