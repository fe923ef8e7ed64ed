/** What enqueue, enqueueMany and the unique keys do. */
import assert from 'node:assert/strict'
import {ArgumentError, DuplicateJobError} from '../../../src/lib/jobs/errors.ts'
import type {NewJob, Outcome} from '../../../src/lib/jobs/job.ts'
import {
  assertArg,
  assertBetween,
  BYTES,
  countOf,
  HOUR,
  ids,
  newJob,
  perlEnqueue,
  settle,
  type Tests,
  take,
  takeOne,
  text,
  want,
} from './bench.ts'

// ---- enqueue

export const enqueueing: Tests = {
  'a job gets an id, and the defaults that Qudo gives': async ({db, store}) => {
    const before = await db.now()
    const enqueued = await store.enqueue(newJob('Notify'))
    const after = await db.now()
    assert.deepEqual(
      {...enqueued, id: 0, runAfter: 0},
      {id: 0, func: 'Notify', uniqkey: null, priority: 0, runAfter: 0},
    )
    assert.ok(Number.isSafeInteger(enqueued.id) && enqueued.id > 0, `id ${enqueued.id}`)
    assertBetween(before, enqueued.runAfter, after)
    const [row] = await db.query('SELECT * FROM job')
    const {id, run_after, grabbed_until, retry_cnt, priority, enqueue_time, arg, uniqkey} = row!
    assert.deepEqual([id, run_after, grabbed_until, retry_cnt, priority].map(Number), [
      enqueued.id,
      enqueued.runAfter,
      0,
      0,
      0,
    ])
    assert.deepEqual([arg, uniqkey], [null, null])
    assertBetween(before, Number(enqueue_time), after)
  },

  'ids grow': async ({store}) => {
    const ids = []
    for (let i = 0; i < 5; i++) ids.push((await store.enqueue(newJob())).id)
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    )
  },

  'an id is never given twice, even when the table was empty between': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.ok((await store.enqueue(newJob())).id > id)
  },

  'a delay counts from now by the database': async ({db, store}) => {
    const before = await db.now()
    const {runAfter} = await store.enqueue(newJob('Work', {due: {in: HOUR}}))
    assertBetween(before + HOUR, runAfter, (await db.now()) + HOUR)
  },

  'a time is kept as it is, past ones too': async ({store}) => {
    for (const at of [1, 1_700_000_000, 2_000_000_000]) {
      const {id, runAfter} = await store.enqueue(newJob('Work', {due: {at}}))
      assert.equal(runAfter, at)
      assert.equal((await store.find(id))?.runAfter, at)
    }
  },

  'the last time that the column holds is the mark of what waits for others: refused; the one before is stored':
    async ({db, store}) => {
      const last = db.maxNumber - 1
      assert.equal((await store.enqueue(newJob('Late', {due: {at: last}}))).runAfter, last)
      await assert.rejects(store.enqueue(newJob('Later', {due: {at: last + 1}})), ArgumentError)
      await assert.rejects(store.enqueue(newJob('Later', {due: {in: last}})), ArgumentError)
      assert.deepEqual(
        (await store.list({limit: 9, offset: 0})).map(({state}) => state),
        ['delayed'],
      )
      assert.deepEqual(await store.funcs(), ['Late'])
    },

  'the highest priority that the column holds is stored, and taken first': async ({db, store}) => {
    await store.enqueue(newJob('Work', {priority: 7}))
    await store.enqueue(newJob('Work', {priority: db.maxNumber}))
    assert.deepEqual(
      (await take(store, 'Work', 2)).map(({priority}) => priority),
      [db.maxNumber, 7],
    )
  },

  'a function gets one row, whoever enqueues it first': async ({db, store, another}) => {
    const other = await another()
    await store.enqueue(newJob('Notify'))
    await other.enqueue(newJob('Notify'))
    await store.enqueueMany([newJob('Notify'), newJob('Other')])
    await perlEnqueue(db, {func: 'Notify'})
    assert.deepEqual(await store.funcs(), ['Notify', 'Other'])
    assert.equal(await countOf(db, 'func'), 2)
  },

  'one call after the other leaves the event loop its turns': async ({store}) => {
    let hasTurned = false
    setTimeout(() => {
      hasTurned = true
    })
    for (let calls = 0; !hasTurned; calls++) {
      assert.ok(calls < 5000, `${calls} calls, and no timer has gone off`)
      await store.enqueue(newJob())
    }
  },

  'many calls at once all succeed': async ({store}) => {
    const enqueued = await Promise.all(
      Array.from({length: 200}, (_, i) => store.enqueue(newJob(`F${i % 3}`))),
    )
    assert.equal(new Set(enqueued.map(({id}) => id)).size, 200)
    assert.deepEqual(await store.funcs(), ['F0', 'F1', 'F2'])
  },
}

