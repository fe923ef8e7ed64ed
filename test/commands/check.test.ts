/** `jobq check` as a monitoring system calls it: one line, and an exit status of its own. */
import assert from 'node:assert/strict'
import {createServer} from 'node:net'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Home} from '../support/home.ts'
import {Workplace} from '../support/workplace.ts'

const BAD = '#!/bin/sh\nexit 3'

describe('check', () => {
  test('is fine, warns, is critical: by the limits that are given', async t => {
    const site = new Workplace(t, {Bad: BAD})
    await site.enqueue(['Bad'], ['Bad'])
    await site.drain()
    await site.enqueue(['Other'], ['Other'], ['Other'])
    site.rows('UPDATE job SET run_after = run_after - 100')
    const age = String.raw`age=1\d\ds`
    const cases: [words: string[], code: number, says: RegExp][] = [
      [
        [],
        0,
        new RegExp(
          `^JOBQ OK - 3 ready, 2 failed, oldest ready for 1m \\d+s \\| ready=3;;;0 failed=2;;;0 ${age};;;0\n$`,
        ),
      ],
      [
        ['--max-ready', '3', '--max-failed', '2', '--max-age', '5m'],
        0,
        /^JOBQ OK .* \| ready=3;;3;0 failed=2;;2;0 age=1\d\ds;;300;0\n$/,
      ],
      [
        ['--warn-ready', '2', '--max-ready', '3'],
        1,
        /^JOBQ WARNING - 3 ready \(at most 2\) \| ready=3;2;3;0 /,
      ],
      [
        ['--max-failed', '0', '--warn-ready', '2'],
        2,
        /^JOBQ CRITICAL - 3 ready \(at most 2\), 2 failed \(at most 0\) \| /,
      ],
      [['--max-age', '1m'], 2, /^JOBQ CRITICAL - oldest ready for 1m \d+s \(at most 1m\) \| /],
      [['--func', 'Bad', '--max-ready', '0'], 0, /^JOBQ OK - 0 ready, 2 failed, oldest ready for 0s \| /],
    ]
    for (const [words, code, says] of cases) {
      const ended = await site.run(['check', ...words])
      assert.match(ended.stdout, says)
      assert.deepEqual([ended.code, ended.stderr], [code, ''], words.join(' '))
    }
    const {code, stdout} = await site.run(['check', '--max-ready', '1', '--json'])
    assert.equal(code, 2)
    assert.partialDeepStrictEqual(JSON.parse(stdout), {
      ...{status: 'CRITICAL', ready: 3, failed: 2, reasons: ['3 ready (at most 1)']},
    })
  })

  test('does not know: a bad flag or number, a function, a database that is not there, which it does not make', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    const before = home.files()
    const cases: [words: string[], says: RegExp][] = [
      [['--max-redy', '3'], /unknown flag --max-redy/],
      [['--max-ready', 'many'], /--max-ready: expected a whole number/],
      [['--max-age', 'long'], /--max-age: expected a duration/],
      [['--func', 'G'], /no job of "G" was ever enqueued here/],
      [['--db', 'other.db'], /expected a database at .*other\.db, got none/],
      [['--db', 'mysql://root@127.0.0.1:1/x'], /can't reach mysql:/],
    ]
    for (const [words, says] of cases) {
      const db = words.includes('--db') ? [] : ['--db', 'jobs.db']
      const {code, stdout, stderr} = await home.jobq(['check', ...words, ...db])
      assert.match(stdout, says)
      assert.match(stdout, /^JOBQ UNKNOWN - [^\n|]+\n$/)
      assert.deepEqual([code, stderr], [3, ''], words.join(' '))
    }
    const {code, stdout} = await home.jobq(['check', '--json', '--db', 'other.db'])
    assert.equal(code, 3)
    assert.partialDeepStrictEqual(JSON.parse(stdout), {status: 'UNKNOWN', error: {code: 'UNREACHABLE'}})
    assert.deepEqual(home.files(), before)
  })

  test('does not wait for a file that someone keeps locked', async t => {
    const site = new Workplace(t)
    await site.enqueue(['F'])
    const other = new Sqlite(site.db)
    t.after(() => other.close())
    other.pragma('journal_mode = DELETE')
    other.exec('BEGIN EXCLUSIVE')
    const {code, stdout, stderr} = await site.run(['check'])
    assert.deepEqual(
      [code, stdout, stderr],
      [3, 'JOBQ UNKNOWN - no answer from the database within 2 s\n', ''],
    )
    other.exec('COMMIT')
    assert.match((await site.run(['check'])).stdout, /^JOBQ OK - 1 ready/)
  })

  test('does not wait for a server that says nothing', async t => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    t.after(() => silent.close())
    await new Promise(resolve => silent.once('listening', resolve))
    const {port} = silent.address() as {port: number}
    for (const url of [`mysql://root@127.0.0.1:${port}/x`, `postgres://postgres@127.0.0.1:${port}/x`]) {
      const {code, stdout} = await new Home(t).jobq(['check', '--db', url])
      assert.deepEqual([code, stdout], [3, 'JOBQ UNKNOWN - no answer from the database within 2 s\n'])
    }
  })
})
