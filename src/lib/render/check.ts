/** `jobq check` in the form of monitoring plugins: a state, why, and after a bar what a graph is drawn of. */
import {duration} from './text.ts'

export const STATES = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const

/** A number that is looked at, and from which on it is too much, or too little; null: it never is. */
export interface Measure {
  name: 'ready' | 'failed' | 'age' | 'workers'
  value: number
  warn: number | null
  most: number | null
  /** Fewer are critical. */
  least?: number
  /** There are none for that. */
  isPaused?: boolean
}

/** Its exit status: the place in STATES. */
export function stateOf({value, warn, most, least}: Measure): 0 | 1 | 2 {
  if (least !== undefined) return value < least ? 2 : 0
  if (most !== null && value > most) return 2
  return warn !== null && value > warn ? 1 : 0
}

/** @param warnings of how the server is set up */
export function checkLine(
  measures: readonly Measure[],
  state: number,
  warnings: readonly string[] = [],
): string {
  const reasons = [...reasonsOf(measures), ...warnings]
  const told = (reasons.length > 0 ? reasons : measures.map(inWords)).join(', ')
  return `JOBQ ${STATES[state]} - ${told} | ${measures.map(perfdata).join(' ')}\n`
}

/** What is not as it should be, in words. */
export function reasonsOf(measures: readonly Measure[]): string[] {
  return measures.filter(measure => stateOf(measure) > 0).map(inWords)
}

function inWords(measure: Measure): string {
  const {name, value, warn, most, least, isPaused} = measure
  if (least !== undefined)
    return `${value} ${value === 1 ? 'worker' : name}${isPaused ? ', paused' : ''}${value < least ? ` (at least ${least})` : ''}`
  const shown = name === 'age' ? `oldest ready for ${duration(value)}` : `${value} ${name}`
  const limit = stateOf(measure) === 2 ? most : stateOf(measure) === 1 ? warn : null
  return limit === null ? shown : `${shown} (at most ${name === 'age' ? duration(limit) : limit})`
}

/** A range with a colon behind it is one that begins there. */
function perfdata({name, value, warn, most, least}: Measure): string {
  if (least !== undefined) return `${name}=${value};;${least}:;0`
  return `${name}=${value}${name === 'age' ? 's' : ''};${warn ?? ''};${most ?? ''};0`
}
