/**
 * npm run soak: all of test/faults in its long form, again and again with other seeds, for JOBQ_SOAK_MINUTES (60). At the
 * first broken promise it ends with 1 at once, and says how to have the same again. Figures that the tests tell as `NAME: key=1
 * key=2` are summed up for each name. node soak.ts [FILE…]: of these only.
 */
import {globSync} from 'node:fs'
import {run} from 'node:test'
import {fileURLToPath} from 'node:url'

const MINUTES = Number(process.env.JOBQ_SOAK_MINUTES ?? 60)
const named = process.argv.slice(2)
const files = named.length > 0 ? named : globSync(fileURLToPath(new URL('*.test.ts', import.meta.url))).sort()
const sums = new Map<string, Map<string, number>>()
const since = performance.now()
const minutes = () => (performance.now() - since) / 60_000
const first = Number(process.env.JOBQ_SEED ?? Date.now() % 2 ** 31)

process.env.JOBQ_SOAK = '1'
for (let seed = first; minutes() < MINUTES && process.exitCode === undefined; seed++) {
  process.env.JOBQ_SEED = String(seed)
  console.log(`seed ${seed}, after ${Math.round(minutes())} of ${MINUTES} minutes`)
  await round(seed)
}
for (const [name, figures] of sums)
  console.log(`${name}: ${[...figures].map(([key, count]) => `${key}=${count}`).join(' ')}`)
console.log(`${Math.round(minutes())} minutes${process.exitCode ? '' : ': no promise was broken'}`)

/** One file after the other, each to its end. */
async function round(seed: number): Promise<void> {
  const stop = new AbortController()
  const events = run({files, concurrency: false, signal: stop.signal})
  for await (const {type, data} of events) {
    if (type === 'test:pass' && data.details.type !== 'suite') console.log(`  ${data.name}`)
    if (type === 'test:diagnostic') add(data.message)
    if (type !== 'test:fail') continue
    console.error(`BROKEN: ${data.name}\n`, data.details.error.cause ?? data.details.error)
    console.error(`again: JOBQ_SOAK=1 JOBQ_SEED=${seed} npx node --test ${data.file}`)
    process.exitCode = 1
    stop.abort()
    return
  }
}

function add(message: string): void {
  const [, name, text] = /^(.+): ((?:\w+=\d+ ?)+)$/.exec(message) ?? []
  if (name === undefined || text === undefined) return
  console.log(`  ${message}`)
  const figures = sums.get(name) ?? new Map<string, number>()
  sums.set(name, figures)
  for (const figure of text.trim().split(' ')) {
    const [key = '', count] = figure.split('=')
    figures.set(key, (figures.get(key) ?? 0) + Number(count))
  }
}
