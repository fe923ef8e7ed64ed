/** Jobs that wait, many of them in each child. */
import {FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {interleave, median, named} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const WAIT_MS = 100
const CHILDREN = 2
const EACH = 50

export const waitingJobs: Scenario = {
  name: 'waiting-jobs',
  title: 'Jobs that wait, many in one child',
  about: `1,000 jobs whose work() waits ${WAIT_MS} ms, as for an answer: \`jobq work --drain --max-workers ${CHILDREN}
--min-spare-workers ${CHILDREN} --jobs-per-child ${EACH}\`, its log going to a file; from the first line of the log to the last. Were
there nothing but the waiting, ${CHILDREN * EACH} at once would be ${(CHILDREN * EACH * 1000) / WAIT_MS} jobs a second.`,
  async run({jobq, folder, pick}) {
    const count = 1000
    const source = `export default {work: () => new Promise(done => setTimeout(done, ${WAIT_MS}))}\n`
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: source})
    const db = await makeDatabase(jobq, place.folder)
    const flags = ['--max-workers', CHILDREN, '--min-spare-workers', CHILDREN, '--jobs-per-child', EACH]
    const name = `jobq work, ${CHILDREN} children of ${EACH}`
    const series = await interleave(pick(7, 3), [
      {
        name,
        unit: 'jobs/s',
        run: () => {
          fill(db, {count})
          return place.drain(db, ...flags.map(String))
        },
      },
    ])
    return {
      series,
      goals: [
        {
          what: `${count} such jobs`,
          ratio: count / median(named(series, name).values),
          is: '<=',
          bound: 1.5,
          unit: 's',
        },
      ],
    }
  },
}
