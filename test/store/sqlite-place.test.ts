/** That a SQLite database is one file with one -wal: two ways to it, and what comes to its place while it is open. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Sqlite from 'better-sqlite3'
import {JobQueue, StoreError} from '../../src/lib/index.ts'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {assertRefused} from '../support/refusal.ts'
import type {Finished, Started} from '../support/started.ts'
import {until} from '../support/until.ts'

describe('two ways to one file', () => {
  const commands: string[][] = [
    ['enqueue', 'F'],
    ['enqueue', 'F', '--args-from', '-'],
    ['list'],
    ['stats'],
    ['work', '--once', '--exec', 'F=true'],
    ['init'],
    ['copy', '--to', 'to.db'],
  ]

  test('by a hard link: each of them is refused by all that opens it, and nothing is changed', async t => {
    const home = await homeWithJob(t)
    linkSync(home.path('jobs.db'), home.path('other.db'))
    for (const name of ['jobs.db', 'other.db'])
      for (const words of commands)
        await assertRefused(home, [...words, '--db', name], {
          exit: 1,
          code: 'UNSAFE',
          says: ['expected a file with one name, got one with 2 (hard links)', name, 'keep one of them'],
        })
    await assert.rejects(JobQueue.open({db: home.path('other.db')}), {code: 'UNSAFE'})
    rmSync(home.path('other.db'))
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(2))
  })

  test('by a symbolic link: it is one file all the same', async t => {
    const home = await homeWithJob(t)
    symlinkSync(home.path('jobs.db'), home.path('other.db'))
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'other.db']), printed(2))
  })

  test('by a symbolic link to a file that is not there yet: that one is made, where its folder is', async t => {
    const home = new Home(t)
    mkdirSync(home.path('d'))
    symlinkSync('real.db', home.path('d/second.db'))
    symlinkSync('d/second.db', home.path('first.db'))
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'first.db']), printed(1))
    assert.equal(statSync(home.path('d/real.db')).mode & 0o777, 0o600)
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'd/real.db']), printed(2))

    symlinkSync('missing/real.db', home.path('nowhere.db'))
    symlinkSync('circle.db', home.path('circle.db'))
    for (const words of [
      ['enqueue', 'F'],
      ['init', '--dry-run'],
    ]) {
      await assertRefused(home, [...words, '--db', 'nowhere.db'], {
        exit: 1,
        code: 'UNREACHABLE',
        says: [home.path('missing/real.db'), 'nowhere.db leads to', 'mkdir -p'],
      })
      await assertRefused(home, [...words, '--db', 'circle.db'], {
        exit: 1,
        code: 'UNREACHABLE',
        says: ['leads in a circle', 'circle.db'],
      })
    }
  })

  for (const name of ['jobs.db', 'a\\b c\td.db'])
    test(`a mount of the file alone (${JSON.stringify(name)}) is refused, one of its folder is not`, async t => {
      const home = await homeWithJob(t)
      for (const folder of ['alone', 'whole']) mkdirSync(home.path(folder))
      const at = join('alone', name)
      const ran = await mounted(home.path('jobs.db'), home.write(at, ''), async () => {
        symlinkSync(home.path(at), home.path('link.db'))
        for (const db of [at, 'link.db']) {
          const {code, stderr} = await home.jobq(['enqueue', 'F', '--db', db])
          assert.equal(code, 1)
          assert.match(
            stderr,
            /expected a file in its folder, got one that is mounted by itself.*mount the folder/,
          )
        }
        await assert.rejects(JobQueue.open({db: home.path(at)}), {code: 'UNSAFE'})
      })
      if (!ran) return t.skip('may not mount here')
      await mounted(home.folder, home.path('whole'), async () => {
        assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'whole/jobs.db']), printed(2))
        assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(3))
      })
    })
})

/** How another file comes to the place of jobs.db, and what is said of it. */
const CHANGES: readonly [what: string, change: (home: Home) => void, says: RegExp][] = [
  [
    'a backup moved over it',
    home => renameSync(home.path('backup.db'), home.path('jobs.db')),
    /replaced by another file/,
  ],
  [
    'deleted and made anew',
    home => {
      rmSync(home.path('jobs.db'))
      copyFileSync(home.path('backup.db'), home.path('jobs.db'))
    },
    /was (deleted|replaced by another file) while/,
  ],
  [
    'deleted with all that lies beside it, and made anew',
    home => {
      for (const end of ['', '-wal', '-shm']) rmSync(home.path(`jobs.db${end}`))
      copyFileSync(home.path('backup.db'), home.path('jobs.db'))
    },
    /was (deleted|replaced by another file) while/,
  ],
  ['emptied', home => truncateSync(home.path('jobs.db')), /was emptied/],
]

