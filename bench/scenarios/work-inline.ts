/** `queue.work()`: what a job costs in an application's own process. */
import {Floor, fill, makeDatabase} from '../lib/floor.ts'
import {type Contender, interleave, named, perSecond, ratio} from '../lib/measure.ts'
import {ifAvailable} from '../lib/peers.ts'
import type {Goal, Scenario} from '../lib/scenario.ts'
import {drain} from '../lib/turns.ts'
import {work} from '../lib/work.ts'
import {open as openPlainjob} from '../peers/plainjob.ts'

const AHEAD = 100

export const workInline: Scenario = {
  name: 'work-inline',
  title: 'Working no-op jobs within one process',
  about: `\`queue.work({mode: 'drain'})\` with a function that does nothing; opening its connection is left out. Strict: one
job at a time, each settled and the next one grabbed in one commit, so that every grab sees the highest priority there
is. The floor does the same with three statements on the same table and index: delete, grab, commit. With prefetch,
${AHEAD} jobs are taken ahead and settled together. All with synchronous NORMAL, as \`jobq work\` and plainjob have it. "The
store alone" is the turns of jobq's store without dispatcher and executor.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(20_000, 10_000)
    const leftOut: string[] = []
    const floorDb = await makeDatabase(jobq, folder())
    const floor = new Floor(floorDb, 'NORMAL')
    const db = await makeDatabase(jobq, folder())
    const queue = await jobq.queue.JobQueue.open({db, durable: false})
    defer(() => floor.close())
    defer(() => queue.close())
    const filled = (prefetch: number) => {
      fill(db, {count})
      return work(queue, count, prefetch)
    }
    const contenders: Contender[] = [
      {
        name: 'floor: delete + next grab in one commit',
        unit: 'jobs/s',
        run: () => {
          fill(floorDb, {count})
          return perSecond(count, () => floor.work())
        },
      },
      {
        name: 'jobq, strict',
        unit: 'jobs/s',
        run: () => filled(0),
      },
      {
        name: `jobq, prefetch ${AHEAD}`,
        unit: 'jobs/s',
        run: () => filled(AHEAD),
      },
      {
        name: "jobq's store alone, one by one",
        unit: 'jobs/s',
        run: () => {
          fill(db, {count})
          return perSecond(count, () => drain(queue))
        },
      },
    ]
    const peer = await ifAvailable('plainjob', leftOut, () => openPlainjob(folder()))
    if (peer) {
      defer(() => peer.close())
      contenders.push({
        name: 'plainjob',
        unit: 'jobs/s',
        run: () => {
          peer.enqueueMany(count)
          return peer.work(count)
        },
      })
    }
    leftOut.push(
      'liteque: its dequeue fails on better-sqlite3 13 ("Transaction function cannot return a promise")',
    )
    const series = await interleave(pick(7, 3), contenders)
    const strict = named(series, 'jobq, strict')
    const ahead = named(series, `jobq, prefetch ${AHEAD}`)
    const goals: Goal[] = [
      {
        what: 'work, strict, inline / floor (delete + next grab in one commit)',
        ...ratio(strict, named(series, 'floor: delete + next grab in one commit')),
        is: '>=',
        bound: 0.8,
      },
      {what: `work, --prefetch ${AHEAD}, inline / strict`, ...ratio(ahead, strict), is: '>=', bound: 3},
    ]
    if (peer)
      goals.push(
        {
          what: 'work, strict, inline / plainjob',
          ...ratio(strict, named(series, 'plainjob')),
          is: '>=',
          bound: 1.8,
        },
        {
          what: `work, --prefetch ${AHEAD}, inline / plainjob`,
          ...ratio(ahead, named(series, 'plainjob')),
          is: '>=',
          bound: 5,
        },
      )
    return {series, leftOut, goals}
  },
}
