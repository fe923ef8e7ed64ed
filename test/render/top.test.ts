import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {stripVTControlCharacters} from 'node:util'
import type {ListedJob} from '../../src/lib/jobs/job.ts'
import type {ManagerStatus, Slot} from '../../src/lib/jobs/manager.ts'
import type {FuncCounts} from '../../src/lib/jobs/stats.ts'
import {statsOf} from '../../src/lib/jobs/stats.ts'
import {keysOf, type TopFacts, type TopView, topPicture} from '../../src/lib/render/top.ts'

const VIEW: TopView = {
  pane: 'funcs',
  sort: {funcs: 0, running: 0},
  selected: {funcs: null, running: null},
  message: '',
}

function counts(func: string, of: Partial<FuncCounts> = {}): FuncCounts {
  const none = {
    ...{ready: 0, delayed: 0, waiting: 0, running: 0, failed: 0},
    ...{retrying: 0, completed: 0, aborted: 0},
  }
  return {func, ...none, oldestReadyAge: null, ...of}
}

function job(id: number, func: string): ListedJob {
  const times = {enqueueTime: 0, grabbedUntil: 100, runAfter: 0}
  return {
    ...{
      id,
      funcId: 1,
      func,
      arg: null,
      uniqkey: null,
      retryCnt: 0,
      priority: 0,
      state: 'running',
      tags: {},
      expiresAt: null,
    },
    ...times,
  }
}

function manager(pid: number, host: string, busy: [id: number, seconds: number][]): ManagerStatus {
  const slots = busy.map(([id, seconds]): Slot => {
    return {state: 'working', pid: 900 + id, id, func: 'F', seconds, jobs: 3, memory: null}
  })
  return {
    ...{pid, host, db: 'jobq.db', started: 0, seen: 10, age: 2, gone: false, paused: []},
    ...{funcs: ['F'], moreFuncs: 0, jobs: 7, failed: 1, memory: 50 * 2 ** 20},
    ...{workers: {working: busy.length, idle: 1, none: 0}, slots},
  }
}

function facts(more: Partial<TopFacts> = {}): TopFacts {
  const funcs = [counts('Crop', {ready: 2, oldestReadyAge: 65}), counts('Notify', {ready: 9, failed: 1})]
  return {
    database: '/var/lib/jobq.db',
    stats: statsOf(funcs, [], []),
    running: [job(3, 'Crop'), job(4, 'Notify'), job(5, 'Perl')],
    managers: [manager(11, 'alpha', [[3, 10]]), manager(12, 'beta', [[4, 70]])],
    rate: 3.14,
    ...more,
  }
}

async function picture(of: TopFacts, view: TopView = VIEW, columns = 100, rows = 30): Promise<string[]> {
  return (await topPicture(of, view, {columns, rows})).map(line => stripVTControlCharacters(line).trimEnd())
}

describe('the picture of top', () => {
  test('a summary, functions, what runs and where, managers, keys', async () => {
    const lines = await picture(facts())
    const text = lines.join('\n')
    assert.match(lines[0]!, /^\d\d:\d\d:\d\d {2}\/var\/lib\/jobq\.db$/)
    assert.equal(lines[1], '2 jobq work on 2 hosts, 2 of 4 busy, 3.1 jobs/s; by name')
    assert.match(text, /\n▸ +Crop +2 +0 +0 +0 +0 +1m 5s/)
    assert.match(text, /\n +Notify +9 +0 +0 +1 /)
    assert.match(text, /\n +3 +Crop +10s +0 +alpha +903\n/)
    assert.match(text, /\n +11 +alpha +1\/2 +7 +1 +50M +2s ago\n/)
    assert.match(lines.at(-1)!, /^↑↓ Tab select .* q quit$/)
    assert.equal(lines.length, 30)
  })

  test('jobs that wait for others have a column where there are any', async () => {
    const funcs = [counts('Crop', {ready: 2, delayed: 1, waiting: 5}), counts('Notify', {ready: 9})]
    const text = (await picture(facts({stats: statsOf(funcs, [], [])}))).join('\n')
    assert.match(text, / READY +DELAYED +WAITING +RUNNING /)
    assert.match(text, /\n▸ +Crop +2 +1 +5 +0 +0 /)
    assert.match(text, /\n +Notify +9 +0 +0 +0 +0 /)
    assert.doesNotMatch((await picture(facts())).join('\n'), /WAITING/)
  })

  test('what runs: the longest first, and before it what nobody tells of', async () => {
    assert.deepEqual(keysOf('running', facts(), VIEW), ['5', '4', '3'])
    assert.deepEqual(keysOf('running', facts(), {sort: {funcs: 0, running: 1}}), ['3', '4', '5'])
    assert.match((await picture(facts())).join('\n'), /\n +5 +Perl +- +0 +- +-\n/)
  })

  test('who is gone runs nothing', async () => {
    const [alive, gone] = facts().managers as [ManagerStatus, ManagerStatus]
    const lines = await picture(facts({managers: [alive, {...gone, gone: true, age: 75}]}))
    assert.equal(lines[1], '1 jobq work on 1 host, 1 of 2 busy, 3.1 jobs/s; by name')
    assert.match(lines.join('\n'), /\n +4 +Notify +- +0 +- +-\n/)
    assert.match(lines.join('\n'), / +12 +beta .* 1m 15s ago/)
  })

  test('functions by their counts', () => {
    for (const [sort, first] of [
      [0, 'Crop'],
      [1, 'Notify'],
      [3, 'Notify'],
      [4, 'Crop'],
    ] as const)
      assert.equal(keysOf('funcs', facts(), {sort: {funcs: sort, running: 0}})[0], first)
  })

  test('the marked row is among those shown, and the others are told of', async () => {
    const names = Array.from({length: 200}, (_, i) => `F${String(i).padStart(3, '0')}`)
    const many = facts({
      stats: statsOf(
        names.map(name => counts(name)),
        [],
        [],
      ),
      running: [],
      managers: [],
    })
    const lines = await picture(many, {...VIEW, selected: {funcs: 'F120', running: null}})
    assert.equal(lines.filter(line => line.startsWith('▸')).length, 1)
    assert.ok(lines.some(line => /^▸ +F120 /.test(line)))
    assert.ok(lines.some(line => /^200 functions, from \d+$/.test(line)))
    assert.equal(lines[1], 'no `jobq work` is running, 3.1 jobs/s; by name')
  })

  for (const [columns, rows] of [
    [20, 24],
    [20, 5],
    [80, 1],
    [80, 2],
    [200, 60],
    [1, 1],
  ] as const)
    test(`${columns} columns and ${rows} rows: no more lines than that`, async () => {
      const lines = await picture(facts(), VIEW, columns, rows)
      assert.ok(lines.length <= rows, `${lines.length} lines`)
    })

  test('what names say reaches the terminal as text', async () => {
    const evil = '\u001b[2J\nX'
    const lines = await topPicture(
      facts({
        database: evil,
        stats: statsOf([counts(evil)], [], []),
        running: [job(1, evil)],
        managers: [manager(1, evil, [])],
      }),
      {...VIEW, message: evil},
      {columns: 100, rows: 30},
    )
    assert.ok(!lines.join('').includes('\u001b[2J'))
    assert.ok(!lines.join('').includes('\n'))
  })
})
