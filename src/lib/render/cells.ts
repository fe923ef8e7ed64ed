/** Cells that several tables have: how many, what may be missing, how much memory. */
import type {Cell, Tone} from './table.ts'
import {oneLine} from './text.ts'

/** None is dim, whatever tone others have. */
export function countCell(count: number, tone?: Tone): Cell {
  if (count === 0) return {text: '0', tone: 'dim'}
  return tone === undefined ? {text: String(count)} : {text: String(count), tone}
}

export function orDash(value: number | string | null): Cell {
  return value === null ? {text: '-', tone: 'dim'} : {text: oneLine(String(value))}
}

export function memoryText(bytes: number | null): string {
  return bytes === null ? '-' : `${(bytes / 2 ** 20).toFixed(0)}M`
}
