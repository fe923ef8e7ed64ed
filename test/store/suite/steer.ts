/** Jobs cancelled, and edited; orders to who runs one. */
import assert from 'node:assert/strict'
import {ArgumentError, DuplicateJobError} from '../../../src/lib/jobs/errors.ts'
import {CANCELLED} from '../../../src/lib/jobs/job.ts'
import type {Order} from '../../../src/lib/jobs/side-tables/orders.ts'
import {
  assertArg,
  BYTES,
  countOf,
  endLeases,
  ids,
  newJob,
  rings,
  settle,
  type Tests,
  take,
  takeOne,
  want,
} from './bench.ts'

const cancelOf = (id: number): Order => ({id, what: 'cancel'})
const BESIDE = ['jobq_context', 'jobq_death', 'jobq_order']

export const cancelling: Tests = {
  'what waits is gone, with all that is kept beside it; the others stay': async ({db, store}) => {
    const context = '{"a":"b"}'
    const [ready, delayed, other] = [
      await store.enqueue(newJob('Work', {uniqkey: 'k', context})),
      await store.enqueue(newJob('Work', {due: {in: 60}, context})),
      await store.enqueue(newJob('Other', {context})),
    ]
    const died = await takeOne(store)
    await settle(store, died, {kind: 'died', how: 'x'})
    assert.equal(await countOf(db, 'jobq_death'), 1)
    assert.deepEqual(await store.cancel([ready, delayed, {id: 12345}]), [
      {id: ready.id, func: 'Work', uniqkey: 'k', state: 'ready', isHeard: false},
      {id: delayed.id, func: 'Work', uniqkey: null, state: 'delayed', isHeard: false},
    ])
    assert.deepEqual(ids(await store.list({limit: 9, offset: 0})), [other.id])
    assert.deepEqual(await Promise.all(BESIDE.map(table => countOf(db, table))), [1, 0, 0])
    for (const log of ['exception_log', 'job_status', 'jobq_attempt']) assert.equal(await countOf(db, log), 0)
    assert.deepEqual(await store.cancel([ready]), [])
    await store.enqueue(newJob('Work', {uniqkey: 'k'})) // its key is free again
  },

  'who waits for it hears that it was aborted, and is rung': async ({store, another}) => {
    const {id} = await store.enqueue(newJob('Work', {tracked: true}))
    const other = await another()
    await rings(store, () => other.cancel([{id}]))
    assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'aborted', message: CANCELLED}])
  },

  'one that runs goes on, and an order is written once': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    const job = await takeOne(store)
    const told = {id, func: 'Work', uniqkey: null, state: 'running', isHeard: false}
    for (let i = 0; i < 2; i++) assert.deepEqual(await store.cancel([job]), [told])
    assert.deepEqual(await store.orders(), [cancelOf(id)])
    assert.equal(await countOf(db, 'job'), 1)
    assert.deepEqual(await settle(store, job, {kind: 'aborted', reason: CANCELLED}), {held: true})
    await store.forgetOrders([job])
    assert.deepEqual(await store.orders(), [])
  },

  'its dispatcher, on whichever host, is rung': async ({store, another}) => {
    const {id} = await store.enqueue(newJob())
    const dispatcher = await another()
    const job = await takeOne(dispatcher)
    await rings(dispatcher, () => store.cancel([job]))
    assert.deepEqual(await dispatcher.orders(), [cancelOf(id)])
  },

  'an order that was heard is not taken back, and the other way round': async ({store, another}) => {
    await store.enqueueMany([newJob(), newJob()])
    const dispatcher = await another()
    const [first, second] = await take(dispatcher, 'Work', 2)
    await store.cancel([first!, second!])
    const orders = [cancelOf(first!.id), cancelOf(second!.id)]
    assert.deepEqual(await dispatcher.hear([orders[0]!]), [orders[0]])
    assert.deepEqual(
      (await store.cancel([first!, second!])).map(({isHeard}) => isHeard),
      [true, false],
    )
    assert.deepEqual(await store.withdraw(orders), [orders[1]])
    assert.deepEqual(await dispatcher.hear(orders), [orders[0]])
    assert.deepEqual(await dispatcher.orders(), [orders[0]])
    assert.deepEqual(await store.withdraw(orders), [])
    await dispatcher.forgetOrders([first!])
    assert.deepEqual(await dispatcher.orders(), [])
  },

  'of two who are at it, one hears an order or the other takes it back': async ({store, another}) => {
    const dispatcher = await another()
    for (let i = 0; i < 20; i++) {
      await store.enqueue(newJob())
      const job = await takeOne(dispatcher)
      await store.cancel([job])
      const both = await Promise.all([
        dispatcher.hear([cancelOf(job.id)]),
        store.withdraw([cancelOf(job.id)]),
      ])
      assert.equal(both.flat().length, 1)
      await settle(dispatcher, job, {kind: 'completed'})
      await dispatcher.forgetOrders([job])
    }
  },

  'one that was given back, or whose lease ran out, waits': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob()])
    const [first, second] = await take(store, 'Work', 2)
    await store.cancel([first!])
    await settle(store, first!, {kind: 'released'})
    await endLeases(db)
    assert.deepEqual(
      (await store.cancel([first!, second!])).map(({state}) => state),
      ['ready', 'ready'],
    )
    for (const table of ['job', 'jobq_order']) assert.equal(await countOf(db, table), 0)
    assert.deepEqual(await settle(store, second!, {kind: 'completed'}), {held: false})
  },

  'only those in a state': async ({store}) => {
    const all: {id: number}[] = []
    for (const due of [0, 0, 60]) all.push(await store.enqueue(newJob('Work', {due: {in: due}})))
    await takeOne(store)
    const cancel = async (state: 'ready' | 'delayed' | 'running') => ids(await store.cancel(all, state))
    assert.deepEqual(await cancel('delayed'), [all[2]!.id])
    assert.deepEqual(await cancel('running'), [all[0]!.id])
    assert.deepEqual(await cancel('ready'), [all[1]!.id])
    assert.deepEqual(ids(await store.orders()), [all[0]!.id])
  },

  'orders of jobs that left by other ways are swept': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob()])
    const [job] = await take(store, 'Work', 1)
    await store.cancel([job!])
    await settle(store, job!, {kind: 'completed'})
    assert.deepEqual(ids(await store.orders()), [job!.id])
    assert.equal((await store.cancel([{id: job!.id + 1}])).length, 1)
    assert.equal(await countOf(db, 'jobq_order'), 0)
  },

  'many, and of those that someone takes meanwhile none is both': async ({db, store, another}) => {
    const dispatcher = await another()
    await store.enqueueMany(Array.from({length: 600}, () => newJob()))
    const all = ids(await store.list({limit: 600, offset: 0})).map(id => ({id}))
    const [taken, cancelled] = await Promise.all([
      (async () => {
        const jobs = []
        for (let i = 0; i < 10; i++) jobs.push(...(await dispatcher.turn([], want('Work', 10))).jobs)
        return jobs
      })(),
      (async () => {
        const found = []
        for (let i = 0; i < 600; i += 100) found.push(...(await store.cancel(all.slice(i, i + 100))))
        return found
      })(),
    ])
    const running = cancelled.filter(({state}) => state === 'running')
    const there = new Set(taken.map(({id}) => id))
    assert.equal(cancelled.length, 600)
    for (const {id, state} of cancelled) if (state !== 'running') assert.ok(!there.has(id), String(id))
    assert.equal(await countOf(db, 'job'), taken.length)
    assert.equal(await countOf(db, 'jobq_order'), running.length)
  },
}

