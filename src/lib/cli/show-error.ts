/** An error as a user gets to see it: one line on stderr, or under --json one document on stdout. */
import {EXIT, JobqError} from '../errors.ts'
import {complain, say} from './output-guard.ts'

/** Sets the exit status that says so, first: showing it ends the process if nobody reads any more. */
export function showError(error: unknown, json: boolean): void {
  const {code, message, hint, exitCode} = facts(error)
  process.exitCode = exitCode
  if (json) say(`${JSON.stringify({error: {code, message, hint}})}\n`)
  else complain(`jobq: ${oneLine(message)}${hint ? ` (${oneLine(hint)})` : ''}\n`)
  if (process.env.JOBQ_DEBUG) complain(`${error instanceof Error ? withCauses(error) : error}\n`)
}

function facts(error: unknown): {code: string; message: string; hint: string; exitCode: number} {
  if (error instanceof JobqError) return error
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: 'INTERNAL',
    message: `unexpected: ${message}`,
    hint: 'this is a defect in jobq; JOBQ_DEBUG=1 shows where',
    exitCode: EXIT.failed,
  }
}

/** What a name or a file says must neither break the line nor reach the terminal as a command. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu, char => {
    const escaped = JSON.stringify(char).slice(1, -1)
    return escaped === char ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : escaped
  })
}

function withCauses(error: Error): string {
  const stack = error.stack ?? error.message
  return error.cause instanceof Error ? `${stack}\n  caused by: ${withCauses(error.cause)}` : stack
}
