import assert from 'node:assert/strict'
import type {Home} from './home.ts'
import type {RunOptions} from './jobq.ts'
import type {Finished} from './started.ts'

export interface Refusal {
  exit: number
  /** The error's code under --json. */
  code: string
  /** What the line must say: what was expected, what was got, what to do. */
  says: readonly (string | RegExp)[]
}

export function usage(...says: Refusal['says']): Refusal {
  return {exit: 2, code: 'USAGE', says}
}

export function badArgument(...says: Refusal['says']): Refusal {
  return {exit: 2, code: 'BAD_ARGUMENT', says}
}

/** Bad input gets one line and the right exit status; under --json the error object alone; and nothing changes on disk. */
export async function assertRefused(
  home: Home,
  [command = '', ...words]: readonly string[],
  refusal: Refusal,
  options: RunOptions = {},
): Promise<void> {
  const before = home.files()
  assertOneLine(await home.call([command, ...words], options), refusal)
  const json = await home.call([command, '--json', ...words], options)
  assert.equal(json.stderr, '')
  const document = JSON.parse(json.stdout) as {error: Record<string, unknown>}
  const {code, message, hint} = document.error
  assert.deepEqual(document, {error: {code, message, hint}})
  assert.deepEqual({code, exit: json.code}, {code: refusal.code, exit: refusal.exit})
  for (const part of refusal.says) assertSays(`${message} (${hint})`, part)
  assert.deepEqual(home.files(), before)
}

export function assertOneLine({code, stdout, stderr}: Finished, {exit, says}: Omit<Refusal, 'code'>): void {
  assert.match(stderr, /^jobq: [^\n]+\n$/)
  for (const part of says) assertSays(stderr, part)
  assert.deepEqual({code, stdout}, {code: exit, stdout: ''})
}

function assertSays(text: string, part: string | RegExp): void {
  if (typeof part === 'string') assert.ok(text.includes(part), `${JSON.stringify(part)} is not in: ${text}`)
  else assert.match(text, part)
}
