/** What the workers of jobs returned: written with the end of the job, there until its time is over. */
import assert from 'node:assert/strict'
import type {Settlement} from '../../../src/lib/jobs/job.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {countOf, HOUR, newJob, SPAN, type TestDatabase, type Tests, takeOne, want} from './bench.ts'

const RESULT = {json: '{"pages":3,"title":"Bäume \\u0000"}', seconds: HOUR}
const COMPLETED = {kind: 'completed', result: RESULT.json} as const

/** Time passes. */
const passes = (db: TestDatabase) => db.run('UPDATE jobq_result SET kept_until = kept_until - ?', HOUR + 5)

/** A job of Work that has ended. @returns its id, and whether its end was written */
async function ended(store: Store, more: Partial<Settlement>, tracked = false) {
  await store.enqueue(newJob('Work', {tracked}))
  const {id, grabbedUntil} = await takeOne(store)
  const {settled} = await store.turn(
    [{lease: {id, grabbedUntil}, outcome: COMPLETED, ...more}],
    want('Work', 0),
  )
  return {id, held: settled[0]!.held}
}

export const results: Tests = {
  'is there with the end of its job, for who waits and who asks': async ({db, store, another}) => {
    const before = await db.now()
    const {id, held} = await ended(store, {result: RESULT}, true)
    assert.equal(held, true)
    const other = await another()
    const end = {id, outcome: 'completed', message: '', json: RESULT.json}
    for (const each of [store, other]) assert.deepEqual(await each.ends([{id}]), [end])
    const {keptUntil, ...result} = (await store.result(id))!
    assert.deepEqual(result, {func: 'Work', json: RESULT.json})
    assert.ok(keptUntil >= before + HOUR && keptUntil <= before + HOUR + 60, String(keptUntil))
  },

  'of a job whose end nobody tracked says that it has completed': async ({store}) => {
    const {id} = await ended(store, {result: RESULT})
    const none = await ended(store, {outcome: {kind: 'completed'}})
    assert.deepEqual(await store.ends([{id}, {id: none.id}]), [
      {id, outcome: 'completed', message: '', json: RESULT.json},
      {id: none.id, outcome: 'gone', message: ''},
    ])
    assert.equal(await store.result(none.id), null)
  },

  'goes with a status and an output, with ends of every other kind, and with a grab': async ({store}) => {
    await store.enqueueMany(Array.from({length: 5}, () => newJob()))
    const {jobs} = await store.turn([], want('Work', 4))
    const output = {bytes: Buffer.from('x\n'), isCut: false, isOfAny: true}
    const [a, b, c, d] = jobs.map(({id, grabbedUntil}) => ({id, grabbedUntil}))
    const turn = await store.turn(
      [
        {lease: a!, outcome: COMPLETED, result: RESULT, span: SPAN, output},
        {lease: b!, outcome: {kind: 'failed', message: 'x', retryIn: null}},
        {lease: c!, outcome: {kind: 'completed'}},
        {lease: d!, outcome: COMPLETED, result: {json: '2', seconds: HOUR}},
      ],
      want('Work', 1),
    )
    assert.deepEqual(
      turn.settled.map(({held}) => held),
      [true, true, true, true],
    )
    assert.equal(turn.jobs.length, 1)
    const found = []
    for (const {id} of jobs) found.push((await store.result(id))?.json)
    assert.deepEqual(found, [RESULT.json, undefined, undefined, '2'])
    const [attempt] = (await store.history(a!.id))!.attempts
    assert.deepEqual([attempt!.outcome, attempt!.output?.bytes], ['completed', 2])
  },

  'of who has lost the job is not written': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    const {grabbedUntil} = await takeOne(store)
    await db.run('UPDATE job SET grabbed_until = grabbed_until + 7')
    const settlement = {lease: {id, grabbedUntil}, outcome: COMPLETED, result: RESULT}
    const {settled} = await store.turn([settlement], want('Work', 0))
    assert.deepEqual([settled[0]!.held, await store.result(id)], [false, null])
    assert.equal(await countOf(db, 'jobq_result'), 0)
  },

  'is not there any more when its time is over, and is taken away then': async ({db, store}) => {
    const {id} = await ended(store, {result: RESULT})
    const later = await ended(store, {result: {...RESULT, seconds: 9 * HOUR}})
    assert.equal((await store.beside()).hasOldResults, false)
    await passes(db)
    assert.equal((await store.beside()).hasOldResults, true)
    assert.equal(await store.result(id), null)
    assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'gone', message: ''}])
    assert.equal(await store.sweepResults(), false)
    assert.equal((await store.beside()).hasOldResults, false)
    assert.equal(await countOf(db, 'jobq_result'), 1)
    assert.equal((await store.result(later.id))!.json, RESULT.json)
  },
}
