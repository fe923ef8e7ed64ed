/** 50 jobs at once that wait, beside the peers with the concurrency that they advertise. */
import {fork} from 'node:child_process'
import {AT_ONCE, JOB_MS} from '../lib/at-once.ts'
import {engines} from '../lib/engines.ts'
import {FUNC, fill, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment, program} from '../lib/jobq.ts'
import {type Contender, interleave, named, ratio, type Series, type Unit} from '../lib/measure.ts'
import {ifAvailable, needServer, type PeerQueue, SERVERS} from '../lib/peers.ts'
import {ended, familyMemory} from '../lib/processes.ts'
import type {Bench, Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'
import {openBullMq} from '../peers/bullmq.ts'
import {openGraphileWorker} from '../peers/graphile-worker.ts'
import {openPgBoss} from '../peers/pg-boss.ts'

interface Measured {
  rate: number
  memory: number
}

/** Enqueues, and has a process of its own work it all. */
interface Rival {
  name: string
  run(count: number): Promise<Measured>
}

export const atOnce: Scenario = {
  name: 'at-once',
  title: `${AT_ONCE} jobs at once that wait ${JOB_MS} ms`,
  about: `As jobs do that ask another service: at most ${(AT_ONCE / JOB_MS) * 1000} a second. Each worker is a process of its own, with the
most memory that it had at a time; \`jobq work\` is two, a dispatcher and a child, whose memory is added up.
jobq: \`queue.work({concurrency: ${AT_ONCE}})\`, and \`jobq work --jobs-per-child ${AT_ONCE}\`; BullMQ and graphile-worker: concurrency
${AT_ONCE}; pg-boss: batches of ${AT_ONCE}, the next as soon as one is done.`,
  async run(bench) {
    const {pick} = bench
    const leftOut: string[] = []
    const count = pick(5000, 1500)
    const rivals = await rivalsOf(bench, leftOut)
    const memories: Series[] = rivals.map(({name}) => ({name: `${name}: memory`, unit: 'MB', values: []}))
    const contenders: Contender[] = rivals.map(({name, run}, i) => ({
      name,
      unit: 'jobs/s' as Unit,
      async run(round) {
        const {rate, memory} = await run(count)
        if (round >= 0) memories[i]!.values.push(memory)
        return rate
      },
    }))
    const series = await interleave(pick(7, 3), contenders)
    const has = (name: string) => series.some(one => one.name === name)
    const goals = [
      ['jobq, PostgreSQL', 'graphile-worker'],
      ['jobq, PostgreSQL', 'pg-boss'],
      ['jobq, SQLite', 'BullMQ, Redis'],
      ['jobq work, SQLite', 'BullMQ, Redis'],
    ]
      .filter(names => names.every(has))
      .map(([of = '', to = '']) => ({
        what: `${AT_ONCE} at once: ${of} / ${to}`,
        ...ratio(named(series, of), named(series, to)),
        is: '>=' as const,
        bound: 1,
      }))
    return {series: [...series, ...memories], goals, leftOut}
  },
}

async function rivalsOf(bench: Bench, leftOut: string[]): Promise<Rival[]> {
  const {jobq, defer} = bench
  const rivals: Rival[] = [jobqWork(bench, await makeDatabase(jobq, bench.folder()))]
  const add = (name: string, kind: string, url: string, enqueue: (count: number) => unknown) =>
    rivals.push({
      name,
      async run(count) {
        await enqueue(count)
        return worked(kind, url, count, jobq.library)
      },
    })
  const peer = (name: string, kind: string, url: string, open: () => Promise<Required<PeerQueue>>) =>
    ifAvailable(name, leftOut, async () => {
      const queue = await open()
      defer(() => queue.close())
      add(name, kind, url, count => queue.enqueueMany(count))
    })
  for (const {name, create} of await engines(bench, leftOut)) {
    const {db, fill} = await create()
    add(`jobq, ${name}`, 'jobq', db, fill)
    if (name !== 'PostgreSQL') continue
    await peer('graphile-worker', 'graphile-worker', db, () => openGraphileWorker(db))
    await peer('pg-boss', 'pg-boss', db, () => openPgBoss(db))
  }
  await peer('BullMQ, Redis', 'bullmq', SERVERS.redis, async () => {
    await needServer(SERVERS.redis)
    return openBullMq(SERVERS.redis)
  })
  return rivals
}

function jobqWork({jobq, folder}: Bench, db: string): Rival {
  const source = `export default {work: () => new Promise(resolve => setTimeout(resolve, ${JOB_MS}))}\n`
  const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: source})
  const flags = ['--max-workers', '1', '--jobs-per-child', String(AT_ONCE), '--max-request-per-child', '0']
  return {
    name: 'jobq work, SQLite',
    async run(count) {
      fill(db, {count})
      const working = place.work(db, '--drain', ...flags)
      const [rate, memory] = await Promise.all([place.rateOf(working), familyMemory(working.child)])
      return {rate, memory}
    },
  }
}

async function worked(kind: string, url: string, count: number, library: string): Promise<Measured> {
  const child = fork(program('at-once.ts'), [kind, url, String(count), library], {
    env: cleanEnvironment(),
    execArgv: [],
  })
  let measured: Measured | undefined
  child.once('message', message => {
    measured = message as Measured
  })
  await ended(child)
  if (!measured) throw new Error(`${kind} has ended with ${child.exitCode ?? child.signalCode}`)
  return measured
}
