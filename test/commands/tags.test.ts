/** Tags on the command line: given by `enqueue`, shown by `list` and `show`, and what jobs are chosen by. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Home, printed} from '../support/home.ts'
import {assertOneLine, assertRefused, usage} from '../support/refusal.ts'
import {until} from '../support/until.ts'

const DB = ['--db', 'jobs.db']

async function json(home: Home, words: string[]): Promise<Record<string, unknown>[]> {
  return JSON.parse((await home.jobq([...words, ...DB, '--json'])).stdout)
}

const field = (rows: Record<string, unknown>[], name: string) => rows.map(row => row[name])

async function enqueued(home: Home): Promise<void> {
  home.write(
    'batch',
    `{"func":"A","tags":{"customer":"42","kind":"nightly"}}
{"func":"B","tags":{"customer":"42"}}
{"func":"A","tags":{"customer":"43"}}
{"func":"A"}
`,
  )
  assert.deepEqual(await home.jobq(['enqueue', ...DB, '--batch', 'batch']), printed(4))
}

describe('--tag', () => {
  test('of enqueue is kept, and shown', async t => {
    const home = new Home(t)
    const words = ['enqueue', 'F', ...DB, '--tag', 'customer=42', '--tag', 'q=a=b c']
    assert.deepEqual(await home.jobq(words), printed(1))
    home.write('lines', '1\n2\n')
    const many = ['enqueue', 'F', ...DB, '--args-from', 'lines', '--tag', 'customer=43']
    assert.deepEqual(await home.jobq(many), printed(2))
    const tags = {customer: '42', q: 'a=b c'}
    assert.deepEqual(field(await json(home, ['list']), 'tags'), [tags, ...Array(2).fill({customer: '43'})])
    const shown = JSON.parse((await home.jobq(['show', '1', ...DB, '--json'])).stdout)
    assert.deepEqual(shown.tags, tags)
    assert.match((await home.jobq(['show', '1', ...DB])).stdout, /\ntags +customer=42 q=a=b c\n/)
    assert.doesNotMatch((await home.jobq(['list', ...DB])).stdout, /customer/)
  })

  test('of list, cancel and wait chooses jobs', async t => {
    const home = new Home(t)
    await enqueued(home)
    const listed = async (...words: string[]) => field(await json(home, ['list', ...words]), 'id')
    assert.deepEqual(await listed('--tag', 'customer=42'), [1, 2])
    assert.deepEqual(await listed('--tag', 'customer'), [1, 2, 3])
    assert.deepEqual(await listed('--tag', 'customer', '--tag', 'kind=nightly'), [1])
    assert.deepEqual(await listed('--tag', 'customer=42', '--func', 'A'), [1])
    assert.deepEqual(await listed('--tag', 'none=1'), [])
    assert.deepEqual(await home.jobq(['cancel', ...DB, '--tag', 'customer=42', '--dry-run']), printed(2))
    const waiting = home.start(['wait', ...DB, '--tag', 'customer'])
    const tracked = () => {
      const file = new Sqlite(home.path('jobs.db'), {readonly: true})
      try {
        return file.prepare('SELECT count(*) FROM jobq_wait').pluck().get()
      } finally {
        file.close()
      }
    }
    await until('they are waited for', () => tracked() === 3)
    assert.deepEqual(await home.jobq(['cancel', ...DB, '--tag', 'customer=42']), printed(2))
    assert.deepEqual(await listed(), [3, 4])
    assert.deepEqual(await home.jobq(['cancel', ...DB, '--tag', 'customer', '--func', 'A']), printed(1))
    const {code} = await waiting.exited
    assert.equal(code, 5)
    assert.equal(waiting.stdout, '1\taborted\tcancelled\n2\taborted\tcancelled\n3\taborted\tcancelled\n')
    assert.deepEqual(await listed(), [4])
  })

  test('of retry --all chooses failed jobs, whose tags go with them', async t => {
    const home = new Home(t)
    await enqueued(home)
    const work = ['work', ...DB, '--drain', '--exec', 'A=false', '--exec', 'B=false']
    assert.equal((await home.jobq(work)).code, 5)
    const failed = await json(home, ['list', '--failed', '--tag', 'customer=42'])
    assert.deepEqual(field(failed, 'job_id').toSorted(), [1, 2])
    assert.deepEqual(
      failed.find(({job_id}) => job_id === 1),
      {...failed.find(({job_id}) => job_id === 1), tags: {customer: '42', kind: 'nightly'}},
    )
    const dry = await json(home, ['retry', '--all', '--tag', 'customer=42', '--dry-run'])
    assert.equal((dry as unknown as {retried: unknown[]}).retried.length, 2)
    assert.equal((await home.jobq(['retry', '--all', ...DB, '--tag', 'customer=42'])).stdout, '5\n6\n')
    assert.deepEqual((await json(home, ['list'])).map(({id, tags}) => [id, tags]).toSorted(), [
      [5, {customer: '42', kind: 'nightly'}],
      [6, {customer: '42'}],
    ])
    await home.jobq(['enqueue', 'A', ...DB, '--tag', 'x=1'])
    const done = ['work', ...DB, '--drain', '--exec', 'A=true', '--exec', 'B=true']
    assert.equal((await home.jobq(done)).code, 0)
    const file = new Sqlite(home.path('jobs.db'), {readonly: true})
    assert.deepEqual(file.prepare('SELECT DISTINCT job_id FROM jobq_tag').pluck().all(), [1, 2, 3])
    file.close()
  })

  test('goes along with a copy', async t => {
    const home = new Home(t)
    await enqueued(home)
    assert.deepEqual(await home.jobq(['copy', ...DB, '--to', 'other.db']), printed(4))
    const rows = JSON.parse((await home.jobq(['list', '--db', 'other.db', '--json'])).stdout)
    assert.deepEqual(field(rows, 'tags'), [
      {customer: '42', kind: 'nightly'},
      {customer: '42'},
      {customer: '43'},
      {},
    ])
  })

  const refused: [what: string, words: string[], says: string[]][] = [
    ['without a value', ['enqueue', 'F', '--tag', 'a'], ['--tag: expected NAME=VALUE, got "a"']],
    [
      'an empty value',
      ['enqueue', 'F', '--tag', 'a='],
      ['--tag: expected a value for the tag a of 1 to 255'],
    ],
    [
      'an empty name',
      ['enqueue', 'F', '--tag', '=a'],
      ["--tag: expected a tag's name of 1 to 255 characters, got 0"],
    ],
    ['256 letters', ['enqueue', 'F', '--tag', `a=${'x'.repeat(256)}`], ['of 1 to 255 characters, got 256']],
    ['a blank at an end', ['enqueue', 'F', '--tag', 'a= b'], ['without blanks at its ends, got " b"']],
    [
      'a name twice',
      ['enqueue', 'F', '--tag', 'a=1', '--tag', 'a=2'],
      ['expected each name once, got "a" twice'],
    ],
    ['with --batch', ['enqueue', '--batch', 'lines', '--tag', 'a=1'], ['--tag: expected none with --batch']],
    ['an empty one to list', ['list', '--tag', ''], ["--tag: expected a tag's name of 1 to 255 characters"]],
    ['with ids', ['cancel', '1', '--tag', 'a'], ['got ids and --tag']],
    ['with --all', ['wait', '--all', '--tag', 'a'], ['expected --all or --tag, got both']],
    ['of ids to wait for', ['wait', '1', '--tag', 'a'], ['expected ids of jobs or --tag, got both']],
  ]
  for (const [what, [command = '', ...words], says] of refused)
    test(`${what}: refused`, async t => {
      const home = new Home(t)
      home.write('lines', '')
      await assertRefused(home, [command, ...DB, ...words], usage(...says))
    })

  for (const [tags, says] of [
    ['{"customer":42}', 'line 2: tags.customer: expected text, got 42'],
    ['["a"]', 'line 2: tags: expected an object of texts, got an array'],
    ['{"a":""}', 'line 2: tags: expected a value for the tag a of 1 to 255 characters, got 0'],
  ] as const)
    test(`of a line, ${tags}: the line and the field are named, and nothing is stored`, async t => {
      const home = new Home(t)
      home.write('lines', `{"func":"F"}\n{"func":"F","tags":${tags}}\n`)
      assertOneLine(await home.jobq(['enqueue', ...DB, '--batch', 'lines']), usage(says))
      assert.deepEqual(home.jobs(), [])
    })
})
