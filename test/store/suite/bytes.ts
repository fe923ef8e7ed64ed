/** Arguments and names come back as they were; the schema is made once. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {DuplicateJobError} from '../../../src/lib/jobs/errors.ts'
import type {StoredArg} from '../../../src/lib/jobs/job.ts'
import {
  assertArg,
  assertBytes,
  BYTES,
  fail,
  ids,
  NOW,
  newJob,
  perlEnqueue,
  SPAN,
  settle,
  snapshot,
  type Tests,
  take,
  takeOne,
} from './bench.ts'

const ARGUMENTS: ReadonlyArray<[string, StoredArg]> = [
  ['JSON', '{"to":"하니아빠","text":"사진이 올라왔어요 📷"}'],
  ['empty text', ''],
  ['text with a NUL', 'a\0b'],
  ['null', null],
  ['bytes', BYTES],
  ['no bytes', new Uint8Array()],
  ['a megabyte', randomBytes(1 << 20)],
]

const NASTY_NAMES = [
  'MyApp::Worker::알림',
  '사진 📷 축소',
  `o'clock "quoted" \`ticked\` \\ %like_ ; --`,
  'two\nlines\tand a tab',
  'x'.repeat(255),
  '한'.repeat(255),
]

// ---- arguments and names

export const args: Tests = {
  'come back byte for byte: enqueued, taken, failed, retried, taken, completed': async ({db, store}) => {
    for (const [what, arg] of ARGUMENTS) {
      const func = `Arg ${what}`
      const {id} = await store.enqueue(newJob(func, {arg}))
      assertArg((await store.find(id))!.arg, arg, `${what} found`)
      const job = await takeOne(store, [func])
      assertArg(job.arg, arg, `${what} taken`)
      await settle(store, job, {kind: 'failed', message: 'x', retryIn: null}, SPAN)
      const [exception] = await store.exceptions({func, limit: 1, offset: 0})
      assertArg(exception!.arg, arg, `${what} in its exception`)
      await store.retry(exception!.id, NOW)
      const again = await takeOne(store, [func])
      assertArg(again.arg, arg, `${what} retried`)
      await settle(store, again, {kind: 'completed'}, SPAN)
      for (const status of await store.statuses({func, limit: 2, offset: 0}))
        assertArg(status.arg, arg ?? db.noStatusArg ?? null, `${what} in its status`)
    }
  },

  'in bulk and in replacements, too': async ({store}) => {
    for (const [what, arg] of ARGUMENTS) {
      await store.enqueueMany([newJob('First', {arg})])
      const first = await takeOne(store, ['First'])
      assertArg(first.arg, arg, `${what} in bulk`)
      const outcome = {kind: 'replaced', jobs: [newJob('Second', {arg})], retryIn: null} as const
      await settle(store, first, outcome)
      assertArg((await takeOne(store, ['Second'])).arg, arg, `${what} as a replacement`)
    }
  },

  "Perl's bytes come as they are, and nothing stays nothing": async ({db, store}) => {
    await perlEnqueue(db, {func: 'Perl', arg: BYTES})
    await perlEnqueue(db, {func: 'Perl', arg: null})
    const [bytes, nothing] = await take(store, 'Perl', 2)
    assertBytes(bytes!.arg, BYTES)
    assert.equal(nothing!.arg, null)
  },

  'functions and keys may be any text': async ({store}) => {
    for (const name of NASTY_NAMES) {
      const {id} = await store.enqueue(newJob(name, {uniqkey: name}))
      await assert.rejects(
        store.enqueue(newJob(name, {uniqkey: name})),
        error => error instanceof DuplicateJobError && error.existingId === id,
      )
      assert.deepEqual(ids(await store.list({func: name, uniqkey: name, limit: 5, offset: 0})), [id])
      const job = await takeOne(store, [name])
      assert.deepEqual([job.id, job.func, job.uniqkey], [id, name, name])
      await settle(store, job, {kind: 'failed', message: 'x', retryIn: null}, SPAN)
      const [exception] = await store.exceptions({func: name, limit: 5, offset: 0})
      const [status] = await store.statuses({func: name, limit: 5, offset: 0})
      for (const row of [exception, status]) assert.deepEqual([row?.func, row?.uniqkey], [name, name])
      assert.equal((await store.counts(name))[0]?.failed, 1)
    }
    assert.deepEqual((await store.funcs()).sort(), [...NASTY_NAMES].sort())
  },
}

// ---- init

export const preparing: Tests = {
  'init can be repeated, and leaves the jobs alone': async ({db, store}) => {
    await fail(store, newJob('Work', {arg: BYTES}))
    await store.enqueue(newJob('Work', {arg: BYTES, uniqkey: 'k'}))
    const before = await snapshot(db)
    await store.init()
    await store.init()
    assert.deepEqual(await snapshot(db), before)
  },

  'a second store finds everything prepared': async ({another, store}) => {
    const {id} = await store.enqueue(newJob())
    assert.deepEqual(ids(await take(await another(), 'Work', 1)), [id])
  },
}
