/** What a second user of the machine puts where jobq is about to make a file. Root is needed to be both. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {otherUser} from '../support/other-user.ts'
import {assertOneLine} from '../support/refusal.ts'

const skip = otherUser.uid === undefined && 'only root can be two users'
const THEIRS = otherUser.uid ?? 0

describe('in a folder that everyone may write, as /tmp', {skip, concurrency: 2}, () => {
  function place(t: TestContext): Home {
    const home = new Home(t)
    mkdirSync(home.path('tmp'))
    chmodSync(home.path('tmp'), 0o1777)
    mkdirSync(home.path('mine'))
    return home
  }
  function theirLink(home: Home, name: string, to: string): void {
    symlinkSync(to, home.path(name))
    lchownSync(home.path(name), THEIRS, THEIRS)
  }
  const enqueue = ['enqueue', 'F', '--db', 'tmp/jobs.db']

  test('a link of another user does not say where a database is made; the user’s own does', async t => {
    const home = place(t)
    theirLink(home, 'tmp/jobs.db', '../mine/made.db')
    for (const words of [enqueue, ['list', '--db', 'tmp/jobs.db'], ['init', '--db', 'tmp/jobs.db']]) {
      const refused = await home.jobq(words)
      assertOneLine(refused, {
        exit: 1,
        says: ['tmp/jobs.db', 'a link', `user ${THEIRS}`, 'a folder of your own'],
      })
      assert.equal(existsSync(home.path('mine/made.db')), false)
    }
    symlinkSync('../mine/made.db', home.path('tmp/own.db'))
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'tmp/own.db']), printed(1))
    assert.equal(statSync(home.path('mine/made.db')).mode & 0o777, 0o600)
  })

  test('a folder of another user’s is no place for compiled code, and a link of his none either', async t => {
    const home = place(t)
    mkdirSync(home.path('tmp/jobq'), {mode: 0o777})
    chownSync(home.path('tmp/jobq'), THEIRS, THEIRS)
    const env = {NODE_COMPILE_CACHE: undefined, XDG_CACHE_HOME: home.path('tmp')}
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'mine/jobs.db'], {env}), printed(1))
    assert.equal(statSync(home.path('tmp/jobq')).nlink, 2)
  })

  test('a -shm that is his link is not written through', async t => {
    const home = place(t)
    home.write('mine/precious', 'precious')
    theirLink(home, 'tmp/jobs.db-shm', '../mine/precious')
    const {code} = await home.jobq(enqueue)
    assert.equal(code, 1)
    assert.equal(readFileSync(home.path('mine/precious'), 'utf8'), 'precious')
    assert.equal(lstatSync(home.path('tmp/jobs.db-shm')).isSymbolicLink(), true)
  })
})
