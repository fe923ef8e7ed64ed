/** `jobq show` and `jobq retry --job`: one id from a job's enqueue to its end. */
import assert from 'node:assert/strict'
import {hostname} from 'node:os'
import {describe, test} from 'node:test'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const BAD = '#!/bin/sh\n# jobq: max-retries=1\necho no route >&2; exit 3'
const FINE = '#!/bin/sh\n# jobq: set-job-status\nexit 0'

describe('show', () => {
  test('a job that waits', async t => {
    const site = new Workplace(t, {})
    await site.run(['enqueue', 'Notify', '--arg', '{"to":"é"}', '--priority', '7', '--uniqkey', 'k'])
    const {code, stdout, stderr} = await site.run(['show', '1'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(
      stdout,
      /^job {7}1\nfunction {2}Notify\nstate {5}ready\nworkers {3}none: no jobq work that is seen has one for it\nargument {2}\{"to":"é"\}\nuniqkey {3}k\npriority {2}7\nenqueued {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.*\)\ndue .*\nretries {3}0\n$/,
    )
  })

  test('a job whose function, or the whole queue, is paused says so', async t => {
    const site = new Workplace(t, {})
    await site.run(['enqueue', 'Notify'])
    for (const [words, state, paused] of [
      [['pause', 'Other'], 'ready', false],
      [['pause', 'Notify'], 'ready, paused', true],
      [['resume', 'Notify'], 'ready', false],
      [['pause', '--all'], 'ready, paused', true],
    ] as const) {
      await site.run(words)
      assert.match((await site.run(['show', '1'])).stdout, new RegExp(`^state +${state}$`, 'm'), `${words}`)
      assert.equal(JSON.parse((await site.run(['show', '1', '--json'])).stdout).paused, paused, `${words}`)
    }
  })

  test('a job that waits for a place says how many can be worked at once, by those that are there', async t => {
    const site = new Workplace(t, {Notify: FINE})
    await site.run(['enqueue', 'Notify', '--delay', '1h'])
    const workers = async () => JSON.parse((await site.run(['show', '1', '--json'])).stdout).workers
    assert.equal(await workers(), 0)
    site.work('--max-workers', '3')
    await until('they are seen', async () => (await workers()) === 3)
    assert.doesNotMatch((await site.run(['show', '1'])).stdout, /^workers/m)
  })

  test('a job that failed twice, by the id that its enqueue has printed, until it is retried', async t => {
    const site = new Workplace(t, {Bad: BAD})
    await site.enqueue(['Other']) // so that an exception's id is no job's
    await site.run(['enqueue', 'Bad', '--arg', '[1]'])
    await site.drain()
    const {code, stdout} = await site.run(['show', '2', '--json'])
    assert.equal(code, 0)
    const {attempts, ...job} = JSON.parse(stdout)
    const gone = {
      run: null,
      priority: null,
      enqueue_time: null,
      run_after: null,
      grabbed_until: null,
      expires_at: null,
      retry_cnt: null,
    }
    assert.deepEqual(job, {
      id: 2,
      func: 'Bad',
      state: 'failed',
      paused: false,
      workers: null,
      arg: [1],
      uniqkey: null,
      tags: {},
      ...gone,
      after: [],
      parked: null,
    })
    assert.equal(attempts.length, 2)
    for (const [i, {start_time, end_time, pid, ...attempt}] of attempts.entries()) {
      assert.ok(end_time >= start_time && pid > 1)
      assert.deepEqual(attempt, {
        attempt: i + 1,
        outcome: 'failed',
        is_last: i === 1,
        host: hostname(),
        exception_id: i + 1,
        message: 'exited with status 3\nno route',
        retried_as: null,
        output: {bytes: 9, is_cut: false},
      })
    }
    assert.match(
      (await site.run(['list', '--failed'])).stdout,
      /^2\t2\tBad\t.*\tfailed\n2\t1\tBad\t.*\tearlier\n$/,
    )
    const retried = await site.run(['retry', '--job', '2'])
    assert.deepEqual([retried.code, retried.stdout, retried.stderr], [0, '3\n', ''])
    const text = (await site.run(['show', '2'])).stdout
    assert.match(
      text,
      /\nattempt 2: failed .* process \d+, exception 2, retried as job 3, 9 bytes of output\n {2}exited with status 3\n {2}no route\n$/,
    )
    assert.equal((await site.run(['retry', '--job', '2'])).code, 4)
    const none = await site.run(['retry', '--job', '1'])
    assert.deepEqual([none.code, none.stdout], [4, ''])
    assert.match(none.stderr, /^jobq: job 1: no failed attempt of it is known \(see [^\n]+\)\n$/)
    const elsewhere = await site.run(['retry', '--job', '2:1'])
    assert.deepEqual(
      [elsewhere.code, elsewhere.stderr],
      [4, 'jobq: no database 2 (there is one, which is 1)\n'],
    )
    const {refused} = JSON.parse((await site.run(['retry', '--job', '1', '--json'])).stdout)
    assert.partialDeepStrictEqual(refused, [{exception_id: null, code: 'NOT_FOUND'}])
  })

  test('a job that runs: where, in which process, since when', async t => {
    const site = new Workplace(t, {Long: '#!/bin/sh\necho $$; exec sleep 60'})
    await site.enqueue(['Long'])
    assert.equal(JSON.parse((await site.run(['show', '1', '--json'])).stdout).run, null)
    const before = Math.floor(Date.now() / 1000)
    const work = site.work()
    await work.prints(/\| \d+$/m)
    const pid = Number(/\| (\d+)$/m.exec(work.stderr)![1])
    let text = ''
    await until('its manager has told of it', async () => {
      text = (await site.run(['show', '1'])).stdout
      return text.includes('\nruns ')
    })
    assert.match(
      text,
      new RegExp(`\\nruns {6}on ${hostname()}, process ${pid}, since \\d{4}-.* \\((now|.* ago)\\)\\n$`),
    )
    const {run} = JSON.parse((await site.run(['show', '1', '--json'])).stdout)
    assert.deepEqual([run.host, run.pid], [hostname(), pid])
    assert.ok(run.start_time >= before - 1 && run.start_time <= Date.now() / 1000 + 1, String(run.start_time))
    work.kill('SIGTERM')
    await work.prints(/finishing/) // two signals that come at once are one
    work.kill('SIGTERM')
    await work.exited
    assert.equal(JSON.parse((await site.run(['show', '1', '--json'])).stdout).run, null)
  })

  test('several, and of one that is not known a word: exit 4', async t => {
    const site = new Workplace(t, {Fine: FINE})
    for (let i = 0; i < 3; i++) await site.enqueue(['Fine'])
    await site.drain()
    await site.enqueue(['Fine'])
    const {code, stdout, stderr} = await site.run(['show', '2-3,9', '4', '--json'])
    assert.equal(code, 4)
    assert.match(stderr, /^jobq: no job 9 is in the queue, and no attempt of it is kept\n$/)
    assert.deepEqual(
      JSON.parse(stdout).map(({id, state}: {id: number; state: string}) => [id, state]),
      [
        [2, 'completed'],
        [3, 'completed'],
        [4, 'ready'],
      ],
    )
    const one = await site.run(['show', '9'])
    assert.deepEqual([one.code, one.stdout], [4, ''])
    assert.match(one.stderr, /^jobq: no job 9 [^\n]*\n$/)
  })

  test('one that is named twice is told once', async t => {
    const site = new Workplace(t, {Fine: FINE})
    await site.enqueue(['Fine'], ['Fine'])
    const {stdout} = await site.run(['show', '1', '1-2,2', '--json'])
    assert.deepEqual(
      JSON.parse(stdout).map(({id}: {id: number}) => id),
      [1, 2],
    )
  })

  const refused: [args: string[], says: RegExp][] = [
    [[], /expected ids of jobs, got none/],
    [['x'], /ID: expected a whole number .*"x"/],
    [['5-1'], /ID: expected a range that goes up, got "5-1"/],
    [['1,,2'], /ID: expected a whole number .*""/],
    [['1-900000'], /ID: expected at most 100000 ids/],
    [['1-x'], /ID: .*"1-x"/],
  ]
  for (const [args, says] of refused)
    test(`what can not be meant: ${args.join(' ') || 'nothing'}`, async t => {
      const {code, stdout, stderr} = await new Workplace(t, {}).run(['show', ...args])
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, says)
      assert.match(stderr, /^jobq: [^\n]*\n$/)
    })
})
