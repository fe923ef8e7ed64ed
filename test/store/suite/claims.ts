/** Jobs taken by their ids, beside turns, and put back for later. */
import assert from 'node:assert/strict'
import {ALIKE_BYTES, ALIKE_ROWS, type JobRow, type NewJob, type StoredArg} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertArg,
  assertBetween,
  BYTES,
  endLeases,
  HOUR,
  ids,
  LEASE,
  leaseOf,
  newJob,
  settle,
  type Tests,
  take,
  takeOne,
  want,
} from './bench.ts'

const early = {early: true}

export const claiming: Tests = {
  'as a turn would take it, whatever is before it': async ({db, store}) => {
    const context = '{"a":"b"}'
    await store.enqueue(newJob('Work', {priority: 9}))
    const {id} = await store.enqueue(newJob('Work', {arg: BYTES, uniqkey: 'ä:1', priority: 1, context}))
    const plain = await store.enqueue(newJob('Other'))
    const {jobs, now} = await store.claim([{id}, plain], LEASE)
    assertBetween((await db.now()) - 5, now, await db.now())
    const [job, other] = jobs.toSorted((a, b) => a.id - b.id)
    const {arg, ...row} = job!
    assertArg(arg, BYTES, 'the argument')
    const {funcId, enqueueTime, runAfter} = row
    assert.deepEqual(row, {
      ...{id, funcId, func: 'Work', uniqkey: 'ä:1', enqueueTime, runAfter},
      ...{grabbedUntil: now + LEASE, retryCnt: 0, priority: 1, context},
    })
    assert.equal(other!.func, 'Other')
    assert.equal('context' in other!, false)
    assert.deepEqual((await store.find(id))!.state, 'running')
    assert.deepEqual(await settle(store, job!, {kind: 'completed'}), {held: true})
    assert.deepEqual(await settle(store, other!, {kind: 'failed', message: 'x', retryIn: 0}), {held: true})
  },

  'not what is delayed, runs, waits for others, or is not there': async ({store}) => {
    const delayed = await store.enqueue(newJob('Work', {due: {in: HOUR}}))
    const runs = await store.enqueue(newJob())
    await takeOne(store)
    const waits = await store.enqueue(newJob('Work', {after: [runs]}))
    const {jobs} = await store.claim([delayed, runs, waits, {id: 12345}], LEASE)
    assert.deepEqual(jobs, [])
    assert.deepEqual(
      await Promise.all([delayed, runs, waits].map(async ({id}) => (await store.find(id))!.state)),
      ['delayed', 'running', 'waiting'],
    )
  },

  'early: what is delayed, too, and what was held by who is gone; nothing that runs or waits for others':
    async ({db, store}) => {
      const [left] = [await store.enqueue(newJob())]
      await takeOne(store)
      await endLeases(db)
      const runs = await store.enqueue(newJob('Other'))
      await takeOne(store, ['Other'])
      const delayed = await store.enqueue(newJob('Work', {due: {in: HOUR}}))
      const waits = await store.enqueue(newJob('Work', {after: [runs]}))
      for (const {id} of [runs, waits, {id: 12345}])
        assert.deepEqual((await store.claim([{id}], LEASE, early)).jobs, [])
      for (const {id} of [left, delayed]) {
        const {jobs} = await store.claim([{id}], LEASE, early)
        assert.deepEqual(ids(jobs), [id])
        assert.deepEqual(await settle(store, jobs[0]!, {kind: 'released'}), {held: true})
      }
      // It is as it was: not due before its time
      assert.equal((await store.find(delayed.id))!.state, 'delayed')
    },

  'a pause keeps it from none': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    await store.pause(['Work'])
    assert.deepEqual(ids((await store.claim([{id}], LEASE, early)).jobs), [id])
  },

  'each is had by one, however many ask at once': async ({store, another}) => {
    const other = await another()
    const jobs = []
    for (let i = 0; i < 20; i++) jobs.push(await store.enqueue(newJob()))
    const taken = await Promise.all([
      store.claim(jobs, LEASE),
      other.claim(jobs, LEASE),
      take(store, 'Work', 20).then(jobs => ({jobs})),
      take(other, 'Work', 20).then(jobs => ({jobs})),
    ])
    const had = taken.flatMap(({jobs}) => ids(jobs)).sort((a, b) => a - b)
    const rest = await take(store, 'Work', 20)
    assert.deepEqual(
      [...had, ...ids(rest)].sort((a, b) => a - b),
      ids(jobs),
    )
  },

  'its lease is renewed, and runs out, as any other': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    await take(store, 'Work', 1).then(([job]) => settle(store, job!, {kind: 'released'}))
    const {jobs} = await store.claim([{id}], LEASE)
    assert.deepEqual(ids(await store.renew(jobs.map(leaseOf), LEASE)), [id])
    assert.deepEqual(await take(store, 'Work', 1), [])
    await endLeases(db)
    assert.deepEqual(ids(await take(store, 'Work', 1)), [id])
  },
}

