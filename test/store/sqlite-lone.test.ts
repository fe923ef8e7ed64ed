/** A process that stores one job and ends, with nobody else on the file, or with someone who has just come. */
import assert from 'node:assert/strict'
import {existsSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {DuplicateJobError} from '../../src/lib/jobs/errors.ts'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import {openSqlite} from '../../src/lib/store/sqlite/store.ts'
import {tempFolder} from '../support/temp.ts'

const JOB: NewJob = {func: 'F', arg: 'null', uniqkey: null, priority: 0, due: {in: 0}}

/** A database that someone has used and left, and a process that opens it. */
async function opened(t: TestContext) {
  const path = join(tempFolder(t), 'jobs.db')
  const first = await openSqlite(path)
  await first.enqueue({...JOB, uniqkey: 'taken'})
  await first.close()
  const store = await openSqlite(path, {oneJob: true, brief: true})
  const other = new Sqlite(path)
  t.after(() => other.close())
  const ids = () => other.prepare('SELECT id FROM job ORDER BY id').pluck().all()
  return {store, other, ids, wal: () => statSync(`${path}-wal`).size, path}
}

describe('one job', () => {
  test('all of it is in the database before it is told, and the -wal is gone with the process', async t => {
    const {store, other, ids, path} = await opened(t)
    assert.equal((await store.enqueue(JOB)).id, 2)
    const [{log, checkpointed}] = other.pragma('wal_checkpoint(NOOP)') as [Record<string, number>]
    assert.ok(log! > 0 && checkpointed === log, `${checkpointed} of ${log} pages`)
    assert.deepEqual(ids(), [1, 2])
    await store.close()
    other.close()
    assert.ok(!existsSync(`${path}-wal`))
  })

  test('one who reads what was before is not disturbed: it stays in the -wal', async t => {
    const {store, other, ids, wal} = await opened(t)
    other.exec('BEGIN')
    assert.deepEqual(ids(), [1])
    assert.equal((await store.enqueue(JOB)).id, 2)
    assert.deepEqual(ids(), [1])
    other.exec('COMMIT')
    await store.close()
    assert.ok(wal() > 0)
    assert.deepEqual(ids(), [1, 2])
  })

  test('behind one who has written meanwhile; and the next of this process', async t => {
    const {store, other, ids} = await opened(t)
    other.exec(`UPDATE job SET priority = 3`)
    assert.equal((await store.enqueue(JOB)).id, 2)
    assert.equal((await store.enqueue(JOB)).id, 3)
    assert.deepEqual(ids(), [1, 2, 3])
    await store.close()
  })

  test('that is refused leaves nothing behind, and the next is stored', async t => {
    const {store, ids, wal} = await opened(t)
    await assert.rejects(store.enqueue({...JOB, uniqkey: 'taken'}), DuplicateJobError)
    assert.equal(wal(), 0)
    assert.equal((await store.enqueue(JOB)).id, 2)
    assert.deepEqual(ids(), [1, 2])
    await store.close()
  })
})
