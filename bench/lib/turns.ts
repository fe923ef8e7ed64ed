/** The store's turns, without a dispatcher: each settles the jobs before and grabs the next. */
import {FUNC} from './floor.ts'

type Queue = Awaited<ReturnType<typeof import('../../src/lib/client/queue.ts').JobQueue.open>>

/** @param between called before each turn, untimed. @returns each turn's time in ms; the jobs are gone afterwards */
export async function timeTurns(
  queue: Queue,
  func: string | readonly string[],
  count: number,
  between: () => unknown = () => {},
): Promise<number[]> {
  const want = {funcs: typeof func === 'string' ? [func] : func, limit: 1, lease: 60}
  const times: number[] = []
  let turn = await queue.store.turn([], want)
  for (let i = 0; i < count - 1; i++) {
    const [job] = turn.jobs
    if (!job) throw new Error(`expected ${count} jobs, got ${i}`)
    const {id, grabbedUntil} = job
    between()
    const start = performance.now()
    turn = await queue.store.turn([{lease: {id, grabbedUntil}, outcome: {kind: 'completed'}}], want)
    times.push(performance.now() - start)
  }
  const last = turn.jobs.map(({id, grabbedUntil}) => ({
    lease: {id, grabbedUntil},
    outcome: {kind: 'completed'} as const,
  }))
  await queue.store.turn(last, {...want, limit: 0})
  return times
}

/** Takes and settles until nothing is ready. */
export async function drain(queue: Queue, limit = 1): Promise<number> {
  const want = {funcs: [FUNC], limit, lease: 60}
  let done = 0
  let turn = await queue.store.turn([], want)
  while (turn.jobs.length > 0) {
    const settlements = turn.jobs.map(({id, grabbedUntil}) => ({
      lease: {id, grabbedUntil},
      outcome: {kind: 'completed'} as const,
    }))
    done += settlements.length
    turn = await queue.store.turn(settlements, want)
  }
  return done
}
