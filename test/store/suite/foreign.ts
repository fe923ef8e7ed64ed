/** Rows as other programs write them into the tables: listed and counted as they are, worked if they can be. */
import assert from 'node:assert/strict'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertBetween,
  countOf,
  fail,
  HOUR,
  ids,
  LEASE,
  newJob,
  type PerlJob,
  perlEnqueue,
  settle,
  type Tests,
  take,
  text,
  want,
} from './bench.ts'

const ALL = {limit: 1000, offset: 0}
/** Not a number in JavaScript: 9007199254740992 would be taken for it. */
const TOO_LARGE = '9007199254740993'

export const foreignRows: Tests = {
  'priorities and times below 0 are listed, counted and worked in their order': async ({db, store}) => {
    if (!db.isSigned) return
    const low = await perlEnqueue(db, {func: 'Work', priority: -5})
    const lowest = await perlEnqueue(db, {func: 'Work', priority: -2_000_000_000})
    const normal = await perlEnqueue(db, {func: 'Other'})
    const old = await perlEnqueue(db, {func: 'Work', priority: -5})
    await db.run('UPDATE job SET run_after = -100 WHERE id = ?', old)
    const later = await perlEnqueue(db, {func: 'Work', priority: -5, delay: HOUR})
    const given = await perlEnqueue(db, {func: 'Work', priority: -6})
    await db.run('UPDATE job SET grabbed_until = -7 WHERE id = ?', given)

    const ready = [normal, old, low, given, lowest]
    assert.deepEqual(await listings(store), [...ready, later])
    assert.deepEqual(ids(await store.list({...ALL, state: 'ready'})), ready)
    assert.deepEqual(ids(await store.list({...ALL, state: 'delayed'})), [later])
    const [, work] = await store.counts()
    assert.deepEqual([work!.ready, work!.delayed, work!.running], [4, 1, 0])
    // What was given back in its own way is in its place only when it has been put there
    assert.deepEqual(ids(await take(store, ['Work', 'Other'], 1)), [normal])
    assert.deepEqual(ids(await take(store, ['Work', 'Other'], 10)).sort(), [low, lowest, old, given].sort())
  },

  'a job whose function has no row is listed': async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work', arg: Buffer.from('[1]')})
    await db.run('UPDATE job SET func_id = 4711 WHERE id = ?', id)
    const other = await store.enqueue(newJob('Other'))
    const jobs = await store.list(ALL)
    assert.deepEqual(
      jobs.map(job => [job.id, job.func, text(job.arg)]),
      [
        [id, '#4711', '[1]'],
        [other.id, 'Other', null],
      ],
    )
    assert.deepEqual(ids(await store.list({...ALL, func: '#4711'})), [id])
    assert.equal((await store.find(id))?.func, '#4711')
  },

  'a job without a time at which it was enqueued is listed and worked': async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    await db.run('UPDATE job SET enqueue_time = NULL WHERE id = ?', id)
    assert.deepEqual(await listings(store), [id])
    assert.deepEqual(ids(await take(store, 'Work', 5)), [id])
  },

  'an id that JavaScript can not hold is told by its digits, and no other job is taken for it': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(newJob('Work', {priority: 1}))
    assert.equal(await store.tooLargeId(), null)
    await perlEnqueue(db, {func: 'Work', uniqkey: 'k'})
    await db.run(`UPDATE job SET id = ${TOO_LARGE} WHERE id <> ?`, id)
    assert.equal(await store.tooLargeId(), TOO_LARGE)
    assert.deepEqual(await listings(store), [id])
    assert.deepEqual(await store.list({...ALL, uniqkey: 'k'}), [])
    const [job] = await take(store, 'Work', 1)
    assert.equal(job?.id, id)
    assert.deepEqual(await take(store, 'Work', 5), [])
    assert.deepEqual(await settle(store, job, {kind: 'completed'}), {held: true})
    assert.equal(await countOf(db, 'job'), 1)
  },

  'jobs whose ids JavaScript can not hold are passed over, and all others are worked, in their order':
    async ({db, store}) => {
      const enqueue = async (jobs: readonly Partial<PerlJob>[]) => {
        const enqueued = []
        for (const job of jobs) enqueued.push(await perlEnqueue(db, {func: 'Work', ...job}))
        return enqueued as [number, number, number, number, number, number]
      }
      const [a, b, c, d, e, f] = await enqueue([
        ...[{priority: 5}, {func: 'Other', priority: 5}, {priority: 3}, {priority: 3}],
        ...[{func: 'Other', priority: 2}, {priority: 1}],
      ])
      await db.run('UPDATE job SET run_after = 2000')
      const [, delayed, leased, first] = await enqueue([
        ...[{priority: 9}, {priority: 8, delay: HOUR}, {priority: 7}, {priority: 3}, {priority: 3}],
        {func: 'Other', priority: 5},
      ])
      await db.run('UPDATE job SET run_after = 2000 WHERE id > ? AND id <> ?', f, delayed)
      await db.run('UPDATE job SET run_after = 1000 WHERE id = ?', first)
      await db.run('UPDATE job SET grabbed_until = ? WHERE id = ?', (await db.now()) - 5, leased)
      await db.run(`UPDATE job SET id = id + ${TOO_LARGE} WHERE id > ?`, f)
      const funcs = ['Work', 'Other']
      assert.equal((await store.peek(want(funcs))).head?.priority, 5)
      assert.deepEqual(ids(await take(store, funcs, 1)), [a])
      assert.deepEqual(ids(await take(store, funcs, 2)), [b, c])
      assert.deepEqual(ids((await store.turn([], {...want(funcs), fair: true})).jobs), [d])
      const maxRunning = new Map([['Other', 2]])
      assert.deepEqual(ids((await store.turn([], {...want(funcs, 9), maxRunning})).jobs), [e, f])
      const {jobs, nextDueIn} = await store.turn([], want(funcs, 9))
      assert.deepEqual(jobs, [])
      assertBetween(1, nextDueIn ?? 0, LEASE)
      assert.equal(await countOf(db, 'jobq_death'), 0)
      assert.equal(await countOf(db, `job WHERE id > ${TOO_LARGE}`), 6)
    },

  'an exception and a status whose ids JavaScript can not hold are told': async ({db, store}) => {
    await fail(store, newJob('Work'))
    await db.run(`UPDATE exception_log SET id = ${TOO_LARGE}`)
    await assert.rejects(store.exceptions(ALL), told)
    await assert.rejects(store.exceptions({...ALL, oldestFirst: true}), told)
  },

  'more lanes than rows in a stretch, and a long one among them, are listed in order and once': async ({
    store,
  }) => {
    const due = (i: number) => (i % 2 ? {in: HOUR + (i % 700)} : {at: 1_700_000_000 + (i % 700)})
    const jobs = function* () {
      for (let i = 0; i < 2600; i++) yield newJob(`F${i % 40}`, {priority: Math.floor(i / 40), due: due(i)})
      for (let i = 0; i < 2600; i++) yield newJob('F7', {priority: 3, due: due(i)})
    }
    await store.enqueueMany(jobs())
    const rows = await store.list({limit: 10_000, offset: 0})
    assert.equal(rows.length, 5200)
    assert.equal(new Set(ids(rows)).size, 5200)
    for (const [i, b] of rows.entries()) {
      const a = rows[i - 1]
      if (!a) continue
      const order =
        a.state !== b.state
          ? Number(a.state === 'delayed') - Number(b.state === 'delayed')
          : a.state === 'ready'
            ? b.priority - a.priority || a.runAfter - b.runAfter || a.id - b.id
            : a.runAfter - b.runAfter || b.priority - a.priority || a.id - b.id
      assert.ok(order < 0, `${JSON.stringify(a)} before ${JSON.stringify(b)}`)
    }
    assert.deepEqual(ids(await store.list({limit: 30, offset: 2590})), ids(rows.slice(2590, 2620)))
    const some: number[] = []
    for await (const {id} of store.eachJob({limit: 3000, offset: 1500})) some.push(id)
    assert.deepEqual(some, ids(rows.slice(1500, 4500)))
  },
}

/** Both ways to list, which say the same. */
async function listings(store: Store): Promise<number[]> {
  const listed = ids(await store.list(ALL))
  const each: number[] = []
  for await (const {id} of store.eachJob(ALL)) each.push(id)
  assert.deepEqual(each, listed)
  return listed
}

function told(error: unknown): boolean {
  return (error as {code?: string}).code === 'DATABASE' && (error as Error).message.includes(TOO_LARGE)
}
