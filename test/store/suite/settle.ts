/** What becomes of a job: the table "what work did", deaths, replacements, several ends at once. */
import assert from 'node:assert/strict'
import {AlreadyRetriedError} from '../../../src/lib/jobs/errors.ts'
import {CANCELLED, type JobRow, MAX_DEATHS, type Outcome, type Settlement} from '../../../src/lib/jobs/job.ts'
import type {ExceptionRow} from '../../../src/lib/jobs/rows/history.ts'
import type {Store, Turn} from '../../../src/lib/store/store.ts'
import {
  assertArg,
  assertBetween,
  assertBytes,
  type Bench,
  BYTES,
  countOf,
  endLeases,
  enqueueAll,
  HOUR,
  ids,
  leaseOf,
  logs,
  newJob,
  SPAN,
  settle,
  snapshot,
  type TestDatabase,
  type Tests,
  take,
  takeOne,
  text,
  want,
} from './bench.ts'

// ---- how an attempt ends

export const outcomes: Tests = {
  'completed: the row goes, nothing is logged': async bench => {
    const {job} = await attempt(bench, {kind: 'completed'})
    assert.equal(await bench.store.find(job.id), null)
    assert.deepEqual(await logs(bench.store), {exceptions: [], statuses: []})
  },

  'completed, with a status': async bench => {
    const {job} = await attempt(bench, {kind: 'completed'}, SPAN)
    assert.equal(await bench.store.find(job.id), null)
    const {exceptions, statuses} = await logs(bench.store)
    assert.deepEqual(exceptions, [])
    await assertStatus(bench.db, statuses, job, 'completed')
  },

  'failed with retries left: the row stays and costs one, and is due after the delay': async bench => {
    const {job, before, after} = await attempt(bench, {kind: 'failed', message: 'boom', retryIn: 300})
    const {runAfter, ...row} = (await bench.store.find(job.id))!
    assertBetween(before + 300, runAfter, after + 300)
    const {arg, runAfter: _, ...was} = job
    assertBytes(row.arg, arg!)
    assert.deepEqual(
      {...row, arg},
      {...was, arg, grabbedUntil: 0, retryCnt: job.retryCnt + 1, state: 'delayed', tags: {}, expiresAt: null},
    )
    const {exceptions, statuses} = await logs(bench.store)
    assert.equal(exceptions.length, 1)
    assertException(exceptions[0]!, job, 'boom', [before, after], 'retrying')
    assert.deepEqual(statuses, [])
  },

  'failed with retries left, with a status': async bench => {
    const {job} = await attempt(bench, {kind: 'failed', message: 'boom', retryIn: 0}, SPAN)
    await assertStatus(bench.db, (await logs(bench.store)).statuses, job, 'failed')
    assert.equal((await takeOne(bench.store)).retryCnt, 1)
  },

  'failed for good: the row goes, the exception stays': async bench => {
    const {job, before, after} = await attempt(bench, {kind: 'failed', message: 'boom', retryIn: null})
    assert.equal(await bench.store.find(job.id), null)
    const {exceptions, statuses} = await logs(bench.store)
    assert.equal(exceptions.length, 1)
    assertException(exceptions[0]!, job, 'boom', [before, after])
    assert.deepEqual(statuses, [])
  },

  'failed for good, with a status': async bench => {
    const {job} = await attempt(bench, {kind: 'failed', message: 'boom', retryIn: null}, SPAN)
    assert.equal(await bench.store.find(job.id), null)
    await assertStatus(bench.db, (await logs(bench.store)).statuses, job, 'failed')
  },

  'aborted: the row goes, the reason is logged': async bench => {
    const {job, before, after} = await attempt(bench, {kind: 'aborted', reason: 'no such device'})
    assert.equal(await bench.store.find(job.id), null)
    const {exceptions, statuses} = await logs(bench.store)
    assert.equal(exceptions.length, 1)
    assertException(exceptions[0]!, job, 'no such device', [before, after])
    assert.deepEqual(statuses, [])
  },

  'aborted, with a status': async bench => {
    const {job} = await attempt(bench, {kind: 'aborted', reason: 'no such device'}, SPAN)
    await assertStatus(bench.db, (await logs(bench.store)).statuses, job, 'abort')
  },

  'cancelled: logged, but no failure: not counted as one, and retried where it is named only': async ({
    store,
  }) => {
    const reason = CANCELLED
    for (const isCancelled of [true, false]) {
      await store.enqueue(newJob())
      await settle(store, await takeOne(store), {kind: 'aborted', reason}, undefined, isCancelled)
    }
    const state = async () =>
      (await logs(store)).exceptions.map(({message, retried, state}) => [message, retried, state])
    const own = [reason, false, 'failed'] // aborted by itself, whatever it calls it
    assert.deepEqual(await state(), [own, [reason, false, 'cancelled']])
    assert.equal((await store.counts('Work'))[0]!.failed, 1)
    assert.equal((await store.exceptions({unretried: true, limit: 9, offset: 0})).length, 1)
    const {id} = (await logs(store)).exceptions[1]!
    await store.retry(id, {priority: 0, due: {in: 0}})
    assert.equal((await takeOne(store)).func, 'Work')
    assert.deepEqual(await state(), [own, [reason, true, 'cancelled']])
    await assert.rejects(store.retry(id, {priority: 0, due: {in: 0}}), AlreadyRetriedError)
  },

  'released: the row is as it was, nothing is logged': async ({db, store}) => {
    await store.enqueue(newJob('Work', {arg: 'a', uniqkey: 'k', priority: 4}))
    for (const span of [SPAN, undefined]) {
      const before = await snapshot(db)
      assert.deepEqual(await settle(store, await takeOne(store), {kind: 'released'}, span), {held: true})
      assert.deepEqual(await snapshot(db), before)
    }
  },

  'each failed attempt leaves an exception': async ({store}) => {
    await store.enqueue(newJob())
    for (const [i, retryIn] of [0, 0, null].entries())
      await settle(store, await takeOne(store), {kind: 'failed', message: `attempt ${i}`, retryIn})
    const {exceptions} = await logs(store)
    assert.deepEqual(
      exceptions.map(({message}) => message),
      ['attempt 2', 'attempt 1', 'attempt 0'],
    )
    assert.deepEqual(await take(store, 'Work', 1), [])
  },

  'a message is kept whole, in any language and length': async ({store}) => {
    const messages = ['결제 실패 📷\n  at line 3\n', `quotes ' " \\ %`, '', 'long '.repeat(200_000)]
    for (const message of messages) {
      await store.enqueue(newJob())
      await settle(store, await takeOne(store), {kind: 'failed', message, retryIn: null})
      assert.equal((await logs(store)).exceptions[0]!.message, message)
    }
  },

  'a retry behind the last time is due a second before it: at it is what waits for others': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'failed', message: 'x', retryIn: db.maxNumber})
    const job = (await store.find(id))!
    assert.deepEqual([job.state, job.runAfter], ['delayed', db.maxNumber - 1])
  },
}

