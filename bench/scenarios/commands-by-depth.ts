/** What a person types while a million jobs wait. */
import {ARG, addFunc, FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {interleave, named, ratio} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'

const COMMANDS = {
  stats: ['stats'],
  list: ['list'],
  enqueue: ['enqueue', FUNC, '--arg', JSON.stringify(ARG)],
}
const FEW = 100

export const commandsByDepth: Scenario = {
  name: 'commands-by-depth',
  title: 'Commands while many jobs wait',
  about: `Whole processes, on a database with 100 waiting jobs and on one with many: three functions and ten
priorities, one job in ten delayed.`,
  async run({jobq, folder, pick}) {
    const many = pick(1_000_000, 1_000_000)
    const databases = new Map<number, string>()
    for (const count of [FEW, many]) {
      const path = await makeDatabase(jobq, folder())
      const funcIds = [1, addFunc(path, 'Other'), addFunc(path, 'Third')]
      for (const funcId of funcIds)
        fill(path, {
          count: Math.floor(count / 3),
          funcId,
          priority: 'i % 10',
          dueIn: 'CASE WHEN i % 10 = 7 THEN 86400 ELSE -i / 1000 END',
        })
      databases.set(count, path)
    }
    const contenders = Object.entries(COMMANDS).flatMap(([command, words]) =>
      [...databases].map(([count, path]) => ({
        name: `jobq ${command}, ${count.toLocaleString('en')} waiting`,
        unit: 'ms' as const,
        run: () => jobq.time([...words, '--db', path]),
      })),
    )
    const series = await interleave(pick(15, 5), contenders)
    return {
      series,
      goals: Object.keys(COMMANDS).map(command => ({
        what: `\`jobq ${command}\` with ${many.toLocaleString('en')} waiting / with 100`,
        ...ratio(
          named(series, `jobq ${command}, ${many.toLocaleString('en')} waiting`),
          named(series, `jobq ${command}, 100 waiting`),
        ),
        is: '<=' as const,
        bound: 2,
      })),
    }
  },
}
