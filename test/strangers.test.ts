/**
 * What other users of the machine can put in the way is neither run nor believed: compiled code, a
 * configuration, workers. Where it takes a second user, root is needed to be both.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {Home, printed} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {cantBeOtherUser, otherUser} from './support/other-user.ts'
import {assertOneLine} from './support/refusal.ts'
import {until} from './support/until.ts'

const LIBRARY = new URL('../dist/lib/index.cjs', import.meta.url).href
/** Nobody is in it. */
const GROUP = 5678
const needsRoot = otherUser.uid === undefined && 'only root can give a file to another user'

describe('the cache of compiled code', {concurrency: 4}, () => {
  /** As it is without a word of the tests' own about it. */
  const NOTHING_SAID = {NODE_COMPILE_CACHE: undefined}

  function enqueue(home: Home, env: Record<string, string | undefined> = {}) {
    return home.jobq(['enqueue', 'F', '--db', 'jobs.db'], {env: {...NOTHING_SAID, ...env}})
  }

  test('is in the home folder, for its user only, and nothing is in TMPDIR', async t => {
    const home = new Home(t)
    mkdirSync(home.path('shared'))
    chmodSync(home.path('shared'), 0o1777)
    for (const id of [1, 2]) assert.deepEqual(await enqueue(home, {TMPDIR: home.path('shared')}), printed(id))
    assert.deepEqual(readdirSync(home.path('shared')), [])
    assert.equal(statSync(home.path('.cache/jobq')).mode & 0o777, 0o700)
    assert.equal(filesIn(home, '.cache/jobq').length > 0, true)
  })

  test('is in XDG_CACHE_HOME; a relative one means nothing', async t => {
    const home = new Home(t)
    mkdirSync(home.path('mine'))
    assert.deepEqual(await enqueue(home, {XDG_CACHE_HOME: home.path('mine')}), printed(1))
    assert.deepEqual([filesIn(home, 'mine/jobq').length > 0, existsSync(home.path('.cache'))], [true, false])
    assert.deepEqual(await enqueue(home, {XDG_CACHE_HOME: 'mine/relative'}), printed(2))
    assert.deepEqual(
      [existsSync(home.path('mine/relative')), existsSync(home.path('.cache/jobq'))],
      [false, true],
    )
  })

  test("is where a link leads, if that is the user's alone", async t => {
    const home = new Home(t)
    mkdirSync(home.path('elsewhere'))
    symlinkSync('elsewhere', home.path('.cache'))
    assert.deepEqual(await enqueue(home), printed(1))
    assert.equal(filesIn(home, 'elsewhere/jobq').length > 0, true)
  })

  test('is made in a sticky folder, as a home in /tmp is one', async t => {
    const home = new Home(t)
    mkdirSync(home.path('tmp'))
    chmodSync(home.path('tmp'), 0o1777)
    assert.deepEqual(await enqueue(home, {HOME: home.path('tmp')}), printed(1))
    assert.equal(filesIn(home, 'tmp/.cache/jobq').length > 0, true)
  })

  /** What others may do to XDG_CACHE_HOME, which is `caches/in`. */
  const theirs: [what: string, spoil: (home: Home) => void, skip?: string | false][] = [
    ['may be written by everyone', home => chmodSync(home.path('caches/in/jobq'), 0o777)],
    ['may be written by everyone, sticky or not', home => chmodSync(home.path('caches/in/jobq'), 0o1777)],
    ['may be written by a group', home => chmodSync(home.path('caches/in/jobq'), 0o770)],
    ['is in a folder that everyone may write', home => chmodSync(home.path('caches/in'), 0o777)],
    ['is below one', home => chmodSync(home.path('caches'), 0o777)],
    ['belongs to another user', home => give(home.path('caches/in/jobq')), needsRoot],
    ['is in a folder of another user', home => give(home.path('caches/in')), needsRoot],
    ['is below one of his', home => give(home.path('caches')), needsRoot],
  ]
  for (const [what, spoil, skip = false] of theirs)
    test(`is none in a folder that ${what}`, {skip}, async t => {
      const home = new Home(t)
      mkdirSync(home.path('caches/in/jobq'), {recursive: true})
      spoil(home)
      assert.deepEqual(await enqueue(home, {XDG_CACHE_HOME: home.path('caches/in')}), printed(1))
      assert.deepEqual(filesIn(home, 'caches'), [])
    })

  test('is none where nothing can be made, which holds up nothing', async t => {
    const home = new Home(t)
    for (const [i, nowhere] of ['/proc', '/proc/nowhere', '/dev/null', home.path('not/there')].entries()) {
      const env = {XDG_CACHE_HOME: nowhere, TMPDIR: nowhere}
      assert.deepEqual(await enqueue(home, env), printed(i + 1))
      assert.equal(existsSync(home.path('not')), false)
    }
  })

  test('is what the user says', async t => {
    const home = new Home(t)
    assert.deepEqual(await enqueue(home, {NODE_COMPILE_CACHE: home.path('named')}), printed(1))
    assert.equal(filesIn(home, 'named').length > 0, true)
    assert.deepEqual(await enqueue(home, {NODE_DISABLE_COMPILE_CACHE: '1'}), printed(2))
    assert.equal(existsSync(home.path('.cache')), false)
  })

  test("is the workers' as well", async t => {
    const home = new Home(t)
    home.write(
      'workers/F.mjs',
      `import {writeFileSync} from 'node:fs'
       import {getCompileCacheDir} from 'node:module'
       export default {work: () => writeFileSync('cache', getCompileCacheDir() + '')}`,
    )
    await enqueue(home)
    const work = ['work', '--once', '--db', 'jobs.db']
    assert.equal((await home.jobq(work, {env: NOTHING_SAID})).code, 0)
    const [, version = ''] = home.read('cache').toString().split(home.path('.cache/jobq/'))
    assert.ok(readdirSync(home.path('.cache/jobq')).includes(version))
    await enqueue(home)
    assert.equal((await home.jobq(work, {env: {...NOTHING_SAID, NODE_DISABLE_COMPILE_CACHE: '1'}})).code, 0)
    assert.equal(home.read('cache').toString(), 'undefined')
  })

  function filesIn(home: Home, folder: string): string[] {
    const entries = readdirSync(home.path(folder), {recursive: true, withFileTypes: true})
    return entries.filter(entry => entry.isFile()).map(({name}) => name)
  }
})

