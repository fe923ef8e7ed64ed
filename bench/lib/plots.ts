/** The plots of a report, drawn by Vega as SVG. Without it (not installed) there are none. */
import {mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {median, type Series} from './measure.ts'
import {load} from './peers.ts'
import type {Finished} from './report.ts'

interface Vega {
  parse(spec: object): object
  View: new (runtime: object, options: {renderer: 'none'}) => {toSVG(): Promise<string>}
}

interface VegaLite {
  compile(spec: object): {spec: object}
}

const COLOURS = {floor: '#9aa5b1', jobq: '#2563c9', peer: '#e08a1e'}
const STYLE = {
  background: 'white',
  config: {
    font: 'sans-serif',
    axis: {labelFontSize: 11, titleFontSize: 11, labelLimit: 330},
    view: {stroke: null},
  },
}

const TITLES: Record<string, string> = {
  throughput: 'Jobs a second',
  'start-up': 'How long commands take',
  latency: 'From the commit to the start',
  depth: 'A grab beside other jobs',
  lanes: 'A grab by priorities and functions',
}

export async function drawPlots(
  folder: string,
  results: readonly Finished[],
  say: (line: string) => void,
): Promise<void> {
  try {
    const [vega, vegaLite] = await Promise.all([load<Vega>('vega'), load<VegaLite>('vega-lite')])
    mkdirSync(join(folder, 'plots'), {recursive: true})
    for (const [name, spec] of Object.entries(specs(results))) {
      if (!spec) continue
      const {spec: compiled} = vegaLite.compile({...STYLE, ...spec})
      const svg = await new vega.View(vega.parse(compiled), {renderer: 'none'}).toSVG()
      writeFileSync(join(folder, 'plots', `${name}.svg`), `${plain(svg, TITLES[name]!)}\n`)
    }
  } catch (error) {
    say(`no plots: ${(error as Error).message}`)
  }
}

/** A picture: with a title, and without the roles that Vega gives to what could be clicked. */
function plain(svg: string, title: string): string {
  return svg.replace(/ (role|aria-\w+)="[^"]*"/g, '').replace(/>/, `><title>${title}</title>`)
}

function specs(results: readonly Finished[]): Record<string, object | null> {
  return {
    throughput: bars(
      results.filter(({result}) => result?.series.some(({unit}) => unit === 'jobs/s')),
      'jobs/s',
    ),
    'start-up': bars(
      results.filter(({name}) => name === 'start-up' || name === 'commands-by-depth'),
      'ms',
    ),
    latency: distribution(results),
    depth: lines(results, 'depth'),
    lanes: lines(results, 'lanes'),
  }
}

/** A chart for each scenario, each with its own scale: medians, with a line from the least to the greatest. */
function bars(results: readonly Finished[], unit: Series['unit']): object | null {
  const charts = results.flatMap(({title, result}) => {
    const series = (result?.series ?? []).filter(one => one.unit === unit && one.values.length > 0)
    if (series.length === 0) return []
    const values = series.map(({name, values}) => ({
      name,
      kind: kindOf(name),
      middle: median(values),
      least: Math.min(...values),
      most: Math.max(...values),
    }))
    const y = {field: 'name', type: 'nominal', sort: null, title: null, axis: {labelLimit: 330}}
    return {
      title: {text: title, anchor: 'start', frame: 'group', fontSize: 12},
      data: {values},
      width: 420,
      height: {step: 20},
      layer: [
        {
          mark: {type: 'bar', height: 13},
          encoding: {
            y,
            x: {field: 'middle', type: 'quantitative', title: unit},
            color: {
              field: 'kind',
              type: 'nominal',
              title: null,
              scale: {domain: Object.keys(COLOURS), range: Object.values(COLOURS)},
            },
          },
        },
        {
          mark: {type: 'rule', strokeWidth: 1.5},
          encoding: {y, x: {field: 'least', type: 'quantitative'}, x2: {field: 'most'}},
        },
      ],
    }
  })
  return charts.length === 0
    ? null
    : {vconcat: charts, resolve: {scale: {y: 'independent', x: 'independent'}}}
}

/** Which share of the jobs has started after so long. */
function distribution(results: readonly Finished[]): object | null {
  const values = results.flatMap(({result}) =>
    Object.entries(result?.samples ?? {}).flatMap(([line, samples]) =>
      samples
        .toSorted((a, b) => a - b)
        .map((ms, i) => ({line, ms: Math.max(ms, 0.1), share: (i + 1) / samples.length})),
    ),
  )
  if (values.length === 0) return null
  return {
    title: {text: 'From the commit in one process to the start in another', anchor: 'start', fontSize: 12},
    data: {values},
    width: 420,
    height: 220,
    mark: {type: 'line', interpolate: 'step-after'},
    encoding: {
      x: {field: 'ms', type: 'quantitative', scale: {type: 'log'}, title: 'ms'},
      y: {field: 'share', type: 'quantitative', axis: {format: '%'}, title: 'jobs started'},
      color: {field: 'line', type: 'nominal', title: null},
    },
  }
}

function lines(results: readonly Finished[], plot: string): object | null {
  const curves = results.flatMap(({result}) => (result?.curves ?? []).filter(curve => curve.plot === plot))
  const values = curves.flatMap(({line, points}) => points.map(point => ({line, ...point})))
  if (values.length === 0) return null
  return {
    title: {
      text: 'A grab (settle + next), as a multiple of what it costs with nothing else there',
      anchor: 'start',
      fontSize: 12,
    },
    data: {values},
    width: 420,
    height: 220,
    mark: {type: 'line', point: true},
    encoding: {
      x: {field: 'x', type: 'quantitative', scale: {type: 'log'}, title: curves[0]!.x},
      y: {field: 'y', type: 'quantitative', title: 'times', scale: {zero: true}},
      color: {field: 'line', type: 'nominal', title: null},
    },
  }
}

function kindOf(name: string): keyof typeof COLOURS {
  if (/^(floor|node |Node )/.test(name)) return 'floor'
  return /jobq/.test(name) ? 'jobq' : 'peer'
}
