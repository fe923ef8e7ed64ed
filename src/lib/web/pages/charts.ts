/** Charts as SVG: bars, made here, so that they are there without a script, and need no style of their own. */
import {type Html, html} from '../html.ts'
import {count} from './parts.ts'

const HEIGHT = 40

/** Jobs in each of the last minutes, the current one last. */
export function perMinuteChart(perMinute: readonly number[] | null, name: string): Html {
  if (perMinute === null) return html`–`
  const sum = perMinute.reduce((total, jobs) => total + jobs, 0)
  const highest = Math.max(...perMinute)
  const says = `${name}: ${count(sum)} jobs in the last hour, at most ${count(highest)} in a minute`
  return bars(perMinute, says)
}

/** Of run times: up to so many seconds, and what they are called. */
const STEPS: readonly [below: number, name: string][] = [
  [1, '< 1 s'],
  [2, '1 s'],
  [5, '2–4 s'],
  [10, '5–9 s'],
  [30, '10–29 s'],
  [60, '30–59 s'],
  [300, '1–4 min'],
  [Number.POSITIVE_INFINITY, '5 min +'],
]

/** How many jobs took how long, in the last hour. */
export function runTimesChart(took: readonly [seconds: number, jobs: number][]): Html {
  const sums = STEPS.map(([below], i) => {
    const from = STEPS[i - 1]?.[0] ?? 0
    return took.reduce((sum, [seconds, jobs]) => (seconds >= from && seconds < below ? sum + jobs : sum), 0)
  })
  const highest = Math.max(1, ...sums)
  return html`<table class="bars"><caption>Run times of the last hour</caption>
<thead><tr><th scope="col">Took</th><th scope="col">Jobs</th><th scope="col">Part</th></tr></thead>
<tbody>${STEPS.map(
    ([, name], i) => html`<tr><th scope="row">${name}</th><td class="number">${count(sums[i]!)}</td>
<td><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="${part(sums[i]!, highest, 100)}" height="10"/></svg></td></tr>`,
  )}</tbody></table>`
}

function bars(values: readonly number[], says: string): Html {
  const highest = Math.max(1, ...values)
  return html`<svg class="chart" viewBox="0 0 ${2 * values.length} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${says}"><title>${says}</title>${values.map(
    (value, i) => {
      const height = part(value, highest, HEIGHT)
      return value > 0 && html`<rect x="${2 * i}" y="${HEIGHT - height}" width="1.6" height="${height}"/>`
    },
  )}</svg>`
}

/** What is not nothing can be seen. */
function part(value: number, highest: number, size: number): number {
  return value === 0 ? 0 : Math.max(1, Math.round((size * value) / highest))
}
