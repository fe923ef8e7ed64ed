/** `jobq edit` as a person calls it. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {assertRefused, badArgument, usage} from '../support/refusal.ts'
import {Workplace} from '../support/workplace.ts'

interface Row {
  id: number
  arg: string
  uniqkey: string | null
  priority: number
  run_after: number
}

const rows = (site: Workplace) =>
  site.rows<Row>('SELECT id, CAST(arg AS TEXT) AS arg, uniqkey, priority, run_after FROM job ORDER BY id')

describe('edit', () => {
  test('each thing by itself, and several jobs', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Notify', {arg: {to: 'a'}, uniqkey: 'k'}], ['Notify', {arg: 1}], ['Other'])
    const [before] = rows(site)
    assert.deepEqual(
      await site.run(['edit', '1', '--priority', '7']),
      printed(`1\tNotify\t7\t${before!.run_after}\tk`),
    )
    assert.deepEqual(rows(site)[0], {...before, priority: 7})
    const later = await site.run(['edit', '1-2', '--at', '@2000000000'])
    assert.equal(later.stdout, '1\tNotify\t7\t2000000000\tk\n2\tNotify\t0\t2000000000\t\\N\n')
    await site.run([
      'edit',
      '2',
      '--delay',
      '0',
      '--uniqkey',
      'other',
      '--arg',
      '{ "big": 12345678901234567890 }',
    ])
    const [, second, third] = rows(site)
    assert.ok(second!.run_after < 2_000_000_000)
    assert.deepEqual([second!.uniqkey, second!.arg], ['other', '{ "big": 12345678901234567890 }'])
    assert.deepEqual([third!.priority, third!.uniqkey], [0, null])
    assert.equal(
      (await site.run(['edit', '3', '--arg-file', '-', '--serializer', 'none'], {input: 'x'})).code,
      0,
    )
    assert.equal(rows(site)[2]!.arg, 'x')
  })

  test('when it expires: at another time, or never; it is not moved behind that', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Notify', {expires: '1h'}], ['Notify'])
    const ends = () =>
      site.rows('SELECT job_id AS id, expires_at - unixepoch() > 5000 AS isLater FROM jobq_expiry')
    const before = rows(site)
    const {code, stdout, stderr} = await site.run(['edit', '1-2', '--delay', '2h', '--json'])
    assert.deepEqual([code, JSON.parse(stdout).length], [2, 1], 'the other one is edited')
    assert.match(
      stderr,
      /^jobq: job 1 would leave the queue at \d{4}-\d\d-\d\dT[\d:]+Z, before it is due at \S+Z \(give it another time, too, [^\n]+\)\n$/,
    )
    assert.deepEqual(rows(site)[0], before[0])
    assert.equal((await site.run(['edit', '1', '--delay', '2h', '--expires', '3h'])).code, 0)
    assert.deepEqual(ends(), [{id: 1, isLater: 1}])
    assert.equal((await site.run(['edit', '1', '--expires', '1h'])).code, 2, 'it is due in two hours')
    assert.equal((await site.run(['edit', '1', '--expires', '10m', '--delay', '0'])).code, 0)
    assert.deepEqual(ends(), [{id: 1, isLater: 0}])
    assert.equal((await site.run(['edit', '1-2', '--expires', 'never'])).code, 0)
    assert.deepEqual(ends(), [])
    assert.equal((await site.run(['edit', '1', '--at', '@2000000000'])).code, 0)
  })

  test('--json; what runs, is gone or was never there: told, the others are edited, 4', async t => {
    const site = new Workplace(t, {Gone: '#!/bin/sh\nexit 1'})
    await site.enqueue(['Gone'])
    await site.drain()
    await site.enqueue(['Notify'], ['Notify'])
    site.rows('UPDATE job SET grabbed_until = 4000000000 WHERE id = 2')
    const {code, stdout, stderr} = await site.run(['edit', '--json', '1-3,9', '--priority', '5'])
    assert.equal(code, 4)
    const {run_after: _, ...document} = JSON.parse(stdout)[0]
    assert.deepEqual(document, {id: 3, func: 'Notify', uniqkey: null, priority: 5})
    assert.deepEqual(stderr.split('\n'), [
      'jobq: job 1 has left the queue: failed (see `jobq show 1`)',
      'jobq: job 2 is running: only a job that waits can be edited (`jobq cancel 2` stops it)',
      'jobq: no job 9 is in the queue (see `jobq list`)',
      '',
    ])
    assert.deepEqual(
      rows(site).map(({priority}) => priority),
      [0, 5],
    )
    const alone = await site.run(['edit', '2', '--priority', '5', '--json'])
    assert.deepEqual([alone.code, JSON.parse(alone.stdout).error.code, alone.stderr], [4, 'RUNNING', ''])
  })

  test('a uniqkey that another job has: 3', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Notify', {uniqkey: 'k'}], ['Notify'], ['Other'])
    const words = 'refused: a job of Notify with uniqkey "k" is already waiting (job 1)'
    const hint = '(give another key, or cancel that job)'
    const one = await site.run(['edit', '2', '--uniqkey', 'k', '--priority', '9'])
    assert.deepEqual([one.code, one.stdout, one.stderr], [3, '', `jobq: ${words} ${hint}\n`])
    const both = await site.run(['edit', '2', '3', '--uniqkey', 'k'])
    assert.equal(both.code, 3)
    assert.match(both.stdout, /^3\tOther\t0\t\d+\tk\n$/)
    assert.equal(both.stderr, `jobq: job 2: ${words} ${hint}\n`)
    assert.deepEqual(
      rows(site).map(({priority}) => priority),
      [0, 0, 0],
    )
  })

  test('hooks at serialize see the argument, and no others are called', async t => {
    const site = new Workplace(t)
    site.write(
      'jobq.config.mjs',
      `const no = () => { throw new Error('not called') }
export default {hooks: [{name: 'seal', preEnqueue: no, postEnqueue: no, serialize: call => { call.arg = {sealed: call.arg} }}]}`,
    )
    await site.enqueue(['Notify'])
    assert.equal((await site.run(['edit', '1', '--arg', '{"to": 1}'])).code, 0)
    assert.equal(rows(site)[0]!.arg, '{"sealed":{"to":1}}')
    assert.equal((await site.run(['edit', '1', '--priority', '1'])).code, 0)
    await site.withQueue(queue => queue.edit(1, {arg: 'plain'}))
    assert.equal(rows(site)[0]!.arg, '"plain"')
  })

  test('a worker that waits starts what is due now', async t => {
    const site = new Workplace(t, {Shell: '#!/bin/sh\ncat'})
    await site.enqueue(['Shell', {delay: 3600, arg: 'old'}])
    const work = site.work('--debug')
    await work.prints(/nothing ready/)
    await site.run(['edit', '1', '--delay', '0', '--arg', '"new"'])
    await work.prints(/"new"[\s\S]*Shell completed/)
  })

  test('what can not be meant changes nothing', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'Notify'])
    for (const [words, refusal] of [
      [['--priority', '1'], usage('expected ids of jobs, got none')],
      [['1'], usage('expected something to change, got nothing')],
      [['1', '--serializer', 'none'], usage('expected something to change, got nothing')],
      [['x', '--priority', '1'], usage('ID: expected a whole number')],
      [['3-1', '--priority', '1'], usage('expected a range that goes up')],
      [['1', '--priority', '-1'], usage('--priority')],
      [['1', '--delay', 'soon'], usage('--delay')],
      [['1', '--delay', '1', '--at', '@5'], usage('expected one of --delay, --at')],
      [['1', '--expires', 'soon'], usage('--expires: expected')],
      [['1', '--expires', '0'], usage('--expires: expected')],
      [
        ['1', '--delay', '2h', '--expires', '1h'],
        usage('--expires: expected more than --delay, 7200 s, got 3600 s'),
      ],
      [['1', '--arg', '1', '--arg-file', 'x'], usage('expected one of --arg, --arg-file')],
      [['1', '--arg', '{'], badArgument('--arg: expected JSON')],
      [['1', '--uniqkey', ''], usage('--uniqkey')],
    ] as const)
      await assertRefused(home, ['edit', ...words], refusal)
  })
})
