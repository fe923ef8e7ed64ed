/** What a function may be called, what a uniqkey, a priority or a size may say: checked once, at the door. */
import {UsageError} from './errors.ts'
import {
  idOf,
  type KeepOutput,
  MAX_NAME_LENGTH,
  MAX_OUTPUT_BYTES,
  MAX_UINT32,
  type RowRef,
  type Tag,
  type TagChoice,
  type TagOptions,
} from './job.ts'

/** A function is any name of 1–255 characters. @throws UsageError */
export function checkFunc(name: string, what = 'function'): string {
  return checkText(name, what, 'a function name')
}

/** A uniqkey is any text of 1–255 characters. @throws UsageError */
export function checkUniqkey(key: string, what = 'uniqkey'): string {
  return checkText(key, what, 'a key')
}

/** An enqueue's token is any text of 1–255 characters. @throws UsageError */
export function checkToken(token: string, what: string): string {
  return checkText(token, what, 'a token')
}

/** A tag: name and value are text of 1–255 characters. @throws UsageError */
export function checkTag([name, value]: Tag, what = 'tag'): Tag {
  checkTagText(name, what, "a tag's name")
  if (name.includes('='))
    throw new UsageError(`${what}: expected a tag's name without =, got ${JSON.stringify(name)}`)
  checkTagText(value, what, `a value for the tag ${name}`)
  return [name, value]
}

/** Blanks at the end don't count in every database: so there are none. */
function checkTagText(text: string, what: string, kind: string): void {
  checkText(text, what, kind)
  if (text.trim() !== text)
    throw new UsageError(`${what}: expected ${kind} without blanks at its ends, got ${JSON.stringify(text)}`)
}

/** Tags as they are written, `customer=42`. @throws UsageError */
export function parseTags(words: readonly string[], what: string): Tag[] {
  const tags = new Map<string, string>()
  for (const word of words) {
    const [name, value] = splitTag(word)
    if (value === null)
      throw new UsageError(`${what}: expected NAME=VALUE, got ${JSON.stringify(word)}`, {
        hint: 'such as --tag customer=42',
      })
    if (tags.has(name))
      throw new UsageError(`${what}: expected each name once, got ${JSON.stringify(name)} twice`)
    tags.set(...checkTag([name, value], what))
  }
  return [...tags]
}

/** Which jobs: those with `customer=42`, or with any value of `customer`. @throws UsageError */
export function parseTagChoice(words: readonly string[], what: string): TagChoice[] {
  return words.map(word => {
    const [name, value] = splitTag(word)
    checkTag([name, value ?? 'any'], what)
    return {name, value}
  })
}

/** As a store knows them. */
export function tagChoices(tags: TagOptions = {}): TagChoice[] {
  return Object.entries(tags).map(([name, value]) => ({name, value: value === true ? null : value}))
}

function splitTag(word: string): [name: string, value: string | null] {
  const at = word.indexOf('=')
  return at < 0 ? [word, null] : [word.slice(0, at), word.slice(at + 1)]
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

/** A row's id as it was printed: `17`, or with several databases `2:17`. @throws UsageError */
export function parseRef(text: string, what: string): RowRef {
  const [, db, id] = /^(?:(\d+):)?(\d+)$/.exec(text) ?? []
  if (id === undefined || Number(id) < 1 || !Number.isSafeInteger(Number(id)))
    throw new UsageError(
      `${what}: expected a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, got ${JSON.stringify(text)}`,
      {hint: 'an id is written as it was printed: 7, or with several databases 2:7'},
    )
  return db === undefined ? {id: Number(id)} : {id: Number(id), db: Number(db)}
}

/** The most ids that a range may stand for. */
const MOST_IDS = 100_000

/** Ids as people write several: `7 8`, `1-5,8`, `2:7`. Each comes once. @throws UsageError */
export function parseRefs(words: readonly string[], what: string): RowRef[] {
  const refs: RowRef[] = []
  for (const word of words.flatMap(word => word.split(','))) {
    const [, first, last] = /^(.*\d)-(\d+)$/.exec(word) ?? []
    if (first === undefined) refs.push(parseRef(word, what))
    else refs.push(...rangeOf(parseRef(first, what), parseRef(last!, what).id, word, what))
    if (refs.length > MOST_IDS)
      throw new UsageError(`${what}: expected at most ${MOST_IDS} ids, got more`, {
        hint: 'name them in several calls',
      })
  }
  return [...new Map(refs.map(ref => [idOf(ref), ref])).values()]
}

function* rangeOf(first: RowRef, last: number, word: string, what: string): Generator<RowRef> {
  if (last < first.id)
    throw new UsageError(`${what}: expected a range that goes up, got ${JSON.stringify(word)}`)
  const end = Math.min(last, first.id + MOST_IDS)
  for (let id = first.id; id <= end; id++) yield {...first, id}
}

/** Where Perl's default of 90000, which is no TCP port, arrives: the port that Qudo's clients connect to. */
export const ADMIN_PORT = 24_464

/** @throws UsageError */
export function parsePort(text: string, what: string): number {
  if (text === '90000')
    throw new UsageError(`${what}: expected a TCP port from 1 to 65535, got 90000`, {
      hint: `Perl cuts it to 16 bits: what listens on 90000 there is on ${ADMIN_PORT}; give that`,
    })
  return parseWhole(text, what, 1, 65_535)
}

/** A size as people write it: bytes, or with K, M or G (1024 each). @returns bytes. @throws UsageError */
export function parseSize(text: string, what: string): number {
  const [, digits, unit = ''] = /^(\d+)([KMG])?B?$/i.exec(text) ?? []
  const bytes = Number(digits) * 1024 ** ' KMG'.indexOf(unit.toUpperCase() || ' ')
  if (Number.isSafeInteger(bytes)) return bytes
  throw new UsageError(`${what}: expected a size such as 300M or 1G, got ${JSON.stringify(text)}`)
}

/** How much output is kept: `all`, `none`, or a size up to MAX_OUTPUT_BYTES. @throws UsageError */
export function parseKeepOutput(text: string, what: string): KeepOutput {
  if (text === 'all') return text
  const [, digits, unit = ''] = /^(\d+)([KM])?B?$/i.exec(text === 'none' ? '0' : text) ?? []
  const bytes = Number(digits) * 1024 ** ' KM'.indexOf(unit.toUpperCase() || ' ')
  if (bytes <= MAX_OUTPUT_BYTES) return bytes
  throw new UsageError(
    `${what}: expected all, none, or a size of at most 1M such as 64k, got ${JSON.stringify(text)}`,
  )
}

function checkText(text: string, what: string, kind: string): string {
  const pairs = text.length > MAX_NAME_LENGTH ? text.match(/[\ud800-\udbff][\udc00-\udfff]/g) : null
  const length = text.length - (pairs?.length ?? 0)
  if (length === 0 || length > MAX_NAME_LENGTH)
    throw new UsageError(`${what}: expected ${kind} of 1 to ${MAX_NAME_LENGTH} characters, got ${length}`)
  if (text.includes('\0') || !text.isWellFormed())
    throw new UsageError(
      `${what}: expected ${kind} of valid Unicode without NUL, got ${JSON.stringify(text)}`,
    )
  return text
}
