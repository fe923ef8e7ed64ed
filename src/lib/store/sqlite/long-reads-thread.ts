/**
 * The thread of long reads (long-reads.ts): one after the other, each of one moment, on a connection of its own.
 */
import {parentPort, workerData} from 'node:worker_threads'
import {connectLike, type LinkAddress, type SqliteLink} from './connection.ts'
import {type Read, SqliteReads} from './reads.ts'
import {type Failure, failureOf} from './thread-errors.ts'

export type Answer = {found: unknown} | {failed: Failure}

let open: {link: SqliteLink; reads: SqliteReads} | undefined

let orders = Promise.resolve()
parentPort!.on('message', (order: Read | 'end') => {
  orders = orders.then(async () => {
    if (order !== 'end') return parentPort!.postMessage(await answer(order))
    open?.link.close()
    parentPort!.close()
  })
})

async function answer(read: Read): Promise<Answer> {
  try {
    open ??= connection()
    const {link, reads} = open
    return {found: await link.read(() => reads.do(read))}
  } catch (error) {
    return {failed: failureOf(error)}
  }
}

function connection(): {link: SqliteLink; reads: SqliteReads} {
  const link = connectLike(workerData as LinkAddress)
  return {link, reads: new SqliteReads(link)}
}
