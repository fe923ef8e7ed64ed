/** What the store costs a job: settled, and the next one grabbed, in one transaction. */
import {Floor, FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {type Contender, interleave, named, perSecond, ratio} from '../lib/measure.ts'
import {ifAvailable} from '../lib/peers.ts'
import type {Goal, Scenario} from '../lib/scenario.ts'
import {openPlainjob} from '../peers/plainjob.ts'

type Queue = Awaited<ReturnType<typeof import('../../src/lib/queue.ts').JobQueue.open>>
const BATCH = 100

export const workInline: Scenario = {
  name: 'work-inline',
  title: 'Working no-op jobs within one process',
  about: `jobq's store, driven as the dispatcher drives it: each turn settles the job before and grabs the next, in one
commit, so that every grab sees the highest priority there is. No executor is in it: that is the limit for one. The floor
does the same with three statements on the same table and index: delete, grab, commit. All with synchronous NORMAL, as
\`jobq work\` and plainjob have it. "By ${BATCH}" settles and grabs ${BATCH} in a turn: what a prefetch of ${BATCH} can reach.`,
  async run({jobq, folder, pick, defer}) {
    const count = pick(20_000, 5000)
    const leftOut: string[] = []
    const floorDb = await makeDatabase(jobq, folder())
    const floor = new Floor(floorDb, 'NORMAL')
    const db = await makeDatabase(jobq, folder())
    const queue = await jobq.queue.JobQueue.open({db, durable: false})
    defer(() => floor.close())
    defer(() => queue.close())
    const contenders: Contender[] = [
      {
        name: 'floor: delete + next grab in one commit',
        unit: 'jobs/s',
        run: () => {
          fill(floorDb, {count})
          return perSecond(count, () => floor.work())
        },
      },
      ...[1, BATCH].map(limit => ({
        name: limit === 1 ? 'jobq, strict' : `jobq, by ${limit}`,
        unit: 'jobs/s' as const,
        run: () => {
          fill(db, {count})
          return perSecond(count, () => drain(queue, limit))
        },
      })),
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
    const batch = named(series, `jobq, by ${BATCH}`)
    const goals: Goal[] = [
      {
        what: 'work, strict, inline / floor (delete + next grab in one commit)',
        ...ratio(strict, named(series, 'floor: delete + next grab in one commit')),
        is: '>=',
        bound: 0.8,
      },
      {what: `work, by ${BATCH}, inline / strict`, ...ratio(batch, strict), is: '>=', bound: 3},
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
          what: `work, by ${BATCH}, inline / plainjob`,
          ...ratio(batch, named(series, 'plainjob')),
          is: '>=',
          bound: 5,
        },
      )
    return {series, leftOut, goals}
  },
}

/** Takes and settles until nothing is ready. */
export async function drain(queue: Queue, limit = 1): Promise<number> {
  const want = {funcs: [FUNC], limit, lease: 60}
  let done = 0
  let turn = await queue.store.turn([], want)
  while (turn.jobs.length > 0) {
    const settlements = turn.jobs.map(({id, grabbedUntil}) => ({
      lease: {id, grabbedUntil},
      outcome: {kind: 'completed'} as const,
    }))
    done += settlements.length
    turn = await queue.store.turn(settlements, want)
  }
  return done
}
