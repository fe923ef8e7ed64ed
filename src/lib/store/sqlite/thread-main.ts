/** What a thread (thread.ts) runs: one of the tasks that are done on a connection of their own. */
import {parentPort, workerData} from 'node:worker_threads'
import {connectLike, connectTo} from './connection.ts'
import {
  type Answer,
  type ConnectionAddress,
  failureOf,
  type Shortened,
  type Task,
  type ThreadData,
} from './thread-protocol.ts'

let task: Task | undefined
let orders = Promise.resolve()
parentPort!.on('message', order => {
  orders = orders.then(async () => {
    if (order !== 'end') return parentPort!.postMessage(await answer(order))
    await task?.end()
    parentPort!.close()
  })
})

async function answer(order: unknown): Promise<Answer> {
  try {
    task ??= await begin(workerData as ThreadData)
    return {done: await task.obey(order)}
  } catch (error) {
    return {failed: failureOf(error)}
  }
}

async function begin(data: ThreadData): Promise<Task> {
  if ('address' in data)
    return data.task === 'reads' ? reads(data.address) : (await import('./bulk-task.ts')).bulk(data.address)
  const db = connectTo(data.place)
  const checkpoint = (mode: string) => db.prepare(`PRAGMA wal_checkpoint(${mode})`).raw().get()
  const modes = {
    checkpoint: () => checkpoint('PASSIVE'),
    // Moving takes no lock that others want; cutting does, but nearly nothing is left to be moved by then
    shorten: (): Shortened => {
      const [, pages, moved] = checkpoint('PASSIVE') as [number, number, number]
      const isShort = pages === moved && (checkpoint('TRUNCATE') as number[])[0] === 0
      return {isShort, pages, moved}
    },
  }
  return {obey: modes[data.task], end: () => void db.close()}
}

/** Each of one moment. */
async function reads(address: ConnectionAddress): Promise<Task> {
  const {SqliteReads} = await import('./reads.ts')
  const link = connectLike(address)
  const reads = new SqliteReads(link)
  type Read = Parameters<typeof reads.do>[0]
  return {obey: read => link.read(() => reads.do(read as Read)), end: () => link.close()}
}
