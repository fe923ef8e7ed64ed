/** What is scarce: of a function's jobs, and of each key's, so many run at once and start in a while. */
import assert from 'node:assert/strict'
import {setImmediate as nextRound} from 'node:timers/promises'
import type {JobRow} from '../../../src/lib/jobs/job.ts'
import type {Shared, ShareJob, ShareLimits} from '../../../src/lib/jobs/shares/limits.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  countOf,
  endLeases,
  HOUR,
  ids,
  newJob,
  rings,
  settle,
  type TestDatabase,
  type Tests,
  take,
} from './bench.ts'

const COMPLETED = {kind: 'completed'} as const
const TWO: ShareLimits = {
  rate: null,
  perKey: {maxRunning: 2, rate: null},
  shareBy: null,
  serializer: 'json',
}
const ONE: ShareLimits = {...TWO, perKey: {maxRunning: 1, rate: null}}
const rate = (most: number, seconds = HOUR): ShareLimits => ({...TWO, perKey: null, rate: {most, seconds}})
const ratePerKey = (most: number, seconds = HOUR): ShareLimits => ({
  ...TWO,
  perKey: {maxRunning: 0, rate: {most, seconds}},
})

export const sharing: Tests = {
  'so many of a key may start; the others are parked, and nobody takes them; other keys start': async ({
    store,
  }) => {
    const a = await enqueue(store, 'a', 4)
    const b = await enqueue(store, 'b', 1)
    const shared = await pass(store, TWO, await take(store, 'Work', 9))
    assert.deepEqual(ids(shared.admitted), [a[0], a[1], b[0]])
    assert.deepEqual(ids(shared.parked), [a[2], a[3]])
    assert.deepEqual(await take(store, 'Work', 9), [])
    assert.equal((await store.find(a[2]!))!.state, 'waiting')
    assert.equal((await store.counts('Work'))[0]!.waiting, 2)
  },

  'when one has ended the most important that is parked is called, with its own time; then there is no more room':
    async ({store}) => {
      const [first] = await enqueue(store, 'a', 1)
      await enqueue(store, 'a', 2)
      const [high, next] = await enqueue(store, 'a', 2, {priority: 7})
      const due = (await store.find(high!))!.runAfter
      const jobs = await take(store, 'Work', 5)
      assert.deepEqual(ids((await pass(store, ONE, jobs)).admitted), [high])
      await settle(store, leaseIn(jobs, high!), COMPLETED)
      assert.equal((await call(store, ONE, 'a')).called, 1)
      assert.equal((await call(store, ONE, 'a')).called, 0)
      const [called, ...none] = await take(store, 'Work', 5)
      assert.deepEqual([called!.id, called!.runAfter >= due, none], [next, true, []])
      assert.deepEqual(ids((await pass(store, ONE, [called!])).admitted), [next])
      await settle(store, called!, COMPLETED)
      await call(store, ONE, 'a')
      assert.deepEqual(ids(await take(store, 'Work', 5)), [first])
    },

  'who was called keeps the place from what is less important, and gives way to what is more': async ({
    store,
  }) => {
    await enqueue(store, 'a', 1)
    const running = await take(store, 'Work', 1)
    await pass(store, ONE, running)
    const [called] = await enqueue(store, 'a', 1, {priority: 5})
    await pass(store, ONE, await take(store, 'Work', 9))
    await settle(store, running[0]!, COMPLETED)
    await call(store, ONE, 'a')
    const taken = await take(store, 'Work', 1) // but it has not passed yet
    assert.deepEqual(ids(taken), [called])
    const [low] = await enqueue(store, 'a', 1)
    assert.deepEqual(ids((await pass(store, ONE, await take(store, 'Work', 1))).parked), [low])
    await settle(store, taken[0]!, {kind: 'released'})
    const [high] = await enqueue(store, 'a', 1, {priority: 9})
    const [best] = await take(store, 'Work', 1)
    assert.deepEqual([best!.id, ids((await pass(store, ONE, [best!])).admitted)], [high, [high]])
    assert.deepEqual(ids((await pass(store, ONE, await take(store, 'Work', 1))).parked), [called])
  },

  'one that is parked is not passed by one that comes later, though its place has just become free': async ({
    store,
  }) => {
    const [first, second] = await enqueue(store, 'a', 2)
    const jobs = await take(store, 'Work', 2)
    await pass(store, ONE, jobs)
    await settle(store, leaseIn(jobs, first!), COMPLETED)
    const [late] = await enqueue(store, 'a', 1)
    const shared = await pass(store, ONE, await take(store, 'Work', 1))
    assert.deepEqual([ids(shared.parked), shared.called], [[late], 1])
    assert.deepEqual(ids(await take(store, 'Work', 2)), [second])
  },

  'never more at once, over two processes': async ({store, another}) => {
    const other = await another()
    await enqueue(store, 'a', 30)
    await enqueue(store, 'b', 30)
    const running = new Map<string, number>()
    let done = 0
    const work = async (mine: Store) => {
      while (done < 60) {
        await nextRound()
        const taken = await take(mine, 'Work', 3)
        const admitted = ids((await pass(mine, TWO, taken)).admitted)
        for (const job of taken.filter(({id}) => admitted.includes(id))) {
          const key = job.uniqkey!.split(':')[0]!
          running.set(key, (running.get(key) ?? 0) + 1)
          assert.ok(running.get(key)! <= 2, 'three of a key at once')
          await nextRound()
          running.set(key, running.get(key)! - 1)
          await settle(mine, job, COMPLETED)
          done++
          await call(mine, TWO, key)
        }
      }
    }
    await Promise.all([work(store), work(other), work(store), work(other)])
    assert.equal((await store.counts('Work'))[0]?.waiting ?? 0, 0)
  },

  'jobs without a key are not limited by it; those of other functions have places of their own': async ({
    store,
  }) => {
    for (let i = 0; i < 3; i++) await store.enqueue(newJob())
    assert.equal((await pass(store, ONE, await take(store, 'Work', 9))).admitted.length, 3)
    for (const func of ['Work', 'Other']) {
      await store.enqueue(newJob(func, {uniqkey: 'a:1'}))
      assert.equal((await pass(store, ONE, await take(store, func, 9))).admitted.length, 1)
    }
  },

  'a lease that has run out holds no place; its job is the next, if it is the most important': async ({
    store,
    db,
  }) => {
    const [first] = await enqueue(store, 'a', 2)
    await pass(store, ONE, await take(store, 'Work', 2))
    await endLeases(db)
    const found = await store.sharedKeys('Work', ONE.perKey!, {key: ''})
    assert.deepEqual(found, {keys: ['a'], next: null})
    assert.equal((await call(store, ONE, 'a')).called, 0)
    const [again, ...none] = await take(store, 'Work', 9)
    assert.deepEqual([again!.id, none], [first, []])
    assert.deepEqual(ids((await pass(store, ONE, [again!])).admitted), [first])
  },

  'a failure that is tried again leaves its place; it comes back like any other': async ({store, db}) => {
    const [first, second] = await enqueue(store, 'a', 2)
    const jobs = await take(store, 'Work', 2)
    await pass(store, ONE, jobs)
    await settle(store, leaseIn(jobs, first!), {kind: 'failed', message: 'x', retryIn: HOUR})
    await call(store, ONE, 'a')
    const [called] = await take(store, 'Work', 9)
    assert.deepEqual(ids((await pass(store, ONE, [called!])).admitted), [second])
    await db.run('UPDATE job SET run_after = 0 WHERE id = ?', first!)
    assert.deepEqual(ids((await pass(store, ONE, await take(store, 'Work', 9))).parked), [first])
    await settle(store, called!, COMPLETED)
    await call(store, ONE, 'a')
    assert.deepEqual(ids(await take(store, 'Work', 9)), [first])
  },

  'what was left by who has died is found: keys with room, and those that nobody has any more': async ({
    store,
    db,
  }) => {
    const a = await enqueue(store, 'a', 2)
    await enqueue(store, 'b', 2)
    const jobs = await take(store, 'Work', 9)
    await pass(store, ONE, jobs)
    await settle(store, leaseIn(jobs, a[0]!), COMPLETED) // and nobody is called
    assert.deepEqual((await store.sharedKeys('Work', ONE.perKey!, {key: ''})).keys, ['a'])
    assert.deepEqual((await store.sharedKeys('Work', ONE.perKey!, {key: 'a'})).keys, [])
    await db.run('DELETE FROM job WHERE id = ?', a[1]!) // as Perl takes one away
    assert.equal((await call(store, ONE, 'a')).again.length, 1)
    await call(store, ONE, 'a')
    assert.deepEqual(await store.sharedKeys('Work', ONE.perKey!, {key: ''}), {keys: [], next: null})
    assert.deepEqual(await store.sharedKeys('Other', ONE.perKey!, {key: ''}), {keys: [], next: null})
  },

  'more keys than are looked at in one go': async ({store}) => {
    const jobs = Array.from({length: 700}, (_, i) =>
      newJob('Work', {uniqkey: `k${String(i).padStart(3, '0')}:1`}),
    )
    await store.enqueueMany(jobs)
    const taken = await take(store, 'Work', 700)
    await pass(store, ONE, taken)
    await store.turn(
      taken.map(lease => ({lease, outcome: COMPLETED})),
      {funcs: [], limit: 0, lease: 60},
    )
    const first = await store.sharedKeys('Work', ONE.perKey!, {key: ''})
    const second = await store.sharedKeys('Work', ONE.perKey!, first.next!)
    assert.deepEqual(
      [...first.keys, ...second.keys],
      jobs.map(({uniqkey}) => uniqkey!.slice(0, 4)),
    )
    assert.equal(second.next, null)
  },

  'what someone else has taken, or taken away, is lost': async ({store, db}) => {
    const [a, b] = await enqueue(store, 'a', 2)
    const jobs = await take(store, 'Work', 2)
    await db.run('DELETE FROM job WHERE id = ?', a!)
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 60 WHERE id = ?', b!)
    const shared = await pass(store, ONE, jobs)
    assert.deepEqual([ids(shared.lost), shared.admitted, shared.parked], [[a, b], [], []])
    assert.equal(await countOf(db, 'jobq_share'), 0)
  },

  'of what was only seen in its lane, what may not start is parked; the rest stays as it is': async ({
    store,
  }) => {
    await enqueue(store, 'a', 1)
    await pass(store, TWO, await take(store, 'Work', 1))
    const [second, third] = await enqueue(store, 'a', 2)
    const [b] = await enqueue(store, 'b', 1)
    const seen = (await store.list({func: 'Work', state: 'ready', limit: 9, offset: 0})).map(shown)
    const shared = await share(store, TWO, seen)
    assert.deepEqual([ids(shared.parked), shared.admitted, shared.lost], [[third], [], []])
    assert.deepEqual(ids(await take(store, 'Work', 9)), [second, b])
  },

  'a rate of the function: so many start in a while, whatever their keys; the others go back': async ({
    store,
    db,
  }) => {
    const made = await enqueue(store, 'a', 4)
    const shared = await pass(store, rate(3), await take(store, 'Work', 9))
    assert.deepEqual([ids(shared.admitted), shared.parked], [made.slice(0, 3), []])
    assert.ok(shared.closedMs > 0 && shared.closedMs <= HOUR * 1000)
    assert.equal((await store.find(made[3]!))!.state, 'ready')
    await later(db, HOUR * 1000 - 60_000)
    assert.ok((await pass(store, rate(3), await take(store, 'Work', 9))).closedMs <= 60_000)
    await later(db, 60_000)
    const after = await pass(store, rate(3), await take(store, 'Work', 9))
    assert.deepEqual([ids(after.admitted), after.closedMs], [[made[3]], 0])
    assert.equal(await countOf(db, 'jobq_rate'), 1)
  },

  'never more in any such while: starts count until each of them is so long ago': async ({store, db}) => {
    await enqueue(store, 'a', 9)
    const startOne = async () => (await pass(store, rate(3), await take(store, 'Work', 1))).admitted.length
    assert.equal(await startOne(), 1)
    await later(db, (HOUR / 2) * 1000)
    assert.deepEqual([await startOne(), await startOne(), await startOne()], [1, 1, 0])
    await later(db, (HOUR / 2) * 1000)
    assert.deepEqual([await startOne(), await startOne()], [1, 0])
    await later(db, (HOUR / 2) * 1000)
    assert.deepEqual([await startOne(), await startOne(), await startOne()], [1, 1, 0])
  },

  'a rate of each key: the others are parked, and called when the while has passed, as many as may start':
    async ({store, db}) => {
      const limits = ratePerKey(2)
      const a = await enqueue(store, 'a', 5)
      const b = await enqueue(store, 'b', 1)
      const shared = await pass(store, limits, await take(store, 'Work', 9))
      assert.deepEqual(ids(shared.admitted), [a[0], a[1], b[0]])
      assert.deepEqual(ids(shared.parked), a.slice(2))
      const [again] = shared.again
      assert.equal(again!.key, 'a')
      assert.ok(again!.ms > 0 && again!.ms <= HOUR * 1000)
      assert.equal((await call(store, limits, 'a')).called, 0)
      await later(db, HOUR * 1000)
      assert.equal((await call(store, limits, 'a')).called, 2)
      assert.equal((await call(store, limits, 'a')).called, 0)
      const taken = await take(store, 'Work', 9)
      assert.deepEqual(ids((await pass(store, limits, taken)).admitted), [a[2], a[3]])
      assert.equal((await store.find(a[4]!))!.state, 'waiting')
      assert.equal(await countOf(db, 'jobq_rate'), 1) // that of b counts no more
    },

  'both limits, and the rate of the function over them': async ({store}) => {
    const limits: ShareLimits = {...ONE, rate: {most: 2, seconds: HOUR}}
    const [a, second] = await enqueue(store, 'a', 2)
    const [b] = await enqueue(store, 'b', 1)
    const [c] = await enqueue(store, 'c', 1)
    const jobs = await take(store, 'Work', 9)
    const shared = await pass(store, limits, jobs)
    assert.deepEqual([ids(shared.admitted), ids(shared.parked)], [[a, b], [second]])
    assert.deepEqual(ids(await take(store, 'Work', 9)), [c])
  },

  'a clock that was far ahead has left nothing that counts for long': async ({store, db}) => {
    await enqueue(store, 'a', 2)
    await pass(store, rate(1, 60), await take(store, 'Work', 1))
    await later(db, -2 * HOUR * 1000)
    assert.equal((await pass(store, rate(1, 60), await take(store, 'Work', 1))).admitted.length, 1)
  },

  'cancelled while it is parked: it leaves, with its row; who waits for it hears': async ({store, db}) => {
    const [first] = await enqueue(store, 'a', 1)
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'a:x', tracked: true}))
    await pass(store, ONE, await take(store, 'Work', 9))
    assert.deepEqual(
      (await store.cancel([{id}])).map(({state}) => state),
      ['waiting'],
    )
    assert.deepEqual(
      (await store.ends([{id}])).map(({outcome}) => outcome),
      ['aborted'],
    )
    const rows = await db.query('SELECT job_id FROM jobq_share')
    assert.deepEqual(
      rows.map(row => Number(row.job_id)),
      [first],
    )
  },

  'taken by its id while it is parked: only where that is asked for, and with its own time': async ({
    store,
    db,
  }) => {
    const [, second] = await enqueue(store, 'a', 2)
    await pass(store, ONE, await take(store, 'Work', 9))
    const ref = [{id: second!}]
    assert.deepEqual((await store.claim(ref, 60, {early: true})).jobs, [])
    const [job, ...none] = (await store.claim(ref, 60, {early: true, parked: true})).jobs
    assert.deepEqual([job!.id, job!.runAfter <= (await db.now()), none], [second, true, []])
    assert.equal((await store.find(second!))!.state, 'running')
    assert.equal(await countOf(db, 'jobq_share'), 1)
    assert.deepEqual((await store.claim(ref, 60, {early: true, parked: true})).jobs, [])
    await settle(store, job!, {kind: 'released'})
    assert.equal((await store.find(second!))!.state, 'ready')
  },

  'edited while it is parked: it is in its lane again, and judged anew': async ({store}) => {
    await enqueue(store, 'a', 1)
    const [second, third] = await enqueue(store, 'a', 2)
    await pass(store, ONE, await take(store, 'Work', 9))
    const edited = await store.edit(second!, {priority: 9})
    assert.ok(typeof edited === 'object' && edited.priority === 9)
    const {state, runAfter} = (await store.find(second!))!
    assert.deepEqual([state, runAfter], ['ready', edited.runAfter])
    assert.deepEqual(ids((await pass(store, ONE, await take(store, 'Work', 9))).parked), [second])
    const delayed = await store.edit(third!, {due: {in: HOUR}})
    const job = (await store.find(third!))!
    assert.ok(typeof delayed === 'object')
    assert.deepEqual([job.state, job.runAfter], ['delayed', delayed.runAfter])
    await store.edit(second!, {uniqkey: 'b:1'})
    assert.deepEqual(ids((await pass(store, ONE, await take(store, 'Work', 9))).admitted), [second])
  },

  'where the limits are gone all goes back, as it was': async ({store, db}) => {
    await store.enqueueMany(
      Array.from({length: 1200}, (_, i) => newJob('Work', {uniqkey: `a:${i}`, priority: i % 3})),
    )
    await store.enqueueMany(Array.from({length: 2}, (_, i) => newJob('Other', {uniqkey: `a:${i}`})))
    const before = await db.query('SELECT id, priority, run_after FROM job ORDER BY id')
    await pass(
      store,
      {...ONE, perKey: {maxRunning: 1, rate: {most: 9, seconds: 9}}},
      await take(store, 'Work', 1200),
    )
    await pass(store, ONE, await take(store, 'Other', 9))
    assert.equal((await store.counts('Work'))[0]!.waiting, 1199)
    await rings(store, async () => {
      while (await store.unshare(['Work', 'Nobody']));
    })
    assert.deepEqual(
      await db.query('SELECT id, priority, run_after FROM job WHERE run_after < 2147483647 ORDER BY id'),
      before.slice(0, -1),
    )
    assert.deepEqual([await countOf(db, 'jobq_share'), await countOf(db, 'jobq_rate')], [2, 0])
    assert.equal(await store.unshare(['Work']), false)
    assert.equal(await store.unshare([]), false)
  },

  'what waits for others is not parked, and what is parked is not freed by their end': async ({store}) => {
    const [first] = await enqueue(store, 'a', 1)
    const {id} = await store.enqueue(newJob('Work', {uniqkey: 'a:x', after: [{id: first!}]}))
    const [parked] = await enqueue(store, 'a', 1)
    const jobs = await take(store, 'Work', 9)
    await pass(store, ONE, jobs)
    await settle(store, leaseIn(jobs, first!), COMPLETED)
    assert.deepEqual(
      [(await store.find(id))!.state, (await store.find(parked!))!.state],
      ['ready', 'waiting'],
    )
    assert.equal(await store.lookAfter(0), null)
    assert.deepEqual(await store.failAfter(), {failed: [], isMore: false})
    assert.equal((await store.find(parked!))!.state, 'waiting')
  },

  'what has called someone is noticed': async ({store}) => {
    const [first] = await enqueue(store, 'a', 2)
    const jobs = await take(store, 'Work', 9)
    await pass(store, ONE, jobs)
    await settle(store, leaseIn(jobs, first!), COMPLETED)
    await rings(store, () => call(store, ONE, 'a'))
  },

  'keys of any characters, apart from each other': async ({store}) => {
    const keys = ['a', 'A', 'ä', "it's", '漢字 ✓', 'a%', 'a_']
    for (const key of keys) await enqueue(store, key, 2)
    const jobs = await take(store, 'Work', 99)
    assert.equal((await pass(store, ONE, jobs)).admitted.length, keys.length)
    const found: string[] = []
    for (const key of keys) {
      await settle(store, jobs.find(({uniqkey}) => uniqkey!.startsWith(`${key}:`))!, COMPLETED)
      assert.equal((await call(store, ONE, key)).called, 1, key)
      found.push(...ids(await take(store, 'Work', 9)).map(() => key))
    }
    assert.deepEqual(found, keys)
  },

  'a function that nobody has enqueued has nothing to share': async ({store}) => {
    assert.deepEqual(await call(store, ONE, 'a', 'Nobody'), {
      admitted: [],
      parked: [],
      lost: [],
      called: 0,
      closedMs: 0,
      again: [],
    })
  },
}

