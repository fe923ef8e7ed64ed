/** What --db may name, and what a database gets that is none, that is another's, or that can't be written. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync} from 'node:fs'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Sqlite from 'better-sqlite3'
import {Home, printed} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {cantBeOtherUser, otherUser} from './support/other-user.ts'
import {assertOneLine, assertRefused, type Refusal, usage} from './support/refusal.ts'
import {until} from './support/until.ts'

const QUDO = fileURLToPath(new URL('./fixtures/qudo-0.0214-written.sqlite', import.meta.url))

describe('a database in memory: refused, since it would be gone with the command', {concurrency: 4}, () => {
  const refusal = usage('expected a database that stays, got :memory:', 'name a file')
  for (const words of [
    ['enqueue', 'F'],
    ['enqueue', '--batch', '-'],
    ['work', '--drain', '--exec', 'F=true'],
    ['list'],
    ['stats'],
    ['status'],
    ['retry', '--all'],
    ['pause', '--all'],
    ['resume', '--all'],
    ['init'],
    ['copy', '--to', 'jobs.db'],
  ])
    test(words.join(' '), async t => {
      await assertRefused(new Home(t), [...words, '--db', ':memory:'], refusal)
    })

  test('however it is named', async t => {
    const home = new Home(t)
    await assertRefused(home, ['enqueue', 'F', '--db', 'sqlite::memory:'], refusal)
    await assertRefused(home, ['enqueue', 'F', '--db', 'dbi:SQLite:dbname=:memory:'], refusal)
    await assertRefused(home, ['enqueue', 'F', '--db', 'jobs.db', '--db', ':memory:'], refusal)
    await assertRefused(home, ['enqueue', 'F'], refusal, {env: {JOBQ_DB: ':memory:'}})
    await assertRefused(home, ['copy', '--db', 'jobs.db', '--to', ':memory:'], refusal)
    home.write('jobq.config.json', '{"db": ":memory:"}')
    await assertRefused(home, ['enqueue', 'F'], refusal)
  })
})

describe('a file', {concurrency: 4}, () => {
  const forms: [db: string, file: string][] = [
    ['jobs.db', 'jobs.db'],
    ['./sub/jobs.db', 'sub/jobs.db'],
    ['with blanks & 한글.db', 'with blanks & 한글.db'],
    ['sqlite:jobs.db', 'jobs.db'],
    ['SQLite:jobs.db', 'jobs.db'],
    ['dbi:SQLite:dbname=jobs.db', 'jobs.db'],
    ['dbi:SQLite:jobs.db', 'jobs.db'],
    ['dbi:SQLite(RaiseError=>1):dbname=jobs.db', 'jobs.db'],
  ]
  for (const [db, file] of forms)
    test(`${db}: made on first use, for its user only`, async t => {
      const home = new Home(t)
      mkdirSync(home.path('sub'))
      assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', db]), printed(1))
      assert.deepEqual(await home.jobq(['enqueue', 'F'], {env: {JOBQ_DB: db}}), printed(2))
      assert.equal(home.jobs(file).length, 2)
      assert.equal(statSync(home.path(file)).mode & 0o777, 0o600)
    })

  test('by its whole path, with and without sqlite:', async t => {
    const home = new Home(t)
    for (const [i, before] of ['', 'sqlite:', 'sqlite://'].entries())
      assert.deepEqual(
        await home.jobq(['enqueue', 'F', '--db', before + home.path('jobs.db')]),
        printed(i + 1),
      )
  })

  test('that is empty: filled', async t => {
    const home = new Home(t)
    home.write('jobs.db', '')
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(1))
  })

  test('that Qudo made: used as it is', async t => {
    const home = new Home(t)
    const rows = (db: string) => {
      const file = new Sqlite(home.path(db), {readonly: true})
      const sql =
        'SELECT id, CAST(arg AS BLOB) AS arg, typeof(arg) AS type, uniqkey, priority FROM job ORDER BY id'
      const found = file.prepare(sql).all()
      file.close()
      return found
    }
    home.write('qudo.db', spawnSync('cat', [QUDO]).stdout)
    const before = rows('qudo.db')
    const {code} = await home.jobq(['enqueue', 'Notify', '--db', 'qudo.db'])
    assert.equal(code, 0)
    assert.deepEqual(rows('qudo.db').slice(0, before.length), before)
    assert.equal(rows('qudo.db').length, before.length + 1)
  })

  test('that eight want to make at once: each gets its job stored', async t => {
    const home = new Home(t)
    const eight = Array.from({length: 8}, () => home.jobq(['enqueue', 'F', '--db', 'jobs.db']))
    const ended = await Promise.all(eight)
    assert.deepEqual(
      ended.map(({code, stderr}) => [code, stderr]),
      Array(8).fill([0, '']),
    )
    const ids = ended.map(({stdout}) => Number(stdout)).sort((a, b) => a - b)
    assert.deepEqual(ids, [1, 2, 3, 4, 5, 6, 7, 8])
  })
})

describe('without --db', () => {
  test('XDG_DATA_HOME/jobq/jobq.db, the folder 0700, the file 0600, whatever the umask', async t => {
    const home = new Home(t)
    const data = home.path('deep/data')
    const script = 'umask 0; exec "$@"'
    const command = ['sh', '-c', script, 'sh', process.execPath, RUN_JS]
    assert.deepEqual(await home.jobq(['enqueue', 'F'], {command, env: {XDG_DATA_HOME: data}}), printed(1))
    assert.equal(statSync(`${data}/jobq`).mode & 0o777, 0o700)
    assert.equal(statSync(`${data}/jobq/jobq.db`).mode & 0o777, 0o600)
  })

  for (const [what, XDG_DATA_HOME] of [
    ['no XDG_DATA_HOME', undefined],
    ['an empty one', ''],
    ['a relative one, which is to be ignored', 'data'],
  ] as const)
    test(`${what}: ~/.local/share/jobq/jobq.db`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq(['enqueue', 'F'], {env: {XDG_DATA_HOME}}), printed(1))
      assert.ok(existsSync(home.path('.local/share/jobq/jobq.db')))
    })
})

describe('what is no job store: refused, its bytes as they were', {concurrency: 4}, () => {
  const qudo = spawnSync('cat', [QUDO]).stdout
  const zeroedHeader = Buffer.concat([qudo.subarray(0, 100), Buffer.alloc(3996), qudo.subarray(4096)])
  const files: [what: string, content: Buffer | string, code: string, says: string[]][] = [
    [
      'text',
      'hello, this is text',
      'DAMAGED',
      ['expected a SQLite database, got something else', 'check --db'],
    ],
    ['long text', 'x'.repeat(100_000), 'DAMAGED', ['expected a SQLite database, got something else']],
    ['zeros', Buffer.alloc(8192), 'DAMAGED', ['expected a SQLite database, got something else']],
    ['two bytes', 'SQ', 'DAMAGED', ['expected a SQLite database, got something else']],
    ['a database cut off in its header', qudo.subarray(0, 50), 'DAMAGED', ['is damaged', 'a backup']],
    ['a database cut off after it', qudo.subarray(0, 5000), 'DAMAGED', ['is damaged', 'a backup']],
    ['a database with its first page zeroed', zeroedHeader, 'DAMAGED', ['is damaged', 'a backup']],
  ]
  for (const [what, content, code, says] of files)
    test(what, async t => {
      const home = new Home(t)
      home.write('jobs.db', content)
      await assertRefused(home, ['enqueue', 'F', '--db', 'jobs.db'], {
        exit: 1,
        code,
        says: ['jobs.db', ...says],
      })
    })

  const schemas: [what: string, sql: string, says: string[]][] = [
    [
      'a database of something else',
      'CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1)',
      ["expected Qudo's tables, got orders", 'jobq init --db'],
    ],
    [
      'one with a table job of its own',
      'CREATE TABLE job (id INTEGER, what TEXT)',
      ['its table job has no column func_id', 'give it a file of its own'],
    ],
    [
      'one in WAL mode',
      'PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER)',
      ["expected Qudo's tables"],
    ],
  ]
  for (const [what, sql, says] of schemas)
    test(what, async t => {
      const home = new Home(t)
      const db = new Sqlite(home.path('jobs.db'))
      db.exec(sql)
      db.close()
      const refusal = {exit: 1, code: 'FOREIGN', says: ['is a database of something else', ...says]}
      await assertRefused(home, ['enqueue', 'F', '--db', 'jobs.db'], refusal)
    })

  test('a folder', async t => {
    const home = new Home(t)
    mkdirSync(home.path('jobs'))
    const says = ['expected a SQLite file, got a folder', 'jobs/jobq.db']
    await assertRefused(home, ['enqueue', 'F', '--db', 'jobs'], unreachable(says))
    await assertRefused(home, ['enqueue', 'F', '--db', 'jobs/'], unreachable(says))
  })

  test('a device, a pipe', async t => {
    const home = new Home(t)
    spawnSync('mkfifo', [home.path('pipe')])
    symlinkSync('/dev/null', home.path('device'))
    for (const db of ['pipe', 'device'])
      for (const command of [['enqueue', 'F'], ['list']])
        await assertRefused(
          home,
          [...command, '--db', db],
          unreachable(['got a device, a pipe or a socket', db]),
        )
  })

  test('a file in a folder that is not there', async t => {
    const home = new Home(t)
    const says = [`${home.path('no/such')} does not exist`, `mkdir -p ${home.path('no/such')}`]
    await assertRefused(home, ['enqueue', 'F', '--db', 'no/such/jobs.db'], unreachable(says))
    assert.equal(existsSync(home.path('no')), false)
  })

  test('a file in a file', async t => {
    const home = new Home(t)
    home.write('file', '')
    const refusal = unreachable(["can't open", 'ENOTDIR'])
    await assertRefused(home, ['enqueue', 'F', '--db', 'file/jobs.db'], refusal)
  })

  test('a page zeroed that a job needs: told, nothing stored', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(1))
    const content = home.read('jobs.db')
    home.write('jobs.db', Buffer.concat([content.subarray(0, 4096), Buffer.alloc(content.length - 4096)]))
    const refusal = {exit: 1, code: 'DAMAGED', says: ['is damaged', 'a backup']}
    await assertRefused(home, ['enqueue', 'F', '--db', 'jobs.db'], refusal)
  })
})

describe('words that name no database', () => {
  const forms =
    'give a file (jobs.db, sqlite:jobs.db), mysql://user@host/db, postgres://user@host/db, or a Perl dbi: DSN'
  const refused: [db: string, says: string[]][] = [
    ['', ['--db: expected a database, got an empty one', forms]],
    [' ', ['--db: expected a database, got an empty one']],
    ['sqlite:', ['--db: expected a SQLite file, got no path', forms]],
    [
      'sqlite://host/jobs.db',
      ['--db: expected a SQLite file, got a URL with a host', 'write sqlite:jobs.db'],
    ],
    ['oracle://u@h/d', ['--db: expected a database, got one of an unknown kind, "oracle:"', forms]],
    ['http://h/d', ['"http:"']],
    ['dbi:', ['--db: expected a DSN of SQLite, mysql, MariaDB or Pg, got "dbi::"', forms]],
    ['dbi:Oracle:orcl', ['got "dbi:Oracle:"']],
    ['dbi:SQLite:', ['--db: expected a SQLite file, got no path']],
    ['dbi:mysql:host=h', ['--db: the DSN names no database', 'add dbname=NAME']],
    [
      'mysql:d',
      ["--db: expected a URL of mysql, got one that can't be read", 'write mysql://user:password@host'],
    ],
    ['mysql://u@h:99999/d', ["--db: expected a URL of mysql, got one that can't be read"]],
  ]
  for (const [db, says] of refused)
    test(`${JSON.stringify(db)}: refused`, async t => {
      await assertRefused(new Home(t), ['enqueue', 'F', '--db', db], usage(...says))
    })

  test('in JOBQ_DB: named so', async t => {
    const says = ['JOBQ_DB: expected a database, got one of an unknown kind, "oracle:"']
    await assertRefused(new Home(t), ['enqueue', 'F'], usage(...says), {env: {JOBQ_DB: 'oracle://u@h/d'}})
  })
})

describe('a password never shows', {concurrency: 4}, () => {
  // Nothing listens on port 1
  for (const db of [
    'mysql://u:hunter2@127.0.0.1:1/d',
    'mariadb://u:hunter2@127.0.0.1:1/d',
    'postgres://u:hunter2@127.0.0.1:1/d',
    'postgresql://127.0.0.1:1/d?user=u&password=hunter2',
    'mysql://127.0.0.1:1/d?password=hunter2',
    'mysql://127.0.0.1:1/d?ssl={"key":"hunter2"}',
    'mysql://u:hunter2@127.0.0.1:99999/d',
    'mysql://u:hun%ter2@127.0.0.1:1/d',
    'mysql://u:a/hunter2@127.0.0.1:1/d',
    'mysql://u:a@hunter2@127.0.0.1:1/d',
    'mysql:u:hunter2@h',
    'mysql:/u:hunter2@h/d',
    'postgres:u:hunter2@h/d',
    'sqlite://u:hunter2@h/d',
    'oracle://u:hunter2@h/d',
    'dbi:mysql:database=d;host=127.0.0.1;port=1;password=hunter2',
    'dbi:Pg:dbname=d;host=127.0.0.1;port=1;user=u;password=hunter2',
    'dbi:Pg:host=127.0.0.1;password=hunter2',
    'dbi:X:password=hunter2',
    'dbi:mysql:database=d;host=127.0.0.1;port=1;password=a:hunter2',
    'dbi:mysql:d@h:hunter2',
    'dbi:Pg:dbname=d host=127.0.0.1 port=1 password=hunter2',
    "dbi:Pg:dbname=d;host=127.0.0.1;port=1;password='a b;hunter2'",
    'dbi:Pg:dbname=d;host=127.0.0.1;port=hunter2',
    'my_sql://u:hunter2@h/d',
    'mysql//u:hunter2@h/d',
    'u:hunter2@h/d',
    'user:hunter2@h',
    'hunter2@h/d',
    'host=127.0.0.1 password=hunter2',
    'password = hunter2',
    "user=u password='hunter2 b'",
    'Server=h;Uid=u;Pwd=hunter2',
    'jdbc:mysql://h/d?user=u&password=hunter2',
    'mysql+pymysql://u:hunter2@h/d',
    'mysql://127.0.0.1:1/d?pwd=hunter2',
    'postgres://127.0.0.1:1/d?user=u&sslpassword=hunter2',
    'postgres://127.0.0.1:1/d?hunter2',
    'mysql://u:1/hunter2@127.0.0.1/d',
    'mysql://u:1?hunter2@127.0.0.1/d',
    'mysql://u:1#hunter2@127.0.0.1/d',
    'mysql://u:a@127.0.0.1:1/hunter2@h/d',
    'mysql://u:a,hunter2@127.0.0.1/d',
    'mysql://u:1,hunter2@127.0.0.1/d',
    'sqlite:jobs.db?mode=ro&password=hunter2',
  ])
    test(db, async t => {
      const home = new Home(t)
      const env = {JOBQ_DEBUG: '1'}
      for (const {code, stdout, stderr} of [
        await home.jobq(['enqueue', 'F', '--db', db], {env}),
        await home.call(['enqueue', 'F', '--json', '--db', db], {env}),
      ]) {
        assert.ok(code === 1 || code === 2, String(code))
        assert.doesNotMatch(stdout + stderr, /hunter2|hun%ter2/)
      }
      const {stderr} = await home.call(['enqueue', 'F'], {env: {JOBQ_DB: db}})
      assert.match(stderr, /^jobq: [^\n]+\n$/)
      assert.doesNotMatch(stderr, /hunter2|hun%ter2/)
      assert.doesNotMatch(Object.keys(home.files()).join(), /hunter2/) // nor is it a file's name
    })

  for (const words of [
    ['list', 'URL'],
    ['URL', 'list'],
    ['enqueue', 'F', 'URL'],
    ['retry', 'URL'],
    ['wait', 'URL'],
    ['stats', '--func', 'URL'],
    ['list', '--limit', 'URL'],
    ['list', '--state', 'URL'],
    ['list', '--URL'],
    ['list', '--config', 'URL'],
    ['enqueue', 'F', '--priority', 'URL'],
    ['enqueue', '--batch', 'URL'],
    ['enqueue', 'F', '--arg', 'URL'],
    ['work', '--once', '--exec', 'URL'],
    ['work', '--once', '--abilities', 'URL'],
    ['resume', 'URL'],
  ])
    test(`where no address is expected, ${words.join(' ')}`, async t => {
      const home = new Home(t)
      for (const url of [
        'mysql://u:hunter2@h/d',
        'dbi:mysql:d;password=hunter2',
        'host=h password="hunter2"',
      ])
        for (const more of [[], ['--json']]) {
          const said = words.map(word => word.replace('URL', url))
          const {stdout, stderr} = await home.call([...said, ...more], {env: {JOBQ_DEBUG: '1'}})
          assert.doesNotMatch(stdout + stderr, /hunter2/)
        }
    })
})

describe('a password in the words of a command', {
  concurrency: 4,
  skip: !existsSync('/proc/self/cmdline'),
}, () => {
  for (const words of [
    ['--db', 'mysql://u:hunter2@127.0.0.1:1/d'],
    ['--db=postgres://u:hunter2@127.0.0.1:1/d'],
    ['--db', 'dbi:mysql:database=d;host=127.0.0.1;port=1;user=u;password=hunter2'],
  ])
    test(`is not in ps while it runs: ${words.join(' ')}`, async t => {
      const home = new Home(t)
      home.write('workers/F.mjs', 'export default {work() {}}')
      const work = home.start(['work', ...words])
      await until('it waits for the server', () => work.stderr.includes('trying again'))
      assert.doesNotMatch(work.stderr, /hunter2/)
      const lines = commandLines(work.pid)
      assert.match(lines[0]!, /^jobq work --db.*\*\*\*/)
      for (const line of lines) assert.doesNotMatch(line, /hunter2/)
    })
})

