/** BullMQ on Redis: one worker, one job at a time or 50 at once. */
import {ARG} from '../lib/floor.ts'
import {load, type PeerQueue} from '../lib/peers.ts'

interface BullMq {
  Queue: new (name: string, options: object) => Queue
  Worker: new (name: string, work: () => Promise<void>, options: object) => {close(): Promise<void>; on: On}
}

type On = (event: 'completed' | 'error', listener: () => void) => void

interface Queue {
  add(name: string, data: object, options: object): Promise<unknown>
  addBulk(jobs: {name: string; data: object; opts: object}[]): Promise<unknown>
  obliterate(options: object): Promise<void>
  close(): Promise<void>
}

export async function openBullMq(
  url: string,
): Promise<Required<PeerQueue> & {workMany(count: number): Promise<number>}> {
  const {Queue, Worker} = await load<BullMq>('bullmq')
  const name = `jobq-bench-${process.pid}`
  const {hostname: host, port} = new URL(url)
  const connection = {host, port: Number(port)}
  const queue = new Queue(name, {connection})
  const opts = {removeOnComplete: true}
  const work = async (count: number, concurrency: number) => {
    let left = count
    let start = 0
    const done = Promise.withResolvers<number>()
    const worker = new Worker(name, async () => {}, {connection, concurrency})
    worker.on('completed', () => {
      if (left-- === count) start = performance.now()
      if (left === 0) done.resolve((count - 1) / ((performance.now() - start) / 1000))
    })
    worker.on('error', () => {})
    const rate = await done.promise
    await worker.close()
    return rate
  }
  return {
    async enqueue(count) {
      for (let i = 0; i < count; i++) await queue.add('bench', ARG, opts)
    },
    async enqueueMany(count) {
      await queue.addBulk(Array.from({length: count}, () => ({name: 'bench', data: ARG, opts})))
    },
    work: count => work(count, 1),
    workMany: count => work(count, 50),
    async close() {
      await queue.obliterate({force: true})
      await queue.close()
    },
  }
}
