/**
 * What a misspelt name was meant to be. Loaded only when someone has misspelt one: a CommonJS package costs a process
 * that is made of modules 4 MB, for Node's second loader, and each of a pool's children would pay that.
 */
import {createRequire} from 'node:module'
import type * as Levenshtein from 'fastest-levenshtein'

const load = (): typeof Levenshtein => createRequire(import.meta.url)('fastest-levenshtein')

/** The one of these that takes the fewest edits to become the word; the first of several; '' of none. */
export function closest(word: string, known: readonly string[]): string {
  return known.length === 0 ? '' : load().closest(word, known)
}

/** `did you mean …? ` where one of these begins with the word or is near enough, else ''. */
export function suggestion(word: string, known: readonly string[]): string {
  if (known.length === 0) return ''
  const longer = known.find(name => word.length > 2 && name.startsWith(word))
  const best = longer ?? closest(word, known)
  const edits = distance(word, best)
  const isNear = edits <= Math.max(2, best.length / 3) && edits < Math.min(word.length, best.length)
  return longer || isNear ? `did you mean ${best}? ` : ''
}

/** How many characters must be put in, taken out or changed to make one word of the other: Levenshtein's. */
export function distance(a: string, b: string): number {
  return load().distance(a, b)
}
