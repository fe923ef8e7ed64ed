/** `queue.work()` on a function that does nothing. */
import {FUNC} from './floor.ts'

type Queue = Awaited<ReturnType<typeof import('../../src/lib/client/queue.ts').JobQueue.open>>

/** @returns jobs a second, from the first one's start: opening its connection is left out */
export async function work(queue: Queue, count: number, prefetch = 0): Promise<number> {
  let done = 0
  let start = 0
  const noop = () => {
    if (done++ === 0) start = performance.now()
  }
  await queue.work({workers: {[FUNC]: noop}, mode: 'drain', prefetch})
  if (done !== count) throw new Error(`expected ${count} jobs, got ${done}`)
  return (count - 1) / ((performance.now() - start) / 1000)
}
