/**
 * One worker in a process of its own, with 50 jobs at once that wait 10 ms each, until `count` of them have ended: says how many
 * a second from the first one's start, and the most memory that the process has had.
 * node at-once.ts KIND URL COUNT [MODULE], where MODULE is jobq's library.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {AT_ONCE, JOB_MS} from '../lib/at-once.ts'
import {FUNC} from '../lib/floor.ts'

const [kind = '', url = '', words = '', module = ''] = process.argv.slice(2)
const count = Number(words)
let [done, start] = [0, 0]
const all = Promise.withResolvers<void>()

async function job(): Promise<void> {
  if (start === 0) start = performance.now()
  await sleep(JOB_MS)
  if (++done === count) all.resolve()
}

const KINDS: Record<string, () => Promise<unknown>> = {
  async jobq() {
    const {JobQueue} = (await import(module)) as typeof import('../../src/lib/index.ts')
    const queue = await JobQueue.open({db: url})
    return queue.work({workers: {[FUNC]: job}, concurrency: AT_ONCE, mode: 'drain'})
  },
  async bullmq() {
    const {workAtOnce} = await import('../peers/bullmq.ts')
    return workAtOnce(url, job)
  },
  async 'graphile-worker'() {
    const {workAtOnce} = await import('../peers/graphile-worker.ts')
    return workAtOnce(url, job)
  },
  async 'pg-boss'() {
    const {workAtOnce} = await import('../peers/pg-boss.ts')
    return workAtOnce(url, job)
  },
}

await KINDS[kind]!()
await all.promise
const rate = count / ((performance.now() - start) / 1000)
process.send!({rate, memory: process.resourceUsage().maxRSS / 1024})
process.exit()
