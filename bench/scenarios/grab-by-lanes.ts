/** What a grab does cost: functions, and priorities whose jobs are all delayed. */
import Sqlite from 'better-sqlite3'
import {addFunc, FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {interleave, median, named, ratio} from '../lib/measure.ts'
import type {Curve, Goal, Scenario} from '../lib/scenario.ts'
import {timeTurns} from '../lib/turns.ts'

const READY = 1000
const PRIORITIES = 100

export const grabByLanes: Scenario = {
  name: 'grab-by-lanes',
  title: 'A grab by priorities and functions',
  about: `One turn of the dispatcher, the median of ${READY.toLocaleString('en')} in a row. Priorities: so many distinct
ones above the ready jobs, each with one delayed job; also with another connection that commits before each turn, after
which a dispatcher has to look at them anew. Functions: so many that this process has workers for, each with one
delayed job.`,
  async run({jobq, folder, pick, defer}) {
    const steps = pick([0, 1, 3, 10, 30, 100, 300], [0, 10, 100])
    const open = async (kind: 'priorities' | 'functions', count: number, disturbed = false) => {
      const db = await makeDatabase(jobq, folder())
      const funcs = [FUNC]
      if (kind === 'priorities') fill(db, {count, priority: '10 + i', dueIn: '86400'})
      else
        for (let i = 0; i < count; i++) {
          funcs.push(`Other${i}`)
          fill(db, {count: 1, funcId: addFunc(db, `Other${i}`), dueIn: '86400'})
        }
      const queue = await jobq.queue.JobQueue.open({db, durable: false})
      defer(() => queue.close())
      const other = new Sqlite(db)
      other.pragma('synchronous = OFF')
      const commit = other.prepare('UPDATE func SET name = name WHERE id = 1')
      defer(() => other.close())
      return async () => {
        fill(db, {count: READY})
        return median(await timeTurns(queue, funcs, READY, () => disturbed && commit.run())) * 1000
      }
    }
    const contenders = [{name: 'none', unit: 'µs' as const, run: await open('priorities', 0)}]
    for (const kind of ['priorities', 'functions'] as const)
      for (const count of steps.slice(1))
        contenders.push({name: `${count} ${kind}`, unit: 'µs', run: await open(kind, count)})
    for (const count of [0, PRIORITIES])
      contenders.push({
        name: `${count} priorities, another connection commits`,
        unit: 'µs',
        run: await open('priorities', count, true),
      })
    const series = await interleave(pick(7, 3), contenders)
    const none = named(series, 'none')
    const curves: Curve[] = (['priorities', 'functions'] as const).map(kind => ({
      plot: 'lanes',
      x: 'delayed priorities above, or other functions',
      line: kind,
      points: steps.slice(1).map(x => ({x, y: ratio(named(series, `${x} ${kind}`), none).ratio})),
    }))
    const goals: Goal[] = [
      {
        what: `grab with ${PRIORITIES} delayed priorities above the one that is ready / with none`,
        ...ratio(named(series, `${PRIORITIES} priorities`), none),
        is: '<=',
        bound: 2,
      },
    ]
    return {series, goals, curves}
  },
}
