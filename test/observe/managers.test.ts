/** Who works is told by the database: on every host, whatever the environment says; who is killed, hung, or lies. */
import assert from 'node:assert/strict'
import {mkdirSync, rmSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {ManagerState, ManagerStatus, Slot} from '../../src/lib/jobs/manager.ts'
import {stateText} from '../../src/lib/work/status/state-text.ts'
import {Home} from '../support/home.ts'
import {until} from '../support/until.ts'

function rows(home: Home, sql: string, ...values: unknown[]): Record<string, unknown>[] {
  const db = new Sqlite(home.path('jobs.db'))
  try {
    const statement = db.prepare(sql)
    if (statement.reader) return statement.all(...values) as Record<string, unknown>[]
    statement.run(...values)
    return []
  } finally {
    db.close()
  }
}

async function managersOf(home: Home, env: Record<string, string> = {}): Promise<ManagerStatus[]> {
  const {code, stdout} = await home.jobq(['status', '--json', '--db', 'jobs.db'], {env})
  assert.equal(code, 0)
  return JSON.parse(stdout).managers
}

async function pidsOf(home: Home): Promise<number[]> {
  return (await managersOf(home)).map(({pid}) => pid)
}

async function start(home: Home, env: Record<string, string> = {}, exec = 'F=true') {
  const worker = home.start(['work', '--exec', exec, '--db', 'jobs.db'], {env})
  await until('it is shown', async () => (await pidsOf(home)).includes(worker.pid))
  return worker
}

describe('managers', {concurrency: 4}, () => {
  test('all are shown, whatever TMPDIR and XDG_RUNTIME_DIR say; one that ends is not', async t => {
    const home = new Home(t)
    for (const name of ['run', 'tmp']) mkdirSync(home.path(name))
    const one = await start(home, {TMPDIR: home.path('tmp')})
    const two = await start(home, {XDG_RUNTIME_DIR: home.path('run')})
    for (const name of ['run', 'tmp']) rmSync(home.path(name), {recursive: true})
    assert.deepEqual((await pidsOf(home)).sort(), [one.pid, two.pid].sort())
    one.kill('SIGTERM')
    assert.equal((await one.exited).code, 0)
    assert.deepEqual(await pidsOf(home), [two.pid])
  })

  test('one that was killed is told as gone, counts no more, and is forgotten by another beat', async t => {
    const home = new Home(t)
    const killed = await start(home)
    killed.kill('SIGKILL')
    await killed.exited
    rows(home, 'UPDATE jobq_manager SET seen_at = seen_at - 75')
    const [status] = await managersOf(home)
    assert.ok(status!.gone && status!.age >= 75 && status!.age < 90)
    const {stdout} = await home.jobq(['status', '--db', 'jobs.db'], {tty: 'all'})
    assert.match(stdout, /^jobq work \d+ on \S+, not seen for 1m \d+s: 0 jobs/)
    const prometheus = (await home.jobq(['stats', '--prometheus', '--db', 'jobs.db'])).stdout
    assert.match(prometheus, /^jobq_workers\{state="idle"\} 0$/m)
    const check = await home.jobq(['check', '--workers', '1', '--db', 'jobs.db'])
    assert.deepEqual([check.code, check.stderr], [2, ''])
    assert.match(check.stdout, /^JOBQ CRITICAL - 0 workers \(at least 1\) \| .* workers=0;;1:;0\n$/)
    rows(home, 'UPDATE jobq_manager SET seen_at = seen_at - 600')
    const other = await start(home)
    assert.deepEqual(await pidsOf(home), [other.pid])
    const one = await home.jobq(['check', '--workers', '1', '--db', 'jobs.db'])
    assert.match(one.stdout, /^JOBQ OK - .*, 1 worker \| .* workers=1;;1:;0\n$/)
    const fine = await home.jobq(['check', '--workers', '1', '--json', '--db', 'jobs.db'])
    assert.deepEqual([fine.code, JSON.parse(fine.stdout).workers], [0, 1])
  })

  test('one whose row was taken away meanwhile is shown again; it tells what it runs', async t => {
    const home = new Home(t)
    const worker = await start(home, {}, 'F=sleep 60')
    rows(home, 'DELETE FROM jobq_manager')
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    await until('it is shown', async () => (await managersOf(home))[0]?.workers.working === 1)
    const [{slots, ...status}] = (await managersOf(home)) as [ManagerStatus]
    assert.deepEqual([status.pid, status.funcs, slots[0]!.id, slots[0]!.func], [worker.pid, ['F'], 1, 'F'])
    const lines = (await home.jobq(['status', '--db', 'jobs.db'])).stdout
    assert.match(lines, /^\d+\tworking\t\d+\t1\tF\t[\d.]+\t0\t(\d+|\\N)\t[^\t]+\t\d+\t\\N\n$/)
  })

  test('check counts those that work a function', async t => {
    const home = new Home(t)
    for (const func of ['F', 'G']) await home.jobq(['enqueue', func, '--db', 'jobs.db', '--delay', '1h'])
    await start(home)
    for (const [func, code] of [
      ['F', 0],
      ['G', 2],
    ] as const)
      assert.equal(
        (await home.jobq(['check', '--func', func, '--workers', '1', '--db', 'jobs.db'])).code,
        code,
        func,
      )
    await home.jobq(['pause', 'F', '--db', 'jobs.db'])
    const paused = await home.jobq(['check', '--func', 'F', '--workers', '1', '--db', 'jobs.db'])
    assert.equal(paused.code, 2)
    assert.match(paused.stdout, /^JOBQ CRITICAL - 0 workers, paused \(at least 1\) \|/)
  })

  test('HUP: what is worked from then on is told', async t => {
    const home = new Home(t)
    home.write('workers/F.js', 'export default {work() {}}')
    const worker = home.start(['work', '--db', 'jobs.db'])
    await until('it is shown', async () => (await pidsOf(home)).length === 1)
    home.write('workers/G.js', 'export default {work() {}}')
    worker.kill('SIGHUP')
    await until('both are told', async () => (await managersOf(home))[0]?.funcs.length === 2)
  })

  test('a drain of nothing writes nothing', async t => {
    const home = new Home(t)
    await home.jobq(['work', '--drain', '--exec', 'F=true', '--db', 'jobs.db'])
    assert.deepEqual(rows(home, "SELECT * FROM sqlite_sequence WHERE name = 'jobq_manager'"), [])
  })

  test('one that works several databases is one, and is known by each', async t => {
    const home = new Home(t)
    const both = ['--db', 'jobs.db', '--db', 'other.db']
    const worker = home.start(['work', '--exec', 'F=true', ...both])
    const shown = async (...words: string[]) =>
      JSON.parse((await home.jobq(['status', '--json', ...words])).stdout).managers.map(
        ({pid}: ManagerStatus) => pid,
      )
    for (const words of [both, ['--db', 'jobs.db'], ['--db', 'other.db']])
      await until('it is shown once', async () => (await shown(...words)).join() === String(worker.pid))
  })

  test('without the table it works on, and says so once', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    rows(home, 'DROP TABLE jobq_manager')
    const worker = home.start(['work', '--exec', 'F=true', '--db', 'jobs.db'])
    await worker.prints(/jobq: `jobq status` will not show this process: .*no such table: jobq_manager/)
    await worker.prints(/ F completed /)
    worker.kill('SIGTERM')
    const {code, stderr} = await worker.exited
    assert.deepEqual([code, stderr.match(/will not show/g)?.length], [0, 1])
    assert.deepEqual(await managersOf(home), [])
  })

  test('no file: none, and none is made', async t => {
    const home = new Home(t)
    const before = home.files()
    assert.deepEqual(await managersOf(home), [])
    assert.deepEqual(home.files(), before)
  })
})

