/** How far a job is, as it says itself while it runs: a part of 1, and some words. In jobq_progress as long as it runs. */
import {UsageError} from '../errors.ts'
import type {Progress} from '../job.ts'
import {describe} from '../value.ts'

/** The most characters of the words. */
const MOST_CHARACTERS = 255

/** A sum of parts ends so far from 1, and no job is to fail for that. */
const ROUNDED = 1e-6

/** @param fraction NaN, as 0 of 0 is, is none yet. @throws UsageError */
export function progressOf(fraction: unknown, text: unknown = ''): Progress {
  const part = Number.isNaN(fraction) ? 0 : fraction
  if (typeof part !== 'number' || part < -ROUNDED || part > 1 + ROUNDED)
    throw new UsageError(`progress: expected a part from 0 to 1, got ${describe(fraction)}`, {
      hint: "write: job.progress(0.4, 'page 4 of 10')",
    })
  if (typeof text !== 'string')
    throw new UsageError(`progress: expected text behind the part, got ${describe(text)}`)
  return {fraction: Math.min(1, Math.max(0, part)), text: shortened(text)}
}

/** What an executable's line says, `::jobq progress=40 page 4 of 10`; null: it is a line like any other. */
export function readProgress(line: string): Progress | null {
  const [, percent, text = ''] = /^::jobq progress=(\d{1,3}(?:\.\d+)?)(?:\s+(.*))?$/s.exec(line) ?? []
  if (percent === undefined || Number(percent) > 100) return null
  return {fraction: Number(percent) / 100, text: shortened(text.trimEnd())}
}

/** `40%` */
export function percent({fraction}: Pick<Progress, 'fraction'>): string {
  return `${Math.floor(fraction * 100)}%`
}

/** `40% page 4 of 10` */
export function progressText(progress: Progress): string {
  return `${percent(progress)}${progress.text && ` ${progress.text}`}`
}

function shortened(text: string): string {
  const whole = text.toWellFormed().replaceAll('\0', '')
  return whole.length <= MOST_CHARACTERS ? whole : [...whole].slice(0, MOST_CHARACTERS).join('')
}
