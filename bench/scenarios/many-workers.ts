/** Several `jobq work` on one file: SQLite has one writer, so they can share, and not add up. */
import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import {Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {interleave, named, ratio} from '../lib/measure.ts'
import {terminate, until} from '../lib/processes.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const MANY = 8

export const manyWorkers: Scenario = {
  name: 'many-workers',
  title: 'Several `jobq work` on one file',
  about: `So many processes with a child each wait idle; then all jobs are enqueued in one transaction. From its commit
until the table is empty: jobs a second of all together. No-op jobs: the worst case, since nothing but the store is
contended.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(20_000, 5000)
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: 'export default {work() {}}\n'})
    const measure = async (processes: number) => {
      const db = await makeDatabase(jobq, folder())
      const flags = ['--max-workers', '1', '--max-request-per-child', '0', '--debug']
      const started = Array.from({length: processes}, () => place.work(db, ...flags))
      for (const {child} of started) defer(() => terminate(child))
      for (const {child, log} of started)
        await until(() => readFileSync(log, 'utf8').includes('nothing ready'), 'a start', child, 50)
      await sleep(500)
      const floor = new Floor(db, 'NORMAL')
      const reader = new Sqlite(db, {readonly: true})
      const any = reader.prepare('SELECT 1 FROM job LIMIT 1')
      floor.enqueueMany(new Array(count).fill('{}'))
      const start = performance.now()
      await until(() => any.get() === undefined, 'the last job', undefined, 20)
      const rate = count / ((performance.now() - start) / 1000)
      reader.close()
      floor.close()
      await Promise.all(started.map(({child}) => terminate(child)))
      return rate
    }
    const series = await interleave(
      pick(5, 2),
      [1, 2, MANY].map(processes => ({
        name: `${processes} × jobq work --max-workers 1`,
        unit: 'jobs/s',
        run: () => measure(processes),
      })),
      0,
    )
    return {
      series,
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
