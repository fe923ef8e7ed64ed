/** A failed job enqueued again. */
import assert from 'node:assert/strict'
import {
  AlreadyRetriedError,
  ArgumentError,
  DuplicateJobError,
  NotFoundError,
  StillTriedError,
} from '../../../src/lib/jobs/errors.ts'
import {
  assertBetween,
  assertBytes,
  BYTES,
  countOf,
  fail,
  logs,
  NOW,
  newJob,
  settle,
  type Tests,
  takeOne,
  want,
} from './bench.ts'

export const retrying: Tests = {
  'a failed job is enqueued again, and its exception marked': async ({db, store}) => {
    const [exception] = await fail(store, newJob('Work', {arg: BYTES, uniqkey: 'k', priority: 9}))
    const before = await db.now()
    const enqueued = await store.retry(exception!.id, {priority: 0, due: {in: 0}})
    const {id, runAfter, ...rest} = enqueued
    assert.deepEqual(rest, {func: 'Work', uniqkey: 'k', priority: 0})
    assertBetween(before, runAfter, await db.now())
    const job = await takeOne(store)
    assert.deepEqual([job.id, job.uniqkey, job.priority, job.retryCnt], [id, 'k', 0, 0])
    assertBytes(job.arg, BYTES)
    assert.deepEqual(
      (await logs(store)).exceptions.map(({retried}) => retried),
      [true],
    )
  },

  'with the priority and the time that were asked for': async ({store}) => {
    const [exception] = await fail(store, newJob())
    const {id} = await store.retry(exception!.id, {priority: 7, due: {at: 2_000_000_000}})
    const job = await store.find(id)
    assert.deepEqual([job?.priority, job?.runAfter, job?.state], [7, 2_000_000_000, 'delayed'])
  },

  'a time that is refused marks nothing': async ({db, store}) => {
    const [exception] = await fail(store, newJob())
    const due = {at: db.maxNumber}
    await assert.rejects(store.retry(exception!.id, {priority: 0, due}), ArgumentError)
    assert.equal((await logs(store)).exceptions[0]!.retried, false)
    assert.equal(await countOf(db, 'job'), 0)
  },

  'not while its job waits for the next try, or is at it, unless it is wanted again': async ({db, store}) => {
    await store.enqueue(newJob('Work', {arg: BYTES}))
    await store.enqueue(newJob('Work', {arg: 'other'}))
    const first = await takeOne(store)
    await settle(store, first, {kind: 'failed', message: 'no', retryIn: 60})
    const [exception] = (await logs(store)).exceptions
    const refused = async (id: number) => {
      assert.equal(await store.nextTry(id), first.id)
      await assert.rejects(store.retry(id, NOW), error => {
        assert.ok(error instanceof StillTriedError)
        assert.deepEqual([error.exceptionId, error.jobId], [id, first.id])
        return true
      })
    }
    await refused(exception!.id)
    await db.run('UPDATE job SET run_after = run_after - 60 WHERE id = ?', first.id)
    await store.turn([], want('Work', 2)) // at its next try
    await refused(exception!.id)
    assert.equal(await countOf(db, 'job'), 2)
    assert.equal((await logs(store)).exceptions[0]!.retried, false)
    await store.retry(exception!.id, {...NOW, again: true})
    assert.equal(await countOf(db, 'job'), 3)
  },

  'but of one that has failed for good, whatever waits beside it': async ({db, store}) => {
    // The same function and argument, enqueued later and failed once; and another argument
    const [exception] = await fail(store, newJob('Work'))
    await db.run('UPDATE exception_log SET exception_time = exception_time - 100')
    for (const arg of [null, 'other']) {
      await store.enqueue(newJob('Work', {arg}))
      await settle(store, await takeOne(store), {kind: 'failed', message: 'no', retryIn: 60})
    }
    await store.enqueue(newJob('Work'))
    assert.equal(await store.nextTry(exception!.id), null)
    await store.retry(exception!.id, NOW)
    assert.equal(await store.nextTry(12345), null)
  },

  'once only': async ({db, store}) => {
    const [exception] = await fail(store, newJob())
    await store.retry(exception!.id, NOW)
    await assert.rejects(store.retry(exception!.id, NOW), error => {
      assert.ok(error instanceof AlreadyRetriedError)
      assert.equal(error.exceptionId, exception!.id)
      return true
    })
    assert.equal(await countOf(db, 'job'), 1)
  },

  'of two who retry at once, one does': async ({db, store, another}) => {
    const [exception] = await fail(store, newJob())
    const other = await another()
    const tried = await Promise.allSettled([store, other].map(each => each.retry(exception!.id, NOW)))
    const refusals = tried.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
    assert.equal(refusals.length, 1)
    assert.ok(refusals[0] instanceof AlreadyRetriedError, String(refusals[0]))
    assert.equal(await countOf(db, 'job'), 1)
  },

  'an exception that is not there is not found': async ({store}) => {
    await assert.rejects(store.retry(12345, NOW), NotFoundError)
  },

  'refused while its key is waiting, and not marked': async ({store}) => {
    const [exception] = await fail(store, newJob('Work', {uniqkey: 'k'}))
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    await assert.rejects(store.retry(exception!.id, NOW), error => {
      assert.ok(error instanceof DuplicateJobError)
      assert.deepEqual([error.func, error.uniqkey, error.existingId], ['Work', 'k', id])
      return true
    })
    assert.equal((await logs(store)).exceptions[0]!.retried, false)
    await settle(store, await takeOne(store), {kind: 'completed'})
    await store.retry(exception!.id, NOW)
  },

  "Perl's exceptions, bytes and all": async ({db, store}) => {
    await store.enqueue(newJob('Work'))
    await takeOne(store)
    const [func] = await db.query('SELECT id FROM func')
    await db.run(
      `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
       VALUES (?, ?, ${db.perlBytes}, ?, ${db.perlBytes}, 0)`,
      ...[func!.id, await db.now(), new TextEncoder().encode('실패\n'), 'k', BYTES],
    )
    const [exception] = (await logs(store)).exceptions
    assert.equal(exception!.message, '실패\n')
    assertBytes(exception!.arg, BYTES)
    await store.retry(exception!.id, NOW)
    assertBytes((await takeOne(store)).arg, BYTES)
  },

  'an exception whose function has no row any more': async ({db, store}) => {
    const [exception] = await fail(store, newJob('Gone'))
    await db.run('DELETE FROM func')
    const {id} = await store.retry(exception!.id, NOW)
    assert.equal((await store.find(id))?.funcId, exception!.funcId)
  },
}
