/**
 * Reads Prometheus's text exposition format 0.0.4, and takes nothing that its own reader would have to guess at: help
 * and type stand once and before the samples, families are not interleaved, no series is there twice, only what must be
 * escaped is, and histograms add up.
 */
import assert from 'node:assert/strict'

export interface Family {
  type: string
  help: string
  /** Series as written, `name{label="value"}` with the labels by name, and its value. */
  samples: Map<string, number>
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y
const SUFFIX = /_(bucket|sum|count)$/

/** @throws AssertionError with the line that is wrong */
export function parseExposition(text: string): Map<string, Family> {
  assert.ok(text === '' || text.endsWith('\n'), 'the last line has no end')
  const families = new Map<string, Family>()
  let current = ''
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (keyword === 'HELP') {
      assert.ok(!families.has(name), `a second ${line}`)
      assert.match(rest, /^(?:[^\\]|\\[\\n])+$/, line)
      families.set(name, {type: '', help: rest, samples: new Map()})
      current = name
    } else if (keyword === 'TYPE') {
      assert.equal(name, current, `not below its help: ${line}`)
      assert.match(rest, /^(gauge|counter|histogram)$/, line)
      if (rest === 'counter') assert.match(name, /_total$/)
      families.get(name)!.type = rest
    } else addSample(line, current, families.get(current))
  }
  for (const [name, {type, samples}] of families)
    if (type === 'histogram') checkHistogram(name, samples)
    else assert.ok([...samples.values()].every(value => value >= 0 && value < Infinity))
  return families
}

function addSample(line: string, current: string, family: Family | undefined): void {
  const [, name = '', labels, value = ''] = SAMPLE.exec(line) ?? assert.fail(`not a sample: ${line}`)
  const expected = family?.type === 'histogram' ? name.replace(SUFFIX, '') : name
  assert.ok(family && family.type !== '' && expected === current, `out of its family: ${line}`)
  assert.match(value, /^(\d+(\.\d+)?(e[+-]?\d+)?|\+Inf)$/, line)
  const series = `${name}{${labels === undefined ? '' : sortedLabels(labels, line)}}`
  assert.ok(!family.samples.has(series), `twice: ${line}`)
  family.samples.set(series, Number(value.replace('+Inf', 'Infinity')))
}

function sortedLabels(text: string, line: string): string {
  const labels: string[] = []
  LABEL.lastIndex = 0
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value] = LABEL.exec(text) ?? assert.fail(`bad labels: ${line}`)
    labels.push(`${name}="${value}"`)
  }
  return labels.sort().join(',')
}

function checkHistogram(name: string, samples: Map<string, number>): void {
  const distributions = new Map<string, [le: number, count: number][]>()
  for (const [series, value] of samples) {
    const [, part = '', labels = ''] = /^.*?_(bucket|sum|count)\{(.*)\}$/.exec(series)!
    if (part !== 'bucket') continue
    const le = /(?:^|,)le="([^"]+)"/.exec(labels)?.[1]?.replace('+Inf', 'Infinity')
    assert.ok(le !== undefined, `no le: ${series}`)
    const others = labels.replace(/(^|,)le="[^"]+"/, '').replace(/^,/, '')
    const buckets = distributions.get(others) ?? []
    distributions.set(others, [...buckets, [Number(le), value]])
  }
  for (const [labels, buckets] of distributions) {
    for (const [i, [le, count]] of buckets.entries()) {
      if (i === 0) continue
      assert.ok(le > buckets[i - 1]![0], `${name}{${labels}}: buckets out of order`)
      assert.ok(count >= buckets[i - 1]![1], `${name}{${labels}}: not cumulative at ${le}`)
    }
    const count = samples.get(`${name}_count{${labels}}`)
    assert.deepEqual(
      buckets.at(-1),
      [Infinity, count],
      `${name}{${labels}}: the last bucket is not the count`,
    )
    assert.ok(samples.has(`${name}_sum{${labels}}`), `${name}{${labels}}: no sum`)
  }
  assert.equal([...samples.keys()].filter(series => /_count\{/.test(series)).length, distributions.size)
}