// ---- died, and leases that ran out too often

export const deaths: Tests = {
  'died: the row is as it was, nothing is logged': async ({db, store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const before = await snapshot(db)
    const result = await settle(store, await takeOne(store), {kind: 'died', how: 'killed'}, SPAN)
    assert.deepEqual(result, {held: true})
    assert.deepEqual(await snapshot(db), before)
  },

  'died too often: it has failed for good, and the exception tells how': async ({db, store, another}) => {
    const {id} = await store.enqueue(newJob('Work', {arg: 'poison', uniqkey: 'k'}))
    const hows = Array.from({length: MAX_DEATHS}, (_, i) => `signal ${i + 1}`)
    for (const [i, how] of hows.entries()) {
      const each = await another() // the count is the database's, not a process's
      const {held, failed} = await settle(each, await takeOne(each), {kind: 'died', how}, SPAN)
      assert.equal(held, true)
      assert.equal(failed !== undefined, i === MAX_DEATHS - 1)
    }
    assert.equal(await store.find(id), null)
    const {exceptions, statuses} = await logs(store)
    assert.equal(exceptions.length, 1)
    for (const how of hows) assert.ok(exceptions[0]!.message.includes(how), exceptions[0]!.message)
    assert.deepEqual(
      statuses.map(({status}) => status),
      ['failed'],
    )
    assert.equal(await countOf(db, 'job'), 0)
  },

  'deaths of one job are not counted for another': async ({store}) => {
    await store.enqueueMany([newJob(), newJob()])
    for (let i = 1; i < MAX_DEATHS; i++) {
      const jobs = await take(store, 'Work', 2)
      assert.equal(jobs.length, 2)
      for (const job of jobs)
        assert.deepEqual(await settle(store, job, {kind: 'died', how: 'x'}), {held: true})
    }
    assert.equal((await take(store, 'Work', 2)).length, 2)
  },

  'deaths are forgotten once the job has ended': async ({store}) => {
    for (let round = 0; round < 2; round++) {
      await store.enqueue(newJob('Work', {uniqkey: 'k'}))
      for (let i = 1; i < MAX_DEATHS; i++) await settle(store, await takeOne(store), {kind: 'died', how: 'x'})
      await settle(store, await takeOne(store), {kind: 'completed'})
    }
    assert.deepEqual(await logs(store), {exceptions: [], statuses: []})
  },

  'a lease that ran out too often buries its job': async ({db, store}) => {
    const {id} = await store.enqueue(newJob('Work', {arg: 'poison', uniqkey: 'k', priority: 7}))
    const next = await store.enqueue(newJob('Work'))
    let turn: Turn | undefined
    for (let i = 0; i < MAX_DEATHS; i++) {
      assert.deepEqual(ids(await take(store, 'Work', 1)), [id])
      await endLeases(db)
      turn = await store.turn([], i === MAX_DEATHS - 1 ? want('Work') : want('Work', 0))
    }
    assert.deepEqual(
      turn!.buried.map(({message, ...job}) => job),
      [{id, func: 'Work', uniqkey: 'k', priority: 7}],
    )
    assert.deepEqual(ids(turn!.jobs), [next.id])
    const {exceptions} = await logs(store)
    assert.deepEqual(
      exceptions.map(({message, arg}) => [message, text(arg)]),
      [[turn!.buried[0]!.message, 'poison']],
    )
  },
}

// ---- replaced

export const replacing: Tests = {
  'the old job goes and the new ones come': async ({db, store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const jobs = [
      newJob('Next', {arg: '1', priority: 3}),
      newJob('Work', {arg: '2', uniqkey: 'k'}), // its own key is free with it
      newJob('Fresh', {arg: BYTES, due: {in: HOUR}}),
    ]
    const old = await takeOne(store)
    const result = await settle(store, old, {kind: 'replaced', jobs, retryIn: null}, SPAN)
    assert.deepEqual(result, {held: true})
    assert.equal(await store.find(old.id), null)
    const listed = await store.list({limit: 10, offset: 0})
    assert.deepEqual(
      listed.map(({func, uniqkey, priority, state}) => [func, uniqkey, priority, state]),
      [
        ['Next', null, 3, 'ready'],
        ['Work', 'k', 0, 'ready'],
        ['Fresh', null, 0, 'delayed'],
      ],
    )
    assertBytes(listed[2]!.arg, BYTES)
    const {exceptions, statuses} = await logs(store)
    assert.deepEqual(exceptions, [])
    await assertStatus(db, statuses, old, 'completed')
  },

  'by nothing is completed': async ({db, store}) => {
    await store.enqueue(newJob())
    await settle(store, await takeOne(store), {kind: 'replaced', jobs: [], retryIn: null})
    assert.equal(await countOf(db, 'job'), 0)
  },

  'refused: no new job is stored, the attempt has failed and is retried': async ({db, store}) => {
    await store.enqueue(newJob('Other', {uniqkey: 'taken'}))
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const jobs = [newJob('New'), newJob('Other', {uniqkey: 'taken'}), newJob('New')]
    const before = await db.now()
    const old = await takeOne(store)
    const result = await settle(store, old, {kind: 'replaced', jobs, retryIn: 300}, SPAN)
    assert.equal(result.held, true)
    assert.match(result.failed!, /taken/)
    const row = (await store.find(old.id))!
    assert.deepEqual([row.retryCnt, row.grabbedUntil, row.state], [1, 0, 'delayed'])
    assertBetween(before + 300, row.runAfter, (await db.now()) + 300)
    assert.equal(await countOf(db, 'job'), 2)
    const {exceptions, statuses} = await logs(store)
    assert.deepEqual(
      exceptions.map(({message}) => message),
      [result.failed],
    )
    await assertStatus(db, statuses, old, 'failed')
  },

  'refused without retries left: the row goes with an exception': async ({db, store}) => {
    await store.enqueue(newJob())
    const jobs = [newJob('Late', {due: {at: db.maxNumber}})]
    const old = await takeOne(store)
    const result = await settle(store, old, {kind: 'replaced', jobs, retryIn: null})
    assert.equal(result.held, true)
    assert.ok(result.failed)
    assert.equal(await countOf(db, 'job'), 0)
    assert.equal((await logs(store)).exceptions.length, 1)
  },

  'refused: the other settlements of the turn and its grab are written': async ({store}) => {
    const [first, , last] = await enqueueAll(store, [newJob(), newJob(), newJob()])
    const next = await store.enqueue(newJob('Next', {uniqkey: 'taken'}))
    const [a, b, c] = (await take(store, 'Work', 3)) as [JobRow, JobRow, JobRow]
    const turn = await store.turn(
      [
        {lease: leaseOf(a), outcome: {kind: 'completed'}},
        {
          lease: leaseOf(b),
          outcome: {
            kind: 'replaced',
            jobs: [newJob('New'), newJob('Next', {uniqkey: 'taken'})],
            retryIn: null,
          },
        },
        {lease: leaseOf(c), outcome: {kind: 'replaced', jobs: [newJob('Newer')], retryIn: null}},
      ],
      want(['Next', 'New', 'Newer'], 5),
    )
    assert.deepEqual(
      turn.settled.map(({held, failed}) => [held, failed === undefined]),
      [
        [true, true],
        [true, false],
        [true, true],
      ],
    )
    assert.deepEqual(
      turn.jobs.map(({func}) => func),
      ['Next', 'Newer'],
    )
    assert.equal(turn.jobs[0]!.id, next.id)
    for (const {id} of [first!, last!]) assert.equal(await store.find(id), null)
  },

  'refused: a function whose row was rolled back is not remembered': async ({store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'taken', due: {in: HOUR}}))
    await store.enqueue(newJob())
    const jobs = [newJob('New'), newJob('Work', {uniqkey: 'taken'})]
    await settle(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null})
    await store.enqueue(newJob('Newer'))
    const {id} = await store.enqueue(newJob('New'))
    assert.equal((await store.find(id))?.func, 'New')
    assert.deepEqual(ids(await take(store, 'New', 5)), [id])
  },
}