/** Of a process and those that it has started. */
function commandLines(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  return [
    readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    ...children.flatMap(child => commandLines(Number(child))),
  ]
}

describe('what this user may not do', {concurrency: 4, skip: cantBeOtherUser()}, () => {
  const words = ['enqueue', 'F', '--db', 'sub/jobs.db']
  const cases: [what: string, file: number, folder: number, code: string, says: string][] = [
    ['a file that may only be read', 0o444, 0o755, 'READ_ONLY', 'can only be read'],
    ['a file that may not be read', 0o000, 0o755, 'UNREACHABLE', "can't open"],
    ['a file in a folder that may not be written', 0o644, 0o555, 'READ_ONLY', 'can only be read'],
    ['a file in a folder that may not be entered', 0o644, 0o000, 'UNREACHABLE', ''],
  ]
  for (const [what, fileMode, folderMode, code, says] of cases)
    test(`${what}: refused`, async t => {
      const home = new Home(t)
      mkdirSync(home.path('sub'))
      // Not in WAL mode: that needs its two other files to be read at all
      home.write('sub/jobs.db', spawnSync('cat', [QUDO]).stdout)
      home.give(otherUser.uid ?? process.getuid!())
      chmodSync(home.path('sub/jobs.db'), fileMode)
      chmodSync(home.path('sub'), folderMode)
      try {
        const plain = await home.jobq(words, otherUser)
        assertOneLine(plain, {exit: 1, says: [home.path('sub'), says]})
        const json = await home.jobq([...words, '--json'], otherUser)
        assert.deepEqual([json.code, JSON.parse(json.stdout).error.code], [1, code])
      } finally {
        chmodSync(home.path('sub'), 0o755)
      }
      assert.ok(home.read('sub/jobs.db').equals(spawnSync('cat', [QUDO]).stdout))
    })

  test('a new file in a folder that may not be written: refused', async t => {
    const home = new Home(t)
    mkdirSync(home.path('sub'))
    home.give(otherUser.uid ?? process.getuid!())
    chmodSync(home.path('sub'), 0o555)
    await assertRefused(home, words, unreachable(["can't open", 'EACCES', 'this user may']), otherUser)
  })

  test('an XDG_DATA_HOME that may not be written: refused', async t => {
    const home = new Home(t)
    mkdirSync(home.path('data/jobq'), {recursive: true})
    home.give(otherUser.uid ?? process.getuid!())
    chmodSync(home.path('data/jobq'), 0o555)
    await assertRefused(home, ['enqueue', 'F'], unreachable(["can't open", 'EACCES']), otherUser)
  })

  test('an argument, a configuration that may not be read: refused', async t => {
    const home = new Home(t)
    home.write('arg', '1')
    home.write('jobq.config.json', '{}')
    home.give(otherUser.uid ?? process.getuid!())
    chmodSync(home.path('arg'), 0)
    const arg = usage(`can't read "arg" (EACCES: permission denied`)
    const readArg = ['enqueue', 'F', '--arg-file', 'arg']
    assertOneLine(await home.jobq(readArg, otherUser), {exit: 2, says: arg.says})
    chmodSync(home.path('jobq.config.json'), 0)
    const says = ["jobq.config.json can't be read (EACCES: permission denied"]
    assertOneLine(await home.jobq(['enqueue', 'F'], otherUser), {exit: 2, says})
  })
})

