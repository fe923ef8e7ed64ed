/**
 * What other users of the machine can put in the way is neither run nor believed: compiled code. Where it takes a second
 * user, root is needed to be both.
 */
import assert from 'node:assert/strict'
import {chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync} from 'node:fs'
import {describe, test} from 'node:test'
import {Home, printed} from './support/home.ts'
import {otherUser} from './support/other-user.ts'

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
    const [version] = readdirSync(home.path('.cache/jobq'))
    assert.equal(home.read('cache').toString(), home.path(`.cache/jobq/${version}`))
    await enqueue(home)
    assert.equal((await home.jobq(work, {env: {...NOTHING_SAID, NODE_DISABLE_COMPILE_CACHE: '1'}})).code, 0)
    assert.equal(home.read('cache').toString(), 'undefined')
  })

  function filesIn(home: Home, folder: string): string[] {
    const entries = readdirSync(home.path(folder), {recursive: true, withFileTypes: true})
    return entries.filter(entry => entry.isFile()).map(({name}) => name)
  }
})

function give(path: string): void {
  chownSync(path, otherUser.uid!, otherUser.uid!)
}
