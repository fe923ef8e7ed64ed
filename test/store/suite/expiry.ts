/** Jobs that leave the queue when they have not begun in time. */
import assert from 'node:assert/strict'
import {EXPIRED, type Outcome} from '../../../src/lib/jobs/job.ts'
import {
  assertBetween,
  countOf,
  endLeases,
  everyEnd,
  ids,
  newJob,
  rings,
  settle,
  type TestDatabase,
  type Tests,
  take,
  takeOne,
} from './bench.ts'

const ALL = {limit: 100_000, offset: 0, details: true}
const HOUR = 3600

/** Time passes. */
const passes = (db: TestDatabase) => db.run('UPDATE jobq_expiry SET expires_at = expires_at - ?', HOUR + 5)

const expiring = (more: object = {}) => newJob('Work', {expires: HOUR, ...more})

export const expiries: Tests = {
  'are told of a job, by the clock of the database, in whichever way it comes': async ({db, store}) => {
    const before = await db.now()
    await store.enqueue(expiring({priority: 9}))
    await Promise.all([
      store.enqueue(expiring({priority: 8, uniqkey: 'k'})),
      store.enqueue(newJob('Work', {priority: 7})),
      store.enqueue(expiring({priority: 6, expires: 2 * HOUR, tags: [['a', '1']]})),
    ])
    await store.enqueueMany([expiring({priority: 5}), newJob('Work', {priority: 4, uniqkey: 'l'})])
    const times = (await store.list(ALL)).map(({expiresAt}) => expiresAt)
    assert.deepEqual(
      times.map(time => time !== null && Math.round((time - before) / HOUR)),
      [1, 1, false, 2, 1, false],
    )
    assertBetween(HOUR - 60, (await store.beside()).expiryIn!, HOUR)
    const jobs = [newJob('B', {expires: HOUR})]
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    assert.ok((await store.list({...ALL, func: 'B'}))[0]!.expiresAt)
  },

  'of what has not begun by then: it is aborted, whoever waits hears it, and it is kept like any abort':
    async ({db, store, another}) => {
      await everyEnd(store, 'Work') // its workers keep a job status
      const tags = [['a', '1']] as const
      const more = {uniqkey: 'k', context: '{"a":"b"}', tracked: true, tags, arg: '[1]', priority: 3}
      const {id} = await store.enqueue(expiring(more))
      const delayed = await store.enqueue(expiring({due: {in: 60}}))
      const other = await store.enqueue(newJob('None', {expires: HOUR}))
      const later = await store.enqueue(expiring({expires: 9 * HOUR}))
      const never = await store.enqueue(newJob('Work'))
      assert.deepEqual(await store.expire(), {expired: [], isMore: false})
      await passes(db)
      assert.ok((await store.beside()).expiryIn! <= 0)
      const waiting = await another()
      await rings(waiting, async () => {
        const {expired, isMore} = await store.expire()
        assert.equal(isMore, false)
        assert.deepEqual(
          expired.toSorted((a, b) => a.id - b.id),
          [
            {id, func: 'Work', uniqkey: 'k', priority: 3},
            {id: delayed.id, func: 'Work', uniqkey: null, priority: 0},
            {id: other.id, func: 'None', uniqkey: null, priority: 0},
          ],
        )
      })
      assert.deepEqual(ids(await store.list(ALL)).toSorted(), [later.id, never.id])
      assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'aborted', message: EXPIRED}])
      const history = await store.history(id)
      assert.deepEqual(history!.tags, {a: '1'})
      assert.deepEqual(
        history!.attempts.map(({outcome, isLast, message}) => [outcome, isLast, message]),
        [['aborted', true, EXPIRED]],
      )
      const [work] = await store.counts('Work')
      const [none] = await store.counts('None')
      assert.deepEqual([work!.aborted, work!.failed], [3, 4]) // everyEnd's and these two
      assert.deepEqual([none!.aborted, none!.failed], [0, 1]) // its workers keep none
      assert.equal(await countOf(db, 'jobq_expiry'), 1)
      assert.equal(await countOf(db, 'jobq_context'), 0)
      const [exception] = await store.exceptions({...ALL, func: 'None'})
      const again = await store.retry(exception!.id, {priority: 0, due: {in: 0}})
      assert.equal((await store.find(again.id, undefined, {details: true}))!.expiresAt, null)
      await store.enqueue(newJob('Work', {uniqkey: 'k'})) // its key is free again
    },

  'not of what has begun: it runs, has failed, has died, or its lease ran out': async ({db, store}) => {
    const ends: (Outcome | null)[] = [
      null,
      {kind: 'failed', message: 'x', retryIn: 60},
      {kind: 'died', how: 'x'},
    ]
    for (const [i] of ends.entries()) await store.enqueue(expiring({priority: 9 - i}))
    await store.enqueue(expiring({priority: 1}))
    const jobs = await take(store, 'Work', 4)
    for (const [i, outcome] of ends.entries()) if (outcome) await settle(store, jobs[i]!, outcome)
    await endLeases(db)
    await passes(db)
    assert.deepEqual(await store.expire(), {expired: [], isMore: false})
    assert.equal((await store.beside()).expiryIn, null) // nor do their retries
    assert.equal((await store.list(ALL)).length, 4)
  },

  'of what was given back before it began, it is': async ({db, store}) => {
    const {id} = await store.enqueue(expiring())
    await settle(store, await takeOne(store), {kind: 'released'})
    await passes(db)
    assert.deepEqual(ids((await store.expire()).expired), [id])
  },

  'of what waits for others: it leaves, and what waits for it fails': async ({db, store}) => {
    const first = await store.enqueue(newJob())
    const second = await store.enqueue(expiring({after: [first]}))
    const third = await store.enqueue(newJob('Third', {after: [second]}))
    const fourth = await store.enqueue(newJob('Fourth', {after: [{...second, anyEnd: true}]}))
    await passes(db)
    assert.deepEqual(ids((await store.expire()).expired), [second.id])
    const {failed} = await store.failAfter()
    assert.deepEqual(
      failed.map(({id, message}) => [id, message]),
      [[third.id, `job ${second.id} aborted: expired`]],
    )
    assert.deepEqual(ids(await take(store, ['Work', 'Third', 'Fourth'], 9)), [first.id, fourth.id])
    await settle(store, {...(await store.find(first.id))!}, {kind: 'completed'})
    await store.failAfter()
    assert.equal(await countOf(db, "jobq_after WHERE outcome IS NULL OR outcome <> 'told'"), 0)
  },

  'are seen to some at a time, by several at once, each once': async ({db, store, another}) => {
    await store.enqueueMany(Array.from({length: 450}, () => expiring()))
    await passes(db)
    const stores = [store, await another()]
    const expired: number[] = []
    await Promise.all(
      stores.map(async store => {
        for (let isMore = true; isMore; ) {
          const part = await store.expire()
          expired.push(...ids(part.expired))
          isMore = part.isMore || (await store.beside()).expiryIn !== null
        }
      }),
    )
    assert.equal(new Set(expired).size, 450)
    assert.equal(expired.length, 450)
    assert.deepEqual(await store.list(ALL), [])
  },

  'are changed by an edit, and forgotten with the job': async ({db, store}) => {
    const job = await store.enqueue(expiring())
    await store.edit(job.id, {priority: 1})
    assert.ok((await store.find(job.id, undefined, {details: true}))!.expiresAt)
    await store.edit(job.id, {expires: null})
    assert.equal((await store.find(job.id, undefined, {details: true}))!.expiresAt, null)
    await store.edit(job.id, {expires: 2 * HOUR})
    assertBetween(2 * HOUR - 60, (await store.beside()).expiryIn!, 2 * HOUR)
    await store.forgetBeside([job])
    assert.equal(await countOf(db, 'jobq_expiry'), 1)
    await settle(store, await takeOne(store), {kind: 'completed'})
    await store.forgetBeside([job])
    assert.equal(await countOf(db, 'jobq_expiry'), 0)
  },

  'farther ahead than the column holds are at its end': async ({db, store}) => {
    const {id} = await store.enqueue(expiring({expires: 4_294_967_295}))
    assert.equal((await store.find(id, undefined, {details: true}))!.expiresAt, db.maxNumber)
  },
}
