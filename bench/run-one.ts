/** One scenario, started by run.ts: sends it what came out, and cleans up. */
import {mkdtempSync, realpathSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Jobq} from './lib/jobq.ts'
import type {Bench} from './lib/scenario.ts'
import {SCENARIOS} from './scenarios.ts'

const [name] = process.argv.slice(2)
const quick = process.argv.includes('--quick')
const {run, ...scenario} = SCENARIOS.find(one => one.name === name)!
const top = realpathSync(mkdtempSync(join(process.env.JOBQ_BENCH_DIR ?? tmpdir(), 'jobq-bench-')))
const cleanups: (() => unknown)[] = []

const bench: Bench = {
  quick,
  pick: (full, small) => (quick ? small : full),
  jobq: await Jobq.built(),
  folder: () => mkdtempSync(join(top, 'f-')),
  defer: cleanup => cleanups.push(cleanup),
}

// run.ts is gone: so is who wants to know
process.once('disconnect', () => void cleanUp().then(() => process.exit(1)))

let said: object
try {
  said = {...scenario, quick, result: await run.call({...scenario, run}, bench)}
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`)
  said = {...scenario, quick, error: (error as Error).message}
}
await cleanUp()
if (process.send) process.send(said, () => process.exit(0))
else {
  process.stdout.write(`${JSON.stringify(said, null, 1)}\n`, () => process.exit(0))
}

async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse())
    try {
      await cleanup()
    } catch {} // what is gone already
  rmSync(top, {recursive: true, force: true, maxRetries: 5})
}
