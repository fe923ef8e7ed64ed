/**
 * Whatever words jobq is given: every command and flag of the manifest, mixed with words that have been trouble to someone.
 * It ends, with a status that docs/commands.md has, in one line of printable text and without a stack trace; no word is run
 * by a shell; and what `enqueue` has printed an id for lies there byte for byte, and is listed.
 */
import assert from 'node:assert/strict'
import {existsSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import fc from 'fast-check'
import {assertHonest, CommandLines} from '../support/command-lines.ts'
import {fuzz, nastyJson, nastyText, nastyWord} from '../support/fuzz.ts'
import {Home} from '../support/home.ts'

interface Flag {
  name: string
  type: 'boolean' | 'option'
  options?: string[]
}

interface Manifest {
  commands: Record<string, {flags: Record<string, Flag>}>
}

const {commands}: Manifest = JSON.parse(
  readFileSync(new URL('../../oclif.manifest.json', import.meta.url), 'utf8'),
)
const flagsOf = (command: string) => Object.values(commands[command]!.flags)
const allFlags = Object.keys(commands).flatMap(flagsOf)

/** What is meant for a flag, so that it gets further than to its own check. */
const MEANT: Record<string, string[]> = {
  db: [
    'jobs.db',
    'sqlite:jobs.db',
    'mysql://u:hunter2@127.0.0.1:1/d',
    'postgres://u:hunter2@127.0.0.1:1/d',
    'dbi:SQLite:x',
  ],
  to: ['copy.db', 'postgres://u:hunter2@127.0.0.1:1/d', 'dbi:mysql:database=d;host=127.0.0.1;port=1'],
  config: ['/dev/null', 'no.json', '.'],
  arg: ['{"a":1}', '[1e400]', '"\\ud800"', 'nul'],
  'arg-file': ['-', '/dev/null', '.', 'none', '/dev/full'],
  'args-from': ['-', '/dev/null', '.', 'none'],
  batch: ['-', '/dev/null', '.', 'none'],
  serializer: ['json', 'msgpack', 'none'],
  exec: ['F=true', 'G=exit 3', 'F=exit 100', "F=printf '\\033[31m'", 'F=', '=true', 'F'],
  workers: ['.', 'none', '/dev/null'],
  log: ['log', '.', '/dev/full'],
  'admin-host': ['127.0.0.1', '::1', 'nowhere.invalid', ''],
  'admin-port': ['1', '90000', '65535', '65536'],
  'max-workers': ['1', '2', '10001'],
  'min-spare-workers': ['0', '1', '2'],
  'max-spare-workers': ['0', '1', '2'],
  timeout: ['0', '0s'],
  func: ['F', 'G'],
  uniqkey: ['k', '1'],
  priority: ['0', '1', '4294967295'],
  at: ['2030-01-01', '@1', '2h'],
  since: ['2030-01-01', '@1', '2h'],
  abilities: ['F', 'F,G', ','],
  watch: ['0'],
}
/** Others would be looked up in the network, would fill the machine with processes, or would write anywhere. */
const ONLY_MEANT = [
  'admin-host',
  'exec',
  'max-workers',
  'min-spare-workers',
  'max-spare-workers',
  'log',
  'watch',
  'timeout',
]
/** They name files. */
const PATHS = ['db', 'to', 'config', 'arg-file', 'args-from', 'batch', 'workers']

function meantFor(flag: Flag): fc.Arbitrary<string> {
  return fc.constantFrom(...(flag.options ?? MEANT[flag.name] ?? ['1', '5m']))
}

function valueFor(flag: Flag): fc.Arbitrary<string> {
  const meant = meantFor(flag)
  if (ONLY_MEANT.includes(flag.name)) return meant
  return fc.oneof(
    meant,
    PATHS.includes(flag.name) ? nastyWord.map(word => word.replaceAll('/', '')) : nastyWord,
  )
}

function wordsOf(flag: Flag, value = valueFor(flag)): fc.Arbitrary<string[]> {
  const bare: string[] = [`--${flag.name}`]
  const word = (text: string): string[] => [`--${flag.name}=${text}`]
  if (flag.type === 'boolean')
    return fc.oneof(
      {weight: 6, arbitrary: fc.constant(bare)},
      {weight: 1, arbitrary: fc.constant(word('true'))},
    )
  return fc.oneof(
    {weight: 6, arbitrary: value.map(text => [...bare, text])},
    {weight: 6, arbitrary: value.map(word)},
    {weight: 1, arbitrary: fc.constant(bare)},
  )
}

/** As a user may mean it: each flag once, and one word of them all that is odd. */
function meantOf(flag: Flag): fc.Arbitrary<string[]> {
  if (flag.type === 'boolean') return fc.constant([`--${flag.name}`])
  return meantFor(flag).map(text => [`--${flag.name}`, text])
}

/** Flags with which a command goes on until it is told to end. */
const GOES_ON: readonly string[] = ['watch', 'follow']

/** Without it the command may go on for as long as it likes. */
const ENDING: Record<string, string[]> = {
  // It would serve until it is told to end
  web: ['--port', '99999'],
  work: ['--once'],
  wait: ['--timeout', '0'],
}

function lineOf(command: string): fc.Arbitrary<string[]> {
  const own = flagsOf(command).filter(({name}) => !GOES_ON.includes(name))
  const odd = own.length > 0 ? own : allFlags.filter(({name}) => !GOES_ON.includes(name)) // help has none
  const piece = fc.oneof(
    {weight: 8, arbitrary: fc.constantFrom(...odd).chain(flag => wordsOf(flag))},
    {weight: 3, arbitrary: fc.constantFrom(['F'], ['1'])},
    {weight: 2, arbitrary: nastyWord.map(word => [word])},
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...allFlags.filter(({name}) => !GOES_ON.includes(name)))
        .chain(flag => wordsOf(flag)),
    },
  )
  const wild = fc.array(piece, {maxLength: 6})
  const word = fc.constantFrom([], ['F'], ['1'], ['1'])
  const meant = fc
    .subarray(own, {maxLength: Math.min(3, own.length)})
    .chain(flags => fc.tuple(word, ...flags.map(meantOf), fc.constantFrom([], ['--json'])))
  const nearly = fc
    .tuple(
      meant,
      fc.constantFrom(...odd).chain(flag => wordsOf(flag)),
    )
    .map(([pieces, words]) => [...pieces, words])
  return fc
    .oneof(wild, meant, nearly)
    .map(pieces => [command, ...(ENDING[command] ?? []), ...(pieces as string[][]).flat()])
}

