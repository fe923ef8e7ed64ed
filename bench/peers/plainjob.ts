/** plainjob: a queue on better-sqlite3, WAL and synchronous NORMAL; done jobs stay in its table. */
import Sqlite from 'better-sqlite3'
import {ARG, FUNC} from '../lib/floor.ts'
import {perSecond} from '../lib/measure.ts'
import {load, type PeerQueue} from '../lib/peers.ts'

interface Plainjob {
  better(db: Sqlite.Database): unknown
  defineQueue(options: {connection: unknown; logger: Logger}): Queue
  defineWorker(
    type: string,
    work: () => void,
    options: object,
  ): {start(): Promise<void>; stop(): Promise<void>}
}

interface Queue {
  add(type: string, data: unknown): unknown
  addMany(type: string, data: unknown[]): unknown
  close(): void
}

type Logger = Record<'error' | 'warn' | 'info' | 'debug', () => void>
const nothing = () => {}
const logger: Logger = {error: nothing, warn: nothing, info: nothing, debug: nothing}

export async function open(folder: string): Promise<Required<PeerQueue>> {
  const {better, defineQueue, defineWorker} = await load<Plainjob>('plainjob')
  const queue = defineQueue({connection: better(new Sqlite(`${folder}/plainjob.db`)), logger})
  return {
    enqueue(count) {
      for (let i = 0; i < count; i++) queue.add(FUNC, ARG)
    },
    enqueueMany(count) {
      queue.addMany(FUNC, new Array(count).fill(ARG))
    },
    async work(count) {
      let left = count
      const done = Promise.withResolvers<void>()
      const onCompleted = () => --left === 0 && done.resolve()
      const worker = defineWorker(FUNC, nothing, {queue, logger, onCompleted})
      const rate = await perSecond(count, () => {
        void worker.start()
        return done.promise
      })
      await worker.stop()
      return rate
    },
    close: () => queue.close(),
  }
}
