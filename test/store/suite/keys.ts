/** Keys that stay taken though their job has ended. */
import assert from 'node:assert/strict'
import {DuplicateJobError} from '../../../src/lib/jobs/errors.ts'
import type {NewJob} from '../../../src/lib/jobs/job.ts'
import {assertBetween, countOf, ids, newJob, perlEnqueue, settle, type Tests, takeOne} from './bench.ts'

const HOUR = 3600
const keyed = (more: Partial<NewJob> = {}) => newJob('Work', {uniqkey: 'k', ...more})
const taking = (more: Partial<NewJob> = {}) => keyed({uniqFor: HOUR, ...more})

/** It is refused since the key stays taken, by this job. */
function takenBy(id: number, nth?: number): (error: unknown) => boolean {
  return error => {
    assert.ok(error instanceof DuplicateJobError, String(error))
    assert.deepEqual([error.func, error.uniqkey, error.existingId], ['Work', 'k', id])
    assert.notEqual(error.takenUntil, null)
    assert.match(
      error.message,
      /^refused: uniqkey "k" of Work is taken until \d{4}-\d\d-\d\dT[\d:]{8}Z \(job \d+\)$/,
    )
    if (nth !== undefined) assert.equal(error.nth, nth)
    return true
  }
}

export const keys: Tests = {
  'refuse any enqueue until their time is over, though the job has ended': async ({db, store, another}) => {
    const before = await db.now()
    const {id} = await store.enqueue(taking())
    await assert.rejects(store.enqueue(keyed()), (error: DuplicateJobError) => {
      assert.deepEqual([error.existingId, error.takenUntil], [id, null]) // it waits
      return true
    })
    await settle(store, await takeOne(store), {kind: 'completed'})
    await assert.rejects(store.enqueue(keyed()), (error: DuplicateJobError) => {
      assertBetween(before + HOUR, error.takenUntil ?? 0, before + HOUR + 60)
      return takenBy(id)(error)
    })
    await assert.rejects((await another()).enqueue(taking({context: '{"a":"b"}'})), takenBy(id))
    await assert.rejects(store.enqueueMany([newJob(), keyed()]), takenBy(id, 2))
    const together = [store.enqueue(keyed()), store.enqueue(keyed({uniqkey: 'l'})), store.enqueue(newJob())]
    const [refused, ...stored] = await Promise.allSettled(together)
    assert.ok(refused?.status === 'rejected' && takenBy(id)(refused.reason))
    assert.deepEqual(
      stored.map(({status}) => status),
      ['fulfilled', 'fulfilled'],
    )
    await store.enqueue(newJob('Other', {uniqkey: 'k'}))
    await db.run('UPDATE jobq_key SET taken_until = ?', before - 1)
    const again = await store.enqueue(taking())
    assert.ok(again.id > id)
    assert.equal(await countOf(db, 'jobq_key'), 1)
  },

  'are taken by what comes together, many at once, and for a worker': async ({store}) => {
    const [a, b] = await Promise.all([
      store.enqueue(taking({uniqkey: 'a', priority: 9})),
      store.enqueue(taking({uniqkey: 'b', priority: 8, tags: [['a', '1']], expires: 9})),
    ])
    await store.enqueueMany([
      taking({uniqkey: 'c', priority: 7}),
      newJob(),
      taking({uniqkey: 'd', priority: 6}),
    ])
    for (let i = 0; i < 4; i++) await settle(store, await takeOne(store), {kind: 'completed'})
    for (const uniqkey of ['a', 'b', 'c', 'd'])
      await assert.rejects(store.enqueue(keyed({uniqkey})), /is taken until/)
    assert.ok(a!.id !== b!.id)
    const jobs = [taking({func: 'New', uniqkey: 'n'})]
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    await settle(store, await takeOne(store, ['New']), {kind: 'completed'})
    await assert.rejects(store.enqueue(newJob('New', {uniqkey: 'n'})), /is taken until/)
  },

  'of a job that is refused are not taken': async ({db, store}) => {
    await store.enqueue(keyed())
    await assert.rejects(store.enqueue(taking()), DuplicateJobError)
    await assert.rejects(store.enqueueMany([taking({uniqkey: 'x'}), taking()]), DuplicateJobError)
    await Promise.allSettled([store.enqueue(taking()), store.enqueue(taking())])
    assert.equal(await countOf(db, 'jobq_key'), 0)
  },

  'let a retry pass, and what a job enqueues in its place': async ({store}) => {
    await store.enqueue(taking())
    const jobs = [keyed({priority: 4})]
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    await settle(store, await takeOne(store), {kind: 'failed', message: 'x', retryIn: null})
    const [exception] = await store.exceptions({limit: 9, offset: 0})
    assert.equal(exception!.message, 'x')
    const {id} = await store.retry(exception!.id, {priority: 0, due: {in: 0}})
    assert.deepEqual(ids(await store.list({limit: 9, offset: 0})), [id])
  },

  'are not known to Perl': async ({db, store}) => {
    await store.enqueue(taking())
    await settle(store, await takeOne(store), {kind: 'completed'})
    await perlEnqueue(db, {func: 'Work', uniqkey: 'k'})
    await assert.rejects(store.enqueue(keyed()), /already waiting/)
  },

  'whose time is over go as others come': async ({db, store}) => {
    for (let i = 0; i < 6; i++) await store.enqueue(taking({uniqkey: `old ${i}`}))
    await db.run('UPDATE jobq_key SET taken_until = 1')
    for (let i = 0; i < 3; i++) await store.enqueue(taking({uniqkey: `new ${i}`}))
    await store.enqueueMany([taking({uniqkey: 'many'}), taking({uniqkey: 'more'})])
    const [row] = await db.query('SELECT count(*) AS n FROM jobq_key WHERE taken_until > 1')
    assert.equal(Number(row!.n), 5)
    const [old] = await db.query('SELECT count(*) AS n FROM jobq_key WHERE taken_until = 1')
    assert.equal(Number(old!.n), 0)
  },
}
