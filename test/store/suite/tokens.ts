/** Tokens: an enqueue that is done again stores nothing twice. */
import assert from 'node:assert/strict'
import {DuplicateJobError, UsageError} from '../../../src/lib/jobs/errors.ts'
import type {NewJob} from '../../../src/lib/jobs/job.ts'
import {countOf, newJob, settle, type Tests, takeOne} from './bench.ts'

const named = (token: string, more: Partial<NewJob> = {}) => newJob('Work', {token, ...more})

export const tokens: Tests = {
  'an enqueue that is done again gives the same id, and stores nothing': async ({db, store, another}) => {
    const first = await store.enqueue(named('a'))
    const again = await store.enqueue(named('a'))
    assert.deepEqual({...again, runAfter: first.runAfter}, first) // a second may have gone by
    const other = await another()
    assert.equal((await other.enqueue(named('a'))).id, first.id)
    assert.equal(await countOf(db, 'job'), 1)
    assert.notEqual((await other.enqueue(named('A'))).id, first.id)
    await store.enqueue(newJob())
    assert.deepEqual([await countOf(db, 'job'), await countOf(db, 'jobq_token')], [3, 2])
  },

  'of another function, argument or uniqkey under it is refused, and stores nothing': async ({db, store}) => {
    const {id} = await store.enqueue(named('a', {arg: '1', uniqkey: 'k'}))
    for (const other of [{func: 'Other'}, {arg: '2'}, {arg: null}, {uniqkey: 'l'}, {uniqkey: null}])
      await assert.rejects(
        store.enqueue(named('a', {arg: '1', uniqkey: 'k', ...other})),
        (error: Error) => error instanceof UsageError && error.message.includes(`as job ${id}, got another`),
      )
    await store.enqueue(named('none', {arg: null}))
    await assert.rejects(store.enqueue(named('none', {arg: ''})), UsageError)
    assert.deepEqual([await countOf(db, 'job'), await countOf(db, 'jobq_token')], [2, 2])
  },

  "an older jobq's token is known, though not what it was for": async ({db, store}) => {
    const {id} = await store.enqueue(named('a'))
    await db.run('UPDATE jobq_token SET jobs = 1')
    assert.equal((await store.enqueue(named('a', {arg: 'other'}))).id, id)
    assert.equal(await countOf(db, 'job'), 1)
  },

  'each character counts, blanks at the end too': async ({db, store}) => {
    const names = ['a', 'a ', 'a  ', 'A', 'ä', 'a\u0308', '\u{1f600}'.repeat(255)]
    const idsOf = async () => {
      const ids: number[] = []
      for (const name of names) ids.push((await store.enqueue(named(name))).id)
      return ids
    }
    const ids = await idsOf()
    assert.equal(await countOf(db, 'job'), names.length)
    assert.deepEqual(await idsOf(), ids)
    assert.equal(new Set(ids).size, names.length)
  },

  'also of a job that has ended, of one with a key, and of one with all that a job may have': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(named('done'))
    await settle(store, await takeOne(store), {kind: 'completed'})
    assert.equal((await store.enqueue(named('done'))).id, id)
    const jobs = [
      named('keyed', {uniqkey: 'k', due: {at: 2_000_000_000}}),
      named('large', {arg: 'x'.repeat(1 << 18)}),
      named('beside', {context: '{"a":"b"}', tracked: true}),
      named('new', {func: 'New', arg: new Uint8Array([0, 255])}),
      named('all', {
        ...{uniqkey: 'l', uniqFor: 60, expires: 60, tags: [['a', '1']], tracked: true, context: '{}'},
      }),
    ]
    const stored = []
    for (const job of jobs) stored.push(await store.enqueue(job))
    const waiting = named('waiting', {after: [{id: stored[0]!.id}]})
    const {id: last} = await store.enqueue(waiting)
    assert.equal((await store.enqueue(waiting)).id, last)
    for (const [i, job] of jobs.entries()) assert.equal((await store.enqueue(job)).id, stored[i]!.id)
    assert.equal(await countOf(db, 'job'), jobs.length + 1)
    assert.equal(await countOf(db, 'jobq_tag'), 1)
  },

  'of several that come together each has its own answer': async ({db, store}) => {
    const {id} = await store.enqueue(named('a'))
    await store.enqueue(newJob('Work', {uniqkey: 'taken'}))
    const calls = [
      named('a'),
      named('b'),
      newJob(),
      named('c', {uniqkey: 'k'}),
      named('d', {uniqkey: 'taken'}),
    ]
    for (const isAgain of [false, true]) {
      const [a, b, none, c, d] = await Promise.allSettled(calls.map(job => store.enqueue(job)))
      for (const each of [a, b, none, c]) assert.equal(each!.status, 'fulfilled')
      assert.equal((a as PromiseFulfilledResult<{id: number}>).value.id, id)
      assert.ok(d!.status === 'rejected' && d!.reason instanceof DuplicateJobError)
      assert.equal(await countOf(db, 'job'), isAgain ? 6 : 5)
    }
    assert.equal(await countOf(db, 'jobq_token'), 3)
  },

  'what is refused leaves none behind': async ({db, store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    await assert.rejects(store.enqueue(named('a', {uniqkey: 'k'})), {code: 'DUPLICATE'})
    assert.equal(await countOf(db, 'jobq_token'), 0)
    await settle(store, await takeOne(store), {kind: 'completed'})
    await store.enqueue(named('a', {uniqkey: 'k'}))
    assert.equal(await countOf(db, 'job'), 1)
  },

  'are forgotten, an hour later, as others come': async ({db, store}) => {
    for (let i = 0; i < 40; i++) await store.enqueue(named(`old ${i}`))
    await db.run('UPDATE jobq_token SET stored_at = stored_at - 3601')
    const many = Array.from({length: 400}, (_, i) => named(`new ${i}`))
    for (let at = 0; at < many.length; at += 80)
      await Promise.all(many.slice(at, at + 80).map(job => store.enqueue(job)))
    const [old] = await db.query(`SELECT count(*) AS n FROM jobq_token WHERE token LIKE 'old%'`)
    assert.equal(Number(old!.n), 0)
    assert.equal(await countOf(db, 'jobq_token'), 400)
  },
}