const names = Object.keys(commands)
/** Starting workers takes as long as fifty other commands. */
const others = names.filter(name => name !== 'work')
const line: fc.Arbitrary<string[]> = fc.oneof(
  {weight: 40, arbitrary: fc.constantFrom(...others).chain(lineOf)},
  {weight: 1, arbitrary: lineOf('work').filter(isAtOnce)},
  {weight: 3, arbitrary: fc.array(nastyWord, {maxLength: 3})},
)

/** A server that is out of reach is waited for by `work --once`, for half a minute. */
function isAtOnce(argv: string[]): boolean {
  return !argv.some(word => /127\.0\.0\.1:1|port=1$/.test(word))
}

/** Settings of a service that come from the environment. */
const environment = fc.oneof(
  {weight: 6, arbitrary: fc.constant({})},
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom('JOBQ_MAX_JOBS', 'JOBQ_PREFETCH', 'JOBQ_MAX_TIME', 'JOBQ_FAIR', 'TZ', 'NO_COLOR'),
        nastyWord,
      )
      .map(([name, value]) => ({[name]: value})),
  },
)

describe('command lines', () => {
  test('any words end in one honest line', async t => {
    const lines = new CommandLines(t)
    await lines.run(['enqueue', 'F', '--db', 'jobs.db'])
    await fuzz(t, [600, 45_000], fc.tuple(line, environment), async ([argv, env]) =>
      assertHonest(await lines.run(argv, env), argv),
    )
    assertNoShell(lines.cwd)
    await assertListed(lines)
  })

  test('so do whole processes, whose end is waited for', async t => {
    const home = new Home(t)
    const env = {JOBQ_DB: 'jobs.db', JOBQ_CONFIG: '/dev/null'}
    const cwd = join(home.write('a/b/c/d/e/none', ''), '..')
    await fuzz(t, [8, 300], line, async argv => {
      const ended = await home.start(argv, {env, cwd}).exited
      return assertHonest(ended, argv)
    })
    assertNoShell(cwd)
  })

  test('what goes on until it is told to end, ends then', async t => {
    const home = new Home(t)
    const env = {JOBQ_DB: 'jobs.db', JOBQ_CONFIG: '/dev/null'}
    await home.jobq(['enqueue', 'G'], {env})
    const going = fc.constantFrom(
      ['stats', '--watch', '9'],
      ['status', '--watch', '9'],
      ['wait', '1'],
      ['work', '--exec', 'F=true'],
      ['web', '--port', '0'],
    )
    await fuzz(t, [4, 30], fc.tuple(going, fc.constantFrom('SIGTERM', 'SIGINT')), async ([argv, signal]) => {
      const started = home.start([...argv], {env})
      if (argv[0] !== 'wait') await started.prints(/./)
      started.kill(signal as NodeJS.Signals)
      const {code, ...ended} = await started.exited
      // Before it has come to listen for it, the signal ends it as it ends any process
      if (argv[0] !== 'wait' || ended.signal === null) assertHonest({code, ...ended}, argv)
      assert.ok([0, 130, 143, null].includes(code), `${code}`)
    })
  })
})