const numbers = new Map<string, number>()

/** So many jobs of a key. @returns their ids */
async function enqueue(
  store: Store,
  key: string,
  count: number,
  options: {priority?: number} = {},
): Promise<number[]> {
  const made: number[] = []
  for (let i = 0; i < count; i++) {
    const nth = (numbers.get(key) ?? 0) + 1
    numbers.set(key, nth)
    made.push((await store.enqueue(newJob('Work', {uniqkey: `${key}:${nth}`, ...options}))).id)
  }
  return made
}

/** What a dispatcher does with what a turn has taken. */
function pass(store: Store, limits: ShareLimits, jobs: readonly JobRow[]): Promise<Shared> {
  const func = jobs[0]?.func ?? 'Work'
  const given = jobs.map(job => ({...shown(job), grabbedUntil: job.grabbedUntil}))
  return store.share({func, limits, jobs: given, keys: []})
}

function share(store: Store, limits: ShareLimits, jobs: readonly ShareJob[]): Promise<Shared> {
  return store.share({func: 'Work', limits, jobs, keys: []})
}

function call(store: Store, limits: ShareLimits, key: string, func = 'Work'): Promise<Shared> {
  return store.share({func, limits, jobs: [], keys: [key]})
}

/** As it is in its lane. */
function shown({id, uniqkey, priority, runAfter}: JobRow): ShareJob {
  return {id, key: uniqkey === null ? null : uniqkey.split(':')[0]!, grabbedUntil: 0, priority, runAfter}
}

function leaseIn(jobs: readonly JobRow[], id: number): JobRow {
  return jobs.find(job => job.id === id)!
}

/** What has started has done so long before. */
async function later(db: TestDatabase, ms: number): Promise<void> {
  await db.run('UPDATE jobq_rate SET first_ms = first_ms - ?, last_ms = last_ms - ?', ms, ms)
}
