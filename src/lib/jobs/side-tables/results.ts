/** What a job's worker returns, as it is kept: JSON, in jobq_result. */
import {ArgumentError} from '../errors.ts'
import {inspected} from '../value.ts'

/** The most bytes of a result: what is larger belongs into a file or a table, and its name into the result. */
export const MAX_RESULT_BYTES = 64 << 10

/** As it is kept; nothing is null. @throws ArgumentError for what JSON can't hold, or what is too large */
export function encodeResult(result: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(result ?? null)
  } catch (cause) {
    throw new ArgumentError(`result: expected what JSON holds, got ${inspected(result)}`, {cause, hint: HINT})
  }
  if (json === undefined)
    throw new ArgumentError(`result: expected what JSON holds, got ${inspected(result)}`, {hint: HINT})
  return checkedSize(json)
}

/** The same of what an executable has written. @throws ArgumentError */
export function readResult(bytes: Buffer): string {
  checkResultSize(bytes.length)
  const text = bytes.toString('utf8').trim()
  if (text === '') return 'null'
  try {
    JSON.parse(text)
  } catch {
    throw new ArgumentError(
      `result: expected JSON in JOBQ_RESULT, got ${JSON.stringify(text.slice(0, 60))}`,
      {
        hint: 'text goes in quotes; nothing at all is null',
      },
    )
  }
  return checkedSize(text)
}

/** As it is told: what another program has put into the table and is no JSON is a text. */
export function decodeResult(stored: string): {value: unknown; json: string} {
  try {
    return {value: JSON.parse(stored), json: stored}
  } catch {
    return {value: stored, json: JSON.stringify(stored)}
  }
}

const HINT = 'return plain objects, arrays, texts, numbers; or keep no result of this function'

function checkedSize(json: string): string {
  checkResultSize(Buffer.byteLength(json))
  return json
}

/** @throws ArgumentError */
export function checkResultSize(bytes: number): void {
  if (bytes <= MAX_RESULT_BYTES) return
  throw new ArgumentError(`result: expected at most ${MAX_RESULT_BYTES} bytes of JSON, got ${bytes}`, {
    hint: 'keep it in a file or a table, and return its name',
  })
}