interface Job {
  func: string
  arg: string | null
  serializer: 'json' | 'none'
  uniqkey: string | null
  priority: string | null
}

const job: fc.Arbitrary<Job> = fc.record({
  func: fc.oneof(fc.constant('F'), nastyWord),
  arg: fc.oneof(
    fc.constant(null),
    nastyWord,
    nastyJson.map(value => asWord(JSON.stringify(value))),
  ),
  serializer: fc.constantFrom('json', 'none'),
  uniqkey: fc.oneof(fc.constant(null), nastyWord),
  priority: fc.oneof(fc.constant(null), fc.nat(2 ** 32 - 1).map(String), nastyWord),
})

describe('enqueue', () => {
  test('an id that was printed is a job that lies there, byte for byte', async t => {
    const lines = new CommandLines(t)
    await lines.run(['init'])
    const db = new Sqlite(lines.db)
    t.after(() => db.close())
    let stored = 0
    await fuzz(t, [300, 15_000], job, async given => {
      const {func, arg, serializer, uniqkey, priority} = given
      const argv = [
        ...['enqueue', `--serializer=${serializer}`],
        ...(arg === null ? [] : [`--arg=${arg}`]),
        ...(uniqkey === null ? [] : [`--uniqkey=${uniqkey}`]),
        ...(priority === null ? [] : [`--priority=${priority}`]),
        ...['--', func],
      ]
      const ended = await lines.run(argv)
      const code = assertHonest(ended, argv)
      if (code !== 0) {
        assert.equal(ended.stdout, '')
        return code
      }
      stored++
      assert.match(ended.stdout, /^\d+\n$/)
      const row = db
        .prepare(
          `SELECT name, CAST(arg AS BLOB) AS arg, uniqkey, priority FROM job JOIN func ON func.id = func_id
           WHERE job.id = ?`,
        )
        .get(Number(ended.stdout))
      const bytes = arg === null ? (serializer === 'json' ? Buffer.from('null') : null) : Buffer.from(arg)
      assert.deepEqual(row, {name: func, arg: bytes, uniqkey, priority: Number(priority ?? 0)})
      return code
    })
    assert.ok(stored > 0)
    const {count} = db.prepare('SELECT count(*) AS count FROM job').get() as {count: number}
    assert.equal(count, stored)
    await assertListed(lines)
  })

  const field = fc.oneof(
    {weight: 6, arbitrary: fc.constantFrom('func', 'arg', 'uniqkey', 'priority', 'delay', 'run_after')},
    {weight: 1, arbitrary: nastyText},
  )
  const batchLine = fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .tuple(nastyJson, fc.oneof(fc.constant(0), fc.nat(), nastyJson), fc.option(nastyText, {nil: null}))
        .map(([arg, priority, uniqkey]) => JSON.stringify({func: 'F', arg, priority, uniqkey})),
    },
    {weight: 6, arbitrary: nastyJson.map(arg => JSON.stringify({func: 'F', arg}))},
    {
      weight: 3,
      arbitrary: fc
        .array(fc.tuple(field, nastyJson), {maxLength: 4})
        .map(entries => JSON.stringify(Object.fromEntries(entries))),
    },
    {weight: 1, arbitrary: nastyText},
    {weight: 1, arbitrary: nastyJson.map(value => JSON.stringify(value).slice(0, -1))},
  )
  const bytes = fc.oneof(
    {weight: 12, arbitrary: fc.array(batchLine, {maxLength: 4}).map(each => Buffer.from(each.join('\n')))},
    {weight: 1, arbitrary: fc.uint8Array({maxLength: 40}).map(each => Buffer.from(each))},
  )
  const many = fc.constantFrom(['--batch'], ['F', '--args-from'], ['F', '--serializer=none', '--args-from'])

  test('of a batch all lines are stored, or none', async t => {
    const lines = new CommandLines(t)
    await lines.run(['init'])
    const db = new Sqlite(lines.db)
    t.after(() => db.close())
    const count = () => db.prepare('SELECT count(*) FROM job').pluck().get() as number
    let stored = 0
    await fuzz(t, [300, 15_000], fc.tuple(bytes, many), async ([content, words]) => {
      const before = count()
      writeFileSync(join(lines.cwd, 'lines'), content)
      const argv = ['enqueue', ...words, 'lines']
      const ended = await lines.run(argv)
      const code = assertHonest(ended, argv)
      if (code !== 0) {
        assert.equal(count(), before)
        return code
      }
      const text = content.toString('latin1')
      const wanted = text === '' ? 0 : text.replace(/\n$/, '').split('\n').length
      assert.deepEqual([ended.stdout, count()], [`${wanted}\n`, before + wanted])
      stored += wanted
      return code
    })
    assert.ok(stored > 0)
    await assertListed(lines)
  })
})

