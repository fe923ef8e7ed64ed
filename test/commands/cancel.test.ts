/** `jobq cancel` as a person and a script call it. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {jobqIn} from '../support/jobq.ts'
import {assertRefused, usage} from '../support/refusal.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const SLEEPS = '#!/bin/sh\necho begun\nexec sleep 600'
/** By someone who hears nothing. */
const TAKE = 'UPDATE job SET grabbed_until = 4000000000 WHERE id = ?'
const ids = (site: Workplace) => site.column<number>('SELECT id FROM job ORDER BY id')
const orders = (site: Workplace) => site.column<number>('SELECT job_id FROM jobq_order')

describe('cancel', () => {
  test('waiting jobs by their ids; who waits for one hears of it', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'], ['B', {delay: 60, uniqkey: 'k'}], ['A'], ['A'])
    const waiter = site.start(['wait', '3'])
    await until('it is waited for', () => site.column('SELECT job_id FROM jobq_wait').length === 1)
    assert.deepEqual(
      await site.run(['cancel', '1-3']),
      printed('1\tA\tcancelled\n2\tB\tcancelled\n3\tA\tcancelled'),
    )
    const {code, stdout} = await waiter.exited
    assert.deepEqual([code, stdout], [5, '3\taborted\tcancelled\n'])
    assert.deepEqual(ids(site), [4])
    assert.equal(site.count('exception_log'), 0)
  })

  test('--json; what is not there is told, the others are done: 4', async t => {
    const site = new Workplace(t, {Gone: '#!/bin/sh\nexit 1'})
    await site.enqueue(['Gone'])
    await site.drain()
    await site.enqueue(['A', {uniqkey: 'k'}])
    const {code, stdout, stderr} = await site.run(['cancel', '--json', '1', '2', '9'])
    assert.deepEqual(
      [code, JSON.parse(stdout)],
      [4, [{id: 2, func: 'A', uniqkey: 'k', state: 'ready', result: 'cancelled'}]],
    )
    assert.deepEqual(stderr.split('\n'), [
      'jobq: job 1 has left the queue: failed (see `jobq show 1`)',
      'jobq: no job 9 is in the queue (see `jobq list`)',
      '',
    ])
    const alone = await site.run(['cancel', '9', '--json'])
    assert.deepEqual([alone.code, JSON.parse(alone.stdout).error.code, alone.stderr], [4, 'NOT_FOUND', ''])
  })

  test('one that runs: it is told, shown and listed as cancelled, and can be retried', async t => {
    const site = new Workplace(t, {Sleeps: SLEEPS})
    await site.enqueue(['Sleeps'])
    const work = site.work()
    await work.prints(/begun/)
    const waiter = site.start(['wait', '1'])
    await until('it is waited for', () => site.column('SELECT job_id FROM jobq_wait').length === 1)
    assert.deepEqual(await site.run(['cancel', '1']), printed('1\tSleeps\tstopping'))
    await work.prints(/1 Sleeps aborted [\d.]+m?s cancelled/)
    assert.deepEqual((await waiter.exited).stdout, '1\taborted\tcancelled\n')
    assert.match(
      (await site.run(['show', '1'])).stdout,
      /state +aborted[\s\S]*attempt 1: aborted[\s\S]*cancelled/,
    )
    assert.match((await site.run(['list', '--failed'])).stdout, /cancelled/)
    assert.deepEqual(orders(site), [])
    const again = await site.run(['cancel', '1'])
    assert.deepEqual(
      [again.code, again.stderr],
      [4, 'jobq: job 1 has left the queue: cancelled (see `jobq show 1`)\n'],
    )
    assert.deepEqual(await site.run(['retry', '--job', '1']), printed(2))
  })

  test('one that nobody can tell: said after 3 s, and it goes on', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'], ['A'])
    site.rows(TAKE, 1)
    const {code, stdout, stderr} = await site.run(['cancel', '1', '2'])
    assert.deepEqual([code, stdout], [4, '2\tA\tcancelled\n'])
    assert.match(
      stderr,
      /^jobq: job 1 is running, and who runs it has not heard within 3 s: it goes on \(a Perl worker.*\)\n$/,
    )
    assert.deepEqual([ids(site), orders(site)], [[1], []])
  })

  test('one that is given back, or ends, while it is waited for', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'], ['A'])
    site.rows(TAKE, 1)
    site.rows(TAKE, 2)
    const cancel = site.start(['cancel', '1', '2'])
    await until('both are ordered', () => orders(site).length === 2)
    site.rows('UPDATE job SET grabbed_until = 0 WHERE id = 1')
    site.rows('DELETE FROM job WHERE id = 2')
    const {code, stdout, stderr} = await cancel.exited
    assert.deepEqual([code, stdout], [4, '1\tA\tcancelled\n'])
    assert.equal(stderr, 'jobq: no job 2 is in the queue (see `jobq list`)\n')
    assert.deepEqual([ids(site), orders(site)], [[], []])
  })

  test('stopped while it waits: the order is taken back', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'], ['A'])
    site.rows(TAKE, 1)
    site.rows(TAKE, 2)
    const cancel = site.start(['cancel', '1', '2'])
    await until('both are ordered', () => orders(site).length === 2)
    cancel.kill('SIGINT')
    const {code, stdout, stderr} = await cancel.exited
    assert.deepEqual([code, stdout, stderr], [130, '', ''])
    assert.deepEqual([ids(site), orders(site)], [[1, 2], []])
  })

  test('by function, key and state: the count, --dry-run first', async t => {
    const site = new Workplace(t)
    await site.enqueue(['A'], ['A', {uniqkey: 'k'}], ['B', {uniqkey: 'k'}], ['A', {delay: 60}], ['B'])
    const says = async (...words: string[]) => {
      const {code, stdout, stderr} = await site.run(['cancel', ...words])
      assert.deepEqual([code, stderr], [0, ''])
      return stdout
    }
    assert.equal(await says('--func', 'A', '--dry-run'), '3\n')
    assert.equal(await says('--all', '--dry-run', '--json'), '{"would_cancel":5}\n')
    assert.equal(await says('1', '4', '--dry-run'), '1\tA\tready\n4\tA\tdelayed\n')
    assert.deepEqual(ids(site), [1, 2, 3, 4, 5])
    assert.equal(await says('--func', 'A', '--state', 'delayed'), '1\n')
    assert.deepEqual(ids(site), [1, 2, 3, 5])
    assert.equal(await says('--func', 'A', '--uniqkey', 'k'), '1\n')
    assert.deepEqual(ids(site), [1, 3, 5])
    assert.equal(await says('--uniqkey', 'k'), '1\n')
    assert.equal(await says('--func', 'A', '--json'), '{"cancelled":1,"stopping":0,"refused":0}\n')
    assert.equal(await says('--all'), '1\n')
    assert.equal(await says('--all'), '0\n')
    assert.equal(await says('--all', '--dry-run', '--json'), '{"would_cancel":0}\n')
    assert.deepEqual(ids(site), [])
  })

  test('--all on a terminal asks first', async t => {
    const jobq = jobqIn(t)
    for (let i = 0; i < 2; i++) await jobq(['enqueue', 'A'])
    const answers = async (answer: string, ...words: string[]) => {
      const started = jobq.start(['cancel', '--all', ...words], {tty: 'all', stdin: 'open'})
      await started.prints(/Cancel all 2 jobs\? \[y\/N\]/)
      started.child.stdin!.write(`${answer}\n`)
      const finished = await started.exited
      started.child.stdin!.end()
      return finished
    }
    for (const no of ['', 'n', 'yess']) {
      const {code, stdout} = await answers(no)
      assert.equal(code, 1)
      assert.match(stdout, /nothing was cancelled/)
    }
    assert.equal((await jobq(['list'])).stdout.split('\n').length, 3)
    const {code, stdout} = await answers('y')
    assert.equal(code, 0)
    assert.match(stdout, /\b2\r?\n$/)
    await jobq(['enqueue', 'A'])
    const yes = await jobq(['cancel', '--all', '--yes'], {tty: 'all'})
    assert.deepEqual([yes.code, yes.stdout], [0, '1\n'])
  })

  test('what can not be meant changes nothing', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'Notify'])
    for (const [words, refusal] of [
      [[], usage('expected ids of jobs, --func, --uniqkey, --tag or --all, got none')],
      [['--state', 'ready'], usage('got none')],
      [['1', '--all'], usage('got ids and --all')],
      [['1', '--func', 'Notify'], usage('got ids and --func')],
      [['--func', 'Notify', '--all'], usage('got --all and --func')],
      [['1', '--state', 'ready'], usage('expected ids of jobs or --state, got both')],
      [['x'], usage('ID: expected a whole number')],
      [['5-1'], usage('expected a range that goes up')],
      [['1', '--yes'], usage('--yes')],
      [['--all', '--state', 'gone'], usage('--state')],
      [['--func', 'Notfy'], {exit: 4, code: 'NOT_FOUND', says: ['no job of "Notfy" was ever enqueued here']}],
      [['2:1'], {exit: 4, code: 'NOT_FOUND', says: ['no database 2']}],
    ] as const)
      await assertRefused(home, ['cancel', ...words], refusal)
  })
})
