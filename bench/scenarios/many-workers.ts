/** Several `jobq work` on one file: SQLite has one writer, so they can share, and not add up. */
import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {interleave, named, quantile, ratio, type Series, took} from '../lib/measure.ts'
import {terminate, until} from '../lib/processes.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const MANY = 8
/** Jobs that each process works before it is measured. */
const WARM = 2000

export const manyWorkers: Scenario = {
  name: 'many-workers',
  title: 'Several `jobq work` on one file',
  about: `So many processes with a child each wait idle, each of them having worked about ${WARM} jobs (Node compiles what runs
often, and eight processes are eight times as long about it); then all jobs are enqueued in one transaction. From its
commit until the table is empty: jobs a second of all together. No-op jobs: the worst case, since nothing but the store
is contended. Then the same once more, and another process enqueues a job every 10 ms, durably: how long it takes to get
in.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(20_000, 8000)
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: 'export default {work() {}}\n'})
    const waits = new Map<number, number[]>()
    const measure = async (processes: number) => {
      const db = await makeDatabase(jobq, folder())
      const flags = ['--max-workers', '1', '--max-request-per-child', '0', '--debug']
      const started = Array.from({length: processes}, () => place.work(db, ...flags))
      for (const {child} of started) defer(() => terminate(child))
      for (const {child, log} of started)
        await until(() => readFileSync(log, 'utf8').includes('nothing ready'), 'a start', child, 50)
      const floor = new Floor(db, 'NORMAL')
      const reader = new Sqlite(db, {readonly: true})
      const any = reader.prepare('SELECT 1 FROM job WHERE func_id = 1 LIMIT 1')
      const drain = async (jobs: number) => {
        floor.enqueueMany(new Array(jobs).fill('{}'))
        return took(() => until(() => any.get() === undefined, 'the last job', undefined, 20))
      }
      await drain(processes * WARM)
      await sleep(500)
      const rate = count / ((await drain(count)) / 1000)
      const queue = await jobq.queue.JobQueue.open({db})
      let isDrained = false
      const drained = drain(count).finally(() => {
        isDrained = true
      })
      const times = waits.get(processes) ?? []
      waits.set(processes, times)
      while (!isDrained) {
        times.push(await took(() => queue.enqueue('Other', {arg: ARG})))
        await sleep(10)
      }
      await drained
      await queue.close()
      reader.close()
      floor.close()
      await Promise.all(started.map(({child}) => terminate(child)))
      return rate
    }
    const series = await interleave(
      pick(5, 2),
      pick([1, 2, MANY], [1, MANY]).map(processes => ({
        name: `${processes} × jobq work --max-workers 1`,
        unit: 'jobs/s',
        run: () => measure(processes),
      })),
      0,
    )
    const enqueues: Series[] = [...waits].flatMap(([processes, times]) =>
      [0.5, 0.99].map(q => ({
        name: `an enqueue beside ${processes}, p${q * 100}`,
        unit: 'ms' as const,
        values: [quantile(times, q)],
      })),
    )
    return {
      series: [...series, ...enqueues],
      goals: [
        {
          what: `${MANY} \`jobq work\` on one file / one, in total throughput`,
          ...ratio(
            named(series, `${MANY} × jobq work --max-workers 1`),
            named(series, '1 × jobq work --max-workers 1'),
          ),
          is: '>=',
          bound: 0.8,
        },
      ],
    }
  },
}
