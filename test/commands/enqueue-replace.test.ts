/** `jobq enqueue --replace`: the job that waits under the key is as this one would be. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Home, printed} from '../support/home.ts'
import {assertRefused, usage} from '../support/refusal.ts'

const DB = ['--db', 'jobs.db']
const REPLACE = ['enqueue', 'Index', ...DB, '--uniqkey', 'site:9', '--replace']

const facts = ({jobs}: {jobs: ReturnType<Home['jobs']>}) =>
  jobs.map(({id, func, bytes, uniqkey, priority}) => [id, func, bytes?.toString() ?? null, uniqkey, priority])

describe('--replace', () => {
  test('stores what is not there, and replaces what waits: argument, time and priority', async t => {
    const home = new Home(t)
    const first = await home.jobq([...REPLACE, '--json', '--arg', '[1]', '--priority', '5', '--delay', '1h'])
    const document = JSON.parse(first.stdout)
    assert.deepEqual([document.enqueued, document.replaced], [true, false])
    const again = await home.jobq([...REPLACE, '--json', '--arg', '[2]', '--at', '@1798135200'])
    assert.deepEqual(JSON.parse(again.stdout), {
      ...{id: 1, func: 'Index', uniqkey: 'site:9', priority: 0, run_after: 1_798_135_200},
      ...{enqueued: false, replaced: true},
    })
    assert.deepEqual(facts({jobs: home.jobs()}), [[1, 'Index', '[2]', 'site:9', 0]])
    assert.equal(home.jobs()[0]!.run_after, 1_798_135_200)
    assert.deepEqual(await home.jobq([...REPLACE]), printed(1))
    assert.deepEqual(facts({jobs: home.jobs()}), [[1, 'Index', 'null', 'site:9', 0]])
    assert.ok(home.jobs()[0]!.run_after < 1_798_135_200) // due now: no delay is said
  })

  test('is of one function: under the same key of another one nothing waits', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(['enqueue', 'Other', ...DB, '--uniqkey', 'site:9']), printed(1))
    assert.deepEqual(await home.jobq([...REPLACE]), printed(2))
  })

  test('what runs is not replaced: exit 3, and it is said that it runs', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq([...REPLACE, '--arg', '[1]']), printed(1))
    const file = new Sqlite(home.path('jobs.db'))
    file.prepare('UPDATE job SET grabbed_until = ?').run(2 ** 32 - 1)
    file.close()
    await assertRefused(home, [...REPLACE, '--arg', '[2]'], {
      exit: 3,
      code: 'DUPLICATE',
      says: ['refused: a job of Index with uniqkey "site:9" is running (job 1)', 'only a job that waits'],
    })
  })

  test('several at once: one is stored, and it is as one of them said', async t => {
    const home = new Home(t)
    const args = Array.from({length: 8}, (_, i) => `[${i}]`)
    const ended = await Promise.all(args.map(arg => home.jobq([...REPLACE, '--arg', arg])))
    assert.deepEqual(ended, Array(8).fill(printed(1)))
    const [job, ...more] = home.jobs()
    assert.deepEqual(more, [])
    assert.ok(args.includes(String(job!.bytes)))
  })

  test('with several databases it is found in whichever it waits', async t => {
    const home = new Home(t)
    const both = ['--db', 'a.db', '--db', 'b.db']
    const words = ['enqueue', 'Index', '--uniqkey', 'k', ...both]
    const first = await home.jobq(words)
    for (let i = 0; i < 6; i++)
      assert.deepEqual(await home.jobq([...words, '--replace', '--arg', `[${i}]`]), first)
  })

  test('hooks see the call, and what they change is stored', async t => {
    const home = new Home(t)
    home.write(
      'jobq.config.mjs',
      `export default {hooks: [{name: 'x', preEnqueue(call) { call.priority++; call.arg = {...call.arg, seen: true} }}]}`,
    )
    for (const arg of ['{"n":1}', '{"n":2}'])
      assert.deepEqual(await home.jobq([...REPLACE, '--arg', arg]), printed(1))
    assert.deepEqual(facts({jobs: home.jobs()}), [[1, 'Index', '{"n":2,"seen":true}', 'site:9', 1]])
  })

  const refused: [what: string, words: string[], says: string[]][] = [
    ['without a key', ['F', '--replace'], ['--replace: expected a --uniqkey with it, got none']],
    ['with --if-absent', ['F', '--uniqkey', 'k', '--replace', '--if-absent'], ['--if-absent and --replace']],
    ['with --after', ['F', '--uniqkey', 'k', '--replace', '--after', '1'], ['--replace and --after']],
    ['with --after-end', ['F', '--uniqkey', 'k', '--replace', '--after-end', '1'], ['--replace and']],
    ['with --batch', ['--replace', '--batch', 'lines'], ['--replace: expected none with --batch']],
    ['with --args-from', ['F', '--replace', '--args-from', 'lines'], ['--replace: expected none with']],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      const home = new Home(t)
      home.write('lines', '1\n')
      await assertRefused(home, ['enqueue', ...DB, ...words], usage(...says))
    })
})