/** What others may do to a file, or to the folder that it is in. */
const THEIRS: [
  what: string,
  spoil: (home: Home, folder: string, file: string) => void,
  skip?: string | false,
][] = [
  ['may be written by everyone', (home, _, file) => chmodSync(home.path(file), 0o777)],
  ['may be written by a group', (home, _, file) => group(home.path(file))],
  ['is in a folder that everyone may write', (home, folder) => chmodSync(home.path(folder), 0o777)],
  [
    'is in one that everyone may write, sticky or not',
    (home, folder) => chmodSync(home.path(folder), 0o1777),
  ],
  ['is in one that a group may write', (home, folder) => group(home.path(folder))],
  ['is below one that everyone may write', home => chmodSync(home.folder, 0o777)],
  ['is a link to what everyone may write', (home, _, file) => linkTo(home, file)],
  ['belongs to another user', (home, _, file) => give(home.path(file)), needsRoot],
  ['is in a folder of another user', (home, folder) => give(home.path(folder)), needsRoot],
  ['is below one of his', home => give(home.folder), needsRoot],
]

describe('a configuration that is found', {concurrency: 4}, () => {
  const CONFIG = `import {writeFileSync} from 'node:fs'
    writeFileSync(new URL('ran', import.meta.url), '')
    export default {db: 'found.db'}`

  function place(t: TestContext): Home {
    const home = new Home(t)
    home.write('app/jobq.config.mjs', CONFIG)
    mkdirSync(home.path('app/src'))
    return home
  }

  for (const [what, spoil, skip = false] of THEIRS)
    test(`is refused if it ${what}; --config and JOBQ_CONFIG take it on purpose`, {skip}, async t => {
      const home = place(t)
      spoil(home, 'app', 'app/jobq.config.mjs')
      const cwd = home.path('app/src')
      for (const refused of [
        await home.jobq(['enqueue', 'F'], {cwd}),
        await home.call(['list'], {cwd}),
        await home.call(['work', '--once', '--exec', 'F=true'], {cwd}),
      ]) {
        const says = ['expected a configuration that only you can change', home.path('app/jobq.config.mjs')]
        assertOneLine(refused, {exit: 2, says: [...says, '--config FILE', '--config /dev/null none']})
      }
      assert.deepEqual(
        [existsSync(home.path('app/ran')), existsSync(home.path('app/found.db'))],
        [false, false],
      )
      const named = ['--config', '../jobq.config.mjs']
      assert.deepEqual(await home.jobq(['enqueue', 'F', ...named], {cwd}), printed(1))
      const env = {JOBQ_CONFIG: '../jobq.config.mjs'}
      assert.deepEqual(await home.jobq(['enqueue', 'F'], {cwd, env}), printed(2))
    })

  test('is none as --config or JOBQ_CONFIG /dev/null; a reload finds none either', async t => {
    const home = place(t)
    chmodSync(home.path('app'), 0o777)
    const [cwd, env] = [home.path('app'), {JOBQ_CONFIG: '/dev/null', JOBQ_DB: home.path('jobs.db')}]
    const none = ['--config', '/dev/null', '--db', home.path('jobs.db')]
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...none], {cwd}), printed(1))
    assert.deepEqual(await home.jobq(['enqueue', 'F'], {cwd, env}), printed(2))
    assert.equal((await home.jobq(['list', ...none], {cwd})).code, 0)
    const worker = home.start(['work', '--debug', '--exec', 'F=true', ...none], {cwd})
    await until('both have run', () => (worker.stderr.match(/ completed/g) ?? []).length === 2)
    worker.kill('SIGHUP')
    await until('it has reloaded', () => /reloading/.test(worker.stderr))
    worker.kill('SIGTERM')
    await worker.exited
    assert.doesNotMatch(worker.stderr, /not reloaded/)
    assert.equal(existsSync(home.path('app/ran')), false)
  })

  const noNamespace = spawnSync('unshare', ['--user', 'true']).status !== 0 && 'no user namespace can be made'
  test('in a user namespace that knows no owners: refused', {skip: noNamespace}, async t => {
    const home = place(t)
    const command = ['unshare', '--user', process.execPath, RUN_JS]
    const refused = await home.jobq(['enqueue', 'F'], {cwd: home.path('app'), command})
    // Not those that Node.js lies in: whose they are can put another one there
    const parts = home.path('app').split('/')
    const folders = parts.map((_, i) => parts.slice(0, i + 1).join('/'))
    const first = folders.find(folder => !process.execPath.startsWith(`${folder}/`))
    const says = [`: ${first} belongs to a user whom this user namespace does not know (65534)`]
    assertOneLine(refused, {exit: 2, says})
  })

  test('is refused by the library, too', async t => {
    const home = place(t)
    chmodSync(home.path('app'), 0o777)
    const script = `import {JobQueue} from ${JSON.stringify(LIBRARY)}
      JobQueue.open().catch(({code}) => console.log(code))`
    const command = [process.execPath, '--input-type=module', '--eval', script]
    assert.deepEqual(await home.jobq([], {command, cwd: home.path('app')}), printed('BAD_CONFIG'))
  })

  test('of the user, or of root, in a sticky folder: taken', async t => {
    const home = place(t)
    chmodSync(home.folder, 0o1777)
    assert.deepEqual(await home.jobq(['enqueue', 'F'], {cwd: home.path('app/src')}), printed(1))
    assert.equal(home.jobs('app/found.db').length, 1)
  })

  test("through links that are all the user's: taken", async t => {
    const home = place(t)
    home.write('real.mjs', CONFIG)
    rmSync(home.path('app/jobq.config.mjs'))
    symlinkSync('../link.mjs', home.path('app/jobq.config.mjs'))
    symlinkSync(home.path('real.mjs'), home.path('link.mjs'))
    assert.deepEqual(await home.jobq(['enqueue', 'F'], {cwd: home.path('app')}), printed(1))
  })

  const skip = cantBeOtherUser() || needsRoot
  test('of who has become root by sudo: taken, as git takes it', {skip}, async t => {
    const home = place(t)
    home.give(1)
    const enqueue = (SUDO_UID: string | undefined, as = {}) =>
      home.jobq(['enqueue', 'F'], {cwd: home.path('app'), env: {SUDO_UID}, ...as})
    const refusal = {exit: 2, says: ['belongs to user 1 ']}
    for (const uid of [undefined, '', '2', '1 ']) assertOneLine(await enqueue(uid), refusal)
    assert.deepEqual(await enqueue('1'), printed(1))
    assertOneLine(await enqueue('1', otherUser), refusal) // it means nothing to who is not root
  })

  test("root's, for another user: taken", {skip}, async t => {
    const home = place(t)
    chmodSync(home.path('app'), 0o755)
    const ended = await home.jobq(['list', '--db', home.path('jobs.db')], {
      cwd: home.path('app'),
      ...otherUser,
    })
    assert.doesNotMatch(ended.stderr, /expected a configuration/)
  })
})