/** A small file system of its own, in a namespace of its own: gone with the process, whatever happens. */
const CANT_MOUNT =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status !== 0 &&
  'no file system can be mounted here'

describe('a full file system', {concurrency: 4, skip: CANT_MOUNT}, () => {
  test('a new database: refused', async t => {
    const home = new Home(t)
    const script = 'head -c 200k /dev/zero > full/fill 2>/dev/null; "$@" --db full/jobs.db'
    const says = ['no room left on the file system of', 'full/jobs.db; nothing was stored', 'free some space']
    assertOneLine(await onSmallDisk(home, script), {exit: 1, says})
  })

  test('one that fills up: what was printed is stored, what was not is not', async t => {
    const home = new Home(t)
    home.write('arg', 'x'.repeat(20_000))
    const script = `while "$@" --db full/jobs.db --arg-file arg --serializer none >>ids 2>err
      status=$?; [ $status = 0 ]; do :; done; cp full/jobs.db* .; cat err >&2; exit $status`
    const {code, stderr} = await onSmallDisk(home, script, '400k')
    assertOneLine({code, signal: null, stdout: '', stderr}, {exit: 1, says: ['nothing was stored']})
    const ids = home.read('ids').toString().trim().split('\n').map(Number)
    const stored = new Sqlite(home.path('jobs.db')) // with its log, as it was left
    try {
      assert.ok(ids.length > 0)
      assert.deepEqual(stored.prepare('SELECT id FROM job ORDER BY id').pluck().all(), ids)
      assert.equal(stored.pragma('integrity_check', {simple: true}), 'ok')
    } finally {
      stored.close()
    }
  })

  test('lines from a pipe that have no room: refused', async t => {
    const home = new Home(t)
    const script = 'seq 50000 | TMPDIR=$PWD/full "$@" --db jobs.db --args-from -'
    const says = ['no room in', 'to keep the jobs', 'set TMPDIR']
    assertOneLine(await onSmallDisk(home, script), {exit: 1, says})
    assert.deepEqual(home.jobs(), [])
  })

  function onSmallDisk(home: Home, script: string, size = '200k') {
    const mount = `mkdir -p full && mount -t tmpfs -o size=${size} tmpfs full || exit 99`
    const command = ['unshare', '-rm', 'sh', '-c', `${mount}; ${script}`, 'sh', process.execPath, RUN_JS]
    return home.jobq(['enqueue', 'F'], {command})
  }
})

function unreachable(says: Refusal['says']): Refusal {
  return {exit: 1, code: 'UNREACHABLE', says}
}
