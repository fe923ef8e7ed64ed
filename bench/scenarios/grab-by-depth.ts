/** Does a grab cost more when millions wait? */
import {addFunc, type Filling, FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {interleave, median, named, ratio} from '../lib/measure.ts'
import type {Curve, Goal, Scenario} from '../lib/scenario.ts'
import {timeTurns} from '../lib/turns.ts'

const BASE = 1000

/** What lies there, besides the ready jobs. */
const KINDS: Record<string, (foreign: number) => Omit<Filling, 'count'>> = {
  'ready below': () => ({priority: '0'}),
  'delayed on top': () => ({priority: '10', dueIn: '86400 + i % 1000'}),
  'of another function': foreign => ({funcId: foreign, priority: '10'}),
  leased: () => ({priority: '10', grabbedUntil: 'unixepoch() + 86400 + i % 1000'}),
}

export const grabByDepth: Scenario = {
  name: 'grab-by-depth',
  title: 'A grab by depth',
  about: `One turn of the dispatcher (settle one job, grab the next, one commit), the median of ${BASE} in a row, on
databases that hold ${BASE.toLocaleString('en')} ready jobs of priority 5 and so many others: ready jobs of lower
priority, delayed ones of higher priority, jobs of another function, leased jobs. Side by side with the database that
holds nothing else.`,
  async run({jobq, folder, pick, defer}) {
    const depths = pick([10_000, 100_000, 1_000_000, 5_000_000], [10_000, 300_000])
    const open = async () => {
      const db = await makeDatabase(jobq, folder())
      const queue = await jobq.queue.JobQueue.open({db, durable: false})
      defer(() => queue.close())
      const ready = () => fill(db, {count: BASE, priority: '5'})
      return {db, queue, ready}
    }
    const base = await open()
    const databases = new Map<string, Awaited<ReturnType<typeof open>>>()
    for (const kind of Object.keys(KINDS)) databases.set(kind, await open())
    const curves: Curve[] = []
    const goals: Goal[] = []
    const all: Awaited<ReturnType<typeof interleave>> = []
    let before = 0
    for (const depth of depths) {
      for (const [kind, {db}] of databases) {
        const foreign = kind === 'of another function' ? foreignFunc(db) : 0
        fill(db, {count: depth - before, ...KINDS[kind]!(foreign)})
      }
      before = depth
      const turns =
        ({queue, ready}: typeof base) =>
        async () => {
          ready()
          return median(await timeTurns(queue, FUNC, BASE)) * 1000
        }
      const label = depth.toLocaleString('en')
      const series = await interleave(pick(7, 3), [
        {name: `nothing else, beside ${label}`, unit: 'µs', run: turns(base)},
        ...[...databases].map(([kind, one]) => ({
          name: `${label} ${kind}`,
          unit: 'µs' as const,
          run: turns(one),
        })),
      ])
      all.push(...series)
      const alone = named(series, `nothing else, beside ${label}`)
      for (const kind of databases.keys()) {
        const cost = ratio(named(series, `${label} ${kind}`), alone)
        curves.push({plot: 'depth', x: 'other jobs', line: kind, points: [{x: depth, y: cost.ratio}]})
        if (depth === depths.at(-1))
          goals.push({
            what: `grab with ${label} others (${kind}) / with none`,
            ...cost,
            is: '<=',
            bound: 1.7,
          })
      }
    }
    return {series: all, goals, curves}
  },
}

const foreignIds = new Map<string, number>()

function foreignFunc(db: string): number {
  const known = foreignIds.get(db) ?? addFunc(db, 'Foreign')
  foreignIds.set(db, known)
  return known
}
