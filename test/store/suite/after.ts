/** Jobs that wait for others: stored, freed, failed, looked for, cancelled and edited. */
import assert from 'node:assert/strict'
import {AfterFailedError, NotFoundError, UsageError} from '../../../src/lib/jobs/errors.ts'
import type {After, Outcome} from '../../../src/lib/jobs/job.ts'
import type {ExceptionRow} from '../../../src/lib/jobs/rows/history.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {HOUR, ids, NOW, newJob, rings, settle, type Tests, take, takeOne, want} from './bench.ts'

const COMPLETED: Outcome = {kind: 'completed'}
const FAILED: Outcome = {kind: 'failed', message: 'boom\nand more', retryIn: null}

const after = (...jobs: (number | After)[]) => ({
  after: jobs.map(job => (typeof job === 'number' ? {id: job} : job)),
})
const anyEnd = (id: number): After => ({id, anyEnd: true})

export const waitingForOthers: Tests = {
  'a job is taken once all that it waits for has completed, in the turn that settles the last of them':
    async ({store}) => {
      const [a, b] = [await store.enqueue(newJob()), await store.enqueue(newJob())]
      const c = await store.enqueue(newJob('Work', {priority: 9, ...after(a.id, b.id)}))
      assert.equal((await stateOf(store, c.id))!, 'waiting')
      const [first, second, none] = await take(store, 'Work', 3)
      assert.deepEqual([first!.id, second!.id, none], [a.id, b.id, undefined])
      assert.deepEqual(await settle(store, first!, COMPLETED), {held: true})
      assert.equal(await stateOf(store, c.id), 'waiting')
      const turn = await store.turn([{lease: second!, outcome: COMPLETED}], want('Work'))
      assert.deepEqual(ids(turn.jobs), [c.id])
      assert.equal(turn.jobs[0]!.runAfter, c.runAfter)
    },

  'several that end in one turn free it once': async ({store}) => {
    const made = await Promise.all([1, 2, 3].map(() => store.enqueue(newJob())))
    const last = await store.enqueue(newJob('Work', after(...ids(made))))
    const taken = await take(store, 'Work', 3)
    const turn = await store.turn(
      taken.map(lease => ({lease, outcome: COMPLETED})),
      want('Work', 5),
    )
    assert.deepEqual(ids(turn.jobs), [last.id])
  },

  'it asks for a time besides: it is not due before that': async ({store}) => {
    const a = await store.enqueue(newJob())
    const b = await store.enqueue(newJob('Work', {due: {in: HOUR}, ...after(a.id)}))
    assert.deepEqual(await settle(store, await takeOne(store), COMPLETED), {held: true})
    const job = (await store.find(b.id))!
    assert.deepEqual([job.state, job.runAfter], ['delayed', b.runAfter])
  },

  'two that end at once in two processes: the last one frees it': async ({store, another}) => {
    const other = await another()
    for (let round = 0; round < 10; round++) {
      const made = await Promise.all([1, 2].map(() => store.enqueue(newJob())))
      const last = await store.enqueue(newJob('Last', after(...ids(made))))
      const [one, two] = await take(store, 'Work', 2)
      await Promise.all([settle(store, one!, COMPLETED), settle(other, two!, COMPLETED)])
      assert.deepEqual(ids(await take(store, 'Last', 2)), [last.id])
    }
  },

  'the next try, a release and a death free nothing; a status does not change it': async ({store, db}) => {
    const a = await store.enqueue(newJob())
    const b = await store.enqueue(newJob('Next', after(a.id)))
    for (const outcome of [
      {kind: 'released'},
      {kind: 'failed', message: 'x', retryIn: 0},
      {kind: 'died', how: 'y'},
    ] as const) {
      await settle(store, await takeOne(store), outcome)
      assert.equal(await stateOf(store, b.id), 'waiting', outcome.kind)
      await db.run('UPDATE job SET run_after = 0 WHERE id = ?', a.id)
    }
    const now = await db.now()
    const lease = await takeOne(store)
    await store.turn([{lease, outcome: COMPLETED, span: {start: now, end: now}}], want('Work', 0))
    assert.equal(await stateOf(store, b.id), 'ready')
  },

  'one that fails for good fails what waits for it, and so on, each by name': async ({store, another}) => {
    const a = await store.enqueue(newJob())
    const b = await store.enqueue(newJob('Next', {uniqkey: 'k', context: '{"x":"y"}', ...after(a.id)}))
    const c = await store.enqueue(newJob('Next', {tracked: true, ...after(b.id)}))
    const d = await store.enqueue(newJob('Next', after(c.id)))
    const end = await store.enqueue(newJob('Next', after(anyEnd(c.id))))
    const other = await another()
    await settle(store, await takeOne(store), FAILED)
    const told = await failAll(other) // whoever is left goes on with it
    assert.deepEqual(
      told.map(({id, func, uniqkey, message}) => [id, func, uniqkey, message]),
      [
        [b.id, 'Next', 'k', `job ${a.id} failed: boom`],
        [c.id, 'Next', null, `job ${b.id} failed: job ${a.id} failed: boom`],
        [d.id, 'Next', null, `job ${c.id} failed: job ${a.id} failed: boom`],
      ],
    )
    assert.deepEqual(await store.ends([c]), [
      {id: c.id, outcome: 'failed', message: `job ${b.id} failed: job ${a.id} failed: boom`},
    ])
    assert.deepEqual(ids(await take(store, 'Next', 9)), [end.id])
    const {job, attempts} = (await store.history(b.id))!
    assert.equal(job, null)
    assert.deepEqual(
      attempts.map(({outcome, isLast, host, start}) => [outcome, isLast, host, start]),
      [['failed', true, null, null]],
    )
    assert.equal((await store.exceptions({limit: 9, offset: 0})).length, 4)
  },

  'one that is aborted, cancelled, or whose lease runs out once too often fails it as well': async ({
    store,
    db,
  }) => {
    const made = await Promise.all(['A', 'B', 'C'].map(func => store.enqueue(newJob(func))))
    const [a, b, c] = made as [(typeof made)[0], (typeof made)[0], (typeof made)[0]]
    for (const {id} of made) await store.enqueue(newJob('Next', after(id)))
    await settle(store, await takeOne(store, ['A']), {kind: 'aborted', reason: 'no use'})
    await store.cancel([b])
    for (let death = 0; death < 3; death++) {
      await takeOne(store, ['C'])
      await db.run('UPDATE job SET grabbed_until = 1 WHERE id = ?', c.id)
    }
    assert.deepEqual(ids((await store.turn([], want('C'))).buried), [c.id])
    assert.deepEqual((await failAll(store)).map(({message}) => message.replace(/its worker.*/, '…')).sort(), [
      `job ${a.id} aborted: no use`,
      `job ${b.id} aborted: cancelled`,
      `job ${c.id} failed: …`,
    ])
  },

  'what a cancel takes along, whether the job ran or waited, is no failure, nor what waits for that': async ({
    store,
  }) => {
    const [ran, waited] = [await store.enqueue(newJob('A')), await store.enqueue(newJob('B'))]
    for (const {id} of [ran, waited]) {
      const next = await store.enqueue(newJob('Next', after(id)))
      await store.enqueue(newJob('Last', after(next.id)))
    }
    const aborted: Outcome = {kind: 'aborted', reason: 'cancelled'}
    await settle(store, await takeOne(store, ['A']), aborted, undefined, true)
    await store.cancel([waited])
    assert.equal((await failAll(store)).length, 4)
    assert.deepEqual(
      (await store.exceptions({limit: 9, offset: 0})).map(({state}) => state),
      new Array(5).fill('cancelled'),
    )
    assert.deepEqual(
      (await store.counts()).map(({failed}) => failed),
      [0, 0, 0, 0],
    )
    const [first] = (await store.exceptions({func: 'A', limit: 1, offset: 0})) as [ExceptionRow]
    await store.retry(first.id, {priority: 0, due: {in: 0}})
    assert.equal((await store.followers(first.id)).length, 1, 'what waits for it is retried behind it')
  },

  'however it ends': async ({store}) => {
    const [a, b] = [await store.enqueue(newJob()), await store.enqueue(newJob('Other'))]
    const c = await store.enqueue(newJob('Next', after(anyEnd(a.id), anyEnd(b.id))))
    await settle(store, await takeOne(store), FAILED)
    assert.equal(await stateOf(store, c.id), 'waiting')
    await store.cancel([b])
    assert.deepEqual(await failAll(store), [])
    assert.equal(await stateOf(store, c.id), 'ready')
  },

  'what replaces a job is waited for in its place': async ({store}) => {
    const a = await store.enqueue(newJob())
    const b = await store.enqueue(newJob('Next', after(a.id)))
    const jobs = [newJob('Part'), newJob('Part')]
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    assert.equal(await stateOf(store, b.id), 'waiting')
    for (const part of await take(store, 'Part', 2)) await settle(store, part, COMPLETED)
    assert.equal(await stateOf(store, b.id), 'ready')
    await settle(store, await takeOne(store, ['Next']), {kind: 'replaced', jobs: [], retryIn: null})
  },

  'an id that is not there, and one whose end is kept': async ({store, db}) => {
    const waits = (...jobs: (number | After)[]) => store.enqueue(newJob('Next', after(...jobs)))
    await assert.rejects(waits(12_345), NotFoundError)
    await assert.rejects(waits({nth: 1}), UsageError)
    const kept = await store.enqueue(newJob('Kept', {tracked: true}))
    const failed = await store.enqueue(newJob('Failed'))
    const lost = await store.enqueue(newJob('Lost'))
    for (const [func, outcome] of [
      ['Kept', COMPLETED],
      ['Failed', FAILED],
      ['Lost', COMPLETED],
    ] as const)
      await settle(store, await takeOne(store, [func]), outcome)
    await assert.rejects(waits(lost.id), NotFoundError)
    await assert.rejects(waits(kept.id, failed.id), AfterFailedError)
    assert.equal((await db.query(`SELECT id FROM job`)).length, 0)
    for (const job of [await waits(kept.id), await waits(anyEnd(failed.id))])
      assert.equal(await stateOf(store, job.id), 'ready')
  },

  'of several at once, each for earlier ones': async ({store}) => {
    const chain = (n: number) =>
      Array.from({length: n}, (_, i) => newJob('Work', i === 0 ? {} : after({nth: i})))
    assert.equal(await store.enqueueMany(chain(5)), 5)
    const order: number[] = []
    for (let i = 0; i < 5; i++) {
      const [job, second] = await take(store, 'Work', 2)
      assert.equal(second, undefined)
      order.push(job!.id)
      await settle(store, job!, COMPLETED)
    }
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    )
    await assert.rejects(store.enqueueMany([newJob(), newJob('Work', after({nth: 2}))]), {
      nth: 2,
      code: 'USAGE',
    })
    await assert.rejects(store.enqueueMany([newJob(), newJob('Work', after(99_999))]), {
      nth: 2,
      code: 'NOT_FOUND',
    })
    assert.equal((await store.list({limit: 9, offset: 0})).length, 0)
  },

  'a fan into one and out of one': async ({store}) => {
    const width = 1200
    const all = [newJob('First')]
    for (let i = 0; i < width; i++) all.push(newJob('Work', after({nth: 1})))
    all.push(newJob('Last', after(...Array.from({length: width}, (_, i) => ({nth: i + 2})))))
    assert.equal(await store.enqueueMany(all), width + 2)
    await settle(store, await takeOne(store, ['First']), COMPLETED)
    const [work] = await store.counts('Work')
    assert.deepEqual([work!.ready, work!.waiting], [width, 0])
    const taken = await take(store, 'Work', width)
    await store.turn(
      taken.slice(1).map(lease => ({lease, outcome: COMPLETED})),
      want('Work', 0),
    )
    const [last] = await store.list({func: 'Last', limit: 1, offset: 0})
    assert.equal(last!.state, 'waiting')
    assert.deepEqual((await store.history(last!.id))!.after, [{id: taken[0]!.id, anyEnd: false}])
    await settle(store, taken[0]!, COMPLETED)
    assert.equal(await stateOf(store, last!.id), 'ready')
  },

  'listed behind the delayed, counted by itself': async ({store}) => {
    const a = await store.enqueue(newJob())
    const waiting = await store.enqueue(newJob('Work', {priority: 5, ...after(a.id)}))
    const delayed = await store.enqueue(newJob('Work', {due: {in: HOUR}}))
    const page = {limit: 9, offset: 0}
    assert.deepEqual(ids(await store.list(page)), [a.id, delayed.id, waiting.id])
    assert.deepEqual(ids(await store.list({...page, state: 'waiting'})), [waiting.id])
    assert.deepEqual(ids(await store.list({...page, state: 'delayed'})), [delayed.id])
    const [counts] = await store.counts()
    assert.deepEqual([counts!.ready, counts!.delayed, counts!.waiting], [1, 1, 1])
  },

  'cancelled while it waits, or edited': async ({store, db}) => {
    const a = await store.enqueue(newJob())
    const [b, c] = [
      await store.enqueue(newJob('Next', after(a.id))),
      await store.enqueue(newJob('Next', after(a.id))),
    ]
    assert.deepEqual(ids(await store.cancel([b], 'delayed')), [])
    assert.deepEqual(ids(await store.cancel([b], 'waiting')), [b.id])
    assert.equal((await db.query('SELECT job_id FROM jobq_after WHERE job_id = ?', b.id)).length, 0)
    const edited = await store.edit(c.id, {priority: 3, due: {in: HOUR}})
    assert.ok(typeof edited === 'object')
    assert.equal(await stateOf(store, c.id), 'waiting')
    await settle(store, await takeOne(store), COMPLETED)
    const job = (await store.find(c.id))!
    assert.deepEqual([job.state, job.priority, job.runAfter], ['delayed', 3, edited.runAfter])
  },

  'retried, what failed after others waits again for those that were retried': async ({store, db}) => {
    const [a, b] = [await store.enqueue(newJob('A')), await store.enqueue(newJob('B'))]
    const c = await store.enqueue(newJob('Next', after(a.id, b.id)))
    const d = await store.enqueue(newJob('Next', after(c.id)))
    for (const func of ['A', 'B']) await settle(store, await takeOne(store, [func]), FAILED)
    assert.deepEqual(ids(await failAll(store)), [c.id, d.id])
    const exceptionOf = async ({id}: {id: number}) => (await store.history(id))!.attempts.at(-1)!.exceptionId!
    const retry = async (job: {id: number}) => store.retry(await exceptionOf(job), NOW)
    const followersOf = async (job: {id: number}) => ids(await store.followers(await exceptionOf(job)))
    const again = await retry(a)
    assert.deepEqual(await followersOf(a), []) // it waits for the other one as well
    const other = await retry(b)
    assert.deepEqual(await followersOf(b), [await exceptionOf(c)])
    const next = await retry(c)
    assert.equal(await stateOf(store, next.id), 'waiting')
    assert.deepEqual((await store.history(next.id))!.after, [
      {id: again.id, anyEnd: false},
      {id: other.id, anyEnd: false},
    ])
    assert.deepEqual(await followersOf(c), [await exceptionOf(d)])
    const last = await retry(d)
    for (const func of ['A', 'B', 'Next', 'Next'])
      await settle(store, await takeOne(store, [func]), COMPLETED)
    assert.equal(await store.find(last.id), null)
    assert.deepEqual(await db.query('SELECT * FROM jobq_after'), [])
  },

  'one that failed after others is retried by itself: it does not wait for what has failed': async ({
    store,
  }) => {
    const [a, b] = [await store.enqueue(newJob('A')), await store.enqueue(newJob('B'))]
    const c = await store.enqueue(newJob('Next', after(a.id, b.id)))
    await settle(store, await takeOne(store, ['A']), FAILED)
    await failAll(store)
    const exceptionOf = async (id: number) => (await store.history(id))!.attempts.at(-1)!.exceptionId!
    const next = await store.retry(await exceptionOf(c.id), NOW)
    assert.deepEqual((await store.history(next.id))!.after, [{id: b.id, anyEnd: false}])
    await store.cancel([next])
    const again = await store.retry(await exceptionOf(a.id), NOW)
    await settle(store, await takeOne(store, ['A']), FAILED)
    assert.notEqual(again.id, a.id)
  },

  "Perl's Qudo takes none, and what it ends is looked for": async ({store, db, another}) => {
    const [a, b] = [await store.enqueue(newJob()), await store.enqueue(newJob())]
    const c = await store.enqueue(newJob('Next', after(a.id, b.id)))
    const due = 'SELECT id FROM job WHERE grabbed_until <= ? AND run_after <= ? ORDER BY id'
    const now = await db.now()
    assert.deepEqual(
      (await db.query(due, now, now)).map(({id}) => Number(id)),
      [a.id, b.id],
    )
    await db.run('DELETE FROM job WHERE id = ?', a.id)
    assert.equal(await store.lookAfter(0), null)
    assert.equal(await stateOf(store, c.id), 'waiting')
    await db.run('DELETE FROM job WHERE id = ?', b.id)
    const other = await another()
    await rings(other, () => store.lookAfter(0))
    assert.equal(await stateOf(store, c.id), 'ready')
  },
}

async function stateOf(store: Store, id: number): Promise<string | undefined> {
  return (await store.find(id))?.state
}

async function failAll(store: Store) {
  const all = []
  for (;;) {
    const {failed, isMore} = await store.failAfter()
    all.push(...failed)
    if (!isMore) return all
  }
}
