/**
 * The command line's bytes. Node hands words over as text, in which bytes that are not UTF-8 have become U+FFFD: stored
 * like that they would be damaged, and a file would get another name. Linux still has the bytes.
 */
import {isUtf8} from 'node:buffer'
import {readFileSync} from 'node:fs'
import {UsageError} from '../jobs/errors.ts'

const REPLACEMENT = '\uFFFD'

/** @throws UsageError for a word that is not UTF-8, save `enqueue --arg`'s, which `rawWord` gives */
export function checkWords(argv: readonly string[]): void {
  const raw = rawWords(argv)
  const wrong = argv.findIndex(
    (word, i) => word.includes(REPLACEMENT) && !(raw && isUtf8(raw[i]!)) && !isArg(argv, i, raw !== null),
  )
  if (wrong < 0) return
  throw new UsageError(`expected words in UTF-8, got bytes that are not: ${JSON.stringify(argv[wrong])}`, {
    hint: 'an argument of any bytes can come through --arg-file and --serializer none',
  })
}

/** A word as it was typed: the text itself, or the bytes where it is not UTF-8. */
export function rawWord(text: string, argv: readonly string[] = process.argv.slice(2)): string | Uint8Array {
  const index = argv.findIndex((_word, i) => isArg(argv, i, true) && argv[i]!.endsWith(text))
  const word = rawWords(argv)?.[index]
  if (!word || isUtf8(word)) return text
  return argv[index] === text ? word : word.subarray(word.indexOf('=') + 1)
}

function isArg(argv: readonly string[], i: number, isKnown: boolean): boolean {
  return isKnown && argv[0] === 'enqueue' && (argv[i - 1] === '--arg' || argv[i]!.startsWith('--arg='))
}

/** Read once: what hides a password in them (main.ts) hides the bytes as well. */
let read: [Buffer[] | null] | undefined

function rawWords(argv: readonly string[]): Buffer[] | null {
  read ??= [readWords(argv)]
  return read[0]
}

/** An older Node that handed over to this one (bin/run.js) could only pass text on: then its command line has the bytes. */
function readWords(argv: readonly string[]): Buffer[] | null {
  const own = wordsOf('self', argv)
  if (!own?.every(word => isUtf8(word))) return own
  return wordsOf(process.ppid, argv) ?? own
}

/** The last words of a process's command line, if they are these. */
function wordsOf(pid: number | 'self', argv: readonly string[]): Buffer[] | null {
  let line: Buffer
  try {
    line = readFileSync(`/proc/${pid}/cmdline`)
  } catch {
    return null // not on Linux, or another user's process
  }
  const words: Buffer[] = []
  for (let start = 0; start < line.length; start += words.at(-1)!.length + 1)
    words.push(line.subarray(start, line.indexOf(0, start)))
  const last = words.slice(-argv.length)
  return last.length === argv.length && last.every((word, i) => word.toString() === argv[i]) ? last : null
}
