/**
 * Flags whose value may be left out (`--abilities`, `--watch`), which oclif has no kind for: bare (the last word, or
 * before another flag) they are given a value before the words are parsed.
 */
export function giveBare(argv: readonly string[], flag: string, value: string): string[] {
  const end = argv.indexOf('--')
  return argv.flatMap((word, i) => {
    const next = argv[i + 1]
    const isBare = word === flag && (end < 0 || i < end) && (next === undefined || next.startsWith('-'))
    return isBare ? [word, value] : [word]
  })
}
