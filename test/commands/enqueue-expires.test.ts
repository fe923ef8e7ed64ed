/** `jobq enqueue --expires` and `--uniq-for`, and what `jobq work` does with a job that has expired. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Home, printed} from '../support/home.ts'
import {assertOneLine, assertRefused, usage} from '../support/refusal.ts'
import {until} from '../support/until.ts'

const DB = ['--db', 'jobs.db']

function run(home: Home, sql: string): unknown[] {
  const file = new Sqlite(home.path('jobs.db'))
  try {
    const statement = file.prepare(sql)
    return statement.reader ? statement.pluck().all() : [statement.run()]
  } finally {
    file.close()
  }
}

const json = async (home: Home, words: string[]) =>
  JSON.parse((await home.jobq([...words, ...DB, '--json'])).stdout)

describe('--expires', () => {
  test('is told by list and show, of a batch as well', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...DB, '--expires', '1h']), printed(1))
    home.write('batch', '{"func":"F","expires":"2h"}\n{"func":"F","expires":90}\n{"func":"F"}\n')
    assert.deepEqual(await home.jobq(['enqueue', ...DB, '--batch', 'batch']), printed(3))
    const rows = (await json(home, ['list'])) as {enqueue_time: number; expires_at: number | null}[]
    assert.deepEqual(
      rows.map(({enqueue_time: at, expires_at: end}) => end && end - at),
      [3600, 7200, 90, null],
    )
    assert.match((await home.jobq(['show', '1', ...DB])).stdout, /\nexpires +\d{4}-/)
    assert.equal(typeof (await json(home, ['show', '1'])).expires_at, 'number')
  })

  test('work does not start what has expired: it is aborted, told and counted', async t => {
    const home = new Home(t)
    home.write('workers/F.mjs', 'export default {setJobStatus: true, work() { console.log("ran") }}')
    await home.jobq(['enqueue', 'F', ...DB])
    for (let i = 0; i < 250; i++)
      await home.call(['enqueue', 'F', ...DB, '--expires', '1h', '--priority', '9'])
    run(home, 'UPDATE jobq_expiry SET expires_at = 1')
    const ended = await home.jobq(['work', ...DB, '--drain', '--workers', 'workers', '--json'])
    assert.equal(ended.code, 5)
    const lines = ended.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const jobs = lines.filter(({event}) => event === 'job')
    assert.equal(jobs.filter(({outcome}) => outcome === 'completed').length, 1)
    const expired = jobs.filter(({outcome}) => outcome === 'aborted')
    assert.equal(expired.length, 250)
    assert.ok(expired.every(({message}) => message === 'expired'))
    const {funcs} = await json(home, ['stats'])
    assert.deepEqual([funcs[0].aborted + funcs[0].failed >= 250, funcs[0].completed], [true, 1])
    assert.deepEqual(await json(home, ['list']), [])
  })

  test('while work is asleep: it leaves when its time is over, though its function is paused', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'G', ...DB])
    await home.jobq(['pause', 'F', ...DB])
    const work = home.start(['work', ...DB, '--exec', 'F=true', '--exec', 'G=true', '--work-delay', '1h'])
    await until('it works', () => run(home, 'SELECT count(*) FROM job')[0] === 0)
    const ids = ['2', '3', '4', '5']
    for (const seconds of [1, 2, 3, 4])
      await home.jobq(['enqueue', 'F', ...DB, '--expires', `${seconds}`, '--tracked'])
    const {code, stdout} = await home.jobq(['wait', ...ids, ...DB])
    assert.deepEqual([code, stdout], [5, ids.map(id => `${id}\taborted\texpired\n`).join('')])
    for (const id of ids) await work.prints(new RegExp(` ${id} F aborted .*expired\n`))
    // Not as late as when it renews its leases, every 20 seconds
    const [first = 0, , , last = 0] = [...work.stderr.matchAll(/^(\S+) \d F aborted/gm)].map(([, at]) =>
      Date.parse(at!),
    )
    assert.ok(last > first && last - first < 10_000, work.stderr)
    work.child.kill()
    await work.exited
  })

  const refused: [what: string, words: string[], says: string[]][] = [
    ['nothing', ['--expires', '0'], ['--expires: expected seconds from 1, or a duration such as', 'got "0"']],
    ['no duration', ['--expires', 'soon'], ['--expires: expected a duration such as', 'got "soon"']],
    [
      'before it is due',
      ['--expires', '1h', '--delay', '1h'],
      ['--expires: expected more than --delay, 3600 s'],
    ],
    ['before its time', ['--expires', '1h', '--at', '2h'], ['--expires: expected more than --at, 7200 s']],
    ['before a date', ['--expires', '1h', '--at', '2100-01-01'], ['--expires: expected more than --at, ']],
    [
      '--uniq-for without a key',
      ['--uniq-for', '1h'],
      ['--uniq-for: expected a --uniqkey with it, got none'],
    ],
    ['--uniq-for nothing', ['--uniqkey', 'k', '--uniq-for', '0'], ['--uniq-for: expected seconds from 1']],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, ...words], usage(...says))
    })

  for (const [fields, says] of [
    ['"expires":0', 'line 1: expires: expected seconds from 1, or a duration'],
    ['"expires":[]', 'line 1: expires: expected seconds from 1, or a duration'],
    ['"expires":60,"delay":60', 'line 1: expires: expected more than the delay, 60 s, got 60 s'],
    ['"uniq_for":60', 'line 1: uniq_for: expected a uniqkey with it, got none'],
    ['"uniq_for":"x","uniqkey":"k"', 'line 1: uniq_for: expected a duration such as'],
  ] as const)
    test(`a line with ${fields}: refused`, async t => {
      const home = new Home(t)
      home.write('lines', `{"func":"F",${fields}}\n`)
      assertOneLine(await home.jobq(['enqueue', ...DB, '--batch', 'lines']), usage(says))
      assert.deepEqual(home.jobs(), [])
    })
})

describe('--uniq-for', () => {
  const TAKE = ['enqueue', 'F', ...DB, '--uniqkey', 'k', '--uniq-for', '10m']

  test('keeps the key when the job is done; --if-absent has its id', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(TAKE), printed(1))
    assert.equal((await home.jobq(['work', ...DB, '--drain', '--exec', 'F=true'])).code, 0)
    const again = ['enqueue', 'F', ...DB, '--uniqkey', 'k']
    const says = [
      /refused: uniqkey "k" of F is taken until \d{4}-.*Z \(job 1\)/,
      'it can be enqueued again then',
    ]
    await assertRefused(home, again, {exit: 3, code: 'DUPLICATE', says})
    await assertRefused(home, [...again, '--replace'], {exit: 3, code: 'DUPLICATE', says})
    assert.deepEqual(await home.jobq([...again, '--if-absent']), printed(1))
    assert.deepEqual(await json(home, ['enqueue', 'F', '--uniqkey', 'k', '--if-absent']), {
      ...{id: 1, func: 'F', uniqkey: 'k', priority: null, run_after: null},
      enqueued: false,
    })
    home.write('batch', '{"func":"F"}\n{"func":"F","uniqkey":"k"}\n')
    const many = {
      exit: 3,
      code: 'DUPLICATE',
      says: ['line 2: uniqkey: refused: uniqkey "k" of F is taken until'],
    }
    await assertRefused(home, ['enqueue', ...DB, '--batch', 'batch'], many)
    run(home, 'UPDATE jobq_key SET taken_until = 1')
    assert.deepEqual(await home.jobq(again), printed(2))
  })

  test('of a batch; --replace replaces what waits under a key that is taken', async t => {
    const home = new Home(t)
    home.write('batch', '{"func":"F","uniqkey":"k","uniq_for":"1h","arg":1}\n')
    assert.deepEqual(await home.jobq(['enqueue', ...DB, '--batch', 'batch']), printed(1))
    assert.deepEqual(await home.jobq([...TAKE, '--replace', '--arg', '2']), printed(1))
    assert.equal(String(home.jobs()[0]!.bytes), '2')
    assert.equal(run(home, 'SELECT count(*) FROM jobq_key')[0], 1)
  })
})
