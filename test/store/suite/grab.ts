/** Which jobs a turn takes, and in which order. */
import assert from 'node:assert/strict'
import {ALL_FUNCS} from '../../../src/lib/jobs/job.ts'
import {
  assertBetween,
  assertBytes,
  BYTES,
  countOf,
  fail,
  HOUR,
  ids,
  LEASE,
  leaseOf,
  newJob,
  perlEnqueue,
  perlGrab,
  rings,
  settle,
  type Tests,
  take,
  takeOne,
  want,
} from './bench.ts'

// ---- turn: the order of work

export const order: Tests = {
  'highest priority first, over all functions': async ({store}) => {
    for (const [func, priority] of [
      ['A', 1],
      ['B', 5],
      ['A', 9],
      ['C', 3],
      ['B', 0],
    ] as const)
      await store.enqueue(newJob(func, {priority}))
    const jobs = await take(store, ['A', 'B', 'C'], 10)
    assert.deepEqual(
      jobs.map(({func, priority}) => [func, priority]),
      [
        ['A', 9],
        ['B', 5],
        ['C', 3],
        ['A', 1],
        ['B', 0],
      ],
    )
  },

  'among equals what has been due longest, over all functions': async ({db, store}) => {
    const due = (await db.now()) - 1000
    const wanted = []
    for (const [func, at] of [
      ['A', due + 30],
      ['B', due + 10],
      ['A', due + 20],
      ['B', due],
    ] as const)
      wanted.push({at, id: (await store.enqueue(newJob(func, {due: {at}}))).id})
    wanted.sort((a, b) => a.at - b.at)
    assert.deepEqual(
      ids(await take(store, ['A', 'B'], 10)),
      wanted.map(({id}) => id),
    )
  },

  'first in, first out among those due since the same second': async ({store}) => {
    const at = 1_700_000_000
    const enqueued = []
    for (let i = 0; i < 12; i++) enqueued.push(await store.enqueue(newJob(`F${i % 3}`, {due: {at}})))
    const one = ids(await take(store, ['F0', 'F1', 'F2'], 1))
    const rest = ids(await take(store, ['F2', 'F1', 'F0'], 20))
    assert.deepEqual(
      [...one, ...rest],
      enqueued.map(({id}) => id),
    )
  },

  'however many are taken at once, over all functions': async ({store}) => {
    const jobs = Array.from({length: 120}, (_, i) => ({
      func: `F${(i * 7) % 3}`,
      priority: (i * 5) % 4 === 0 ? 1 : 0,
      at: 1_700_000_000 + ((i * 11) % 5),
    }))
    const enqueued: ((typeof jobs)[number] & {id: number})[] = []
    for (const {func, priority, at} of jobs)
      enqueued.push({func, priority, at, id: (await store.enqueue(newJob(func, {priority, due: {at}}))).id})
    enqueued.sort((a, b) => b.priority - a.priority || a.at - b.at || a.id - b.id)
    const taken: number[] = []
    for (const limit of [1, 2, 7, 30, 100]) taken.push(...ids(await take(store, ['F2', 'F0', 'F1'], limit)))
    assert.deepEqual(
      taken,
      enqueued.map(({id}) => id),
    )
  },

  'priority beats any age': async ({store}) => {
    await store.enqueue(newJob('Old', {due: {at: 1}}))
    const urgent = await store.enqueue(newJob('New', {priority: 1}))
    assert.deepEqual(ids(await take(store, ['Old', 'New'], 1)), [urgent.id])
  },

  'what comes in later with a higher priority goes first': async ({store, another}) => {
    const other = await another()
    const low = await store.enqueueMany([newJob('Work'), newJob('Work')])
    assert.equal(low, 2)
    await takeOne(store)
    const high = await other.enqueue(newJob('Work', {priority: 5}))
    assert.deepEqual(ids(await take(store, 'Work', 1)), [high.id])
  },

  'a look sees what another process has enqueued since the last one': async ({store, another}) => {
    const other = await another()
    await store.enqueue(newJob('Work', {priority: 5, due: {in: HOUR}}))
    assert.deepEqual(await take(store, 'Work', 1), [])
    assert.equal((await store.peek(want('Work'))).head, null)
    await other.enqueue(newJob('Work', {priority: 5}))
    assert.equal((await store.peek(want('Work'))).head?.priority, 5)
  },

  'a job that comes in above others is taken next, by whatever way it came': async ({db, store, another}) => {
    const other = await another()
    const high = {priority: 10}
    const [exception] = await fail(store, newJob())
    const delayed = await store.enqueue(newJob('Work', {priority: 9, due: {in: HOUR}}))
    await store.enqueueMany(Array.from({length: 40}, () => newJob()))
    const ways: Record<string, () => Promise<unknown>> = {
      'enqueued here': () => store.enqueue(newJob('Work', high)),
      'enqueued in bulk': () => store.enqueueMany([newJob('Work', high)]),
      'enqueued elsewhere': () => other.enqueue(newJob('Work', high)),
      'enqueued by Perl': () => perlEnqueue(db, {func: 'Work', ...high}),
      'as a replacement': async () =>
        settle(store, await takeOne(store), {
          kind: 'replaced',
          jobs: [newJob('Work', high)],
          retryIn: null,
        }),
      'retried from an exception': () => store.retry(exception!.id, {...high, due: {in: 0}}),
      released: async () => {
        await store.enqueue(newJob('Work', high))
        const job = await takeOne(store)
        await takeOne(store)
        await settle(store, job, {kind: 'released'})
      },
      failed: async () => {
        await store.enqueue(newJob('Work', high))
        const job = await takeOne(store)
        await takeOne(store)
        await settle(store, job, {kind: 'failed', message: 'x', retryIn: 0})
      },
      died: async () => {
        await store.enqueue(newJob('Work', high))
        const job = await takeOne(store)
        await takeOne(store)
        await settle(store, job, {kind: 'died', how: 'x'})
      },
      'its lease ran out': async () => {
        await store.enqueue(newJob('Work', high))
        const {id} = await takeOne(store)
        await takeOne(store)
        await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', (await db.now()) - 5, id)
      },
      'it came due': () => db.run('UPDATE job SET run_after = 1, priority = 10 WHERE id = ?', delayed.id),
    }
    for (const [way, come] of Object.entries(ways)) {
      assert.equal((await takeOne(store)).priority, 0, `before ${way}`)
      await come()
      assert.equal((await takeOne(store)).priority, 10, way)
    }
  },

  'only the functions that are wanted': async ({store}) => {
    await store.enqueue(newJob('Other', {priority: 9}))
    const mine = await store.enqueue(newJob('Mine'))
    assert.deepEqual(ids(await take(store, ['Mine', 'Never enqueued'], 10)), [mine.id])
    assert.deepEqual(await take(store, [], 10), [])
  },

  'a function is found as soon as someone has enqueued it': async ({db, store, another}) => {
    assert.deepEqual(await take(store, ['Later', 'Perl'], 1), [])
    const later = await (await another()).enqueue(newJob('Later'))
    assert.deepEqual(ids(await take(store, ['Later', 'Perl'], 1)), [later.id])
    const perl = await perlEnqueue(db, {func: 'Perl'})
    assert.deepEqual(ids(await take(store, ['Later', 'Perl'], 1)), [perl])
  },

  'no more than the limit, and what there is if it is less': async ({store}) => {
    await store.enqueueMany(Array.from({length: 5}, () => newJob()))
    assert.equal((await take(store, 'Work', 0)).length, 0)
    assert.equal((await take(store, 'Work', 2)).length, 2)
    assert.equal((await take(store, 'Work', 100)).length, 3)
    assert.equal((await take(store, 'Work', 100)).length, 0)
  },

  'a job comes with all its columns': async ({db, store}) => {
    const before = await db.now()
    const id = await perlEnqueue(db, {func: 'Perl', arg: BYTES, uniqkey: 'k', priority: 3, retryCnt: 2})
    const {jobs, now} = await store.turn([], want('Perl'))
    assert.equal(jobs.length, 1)
    const {arg, enqueueTime, runAfter, funcId, ...job} = jobs[0]!
    assert.deepEqual(job, {
      id,
      func: 'Perl',
      uniqkey: 'k',
      grabbedUntil: now + LEASE,
      retryCnt: 2,
      priority: 3,
    })
    assertBytes(arg, BYTES)
    assertBetween(before, enqueueTime, now)
    assertBetween(before, runAfter, now)
    const [func] = await db.query('SELECT id FROM func')
    assert.equal(funcId, Number(func!.id))
  },

  "Perl's jobs and ours are one queue": async ({db, store}) => {
    const low = await perlEnqueue(db, {func: 'Work', delay: -20})
    const high = await store.enqueue(newJob('Work', {priority: 2}))
    const higher = await perlEnqueue(db, {func: 'Work', priority: 3})
    const lowest = await store.enqueue(newJob('Work'))
    assert.deepEqual(ids(await take(store, 'Work', 9)), [higher, high.id, low, lowest.id])
  },
}

