/**
 * npm run bench [-- [--quick] [NAME…]]: every scenario, or the named ones, each in a process of its own.
 *
 * It builds jobq from src, installs the peers, runs, and writes what it found to bench/results.md, results.json and
 * plots/ (under --quick to bench/quick/, so that the figures of a full run stay). A named scenario replaces its part.
 */
import {fork, spawnSync} from 'node:child_process'
import {mkdirSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {parseArgs} from 'node:util'
import {BENCH, Jobq, ROOT} from './lib/jobq.ts'
import {describeMachine} from './lib/machine.ts'
import {installPeers} from './lib/peers.ts'
import {drawPlots} from './lib/plots.ts'
import {type Finished, readResults, tableOf, writeResults} from './lib/report.ts'
import {SCENARIOS} from './scenarios.ts'

const {values, positionals} = parseArgs({
  options: {quick: {type: 'boolean', default: false}, help: {type: 'boolean', default: false}},
  allowPositionals: true,
})
const say = (line: string) => process.stderr.write(`${line}\n`)
const names = SCENARIOS.map(({name}) => name)
const unknown = positionals.find(name => !names.includes(name))
if (values.help || unknown !== undefined) {
  say(
    `npm run bench -- [--quick] [NAME…]\n${SCENARIOS.map(({name, title}) => `  ${name.padEnd(20)}${title}`).join('\n')}`,
  )
  process.exit(unknown === undefined ? 0 : 2)
}

const began = performance.now()
const out = values.quick ? join(BENCH, 'quick') : BENCH
mkdirSync(out, {recursive: true})
await Jobq.build()
installPeers(say)
const machine = describeMachine(process.env.JOBQ_BENCH_DIR ?? tmpdir())
let hasFailed = false
let results = readResults(out)
for (const scenario of SCENARIOS.filter(({name}) => positionals.length === 0 || positionals.includes(name))) {
  say(`${scenario.name} …`)
  const finished = await runApart(scenario.name)
  if (finished.error) hasFailed = true
  results = [...results.filter(({name}) => name !== scenario.name), {...finished, machine}]
  process.stdout.write(`${tableOf(results.at(-1)!)}\n`)
  writeResults(out, inOrder(results))
}
tidy(join(out, 'results.json'))
await drawPlots(out, inOrder(results), say)
say(`${Math.round((performance.now() - began) / 1000)} s in all; written: ${join(out, 'results.md')}`)
// A goal that is missed is no failure; a scenario that could not be run at all is
process.exitCode = hasFailed ? 1 : 0

function inOrder(all: readonly Finished[]): Finished[] {
  return all
    .filter(({name}) => names.includes(name))
    .toSorted((a, b) => names.indexOf(a.name) - names.indexOf(b.name))
}

/** As the linter wants it: it is kept in the repository. */
function tidy(file: string): void {
  spawnSync(process.execPath, [join(ROOT, 'node_modules/.bin/biome'), 'format', '--write', file], {cwd: ROOT})
}

/** In a process of its own: no scenario's garbage, caches or compiled code are another's. */
async function runApart(name: string): Promise<Omit<Finished, 'machine'>> {
  const start = performance.now()
  const child = fork(fileURLToPath(new URL('run-one.ts', import.meta.url)), [
    name,
    ...(values.quick ? ['--quick'] : []),
  ])
  let said: Omit<Finished, 'machine' | 'seconds'> | undefined
  child.on('message', message => {
    said = message as typeof said
  })
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  const {title, about} = SCENARIOS.find(scenario => scenario.name === name)!
  const lost = {name, title, about, quick: values.quick, error: `its process ended with ${code}`}
  return {...(said ?? lost), seconds: Math.round((performance.now() - start) / 1000)}
}
