/** What an attempt has written is kept with it, as far as it is to be, and leaves with it. */
import assert from 'node:assert/strict'
import type {JobRow, Outcome, Output} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertBytes,
  BYTES,
  countOf,
  endLeases,
  leaseOf,
  logs,
  newJob,
  SPAN,
  type TestDatabase,
  type Tests,
  take,
  takeOne,
  text,
  want,
} from './bench.ts'

const RAN = {start: SPAN.start, host: 'here', pid: 4711}
const FAILED: Outcome = {kind: 'failed', message: 'no', retryIn: null}

export const outputs: Tests = {
  'its bytes are those of the attempt that wrote them, whether it was cut, too': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    await end(store, await takeOne(store), {...FAILED, retryIn: 0}, written(BYTES))
    await end(store, await takeOne(store), {...FAILED, retryIn: 0})
    await end(store, await takeOne(store), FAILED, {...written('second\n'), isCut: true})
    const {attempts} = (await store.history(id))!
    assert.deepEqual(
      attempts.map(({output}) => output && [output.bytes, output.isCut]),
      [[BYTES.length, false], null, [7, true]],
    )
    assertBytes((await store.output(attempts[0]!.output!.id))!, BYTES)
    assert.equal(text(await store.output(attempts[2]!.output!.id)), 'second\n')
    assert.equal(await store.output(attempts[2]!.output!.id + 1), null)
    assert.deepEqual([await countOf(db, 'jobq_output'), await countOf(db, 'jobq_attempt')], [2, 3])
  },

  'as the end is: of those that are done only where all is kept, of a released one never; in one turn, too':
    async ({db, store}) => {
      const ends: [outcome: Outcome, isOfAny: boolean, hasStatus: boolean, kept: string | null][] = [
        [{kind: 'completed'}, false, false, null],
        [{kind: 'completed'}, true, false, 'completed'],
        [{kind: 'completed'}, true, true, 'completed'],
        [{kind: 'replaced', jobs: [], retryIn: null}, false, true, null],
        [{kind: 'replaced', jobs: [], retryIn: null}, true, false, 'replaced'],
        [{kind: 'aborted', reason: 'no'}, false, false, 'aborted'],
        [FAILED, false, true, 'failed'],
        [{kind: 'released'}, true, false, null],
        [{kind: 'died', how: 'killed'}, false, false, 'died'],
        [{kind: 'died', how: 'killed'}, true, true, 'died'],
      ]
      await store.enqueueMany(ends.map((_, i) => newJob('Work', {arg: String(i)})))
      const jobs = await take(store, 'Work', ends.length)
      const nth = (job: JobRow) => Number(text(job.arg))
      const settlements = jobs.map(job => {
        const [outcome, isOfAny, hasStatus] = ends[nth(job)]!
        const output = {...written(`of ${nth(job)}`), isOfAny}
        return {lease: leaseOf(job), outcome, ran: RAN, output, ...(hasStatus ? {span: SPAN} : {})}
      })
      const {settled} = await store.turn(settlements, want([], 0))
      assert.ok(settled.every(({held}) => held))
      for (const job of jobs) {
        const last = (await store.history(job.id))?.attempts.at(-1)
        const kept = ends[nth(job)]![3]
        const found = last?.output ? text(await store.output(last.output.id)) : null
        assert.deepEqual(
          [last?.output ? last.outcome : null, found],
          kept ? [kept, `of ${nth(job)}`] : [null, null],
        )
        if (last?.output) assert.deepEqual([last.host, last.pid], [RAN.host, RAN.pid])
      }
      assert.equal(await countOf(db, 'jobq_output'), 7)
    },

  'of a job that has replaced itself by what is refused: as of one that has failed': async ({store}) => {
    await store.enqueue(newJob('Other', {uniqkey: 'taken'}))
    const {id} = await store.enqueue(newJob())
    const jobs = [newJob('Other', {uniqkey: 'taken'})]
    await end(store, await takeOne(store), {kind: 'replaced', jobs, retryIn: null}, written('tried\n'))
    const [attempt] = (await store.history(id))!.attempts
    assert.deepEqual([attempt?.outcome, text(await store.output(attempt!.output!.id))], ['failed', 'tried\n'])
  },

  'of each death there is one attempt, with what it wrote; of the last, which is the end, too': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(newJob())
    await end(store, await takeOne(store), {kind: 'died', how: 'first'}, written('1'))
    await end(store, await takeOne(store), {kind: 'died', how: 'second'})
    const told = async () =>
      (await store.history(id))!.attempts.map(({nth, outcome, isLast, message, output}) => {
        return [nth, outcome, isLast, message.split(':')[0], output?.bytes ?? null]
      })
    assert.deepEqual(await told(), [
      [1, 'died', false, 'first', 1],
      [2, 'died', false, 'second', null],
    ])
    await end(store, await takeOne(store), {kind: 'died', how: 'third'}, written('123'))
    assert.deepEqual(await told(), [
      [1, 'died', false, '', 1],
      [2, 'failed', true, 'its worker died 3 times', 3],
    ])
    const {exceptions} = await logs(store)
    assert.deepEqual([exceptions.length, await countOf(db, 'jobq_death')], [1, 0])
  },

  'a job that someone else has taken meanwhile gets none': async ({db, store}) => {
    await store.enqueue(newJob())
    const lost = await takeOne(store)
    await endLeases(db)
    const {jobs} = await store.turn([], {...want('Work'), lease: 90}) // within a second, another lease is told by its length
    assert.equal(jobs.length, 1)
    for (const outcome of [FAILED, {kind: 'completed'}, {kind: 'died', how: 'x'}] as const) {
      const output = {...written('lost'), isOfAny: true}
      const {settled} = await store.turn([{lease: leaseOf(lost), outcome, ran: RAN, output}], want([], 0))
      assert.equal(settled[0]!.held, false)
    }
    assert.deepEqual([await countOf(db, 'jobq_output'), await countOf(db, 'jobq_attempt')], [0, 0])
  },

  'a job that was done without a status is known by its output, with the argument of an attempt that failed':
    async ({store}) => {
      const {id} = await store.enqueue(newJob('Work', {arg: 'x', uniqkey: 'k'}))
      await end(store, await takeOne(store), {...FAILED, retryIn: 0})
      await end(store, await takeOne(store), {kind: 'completed'}, {...written('done'), isOfAny: true})
      const history = (await store.history(id))!
      assert.deepEqual([history.job, text(history.arg), history.uniqkey], [null, 'x', 'k'])
      assert.deepEqual(
        history.attempts.map(({outcome, isLast}) => [outcome, isLast]),
        [
          ['failed', false],
          ['completed', true],
        ],
      )
    },

  'as much as is kept at all': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    const most = new Uint8Array(1 << 20).map((_, i) => i % 251)
    await end(store, await takeOne(store), FAILED, written(most))
    const [attempt] = (await store.history(id))!.attempts
    assertBytes((await store.output(attempt!.output!.id))!, most)
  },

  'leaves with its attempt; of one that has left nothing else, when that is old': async ({db, store}) => {
    const ofAny = {...written('x'), isOfAny: true}
    for (const func of ['Work', 'Other']) {
      await store.enqueueMany(Array.from({length: 4}, () => newJob(func)))
      const [failed, done, kept, dead] = await take(store, func, 4)
      await end(store, failed!, FAILED, ofAny)
      await end(store, done!, {kind: 'completed'}, ofAny, true)
      await end(store, kept!, {kind: 'completed'}, ofAny)
      await end(store, dead!, {kind: 'died', how: 'x'}, ofAny)
    }
    const left = async () => [await countOf(db, 'jobq_output'), await countOf(db, 'jobq_attempt')]
    assert.deepEqual(await left(), [8, 8])
    assert.equal(await pruned(store, 'exception_log', 3600), 0)
    await age(db)
    assert.equal(await pruned(store, 'exception_log', 3600, 'Work', true), 2)
    assert.equal(await pruned(store, 'exception_log', 3600, 'Work'), 2)
    assert.deepEqual(await left(), [6, 6])
    assert.equal(await pruned(store, 'job_status', 3600, 'Other'), 2)
    assert.deepEqual(await left(), [4, 4])
    assert.equal(await pruned(store, 'exception_log', 3600), 2)
    assert.equal(await pruned(store, 'job_status', 3600), 2)
    assert.deepEqual(await left(), [0, 0])
  },
}

function written(what: string | Uint8Array): Output {
  return {bytes: typeof what === 'string' ? Buffer.from(what) : what, isCut: false, isOfAny: false}
}

async function end(
  store: Store,
  job: JobRow,
  outcome: Outcome,
  output?: Output,
  hasStatus = false,
): Promise<void> {
  const settlement = {lease: leaseOf(job), outcome, ran: RAN, output, ...(hasStatus ? {span: SPAN} : {})}
  const {settled} = await store.turn([settlement], want([], 0))
  assert.ok(settled[0]!.held)
}

async function pruned(
  store: Store,
  table: 'exception_log' | 'job_status',
  ago: number,
  func?: string,
  dryRun = false,
): Promise<number> {
  let sum = 0
  for await (const some of store.prune(table, {ago, func}, dryRun)) sum += some
  return sum
}

async function age(db: TestDatabase): Promise<void> {
  await db.run('UPDATE exception_log SET exception_time = exception_time - 86400')
  await db.run('UPDATE job_status SET job_end_time = job_end_time - 86400')
  await db.run('UPDATE jobq_attempt SET ended_at = ended_at - 86400')
}
