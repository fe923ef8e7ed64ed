/** What travels beside the argument. */
import assert from 'node:assert/strict'
import type {Outcome} from '../../../src/lib/jobs/job.ts'
import {countOf, endLeases, newJob, settle, type Tests, take, takeOne, want} from './bench.ts'

const TRACE = '{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'
const traced = (func = 'Work') => newJob(func, {context: TRACE})

export const contexts: Tests = {
  'comes to the worker as it was given, and is not there where none was': async ({store}) => {
    const long = JSON.stringify({baggage: 'äöü€😀'.repeat(20_000), empty: '', quoted: '"\\\u0000'})
    const given = [TRACE, undefined, '{}', long]
    for (const context of given) await store.enqueue(newJob('Work', context === undefined ? {} : {context}))
    const jobs = await take(store, 'Work', 9)
    assert.deepEqual(
      jobs.map(({context}) => context),
      given,
    )
    assert.deepEqual(
      jobs.map(job => 'context' in job),
      [true, false, true, true],
    )
  },

  'goes with jobs that are enqueued together, many at once, or by a worker': async ({store}) => {
    await Promise.all([store.enqueue(traced('A')), store.enqueue(newJob('A')), store.enqueue(traced('A'))])
    await store.enqueueMany([newJob('A'), traced('A')])
    await settle(store, await takeOne(store, ['A']), {
      kind: 'replaced',
      jobs: [traced('B'), newJob('B')],
      retryIn: null,
    })
    const jobs = await take(store, ['A', 'B'], 9)
    assert.deepEqual(jobs.map(({func, context}) => `${func} ${context === TRACE}`).sort(), [
      'A false',
      'A false',
      'A true',
      'A true',
      'B false',
      'B true',
    ])
  },

  'stays with the job through failure, release, death and a lease that ran out': async ({db, store}) => {
    await store.enqueue(traced())
    const ends: Outcome[] = [
      {kind: 'failed', message: 'x', retryIn: 0},
      {kind: 'released'},
      {kind: 'died', how: 'x'},
    ]
    for (const outcome of ends) {
      const job = await takeOne(store)
      assert.equal(job.context, TRACE)
      await settle(store, job, outcome)
    }
    await takeOne(store)
    await endLeases(db)
    assert.equal((await takeOne(store)).context, TRACE)
  },

  'is gone when the job has left the queue': async ({db, store}) => {
    const ends: Outcome[] = [
      {kind: 'completed'},
      {kind: 'failed', message: 'x', retryIn: null},
      {kind: 'aborted', reason: 'x'},
      {kind: 'replaced', jobs: [newJob('Other')], retryIn: null},
    ]
    for (const outcome of ends) {
      await store.enqueue(traced())
      await settle(store, await takeOne(store), outcome)
      assert.equal(await countOf(db, 'jobq_context'), 0, outcome.kind)
    }
    await store.enqueue(traced())
    for (let death = 1; death <= 3; death++)
      await settle(store, await takeOne(store), {kind: 'died', how: 'x'})
    assert.equal(await countOf(db, 'jobq_context'), 0)
    await store.enqueue(traced())
    for (let death = 1; death <= 3; death++) {
      await takeOne(store)
      await endLeases(db)
    }
    assert.equal((await store.turn([], want('Work'))).buried.length, 1)
    assert.equal(await countOf(db, 'jobq_context'), 0)
  },

  'of a job that was not stored is not there': async ({db, store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const again = newJob('Work', {uniqkey: 'k', context: TRACE})
    await assert.rejects(store.enqueue(again))
    await assert.rejects(store.enqueueMany([traced(), again]))
    assert.equal(await countOf(db, 'jobq_context'), 0)
  },

  'of another job is left alone by who settles his own': async ({store}) => {
    await store.enqueueMany([traced(), traced(), traced()])
    const [first, second] = await take(store, 'Work', 2)
    await settle(store, first!, {kind: 'completed'})
    await settle(store, second!, {kind: 'released'})
    assert.deepEqual(
      (await take(store, 'Work', 9)).map(({context}) => context),
      [TRACE, TRACE],
    )
  },

  "of jobs that Perl works does not pile up, nor is a living one's swept": async ({db, store}) => {
    const {id} = await store.enqueue(traced('Lives'))
    for (let i = 0; i < 400; i++) {
      await store.enqueue(traced())
      await db.run('DELETE FROM job WHERE id <> ?', id)
    }
    const left = await countOf(db, 'jobq_context')
    assert.ok(left < 250, `${left} rows are left of 400`)
    assert.equal((await takeOne(store, ['Lives'])).context, TRACE)
  },
}
