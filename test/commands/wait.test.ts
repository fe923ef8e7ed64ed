/** `jobq wait` as a script calls it: real processes that enqueue, work and wait. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const FINE = '#!/bin/sh\nexit 0'
const BAD = '#!/bin/sh\necho no good >&2; exit 1'
const ENDS = '#!/bin/sh\nexit 100'

describe('wait', () => {
  const outcomes = [
    ['Fine', 0, /^1\tcompleted\t\n$/],
    ['Bad', 5, /^1\tfailed\texited with status 1.*no good\n$/],
    ['Ends', 5, /^1\taborted\t.*\n$/],
  ] as const
  for (const [func, code, line] of outcomes)
    test(`for a job that ends meanwhile: ${func}`, async t => {
      const site = new Workplace(t, {Fine: FINE, Bad: BAD, Ends: ENDS})
      await site.enqueue([func])
      const waiting = site.run(['wait', '1'])
      await until('it waits', () => site.rows('SELECT * FROM jobq_wait').length === 1)
      await site.drain()
      const ended = await waiting
      assert.match(ended.stdout, line)
      assert.deepEqual([ended.code, ended.stderr], [code, ''])
    })

  test('several wait for one job: each hears how it has ended', async t => {
    const site = new Workplace(t, {Fine: FINE})
    await site.enqueue(['Fine'])
    const waiting = Array.from({length: 4}, () => site.run(['wait', '1']))
    await until('one waits', () => site.rows('SELECT * FROM jobq_wait').length === 1)
    await site.drain()
    for (const {code, stdout, stderr} of await Promise.all(waiting))
      assert.deepEqual([code, stdout, stderr], [0, '1\tcompleted\t\n', ''])
  })

  test('for one that has ended: with --tracked it is known, for a while; without, exit 4', async t => {
    const site = new Workplace(t, {Fine: FINE})
    assert.equal((await site.run(['enqueue', 'Fine', '--tracked'])).stdout, '1\n')
    assert.equal((await site.run(['enqueue', 'Fine'])).stdout, '2\n')
    await site.drain()
    for (let i = 0; i < 2; i++) {
      const {code, stdout} = await site.run(['wait', '1'])
      assert.deepEqual([code, stdout], [0, '1\tcompleted\t\n'])
    }
    site.rows('DELETE FROM jobq_wait RETURNING job_id') // as it is swept
    for (const id of ['1', '2', '3']) {
      const {code, stdout, stderr} = await site.run(['wait', id])
      assert.deepEqual([code, stdout], [4, ''])
      assert.match(stderr, new RegExp(`^jobq: job ${id} is not in the queue, and how it ended was not kept`))
    }
  })

  test('by DB:ID, where there is one database', async t => {
    const site = new Workplace(t, {Fine: FINE})
    await site.run(['enqueue', 'Fine', '--tracked'])
    await site.drain()
    const {code, stdout} = await site.run(['wait', '1:1'])
    assert.deepEqual([code, stdout], [0, '1\tcompleted\t\n'])
    const refused = [
      ['1:77', /^jobq: job 77 is not in the queue, and how it ended was not kept \(.*--tracked/],
      ['2:1', /^jobq: no database 2 \(there is one, which is 1\)\n$/],
    ] as const
    for (const [id, says] of refused) {
      const {code, stderr} = await site.run(['wait', id])
      assert.equal(code, 4)
      assert.match(stderr, says)
    }
  })

  test('for some of each: what is wrong is told, the rest goes on, a failure is the exit status', async t => {
    const site = new Workplace(t, {Fine: FINE, Bad: BAD})
    for (const words of [['Fine'], ['Bad'], ['Fine', '--delay', '1h']])
      await site.run(['enqueue', '--tracked', ...words])
    await site.drain()
    const {code, stdout, stderr} = await site.run(['wait', '1', '2', '3', '9', '--timeout', '1', '--json'])
    const {ended, refused} = JSON.parse(stdout)
    assert.deepEqual(ended.map(({id, outcome}: {id: number; outcome: string}) => [id, outcome]).sort(), [
      [1, 'completed'],
      [2, 'failed'],
    ])
    assert.deepEqual(
      refused.map(({id, code}: {id: number; code: string}) => [id, code]),
      [
        [9, 'NOT_FOUND'],
        [3, 'WAIT_TIMEOUT'],
      ],
    )
    assert.equal(code, 5)
    assert.match(stderr, /job 3 has not ended within 1 s/)
  })

  test('when the time is up: exit 1', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Fine'])
    const {code, stdout, stderr} = await site.run(['wait', '1', '--timeout', '0'])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /^jobq: job 1 has not ended within 0 s \(it goes on; it can be waited for again\)\n$/,
    )
  })

  test('for all of a function, or all there are: a line each, 5 if one failed', async t => {
    const site = new Workplace(t, {Fine: FINE, Bad: BAD})
    await site.enqueue(['Fine'], ['Bad'], ['Fine'])
    const waited = (count: number) => () => site.rows('SELECT * FROM jobq_wait').length === count
    const fine = site.run(['wait', '--func', 'Fine'])
    await until('one waits', waited(2))
    const json = site.run(['wait', '--all', '--json'])
    await until('both wait', waited(3))
    await site.drain()
    const {code, stdout, stderr} = await fine
    assert.deepEqual([code, stderr], [0, ''])
    assert.deepEqual(stdout.split('\n').sort(), ['', '1\tcompleted\t', '3\tcompleted\t'])
    const all = await json
    const {ended, refused} = JSON.parse(all.stdout)
    assert.deepEqual([all.code, all.stderr, ended.length, refused], [5, '', 3, []])
    const {message} = ended.find(({id}: {id: number}) => id === 2)
    assert.equal(message, 'exited with status 1\nno good')
    for (const choice of [['--func', 'Fine'], ['--all']]) {
      const {code, stdout, stderr} = await site.run(['wait', ...choice])
      assert.deepEqual([code, stdout, stderr], [0, '', ''], 'an empty queue')
    }
  })

  test('for all, when the time is up: exit 1, and how many are left', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Fine', {delay: 3600}], ['Fine'])
    const {code, stdout, stderr} = await site.run(['wait', '--all', '--timeout', '0', '--json'])
    const [message, hint] = ['2 jobs have not ended within 0 s', 'they go on; they can be waited for again']
    const refused = [{id: null, code: 'WAIT_TIMEOUT', message, hint}]
    assert.deepEqual(JSON.parse(stdout), {ended: [], refused})
    assert.equal(stderr, `jobq: ${message} (${hint})\n`)
    assert.equal(code, 1)
  })

  test('for all of a function that is not known: exit 4', async t => {
    const {code, stderr} = await new Workplace(t).run(['wait', '--func', 'Fien'])
    assert.equal(code, 4)
    assert.match(stderr, /^jobq: no job of "Fien" was ever enqueued here/)
  })

  const refused: [words: string[], says: RegExp][] = [
    [[], /expected ID|Missing 1 required arg/i],
    [['x'], /^jobq: ID: expected a whole number from 1/],
    [['0'], /^jobq: ID: expected a whole number from 1/],
    [['1', '--all'], /^jobq: expected ids of jobs or --all, got both/],
    [['1', '--func', 'F'], /^jobq: expected ids of jobs or --func, got both/],
    [['--func', 'F', '--all'], /^jobq: .*--(all|func).*--(all|func)/],
    [['1', '--timeout', 'soon'], /^jobq: --timeout: expected a duration/],
  ]
  for (const [words, says] of refused)
    test(`${words.join(' ') || 'nothing'}: exit 2`, async t => {
      const {code, stderr} = await new Workplace(t).run(['wait', ...words])
      assert.equal(code, 2)
      assert.match(stderr, says)
    })
})

test('--tracked goes for every line of a bulk', async t => {
  const site = new Workplace(t)
  await site.run(['enqueue', 'F', '--tracked', '--args-from', '-'], {input: '1\n2\n'})
  await site.run(['enqueue', '--batch', '-', '--tracked'], {input: '{"func":"F"}\n'})
  assert.equal(site.rows('SELECT * FROM jobq_wait').length, 3)
})
