/** Counts, run times, functions. */
import assert from 'node:assert/strict'
import {
  assertBetween,
  endLeases,
  everyEnd,
  fail,
  HOUR,
  NOW,
  newJob,
  perlEnqueue,
  settle,
  type Tests,
  take,
  takeOne,
} from './bench.ts'

export const counting: Tests = {
  'jobs by function and state, and what became of others': async ({db, store}) => {
    await everyEnd(store, 'Work')
    await store.enqueueMany([newJob('Other'), newJob('Work', {due: {in: HOUR}})])
    await store.enqueueMany([newJob(), newJob(), newJob(), newJob()])
    await takeOne(store)
    const before = await db.now()
    await db.run(
      'UPDATE job SET run_after = ? WHERE grabbed_until = 0 AND run_after <= ? AND priority = 0',
      before - 100,
      before,
    )
    const [other, work, ...more] = await store.counts()
    const after = await db.now()
    assert.deepEqual(more, [])
    const {oldestReadyAge, ...counts} = work!
    assert.deepEqual(counts, {
      func: 'Work',
      ready: 3,
      delayed: 1,
      waiting: 0,
      running: 1,
      failed: 2,
      retrying: 0,
      completed: 1,
      aborted: 1,
    })
    assertBetween(100, oldestReadyAge!, 100 + after - before)
    assert.deepEqual([other!.func, other!.ready, other!.failed], ['Other', 1, 0])
  },

  'failed counts what was not retried yet': async ({store}) => {
    await fail(store, newJob())
    const exceptions = await fail(store, newJob())
    assert.equal((await store.counts())[0]?.failed, 2)
    await store.retry(exceptions[0]!.id, NOW)
    const [counts] = await store.counts()
    assert.deepEqual([counts!.failed, counts!.ready], [1, 1])
  },

  'a job whose lease ran out counts as ready': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob()])
    await take(store, 'Work', 2)
    await endLeases(db)
    const [counts] = await store.counts()
    assert.deepEqual([counts!.ready, counts!.running], [2, 0])
    assert.notEqual(counts!.oldestReadyAge, null)
  },

  'a function without jobs counts nothing': async ({store}) => {
    assert.deepEqual(await store.counts(), [])
    await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.deepEqual(await store.counts('Work'), [
      {
        func: 'Work',
        ready: 0,
        delayed: 0,
        waiting: 0,
        running: 0,
        failed: 0,
        retrying: 0,
        completed: 0,
        aborted: 0,
        oldestReadyAge: null,
      },
    ])
    assert.deepEqual(await store.counts('Nobody'), [])
  },

  'functions by name, those without jobs too': async ({db, store}) => {
    await store.enqueueMany([newJob('C'), newJob('A')])
    await perlEnqueue(db, {func: 'B'})
    await settle(store, await takeOne(store, ['A']), {kind: 'completed'})
    assert.deepEqual(await store.funcs(), ['A', 'B', 'C'])
    assert.deepEqual(
      (await store.counts()).map(({func}) => func),
      ['A', 'B', 'C'],
    )
  },

  "run times of the last hour's statuses": async ({db, store}) => {
    await store.enqueueMany([newJob('Fast'), newJob('Slow'), newJob('Never')])
    const funcIds = new Map((await db.query('SELECT id, name FROM func')).map(row => [row.name, row.id]))
    const ended = async (func: string, ago: number, took: number, status = 'completed') => {
      const end = (await db.now()) - ago
      await db.run(
        `INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
         VALUES (?, ${db.perlBytes}, NULL, ?, ?, ?)`,
        ...[funcIds.get(func), new Uint8Array(), status, end - took, end],
      )
    }
    for (let took = 1; took <= 20; took++) await ended('Fast', 0, took)
    await ended('Fast', 2 * HOUR, 5000)
    await ended('Slow', 600, 100, 'failed')
    await ended('Slow', 600, 300, 'abort')
    const [fast, slow, ...more] = await store.times()
    assert.deepEqual(more, [])
    assert.deepEqual([fast!.func, fast!.median, fast!.p95], ['Fast', 10, 19])
    assert.equal(fast!.perMinute.length, 60)
    assert.equal(sum(fast!.perMinute), 20)
    assert.equal(sum(fast!.perMinute.slice(-2)), 20) // a minute may have turned since
    assert.deepEqual([slow!.func, slow!.median, slow!.p95], ['Slow', 100, 300])
    assert.equal(sum(slow!.perMinute.slice(47, 51)), 2)
    assert.deepEqual(
      (await store.times('Slow')).map(({func}) => func),
      ['Slow'],
    )
    assert.deepEqual(await store.times('Never'), [])
  },

  'attempts by outcome and run time, of all statuses': async ({db, store}) => {
    await store.enqueueMany([newJob('Many'), newJob('One'), newJob('None')])
    const funcIds = new Map((await db.query('SELECT id, name FROM func')).map(row => [row.name, row.id]))
    const ended = async (func: string, status: string, end: number, took: number) => {
      await db.run(
        `INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
         VALUES (?, ${db.perlBytes}, NULL, ?, ?, ?)`,
        ...[funcIds.get(func), new Uint8Array(), status, end - took, end],
      )
    }
    await ended('Many', 'completed', 1_000_000, 2)
    await ended('Many', 'completed', 2_000_000, 2)
    await ended('Many', 'completed', 2_000_000, 70)
    await ended('Many', 'failed', 2_000_000, 2)
    await ended('Many', 'abort', 2_000_000, -5) // the clock was set back
    await ended('Many', 'else', 2_000_000, 1)
    await ended('One', 'failed', 2_000_000, 3600)
    const [many, one, ...more] = await store.attempts()
    assert.deepEqual(more, [])
    assert.equal(many!.func, 'Many')
    assert.deepEqual(
      many!.ended.toSorted((a, b) => a.status.localeCompare(b.status) || a.seconds - b.seconds),
      [
        {status: 'abort', seconds: 0, attempts: 1},
        {status: 'completed', seconds: 2, attempts: 2},
        {status: 'completed', seconds: 70, attempts: 1},
        {status: 'failed', seconds: 2, attempts: 1},
      ],
    )
    assert.deepEqual(one, {func: 'One', ended: [{status: 'failed', seconds: 3600, attempts: 1}]})
    assert.deepEqual(await store.attempts('One'), [one])
    assert.deepEqual(await store.attempts('None'), [])
  },
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0)
}
