/** `jobq enqueue --after` as a person and a script call it. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {assertRefused, usage} from '../support/refusal.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const OK = '#!/bin/sh\nexit 0'
const BAD = '#!/bin/sh\necho "no such file" >&2\nexit 1'

describe('enqueue --after', () => {
  test('works what waits when all before it are done, and not before', async t => {
    const site = new Workplace(t, {Ok: OK})
    await site.enqueue(['Ok'], ['Ok'])
    assert.deepEqual(await site.run(['enqueue', 'Ok', '--priority', '9', '--after', '1,2']), printed(3))
    assert.deepEqual(
      (await site.run(['list', '--state', 'waiting'])).stdout,
      '3\tOk\twaiting\t9\t4294967295\t0\t\\N\tnull\n',
    )
    const shown = JSON.parse((await site.run(['show', '3', '--json'])).stdout)
    assert.deepEqual(
      [shown.state, shown.after],
      [
        'waiting',
        [
          {job_id: 1, any_end: false},
          {job_id: 2, any_end: false},
        ],
      ],
    )
    assert.match((await site.run(['show', '3'])).stdout, /^state +waiting\n[\s\S]*^after +1, 2$/m)
    const stats = JSON.parse((await site.run(['stats', '--json'])).stdout)
    assert.deepEqual([stats.total.ready, stats.total.waiting], [2, 1])
    assert.match(
      (await site.run(['stats', '--prometheus'])).stdout,
      /jobq_jobs\{func="Ok",state="waiting"\} 1/,
    )
    const {code, stderr} = await site.drain()
    assert.equal(code, 0)
    assert.deepEqual(
      [...stderr.matchAll(/ (\d) Ok completed/g)].map(([, id]) => id),
      ['1', '2', '3'],
    )
  })

  test('what has failed fails what waits for it, down the chain; --after-end goes on', async t => {
    const site = new Workplace(t, {Ok: OK, Bad: BAD})
    await site.enqueue(['Bad'])
    for (const words of [
      ['--after', '1'],
      ['--after', '2'],
      ['--after-end', '3'],
    ])
      await site.run(['enqueue', 'Ok', ...words])
    const {code, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stderr, /3 Ok failed .* job 2 failed: job 1 failed: exited with status 1\n/)
    assert.deepEqual(site.messages().slice(1), [
      'job 1 failed: exited with status 1',
      'job 2 failed: job 1 failed: exited with status 1',
    ])
    assert.equal(site.count('job'), 0)
    assert.match((await site.run(['show', '3'])).stdout, /^state +failed$/m)
    const refused = await site.run(['enqueue', 'Ok', '--after', '1', '--json'])
    assert.deepEqual([refused.code, JSON.parse(refused.stdout).error.code], [3, 'AFTER_FAILED'])
    assert.deepEqual(await site.run(['enqueue', 'Ok', '--after-end', '1']), printed(5))
  })

  test('a cancelled one fails what waits for it, without anyone who works', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'])
    await site.run(['enqueue', 'B', '--after', '1'])
    const waiter = site.start(['wait', '2'])
    await until('it is waited for', () => site.column('SELECT job_id FROM jobq_wait').length === 1)
    assert.deepEqual(await site.run(['cancel', '1']), printed('1\tA\tcancelled'))
    assert.deepEqual((await waiter.exited).stdout, '2\tfailed\tjob 1 aborted: cancelled\n')
    assert.equal(site.count('job'), 0)
  })

  test('a batch: lines wait for lines before them', async t => {
    const site = new Workplace(t, {Ok: OK})
    const batch = [
      {func: 'Ok', priority: 1},
      {func: 'Ok', priority: 2, after: ['#1']},
      {func: 'Ok', priority: 3, after: ['#1', '#2'], after_end: ['#1']},
    ]
    const input = batch.map(job => JSON.stringify(job)).join('\n')
    assert.deepEqual(await site.run(['enqueue', '--batch', '-'], {input}), printed(3))
    const {stderr} = await site.drain()
    assert.deepEqual(
      [...stderr.matchAll(/ (\d) Ok completed/g)].map(([, id]) => id),
      ['1', '2', '3'],
    )
  })

  const lines: [what: string, line: object, code: number, says: RegExp][] = [
    ['a later line', {func: 'F', after: ['#3']}, 2, /^jobq: line 2: after: expected an earlier job, got #3 /],
    ['itself', {func: 'F', after: ['#2']}, 2, /^jobq: line 2: after: expected an earlier job, got #2 /],
    ['no array', {func: 'F', after: '#1'}, 2, /^jobq: line 2: after: expected an array of ids, got "#1" /],
    ['no id', {func: 'F', after: ['x']}, 2, /^jobq: line 2: after: expected .*"x"/],
    ['a fraction', {func: 'F', after_end: [1.5]}, 2, /^jobq: line 2: after_end: expected a whole number/],
    ['an unknown id', {func: 'F', after: [99]}, 4, /^jobq: line 2: after: no job 99 /],
    [
      'an id of a database that is not there',
      {func: 'F', after: ['9:1']},
      4,
      /^jobq: line 2: no database 9 /,
    ],
  ]
  for (const [what, line, code, says] of lines)
    test(`a batch that waits for ${what}: nothing is stored`, async t => {
      const site = new Workplace(t)
      const input = [{func: 'F'}, line, {func: 'F'}].map(each => JSON.stringify(each)).join('\n')
      const ended = await site.run(['enqueue', '--batch', '-'], {input})
      assert.equal(ended.code, code)
      assert.match(ended.stderr, says)
      assert.equal(site.count('job'), 0)
    })

  for (const [what, words, says] of [
    ['no id', ['F', '--after', 'x'], ['--after: expected a whole number', '"x"']],
    ['a batch', ['--batch', '-', '--after', '1'], ['--after: expected none with --batch']],
  ] as const)
    test(`${what}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', '--db', 'jobs.db', ...words], usage(...says))
    })

  test('two databases: it goes where the other is; one of each is refused', async t => {
    const site = new Workplace(t, {Ok: OK})
    const both = ['--db', site.path('a.db'), '--db', site.path('b.db')]
    const input = '{"func":"Ok"}\n'
    for (const db of ['a.db', 'b.db'])
      await site.run(['enqueue', '--batch', '-', '--db', site.path(db)], {input})
    assert.deepEqual(await site.run(['enqueue', 'Ok', ...both, '--after', '2:1']), printed('2:2'))
    const {code, stderr} = await site.run(['enqueue', 'Ok', ...both, '--after', '1:1,2:1'])
    assert.deepEqual(
      [code, stderr],
      [
        2,
        'jobq: after: expected jobs of one database, 1, got 2:1 (a job can wait only for jobs of the database that it is in)\n',
      ],
    )
    const drained = await site.drain(...both)
    assert.deepEqual([...drained.stderr.matchAll(/ (\d:\d) Ok completed/g)].map(([, id]) => id).at(-1), '2:2')
  })

  test('copied are only those that wait for none', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'])
    await site.run(['enqueue', 'B', '--after', '1'])
    const {code, stdout, stderr} = await site.run(['copy', '--to', site.path('other.db')])
    assert.deepEqual([code, stdout, stderr], [0, '1\n', 'jobq: waiting for others, and not copied: 1\n'])
  })

  test('edited, it goes on waiting', async t => {
    const site = new Workplace(t, {Ok: OK})
    await site.enqueue(['Ok'])
    await site.run(['enqueue', 'Ok', '--after', '1'])
    assert.equal((await site.run(['edit', '2', '--delay', '1h', '--priority', '7'])).code, 0)
    assert.equal((await site.drain()).code, 0)
    assert.match((await site.run(['list'])).stdout, /^2\tOk\tdelayed\t7\t/)
  })
})
