/**
 * Contenders side by side: every round runs each of them once, in turning order, so that what disturbs the machine
 * disturbs all. Figures are medians with least and greatest; only ratios of one run are to be compared.
 */

export interface Contender {
  name: string
  unit: Unit
  /** One round: the figure in its unit. */
  run(round: number): number | Promise<number>
}

export type Unit = 'jobs/s' | 'ms' | 'µs' | 'MB' | '%' | 's' | 'B' | 'trips/s' | ''

export interface Series {
  name: string
  unit: Unit
  values: number[]
}

/**
 * @param warm rounds that are run and forgotten: caches fill, code gets compiled
 * @param keepOrder for contenders of which one leaves what the next one needs
 */
export async function interleave(
  rounds: number,
  contenders: readonly Contender[],
  warm = 1,
  {keepOrder = false} = {},
): Promise<Series[]> {
  const series = contenders.map(({name, unit}) => ({name, unit, values: [] as number[]}))
  for (let round = -warm; round < rounds; round++)
    for (let turn = 0; turn < contenders.length; turn++) {
      const i = keepOrder ? turn : (turn + round + warm) % contenders.length
      const value = await contenders[i]!.run(round)
      if (round >= 0) series[i]!.values.push(value)
    }
  return series
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Between the two nearest values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const at = q * (sorted.length - 1)
  const [low, high] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN]
  return low + (high - low) * (at % 1)
}

/** The ratio of the medians, and the range of the ratios of each round. */
export function ratio(of: Series, to: Series): {ratio: number; range: readonly [number, number]} {
  const each = of.values.map((value, i) => value / to.values[i]!)
  return {ratio: median(of.values) / median(to.values), range: [Math.min(...each), Math.max(...each)]}
}

export function named(series: readonly Series[], name: string): Series {
  const found = series.find(one => one.name === name)
  if (!found) throw new Error(`no series is named ${name}`)
  return found
}

/** How many a second. */
export async function perSecond(count: number, work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return count / ((performance.now() - start) / 1000)
}

/** In milliseconds. */
export async function took(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
