/** Flags whose value may be left out (`--abilities`, `--watch`), which oclif has no kind for. */
import {UsageError} from '../jobs/errors.ts'
import {isBare} from './argv.ts'

/** The seconds of a --watch. @throws UsageError */
export function parseWatch(text: string): number {
  const seconds = /^(\d+(\.\d+)?|\.\d+)s?$/.test(text) ? Number.parseFloat(text) : Number.NaN
  if (seconds >= 0.1 && seconds <= 86_400) return seconds
  throw new UsageError(`--watch: expected seconds from 0.1 to 86400, got ${JSON.stringify(text)}`)
}

/** A bare flag is given a value, before the words are parsed. */
export function giveBare(argv: readonly string[], flag: string, value: string): string[] {
  const end = argv.indexOf('--')
  return argv.flatMap((word, i) =>
    word === flag && (end < 0 || i < end) && isBare(argv[i + 1]) ? [word, value] : [word],
  )
}
