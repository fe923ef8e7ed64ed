/** One process that enqueues: one by one, and many at the same time. */
import {openApart} from '../lib/apart.ts'
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {type Contender, interleave, named, perSecond, ratio} from '../lib/measure.ts'
import {ifAvailable} from '../lib/peers.ts'
import type {Scenario} from '../lib/scenario.ts'

const CONCURRENT = 1000

export const enqueue: Scenario = {
  name: 'enqueue',
  title: 'Enqueueing from an application',
  about: `\`await queue.enqueue()\` one after the other, a commit each, and ${CONCURRENT} at a time
(\`Promise.all\`). FULL: a job that is acknowledged survives a power cut (jobq's default). NORMAL: it survives a crash of
the process (\`JobQueue.open({durable: false})\`). One by one in FULL goes in many short rounds, since the disk's speed
changes quickly. The peers on SQLite know NORMAL only; each is in a process of its own.`,
  async run(bench) {
    const {jobq, folder, pick, defer} = bench
    const leftOut: string[] = []
    const contenders: Contender[] = []
    const durable: Contender[] = []
    for (const synchronous of ['FULL', 'NORMAL'] as const) {
      const count = synchronous === 'FULL' ? 300 : pick(20_000, 3000)
      const floor = new Floor(await makeDatabase(jobq, folder()), synchronous)
      const db = await makeDatabase(jobq, folder())
      const queue = await jobq.queue.JobQueue.open({db, durable: synchronous === 'FULL'})
      defer(() => floor.close())
      defer(() => queue.close())
      const oneByOne = synchronous === 'FULL' ? durable : contenders
      oneByOne.push(
        {
          name: `floor, ${synchronous}`,
          unit: 'jobs/s',
          run: () => perSecond(count, () => floor.enqueue(count)),
        },
        {
          name: `jobq, ${synchronous}`,
          unit: 'jobs/s',
          run: () =>
            perSecond(count, async () => {
              for (let i = 0; i < count; i++) await queue.enqueue(FUNC, {arg: ARG})
            }),
        },
      )
      contenders.push({
        name: `jobq, ${CONCURRENT} at a time, ${synchronous}`,
        unit: 'jobs/s',
        run: () =>
          perSecond(pick(5, 1) * CONCURRENT, async () => {
            for (let i = 0; i < pick(5, 1); i++)
              await Promise.all(Array.from({length: CONCURRENT}, () => queue.enqueue(FUNC, {arg: ARG})))
          }),
      })
    }
    for (const name of ['plainjob', 'liteque']) {
      const enqueue = await ifAvailable(name, leftOut, () => openApart(bench, name))
      if (!enqueue) continue
      const count = pick(10_000, 1000)
      contenders.push({name: `${name}, NORMAL`, unit: 'jobs/s', run: () => enqueue(count)})
    }
    // The disk's speed changes from one half second to the next (by a factor of 3 where it was measured): rounds of 60 ms
    const series = [
      ...(await interleave(pick(80, 12), durable, 10)),
      ...(await interleave(pick(7, 3), contenders)),
    ]
    return {
      series,
      leftOut,
      goals: [
        ...(['FULL', 'NORMAL'] as const).map(synchronous => ({
          what: `JobQueue.enqueue one by one / floor, ${synchronous}`,
          ...ratio(named(series, `jobq, ${synchronous}`), named(series, `floor, ${synchronous}`)),
          is: '>=' as const,
          bound: 0.85,
        })),
        {
          what: '1,000 concurrent JobQueue.enqueue, FULL / one by one, FULL',
          ...ratio(named(series, `jobq, ${CONCURRENT} at a time, FULL`), named(series, 'jobq, FULL')),
          is: '>=',
          bound: 10,
        },
      ],
    }
  },
}