// ---- uniqkey

export const uniqkeys: Tests = {
  'a second job with the same function and key is refused, naming the first': async ({
    db,
    store,
    another,
  }) => {
    const first = await store.enqueue(newJob('Notify', {uniqkey: 'dev:1'}))
    for (const each of [store, await another()])
      await assert.rejects(each.enqueue(newJob('Notify', {uniqkey: 'dev:1', priority: 9})), error => {
        assert.ok(error instanceof DuplicateJobError)
        const {func, uniqkey, existingId} = error
        assert.deepEqual(
          {func, uniqkey, existingId},
          {func: 'Notify', uniqkey: 'dev:1', existingId: first.id},
        )
        return true
      })
    assert.equal(await countOf(db, 'job'), 1)
  },

  'no key never collides': async ({db, store}) => {
    for (let i = 0; i < 3; i++) await store.enqueue(newJob('Notify'))
    assert.equal(await countOf(db, 'job'), 3)
  },

  'another function may have the same key': async ({store}) => {
    await store.enqueue(newJob('Thumbnail', {uniqkey: 'photo:9'}))
    await store.enqueue(newJob('Crop', {uniqkey: 'photo:9'}))
    const listed = await store.list({uniqkey: 'photo:9', limit: 10, offset: 0})
    assert.deepEqual(listed.map(({func}) => func).sort(), ['Crop', 'Thumbnail'])
  },

  'delayed, running and retrying jobs hold their key': async ({store}) => {
    const refused = () => assert.rejects(store.enqueue(keyed), DuplicateJobError)
    const keyed = newJob('Work', {uniqkey: 'k'})
    await store.enqueue(keyed)
    const job = await takeOne(store)
    await refused()
    await settle(store, job, {kind: 'failed', message: 'later', retryIn: HOUR})
    await refused()
  },

  'a key is free again once its job has left': async ({store}) => {
    const ends: Outcome[] = [
      {kind: 'completed'},
      {kind: 'failed', message: 'no', retryIn: null},
      {kind: 'aborted', reason: 'never'},
      {kind: 'replaced', jobs: [newJob('Other')], retryIn: null},
    ]
    for (const outcome of ends) {
      await store.enqueue(newJob('Work', {uniqkey: 'k'}))
      await settle(store, await takeOne(store), outcome)
    }
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
  },

  "another program's job holds its key": async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work', uniqkey: 'k'})
    await assert.rejects(
      store.enqueue(newJob('Work', {uniqkey: 'k'})),
      error => error instanceof DuplicateJobError && error.existingId === id,
    )
  },

  'of several who enqueue one key at once, one wins': async ({db, store, another}) => {
    const stores = [store, await another(), await another()]
    for (let round = 0; round < 10; round++) {
      const uniqkey = `round ${round}`
      const tried = await Promise.allSettled(stores.map(each => each.enqueue(newJob('Work', {uniqkey}))))
      const refusals = tried.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
      assert.equal(refusals.length, 2)
      for (const refusal of refusals) assert.ok(refusal instanceof DuplicateJobError, String(refusal))
    }
    assert.equal(await countOf(db, 'job'), 10)
  },
}

// ---- enqueueMany