describe('a row that someone else has written', {concurrency: 4}, () => {
  const slot = {state: 'working', pid: 2, id: 7, func: 'F', seconds: 1, jobs: 0, memory: null}
  const state = {
    ...{funcs: ['F'], moreFuncs: 0, jobs: 0, failed: 0, memory: null},
    ...{workers: {working: 1, idle: 0, none: 0}, slots: [slot]},
  }

  async function place(t: TestContext, text: unknown, host: unknown = 'here', pid: unknown = 1) {
    const home = new Home(t)
    await home.jobq(['init', '--db', 'jobs.db'])
    const now = Math.floor(Date.now() / 1000)
    const sql = 'INSERT INTO jobq_manager (host, pid, started_at, seen_at, state) VALUES (?, ?, ?, ?, ?)'
    rows(home, sql, host, pid, now - 10, now, text)
    return home
  }

  test('is shown if it says what a manager does, without what else it says', async t => {
    const home = await place(t, JSON.stringify({...state, more: 1, slots: [{...slot, more: 1}]}))
    const [{slots, started, seen, age, ...status}] = (await managersOf(home)) as [ManagerStatus]
    const {slots: _, ...known} = state
    assert.deepEqual(status, {
      ...{pid: 1, host: 'here', db: home.path('jobs.db'), paused: [], gone: false},
      ...known,
    })
    assert.deepEqual([seen - started, slots], [10, [{...slot, seconds: 1 + age}]])
  })

  test('puts nothing on a terminal but text', async t => {
    const evil = '\u001b[2J\u009b31m\u202e\n'
    const slots = [{...slot, id: evil, func: evil}]
    const home = await place(t, JSON.stringify({...state, slots}), evil)
    rows(home, 'INSERT INTO jobq_pause (func) VALUES (?)', evil)
    const options = {tty: 'all', env: {NO_COLOR: '1'}} as const
    const {code, stdout} = await home.jobq(['status', '--db', 'jobs.db'], options)
    assert.equal(code, 0)
    assert.match(stdout, /jobq work 1 on /)
    assert.doesNotMatch(
      stdout.replaceAll('\r\n', '\n'),
      /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/,
    )
    const lines = (await home.jobq(['status', '--db', 'jobs.db'])).stdout
    assert.equal(lines.split('\n').length, 2)
  })

  const nonsense: [what: string, text: unknown, pid?: unknown][] = [
    ['nothing', ''],
    ['null', 'null'],
    ['a number', '7'],
    ['an empty object', '{}'],
    ['half of a state', JSON.stringify(state).slice(0, -9)],
    ['a pid that is none', JSON.stringify(state), 'x'],
    ['a pid beyond all numbers', JSON.stringify(state), 2n ** 62n],
    ['slots that are none', JSON.stringify({...state, slots: [null]})],
    ['a slot in no known state', JSON.stringify({...state, slots: [{...slot, state: 'evil'}]})],
    ['text for a number', JSON.stringify({...state, jobs: '\u001b[2J'})],
    ['a list that is none', JSON.stringify({...state, funcs: {length: 9}})],
    ['no counts', JSON.stringify({...state, workers: {working: 1}})],
    ['a megabyte', JSON.stringify({...state, funcs: Array(100_000).fill('Function')})],
    ['bytes', Buffer.from([0, 255, 1])],
  ]
  for (const [what, text, pid = 1] of nonsense)
    test(`is not shown if it says ${what}: one line says so`, async t => {
      const home = await place(t, text, 'here', pid)
      for (const words of [
        ['status', '--json'],
        ['stats', '--prometheus'],
      ]) {
        const {code, stdout, stderr} = await home.jobq([...words, '--db', 'jobs.db'])
        assert.match(stderr, /^jobq: row 1 of jobq_manager is not shown: [^\n]+\n$/)
        assert.equal(code, 1)
        if (words[0] === 'status') assert.deepEqual(JSON.parse(stdout), {managers: []})
        else assert.match(stdout, /^jobq_workers\{state="idle"\} 0$/m)
      }
    })
})

test('a state is bounded, however many slots and functions there are, and how long their names', () => {
  const func = '🎈'.repeat(255)
  const slot: Slot = {state: 'working', pid: 1, id: 1, func, seconds: 1, jobs: 1, memory: 1}
  const state: ManagerState = {
    ...{jobs: 1, failed: 0, memory: 1, moreFuncs: 0, workers: {working: 10_000, idle: 0, none: 0}},
    ...{funcs: Array.from({length: 5000}, () => func), slots: Array.from({length: 10_000}, () => slot)},
  }
  const text = stateText(state)
  assert.ok(Buffer.byteLength(text) < 90_000, `${Buffer.byteLength(text)}`)
  const told = JSON.parse(text) as ManagerState
  assert.ok(told.funcs.length > 20 && told.slots.length > 40)
  assert.deepEqual([told.funcs.length + told.moreFuncs, told.workers.working], [5000, 10_000])
})
