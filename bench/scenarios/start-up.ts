/** `jobq enqueue` as a process, as a shell script calls it, beside the least that Node needs for the same. */
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {program, timeProgram} from '../lib/jobq.ts'
import {interleave, named, ratio} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'

export const startUp: Scenario = {
  name: 'start-up',
  title: 'A process that enqueues one job',
  about: `The whole process, from its start to its end, in interleaved pairs. The floor is a script that loads
better-sqlite3, opens the same database, inserts the same row with synchronous FULL and prints its id.`,
  async run({jobq, folder, pick}) {
    const db = await makeDatabase(jobq, folder())
    new Floor(db, 'FULL').close()
    const arg = JSON.stringify(ARG)
    const series = await interleave(
      pick(60, 20),
      [
        {name: 'node -e 0', unit: 'ms', run: () => timeProgram([process.execPath, '-e', '0'])},
        {
          name: 'Node + better-sqlite3',
          unit: 'ms',
          run: () => timeProgram([process.execPath, program('bare-enqueue.cjs'), db, arg]),
        },
        {
          name: 'jobq enqueue',
          unit: 'ms',
          run: () => jobq.time(['enqueue', FUNC, '--arg', arg, '--db', db]),
        },
        {name: 'jobq --version', unit: 'ms', run: () => jobq.time(['--version'])},
      ],
      3,
    )
    return {
      series,
      goals: [
        {
          what: '`jobq enqueue` as a process / bare Node + better-sqlite3 doing the same insert durably',
          ...ratio(named(series, 'jobq enqueue'), named(series, 'Node + better-sqlite3')),
          is: '<=',
          bound: 1.35,
        },
      ],
    }
  },
}
