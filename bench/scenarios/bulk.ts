/** A million jobs at once: `jobq enqueue --args-from`, checked line by line, beside one transaction of bare inserts. */
import {createWriteStream} from 'node:fs'
import {finished} from 'node:stream/promises'
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import {interleave, median, named, perSecond, ratio, type Series} from '../lib/measure.ts'
import {ifAvailable} from '../lib/peers.ts'
import {peakMemory} from '../lib/processes.ts'
import type {Scenario} from '../lib/scenario.ts'
import {open as openPlainjob} from '../peers/plainjob.ts'

export const bulk: Scenario = {
  name: 'bulk',
  title: 'Enqueueing many at once',
  about: `jobq: the whole process \`jobq enqueue ${FUNC} --args-from FILE\`, start-up, reading and checking of the JSON
included. The floor: the same arguments, in memory already, inserted in one transaction with synchronous FULL, on the
same table and indexes. Each round starts with an empty database.`,
  async run({jobq, folder, pick}) {
    const count = pick(1_000_000, 300_000)
    const lines = `${folder()}/lines`
    const stream = createWriteStream(lines)
    for (let i = 0; i < count; i++) stream.write(`${JSON.stringify({...ARG, i})}\n`)
    stream.end()
    await finished(stream)

    const memory: Series = {name: 'jobq enqueue --args-from, most memory', unit: 'MB', values: []}
    const leftOut: string[] = []
    const plainjob = await ifAvailable('plainjob', leftOut, async () => {
      ;(await openPlainjob(folder())).close()
      return {
        name: 'plainjob addMany',
        unit: 'jobs/s' as const,
        run: async () => {
          const queue = await openPlainjob(folder())
          const rate = await perSecond(count, () => queue.enqueueMany(count))
          queue.close()
          return rate
        },
      }
    })
    const series = await interleave(
      pick(5, 2),
      [
        {
          name: 'floor: one transaction',
          unit: 'jobs/s',
          run: async () => {
            const floor = new Floor(await makeDatabase(jobq, folder()), 'FULL')
            const rate = await perSecond(count, () => floor.enqueueMany(args(count)))
            floor.close()
            return rate
          },
        },
        {
          name: 'jobq enqueue --args-from',
          unit: 'jobs/s',
          run: async round => {
            const db = await makeDatabase(jobq, folder())
            return perSecond(count, async () => {
              const child = jobq.start(['enqueue', FUNC, '--args-from', lines, '--db', db], {stdio: 'ignore'})
              const peak = await peakMemory(child)
              if (round >= 0) memory.values.push(peak)
            })
          },
        },
        ...(plainjob ? [plainjob] : []),
      ],
      pick(1, 0),
    )
    return {
      series: [...series, memory],
      leftOut,
      goals: [
        {
          what: `\`enqueue --args-from\`, ${count.toLocaleString('en')} lines / the floor's bulk insert in one transaction`,
          ...ratio(named(series, 'jobq enqueue --args-from'), named(series, 'floor: one transaction')),
          is: '>=',
          bound: 0.5,
        },
        {
          what: '`enqueue --args-from`: the most memory',
          ratio: median(memory.values),
          unit: 'MB',
          is: '<=',
          bound: 150,
        },
      ],
    }
  },
}

function* args(count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield JSON.stringify({...ARG, i})
}