export const bulk: Tests = {
  'all jobs are stored, in their order, and counted': async ({store}) => {
    const args = Array.from({length: 50}, (_, i) => `[${i}]`)
    const count = await store.enqueueMany(args.map(arg => newJob('Work', {arg})))
    assert.equal(count, 50)
    assert.deepEqual(
      (await take(store, 'Work', 50)).map(({arg}) => text(arg)),
      args,
    )
  },

  'nothing is nothing': async ({store}) => {
    assert.equal(await store.enqueueMany([]), 0)
  },

  'a source that throws leaves nothing behind, and its error is handed on': async ({db, store}) => {
    const thrown = Object.assign(new Error('no such file'), {code: 'ENOENT'})
    const source = function* () {
      for (let i = 0; i < 10; i++) yield newJob(`Func${i}`)
      throw thrown
    }
    await assert.rejects(store.enqueueMany(source()), error => error === thrown)
    assert.deepEqual([await countOf(db, 'job'), await countOf(db, 'func')], [0, 0])
  },

  'a duplicate in the middle leaves nothing behind': async ({db, store}) => {
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'taken'}))
    const jobs = [newJob('Work'), newJob('Fresh'), newJob('Work', {uniqkey: 'taken'}), newJob('Work')]
    await assert.rejects(
      store.enqueueMany(jobs),
      error => error instanceof DuplicateJobError && error.existingId === id,
    )
    const twice = [newJob('Work', {uniqkey: 'twin'}), newJob('Work', {uniqkey: 'twin'})]
    await assert.rejects(store.enqueueMany(twice), DuplicateJobError)
    assert.equal(await countOf(db, 'job'), 1)
    assert.deepEqual(await store.funcs(), ['Work'])
  },

  'a time that is refused leaves nothing behind': async ({db, store}) => {
    const jobs = [newJob('Work'), newJob('Work', {due: {at: db.maxNumber}})]
    await assert.rejects(store.enqueueMany(jobs), ArgumentError)
    assert.equal(await countOf(db, 'job'), 0)
  },

  'a function whose row was rolled back is not remembered': async ({store}) => {
    const source = function* () {
      yield newJob('First')
      throw new Error('no')
    }
    await assert.rejects(store.enqueueMany(source()))
    const second = await store.enqueue(newJob('Second'))
    const first = await store.enqueue(newJob('First'))
    assert.equal((await store.find(first.id))?.func, 'First')
    assert.equal((await store.find(second.id))?.func, 'Second')
    assert.deepEqual(ids(await take(store, 'First', 5)), [first.id])
  },

  'what else is called meanwhile is not in its way': async ({store}) => {
    const jobs = Array.from({length: 500}, () => newJob('Bulk'))
    const [count, single, more, listed] = await Promise.all([
      store.enqueueMany(jobs),
      store.enqueue(newJob('Single')),
      store.enqueueMany(jobs),
      store.list({func: 'Single', limit: 1, offset: 0}),
      store.turn([], want('None')),
    ])
    assert.deepEqual([count, more], [500, 500])
    assert.ok(listed.every(({id}) => id === single.id))
    assert.equal((await store.counts('Bulk'))[0]?.ready, 1000)
  },

  'tens of thousands at once': async ({store}) => {
    const source = function* () {
      for (let i = 0; i < 30_000; i++) yield newJob('Work', {arg: `{"i":${i}}`, uniqkey: `k${i}`})
    }
    assert.equal(await store.enqueueMany(source()), 30_000)
    assert.equal((await store.counts('Work'))[0]?.ready, 30_000)
  },
}

// ---- enqueueMany, from what comes slowly

