/** Jobs in a transaction of the application's own. */
import assert from 'node:assert/strict'
import {ArgumentError, DuplicateJobError, TransactionError} from '../../../src/lib/jobs/errors.ts'
import type {EnqueuedJob, NewJob} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertBetween,
  type Bench,
  countOf,
  type Foreign,
  HOUR,
  newJob,
  rings,
  settle,
  type Tests,
  take,
  takeOne,
  text,
} from './bench.ts'

/** Some drivers answer at once, some later. */
const enqueue = async (store: Store, {connection}: Foreign, job: NewJob): Promise<EnqueuedJob> =>
  store.enqueueWithin(connection, job)

const foreignTo = async ({db}: Pick<Bench, 'db'>): Promise<Foreign> => {
  assert.ok(db.foreign, 'the test database has no foreign connection')
  return db.foreign()
}

export const within: Tests = {
  'a job is there when the caller commits, and not before': async bench => {
    const {db, store, another} = bench
    const [app, other] = [await foreignTo(bench), await another()]
    await store.enqueue(newJob('Work', {priority: 1}))
    await app.begin()
    const before = await db.now()
    const job = newJob('Work', {arg: '{"a":"ä"}', uniqkey: 'k', priority: 7, due: {in: HOUR}})
    const enqueued = await enqueue(store, app, job)
    const {id, runAfter, ...rest} = enqueued
    assert.deepEqual(rest, {func: 'Work', uniqkey: 'k', priority: 7})
    assertBetween(before + HOUR, runAfter, (await db.now()) + HOUR)
    for (const each of [store, other]) {
      assert.equal(await each.find(id), null)
      assert.equal((await each.list({limit: 9, offset: 0})).length, 1)
    }
    await app.commit()
    const found = await other.find(id)
    assert.deepEqual(
      [found?.func, text(found?.arg ?? null), found?.uniqkey, found?.priority, found?.runAfter],
      ['Work', '{"a":"ä"}', 'k', 7, runAfter],
    )
  },

  'never when the caller rolls back, nor its function': async bench => {
    const {db, store} = bench
    const app = await foreignTo(bench)
    await app.begin()
    await enqueue(store, app, newJob('Never', {context: '{"a":"b"}', tracked: true}))
    await app.rollback()
    const tables = ['job', 'func', 'jobq_context', 'jobq_wait']
    assert.deepEqual(await Promise.all(tables.map(table => countOf(db, table))), [0, 0, 0, 0])
    assert.deepEqual(await store.funcs(), [])
  },

  "one with the caller's own rows": async bench => {
    const {db, store} = bench
    const app = await foreignTo(bench)
    for (const end of ['rollback', 'commit'] as const) {
      await app.begin()
      await app.run('INSERT INTO func (name) VALUES (?)', 'mine')
      await enqueue(store, app, newJob())
      await app.run('UPDATE func SET name = ? WHERE name = ?', 'ours', 'mine')
      await app[end]()
      const jobs = end === 'commit' ? 1 : 0
      assert.equal(await countOf(db, 'job'), jobs)
      assert.equal((await store.funcs()).includes('ours'), jobs === 1)
    }
  },

  'several jobs, of several transactions, one after the other': async bench => {
    const {store} = bench
    const app = await foreignTo(bench)
    const args = []
    for (let i = 0; i < 5; i++) {
      await app.begin()
      for (let k = 0; k < 3; k++) await enqueue(store, app, newJob('Work', {arg: `[${i},${k}]`}))
      await (i % 2 === 0 ? app.commit() : app.rollback())
      if (i % 2 === 0) args.push(`[${i},0]`, `[${i},1]`, `[${i},2]`)
    }
    assert.deepEqual(
      (await take(store, 'Work', 99)).map(({arg}) => text(arg)),
      args,
    )
  },

  'bytes, context and an end that is waited for': async bench => {
    const {store} = bench
    const app = await foreignTo(bench)
    const arg = new Uint8Array([0, 255, 128, 0])
    await app.begin()
    const {id} = await enqueue(store, app, newJob('Work', {arg, context: '{"a":"b"}', tracked: true}))
    await app.commit()
    const job = await takeOne(store)
    assert.deepEqual([Buffer.from(job.arg!), job.context], [Buffer.from(arg), '{"a":"b"}'])
    await settle(store, job, {kind: 'aborted', reason: 'x'})
    assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'aborted', message: 'x'}])
  },

  "workers that wait hear of it at the caller's commit": async bench => {
    const {store, another} = bench
    const other = await another()
    for (const watcher of [store, other]) {
      const app = await foreignTo(bench)
      await app.begin()
      await enqueue(store, app, newJob())
      await rings(watcher, () => app.commit())
      await app.close()
      await takeOne(watcher)
    }
  },

  "a duplicate is refused, and the caller's transaction goes on": async bench => {
    const {db, store} = bench
    const app = await foreignTo(bench)
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    await app.begin()
    await enqueue(store, app, newJob('First'))
    const again = newJob('Work', {uniqkey: 'k', context: '{}', tracked: true})
    await assert.rejects(
      enqueue(store, app, again),
      error => error instanceof DuplicateJobError && error.existingId === id,
    )
    await enqueue(store, app, newJob('Work', {uniqkey: 'twin'}))
    await assert.rejects(enqueue(store, app, newJob('Work', {uniqkey: 'twin'})), DuplicateJobError)
    await app.run('INSERT INTO func (name) VALUES (?)', 'mine')
    await enqueue(store, app, newJob('Last'))
    await app.commit()
    assert.deepEqual(await store.funcs(), ['First', 'Last', 'Work', 'mine'])
    assert.deepEqual([await countOf(db, 'job'), await countOf(db, 'jobq_wait')], [4, 0])
  },

  'a time that is refused leaves nothing behind, not even its function': async bench => {
    const {db, store} = bench
    const app = await foreignTo(bench)
    await app.begin()
    await assert.rejects(enqueue(store, app, newJob('Late', {due: {at: db.maxNumber}})), ArgumentError)
    await enqueue(store, app, newJob('Work'))
    await app.commit()
    assert.deepEqual(await store.funcs(), ['Work'])
  },

  'a function whose row was rolled back is not remembered': async bench => {
    const {store} = bench
    const app = await foreignTo(bench)
    await app.begin()
    await enqueue(store, app, newJob('First'))
    await app.rollback()
    await app.begin()
    const second = await enqueue(store, app, newJob('Second'))
    await app.commit()
    await app.begin()
    const first = await enqueue(store, app, newJob('First'))
    await app.commit()
    const own = await store.enqueue(newJob('First'))
    const funcs = [second, first, own].map(async ({id}) => (await store.find(id))?.func)
    assert.deepEqual(await Promise.all(funcs), ['Second', 'First', 'First'])
  },

  'what is no connection is refused': async ({store}) => {
    for (const connection of [null, undefined, 7, 'jobs.db', {}, [], () => {}, new Date()])
      await assert.rejects(
        async () => store.enqueueWithin(connection, newJob()),
        error => error instanceof TransactionError && error.code === 'NO_TRANSACTION' && error.hint !== '',
      )
  },

  'a connection without a transaction is refused, and so is one that is closed': async bench => {
    const {db, store} = bench
    const app = await foreignTo(bench)
    await assert.rejects(enqueue(store, app, newJob()), TransactionError)
    await app.begin()
    await enqueue(store, app, newJob())
    await app.commit()
    await assert.rejects(enqueue(store, app, newJob()), TransactionError)
    await app.close()
    await assert.rejects(enqueue(store, app, newJob()), TransactionError)
    assert.equal(await countOf(db, 'job'), 1)
  },

  'a transaction in another database is refused': async bench => {
    const {store, elsewhere} = bench
    const {db: otherDb, store: otherStore} = await elsewhere()
    const app = await foreignTo({db: otherDb})
    await app.begin()
    await assert.rejects(enqueue(store, app, newJob()), TransactionError)
    await enqueue(otherStore, app, newJob('There'))
    await app.commit()
    assert.deepEqual([await store.funcs(), await otherStore.funcs()], [[], ['There']])
  },
}
