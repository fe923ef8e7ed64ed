/**
 * A command's output, and what becomes of it where it can't be written: a closed pipe (`jobq list | head -1`) ends the
 * command quietly, a full disk is an error.
 */
import {writeSync} from 'node:fs'
import {EXIT} from '../jobs/errors.ts'
import {withoutPasswords} from '../jobs/passwords.ts'
import {printable, printableLines} from '../jobs/printable.ts'

const [STDOUT, STDERR] = [1, 2]

let done = ''
let unwritten: number = EXIT.failed

/** What stays done even if nobody can be told: an id whose output failed is a job on disk. */
export function noteDone(what: string): void {
  done = what
}

/** The exit status if the output can't be written. */
export function failWith(exitCode: number): void {
  unwritten = exitCode
}

/** A line, or a document, on standard output. */
export function say(text: string | Uint8Array): void {
  write(STDOUT, text)
}

/** Says lines to people: under --json nothing. */
export function printer(json = false): (text: string) => void {
  return text => {
    if (!json) say(printableLines(text.endsWith('\n') ? text : `${text}\n`))
  }
}

/** A line on standard error: what a name or a file says in it neither breaks it nor reaches the terminal as a command,
 * and an address in it has no password. */
export function complain(line: string): void {
  write(STDERR, `${printable(withoutPasswords(line))}\n`)
}

/** For what is written through process.stdout and process.stderr, which are not made before someone asks for them. */
export function guardOutput(): void {
  guard('stdout', giveUp)
  guard('stderr', () => {}) // there is nowhere left to say it: the exit status does
}

function guard(name: 'stdout' | 'stderr', onError: (error: NodeJS.ErrnoException) => void): void {
  const {get} = Object.getOwnPropertyDescriptor(process, name)!
  const made = (): NodeJS.WriteStream => {
    const stream = get!.call(process).on('error', onError)
    Object.defineProperty(process, name, {get: () => stream})
    return stream
  }
  Object.defineProperty(process, name, {get: made})
}

/** What is short is written without Node's streams, which take 3 ms to load: half as long as better-sqlite3. */
function write(fd: typeof STDOUT | typeof STDERR, text: string | Uint8Array): void {
  let rest: Uint8Array = typeof text === 'string' ? Buffer.from(text) : text
  try {
    while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') writeLater(fd, rest)
    else if (fd === STDOUT) giveUp(error as NodeJS.ErrnoException)
  }
}

/** Someone who shares the pipe has made it one that refuses what it has no room for: the streams wait for that. */
function writeLater(fd: number, rest: Uint8Array): void {
  const stream = fd === STDOUT ? process.stdout : process.stderr
  stream.write(rest)
}

/**
 * A closed pipe is no error: who reads no more wants no more. A full disk is: one line on stderr, exit 1 (or failWith's), and a word
 * about what was done all the same.
 */
function giveUp(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done)
  process.exit(tellUnwritten(error))
}

/** Standard output lacks some of what was to be there. @returns the exit status */
export function tellUnwritten(error: Error): number {
  complain(`jobq: can't write to standard output (${error.message})${done && `; ${done}`}`)
  return unwritten
}