export const editing: Tests = {
  'what is named is changed, and nothing else': async ({db, store}) => {
    const job = await store.enqueue(newJob('Work', {arg: 'old', uniqkey: 'k', priority: 3}))
    const before = await store.find(job.id)
    assert.deepEqual(await store.edit(job.id, {priority: 7}), {...job, priority: 7})
    assert.deepEqual(await store.find(job.id), {...before, priority: 7})
    const now = await db.now()
    const later = await store.edit(job.id, {due: {in: 60}})
    assert.ok(typeof later === 'object' && later.runAfter >= now + 60)
    assert.deepEqual(await store.edit(job.id, {due: {at: 2_000_000_000}, uniqkey: 'other'}), {
      ...job,
      priority: 7,
      uniqkey: 'other',
      runAfter: 2_000_000_000,
    })
    for (const arg of ['new', BYTES, null]) {
      await store.edit(job.id, {arg})
      assertArg((await store.find(job.id))!.arg, arg, 'arg')
    }
    await store.edit(job.id, {uniqkey: null, due: {in: 0}})
    const {id, uniqkey, retryCnt, enqueueTime} = await takeOne(store)
    assert.deepEqual([id, uniqkey, retryCnt, enqueueTime], [job.id, null, 0, before!.enqueueTime])
  },

  'a large argument': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    const arg = Buffer.alloc(3 << 20, BYTES)
    await store.edit(id, {arg})
    assertArg((await store.find(id))!.arg, arg, 'arg')
  },

  'takes effect at once for who takes jobs': async ({store, another}) => {
    const dispatcher = await another()
    const [first, second, third] = [
      await store.enqueue(newJob()),
      await store.enqueue(newJob()),
      await store.enqueue(newJob('Work', {due: {in: 600}})),
    ]
    assert.equal((await takeOne(dispatcher)).id, first.id)
    assert.equal((await dispatcher.peek(want('Work'))).head?.priority, 0)
    await rings(dispatcher, () => store.edit(third.id, {due: {in: 0}, priority: 5}))
    assert.deepEqual((await dispatcher.peek(want('Work'))).head?.priority, 5)
    assert.deepEqual(ids(await take(dispatcher, 'Work', 2)), [third.id, second.id])
    assert.equal((await dispatcher.turn([], want('Work'))).jobs.length, 0)
  },

  'on the same connection, too': async ({store}) => {
    const {id} = await store.enqueue(newJob('Work', {due: {in: 600}}))
    assert.equal((await store.turn([], want('Work'))).jobs.length, 0)
    await store.edit(id, {due: {in: 0}})
    assert.equal((await takeOne(store)).id, id)
  },

  'one that runs, or is not there, stays as it is': async ({db, store}) => {
    await store.enqueue(newJob())
    const {id} = await takeOne(store)
    assert.equal(await store.edit(id, {priority: 9}), 'running')
    assert.equal((await store.find(id))!.priority, 0)
    assert.equal(await store.edit(12345, {priority: 9}), 'gone')
    await endLeases(db)
    assert.equal(typeof (await store.edit(id, {priority: 9})), 'object')
  },

  'a uniqkey that is taken is refused, and nothing is changed': async ({store}) => {
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const other = await store.enqueue(newJob('Work'))
    await assert.rejects(store.edit(other.id, {uniqkey: 'k', priority: 9}), error => {
      assert.ok(error instanceof DuplicateJobError)
      assert.deepEqual([error.func, error.uniqkey, error.existingId], ['Work', 'k', id])
      return true
    })
    assert.deepEqual(
      [(await store.find(other.id))!.priority, (await store.find(other.id))!.uniqkey],
      [0, null],
    )
    const elsewhere = await store.enqueue(newJob('Other'))
    assert.equal(typeof (await store.edit(elsewhere.id, {uniqkey: 'k'})), 'object')
    assert.equal(typeof (await store.edit(id, {uniqkey: 'k'})), 'object') // its own
  },

  'only while it has a key, if it must have one; with a context, and kept for who asks how it ends': async ({
    store,
  }) => {
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k', context: '{"a":"1"}'}))
    const context = '{"b":"2"}'
    const changes = {arg: '[1]', context, tracked: true, ifUniqkey: 'k'}
    assert.equal(await store.edit(id, {...changes, ifUniqkey: 'other'}), 'gone')
    assert.equal((await store.find(id))!.arg, null)
    assert.equal(typeof (await store.edit(id, changes)), 'object')
    await store.edit(id, {uniqkey: null})
    assert.equal(await store.edit(id, {priority: 9, ifUniqkey: 'k'}), 'gone')
    const job = await takeOne(store)
    assert.equal(String(job.arg), '[1]')
    assert.equal(job.context, context)
    await settle(store, job, {kind: 'completed'})
    assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'completed', message: ''}])
  },

  'what no column holds is refused': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    await assert.rejects(store.edit(id, {due: {at: db.maxNumber}}), ArgumentError)
    await assert.rejects(store.edit(id, {due: {in: db.maxNumber}}), ArgumentError)
    assert.equal((await store.find(id))!.state, 'ready')
  },
}
