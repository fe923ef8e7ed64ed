/** Where output goes that no one reads, or that has no room; and what of a user's text reaches a terminal. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {closeSync, existsSync, openSync} from 'node:fs'
import {describe, test} from 'node:test'
import {Home, printed} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {assertOneLine} from './support/refusal.ts'

const ENQUEUE = ['enqueue', 'F', '--db', 'jobs.db']
const NO_FULL = !existsSync('/dev/full') && 'this system has no /dev/full'

describe('standard output without room', {concurrency: 4, skip: NO_FULL}, () => {
  const stored: [what: string, words: string[], jobs: number, says: string][] = [
    ['an id', ENQUEUE, 1, 'job 1 is stored all the same'],
    ['an id, as JSON', [...ENQUEUE, '--json'], 1, 'job 1 is stored all the same'],
    ["an id, by oclif's way", [...ENQUEUE, '--arg', '-1'], 1, 'job 1 is stored all the same'],
    [
      "an id, as JSON by oclif's way",
      [...ENQUEUE, '--arg', '-1', '--json'],
      1,
      'job 1 is stored all the same',
    ],
    ['a count', [...ENQUEUE, '--args-from', '-'], 2, '2 jobs are stored all the same'],
  ]
  for (const [what, words, jobs, says] of stored)
    test(`${what}: one line, exit 1, and the job is stored`, async t => {
      const home = new Home(t)
      assertOneLine(await home.jobq(words, {...(await full(t)), stdin: '1\n2\n'}), {
        exit: 1,
        says: ["can't write to standard output (ENOSPC: no space left on device", says],
      })
      assert.equal(home.jobs().length, jobs)
    })

  const others: [what: string, words: string[]][] = [
    ['help', ['--help']],
    ["a command's help", ['enqueue', '--help']],
    ['the version', ['--version']],
    ['a listing', ['list', '--db', 'jobs.db']],
    ['counts', ['stats', '--db', 'jobs.db', '--json']],
    ['an error as JSON', [...ENQUEUE, '--json', '--priority', 'high']],
  ]
  for (const [what, words] of others)
    test(`${what}: one line and exit 1`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq(ENQUEUE), printed(1))
      const says = [/^jobq: can't write to standard output \(ENOSPC: no space left on device, write\)\n$/]
      assertOneLine(await home.jobq(words, await full(t)), {exit: 1, says})
    })

  test('of check, whose exit status is a monitoring plugin’s: 3', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(ENQUEUE), printed(1))
    assertOneLine(await home.jobq(['check'], await full(t)), {exit: 3, says: [/ENOSPC/]})
  })

  test('standard error without room: the exit status says it', async t => {
    const home = new Home(t)
    const command = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh', process.execPath, RUN_JS]
    assert.equal((await home.jobq([...ENQUEUE, '--priority', 'high'], {command})).code, 2)
    assert.equal((await home.jobq([...ENQUEUE, '--uniqkey', 'k'], {command})).code, 0)
    assert.equal((await home.jobq([...ENQUEUE, '--uniqkey', 'k'], {command})).code, 3)
  })

  async function full(t: {after(clean: () => void): void}): Promise<{stdout: number}> {
    const stdout = openSync('/dev/full', 'w')
    t.after(() => closeSync(stdout))
    return {stdout}
  }
})

test('standard output that refuses what it has no room for at the moment: the id comes once there is', async t => {
  const home = new Home(t)
  // Node makes a pipe non-blocking for all who share it, as long as it runs
  const fill = `process.stdout.on('error', () => {})
    const {existsSync, writeFileSync, writeSync} = require('node:fs')
    try { for (;;) writeSync(1, 'x') } catch {}
    writeFileSync('full', '')
    const timer = setInterval(() => existsSync('ended') && clearInterval(timer), 5)`
  const refused = `const fs = require('node:fs'), write = fs.writeSync
    fs.writeSync = (...args) => {
      try { return write(...args) } catch (error) { fs.writeFileSync('refused', error.code); throw error }
    }`
  const wait = (file: string) => `until [ -e ${file} ]; do sleep 0.01; done`
  const node = `${process.execPath} --require ./${home.write('refused.cjs', refused).split('/').at(-1)}`
  const writers = `node ${home.write('fill.cjs', fill)} & ${wait('full')}; ${node} "$@"; echo $? >ended; wait`
  const script = `{ ${writers}; } | { ${wait('refused')}; cat; }`
  const {stdout, stderr} = await home.jobq(ENQUEUE, {command: ['sh', '-c', script, 'sh', RUN_JS]})
  assert.match(stdout, /^x{4096,}1\n$/)
  assert.deepEqual(
    [home.read('refused').toString(), home.read('ended').toString(), stderr],
    ['EAGAIN', '0\n', ''],
  )
  assert.equal(home.jobs().length, 1)
})

describe('a reader that has gone', {concurrency: 4}, () => {
  for (const words of [
    ENQUEUE,
    [...ENQUEUE, '--json'],
    ['list', '--db', 'jobs.db'],
    ['--help'],
    ['help', 'enqueue'],
  ])
    test(`of jobq ${words.join(' ')}: no error`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq(ENQUEUE), printed(1))
      const started = home.start(words)
      started.child.stdout!.destroy()
      assert.deepEqual(await once(started.child, 'close'), [0, null])
      assert.equal(started.stderr, '')
      if (words[0] === 'enqueue') assert.equal(home.jobs().length, 2)
    })

  test('of a mistake: its exit status all the same', async t => {
    const started = new Home(t).start([...ENQUEUE, '--priority', 'high', '--json'])
    started.child.stdout!.destroy()
    assert.deepEqual(await once(started.child, 'close'), [2, null])
  })

  test('no standard output at all: no error', async t => {
    const home = new Home(t)
    const command = ['sh', '-c', 'exec "$@" >&-', 'sh', process.execPath, RUN_JS]
    const {code, stderr} = await home.jobq(ENQUEUE, {command})
    assert.deepEqual([code, stderr, home.jobs().length], [0, '', 1])
  })
})

test('what a name says neither breaks the line nor commands the terminal', async t => {
  const home = new Home(t)
  const words = ['enqueue', 'a\nb\u001b[31m\u009b0m\u2028\u202e', '--db', 'jobs.db', '--uniqkey', 'k\r\u0007']
  assert.deepEqual(await home.jobq(words), printed(1))
  const ended = await home.jobq(words)
  assertOneLine(ended, {
    exit: 3,
    says: ['refused: a job of a\\nb\\u001b[31m\\u009b0m\\u2028\\u202e with uniqkey'],
  })
  assert.doesNotMatch(ended.stderr.trimEnd(), /[\p{Cc}\u2028\u202e]/u)
  const {stdout} = await home.jobq([...words, '--json'])
  assert.ok(JSON.parse(stdout).error.message.includes(words[1]))
})

test('JOBQ_DEBUG shows where, after the line; without it there is no stack', async t => {
  const home = new Home(t)
  const words = [...ENQUEUE, '--arg', '{']
  assertOneLine(await home.jobq(words), {exit: 2, says: ['--arg: expected JSON']})
  const {stderr} = await home.jobq(words, {env: {JOBQ_DEBUG: '1'}})
  assert.match(
    stderr,
    /^jobq: --arg: expected JSON[^\n]*\nArgumentError: [\s\S]*\n {4}at [\s\S]*caused by: SyntaxError/,
  )
})
