/** Jobs enqueued in a transaction that the caller has open on a connection of its own. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {DuplicateJobError, TransactionError} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

describe("in the caller's own transaction", () => {
  test('the job is there when that commits, and never if it rolls back', async t => {
    const {queue, file, rows} = await openQueue(t)
    const told: unknown[] = []
    queue.on('enqueue', event => told.push(event))
    const db = new Sqlite(file)
    t.after(() => db.close())
    db.exec('CREATE TABLE picture (name TEXT)')
    const upload = db.transaction((name: string, fails: boolean) => {
      db.prepare('INSERT INTO picture VALUES (?)').run(name)
      const job = queue.enqueueIn(db, 'Crop', {arg: {name}, priority: 5, context: {a: 'b'}, tracked: true})
      if (fails) throw new Error('rolled back')
      return job
    })
    const job = upload.immediate('a.jpg', false)
    assert.deepEqual([job.id, job.func, job.priority], [1, 'Crop', 5])
    assert.throws(() => upload.immediate('b.jpg', true), /rolled back/)
    assert.deepEqual(rows('SELECT name FROM picture'), [{name: 'a.jpg'}])
    assert.deepEqual(rows('SELECT arg FROM job'), [{arg: '{"name":"a.jpg"}'}])
    assert.equal(told.length, 2, 'told as it is enqueued: whether that commits is not known then')
  })

  test('waiting workers wake when it commits', async t => {
    const {open, queue, file} = await openQueue(t)
    const worker = await open()
    const db = new Sqlite(file)
    t.after(() => db.close())
    const stop = new AbortController()
    const worked = Promise.withResolvers<void>()
    const working = worker.work({workers: {F: () => worked.resolve()}, workDelay: 3600, signal: stop.signal})
    db.transaction(() => queue.enqueueIn(db, 'F')).immediate()
    await worked.promise
    stop.abort()
    await working
  })

  test('what is refused leaves it as it was', async t => {
    const {queue, file, rows} = await openQueue(t)
    await queue.enqueue('F', {uniqkey: 'k'})
    const db = new Sqlite(file)
    t.after(() => db.close())
    db.transaction(() => {
      queue.enqueueIn(db, 'G')
      assert.throws(() => queue.enqueueIn(db, 'F', {uniqkey: 'k'}), DuplicateJobError)
      assert.throws(() => queue.enqueueIn(db, 'F', {arg: 5n}), {code: 'BAD_ARGUMENT'})
    }).immediate()
    assert.equal(rows('SELECT * FROM job').length, 2)
  })

  test('with several databases, it is the one that the connection belongs to', async t => {
    const {open, folder} = place(t)
    const files = [`${folder}/a.db`, `${folder}/b.db`]
    const queue = await open({db: files})
    for (const [i, file] of files.entries()) {
      const db = new Sqlite(file)
      t.after(() => db.close())
      const job = db.transaction(() => queue.enqueueIn(db, 'F')).immediate()
      assert.deepEqual([job.id, job.db], [1, i + 1])
      assert.deepEqual(db.prepare('SELECT count(*) AS jobs FROM job').get(), {jobs: 1})
    }
    const elsewhere = new Sqlite(':memory:')
    elsewhere.exec('BEGIN')
    assert.throws(
      () => queue.enqueueIn(elsewhere, 'F'),
      (error: unknown) => {
        assert.ok(error instanceof TransactionError)
        assert.match(
          error.message,
          /^expected a connection to one of the queue's databases, got one to another/,
        )
        return true
      },
    )
    assert.throws(() => queue.enqueueIn(new Sqlite(files[1]!), 'F'), /the Database is in no transaction/)
  })
})