describe('a file that is replaced while it is open', () => {
  for (const [what, change, says] of CHANGES) {
    test(`${what}, under \`jobq work\`: it ends with a word, and the new file is whole`, async t => {
      const home = await homeWithBackup(t)
      const manager = await working(home)
      assert.deepEqual(await home.jobq(['enqueue', 'Old', '--db', 'jobs.db']), printed(3))
      change(home)
      const {code, stderr} = await manager.exited
      assert.equal(code, 1, stderr)
      assert.match(stderr, says)
      await assertIsNew(home, what)
    })

    test(`${what}, under a \`jobq work\` that does not watch the folder`, async t => {
      const home = await homeWithBackup(t)
      // All of its turns are full: it has stopped to listen
      const many = Array.from({length: 3000}, () => '{"func":"Many"}\n').join('')
      assert.equal((await home.jobq(['enqueue', '--batch', '-', '--db', 'jobs.db'], {stdin: many})).code, 0)
      const manager = home.start(['work', '--db', 'jobs.db', '--exec', 'Many=sleep 0.05'])
      await manager.prints(/ 30 Many completed/)
      change(home)
      const {code, stderr} = await manager.exited
      assert.equal(code, 1, stderr)
      assert.match(stderr, says)
      await assertIsNew(home, what)
    })

    test(`${what}, under an application’s queue: all of its calls are refused from then on`, async t => {
      const home = await homeWithBackup(t)
      const queue = await JobQueue.open({db: home.path('jobs.db')})
      t.after(() => queue.close())
      await queue.enqueue('Old')
      const waiting = queue.wait(1)
      const isRefused = (error: unknown) =>
        error instanceof StoreError && error.code === 'REPLACED' && says.test(error.message)
      change(home)
      await assert.rejects(waiting, isRefused)
      await assert.rejects(queue.enqueue('Old'), isRefused)
      await assert.rejects(queue.list(), isRefused)
      await assert.rejects(queue.enqueueMany(Array.from({length: 3000}, () => ({func: 'Old'}))), isRefused)
      await queue.close()
      await assertIsNew(home, what)
    })
  }

  test('whoever opens the new one waits until the old one’s -wal is gone, or is told whose it is', async t => {
    const home = await homeWithBackup(t)
    const manager = await working(home)
    assert.deepEqual(await home.jobq(['enqueue', 'Old', '--db', 'jobs.db']), printed(3))
    manager.kill('SIGSTOP')
    renameSync(home.path('backup.db'), home.path('jobs.db'))
    await assertRefusesStranger(home, manager)
    const enqueue = home.jobq(['enqueue', 'New', '--db', 'jobs.db'])
    manager.kill('SIGCONT')
    assert.deepEqual(await enqueue, printed(2))
    assert.equal((await manager.exited).code, 1)
    assert.deepEqual(contents(home), [['Backed', 'New'], 'ok'])
  })

  test('where nothing goes on it is noticed, too: by a queue that is only open, by workers that are all busy', async t => {
    const home = await homeWithBackup(t)
    let told = ''
    const queue = await JobQueue.open({db: home.path('jobs.db'), onTrouble: message => (told = message)})
    t.after(() => queue.close())
    const manager = home.start(['work', '--db', 'jobs.db', '--exec', 'Waits=touch begun; exec sleep 600'])
    await until('the job runs', () => existsSync(home.path('begun')))
    renameSync(home.path('backup.db'), home.path('jobs.db'))
    assert.deepEqual(await home.jobq(['enqueue', 'New', '--db', 'jobs.db']), printed(2))
    await until('the queue’s owner is told', () => /was replaced by another file/.test(told))
    await manager.prints(/was replaced by another file/)
    assert.deepEqual(contents(home), [['Backed', 'New'], 'ok'])
  })

  test('moved elsewhere: what was committed moves along with it', async t => {
    const home = await homeWithBackup(t)
    const queue = await JobQueue.open({db: home.path('jobs.db')})
    t.after(() => queue.close())
    await queue.enqueue('Last')
    renameSync(home.path('jobs.db'), home.path('moved.db'))
    await until('it is noticed', () =>
      queue.list().then(
        () => false,
        () => true,
      ),
    )
    await queue.close()
    assert.deepEqual(
      readdirSync(home.folder).filter(name => name.endsWith('-wal')),
      [],
    )
    assert.deepEqual(
      home
        .jobs('moved.db')
        .map(({func}) => func)
        .sort(),
      ['Backed', 'Last', 'Waits'],
    )
  })

  test('a -shm that is deleted is told as that, and no other copy of SQLite is suspected', async t => {
    const home = await homeWithBackup(t)
    const queue = await JobQueue.open({db: home.path('jobs.db')})
    t.after(() => queue.close())
    await queue.list()
    rmSync(home.path('jobs.db-shm'))
    let told = ''
    await until('it is noticed', () =>
      queue.list().then(
        () => false,
        error => {
          told = `${error.code} ${error.message}`
          return true
        },
      ),
    )
    assert.match(told, /^UNSAFE .*has lost its locks, since its -shm was deleted/)
  })

  test('a -wal that is taken away is noticed, too', async t => {
    const home = await homeWithBackup(t)
    const queue = await JobQueue.open({db: home.path('jobs.db')})
    t.after(() => queue.close())
    rmSync(home.path('jobs.db-wal'))
    const isRefused = {code: 'REPLACED', message: /has lost its -wal/}
    await until('it is noticed', () =>
      queue.list().then(
        () => false,
        () => true,
      ),
    )
    await assert.rejects(queue.enqueue('Lost'), isRefused)
    await queue.close()
    assert.deepEqual(contents(home)[1], 'ok')
  })
})

