/** BullMQ on Redis, for comparison: jobq has no store there. */
import {ifAvailable, needServer, SERVERS} from '../lib/peers.ts'
import type {Scenario} from '../lib/scenario.ts'
import {openBullMq} from '../peers/bullmq.ts'
import {measureQueues} from './postgres.ts'

export const redis: Scenario = {
  name: 'redis',
  title: 'BullMQ on Redis',
  about: `For comparison only; in numbers is 50 at once. Redis with its default settings keeps a job in memory and writes
it to disk a minute later at best: compare with jobq's figures for synchronous NORMAL, which survive a crash.`,
  async run(bench) {
    const leftOut: string[] = []
    const bullmq = await ifAvailable('BullMQ', leftOut, async () => {
      await needServer(SERVERS.redis)
      return openBullMq(SERVERS.redis)
    })
    return {...(await measureQueues(bench, {BullMQ: bullmq})), leftOut}
  },
}
