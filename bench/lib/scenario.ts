/**
 * What a scenario is: it measures a few contenders that do the same work, and says which ratios the goals speak of.
 * Nothing here asserts: a figure that misses its goal is shown as such.
 */
import type {Jobq} from './jobq.ts'
import type {Series} from './measure.ts'

export interface Scenario {
  /** As `npm run bench -- NAME` calls it. */
  name: string
  title: string
  /** What was done, in a few sentences: printed above the figures. */
  about: string
  run(bench: Bench): Promise<Result>
}

export interface Bench {
  quick: boolean
  /** A size, count or duration: the first for the full run, the second under --quick. */
  pick<T>(full: T, quick: T): T
  /** jobq as a user would have installed it, built from this checkout. */
  jobq: Jobq
  /** A new folder on the disk that is measured; it is removed when the scenario ends. */
  folder(): string
  /** Called when the scenario ends, however it ends. */
  defer(cleanup: () => unknown): void
}

export interface Result {
  series: Series[]
  goals?: Goal[]
  /** What was not measured, and why. */
  leftOut?: string[]
  notes?: string[]
  /** For the plot of latencies: single measurements in ms. */
  samples?: Record<string, number[]>
  /** For the plot of cost by depth. */
  curves?: Curve[]
}

/** A ratio that there is a goal for. */
export interface Goal {
  what: string
  ratio: number
  /** The least and the greatest ratio of a round: says how noisy the machine was. */
  range?: readonly [number, number] | undefined
  is: '<=' | '>='
  bound: number
  /** Of the ratio, where it is none: ms, MB, %. */
  unit?: string
}

export interface Curve {
  /** The plot that it belongs to, and the words under its x axis. */
  plot: string
  x: string
  line: string
  points: {x: number; y: number}[]
}
