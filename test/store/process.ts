/**
 * Another process on the same database: `process.ts ADDRESS`. Says 'ready', then does what it is told, one message
 * after the other, and answers each.
 */
import type {JobRow, Settlement} from '../../src/lib/jobs/job.ts'
import {parseAddress} from '../../src/lib/store/address.ts'
import {openStore} from '../../src/lib/store/open.ts'
import type {Store} from '../../src/lib/store/store.ts'

export type Order =
  | {do: 'open'; durable?: boolean}
  | {do: 'enqueue'; func: string; count: number}
  | {do: 'init'}
  | {do: 'work'; func: string}
  /** Ends by SIGKILL with a bulk enqueue half done. */
  | {do: 'die enqueueing'; func: string}

const [address = ''] = process.argv.slice(2)
let store: Store

async function obey(order: Order): Promise<number[]> {
  switch (order.do) {
    case 'open':
      store = await openStore(parseAddress(address), {durable: order.durable ?? false})
      return []
    case 'enqueue': {
      const ids = []
      for (let i = 0; i < order.count; i++) ids.push((await store.enqueue(job(order.func))).id)
      return ids
    }
    case 'init':
      await store.init()
      return []
    case 'work':
      return work(order.func)
    case 'die enqueueing': {
      const source = function* () {
        for (let i = 0; i < 20_000; i++) yield job(order.func)
        process.kill(process.pid, 'SIGKILL')
        yield job(order.func)
      }
      return [await store.enqueueMany(source())]
    }
  }
}

/** Works until nothing is ready. @returns the ids of the jobs it got */
async function work(func: string): Promise<number[]> {
  const taken: JobRow[] = []
  let ended: Settlement[] = []
  for (;;) {
    const {jobs} = await store.turn(ended, {funcs: [func], limit: 2, lease: 60})
    if (jobs.length === 0) return taken.map(({id}) => id)
    taken.push(...jobs)
    ended = jobs.map(({id, grabbedUntil}) => ({lease: {id, grabbedUntil}, outcome: {kind: 'completed'}}))
  }
}

function job(func: string) {
  return {func, arg: null, uniqkey: null, priority: 0, due: {in: 0}}
}

process.on('message', async (order: Order) => process.send?.(await obey(order)))
process.send?.('ready')
