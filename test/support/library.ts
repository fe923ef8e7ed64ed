/** The library in this process, on a SQLite file of its own, and what lies in that file. */
import {join} from 'node:path'
import type {TestContext} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue, type QueueOptions} from '../../src/lib/index.ts'
import {tempFolder} from './temp.ts'

export interface Place {
  folder: string
  file: string
  /** Another queue on the same file, unless `db` says otherwise. Closed when the test ends. */
  open(options?: QueueOptions): Promise<JobQueue>
  /** Rows by a connection of its own. */
  rows<Row = Record<string, unknown>>(sql: string, ...values: unknown[]): Row[]
}

export function place(t: Pick<TestContext, 'after'>): Place {
  const queues: JobQueue[] = []
  t.after(async () => {
    for (const queue of queues) await queue.close()
  })
  const folder = tempFolder(t)
  const file = join(folder, 'jobs.db')
  return {
    folder,
    file,
    open: async options => {
      const queue = await JobQueue.open({db: file, ...options})
      queues.push(queue)
      return queue
    },
    rows: <Row>(sql: string, ...values: unknown[]) => {
      const db = new Sqlite(file)
      try {
        return db.prepare(sql).all(...values) as Row[]
      } finally {
        db.close()
      }
    },
  }
}

/** A queue on a file of its own. */
export async function openQueue(
  t: Pick<TestContext, 'after'>,
  options: QueueOptions = {},
): Promise<Place & {queue: JobQueue}> {
  const where = place(t)
  return {...where, queue: await where.open(options)}
}
