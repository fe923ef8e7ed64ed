/** graphile-worker on PostgreSQL: a job at a time, as it does by default, or through a local queue of 500. */
import {AT_ONCE} from '../lib/at-once.ts'
import {ARG} from '../lib/floor.ts'
import {load, type PeerQueue} from '../lib/peers.ts'

interface GraphileWorker {
  makeWorkerUtils(options: object): Promise<Utils>
  run(options: object): Promise<{stop(): Promise<void>}>
  Logger: new (factory: () => () => void) => object
}

interface Utils {
  migrate(): Promise<void>
  addJob(task: string, payload: unknown): Promise<unknown>
  addJobs(jobs: {identifier: string; payload: unknown}[]): Promise<unknown>
  release(): Promise<void>
}

export async function workAtOnce(connectionString: string, bench: () => Promise<void>): Promise<void> {
  const {run, Logger} = await load<GraphileWorker>('graphile-worker')
  const logger = new Logger(() => () => {})
  await run({connectionString, logger, concurrency: AT_ONCE, noHandleSignals: true, taskList: {bench}})
}

export async function openGraphileWorker(
  connectionString: string,
): Promise<Required<PeerQueue> & {workMany(count: number): Promise<number>}> {
  const {makeWorkerUtils, run, Logger} = await load<GraphileWorker>('graphile-worker')
  const logger = new Logger(() => () => {})
  const utils = await makeWorkerUtils({connectionString, logger})
  await utils.migrate()
  const work = async (count: number, options: object) => {
    let left = count
    let start = 0
    const done = Promise.withResolvers<number>()
    const bench = () => {
      if (left-- === count) start = performance.now()
      if (left === 0) done.resolve((count - 1) / ((performance.now() - start) / 1000))
    }
    const runner = await run({connectionString, logger, noHandleSignals: true, taskList: {bench}, ...options})
    const rate = await done.promise
    await runner.stop()
    return rate
  }
  return {
    async enqueue(count) {
      for (let i = 0; i < count; i++) await utils.addJob('bench', ARG)
    },
    async enqueueMany(count) {
      await utils.addJobs(Array.from({length: count}, () => ({identifier: 'bench', payload: ARG})))
    },
    work: count => work(count, {}),
    workMany: count =>
      work(count, {
        preset: {
          worker: {
            connectionString,
            concurrentJobs: 24,
            localQueue: {size: 500},
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
            logger,
          },
        },
      }),
    close: () => utils.release(),
  }
}