describe('configurations', () => {
  const key = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom(
        ...[
          'db',
          'abilities',
          'workersDir',
          'workers',
          'funcs',
          'maxWorkers',
          'max_workers',
          'jobsPerChild',
          'maxRequestPerChild',
        ],
        ...[
          'maxChildMemory',
          'serializer',
          'hooks',
          'plugins',
          'hookTimeout',
          'prefetch',
          'fair',
          'workDelay',
        ],
        ...['maxTime', 'shutdownTimeout', 'autoLoadWorker', 'admin', 'adminHost', 'adminPort', 'debug'],
      ),
    },
    {weight: 1, arbitrary: nastyText},
  )
  // A path of a module would be run, one of a database made
  const value = nastyJson.filter(each => !/\//.test(JSON.stringify(each)))
  const config = fc.oneof(
    {
      weight: 8,
      arbitrary: fc
        .array(fc.tuple(key, value), {maxLength: 3})
        .map(each => JSON.stringify(Object.fromEntries(each))),
    },
    {weight: 1, arbitrary: nastyText},
    {weight: 1, arbitrary: value.map(each => JSON.stringify(each).slice(1))},
  )

  for (const [file, text, counts] of [
    ['c.json', (json: string) => json, [200, 6000]],
    ['c.mjs', (json: string) => `export default ${json}`, [40, 1500]],
  ] as const)
    test(`a ${file} that says anything is taken, or refused in one line`, async t => {
      const lines = new CommandLines(t)
      await fuzz(t, counts, fc.tuple(config, fc.constantFrom('list', 'enqueue')), async ([json, command]) => {
        writeFileSync(join(lines.cwd, file), text(json))
        const argv = [command, ...(command === 'enqueue' ? ['F'] : []), '--config', file, '--db', 'jobs.db']
        return assertHonest(await lines.run(argv), argv)
      })
    })
})

function assertNoShell(folder: string): void {
  assert.ok(!existsSync(join(folder, 'pwned')), 'a word was run by a shell')
}

/** All that was stored is read back by a listing, with its text as it is in the database. */
async function assertListed(lines: CommandLines): Promise<void> {
  for (const name of ['jobs.db', 'copy.db']) {
    const path = name === 'jobs.db' ? lines.db : join(lines.cwd, name)
    if (!existsSync(path)) continue
    const argv = ['list', '--json', '--limit', '4294967295', '--db', path]
    const {code, stdout, stderr} = await lines.run(argv)
    assert.deepEqual([code, stderr], [0, ''])
    const listed = JSON.parse(stdout) as {id: number; func: string; uniqkey: string | null}[]
    const db = new Sqlite(path, {readonly: true})
    try {
      const rows = db
        .prepare('SELECT job.id, name AS func, uniqkey FROM job JOIN func ON func.id = func_id ORDER BY 1')
        .all()
      const found = listed.map(({id, func, uniqkey}) => ({id, func, uniqkey})).sort((a, b) => a.id - b.id)
      assert.deepEqual(found, rows)
    } finally {
      db.close()
    }
  }
}

function asWord(text: string): string {
  return text.replaceAll('\0', '').toWellFormed()
}
