/** jobq on PostgreSQL beside graphile-worker and pg-boss, in one server. */
import {latencySeries} from '../lib/latency.ts'
import {type Contender, interleave, perSecond, quantile, ratio, type Unit} from '../lib/measure.ts'
import {ifAvailable, load, needServer, type PeerQueue, SERVERS} from '../lib/peers.ts'
import type {Bench, Goal, Result, Scenario} from '../lib/scenario.ts'
import {openServerJobq} from '../lib/servers.ts'
import {openGraphileWorker} from '../peers/graphile-worker.ts'
import {openPgBoss} from '../peers/pg-boss.ts'

interface Pg {
  default: {
    Client: new (
      url: string,
    ) => {connect(): Promise<void>; query(sql: string): Promise<unknown>; end(): Promise<number>}
  }
}

type Rounds = Required<PeerQueue> & {workMany(count: number): Promise<number>}

export const postgres: Scenario = {
  name: 'postgres',
  title: 'On PostgreSQL',
  about: `Everything in one server, with its own settings. Enqueued one by one and in one call; worked one by one with one
connection (jobq: \`queue.work\`, settle and grab in one transaction; graphile-worker: its defaults; pg-boss: fetch and
complete), and in numbers (jobq: prefetch 500; graphile-worker: a local queue of 500, 24 at once; pg-boss: 100 at a time).`,
  async run(bench) {
    const leftOut: string[] = []
    const url = await ifAvailable('PostgreSQL', leftOut, () => emptyDatabase(bench))
    if (url === null) return {series: [], leftOut}
    const jobq = await ifAvailable('jobq on PostgreSQL', leftOut, () => openServerJobq(bench, url))
    const queues: Record<string, Rounds | null> = {
      jobq,
      'graphile-worker': await ifAvailable('graphile-worker', leftOut, () => openGraphileWorker(url)),
      'pg-boss': await ifAvailable('pg-boss', leftOut, () => openPgBoss(url)),
    }
    const result = await measureQueues(bench, queues)
    const goals: Goal[] = []
    const compare = (what: string, a: string, b: string) => {
      const [of, to] = [a, b].map(name => result.series.find(series => series.name === name))
      if (of && to) goals.push({what, ...ratio(of, to), is: '>=', bound: 1})
    }
    compare('PostgreSQL: strict / graphile-worker by default', 'jobq: work', 'graphile-worker: work')
    compare(
      "PostgreSQL: prefetch 500 / graphile-worker's local queue of 500",
      'jobq: work in numbers',
      'graphile-worker: work in numbers',
    )
    return withLatency(bench, {...result, leftOut, goals}, 'PostgreSQL', jobq, 5)
  },
}

/** Every method that a queue has, in rounds. */
export async function measureQueues(
  {pick, defer}: Bench,
  queues: Record<string, Rounds | null>,
  more: Contender[] = [],
): Promise<Result> {
  const [few, many] = [pick(2000, 600), pick(10_000, 10_000)]
  const contenders: Contender[] = []
  for (const [name, queue] of Object.entries(queues)) {
    if (!queue) continue
    defer(() => queue.close())
    const unit: Unit = 'jobs/s'
    // In this order: what is enqueued by the one is worked by the other
    contenders.push(
      {name: `${name}: enqueue`, unit, run: () => perSecond(few, () => queue.enqueue(few))},
      {name: `${name}: work`, unit, run: () => queue.work(few)},
      {
        name: `${name}: enqueue in one call`,
        unit,
        run: () => perSecond(many, () => queue.enqueueMany(many)),
      },
      {
        name: `${name}: work in numbers`,
        unit,
        run: () => queue.workMany(many),
      },
    )
  }
  return {series: await interleave(pick(5, 2), [...contenders, ...more], 1, {keepOrder: true})}
}

export async function withLatency(
  {pick}: Bench,
  result: Result,
  server: string,
  jobq: {latencies(count: number): Promise<number[]>} | null,
  bound: number,
): Promise<Result> {
  if (!jobq) return result
  const times = await jobq.latencies(pick(200, 40))
  return {
    ...result,
    series: [...result.series, ...latencySeries('jobq, commit to start, inline', times)],
    samples: {[`${server}, inline`]: times},
    goals: [
      ...(result.goals ?? []),
      {
        what: `${server}: commit to start, inline, p50`,
        ratio: quantile(times, 0.5),
        unit: 'ms',
        is: '<=',
        bound,
      },
    ],
  }
}

/** A database of its own, dropped when the scenario ends. @returns its address */
async function emptyDatabase({defer}: Bench): Promise<string> {
  await needServer(SERVERS.postgres)
  const {Client} = (await load<Pg>('pg')).default
  const name = `jobq_bench_${process.pid}`
  const run = async (sql: string) => {
    const client = new Client(SERVERS.postgres)
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  }
  await run(`CREATE DATABASE ${name}`)
  defer(() => run(`DROP DATABASE ${name} WITH (FORCE)`))
  const url = new URL(SERVERS.postgres)
  url.pathname = `/${name}`
  return url.href
}