// ---- turn: what is not due yet

export const delays: Tests = {
  'a delayed job is not taken, however high its priority': async ({store}) => {
    await store.enqueue(newJob('Work', {priority: 9, due: {in: HOUR}}))
    await store.enqueue(newJob('Work', {priority: 8, due: {in: HOUR}}))
    const ready = await store.enqueue(newJob('Work'))
    assert.deepEqual(ids(await take(store, 'Work', 5)), [ready.id])
  },

  'it is taken once it is due': async ({db, store}) => {
    const {id} = await store.enqueue(newJob('Work', {due: {in: HOUR}}))
    assert.deepEqual(await take(store, 'Work', 1), [])
    await db.run('UPDATE job SET run_after = ? WHERE id = ?', await db.now(), id)
    assert.deepEqual(ids(await take(store, 'Work', 1)), [id])
  },

  'nextDueIn says when the next one comes due': async ({db, store}) => {
    const at = (await db.now()) + HOUR
    await store.enqueue(newJob('Work', {due: {at: at + 500}, priority: 5}))
    await store.enqueue(newJob('Work', {due: {at}}))
    await store.enqueue(newJob('Other', {due: {at: at - 1000}}))
    const turn = await store.turn([], want('Work'))
    assert.equal(turn.nextDueIn, at - turn.now)
    const both = await store.turn([], want(['Work', 'Other']))
    assert.equal(both.nextDueIn, at - 1000 - both.now)
  },

  'nextDueIn says when a lease ends': async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    assert.ok(await perlGrab(db, id, 0))
    const {nextDueIn} = await store.turn([], want('Work'))
    assertBetween(HOUR - 60, nextDueIn!, HOUR)
  },

  'nextDueIn is null where nothing waits': async ({store}) => {
    assert.equal((await store.turn([], want('Work'))).nextDueIn, null)
    await store.enqueue(newJob('Other', {due: {in: HOUR}}))
    assert.equal((await store.turn([], want('Work'))).nextDueIn, null)
  },

  'nextDueIn is told where fewer were ready than wanted, else null': async ({store}) => {
    await store.enqueueMany([newJob(), newJob(), newJob('Work', {due: {in: HOUR}})])
    assert.equal((await store.turn([], want('Work', 1))).nextDueIn, null)
    const {jobs, nextDueIn} = await store.turn([], want('Work', 5))
    assert.equal(jobs.length, 1)
    assert.ok(nextDueIn !== null && nextDueIn > 0, `nextDueIn ${nextDueIn}`)
    assert.equal((await store.turn([], want('Work', 0))).nextDueIn, null)
  },

  'now is the time by the database': async ({db, store}) => {
    const before = await db.now()
    const {now} = await store.turn([], want('Work'))
    assertBetween(before, now, await db.now())
  },
}

