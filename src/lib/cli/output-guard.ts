/**
 * Output that can't be written. A closed pipe (`jobq list | head -1`) is no error: who reads no more wants no more.
 * A full disk is: one line on stderr, exit 1, and a word about what was done all the same.
 */
import {EXIT} from '../errors.ts'

let done = ''

/** What stays done even if nobody can be told: an id whose output failed is a job on disk. */
export function noteDone(what: string): void {
  done = what
}

export function guardOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done)
    process.stderr.write(`jobq: can't write to standard output (${error.message})${done && `; ${done}`}\n`)
    process.exit(EXIT.failed)
  })
  process.stderr.on('error', () => {}) // there is nowhere left to say it: the exit status does
}
