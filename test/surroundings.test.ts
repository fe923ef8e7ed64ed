/** What a user's system may lack: a name for the user, a home, the current folder, a place for temporary files. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home, printed} from './support/home.ts'
import {RUN_JS, type RunOptions} from './support/jobq.ts'
import {cantBeOtherUser, otherUser} from './support/other-user.ts'
import {assertOneLine} from './support/refusal.ts'

/** One of each kind: plain words, oclif's, what works. */
const COMMANDS: string[][] = [
  ['enqueue', 'F'],
  ['enqueue', 'F', '--args-from', '-'],
  ['list'],
  ['stats', '--prometheus'],
  ['status'],
  ['init'],
  ['pause', 'G'],
  ['resume', 'G'],
  ['retry', '--all'],
  ['wait', '7', '--timeout', '1'],
  ['work', '--drain', '--exec', 'F=true'],
  ['copy', '--help'],
  ['--help'],
]
const REFUSED: Record<string, number> = {wait: 4}

async function assertAllRun(home: Home, options: RunOptions, forWork: string[] = []): Promise<void> {
  for (const words of COMMANDS) {
    const db = words[0] === '--help' ? [] : ['--db', home.path('jobs.db')]
    const {code, stderr} = await home.jobq([...words, ...db, ...(words[0] === 'work' ? forWork : [])], {
      stdin: '1\n2\n',
      ...options,
    })
    assert.deepEqual(
      [words, code, /unexpected|defect/.exec(stderr)],
      [words, REFUSED[words[0]!] ?? 0, null],
      stderr,
    )
  }
}

describe('a user whom /etc/passwd does not know', {concurrency: 2}, () => {
  const NOBODYS_UID = 54_321
  const skip = otherUser.uid === undefined ? 'only root can be another user' : cantBeOtherUser()

  test('runs every command', {skip}, async t => {
    const home = new Home(t)
    await assertAllRun(home, {uid: NOBODYS_UID})
  })

  test('runs them without a home, if the database is named; else one line says so', {skip}, async t => {
    const home = new Home(t)
    const bare = {HOME: undefined, XDG_DATA_HOME: undefined, SHELL: undefined}
    await assertAllRun(home, {uid: NOBODYS_UID, env: bare})
    for (const words of [['enqueue', 'F'], ['init'], ['status']]) {
      const ended = await home.jobq(words, {uid: NOBODYS_UID, env: bare})
      assertOneLine(ended, {exit: 2, says: ['expected a home folder for the default database', '--db']})
    }
  })
})

test('a home that is no absolute path is none: the queue would be another one in each folder', async t => {
  for (const HOME of ['', 'rel']) {
    const home = new Home(t)
    const ended = await home.jobq(['enqueue', 'F'], {env: {HOME, XDG_DATA_HOME: undefined}})
    assertOneLine(ended, {exit: 2, says: ['expected a home folder for the default database', '--db']})
    assert.deepEqual(home.files(), {})
  }
})

describe('a current folder that has been removed', {concurrency: 2}, () => {
  const script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
  const command = ['/bin/sh', '-c', script, 'sh', process.execPath, RUN_JS]

  test('is not needed for absolute paths', async t => {
    const home = new Home(t)
    await assertAllRun(home, {command}, ['--workers', home.path('workers')])
  })

  test('is told where it is needed', async t => {
    const home = new Home(t)
    const db = ['--db', home.path('jobs.db')]
    for (const words of [
      ['enqueue', 'F', '--db', 'jobs.db'],
      ['pause', 'F', '--db', 'jobs.db'],
      ['list', '--config', 'jobq.config.json'],
      ['work', '--once', '--workers', 'workers', ...db],
      ['work', '--once', ...db],
    ])
      assertOneLine(await home.jobq(words, {command}), {
        exit: 2,
        says: ['expected a current folder', 'removed'],
      })
  })
})

describe('a TMPDIR that nothing can be made in', {concurrency: 4}, () => {
  for (const TMPDIR of ['/proc', '/dev/null', '/nowhere/at/all'])
    test(TMPDIR, async t => {
      const home = new Home(t)
      const env = {TMPDIR, NODE_COMPILE_CACHE: undefined}
      const bulk = ['enqueue', 'F', '--db', 'jobs.db', '--args-from']
      home.write('args', '1\n'.repeat(2000))
      assert.deepEqual(await home.jobq([...bulk, 'args'], {env}), printed(2000))
      assert.deepEqual(await home.jobq([...bulk, '-'], {env, stdin: '1\n'}), printed(1))
      const many = await home.jobq([...bulk, '-'], {env, stdin: '1\n'.repeat(50_000)})
      assertOneLine(many, {exit: 1, says: [`no file can be made in ${TMPDIR}`, 'set TMPDIR']})
      const worked = await home.jobq(['work', '--once', '--db', 'jobs.db', '--exec', 'F=true'], {env})
      assert.deepEqual([worked.code, /defect/.test(worked.stderr)], [0, false], worked.stderr)
    })
})

test('an XDG_DATA_HOME that nothing can be made in is told', async t => {
  for (const XDG_DATA_HOME of ['/proc/1', '/dev/null']) {
    const ended = await new Home(t).jobq(['enqueue', 'F'], {env: {XDG_DATA_HOME}})
    assertOneLine(ended, {exit: 1, says: [`can't open ${XDG_DATA_HOME}/jobq/jobq.db`]})
  }
})
