/** An error as a user gets to see it: one line on stderr, or under --json one document on stdout. */
import {EXIT, isShort, JobqError, StoreError, shortageHint} from '../jobs/errors.ts'
import {withoutPasswords} from '../jobs/passwords.ts'
import {printable, printableJson} from '../jobs/printable.ts'
import {complain, say} from './output-guard.ts'

/** Sets the exit status that says so, first: showing it ends the process if nobody reads any more. */
export function showError(error: unknown, json: boolean): void {
  const {exitCode, ...told} = factsOf(error)
  process.exitCode = exitCode
  if (json) say(`${printableJson(JSON.stringify({error: told}))}\n`)
  else complain(`jobq: ${lineOf(error)}`)
  if (process.env.JOBQ_DEBUG)
    for (const line of (error instanceof Error ? withCauses(error) : String(error)).split('\n'))
      complain(line)
}

/** The exit status of a monitoring plugin that can't tell. */
export const UNKNOWN = 3

/** For `jobq check`: what is wrong, in the form and with the exit status of a monitoring plugin. */
export function showUnknown(error: unknown, json: boolean): void {
  const {exitCode: _, ...told} = factsOf(error)
  process.exitCode = UNKNOWN
  if (json) say(`${printableJson(JSON.stringify({status: 'UNKNOWN', error: told}))}\n`)
  else say(`JOBQ UNKNOWN - ${printable(lineOf(error)).replaceAll('|', '/')}\n`)
}

/** What there is to say of an error, without a password, and the exit status that says so. */
export interface Facts {
  code: string
  message: string
  hint: string
  exitCode: number
  /** Of an enqueue that may have been stored. */
  token?: string
}

/** The facts as one line. */
export function lineOf(error: unknown): string {
  const {message, hint} = factsOf(error)
  return hint ? `${message} (${hint})` : message
}

export function factsOf(error: unknown): Facts {
  const {code, message, hint, ...rest} = rawFacts(error)
  return {code, message: withoutPasswords(message), hint: withoutPasswords(hint), ...rest}
}

function rawFacts(error: unknown): Facts {
  if (error instanceof JobqError) {
    const {code, message, hint, exitCode} = error
    const token = error instanceof StoreError ? error.token : undefined
    return {code, message, hint, exitCode, ...(token === undefined ? {} : {token})}
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
