/** liteque: a queue on better-sqlite3 through drizzle, WAL. Its dequeue needs a better-sqlite3 older than 13. */
import {ARG} from '../lib/floor.ts'
import {load, type PeerQueue} from '../lib/peers.ts'

interface Liteque {
  buildDBClient(path: string, options: {runMigrations: boolean}): unknown
  SqliteQueue: new (
    name: string,
    db: unknown,
    options: object,
  ) => {enqueue(payload: unknown): Promise<unknown>}
}

export async function open(folder: string): Promise<PeerQueue & Required<Pick<PeerQueue, 'enqueue'>>> {
  const {buildDBClient, SqliteQueue} = await load<Liteque>('liteque')
  const db = buildDBClient(`${folder}/liteque.db`, {runMigrations: true})
  const queue = new SqliteQueue('bench', db, {defaultJobArgs: {numRetries: 0}, keepFailedJobs: false})
  return {
    async enqueue(count) {
      for (let i = 0; i < count; i++) await queue.enqueue(ARG)
    },
    close() {},
  }
}