export const slowBulk: Tests = {
  'all jobs of an asynchronous source are stored as they are, in their order': async ({db, store}) => {
    const soon = Math.floor(Date.now() / 1000) + HOUR
    const jobs = [
      newJob('Work', {arg: '{"a":"ä\u0000"}', context: '{"a":"b"}', tracked: true}),
      newJob('Work', {arg: BYTES, priority: db.maxNumber}),
      newJob('Work', {arg: new Uint8Array()}),
      newJob('Work', {arg: ''}),
      newJob('Other', {uniqkey: 'kéy', due: {at: soon}}),
      newJob('Work'),
    ]
    assert.equal(await store.enqueueMany(asynchronous(jobs)), jobs.length)
    const taken = await take(store, 'Work', 9)
    assert.deepEqual(
      taken.map(({priority, context}) => [priority, context]),
      [[db.maxNumber, undefined], [0, '{"a":"b"}'], ...new Array(3).fill([0, undefined])],
    )
    const inOrder = [jobs[1]!, jobs[0]!, jobs[2]!, jobs[3]!, jobs[5]!]
    for (const [i, {arg}] of taken.entries()) assertArg(arg, inOrder[i]!.arg, `argument ${i}`)
    const [other] = await store.list({func: 'Other', limit: 1, offset: 0})
    assert.deepEqual([other?.uniqkey, other?.runAfter], ['kéy', soon])
    await settle(store, taken[1]!, {kind: 'completed'})
    assert.deepEqual(await store.ends([taken[1]!]), [{id: taken[1]!.id, outcome: 'completed', message: ''}])
  },

  'thousands of an asynchronous source': async ({store}) => {
    assert.equal(await store.enqueueMany(asynchronous(manyJobs(5000))), 5000)
    const jobs = await take(store, 'Work', 5000)
    assert.deepEqual(
      jobs.map(({arg}) => text(arg)),
      Array.from({length: 5000}, (_, i) => `[${i}]`),
    )
  },

  'no lock is held while a source is waited for, and none of it is seen': async ({store, another}) => {
    const other = await another()
    const [given, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const source = async function* () {
      yield* manyJobs(2000)
      given.resolve()
      await go.promise
      yield newJob('Work', {arg: '"last"'})
    }
    const stored = store.enqueueMany(source())
    await given.promise
    for (const each of [store, other]) {
      const {id} = await each.enqueue(newJob('Meanwhile'))
      await settle(each, await takeOne(each, ['Meanwhile']), {kind: 'completed'})
      assert.equal(await each.find(id), null)
      assert.equal((await each.counts('Work'))[0]?.ready ?? 0, 0)
    }
    go.resolve()
    assert.equal(await stored, 2001)
    assert.equal((await other.counts('Work'))[0]?.ready, 2001)
  },

  'a source may use the store itself': async ({store}) => {
    const source = async function* () {
      for (let i = 0; i < 3; i++) {
        const {id} = await store.enqueue(newJob('One'))
        yield* manyJobs(700)
        yield newJob('Many', {arg: String(id)})
      }
    }
    assert.equal(await store.enqueueMany(source()), 2103)
    assert.deepEqual(
      (await store.counts()).map(({func, ready}) => [func, ready]),
      [
        ['Many', 3],
        ['One', 3],
        ['Work', 2100],
      ],
    )
  },

  'one that throws, is refused or is given up leaves nothing behind, and is closed': async ({db, store}) => {
    const thrown = Object.assign(new Error('no such row'), {code: 'SQLITE_CONSTRAINT_UNIQUE', errno: 1062})
    const ends: [more: () => Iterable<NewJob>, is: (error: unknown) => boolean][] = [
      [
        () => {
          throw thrown
        },
        error => error === thrown,
      ],
      [() => [newJob('Work', {uniqkey: 'k'})], error => error instanceof DuplicateJobError],
      [() => [newJob('Work', {due: {at: db.maxNumber}})], error => error instanceof ArgumentError],
    ]
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    for (const count of [3, 3000])
      for (const [more, is] of ends)
        for (const isAsync of [true, false]) {
          let isClosed = false
          const source = function* () {
            try {
              yield* manyJobs(count)
              yield newJob('Fresh', {context: '{}', tracked: true})
              yield* more()
              yield* manyJobs(count)
            } finally {
              isClosed = true
            }
          }
          await assert.rejects(store.enqueueMany(isAsync ? asynchronous(source()) : source()), is)
          assert.ok(isClosed)
          const counts = ['job', 'jobq_context', 'jobq_wait'].map(table => countOf(db, table))
          assert.deepEqual(await Promise.all(counts), [1, 0, 0])
          assert.deepEqual(await store.funcs(), ['Work'])
        }
  },

  'what is enqueued while a bulk is stored is not a part of it': async ({db, store, another}) => {
    const other = await another()
    const failing = function* () {
      yield* manyJobs(20_000)
      throw new Error('no')
    }
    const bulk = assert.rejects(store.enqueueMany(failing()), /no/)
    const singles = []
    for (let i = 0; i < 20; i++) singles.push(await (i % 2 ? store : other).enqueue(newJob('Single')))
    await bulk
    assert.equal(await countOf(db, 'job'), 20)
    assert.deepEqual(ids(await take(store, 'Single', 99)), ids(singles))
  },
}

function* manyJobs(count: number): Generator<NewJob> {
  for (let i = 0; i < count; i++) yield newJob('Work', {arg: `[${i}]`})
}

async function* asynchronous(jobs: Iterable<NewJob>): AsyncGenerator<NewJob> {
  let i = 0
  for (const job of jobs) {
    if (i++ % 100 === 1) await new Promise(resolve => setImmediate(resolve))
    yield job
  }
}
