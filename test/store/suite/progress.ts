/** How far jobs are that run, as they say themselves. */
import assert from 'node:assert/strict'
import type {JobProgress} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {assertBetween, countOf, newJob, settle, type Tests, takeOne} from './bench.ts'

const told = async (store: Store, ids: readonly number[]) =>
  (await store.progress(ids.map(id => ({id}))))
    .map(({toldAt: _, ...said}: JobProgress) => said)
    .sort((a, b) => a.id - b.id)

export const progressing: Tests = {
  'is what was said last, of those that run': async ({db, store, another}) => {
    const before = await db.now()
    await store.enqueueMany([newJob(), newJob(), newJob()])
    const [a, b] = [await takeOne(store), await takeOne(store)]
    const waiting = b.id + (b.id - a.id)
    const third = 1 / 3
    await store.tellProgress([
      {id: a.id, fraction: third, text: 'page 1 of 3: “Bäume”'},
      {id: waiting, fraction: 0.5, text: ''},
    ])
    await store.tellProgress([{id: b.id, fraction: 0, text: ''}])
    await store.tellProgress([{id: b.id, fraction: 1, text: 'x'.repeat(255)}])
    const other = await another()
    assert.deepEqual(await told(other, [a.id, b.id, waiting]), [
      {id: a.id, fraction: third, text: 'page 1 of 3: “Bäume”'},
      {id: b.id, fraction: 1, text: 'x'.repeat(255)},
    ])
    const [said] = await store.progress([{id: a.id}])
    assertBetween(before, said!.toldAt, before + 60)
    assert.deepEqual(await store.progress([]), [])
  },

  'is taken away with the job, and with it what others have left': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob(), newJob()])
    const jobs = [await takeOne(store), await takeOne(store), await takeOne(store)]
    await store.tellProgress(jobs.map(({id}) => ({id, fraction: 0.5, text: ''})))
    for (const job of jobs.slice(1)) await settle(store, job, {kind: 'completed'})
    await store.forgetProgress([{id: jobs[1]!.id}])
    assert.deepEqual(
      await told(
        store,
        jobs.map(({id}) => id),
      ),
      [{id: jobs[0]!.id, fraction: 0.5, text: ''}],
    )
    assert.equal(await countOf(db, 'jobq_progress'), 1)
  },
}