// ---- turn: what may be taken

export const limits: Tests = {
  'a paused function is not taken, by anyone, until it is resumed': async ({store, another}) => {
    const other = await another()
    const [paused, free] = [await store.enqueue(newJob('A', {priority: 9})), await store.enqueue(newJob('B'))]
    await store.pause(['A', 'Never enqueued'])
    assert.deepEqual(await other.paused(), ['A', 'Never enqueued'])
    assert.deepEqual(ids(await take(other, ['A', 'B'], 5)), [free.id])
    assert.deepEqual(await other.resume(['A', 'B']), ['A'])
    assert.deepEqual(await store.paused(), ['Never enqueued'])
    assert.deepEqual(ids(await take(store, ['A', 'B'], 5)), [paused.id])
  },

  'all functions may be paused in one word': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    await store.pause([ALL_FUNCS])
    await store.pause([ALL_FUNCS]) // again is no error
    const turn = await store.turn([], want('Work'))
    assert.deepEqual([turn.jobs, turn.nextDueIn], [[], null])
    assert.deepEqual(await store.resume([ALL_FUNCS]), [ALL_FUNCS])
    assert.deepEqual(ids(await take(store, 'Work', 1)), [id])
  },

  'what runs is settled while its function is paused': async ({db, store}) => {
    await store.enqueue(newJob())
    const job = await takeOne(store)
    await store.pause(['Work'])
    assert.deepEqual(await settle(store, job, {kind: 'completed'}), {held: true})
    assert.equal(await countOf(db, 'job'), 0)
  },

  'resuming rings': async ({store, another}) => {
    await store.pause(['Work'])
    const other = await another()
    await rings(store, () => other.resume(['Work']))
  },

  'no more of a function than may run, over all stores': async ({db, store, another}) => {
    const other = await another()
    await store.enqueueMany([newJob('A'), newJob('A'), newJob('A'), newJob('A'), newJob('B')])
    const limited = (limit: number) => ({
      ...want(['A', 'B'], limit),
      maxRunning: new Map([
        ['A', 2],
        ['B', 0], // no limit
      ]),
    })
    const first = await store.turn([], limited(1))
    const second = await other.turn([], limited(9))
    assert.deepEqual([...first.jobs, ...second.jobs].map(({func}) => func).sort(), ['A', 'A', 'B'])
    assert.deepEqual((await other.turn([], limited(9))).jobs, [])
    const ended = {lease: leaseOf(first.jobs[0]!), outcome: {kind: 'completed'}} as const
    const third = await store.turn([ended], limited(9))
    assert.equal(third.jobs.length, 1)
    await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', (await db.now()) - 5, third.jobs[0]!.id)
    assert.equal((await store.turn([], limited(9))).jobs.length, 1)
  },

  "Perl's leases count among those that run": async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    await perlEnqueue(db, {func: 'Work'})
    await perlGrab(db, id, 0)
    const {jobs, nextDueIn} = await store.turn([], {...want('Work'), maxRunning: new Map([['Work', 1]])})
    assert.deepEqual(jobs, [])
    assert.ok(nextDueIn !== null && nextDueIn > 0, `nextDueIn ${nextDueIn}`)
  },

  'fair: functions take turns, priority still comes first': async ({store}) => {
    for (const func of ['A', 'A', 'A', 'B', 'B', 'C']) await store.enqueue(newJob(func))
    await store.enqueue(newJob('A', {priority: 1}))
    const taken = []
    for (let i = 0; i < 7; i++) {
      const {jobs} = await store.turn([], {...want(['A', 'B', 'C']), fair: true})
      taken.push(...jobs.map(({func}) => func))
    }
    assert.equal(taken[0], 'A')
    assert.deepEqual(taken.slice(1, 3).sort(), ['B', 'C'])
    assert.deepEqual(taken.slice(3).sort(), ['A', 'A', 'A', 'B'])
    assert.equal(taken.slice(3, 5).includes('B'), true)
  },

  'limits and turns hold where several are taken at once, with delayed lanes above': async ({store}) => {
    for (const priority of [9, 8, 2]) await store.enqueue(newJob('B', {priority, due: {in: HOUR}}))
    const funcs = ['A', 'B', 'C']
    const enqueued: number[] = []
    for (const func of ['A', 'B', 'A', 'B', 'A', 'C', 'A'])
      enqueued.push((await store.enqueue(newJob(func))).id)
    const maxRunning = new Map([['A', 2]])
    const limited = await store.turn([], {...want(funcs, 10), maxRunning})
    assert.deepEqual(
      ids(limited.jobs),
      [0, 1, 2, 3, 5].map(i => enqueued[i]),
    )
    assertBetween(1, limited.nextDueIn ?? 0, LEASE)
    const ends = limited.jobs.map(job => ({lease: leaseOf(job), outcome: {kind: 'released'} as const}))
    const {jobs} = await store.turn(ends, {...want(funcs, 6), fair: true})
    assert.deepEqual(
      jobs.map(({func}) => func),
      ['A', 'B', 'C', 'A', 'B', 'A'],
    )
  },

  'what is behind a held function waits with it': async ({store}) => {
    const first = await store.enqueue(newJob('A', {priority: 5}))
    await store.enqueue(newJob('B', {priority: 3}))
    await store.enqueue(newJob('A', {priority: 1}))
    const {jobs} = await store.turn([], {...want(['A', 'B'], 5), held: new Set(['B'])})
    assert.deepEqual(ids(jobs), [first.id])
    assert.equal((await take(store, ['A', 'B'], 5)).length, 2)
  },
}
