/** How a job has ended, for who waits for it. */
import assert from 'node:assert/strict'
import type {JobEnd, NewJob, Outcome} from '../../../src/lib/jobs/job.ts'
import {deathMessage, KEPT_SECONDS, TOLD_SECONDS} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {countOf, endLeases, ids, newJob, rings, settle, type Tests, take, takeOne, want} from './bench.ts'

const tracked = (func = 'Work', more: Partial<NewJob> = {}) => newJob(func, {tracked: true, ...more})
const end = (id: number, outcome: JobEnd['outcome'], message = '') => ({id, outcome, message})

export const ends: Tests = {
  'each end is told, with why': async ({store}) => {
    const cases: [Outcome, JobEnd['outcome'], string][] = [
      [{kind: 'completed'}, 'completed', ''],
      [{kind: 'replaced', jobs: [newJob('Other')], retryIn: null}, 'replaced', ''],
      [{kind: 'failed', message: 'bööm\nat line 2', retryIn: null}, 'failed', 'bööm\nat line 2'],
      [{kind: 'aborted', reason: 'no such picture'}, 'aborted', 'no such picture'],
    ]
    for (const [outcome, told, message] of cases) {
      const {id} = await store.enqueue(tracked())
      assert.deepEqual(await store.ends([{id}]), [])
      const job = await takeOne(store)
      assert.deepEqual(await store.ends([{id}]), [])
      await settle(store, job, outcome)
      assert.deepEqual(await store.ends([{id}]), [end(id, told, message)])
    }
  },

  'everyone who waits for it is told; then it is kept for a minute': async ({db, store, another}) => {
    const {id} = await store.enqueue(tracked())
    const others = [await another(), await another()]
    for (const each of others) assert.deepEqual(await each.track([{id}]), [{id}])
    await settle(store, await takeOne(store), {kind: 'aborted', reason: 'x'})
    const asked = await Promise.all([store, ...others].map(each => each.ends([{id}])))
    for (const told of [...asked, await store.ends([{id}])]) assert.deepEqual(told, [end(id, 'aborted', 'x')])
    const until = (await db.now()) - KEPT_SECONDS + TOLD_SECONDS
    const [{ended_at}] = (await db.query('SELECT ended_at FROM jobq_wait')) as [Record<string, unknown>]
    assert.ok(Number(ended_at) <= until && Number(ended_at) > until - 10, `${ended_at} ${until}`)
  },

  'it is kept until someone asks, in another process too': async ({store, another}) => {
    const {id} = await store.enqueue(tracked())
    const other = await another()
    await settle(other, await takeOne(other), {kind: 'aborted', reason: 'x'})
    assert.deepEqual(await (await another()).ends([{id}]), [end(id, 'aborted', 'x')])
  },

  'a failure that is retried, a release and a death are no ends': async ({db, store}) => {
    const {id} = await store.enqueue(tracked())
    const attempts: Outcome[] = [
      {kind: 'failed', message: 'x', retryIn: 0},
      {kind: 'released'},
      {kind: 'died', how: 'x'},
    ]
    for (const outcome of attempts) {
      await settle(store, await takeOne(store), outcome)
      assert.deepEqual(await store.ends([{id}]), [], outcome.kind)
    }
    await takeOne(store)
    await endLeases(db)
    assert.deepEqual(await store.ends([{id}]), [])
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.deepEqual(await store.ends([{id}]), [end(id, 'completed')])
  },

  'the last death is a failure, and so are leases that ran out too often': async ({db, store}) => {
    const died = await store.enqueue(tracked())
    for (let death = 1; death <= 3; death++)
      await settle(store, await takeOne(store), {kind: 'died', how: 'killed'})
    assert.deepEqual(await store.ends([died]), [
      end(died.id, 'failed', deathMessage(['killed', 'killed', 'killed'])),
    ])
    const lost = await store.enqueue(tracked())
    for (let death = 1; death <= 3; death++) {
      await takeOne(store)
      await endLeases(db)
    }
    const {buried} = await store.turn([], want('Work'))
    assert.deepEqual(await store.ends([lost]), [end(lost.id, 'failed', buried[0]?.message)])
  },

  'a replace that is refused is a failure': async ({store}) => {
    const jobs = [newJob('Other', {uniqkey: 'k'}), newJob('Other', {uniqkey: 'k'})]
    const {id} = await store.enqueue(tracked())
    const {failed} = await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: 0})
    assert.ok(failed)
    assert.deepEqual(await store.ends([{id}]), [])
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    assert.deepEqual(await store.ends([{id}]), [end(id, 'failed', failed)])
  },

  'who has lost the lease ends nothing': async ({db, store}) => {
    const {id} = await store.enqueue(tracked())
    const late = await takeOne(store)
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 3600')
    assert.equal((await settle(store, late, {kind: 'completed'})).held, false)
    assert.deepEqual(await store.ends([{id}]), [])
  },

  'a job can be tracked later, by any process, while it waits or runs': async ({store, another}) => {
    const [waiting, running] = [await store.enqueue(newJob('Later')), await store.enqueue(newJob('Now'))]
    const job = await takeOne(store, ['Now'])
    const other = await another()
    const both = [waiting, running].map(({id}) => ({id}))
    for (const each of [store, other]) assert.deepEqual(await each.track(both), both) // twice is no harm
    await settle(store, job, {kind: 'failed', message: 'x', retryIn: null})
    assert.deepEqual(await other.ends(both), [end(running.id, 'failed', 'x')])
    await settle(store, await takeOne(store, ['Later']), {kind: 'completed'})
    assert.deepEqual(await other.ends(both), [end(waiting.id, 'completed'), end(running.id, 'failed', 'x')])
  },

  'of a job that is not in the queue there is nothing to track, but its end is not lost': async ({store}) => {
    const {id} = await store.enqueue(tracked())
    await settle(store, await takeOne(store), {kind: 'aborted', reason: 'x'})
    assert.deepEqual(await store.track([{id}, {id: id + 1000}]), [])
    assert.deepEqual(await store.ends([{id}]), [end(id, 'aborted', 'x')])
  },

  'a job that nobody tracked, or that Perl has worked, is gone': async ({db, store}) => {
    const untracked = await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.deepEqual(await store.ends([untracked]), [end(untracked.id, 'gone')])
    const perls = await store.enqueue(tracked())
    await db.run('DELETE FROM job')
    assert.deepEqual(await store.ends([perls]), [end(perls.id, 'gone')])
    assert.equal(await countOf(db, 'jobq_wait'), 0)
  },

  'a watch rings for an end, here and elsewhere, whoever made it': async ({db, store, another}) => {
    const other = await another()
    for (const watcher of [store, other]) {
      await store.enqueue(tracked())
      const job = await takeOne(store)
      await rings(watcher, () => settle(store, job, {kind: 'completed'}))
    }
    await store.enqueue(tracked())
    await rings(store, () => db.run('DELETE FROM job'))
  },

  'many at once, enqueued in every way': async ({store}) => {
    await Promise.all(Array.from({length: 100}, () => store.enqueue(tracked())))
    await store.enqueueMany(Array.from({length: 900}, () => tracked()))
    const jobs = await take(store, 'Work', 1000)
    assert.equal(jobs.length, 1000)
    const settlements = jobs.map(lease => ({lease, outcome: {kind: 'completed'} as const}))
    await store.turn(settlements.slice(0, 600), want([], 0))
    const told = await store.ends(jobs)
    assert.deepEqual(ids(told), ids(jobs.slice(0, 600)))
    assert.ok(told.every(({outcome}) => outcome === 'completed'))
    assert.deepEqual(await store.ends(jobs.slice(600)), [])
  },

  'ends of nothing are none, and nothing is tracked': async ({store}) => {
    assert.deepEqual([await store.ends([]), await store.track([])], [[], []])
  },

  'rows that nobody asks for do not pile up': async ({db, store}) => {
    const living = await store.enqueue(tracked('Lives'))
    await workAsPerl(store, () => db.run('DELETE FROM job WHERE id <> ?', living.id), 400)
    const left = await countOf(db, 'jobq_wait')
    assert.ok(left < 250, `${left} rows are left of 400`)
    await settle(store, await takeOne(store, ['Lives']), {kind: 'completed'})
    assert.deepEqual(await store.ends([living]), [end(living.id, 'completed')])
  },

  'nor do those that were told pile up': async ({db, store}) => {
    for (let i = 0; i < 400; i++) {
      const job = await store.enqueue(tracked())
      await settle(store, await takeOne(store), {kind: 'completed'})
      assert.deepEqual(await store.ends([job]), [end(job.id, 'completed')])
      await db.run(`UPDATE jobq_wait SET ended_at = ended_at - ${TOLD_SECONDS + 1}`)
    }
    const left = await countOf(db, 'jobq_wait')
    assert.ok(left < 250, `${left} rows are left of 400`)
  },
}

async function workAsPerl(store: Store, work: () => Promise<unknown>, jobs: number): Promise<void> {
  for (let i = 0; i < jobs; i++) {
    await store.enqueue(tracked())
    await work()
  }
}
