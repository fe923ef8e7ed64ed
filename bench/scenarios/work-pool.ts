/** `jobq work` as it is run: a dispatcher, two children, the workers' code in them. */
import {Floor, FUNC, fill, makeDatabase, type Taken} from '../lib/floor.ts'
import {program} from '../lib/jobq.ts'
import {interleave, named, perSecond, ratio} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

export const workPool: Scenario = {
  name: 'work-pool',
  title: 'Working no-op jobs in a pool of two children',
  about: `\`jobq work --drain --max-workers 2 --max-request-per-child 0\` on a module whose work() does nothing, its log
going to a file; from the first line of the log to the last, so without start-up. Beside it the floor of the store (as in
work-inline) and the floor of the pool: Node's IPC alone, the same two children and messages of the same size, one in
flight for each, no store.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(20_000, 8000)
    const floorDb = await makeDatabase(jobq, folder())
    const floor = new Floor(floorDb, 'NORMAL')
    defer(() => floor.close())
    const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: 'export default {work() {}}\n'})
    const db = await makeDatabase(jobq, place.folder)
    const {pingPong} = await import(program('ping-pong.ts'))
    const series = await interleave(pick(7, 3), [
      {
        name: 'floor: delete + next grab in one commit',
        unit: 'jobs/s',
        run: () => {
          fill(floorDb, {count})
          return perSecond(count, () => floor.work())
        },
      },
      {name: "floor: Node's IPC alone, 2 children", unit: 'jobs/s', run: () => pingPong(count, 2)},
      {
        name: "floor: delete + next grab, then Node's IPC, 2 children",
        unit: 'jobs/s',
        run: async () => {
          fill(floorDb, {count})
          const taken: (Taken | undefined)[] = [undefined, undefined]
          const rate = await pingPong(count, 2, (child: number) => {
            taken[child] = floor.turn(taken[child])
          })
          for (const last of taken) floor.turn(last)
          return rate
        },
      },
      {
        name: 'jobq work, pool of 2',
        unit: 'jobs/s',
        run: () => {
          fill(db, {count})
          return place.drain(db, '--max-workers', '2', '--max-request-per-child', '0')
        },
      },
      {
        name: 'jobq work, pool of 1',
        unit: 'jobs/s',
        run: () => {
          fill(db, {count})
          return place.drain(db, '--max-workers', '1', '--max-request-per-child', '0')
        },
      },
    ])
    return {
      series,
      goals: [
        {
          what: 'work, strict, pool of 2 children / floor',
          ...ratio(
            named(series, 'jobq work, pool of 2'),
            named(series, 'floor: delete + next grab in one commit'),
          ),
          is: '>=',
          bound: 0.4,
        },
      ],
    }
  },
}