describe('another copy of SQLite in the process', () => {
  const LIBRARY = new URL('../../src/lib/index.ts', import.meta.url).href
  const PACKAGE = fileURLToPath(new URL('../../node_modules/better-sqlite3', import.meta.url))
  const OTHERS = {
    'node:sqlite': {prepare: () => {}, open: `new (await import('node:sqlite')).DatabaseSync('jobs.db')`},
    'another better-sqlite3': {
      prepare: (home: Home) =>
        cpSync(PACKAGE, home.path('other/better-sqlite3'), {recursive: true, dereference: true}),
      open: `new (await import(process.cwd() + '/other/better-sqlite3/lib/index.js')).default('jobs.db')`,
    },
  }
  /** Enqueues until it is refused; says what it was warned of, what it has stored, and why that ended. */
  const application = (body: string) => `
    import {JobQueue} from ${JSON.stringify(LIBRARY)}
    const warning = new Promise(resolve => process.on('warning', warning =>
      warning.code === 'JOBQ_TWO_SQLITES' && resolve(warning.message)))
    const queue = await JobQueue.open({db: 'jobs.db'})
    const enqueueUntil = async end => {
      let isOver = false
      end?.then(() => (isOver = true))
      while (!isOver) {
        await queue.enqueue('Mine')
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    }
    ${body}`

  for (const [name, {prepare, open}] of Object.entries(OTHERS)) {
    test(`${name}: as long as both have it open, it is warned of once, with what there is`, async t => {
      if (process.platform !== 'linux') return t.skip('only Linux tells')
      const home = await homeWithJob(t)
      prepare(home)
      const body = `const other = ${open}
        other.prepare('SELECT count(*) FROM job').get()
        await enqueueUntil(warning)
        console.log(await warning)`
      const {stdout, stderr} = await run(home, application(body))
      assert.match(
        stdout,
        /jobs\.db is open in this process by two copies of SQLite \(.*better-sqlite3.*\.node, /,
      )
      assert.ok(stdout.includes(name === 'node:sqlite' ? name : home.path('other')), stdout)
      assert.equal(stderr.match(/JOBQ_TWO_SQLITES/g)?.length, 1, stderr)
    })

    test(`${name}: when it has closed the file, nothing is written any more, and nobody’s job is lost`, async t => {
      if (process.platform !== 'linux') return t.skip('only Linux tells')
      for (const others of [true, false]) {
        const home = await homeWithJob(t)
        prepare(home)
        const keeper = others ? await working(home) : null
        const body = `const other = ${open}
          other.prepare('SELECT count(*) FROM job').get()
          other.close()
          const error = await enqueueUntil().catch(error => error)
          console.log(error.code, error.message)
          await queue.close()`
        const {stdout} = await run(home, application(body))
        assert.match(stdout, others ? /^UNSAFE .*has lost its locks/ : /^REPLACED .*has lost its -wal/)
        const stored = await home.jobq(['enqueue', 'Theirs', '--db', 'jobs.db'])
        assert.equal(stored.code, 0, stored.stderr)
        keeper?.kill('SIGTERM')
        await keeper?.exited
        const [funcs, integrity] = contents(home)
        assert.deepEqual([funcs[0], funcs.at(-1), integrity], ['Waits', 'Theirs', 'ok'])
      }
    })
  }

  test('node:sqlite: what is acknowledged between its close and the next look is kept, by whichever call', async t => {
    if (process.platform !== 'linux') return t.skip('only Linux tells')
    const calls = [`queue.enqueue('Mine')`, `queue.enqueueMany(new Array(1500).fill({func: 'Mine'}))`]
    const cases = calls.flatMap(call => [true, false].map(others => ({call, others})))
    for (const {call, others, isAtOnce} of cases.flatMap(one =>
      [true, false].map(isAtOnce => ({...one, isAtOnce})),
    )) {
      const home = await homeWithJob(t)
      const keeper = others ? await working(home) : null
      const body = `const {DatabaseSync} = await import('node:sqlite')
        const {spawnSync} = await import('node:child_process')
        const theirs = [${JSON.stringify(RUN_JS)}, 'enqueue', 'Theirs', '--db', 'jobs.db']
        const enqueueTheirs = () => spawnSync(process.execPath, theirs, {stdio: 'inherit'})
        await ${call}
        const other = new DatabaseSync('jobs.db')
        other.prepare('SELECT count(*) FROM job').get()
        other.close()
        if (!${isAtOnce}) enqueueTheirs()
        const error = await ${call}.catch(error => error)
        if (${isAtOnce}) enqueueTheirs()
        console.log(error.code)
        await queue.close()`
      const {stdout, stderr} = await run(home, application(body))
      const count = call.includes('Many') ? 1500 : 1
      assert.deepEqual([stdout, stderr], [`${count + 2}\n${others ? 'UNSAFE' : 'REPLACED'}\n`, ''])
      keeper?.kill('SIGTERM')
      await keeper?.exited
      const mine = new Array<string>(count).fill('Mine')
      assert.deepEqual(contents(home), [['Waits', ...mine, 'Theirs'], 'ok'])
    }
  })

  test('a file that is only read there is noticed as well', async t => {
    if (process.platform !== 'linux') return t.skip('only Linux tells')
    const home = await homeWithJob(t)
    const body = `(await import('node:fs')).readFileSync('jobs.db')
      console.log((await enqueueUntil().catch(error => error)).message)`
    assert.match((await run(home, application(body))).stdout, /has lost its locks/)
  })

  test('many connections of one copy are no other', async t => {
    const home = await homeWithJob(t)
    const body = `const {default: Sqlite} = await import(${JSON.stringify(import.meta.resolve('better-sqlite3'))})
      const others = Array.from({length: 5}, () => new Sqlite('jobs.db'))
      for (const other of others) other.prepare('SELECT count(*) FROM job').get()
      for (const other of others.slice(2)) other.close()
      const second = await JobQueue.open({db: 'jobs.db'})
      await second.close()
      await enqueueUntil(new Promise(resolve => setTimeout(resolve, 1500)))
      await queue.close()`
    assert.deepEqual(await run(home, application(body)), {code: 0, signal: null, stdout: '', stderr: ''})
  })

  async function run(home: Home, program: string): Promise<Finished> {
    return home.jobq([], {command: [process.execPath, '--input-type=module', '-e', program]})
  }
})

async function homeWithJob(t: TestContext): Promise<Home> {
  const home = new Home(t)
  assert.deepEqual(await home.jobq(['enqueue', 'Waits', '--db', 'jobs.db']), printed(1))
  return home
}

/** jobs.db, of two jobs, and backup.db, of the first of them under another name. */
async function homeWithBackup(t: TestContext): Promise<Home> {
  const home = new Home(t)
  for (const db of ['backup.db', 'jobs.db'])
    assert.deepEqual(await home.jobq(['enqueue', 'Backed', '--db', db]), printed(1))
  assert.deepEqual(await home.jobq(['enqueue', 'Waits', '--db', 'jobs.db']), printed(2))
  return home
}

async function working(home: Home): Promise<Started> {
  const manager = home.start(['work', '--debug', '--db', 'jobs.db', '--exec', 'None=true'])
  await manager.prints(/nothing ready/)
  return manager
}

/** The backup, or nothing at all, can be used; nothing of the old file is in it. */
async function assertIsNew(home: Home, what: string): Promise<void> {
  const before = what === 'emptied' ? [] : ['Backed']
  const {code, stderr} = await home.jobq(['enqueue', 'New', '--db', 'jobs.db'])
  assert.deepEqual([code, stderr], [0, ''])
  assert.deepEqual(contents(home), [[...before, 'New'], 'ok'])
  assert.ok(!existsSync(home.path('jobs.db-wal')))
}

async function assertRefusesStranger(home: Home, {pid}: Started): Promise<void> {
  const {code, stderr} = await home.jobq(['enqueue', 'New', '--db', 'jobs.db'])
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`process ${pid} has the -wal of \\S+ open, and not the file`))
}

function contents(home: Home): [funcs: string[], integrity: unknown] {
  const db = new Sqlite(home.path('jobs.db'))
  try {
    const integrity = db.pragma('integrity_check', {simple: true})
    const sql = 'SELECT name FROM job JOIN func ON func.id = func_id ORDER BY job.id'
    return [db.prepare<[], string>(sql).pluck().all(), integrity]
  } finally {
    db.close()
  }
}

/** @returns false where that is not allowed */
async function mounted(what: string, at: string, use: () => Promise<void>): Promise<boolean> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  if (spawnSync('mount', ['--bind', what, at]).status !== 0) return false
  try {
    await use()
  } finally {
    spawnSync('umount', [at])
  }
  return true
}
