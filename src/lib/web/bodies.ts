/** What comes with a POST: read up to a limit, as the kind that is expected. */
import {Refusal} from './refusal.ts'

/** A form of a page: 10,000 chosen jobs are 150 kB. */
const MAX_FORM_BYTES = 256 << 10

/** @throws Refusal */
export async function formOf(request: Request): Promise<URLSearchParams> {
  checkType(request, 'application/x-www-form-urlencoded')
  return new URLSearchParams(await textOf(request, MAX_FORM_BYTES))
}

/** @throws Refusal */
export function checkType({headers}: Request, type: string): void {
  const given = /^[^;\s]*/.exec(headers.get('content-type') ?? '')![0].toLowerCase()
  if (given !== type) throw new Refusal(415, 'WRONG_TYPE', `expected ${type}, got ${given || 'nothing'}`)
}

/** @throws Refusal */
export async function textOf({body, headers}: Request, most: number): Promise<string> {
  const tooLarge = () => new Refusal(413, 'TOO_LARGE', `expected at most ${most} bytes, got more`)
  if (Number(headers.get('content-length')) > most) throw tooLarge()
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for await (const part of body ?? []) {
      size += part.byteLength
      if (size > most) throw tooLarge()
      parts.push(part)
    }
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal(400, 'NOT_WHOLE', 'expected all of the body, got a connection that ended before')
  }
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(Buffer.concat(parts))
  } catch {
    throw new Refusal(400, 'NOT_TEXT', 'expected text in UTF-8, got bytes that are not')
  }
}
