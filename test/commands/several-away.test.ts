/** Commands on several databases, of which one is out of reach: what is in the others is shown, and done, and told. */
import assert from 'node:assert/strict'
import {type TestContext, test} from 'node:test'
import {Workplace} from '../support/workplace.ts'

/** Nobody listens on this port: it needs more rights than anyone gives. */
const AWAY = 'mysql://root@127.0.0.1:1/x'
const OUT = /^jobq: database 2 is out of reach: can't reach mysql:\/\/root@127\.0\.0\.1:1\/x /

async function place(t: TestContext) {
  const site = new Workplace(t, {Ok: '#!/bin/sh\nexit 0', Fails: '#!/bin/sh\nexit 1'})
  await site.enqueue(['Fails'])
  await site.drain()
  const run = (...words: string[]) => site.run([...words, '--db', site.db, '--db', AWAY])
  return {site, run}
}

test('listings show what there is, and end with 1; nobody is back', async t => {
  const {site, run} = await place(t)
  await site.enqueue(['Ok'])
  for (const words of [['list'], ['list', '--failed'], ['list', '--json'], ['retry', '--all', '--dry-run']]) {
    const {code, stdout, stderr} = await run(...words)
    assert.equal(code, 1, words.join(' '))
    assert.match(stdout, /\b1:\d\b/, words.join(' '))
    assert.match(stderr, OUT)
    assert.doesNotMatch(stderr, /is back/)
  }
  const check = await run('check')
  assert.equal(check.code, 3)
  assert.match(check.stdout, /^JOBQ UNKNOWN - database 2 is out of reach/)
})

test('what was cancelled, edited or retried in one is told, and the others of it are done', async t => {
  const {site, run} = await place(t)
  const [one, other] = await site.enqueue(['Ok'], ['Ok'])
  const edited = await run('edit', '2:1', `1:${one}`, '--priority', '3', '--json')
  assert.deepEqual([edited.code, JSON.parse(edited.stdout)[0].priority], [1, 3])
  assert.match(edited.stderr, /\njobq: job 2:1: can't reach [^\n]+\n$/)
  const cancelled = await run('cancel', '2:1', `1:${other}`, '--json')
  assert.deepEqual([cancelled.code, JSON.parse(cancelled.stdout)[0].result], [1, 'cancelled'])
  assert.match(cancelled.stderr, /\njobq: job 2:1: can't reach [^\n]+\n$/)
  const retried = await run('retry', '2:1', '1:1', '--json')
  const document = JSON.parse(retried.stdout)
  assert.equal(retried.code, 1)
  assert.deepEqual([document.retried[0].exception_id, document.refused[0].code], ['1:1', 'UNREACHABLE'])
  assert.deepEqual(site.column('SELECT priority FROM job ORDER BY id'), [3, 0])
})

test('what ended in one is known, and rows of it are pruned', async t => {
  const {site, run} = await place(t)
  const waited = await run('wait', '1:1', '2:1', '--json', '--timeout', '20')
  const {ended, refused} = JSON.parse(waited.stdout)
  assert.deepEqual([ended.length, refused.length, refused[0].id], [1, 1, '2:1'])
  site.rows('UPDATE exception_log SET exception_time = 1')
  const words = ['prune', '--json', '--db', AWAY, '--db', site.db]
  const {code, stdout} = await site.run(words)
  assert.deepEqual([code, JSON.parse(stdout).failed], [1, 1])
})

test('a drain that has not seen all ends with 1', async t => {
  const {site, run} = await place(t)
  await site.enqueue(['Ok'])
  const {code, stdout, stderr} = await run('work', '--drain')
  assert.equal(code, 1)
  assert.match(stdout, /^1 completed in/)
  assert.match(stderr, /\njobq: not all is worked: can't reach [^\n]+\n$/)
})
