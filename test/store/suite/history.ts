/** Whose attempts the rows of the logs are, and a job from its enqueue to its end. */
import assert from 'node:assert/strict'
import type {Outcome} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertBytes,
  BYTES,
  countOf,
  endLeases,
  fail,
  leaseOf,
  logs,
  NOW,
  newJob,
  perlEnqueue,
  SPAN,
  type Tests,
  take,
  takeOne,
  text,
  want,
} from './bench.ts'

const RAN = {start: SPAN.start, host: 'here', pid: 4711}

export const histories: Tests = {
  'a job that is tried twice and given up: its attempts, where each ran, and what has become of it': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(newJob('Work', {arg: BYTES, uniqkey: 'k', priority: 3}))
    assert.deepEqual((await store.history(id))?.attempts, [])
    await attempt(store, {kind: 'failed', message: 'first', retryIn: 0})
    const between = await store.history(id)
    assert.deepEqual([between?.job?.state, between?.job?.retryCnt], ['ready', 1])
    await attempt(store, {kind: 'failed', message: 'second', retryIn: null}, true)
    const {exceptions, statuses} = await logs(store)
    const [second, first] = exceptions
    assert.deepEqual(
      exceptions.map(({jobId, state}) => [jobId, state]),
      [
        [id, 'failed'],
        [id, 'earlier'],
      ],
    )
    assert.deepEqual(
      statuses.map(({jobId}) => jobId),
      [id],
    )
    const history = await store.history(id)
    assert.deepEqual([history?.job, history?.func, history?.uniqkey], [null, 'Work', 'k'])
    assertBytes(history!.arg, BYTES)
    const shared = {
      outcome: 'failed',
      start: SPAN.start,
      host: 'here',
      pid: 4711,
      retriedAs: null,
      output: null,
    }
    const [one, two] = history!.attempts
    assert.deepEqual(one, {
      ...{...shared, nth: 1, isLast: false, exceptionId: first!.id, message: 'first'},
      end: one!.end,
    })
    assert.deepEqual(two, {
      ...{...shared, nth: 2, isLast: true, exceptionId: second!.id, message: 'second'},
      end: SPAN.end,
    })
    assert.ok(one!.end <= (await db.now()))
  },

  'an exception says what has become of its job: it is tried again, has ended otherwise, was retried':
    async ({store}) => {
      const {id} = await store.enqueue(newJob())
      await attempt(store, {kind: 'failed', message: 'no', retryIn: 0})
      const state = async () => (await store.exceptions({limit: 1, offset: 0}))[0]?.state
      assert.equal(await state(), 'retrying')
      assert.deepEqual(await failedAndRetrying(store), [0, 1])
      const taken = await takeOne(store)
      assert.deepEqual([taken.id, await state()], [id, 'retrying'])
      await store.turn([{lease: leaseOf(taken), outcome: {kind: 'completed'}}], want([], 0))
      assert.equal(await state(), 'earlier')
      assert.deepEqual(await failedAndRetrying(store), [0, 0])
      const [given] = await fail(store, newJob())
      assert.deepEqual(await failedAndRetrying(store), [1, 0])
      const again = await store.retry(given!.id, NOW)
      assert.equal(await state(), 'retried')
      assert.deepEqual(await failedAndRetrying(store), [0, 0])
      assert.equal((await store.history(given!.jobId!))?.attempts[0]?.retriedAs, again.id)
    },

  'every end that leaves a row leaves an attempt, in one turn too; what leaves none leaves none': async ({
    db,
    store,
  }) => {
    const ends: [outcome: Outcome, hasStatus: boolean][] = [
      [{kind: 'completed'}, true],
      [{kind: 'completed'}, false],
      [{kind: 'aborted', reason: 'no'}, false],
      [{kind: 'failed', message: 'no', retryIn: 60}, true],
      [{kind: 'failed', message: 'no', retryIn: null}, false],
      [{kind: 'replaced', jobs: [], retryIn: null}, true],
      [{kind: 'released'}, true],
      [{kind: 'replaced', jobs: [], retryIn: null}, false],
    ]
    await store.enqueueMany(ends.map((_, i) => newJob('Work', {arg: String(i)})))
    const jobs = await take(store, 'Work', ends.length)
    const settlements = jobs.map(job => {
      const [outcome, hasStatus] = ends[Number(text(job.arg))]!
      return {lease: leaseOf(job), outcome, ...(hasStatus ? {span: SPAN, ran: RAN} : {})}
    })
    await store.turn(settlements, want([], 0))
    const found = await Promise.all(jobs.map(job => store.history(job.id)))
    const told = found.map(history => history?.attempts.map(({outcome, isLast}) => [outcome, isLast]) ?? null)
    const byArg = new Map(jobs.map((job, i) => [Number(text(job.arg)), told[i]]))
    assert.deepEqual(
      ends.map((_, i) => byArg.get(i)),
      [
        [['completed', true]],
        null,
        [['aborted', true]],
        [['failed', false]],
        [['failed', true]],
        [['replaced', true]],
        [],
        null,
      ],
    )
    const {exceptions, statuses} = await logs(store)
    const argOf = new Map(jobs.map(job => [job.id, text(job.arg)]))
    for (const {jobId, arg} of [...exceptions, ...statuses]) assert.equal(argOf.get(jobId!), text(arg))
    assert.deepEqual([exceptions.length, statuses.length, await countOf(db, 'jobq_attempt')], [3, 3, 5])
  },

  'deaths are among its attempts, and the last one is its end': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    for (let death = 1; death <= 2; death++) {
      await attempt(store, {kind: 'died', how: `killed ${death}`})
      const {attempts} = (await store.history(id))!
      assert.deepEqual(
        attempts.map(({nth, outcome, message}) => [nth, outcome, message]),
        Array.from({length: death}, (_, i) => [i + 1, 'died', `killed ${i + 1}`]),
      )
    }
    await attempt(store, {kind: 'died', how: 'killed 3'})
    const [last, ...more] = (await store.history(id))!.attempts
    assert.deepEqual([last?.outcome, last?.isLast, last?.host, more], ['failed', true, 'here', []])
    assert.match(last!.message, /died 3 times: 1\. killed 1; 2\. killed 2; 3\. killed 3/)
  },

  'a job whose lease ran out once too often is given up by nobody known': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    for (let i = 0; i < 3; i++) {
      await takeOne(store)
      await endLeases(db)
    }
    assert.equal((await store.turn([], want('Work'))).buried.length, 1)
    const [last] = (await store.history(id))!.attempts
    assert.deepEqual([last?.outcome, last?.start, last?.host, last?.pid], ['failed', null, null, null])
  },

  'a Perl job in the queue is shown; one that is unknown is not': async ({db, store}) => {
    const id = await perlEnqueue(db, {func: 'Work'})
    assert.deepEqual([(await store.history(id))?.job?.id, await store.history(id + 1)], [id, null])
  },
}

async function attempt(store: Store, outcome: Outcome, hasStatus = false): Promise<void> {
  const lease = leaseOf(await takeOne(store))
  const [end] = (
    await store.turn([{lease, outcome, ran: RAN, ...(hasStatus ? {span: SPAN} : {})}], want([], 0))
  ).settled
  assert.ok(end?.held)
}

async function failedAndRetrying(store: Store): Promise<number[]> {
  const [counts] = await store.counts('Work')
  return [counts!.failed, counts!.retrying]
}
