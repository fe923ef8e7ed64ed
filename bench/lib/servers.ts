/** jobq on a database server, in a database made for the measurement; left out while it has no driver for it. */
import {spawn} from 'node:child_process'
import {ARG, FUNC} from './floor.ts'
import {cleanEnvironment, program} from './jobq.ts'
import {latencies} from './latency.ts'
import type {PeerQueue} from './peers.ts'
import type {Bench} from './scenario.ts'
import {work} from './work.ts'

/** What graphile-worker's local queue is given, too. */
const AHEAD = 500

export interface ServerJobq extends Required<PeerQueue> {
  /** As work, with AHEAD jobs taken ahead. */
  workMany(count: number): Promise<number>
  latencies(count: number): Promise<number[]>
}

/** @throws StoreError if jobq can't use it */
export async function openServerJobq({jobq, folder}: Bench, db: string): Promise<ServerJobq> {
  await jobq.queue.JobQueue.init({db})
  const queue = await jobq.queue.JobQueue.open({db})
  const notes = `${folder()}/notes`
  return {
    async enqueue(count) {
      for (let i = 0; i < count; i++) await queue.enqueue(FUNC, {arg: ARG})
    },
    async enqueueMany(count) {
      const job = {func: FUNC, arg: JSON.stringify(ARG), uniqkey: null, priority: 0, due: {in: 0}}
      await queue.addMany(Array.from({length: count}, () => job))
    },
    work: count => work(queue, count),
    workMany: count => work(queue, count, AHEAD),
    latencies: count =>
      latencies(jobq, {
        db,
        count,
        notes,
        start: () =>
          spawn(process.execPath, [program('watch-and-turn.mjs'), jobq.library, db, FUNC], {
            stdio: 'ignore',
            env: cleanEnvironment({BENCH_NOTES: notes}),
          }),
      }),
    close: () => queue.close(),
  }
}
