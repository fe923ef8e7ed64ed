/** `jobq prune` as a cron job calls it. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {Workplace} from '../support/workplace.ts'

const BAD = '#!/bin/sh\n# jobq: set-job-status\nexit 3'

describe('prune', () => {
  async function site(t: TestContext): Promise<Workplace> {
    const site = new Workplace(t, {Bad: BAD})
    for (let i = 0; i < 3; i++) await site.enqueue(['Bad'])
    await site.drain()
    site.rows('UPDATE exception_log SET exception_time = exception_time - 40 * 86400 WHERE id < 3')
    site.rows('UPDATE job_status SET job_end_time = job_end_time - 5 * 86400 WHERE id = 1')
    return site
  }

  test('30 days, failed and finished; then there is nothing left', async t => {
    const place = await site(t)
    const {code, stdout, stderr} = await place.run(['prune'])
    assert.deepEqual([code, stdout, stderr], [0, 'failed\t2\nfinished\t0\n', ''])
    assert.equal(place.rows('SELECT * FROM exception_log').length, 1)
    assert.equal((await place.run(['prune'])).stdout, 'failed\t0\nfinished\t0\n')
  })

  test('a dry run deletes nothing; --finished, --older-than, --func, --json', async t => {
    const place = await site(t)
    const words = ['prune', '--finished', '--older-than', '4d', '--func', 'Bad', '--json']
    const dry = await place.run([...words, '--dry-run'])
    assert.deepEqual([dry.code, JSON.parse(dry.stdout)], [0, {failed: 0, finished: 1}])
    assert.equal(place.rows('SELECT * FROM job_status').length, 3)
    const done = await place.run(words)
    assert.deepEqual(JSON.parse(done.stdout), {failed: 0, finished: 1})
    assert.equal(place.rows('SELECT * FROM job_status').length, 2)
    assert.equal(place.rows('SELECT * FROM exception_log').length, 3)
    assert.equal((await place.run(['prune', '--failed', '--older-than', '4d'])).stdout, 'failed\t2\n')
  })

  test('what can not be meant', async t => {
    const place = await site(t)
    for (const [words, code, says] of [
      [['--older-than', 'long'], 2, /--older-than: expected a duration/],
      [['--func', 'Nope'], 4, /no job of "Nope" was ever enqueued here/],
      [['7'], 2, /7/],
    ] as const) {
      const ended = await place.run(['prune', ...words])
      assert.deepEqual([ended.code, ended.stdout], [code, ''])
      assert.match(ended.stderr, says)
      assert.match(ended.stderr, /^jobq: [^\n]*\n$/)
    }
    assert.equal(place.rows('SELECT * FROM exception_log').length, 3)
  })
})