// ---- one turn, several things

export const turns: Tests = {
  'several ends and a grab at once, answered in order': async ({db, store}) => {
    await enqueueAll(
      store,
      ['1', '2', '3', '4', '5', '6', '7'].map(arg => newJob('Work', {arg})),
    )
    const jobs = await take(store, 'Work', 5)
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 1 WHERE id = ?', jobs[3]!.id)
    const ends: Outcome[] = [
      {kind: 'completed'},
      {kind: 'failed', message: 'boom', retryIn: HOUR},
      {kind: 'aborted', reason: 'never'},
      {kind: 'completed'}, // lost
      {kind: 'released'},
    ]
    const settlements = jobs.map((job, i) => ({lease: leaseOf(job), outcome: ends[i]!, span: SPAN}))
    const turn = await store.turn(settlements, want('Work', 2))
    assert.deepEqual(
      turn.settled.map(({held}) => held),
      [true, true, true, false, true],
    )
    assert.deepEqual(
      turn.jobs.map(({arg}) => text(arg)),
      ['5', '6'], // what was released is the oldest of those that are ready
    )
    const {exceptions, statuses} = await logs(store)
    assert.deepEqual(
      exceptions.map(({message}) => message),
      ['never', 'boom'],
    )
    assert.deepEqual(
      statuses.map(({status}) => status),
      ['abort', 'failed', 'completed'],
    )
    assert.equal(await countOf(db, 'job'), 5)
  },

  'a turn that only settles': async ({store}) => {
    await store.enqueueMany([newJob(), newJob()])
    const job = await takeOne(store)
    const turn = await store.turn([{lease: leaseOf(job), outcome: {kind: 'completed'}}], want('Work', 0))
    assert.deepEqual([turn.settled, turn.jobs], [[{held: true}], []])
    assert.equal((await store.counts('Work'))[0]?.ready, 1)
  },

  'the same end twice in one turn counts once': async ({db, store}) => {
    await store.enqueue(newJob())
    const lease = leaseOf(await takeOne(store))
    const failed: Settlement = {lease, outcome: {kind: 'failed', message: 'x', retryIn: null}, span: SPAN}
    const {settled} = await store.turn([failed, failed], want('Work', 0))
    assert.deepEqual(settled, [{held: true}, {held: false}])
    assert.deepEqual([await countOf(db, 'exception_log'), await countOf(db, 'job_status')], [1, 1])
    await store.enqueue(newJob())
    const completed = {lease: leaseOf(await takeOne(store)), outcome: {kind: 'completed'}} as const
    const again = await store.turn([completed, completed], want('Work', 0))
    assert.deepEqual(again.settled, [{held: true}, {held: false}])
  },

  'stores that race for the same jobs get each job once, each store in order': async ({store, another}) => {
    const stores = [store, await another()]
    await store.enqueueMany(
      Array.from({length: 500}, (_, i) => newJob(`F${i % 4}`, {priority: i % 5, arg: String(i)})),
    )
    const funcs = ['F0', 'F1', 'F2', 'F3']
    const work = async (each: Store): Promise<JobRow[]> => {
      const done: JobRow[] = []
      let ended: Settlement[] = []
      for (;;) {
        const {jobs, settled} = await each.turn(ended, want(funcs, 7))
        assert.ok(settled.every(({held}) => held))
        if (jobs.length === 0) return done
        done.push(...jobs)
        ended = jobs.map(job => ({lease: leaseOf(job), outcome: {kind: 'completed'}}))
      }
    }
    const taken = await Promise.all(stores.map(work))
    const all = taken.flat()
    assert.equal(all.length, 500)
    assert.equal(new Set(ids(all)).size, 500)
    for (const jobs of taken)
      assert.deepEqual(
        jobs.map(({priority}) => priority),
        jobs.map(({priority}) => priority).sort((a, b) => b - a),
      )
    assert.deepEqual(await store.list({limit: 10, offset: 0}), [])
  },
}

