/** From a commit in one process to the job's start in another. */

import {spawn} from 'node:child_process'
import {existsSync, readFileSync, writeFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {ARG, FUNC, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment, program} from '../lib/jobq.ts'
import {quantile, type Series} from '../lib/measure.ts'
import {terminate, until} from '../lib/processes.ts'
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

export const latency: Scenario = {
  name: 'latency',
  title: 'From the commit to the start',
  about: `One process enqueues (synchronous FULL) and reads the clock when \`await queue.enqueue()\` returns; another one
waits idle, and its worker reads the same clock (CLOCK_MONOTONIC) first of all. 20 to 40 ms lie between two jobs. In a
child: \`jobq work --work-delay 3600\`, so that no poll can help. Inline: a process that has the store's watch and turns,
and no children.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(200, 60)
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: WORKER})
    const notes = `${place.folder}/notes`
    const contenders = {
      'pool child': (db: string) => place.work(db, '--work-delay', '3600').child,
      inline: (db: string) =>
        spawn(process.execPath, [program('watch-and-turn.mjs'), jobq.library('queue.js'), db, FUNC], {
          stdio: 'ignore',
          env: cleanEnvironment({BENCH_NOTES: notes}),
        }),
    }
    const samples: Record<string, number[]> = {}
    const series: Series[] = []
    const goals: Goal[] = []
    for (const [name, start] of Object.entries(contenders)) {
      const db = await makeDatabase(jobq, folder())
      writeFileSync(notes, '')
      const worker = start(db)
      defer(() => terminate(worker))
      const queue = await jobq.queue.JobQueue.open({db})
      const isStarted = (id: number) => readNotes(notes).has(id)
      const committed = new Map<number, bigint>()
      const times: number[] = []
      for (let i = 0; i < count + 10; i++) {
        const {id} = await queue.enqueue(FUNC, {arg: ARG})
        committed.set(id, process.hrtime.bigint())
        await until(() => isStarted(id), `job ${id} to start`, worker)
        // The first ones meet code that was never run before
        if (i >= 10) times.push(Number(readNotes(notes).get(id)! - committed.get(id)!) / 1e6)
        await sleep(20 + Math.random() * 20)
      }
      await queue.close()
      await terminate(worker)
      samples[name] = times
      series.push(
        {name: `${name}, p50`, unit: 'ms', values: [quantile(times, 0.5)]},
        {name: `${name}, p99`, unit: 'ms', values: [quantile(times, 0.99)]},
        {name: `${name}, all`, unit: 'ms', values: times},
      )
      const p50 = name === 'inline' ? 1 : 3
      for (const [q, bound] of [
        [0.5, p50],
        [0.99, 10],
      ] as const)
        goals.push({
          what: `commit to start, SQLite, ${name}, p${q * 100}`,
          ratio: quantile(times, q),
          unit: 'ms',
          is: '<=',
          bound,
        })
    }
    return {series, goals, samples}
  },
}

/** When each job started. */
function readNotes(path: string): Map<number, bigint> {
  if (!existsSync(path)) return new Map()
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return new Map(
    lines.map(line => {
      const [id = '', at = ''] = line.split(' ')
      return [Number(id), BigInt(at)]
    }),
  )
}
