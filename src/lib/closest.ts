/**
 * What a misspelt name was meant to be. Jobq's own twenty lines: a package of CommonJS costs a process that is made of
 * modules 4 MB, for Node's second loader, and each of a pool's children would pay that.
 */

/** The one of these that takes the fewest edits to become the word; the first of several; '' of none. */
export function closest(word: string, known: readonly string[]): string {
  let best = ''
  let least = Number.POSITIVE_INFINITY
  for (const name of known) {
    const edits = distance(word, name)
    if (edits >= least) continue
    best = name
    least = edits
  }
  return best
}

/** How many characters must be put in, taken out or changed to make one word of the other: Levenshtein's. */
export function distance(a: string, b: string): number {
  // Row i: what it takes to make each beginning of b of the first i characters of a
  let row = Array.from({length: b.length + 1}, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
