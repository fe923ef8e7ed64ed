/** What `jobq enqueue` costs where the disk is slow to flush. */
import {SlowDisk} from '../../test/faults/slow-disk.ts'
import {find} from '../../test/support/machine.ts'
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment, program, timeProgram} from '../lib/jobq.ts'
import {interleave, median, named, type Series} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'

/** How much longer a flush takes, in milliseconds. */
const DELAYS = [0, 1, 5]

export const flushes: Scenario = {
  name: 'flushes',
  title: 'A process that enqueues one job, where a flush of the disk takes long',
  about: `With nobody else on the file: a library preloaded into the process holds up each fsync and fdatasync, and counts them. The
floor is the script of start-up, better-sqlite3 with synchronous FULL, which closes its database as SQLite does.`,
  async run({jobq, folder, pick}) {
    const leftOut: string[] = []
    if (!find('cc')) return {series: [], leftOut: ['no cc: apt-get install gcc libc6-dev']}
    const db = await makeDatabase(jobq, folder())
    new Floor(db, 'FULL').close()
    const arg = JSON.stringify(ARG)
    const commands = {
      'Node + better-sqlite3': [process.execPath, program('bare-enqueue.cjs'), db, arg],
      'jobq enqueue': [...jobq.command, 'enqueue', FUNC, '--arg', arg, '--db', db],
    }
    const counted: Series[] = []
    const contenders = Object.entries(commands).flatMap(([name, command]) => {
      const disk = new SlowDisk(folder())
      const counts: Series = {name: `${name}: flushes`, unit: '', values: []}
      counted.push(counts)
      return DELAYS.map(ms => ({
        name: `${name}, ${ms} ms more`,
        unit: 'ms' as const,
        run(round: number) {
          disk.forget()
          const time = timeProgram(command, {env: cleanEnvironment(disk.env(ms))})
          if (round >= 0) counts.values.push(disk.flushes)
          return time
        },
      }))
    })
    const series = await interleave(pick(30, 8), contenders, 2)
    const [few, many] = [DELAYS[0], DELAYS.at(-1)].map(ms =>
      median(named(series, `jobq enqueue, ${ms} ms more`).values),
    )
    return {
      series: [...series, ...counted],
      leftOut,
      goals: [
        {
          what: 'flushes that `jobq enqueue` makes',
          ratio: median(counted[1]!.values),
          is: '<=',
          bound: 2,
          unit: '',
        },
        {
          what: 'of these it waits for, by the time: (5 ms more - 0 ms more) / 5 ms',
          ratio: (many! - few!) / DELAYS.at(-1)!,
          is: '<=',
          bound: 2,
          unit: '',
        },
      ],
    }
  },
}
