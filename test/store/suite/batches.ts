/** Batches: jobs, and one that waits for all of them and is told how they have ended. */
import assert from 'node:assert/strict'
import {countOf, newJob, settle, type Tests, take, takeOne, text} from './bench.ts'

const last = (jobs: number, mark: string) =>
  newJob('Last', {
    batch: mark,
    after: Array.from({length: jobs}, (_, i) => ({nth: i + 1, anyEnd: true})),
  })
const member = () => newJob('Work', {tracked: true})

export const batching: Tests = {
  'how they have ended is counted, and by a mark the last one is found': async ({store, another}) => {
    await store.enqueueMany([...Array.from({length: 5}, member), last(5, 'a')])
    const {id} = (await store.batchMarked('a'))!
    assert.equal(await store.batchMarked('b'), null)
    const none = {jobs: 5, completed: 0, failed: 0, aborted: 0, left: 5}
    assert.deepEqual(await store.batch(id), none)
    const jobs = await take(store, ['Work'], 4)
    assert.equal(await store.batch(jobs[0]!.id), null)
    await settle(store, jobs[0]!, {kind: 'completed'})
    await settle(store, jobs[1]!, {kind: 'failed', message: 'x', retryIn: null})
    await settle(store, jobs[2]!, {kind: 'aborted', reason: 'x'})
    await settle(store, jobs[3]!, {kind: 'failed', message: 'x', retryIn: 0})
    const counts = {jobs: 5, completed: 1, failed: 1, aborted: 1, left: 2}
    assert.deepEqual(await (await another()).batch(id), counts)
    await settle(store, await takeOne(store), {kind: 'replaced', jobs: [newJob('Other')], retryIn: null})
    await store.cancel([{id: jobs[3]!.id}])
    const {left, aborted, completed} = (await store.batch(id))!
    const rest = left === 0 ? [0, 2, 2] : [1, 1, 2]
    assert.deepEqual([left, aborted, completed], rest)
  },

  'many, in several stretches; what is over goes as the next one comes': async ({db, store}) => {
    const jobs = 2500
    await store.enqueueMany([...Array.from({length: jobs}, member), last(jobs, 'a')])
    const {id} = (await store.batchMarked('a'))!
    assert.deepEqual(await store.batch(id), {jobs, completed: 0, failed: 0, aborted: 0, left: jobs})
    assert.equal(await countOf(db, 'jobq_batch'), jobs + 1)
    await db.run('DELETE FROM job')
    await store.enqueueMany([last(0, 'b')])
    assert.equal(await countOf(db, 'jobq_batch'), 1)
    const empty = (await store.batchMarked('b'))!
    assert.deepEqual(await store.batch(empty.id), {jobs: 0, completed: 0, failed: 0, aborted: 0, left: 0})
    assert.equal((await takeOne(store, ['Last'])).id, empty.id)
  },

  'who holds a job gives it another argument; who has lost it, none': async ({db, store}) => {
    await store.enqueueMany([member()])
    const job = await takeOne(store)
    assert.equal(await store.setArg(job, '{"a":"Bäume"}'), true)
    assert.equal(text((await store.find(job.id))!.arg), '{"a":"Bäume"}')
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 7')
    assert.equal(await store.setArg(job, '{}'), false)
    assert.equal(text((await store.find(job.id))!.arg), '{"a":"Bäume"}')
  },
}
