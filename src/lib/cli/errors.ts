/** An error as a user gets to see it: one line on stderr, or under --json one document on stdout. */
import {EXIT, isShort, JobqError, shortageHint} from '../jobs/errors.ts'
import {withoutPasswords} from '../jobs/passwords.ts'
import {printable, printableJson} from '../jobs/printable.ts'
import {complain, say} from './output-guard.ts'

/** Sets the exit status that says so, first: showing it ends the process if nobody reads any more. */
export function showError(error: unknown, json: boolean): void {
  const {code, exitCode, ...told} = facts(error)
  const [message, hint] = [withoutPasswords(told.message), withoutPasswords(told.hint)]
  process.exitCode = exitCode
  if (json) say(`${printableJson(JSON.stringify({error: {code, message, hint}}))}\n`)
  else complain(`jobq: ${message}${hint ? ` (${hint})` : ''}`)
  if (process.env.JOBQ_DEBUG)
    for (const line of (error instanceof Error ? withCauses(error) : String(error)).split('\n'))
      complain(line)
}

/** For `jobq check`: what is wrong, in the form and with the exit status of a monitoring plugin. */
export function showUnknown(error: unknown, json: boolean): void {
  const {code, message, hint} = facts(error)
  process.exitCode = 3
  const [told, advice] = [withoutPasswords(message), withoutPasswords(hint)]
  if (json)
    say(`${printableJson(JSON.stringify({status: 'UNKNOWN', error: {code, message: told, hint: advice}}))}\n`)
  else say(`JOBQ UNKNOWN - ${printable(told + (advice && ` (${advice})`)).replaceAll('|', '/')}\n`)
}

function facts(error: unknown): {code: string; message: string; hint: string; exitCode: number} {
  if (error instanceof JobqError) {
    const {code, message, hint, exitCode} = error
    return {code, message, hint, exitCode}
  }
  const message = error instanceof Error ? error.message : String(error)
  if (isShort(error)) return {code: 'NO_PROCESS', message, hint: shortageHint(error), exitCode: EXIT.failed}
  return {
    code: 'INTERNAL',
    message: `unexpected: ${message}`,
    hint: 'this is a defect in jobq; JOBQ_DEBUG=1 shows where',
    exitCode: EXIT.failed,
  }
}

function withCauses(error: Error): string {
  const stack = error.stack ?? error.message
  return error.cause instanceof Error ? `${stack}\n  caused by: ${withCauses(error.cause)}` : stack
}