export const postponing: Tests = {
  'is due so much later once it is given back, and has counted no retry': async ({db, store}) => {
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const job = await takeOne(store)
    await store.postpone([{lease: leaseOf(job), seconds: HOUR}])
    assert.equal((await store.find(id))!.state, 'running')
    assert.deepEqual(await settle(store, job, {kind: 'released'}), {held: true})
    const now = await db.now()
    const {state, runAfter, retryCnt} = (await store.find(id))!
    assert.deepEqual([state, retryCnt], ['delayed', 0])
    assertBetween(now + HOUR - 60, runAfter, now + HOUR)
    const {jobs, nextDueIn} = await store.turn([], want('Work'))
    assert.deepEqual(jobs, [])
    assertBetween(HOUR - 60, nextDueIn!, HOUR)
  },

  'several at once; what someone else has taken is theirs': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob()])
    const [mine, lost] = await take(store, 'Work', 2)
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 1 WHERE id = ?', lost!.id)
    await store.postpone([mine!, lost!].map(job => ({lease: leaseOf(job), seconds: HOUR})))
    const due = async (id: number) => (await store.find(id))!.runAfter - (await db.now())
    assertBetween(HOUR - 60, await due(mine!.id), HOUR)
    assertBetween(-60, await due(lost!.id), 0)
  },

  'however much later: before what waits for others': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    const job = await takeOne(store)
    await store.postpone([{lease: leaseOf(job), seconds: 4_294_967_295}])
    await settle(store, job, {kind: 'released'})
    assert.equal((await store.find(id))!.state, 'delayed')
  },
}

const alikeIds = async (store: Store, job: JobRow, key: string | null, limit = 9) =>
  ids(await store.alike(job, key === null ? undefined : {key, limit}))

export const alikes: Tests = {
  'by a key: what is ready under it, the most important first; no more than were asked for': async ({
    store,
  }) => {
    const enqueue = async (uniqkey: string, more: Partial<NewJob> = {}) =>
      (await store.enqueue(newJob('Work', {uniqkey, ...more}))).id
    const first = await enqueue('c1:first', {priority: 9})
    const [low, high, itself] = [
      await enqueue('c1:b'),
      await enqueue('c1:a', {priority: 2}),
      await enqueue('c1'),
    ]
    await enqueue('c1:later', {due: {in: HOUR}})
    await enqueue('c1:runs', {priority: 8})
    for (const other of ['c10:a', 'c1;a', 'C1:z', 'c', 'c2:a', 'xc1:a', 'c1-', 'c1%:a']) await enqueue(other)
    await store.enqueue(newJob('Other', {uniqkey: 'c1:a'}))
    const [job, runs] = await take(store, 'Work', 2)
    assert.deepEqual([job!.id, runs!.uniqkey], [first, 'c1:runs'])
    assert.deepEqual(await alikeIds(store, job!, 'c1'), [high, low, itself])
    assert.deepEqual(await alikeIds(store, job!, 'c1', 2), [high, low])
    assert.deepEqual(await alikeIds(store, job!, 'c3'), [])
  },

  'by a key of any characters, as it is and no other': async ({store}) => {
    const keys = ['%', '_', '|%', "a'b", 'a"b', 'a\\', 'ä', '日本', '😀', 'a b', '(', '[a]', '*']
    for (const key of keys) await store.enqueue(newJob('Work', {uniqkey: `${key}:1`}))
    const job = await store.enqueue(newJob('Work', {priority: 9})).then(() => takeOne(store))
    const all = await store.list({limit: 99, offset: 0, state: 'ready'})
    for (const key of keys) {
      const found = await alikeIds(store, job, key)
      const {id} = all.find(({uniqkey}) => uniqkey === `${key}:1`)!
      assert.deepEqual(found, [id], key)
    }
  },

  'without a key: the first of its priority, with their arguments': async ({store}) => {
    const [other, mine] = [{priority: 1}, {priority: 2}]
    await store.enqueue(newJob('Work', other))
    const {id} = await store.enqueue(newJob('Work', mine))
    const late = await store.enqueue(newJob('Work', {...mine, arg: BYTES}))
    const early = await store.enqueue(newJob('Work', {...mine, arg: '{"a":1}', due: {at: 1}}))
    await store.enqueue(newJob('Work', {...mine, due: {in: HOUR}}))
    await store.enqueue(newJob('Other', mine))
    const {jobs} = await store.claim([{id}], LEASE)
    const found = await store.alike(jobs[0]!)
    assert.deepEqual(ids(found), [early.id, late.id])
    assertArg(found[0]!.arg, '{"a":1}', 'text')
    assertArg(found[1]!.arg, BYTES, 'bytes')
  },

  'what has a long argument is passed over; no argument is a short one': async ({store}) => {
    const enqueue = async (uniqkey: string, arg: StoredArg) =>
      (await store.enqueue(newJob('Work', {uniqkey, arg}))).id
    await enqueue('k:0', null)
    const job = await takeOne(store)
    const fits = await enqueue('k:1', new Uint8Array(ALIKE_BYTES))
    const none = await enqueue('k:2', null)
    await enqueue('k:3', new Uint8Array(ALIKE_BYTES + 1))
    assert.deepEqual((await alikeIds(store, job, 'k')).sort(), [fits, none].sort())
    assert.deepEqual((await alikeIds(store, job, null)).sort(), [fits, none].sort())
  },

  'among a bounded number of rows, however many there are': async ({store}) => {
    await store.enqueueMany(
      Array.from({length: ALIKE_ROWS + 50}, (_, i) => newJob('Work', {uniqkey: `k:${i}`})),
    )
    const job = await takeOne(store)
    assert.ok((await store.alike(job, {key: 'k', limit: 2 * ALIKE_ROWS})).length <= ALIKE_ROWS)
    assert.ok((await store.alike(job)).length <= ALIKE_ROWS)
  },
}
