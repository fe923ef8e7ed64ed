/** `jobq enqueue FUNC`: what each word may say, and what a word that says something else gets. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {assertRefused, usage} from '../support/refusal.ts'

const DB = ['--db', 'jobs.db']

describe('functions', () => {
  const names: [what: string, name: string][] = [
    ["a Perl class's", 'MyApp::Worker::Image::Thumbnail'],
    ['with slashes', 'images/thumb/nail'],
    ['only dots', '..'],
    ['a way out of a folder', '../../etc/passwd'],
    ['with a blank', 'send mail'],
    ['a blank alone', ' '],
    ['with a line break', 'two\nlines'],
    ['in Korean', '썸네일'],
    ['an emoji', '📨'],
    ['255 letters', 'x'.repeat(255)],
    ['255 emoji, which are 255 characters', '🦉'.repeat(255)],
    ["a flag's, behind --", '--arg'],
    ['a negative number', '-5'],
    ['what objects have anyway', '__proto__'],
  ]
  for (const [what, name] of names)
    test(`${what}: stored as it is`, async t => {
      const home = new Home(t)
      const ended = await home.jobq(['enqueue', ...DB, '--', name])
      assert.deepEqual(ended, printed(1))
      assert.equal(home.jobs()[0]?.func, name)
    })

  const refused: [what: string, words: string[], says: string[]][] = [
    ['none', [], ['expected a function to enqueue, got none', 'write: jobq enqueue']],
    ['an empty one', [''], ['function: expected a function name of 1 to 255 characters, got 0']],
    ['256 letters', ['x'.repeat(256)], ['1 to 255 characters, got 256']],
    ['256 emoji', ['🦉'.repeat(256)], ['1 to 255 characters, got 256']],
    ['two', ['F', 'G'], ['expected one word that is no flag, FUNC, got also "G"', 'jobq enqueue --help']],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', ...DB, ...words], usage(...says))
    })
})

describe('--priority', () => {
  for (const [text, priority] of [
    ['0', 0],
    ['007', 7],
    ['4294967295', 4_294_967_295],
  ] as const)
    test(`${text}: stored`, async t => {
      const home = new Home(t)
      assert.equal((await home.jobq(['enqueue', 'F', ...DB, '--priority', text])).code, 0)
      assert.equal(home.jobs()[0]?.priority, priority)
    })

  for (const text of ['-1', '1.5', '1e3', '4294967296', 'high', '', ' 1', '0x10', '١'])
    test(`${JSON.stringify(text)}: refused`, async t => {
      const says = [`--priority: expected a whole number from 0 to 4294967295, got ${JSON.stringify(text)}`]
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, '--priority', text], usage(...says))
    })
})

describe('--delay', () => {
  for (const [text, seconds] of [
    ['0', 0],
    ['90', 90],
    ['90s', 90],
    ['5m', 300],
    ['2h', 7200],
    ['3d', 259_200],
    ['2w', 1_209_600],
    ['1h30m', 5400],
    ['1w2d3h4m5s', 788_645],
  ] as const)
    test(`${text}: so long from now`, async t => {
      const home = new Home(t)
      assert.equal((await home.jobq(['enqueue', 'F', ...DB, '--delay', text])).code, 0)
      const [job] = home.jobs()
      assert.equal(job!.run_after - job!.enqueue_time, seconds)
    })

  const refused: [text: string, says: string][] = [
    ...[
      '',
      '-5',
      '-5m',
      '1.5m',
      '5x',
      '1h30',
      '30m1h',
      '1h 30m',
      '5m5m',
      's',
      '1 h',
      '2026-12-24',
      '@90',
      'soon',
    ].map((text): [string, string] => [
      text,
      `--delay: expected a duration such as 90, 90s, 5m, 2h, 3d, 2w or 1h30m, got ${JSON.stringify(text)}`,
    ]),
    ['4294967295', 'before 2106-02-07T06:28:15Z (the column is 32 bits wide), got "4294967295"'],
    ['99999d', 'at most 4294967295s, got "99999d"'],
    ['9'.repeat(400), 'at most 4294967295s'],
  ]
  for (const [text, says] of refused)
    test(`${JSON.stringify(text.slice(0, 20))}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, '--delay', text], usage(...says))
    })

  test('with --at: refused', async t => {
    const words = ['enqueue', 'F', ...DB, '--delay', '5m', '--at', '2h']
    await assertRefused(new Home(t), words, usage('expected one of --delay, --at, got --delay and --at'))
  })
})

describe('--at', () => {
  // What names no zone is local: the tests' processes are in Seoul
  for (const [text, iso] of [
    ['2026-12-24T18:00Z', '2026-12-24T18:00:00Z'],
    ['2026-12-24T18:00', '2026-12-24T09:00:00Z'],
    ['2026-12-24 18:00:30', '2026-12-24T09:00:30Z'],
    ['2026-12-24', '2026-12-23T15:00:00Z'],
    ['2026-12-24T18:00+01:00', '2026-12-24T17:00:00Z'],
    ['2026-12-24T18:00-0530', '2026-12-24T23:30:00Z'],
    ['2026-12-24T18:00:00.999Z', '2026-12-24T18:00:00Z'],
    ['2028-02-29T00:00Z', '2028-02-29T00:00:00Z'],
    ['@1798135200', '2026-12-24T18:00:00Z'],
    ['@0', '1970-01-01T00:00:00Z'],
    ['2106-02-07T06:28:14Z', '2106-02-07T06:28:14Z'],
    ['@4294967294', '2106-02-07T06:28:14Z'],
  ] as const)
    test(`${text}: then`, async t => {
      const home = new Home(t)
      const {code} = await home.jobq(['enqueue', 'F', ...DB, '--at', text])
      assert.deepEqual([code, home.jobs()[0]?.run_after], [0, Date.parse(iso) / 1000])
    })

  test('a duration: from now', async t => {
    const home = new Home(t)
    assert.equal((await home.jobq(['enqueue', 'F', ...DB, '--at', '2h'])).code, 0)
    const [job] = home.jobs()
    assert.equal(job!.run_after - job!.enqueue_time, 7200)
  })

  test('a time of day, of tomorrow: local', async t => {
    const home = new Home(t)
    for (const at of ['22:00', 'tomorrow', 'tomorrow 08:30'])
      assert.equal((await home.jobq(['enqueue', 'F', ...DB, '--at', at])).code, 0)
    const due = home
      .jobs()
      .map(job => new Date((job.run_after + 9 * 3600) * 1000).toISOString().slice(11, 16))
    assert.deepEqual(due, ['22:00', '00:00', '08:30'])
  })

  const [form, range, exists] = [
    '--at: expected a time such as 2026-12-24T18:00, 22:00, tomorrow 08:30, @1798135200 or a duration from now (2h), got',
    '--at: expected a time from 1970 and before 2106-02-07T06:28:15Z (the column is 32 bits wide), got',
    '--at: expected a time that exists in the calendar and on the clock, got',
  ]
  for (const [text, says] of [
    ['', form],
    ['yesterday', form],
    ['tomorow', form],
    ['tomorrow 24:00', form],
    ['tomorrow08:30', form],
    ['08:30 tomorrow', form],
    ['22:60', form],
    ['2200:00', form],
    ['1h30', form],
    ['-2h', form],
    ['@-1', form],
    ['@1.5', form],
    ['24.12.2026', form],
    ['2026-12-24T18', form],
    ['@4294967296', range],
    ['2106-02-07T06:28:15Z', range], // the mark of what waits for others
    ['@4294967295', range],
    ['1969-12-31T23:59:59Z', range],
    ['9999-12-31', range],
    ['2026-02-30', exists],
    ['2026-02-30T10:00Z', exists],
    ['2027-02-29', exists],
    ['2026-13-01', exists],
    ['2026-00-10', exists],
    ['2026-12-24T25:00', exists],
    ['2026-12-24T18:60', exists],
    ['2026-12-24T18:00+99:00', exists],
  ] as const)
    test(`${JSON.stringify(text)}: refused`, async t => {
      const says_ = [`${says} ${JSON.stringify(text)}`]
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, '--at', text], usage(...says_))
    })
})

describe('--uniqkey', () => {
  for (const key of ['k', ' ', 'x'.repeat(255), '키'.repeat(255), '🔑'.repeat(255), 'a\nb'])
    test(`${JSON.stringify(key.slice(0, 10))}, ${[...key].length} characters: stored, and free for others`, async t => {
      const home = new Home(t)
      for (const func of ['F', 'G'])
        assert.equal((await home.jobq(['enqueue', func, ...DB, `--uniqkey=${key}`])).code, 0)
      assert.deepEqual(
        home.jobs().map(({uniqkey}) => uniqkey),
        [key, key],
      )
    })

  for (const [key, length] of [
    ['', 0],
    ['x'.repeat(256), 256],
  ] as const)
    test(`${length} characters: refused`, async t => {
      const says = [`--uniqkey: expected a key of 1 to 255 characters, got ${length}`]
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, '--uniqkey', key], usage(...says))
    })

  test('a second one while the first waits: exit 3; with --if-absent its id and exit 0', async t => {
    const home = new Home(t)
    const words = ['enqueue', 'Report', ...DB, '--uniqkey', 'daily', '--priority', '5', '--at', '@1798135200']
    assert.deepEqual(await home.jobq(words), printed(1))
    await assertRefused(home, words, {
      exit: 3,
      code: 'DUPLICATE',
      says: [
        'refused: a job of Report with uniqkey "daily" is already waiting (job 1)',
        '--if-absent takes this for success',
      ],
    })
    const again = ['enqueue', 'Report', ...DB, '--uniqkey', 'daily', '--if-absent']
    assert.deepEqual(await home.jobq(again), printed(1))
    const {stdout} = await home.jobq([...again, '--json'])
    const facts = {id: 1, func: 'Report', uniqkey: 'daily', priority: 5, run_after: 1_798_135_200}
    assert.deepEqual(JSON.parse(stdout), {...facts, enqueued: false})
    assert.equal(home.jobs().length, 1)
  })

  test('--if-absent stores what is not there', async t => {
    const home = new Home(t)
    const {code, stdout} = await home.jobq([
      ...['enqueue', 'F', ...DB, '--uniqkey', 'k', '--if-absent', '--json', '--delay', '5m'],
    ])
    const {run_after: runAfter} = home.jobs()[0]!
    assert.equal(code, 0)
    assert.deepEqual(JSON.parse(stdout), {
      ...{id: 1, func: 'F', uniqkey: 'k', priority: 0, run_after: runAfter, enqueued: true},
    })
  })

  test('--if-absent without a key: refused', async t => {
    const says = ['--if-absent: expected a --uniqkey with it, got none']
    await assertRefused(new Home(t), ['enqueue', 'F', ...DB, '--if-absent'], usage(...says))
  })
})

describe('--token', () => {
  test('the same again stores nothing, and prints the same id', async t => {
    const home = new Home(t)
    const words = ['enqueue', 'F', ...DB, '--token', 'import 7/1', '--uniqkey', 'k']
    for (let i = 0; i < 2; i++) assert.deepEqual(await home.jobq(words), printed(1))
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...DB, '--token', 'import 7/2']), printed(2))
    assert.equal(home.jobs().length, 2)
  })

  test('another job under it is refused', async t => {
    const home = new Home(t)
    const token = [...DB, '--token', 'a']
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--arg', '1', ...token]), printed(1))
    for (const words of [
      ['G', '--arg', '1'],
      ['F', '--arg', '2'],
    ])
      await assertRefused(
        home,
        ['enqueue', ...words, ...token],
        usage('token "a": expected what it has stored as job 1, got another', 'give each job its own'),
      )
    assert.equal(home.jobs().length, 1)
  })

  test('through the hooks of a configuration, too', async t => {
    const home = new Home(t)
    home.write(
      'jobq.config.mjs',
      `export default {hooks: [{name: 'five', preEnqueue: call => { call.priority = 5 }}]}`,
    )
    for (let i = 0; i < 2; i++)
      assert.deepEqual(await home.jobq(['enqueue', 'F', ...DB, '--token', 'a']), printed(1))
    assert.deepEqual(
      home.jobs().map(({priority}) => priority),
      [5],
    )
  })

  const refused: [what: string, words: string[], says: string[]][] = [
    ['an empty one', ['--token', ''], ['--token: expected a token of 1 to 255 characters, got 0']],
    ['to replace', ['--token', 'a', '--uniqkey', 'k', '--replace'], ['expected one of --replace, --token']],
    ['many', ['--token', 'a', '--args-from', '-'], ['--token: expected none with --args-from']],
    [
      'several databases',
      ['--token', 'a', '--db', 'other.db'],
      ['token: expected one database with it, got 2', 'name the one'],
    ],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, ...words], usage(...says))
    })
})

describe('words', () => {
  const refused: [what: string, words: string[], says: string[]][] = [
    ['a misspelt flag', ['--pririty', '4'], ['unknown flag --pririty (did you mean --priority?']],
    ['a misspelt flag with a value', ['--uniqekey=4'], ['unknown flag --uniqekey (did you mean --uniqkey?']],
    ['a flag that is like none', ['--frobnicate'], ['unknown flag --frobnicate (see `jobq enqueue --help`)']],
    ['a short flag', ['-p', '4'], ['unknown flag -p']],
    ['what objects have anyway', ['--constructor', '1'], ['unknown flag --constructor']],
    ['a flag without its value', ['--arg'], ['--arg: expected a value (JSON), got none']],
    ['a flag twice', ['--arg', '1', '--arg', '2'], ['--arg: expected it once, got it twice']],
    ['a value for what has none', ['--json=true'], ['--json: expected no value, got "true"']],
    ['the other value for what has none', ['--if-absent=false'], ['--if-absent: expected no value']],
    ['two arguments', ['--arg', '1', '--arg-file', 'x'], ['expected one of --arg, --arg-file, got']],
    [
      'a serializer that is none',
      ['--serializer', 'xml'],
      ['--serializer: expected json, msgpack, none, got "xml"'],
    ],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', 'F', ...DB, ...words], usage(...says))
    })

  test('a misspelt command: refused, with the one that was meant', async t => {
    const says = ['expected a command, got "enqeue" (did you mean enqueue? see `jobq --help`)']
    await assertRefused(new Home(t), ['enqeue', 'F'], usage(...says))
    await assertRefused(new Home(t), ['help', 'enqeue'], usage(...says))
  })

  test('flags before the command: refused, and told where they go', async t => {
    const says = ['expected a command, got the flag --db (the command comes first']
    await assertRefused(new Home(t), ['--db', 'jobs.db', 'enqueue', 'F'], usage(...says))
  })
})
