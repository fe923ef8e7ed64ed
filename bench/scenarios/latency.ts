/** From a commit in one process to the job's start in another. */
import {spawn} from 'node:child_process'
import {FUNC, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment, program} from '../lib/jobq.ts'
import {latencies, latencySeries} from '../lib/latency.ts'
import {quantile, type Series} from '../lib/measure.ts'
import type {Goal, Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const WORKER = `import {appendFileSync} from 'node:fs'
export default {
  work(job) {
    const at = process.hrtime.bigint()
    appendFileSync(process.env.BENCH_NOTES, job.id + ' ' + at + '\\n')
  },
}
`
/** Milliseconds: the goals at p50 and p99. */
const BOUNDS = {'pool child': [3, 10], inline: [1, 10]} as const

export const latency: Scenario = {
  name: 'latency',
  title: 'From the commit to the start',
  about: `One process enqueues (synchronous FULL) and reads the clock when \`await queue.enqueue()\` returns; another one
waits idle, and its worker reads the same clock (CLOCK_MONOTONIC) first of all. 20 to 40 ms lie between two jobs. In a
child: \`jobq work --work-delay 3600\`, so that no poll can help. Inline: a process that has the store's watch and turns,
and no children.`,
  async run({jobq, folder, pick}) {
    const count = pick(200, 60)
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: WORKER})
    const notes = `${place.folder}/notes`
    const starts = {
      'pool child': (db: string) => place.work(db, '--work-delay', '3600').child,
      inline: (db: string) =>
        spawn(process.execPath, [program('watch-and-turn.mjs'), jobq.library, db, FUNC], {
          stdio: 'ignore',
          env: cleanEnvironment({BENCH_NOTES: notes}),
        }),
    }
    const samples: Record<string, number[]> = {}
    const series: Series[] = []
    const goals: Goal[] = []
    for (const name of ['pool child', 'inline'] as const) {
      const db = await makeDatabase(jobq, folder())
      const times = await latencies(jobq, {db, count, notes, start: () => starts[name](db)})
      samples[`SQLite, ${name}`] = times
      series.push(...latencySeries(name, times))
      for (const [i, q] of [0.5, 0.99].entries())
        goals.push({
          what: `commit to start, SQLite, ${name}, p${q * 100}`,
          ratio: quantile(times, q),
          unit: 'ms',
          is: '<=',
          bound: BOUNDS[name][i]!,
        })
    }
    return {series, goals, samples}
  },
}
