/** What more dispatchers, more databases and more hosts bring, and what a job costs the server: docs/scale.md's figures. */
import {setTimeout as sleep} from 'node:timers/promises'
import {Dispatcher, drainAll, heard, startChild} from '../lib/dispatchers.ts'
import {type Engine, engines, type TestBase} from '../lib/engines.ts'
import {ARG, FUNC} from '../lib/floor.ts'
import {makeHosts, type TestHost} from '../lib/hosts.ts'
import {program} from '../lib/jobq.ts'
import {type Contender, interleave, type Series} from '../lib/measure.ts'
import {ifAvailable} from '../lib/peers.ts'
import {terminate} from '../lib/processes.ts'
import type {Bench, Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const AHEAD = 100
/** Jobs that each dispatcher works before it is measured. */
const WARM = 500
const PORT = 7777

export const scale: Scenario = {
  name: 'scale',
  title: 'More dispatchers, databases, hosts',
  about: `No-op jobs, all enqueued before; from the word to go until the last of them is done. Each dispatcher is a
process with \`queue.work\`, strict or with prefetch ${AHEAD}. Databases side by side: on one server, or as many files. Hosts:
network namespaces, a dispatcher on each, the server a millisecond away each way. Servers as their packages set them up, on the
same two cores as the dispatchers.`,
  async run(bench) {
    const {pick} = bench
    const leftOut: string[] = []
    const series: Series[] = []
    const counts = pick([1, 2, 4, 8], [1, 4])
    const hosts = await ifAvailable('hosts', leftOut, async () => makeHosts(bench, Math.max(...counts) + 1))
    for (const engine of await engines(bench, leftOut)) {
      const base = await engine.create()
      series.push(...(await byDispatchers(bench, engine, base, counts)))
      series.push(...(await byDatabases(bench, engine, pick([1, 2, 4], [1, 2]))))
      if (engine.socket && hosts) series.push(...(await byHosts(bench, engine, base, {hosts, counts})))
      series.push(...(await costs(bench, engine, base)))
    }
    return {series, leftOut}
  },
}

async function byDispatchers(bench: Bench, {name}: Engine, base: TestBase, counts: readonly number[]) {
  const all: Group[] = []
  for (const prefetch of [0, AHEAD])
    for (const n of counts) {
      const start = () => Dispatcher.start(bench, [base.db], {prefetch})
      const dispatchers = await Promise.all(Array.from({length: n}, start))
      all.push({
        name: `${name}, ${plural(n, 'dispatcher')}, ${how(prefetch)}`,
        dispatchers,
        bases: [base],
      })
    }
  return measure(bench, all)
}

async function byDatabases(bench: Bench, engine: Engine, counts: readonly number[]) {
  const bases: TestBase[] = []
  for (const _ of Array(Math.max(...counts))) bases.push(await engine.create())
  const all: Group[] = []
  for (const n of counts) {
    const some = bases.slice(0, n)
    const dbs = some.map(({db}) => db)
    const name = `${engine.name}, ${plural(n, 'database')}`
    const each = await Promise.all(dbs.map(db => Dispatcher.start(bench, [db])))
    all.push({name: `${name}, a dispatcher each, strict`, dispatchers: each, bases: some})
    if (n === 1) continue
    const one = await Dispatcher.start(bench, dbs)
    all.push({name: `${name}, one dispatcher, strict`, dispatchers: [one], bases: some})
  }
  return measure(bench, all)
}

async function byHosts(
  bench: Bench,
  {name, socket}: Engine,
  base: TestBase,
  {hosts: [server, ...hosts], counts}: {hosts: readonly TestHost[]; counts: readonly number[]},
) {
  const {prefix, address} = server!
  const words = [program('far.mjs'), address, String(PORT), socket!]
  const far = startChild([...prefix, process.execPath, ...words])
  bench.defer(() => terminate(far))
  await heard(far)
  const db = Object.assign(new URL(base.db), {host: `${address}:${PORT}`}).href
  const all: Group[] = []
  for (const prefetch of [0, AHEAD])
    for (const n of counts) {
      const start = (host: TestHost) => Dispatcher.start(bench, [db], {prefetch, prefix: host.prefix})
      const dispatchers = await Promise.all(hosts.slice(0, n).map(start))
      all.push({
        name: `${name} 1 ms away, ${plural(n, 'host')}, ${how(prefetch)}`,
        dispatchers,
        bases: [base],
      })
    }
  const series = await measure(bench, all)
  await terminate(far)
  return series
}

/** Dispatchers that work together, each on all of the databases or on one. */
interface Group {
  name: string
  dispatchers: readonly Dispatcher[]
  bases: readonly TestBase[]
}

/** In turns, in rounds. The dispatchers are stopped then. */
async function measure({pick}: Bench, groups: readonly Group[]): Promise<Series[]> {
  const contenders = groups.map(({name, dispatchers, bases}): Contender => {
    const drain = async (each: number) => {
      for (const base of bases) await base.fill(each)
      return drainAll(dispatchers, each * bases.length)
    }
    return {
      name,
      unit: 'jobs/s',
      async run(round) {
        if (round < 0) await drain(Math.ceil((WARM * dispatchers.length) / bases.length))
        return drain(pick(4000, 2000) / bases.length)
      },
    }
  })
  const series = await interleave(pick(3, 1), contenders)
  for (const {dispatchers} of groups) for (const dispatcher of dispatchers) await dispatcher.stop()
  return series
}

/** What is written ahead for a job, and what an idle \`jobq work\` asks. */
async function costs(bench: Bench, {name}: Engine, base: TestBase): Promise<Series[]> {
  const {jobq, folder, pick} = bench
  const count = pick(2000, 500)
  const queue = await jobq.queue.JobQueue.open({db: base.db, durable: false})
  const bytes = async (work: () => Promise<unknown>) => {
    const before = await base.written()
    await work()
    return ((await base.written()) - before) / count
  }
  const enqueued = await bytes(async () => {
    for (let i = 0; i < count; i++) await queue.enqueue(FUNC, {arg: ARG})
  })
  const worked = await bytes(() => queue.work({workers: {[FUNC]: () => {}}, mode: 'drain'}))
  await queue.close()
  const series: Series[] = [
    {name: `${name}, written for a job that is enqueued`, unit: 'B', values: [enqueued]},
    {name: `${name}, written for a job that is worked`, unit: 'B', values: [worked]},
  ]
  if (!base.load) return series
  const before = await base.load()
  const {child} = workplace(jobq, folder(), {[`${FUNC}.mjs`]: 'export default {work() {}}\n'}).work(base.db)
  await sleep(5000) // it looks less and less often
  const begun = await base.load()
  const seconds = pick(20, 5)
  await sleep(seconds * 1000)
  const ended = await base.load()
  await terminate(child)
  return [
    ...series,
    {
      name: `${name}, connections of an idle jobq work`,
      unit: '',
      values: [ended.connections - before.connections],
    },
    {name: `${name}, what it asks a second`, unit: '', values: [(ended.asked - begun.asked) / seconds]},
  ]
}

function how(prefetch: number): string {
  return prefetch === 0 ? 'strict' : `prefetch ${prefetch}`
}

function plural(n: number, what: string): string {
  return n === 1 ? `1 ${what}` : `${n} ${what}s`
}
