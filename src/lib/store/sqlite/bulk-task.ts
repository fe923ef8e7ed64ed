/**
 * A bulk in its thread (bulk.ts): it is sent stretches of jobs and inserts them in one transaction, until it is told to
 * commit. What fails is rolled back at once.
 */
import type {NewJob} from '../../jobs/job.ts'
import {connectLike} from './connection.ts'
import {SqliteInsert} from './insert.ts'
import type {ConnectionAddress, Task} from './thread-protocol.ts'

export async function bulk(address: ConnectionAddress): Promise<Task> {
  const link = connectLike(address)
  await link.setDurable(address.isDurable)
  const inserts = new SqliteInsert(link)
  let inserted = 0
  let failure: unknown

  async function insert(jobs: readonly NewJob[]): Promise<void> {
    if (!link.db.inTransaction) await link.patiently(() => link.sql('BEGIN IMMEDIATE').run())
    inserted = inserts.insertAll(jobs, inserted)
  }

  async function commit(): Promise<number> {
    link.file?.look() // a bulk may take long
    await link.patiently(() => link.sql('COMMIT').run())
    link.ring()
    return inserted
  }

  /** What of it is in the -wal is cut off: it may be all that the file system had room for. */
  async function leave(): Promise<void> {
    try {
      if (link.db.inTransaction) link.db.exec('ROLLBACK')
      await link.cutWal()
    } finally {
      link.close()
    }
  }

  return {
    async obey(order) {
      if (failure) throw failure
      try {
        return await (order === 'commit' ? commit() : insert(order as readonly NewJob[]))
      } catch (error) {
        failure = error
        await leave()
        throw error
      }
    },
    async end() {
      if (failure) return
      if (link.db.inTransaction) await leave()
      else link.close()
    },
  }
}
