/** Old rows of the logs deleted, with what is kept beside them. */
import assert from 'node:assert/strict'
import type {LogTable, Older, Store} from '../../../src/lib/store/store.ts'
import {
  countOf,
  everyEnd,
  fail,
  logs,
  newJob,
  SPAN,
  settle,
  type TestDatabase,
  type Tests,
  takeOne,
} from './bench.ts'

const DAY = 86_400
const BOTH: readonly LogTable[] = ['exception_log', 'job_status']

export const pruning: Tests = {
  'what is old leaves, with the attempts that were its; what is not stays': async ({db, store}) => {
    await everyEnd(store, 'Work')
    await fail(store, newJob('Other'))
    await age(db, 2 * DAY)
    await fail(store, newJob('Work'))
    assert.equal(await countOf(db, 'jobq_attempt'), 5)
    assert.equal(await total(store, 'exception_log', {ago: DAY}, true), 3)
    assert.equal((await logs(store)).exceptions.length, 4)
    assert.equal(await total(store, 'exception_log', {ago: DAY, func: 'Work'}), 2)
    // Two of them had a status as well: the attempt stays as long as that
    assert.equal(await countOf(db, 'jobq_attempt'), 5)
    assert.equal((await logs(store)).statuses.filter(({jobId}) => jobId !== null).length, 3)
    assert.equal(await total(store, 'job_status', {ago: DAY}), 3)
    assert.equal(await countOf(db, 'jobq_attempt'), 2)
    assert.deepEqual(
      (await logs(store)).exceptions.map(({func}) => func),
      ['Work', 'Other'],
    )
    assert.equal(await total(store, 'exception_log', {ago: DAY}), 1)
    assert.equal(await countOf(db, 'jobq_attempt'), 1)
  },

  'more than one transaction deletes, and jobs in the queue': async ({db, store}) => {
    const count = 450
    await store.enqueueMany(Array.from({length: count + 1}, () => newJob()))
    const {jobs} = await store.turn([], {funcs: ['Work'], limit: count, lease: 60})
    await store.turn(
      jobs.map(lease => ({lease, outcome: {kind: 'completed'}, span: SPAN})),
      {funcs: [], limit: 0, lease: 60},
    )
    const deleted = []
    for await (const some of store.prune('job_status', {ago: DAY}, false)) deleted.push(some)
    assert.ok(deleted.length > 1)
    assert.equal(
      deleted.reduce((sum, some) => sum + some),
      count,
    )
    for (const table of ['job_status', 'jobq_attempt']) assert.equal(await countOf(db, table), 0)
    assert.equal(await countOf(db, 'job'), 1)
  },

  'a signal ends it between two transactions, in the pause, too': async ({store}) => {
    for (let i = 0; i < 3; i++) {
      const count = 200
      await store.enqueueMany(Array.from({length: count}, () => newJob()))
      const {jobs} = await store.turn([], {funcs: ['Work'], limit: count, lease: 60})
      await store.turn(
        jobs.map(lease => ({lease, outcome: {kind: 'completed'}, span: SPAN})),
        {funcs: [], limit: 0, lease: 60},
      )
    }
    const stop = new AbortController()
    const pruning = store.prune('job_status', {ago: DAY}, false, stop.signal)
    assert.equal((await pruning.next()).value, 200)
    const next = pruning.next()
    stop.abort()
    assert.deepEqual(await next, {value: undefined, done: true})
  },

  'a function that is not there, and what is younger: nothing': async ({store}) => {
    await fail(store, newJob())
    for (const table of BOTH) {
      assert.equal(await total(store, table, {ago: 0, func: 'Nobody'}), 0)
      assert.equal(await total(store, table, {ago: DAY}), 0)
      assert.equal(await total(store, table, {ago: 4_294_967_295}), 0)
    }
    await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.equal((await logs(store)).exceptions.length, 1)
  },
}

async function total(store: Store, table: LogTable, older: Older, dryRun = false): Promise<number> {
  let sum = 0
  for await (const some of store.prune(table, older, dryRun)) sum += some
  return sum
}

/** Whatever is in the logs becomes older. */
async function age(db: TestDatabase, seconds: number): Promise<void> {
  await db.run(`UPDATE exception_log SET exception_time = exception_time - ${seconds}`)
  await db.run(`UPDATE job_status SET job_end_time = job_end_time - ${seconds}`)
}
