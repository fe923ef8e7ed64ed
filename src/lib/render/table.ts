/**
 * Tables on a terminal, through cli-table3 and chalk. Only a command that draws on a terminal imports this file:
 * scripts do not pay for it.
 */
import {Chalk, type ChalkInstance, supportsColor} from 'chalk'
import Table from 'cli-table3'
import stringWidth from 'string-width'

export interface Column {
  head: string
  align?: 'right'
  /** May be cut where the terminal is too narrow: gladly is before hardly, while there is more than a few words. */
  gives?: 'gladly' | 'hardly'
  /** Left out where the terminal is too narrow even so, the last of these first. */
  leaves?: boolean
}

export interface Cell {
  text: string
  tone?: Tone
}

export type Tone = 'good' | 'bad' | 'busy' | 'waiting' | 'dim' | 'strong'

const GAP = '  '
const FEW_WORDS = 16
const LEAST_WIDTH = 8

/** Draws tables of one shape below each other: their columns have the widths of the first. */
export class TableDrawer {
  readonly #columns: readonly Column[]
  readonly #width: number
  readonly #paint: Record<Tone, (text: string) => string>
  #widths: number[] | null = null

  constructor(columns: readonly Column[], width: number) {
    this.#columns = columns
    this.#width = width
    this.#paint = tones()
  }

  draw(rows: readonly (readonly Cell[])[]): string {
    const isFirst = this.#widths === null
    const texts = rows.map(row => row.map(({text}) => text.slice(0, 4 * this.#width).toWellFormed()))
    this.#widths ??= this.#fit(texts)
    const widths = this.#widths
    const kept = <T>(cells: readonly T[]) => cells.filter((_, k) => widths[k]! > 0)
    const table = new Table({
      ...(isFirst ? {head: kept(this.#columns).map(({head}) => this.#paint.strong(head))} : {}),
      colWidths: kept(widths),
      colAligns: kept(this.#columns).map(({align}) => align ?? 'left'),
      chars: {...NO_LINES, middle: GAP},
      style: {head: [], border: [], 'padding-left': 0, 'padding-right': 0},
    })
    for (const [i, row] of rows.entries())
      table.push(kept(row.map(({tone}, k) => (tone ? this.#paint[tone](texts[i]![k]!) : texts[i]![k]!))))
    return `${table.toString().replace(/ +$/gm, '')}\n`
  }

  /**
   * The columns' widths: those of their texts. Where that is wider than the terminal, the columns that may give way are
   * cut, and then those that may be missed are left out.
   * @returns 0 for a column that is left out
   */
  #fit(rows: readonly (readonly string[])[]): number[] {
    const widths = this.#columns.map(({head}, k) =>
      rows.reduce((widest, row) => Math.max(widest, stringWidth(row[k]!)), head.length),
    )
    const least = () =>
      widths.map((width, k) => (this.#columns[k]!.gives ? Math.min(width, LEAST_WIDTH) : width))
    for (const [k, {leaves}] of [...this.#columns.entries()].reverse())
      if (leaves && lineWidth(least()) > this.#width) widths[k] = 0
    for (let over = lineWidth(widths) - this.#width; over > 0; over--) {
      const widest = this.#widestOf('gladly', widths, FEW_WORDS) ?? this.#widestOf('any', widths, LEAST_WIDTH)
      if (widest === null) break
      widths[widest]!--
    }
    return widths
  }

  /** The widest of the columns that may be cut, if it is wider than that. */
  #widestOf(giving: 'gladly' | 'any', widths: readonly number[], than: number): number | null {
    return this.#columns.reduce<number | null>((widest, {gives}, k) => {
      if (gives === undefined || (giving === 'gladly' && gives !== 'gladly')) return widest
      return widths[k]! > (widest === null ? than : widths[widest]!) ? k : widest
    }, null)
  }
}

function lineWidth(widths: readonly number[]): number {
  return widths.reduce((total, width) => (width > 0 ? total + width + GAP.length : total), -GAP.length)
}

/** NO_COLOR is obeyed here: chalk leaves it to its users. */
function tones(): Record<Tone, (text: string) => string> {
  const level = process.env.NO_COLOR ? 0 : supportsColor ? supportsColor.level : 0
  const chalk: ChalkInstance = new Chalk({level})
  return {
    good: chalk.green,
    bad: chalk.red,
    busy: chalk.cyan,
    waiting: chalk.yellow,
    dim: chalk.dim,
    strong: chalk.bold,
  }
}

const NO_LINES = Object.fromEntries(
  [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'],
  ].map(name => [name, '']),
)
