/** Executables as workers: a process a job. The floor is how fast Node alone starts and reaps the same process. */
import {chmodSync, copyFileSync} from 'node:fs'
import {ARG, FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {program} from '../lib/jobq.ts'
import {type Contender, interleave, named, ratio} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const COMMAND = '/bin/true'

export const executables: Scenario = {
  name: 'executables',
  title: 'Executables as workers',
  about: `\`jobq work --drain\` with a copy of ${COMMAND} in the workers folder, from the log's first line to its last. The
floor is a Node script that does nothing but spawn the same file with the same pipes, process group and environment, the
argument on its stdin and its output read, so many at once.`,
  async run({jobq, folder, pick}) {
    const count = pick(1000, 120)
    const place = workplace(jobq, folder(), {})
    const worker = `${place.folder}/workers/${FUNC}`
    copyFileSync(COMMAND, worker)
    chmodSync(worker, 0o755)
    const db = await makeDatabase(jobq, place.folder)
    const {spawnMany} = await import(program('spawn-many.ts'))
    const contenders = [1, 2].flatMap((atOnce): Contender[] => [
      {
        name: `floor: Node spawns, ${atOnce} at once`,
        unit: 'jobs/s',
        run: () => spawnMany(worker, JSON.stringify(ARG), count, atOnce),
      },
      {
        name: `jobq work, --max-workers ${atOnce}`,
        unit: 'jobs/s',
        run: () => {
          fill(db, {count})
          return place.drain(db, '--max-workers', String(atOnce))
        },
      },
    ])
    const series = await interleave(pick(5, 3), contenders)
    return {
      series,
      goals: [1, 2].map(atOnce => ({
        what: `executables as workers, ${atOnce} at once / how fast Node alone can spawn the same`,
        ...ratio(
          named(series, `jobq work, --max-workers ${atOnce}`),
          named(series, `floor: Node spawns, ${atOnce} at once`),
        ),
        is: '>=' as const,
        bound: 0.8,
      })),
    }
  },
}