describe('a workers folder that is found', {concurrency: 4}, () => {
  function place(t: TestContext, file: string): Home {
    const home = new Home(t)
    home.write(file, file.endsWith('.mjs') ? `export default {work() {}}` : '#!/bin/sh\n')
    chmodSync(home.path(file), 0o755)
    return home
  }

  for (const [what, spoil, skip = false] of THEIRS)
    for (const file of ['app/workers/F.mjs', 'app/workers/My/F'])
      test(`is refused if ${file} ${what}; --workers takes it on purpose`, {skip}, async t => {
        const home = place(t, file)
        const func = file.endsWith('.mjs') ? 'F' : 'My::F'
        assert.deepEqual(await home.call(['enqueue', func, '--db', home.path('jobs.db')]), printed(1))
        spoil(home, 'app/workers', file)
        const work = ['work', '--once', '--db', home.path('jobs.db')]
        for (const refused of [
          await home.jobq(work, {cwd: home.path('app')}),
          await home.call([...work, '--abilities', func], {cwd: home.path('app')}),
        ]) {
          const says = ['expected workers that only you can change', home.path('app'), '--workers']
          assertOneLine(refused, {exit: 2, says})
        }
        const {code} = await home.jobq([...work, '--workers', 'workers'], {cwd: home.path('app')})
        assert.equal(code, 0)
      })

  test("a team's, beside a configuration that was named, if the team may change that: taken", async t => {
    const home = place(t, 'app/workers/F.mjs')
    for (const theirs of ['app', 'app/workers', 'app/workers/F.mjs']) group(home.path(theirs))
    home.write('app/jobq.config.json', '{"db": "jobs.db"}')
    const run = (...words: string[]) => home.jobq(words, {cwd: home.path('app')})
    const named = ['--config', 'jobq.config.json']
    assert.deepEqual(await run('enqueue', 'F', ...named), printed(1))
    assert.equal((await run('work', '--once', ...named)).code, 0)
    assertOneLine(await run('work', '--once', '--config', '/dev/null', '--db', 'jobs.db'), {
      exit: 2,
      says: ['--workers'],
    })
    for (const spoil of [
      () => chmodSync(home.path('app/workers'), 0o777),
      () => chmodSync(home.path('app'), 0o3775), // where each can put something, but not in another's place
    ]) {
      spoil()
      assertOneLine(await run('work', '--once', ...named), {exit: 2, says: ['app/workers', '--workers']})
      chmodSync(home.path('app/workers'), 0o2775)
    }
  })

  /** Groups that `app` may have, and how its workers become someone else's: a set-group-id folder gives them its group. */
  const foreign: [what: string, named: string[], spoil: (home: Home) => void][] = [
    [
      'in a sticky folder, and --config /dev/null',
      ['--config', '/dev/null'],
      home => chmodSync(home.path('app'), 0o3777),
    ],
    ["in a folder of root's, and --config /dev/null", ['--config', '/dev/null'], () => {}],
    [
      "in a sticky folder of a group, and the group's configuration",
      ['--config', 'jobq.config.json'],
      home => {
        for (const path of ['app', 'app/jobq.config.json', 'app/workers', 'app/workers/F'])
          chownSync(home.path(path), 0, GROUP)
        chmodSync(home.path('app'), 0o3777)
        chmodSync(home.path('app/jobq.config.json'), 0o664)
      },
    ],
  ]
  for (const [what, named, spoil] of foreign)
    test(`of another user: refused ${what}`, {skip: needsRoot}, async t => {
      const home = place(t, 'app/workers/F')
      home.write('app/jobq.config.json', '{}')
      spoil(home)
      const run = (...words: string[]) =>
        home.jobq([...words, ...named, '--db', home.path('jobs.db')], {cwd: home.path('app')})
      await run('enqueue', 'F')
      for (const theirs of [['app/workers/F'], ['app/workers/F', 'app/workers'], ['app/workers']]) {
        for (const path of ['app/workers/F', 'app/workers']) {
          const {gid} = statSync(home.path(path))
          chownSync(home.path(path), theirs.includes(path) ? otherUser.uid! : 0, gid)
        }
        for (const more of [[], ['--abilities', 'F']])
          assertOneLine(await run('work', '--once', ...more), {
            exit: 2,
            says: [
              'expected workers that only you can change',
              `belongs to user ${otherUser.uid}`,
              '--workers',
            ],
          })
      }
      assert.equal((await run('work', '--once', '--workers', 'workers')).code, 0)
    })

  test('beside a configuration that was named: refused all the same, if that does not name it', async t => {
    const home = place(t, 'app/workers/F.mjs')
    chmodSync(home.path('app/workers'), 0o777)
    home.write('app/jobq.config.json', '{"db": "jobs.db"}')
    home.write('app/other.json', '{"db": "jobs.db", "workersDir": "workers"}')
    const run = (...words: string[]) => home.jobq([...words], {cwd: home.path('app')})
    assert.deepEqual(await run('enqueue', 'F'), printed(1))
    assertOneLine(await run('work', '--once', '--config', 'jobq.config.json'), {
      exit: 2,
      says: ['app/workers'],
    })
    assert.equal((await run('work', '--once', '--config', 'other.json')).code, 0)
  })

  test('does not matter where it is not used', async t => {
    const home = place(t, 'app/workers/F.mjs')
    chmodSync(home.path('app/workers'), 0o777)
    const run = (...words: string[]) => home.jobq([...words, '--db', 'jobs.db'], {cwd: home.path('app')})
    assert.deepEqual(await run('enqueue', 'F'), printed(1))
    assert.equal((await run('work', '--once', '--abilities', 'F', '--exec', 'F=true')).code, 0)
  })

  test('stops no worker that does not come from there', async t => {
    const home = place(t, 'app/workers/G.mjs')
    chmodSync(home.path('app/workers'), 0o777)
    const run = (...words: string[]) => home.jobq([...words, '--db', 'jobs.db'], {cwd: home.path('app')})
    await run('enqueue', 'F')
    await run('enqueue', 'G')
    const {code, stderr} = await run('work', '--drain', '--exec', 'F=true')
    assert.equal(code, 0)
    assert.match(
      stderr,
      / jobq: nothing in the workers folder is worked: .*workers may be written by everyone$/m,
    )
    const {stdout} = await run('list')
    assert.match(stdout, /^2\tG\tready\t/)
  })
})

/** A group that others are in, or that nobody knows. */
function group(path: string): void {
  if (otherUser.uid !== undefined) chownSync(path, 0, otherUser.uid)
  chmodSync(path, 0o770)
}

function linkTo(home: Home, file: string): void {
  renameSync(home.path(file), home.path('elsewhere'))
  chmodSync(home.path('elsewhere'), 0o777)
  symlinkSync(home.path('elsewhere'), home.path(file))
}

function give(path: string): void {
  chownSync(path, otherUser.uid!, otherUser.uid!)
}