/** One job, from its enqueue to this end. */
async function attempt({db, store}: Bench, outcome: Outcome, span?: Settlement['span']) {
  await store.enqueue(newJob('Work', {arg: BYTES, uniqkey: 'k', priority: 3}))
  const job = await takeOne(store)
  const before = await db.now()
  assert.deepEqual(await settle(store, job, outcome, span), {held: true})
  return {job, before, after: await db.now()}
}

function assertException(
  exception: ExceptionRow,
  job: JobRow,
  message: string,
  [before, after]: [number, number],
  state: ExceptionRow['state'] = 'failed',
): void {
  const {id: _, arg, exceptionTime, ...rest} = exception
  const {id: jobId, funcId, func, uniqkey} = job
  assert.deepEqual(rest, {jobId, funcId, func, uniqkey, message, retried: false, state, tags: {}})
  assertBytes(arg, job.arg!)
  assertBetween(before, exceptionTime, after)
}

async function assertStatus(
  db: TestDatabase,
  statuses: Awaited<ReturnType<Store['statuses']>>,
  job: JobRow,
  status: string,
): Promise<void> {
  assert.equal(statuses.length, 1)
  const {id: _, arg, ...rest} = statuses[0]!
  const {id: jobId, funcId, func, uniqkey} = job
  assert.deepEqual(rest, {
    jobId,
    funcId,
    func,
    uniqkey,
    status,
    jobStartTime: SPAN.start,
    jobEndTime: SPAN.end,
    tags: {},
  })
  assertArg(arg, job.arg ?? db.noStatusArg ?? null, 'the status')
}
