/** BullMQ on Redis: one worker, one job at a time or 50 at once. */
import {AT_ONCE} from '../lib/at-once.ts'
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

/** Jobs lie in this queue, which is emptied at the end. */
const nameOf = (pid: number) => `jobq-bench-${pid}`

/** In a child of who has enqueued. */
export async function workAtOnce(url: string, work: () => Promise<void>): Promise<void> {
  const {Worker} = await load<BullMq>('bullmq')
  const worker = new Worker(nameOf(process.ppid), work, {connection: connectionOf(url), concurrency: AT_ONCE})
  worker.on('error', () => {})
}

function connectionOf(url: string): {host: string; port: number} {
  const {hostname: host, port} = new URL(url)
  return {host, port: Number(port)}
}

export async function openBullMq(
  url: string,
): Promise<Required<PeerQueue> & {workMany(count: number): Promise<number>}> {
  const {Queue, Worker} = await load<BullMq>('bullmq')
  const name = nameOf(process.pid)
  const connection = connectionOf(url)
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
    workMany: count => work(count, AT_ONCE),
    async close() {
      await queue.obliterate({force: true})
      await queue.close()
    },
  }
}
