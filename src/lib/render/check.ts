/** `jobq check` in the form of monitoring plugins: a state, why, and after a bar what a graph is drawn of. */
import {duration} from './text.ts'

export const STATES = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const

/** A number that is looked at, and from which on it is too much; null: it never is. */
export interface Measure {
  name: 'ready' | 'failed' | 'age'
  value: number
  warn: number | null
  most: number | null
}

/** Its exit status: the place in STATES. */
export function stateOf({value, warn, most}: Measure): 0 | 1 | 2 {
  if (most !== null && value > most) return 2
  return warn !== null && value > warn ? 1 : 0
}

export function checkLine(measures: readonly Measure[], state: number): string {
  const bad = measures.filter(measure => stateOf(measure) > 0)
  const told = (bad.length > 0 ? bad : measures).map(measure => inWords(measure)).join(', ')
  return `JOBQ ${STATES[state]} - ${told} | ${measures.map(perfdata).join(' ')}\n`
}

function inWords(measure: Measure): string {
  const {name, value, warn, most} = measure
  const shown = name === 'age' ? `oldest ready for ${duration(value)}` : `${value} ${name}`
  const limit = stateOf(measure) === 2 ? most : stateOf(measure) === 1 ? warn : null
  return limit === null ? shown : `${shown} (at most ${name === 'age' ? duration(limit) : limit})`
}

function perfdata({name, value, warn, most}: Measure): string {
  return `${name}=${value}${name === 'age' ? 's' : ''};${warn ?? ''};${most ?? ''};0`
}
