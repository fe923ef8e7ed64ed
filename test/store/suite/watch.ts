/** Noticing what others do. */
import assert from 'node:assert/strict'
import type {JobRow} from '../../../src/lib/jobs/job.ts'
import {until} from '../../support/until.ts'
import {logs, NOW, newJob, perlEnqueue, rings, settle, type Tests, take} from './bench.ts'

export const watching: Tests = {
  'rings for what is enqueued here': async ({store}) => {
    await rings(store, () => store.enqueue(newJob()))
    await rings(store, () => store.enqueueMany([newJob()]))
  },

  'rings for what another process enqueues': async ({store, another}) => {
    const other = await another()
    for (let i = 0; i < 3; i++) await rings(store, () => other.enqueue(newJob()))
    await rings(store, () => other.enqueueMany([newJob(), newJob()]))
  },

  'rings for what Perl enqueues': async ({db, store}) => {
    await rings(store, () => perlEnqueue(db, {func: 'Work'}))
  },

  'rings for what is released, retried or put back elsewhere': async ({store, another}) => {
    const other = await another()
    await other.enqueueMany([newJob(), newJob()])
    const [a, b] = (await take(other, 'Work', 2)) as [JobRow, JobRow]
    await rings(store, () => settle(other, a, {kind: 'released'}))
    await rings(store, () => settle(other, b, {kind: 'failed', message: 'x', retryIn: 0}))
    const [exception] = (await logs(other)).exceptions
    await rings(store, () => other.retry(exception!.id, {...NOW, again: true}))
  },

  'a watch that is closed is silent, others go on': async ({store, another}) => {
    const other = await another()
    let [closed, open] = [0, 0]
    const first = store.watch(() => closed++)
    const second = store.watch(() => open++)
    first.close()
    await other.enqueue(newJob())
    await store.enqueue(newJob())
    await until('the open watch rings', () => open > 0)
    second.close()
    assert.equal(closed, 0)
  },

  'closing the store ends its watches': async ({connect, store}) => {
    const closing = await connect()
    closing.watch(() => assert.fail('rang after the end'))
    await closing.close()
    await rings(store, () => store.enqueue(newJob()))
  },
}
