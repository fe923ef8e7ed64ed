/** Who holds a job: leases, fences, renewals, beside Perl. */
import assert from 'node:assert/strict'
import {mock} from 'node:test'
import type {JobRow, Outcome} from '../../../src/lib/jobs/job.ts'
import {
  assertBetween,
  countOf,
  endLeases,
  grabbedUntil,
  HOUR,
  ids,
  LEASE,
  leaseOf,
  newJob,
  perlEnqueue,
  perlGrab,
  SPAN,
  settle,
  snapshot,
  type Tests,
  take,
  takeOne,
  want,
} from './bench.ts'

const ALL_OUTCOMES: readonly Outcome[] = [
  {kind: 'completed'},
  {kind: 'replaced', jobs: [newJob('Replacement')], retryIn: 5},
  {kind: 'failed', message: 'x', retryIn: 5},
  {kind: 'failed', message: 'x', retryIn: null},
  {kind: 'aborted', reason: 'x'},
  {kind: 'released'},
  {kind: 'died', how: 'x'},
]

export const leases: Tests = {
  'a job is leased from now for as long as was wanted': async ({db, store}) => {
    await store.enqueue(newJob())
    const {jobs, now} = await store.turn([], {...want('Work'), lease: 77})
    assert.equal(jobs[0]?.grabbedUntil, now + 77)
    assert.equal(await grabbedUntil(db, jobs[0]!.id), now + 77)
  },

  'nobody else gets it': async ({db, store, another}) => {
    await store.enqueue(newJob())
    const job = await takeOne(store)
    assert.deepEqual(await take(store, 'Work', 1), [])
    assert.deepEqual(await take(await another(), 'Work', 1), [])
    assert.equal(await perlGrab(db, job.id, 0), false)
    assert.equal(await grabbedUntil(db, job.id), job.grabbedUntil)
  },

  "a lease that ran out is anyone's, and costs no retry": async ({db, store, another}) => {
    const {id} = await store.enqueue(newJob())
    await takeOne(store)
    for (const end of [(await db.now()) - 5, await db.now()]) {
      await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', end, id)
      const [job] = await take(await another(), 'Work', 1)
      assert.equal(job?.id, id)
      assert.equal(job.retryCnt, 0)
      assert.ok(job.grabbedUntil > end)
    }
  },

  'where the clock jumps ahead, those who hold leases have time to renew them': async ({db, another}) => {
    const [holder, other] = [await another(), await another()]
    const [alive, dead] = [await holder.enqueue(newJob()), await holder.enqueue(newJob())]
    const jobs = await take(holder, 'Work', 2)
    assert.deepEqual(await take(other, 'Work', 1), [])
    // By the database it is later than it was; this process's clock is the one that no one sets
    const {hrtime} = process
    let behind = 2 * HOUR
    const clock = mock.method(process, 'hrtime', (...args: [[number, number]?]) => {
      const [seconds, nanoseconds] = hrtime(...args)
      return [seconds - behind, nanoseconds]
    })
    try {
      await endLeases(db)
      const fresh = await holder.enqueue(newJob())
      const {jobs: taken, jumped = 0} = await other.turn([], want('Work', 5))
      assertBetween(2 * HOUR - 5, jumped, 2 * HOUR + 5)
      assert.ok(taken.every(({id}) => id === fresh.id))
      const now = await db.now()
      const held = jobs.map(job => ({...leaseOf(job), grabbedUntil: now - 1}))
      for (const {id} of held) await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', now - 1, id)
      assert.equal((await holder.renew(held.slice(0, 1), LEASE)).length, 1)
      assert.ok(!ids(await take(other, 'Work', 5)).some(id => id === dead.id))
      behind -= 31
      const later = await take(other, 'Work', 5)
      assert.ok(ids(later).includes(dead.id))
      assert.ok(!ids(later).includes(alive.id))
      assert.equal(ids([...taken, ...later]).filter(id => id === fresh.id).length, 1)
    } finally {
      clock.mock.restore()
    }
  },

  'leases that ran out go by priority, among the others': async ({db, store}) => {
    const [low, high] = [await store.enqueue(newJob()), await store.enqueue(newJob('Work', {priority: 5}))]
    await take(store, 'Work', 2)
    const middle = await store.enqueue(newJob('Work', {priority: 3}))
    await endLeases(db)
    assert.deepEqual(ids(await take(store, 'Work', 3)), [high.id, middle.id, low.id])
  },

  'leases that ran out are found for each function that asks': async ({db, store}) => {
    const [a, b] = [await store.enqueue(newJob('A')), await store.enqueue(newJob('B'))]
    await take(store, ['A', 'B'], 2)
    await endLeases(db)
    assert.deepEqual(ids(await take(store, 'A', 5)), [a.id])
    assert.deepEqual(ids(await take(store, 'B', 5)), [b.id])
  },

  "Perl's lease of an hour is respected": async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    assert.ok(await perlGrab(db, id, 0))
    assert.deepEqual(await take(store, 'Work', 1), [])
  },

  "Perl's compare-and-swap loses against a grab of ours, ended lease or not": async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    const job = await takeOne(store) // between Perl's reading of candidates and its grab
    assert.equal(await perlGrab(db, id, 0), false)
    const ended = (await db.now()) - 5
    await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', ended, id)
    const again = await takeOne(store)
    assert.equal(await perlGrab(db, id, ended), false)
    assert.equal(await perlGrab(db, id, job.grabbedUntil + HOUR), false)
    assert.equal(await grabbedUntil(db, id), again.grabbedUntil)
    assert.equal((await settle(store, again, {kind: 'completed'})).held, true)
  },

  "Perl's compare-and-swap wins where it came first": async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    const job = await takeOne(store)
    const ended = (await db.now()) - 5
    await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', ended, id)
    assert.equal(await perlGrab(db, id, ended), true)
    assert.deepEqual(await take(store, 'Work', 1), [])
    assert.equal((await settle(store, job, {kind: 'completed'})).held, false)
    assert.equal(await countOf(db, 'job'), 1)
  },

  'released, Perl gets it as if nobody had had it': async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    await settle(store, await takeOne(store), {kind: 'released'})
    assert.equal(await perlGrab(db, id, 0), true)
  },

  'what someone else has taken is left to them, whatever its end here': async ({db, store, another}) => {
    const other = await another()
    const {id} = await store.enqueue(newJob('Work', {arg: 'mine', uniqkey: 'k'}))
    const lost = await takeOne(store)
    await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', lost.grabbedUntil + HOUR, id)
    const before = await snapshot(db)
    for (const outcome of ALL_OUTCOMES)
      for (const span of [SPAN, undefined]) {
        assert.deepEqual(await settle(store, lost, outcome, span), {held: false}, outcome.kind)
        assert.deepEqual(await settle(other, lost, outcome, span), {held: false}, outcome.kind)
        assert.deepEqual(await snapshot(db), before, outcome.kind)
      }
  },

  'a job that is gone is lost': async ({db, store}) => {
    await store.enqueue(newJob())
    const job = await takeOne(store)
    await settle(store, job, {kind: 'completed'})
    const before = await snapshot(db)
    for (const outcome of ALL_OUTCOMES)
      assert.deepEqual(await settle(store, job, outcome, SPAN), {held: false}, outcome.kind)
    assert.deepEqual(await snapshot(db), before)
    assert.deepEqual(await store.renew([leaseOf(job)], LEASE), [])
  },

  'a lease that ran out holds as long as nobody took the job': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    await takeOne(store)
    const ended = (await db.now()) - 5
    await db.run('UPDATE job SET grabbed_until = ?', ended)
    assert.deepEqual(await settle(store, {id, grabbedUntil: ended}, {kind: 'completed'}), {held: true})
    assert.equal(await countOf(db, 'job'), 0)
  },

  'deaths are listed, the last ones first, also of a job that is gone': async ({store}) => {
    assert.deepEqual(await store.deaths(), [])
    const dies = await store.enqueue(newJob({func: 'Dies', uniqkey: 'k'}))
    for (const how of ['x', 'ü']) await settle(store, await takeOne(store, ['Dies']), {kind: 'died', how})
    const deaths = await store.deaths()
    assert.deepEqual(
      deaths.map(({jobId, func, uniqkey, how}) => ({jobId, func, uniqkey, how})),
      ['ü', 'x'].map(how => ({jobId: dies.id, func: 'Dies', uniqkey: 'k', how})),
    )
    assert.ok(deaths.every(({diedAt}) => diedAt > 1_700_000_000))
    await settle(store, await takeOne(store, ['Dies']), {kind: 'completed'})
    assert.deepEqual(
      (await store.deaths()).map(({jobId, func}) => ({jobId, func})),
      Array.from({length: 2}, () => ({jobId: dies.id, func: ''})),
    )
  },

  'of jobs that were taken it is known whether a worker of theirs has died': async ({store}) => {
    await store.enqueueMany([newJob(), newJob(), newJob()])
    const [dies, fails, waits] = (await take(store, 'Work', 3)) as [JobRow, JobRow, JobRow]
    const jobs = [waits, fails, dies]
    assert.deepEqual(await store.died(jobs), [])
    await settle(store, dies, {kind: 'died', how: 'x'})
    await settle(store, fails, {kind: 'failed', message: 'no', retryIn: 0})
    assert.deepEqual(await store.died(jobs), [{id: dies.id}])
    const again = await take(store, 'Work', 3)
    assert.deepEqual(await store.died(again), [{id: dies.id}])
    assert.deepEqual(await store.died([]), [])
  },

  'renewed leases end later, and only the new ones settle': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob()])
    const jobs = await take(store, 'Work', 2)
    const before = await db.now()
    const renewed = await store.renew(jobs.map(leaseOf), 600)
    const after = await db.now()
    assert.deepEqual(ids(renewed), ids(jobs))
    for (const lease of renewed) {
      assertBetween(before + 600, lease.grabbedUntil, after + 600)
      assert.equal(await grabbedUntil(db, lease.id), lease.grabbedUntil)
    }
    assert.equal((await settle(store, jobs[0]!, {kind: 'completed'})).held, false)
    assert.equal((await settle(store, renewed[0]!, {kind: 'completed'})).held, true)
  },

  'a renewal tells which leases are lost, and leaves those jobs alone': async ({db, store}) => {
    await store.enqueueMany([newJob(), newJob(), newJob()])
    const [held, lost, gone] = (await take(store, 'Work', 3)) as [JobRow, JobRow, JobRow]
    await settle(store, gone, {kind: 'completed'})
    await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', lost.grabbedUntil + HOUR, lost.id)
    const renewed = await store.renew([lost, held, gone].map(leaseOf), 600)
    assert.deepEqual(ids(renewed), [held.id])
    assert.equal(await grabbedUntil(db, lost.id), lost.grabbedUntil + HOUR)
    assert.deepEqual(await store.renew([], 600), [])
  },

  'a renewal that changes nothing still holds': async ({store}) => {
    await store.enqueue(newJob())
    let lease = leaseOf(await takeOne(store))
    for (let i = 0; i < 5; i++) {
      const renewed = await store.renew([lease], LEASE) // the same end within a second
      assert.equal(renewed.length, 1)
      lease = renewed[0]!
    }
  },
}
