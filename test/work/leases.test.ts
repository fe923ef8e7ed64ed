/** The right to a job: renewed while it runs, respected when someone else has taken it, kept through locks. */
import assert from 'node:assert/strict'
import {describe, mock, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Events} from '../../src/lib/hooks/events.ts'
import {JobQueue} from '../../src/lib/index.ts'
import {openSqlite} from '../../src/lib/store/sqlite/store.ts'
import {Dispatcher} from '../../src/lib/work/dispatcher.ts'
import type {Ended, Executors} from '../../src/lib/work/executors/executor.ts'
import type {JobLog} from '../../src/lib/work/log/log.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** Waits until the test says so, then does the rest. */
const waits = (rest: string) => `import {existsSync} from 'node:fs'
import {note} from './_note.mjs'
export default {maxRetries: 3, setJobStatus: true, async work(job) {
  note({id: job.id})
  while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
  note({ended: job.id})
  ${rest}
}}
`

test('a job that someone else has taken meanwhile is left to them, however it ended here', async t => {
  const site = new Workplace(t, {
    'Completes.mjs': waits(''),
    'Fails.mjs': waits(`throw new Error('no')`),
    'Aborts.mjs': waits(`job.abort('no')`),
    'Replaces.mjs': waits(`job.replace({func: 'New'})`),
    'Dies.mjs': waits('process.exit(1)'),
    Shell: '#!/bin/sh\nwhile [ ! -e "$HOME/go" ]; do sleep 0.02; done',
  })
  await site.enqueue(['Completes'], ['Fails'], ['Aborts'], ['Replaces'], ['Dies'], ['Shell'])
  const work = site.work('--max-workers', '6', '--max-jobs', '6', '--debug')
  await work.prints(/grabbed 6/)
  await until('all have begun', () => site.notes().length === 5)
  // As Qudo takes a job whose lease it believes to be over
  site.rows('UPDATE job SET grabbed_until = unixepoch() + 3600')
  const before = site.rows('SELECT * FROM job ORDER BY id')
  site.write('go', '')
  const {code, stderr} = await work.exited
  assert.equal(code, 0)
  assert.deepEqual(
    [...stderr.matchAll(/(\w+) lost \S+ (\w+), but someone else had taken the job: nothing changed/g)]
      .map(([, func, outcome]) => `${func} ${outcome}`)
      .sort(),
    [
      'Aborts aborted',
      'Completes completed',
      'Dies died',
      'Fails failed',
      'Replaces replaced',
      'Shell completed',
    ],
  )
  assert.deepEqual(site.rows('SELECT * FROM job ORDER BY id'), before)
  assert.equal(site.count('exception_log') + site.count('job_status'), 0)
})

test('a job that is gone when it ends is lost as well', async t => {
  const site = new Workplace(t, {'Fails.mjs': waits(`throw new Error('no')`)})
  await site.enqueue(['Fails'])
  const work = site.work('--drain')
  await until('it has begun', () => site.notes().length === 1)
  site.rows('DELETE FROM job')
  site.write('go', '')
  const {stdout, stderr} = await work.exited
  assert.match(stdout, /^1 lost/)
  assert.match(stderr, /1 Fails lost/)
  assert.equal(site.count('exception_log') + site.count('job_status'), 0)
})

test('a job that something else gives back the moment it is taken is not run again and again', async t => {
  const site = new Workplace(t, {Shell: '#!/bin/sh\n'})
  await site.enqueue(['Shell'])
  site.rows(`CREATE TRIGGER gives_back AFTER UPDATE OF grabbed_until ON job WHEN NEW.grabbed_until > 0
    BEGIN UPDATE job SET grabbed_until = 0 WHERE id = NEW.id; END`)
  const {code, stderr} = await site.work('--max-time', '2s').exited
  assert.equal(code, 0)
  assert.match(stderr, /job 1 was lost again: .* no job of Shell is taken for 1 s/)
  const runs = stderr.match(/1 Shell lost/g)!.length
  assert.ok(runs < 10, `${runs} times`)
  const drain = await site.drain()
  assert.match(drain.stdout, /^\d lost in \S+ s\n$/, 'nothing of limits, which it has not')
})

for (const {name, skip, create} of await databaseKinds()) {
  const title = `a job whose id JavaScript can not hold is told once and not worked, what is behind it is: ${name}`
  for (const prefetch of ['0', '5'])
    test(`${title}, --prefetch ${prefetch}`, {skip}, async t => {
      const site = new Workplace(t, {Shell: '#!/bin/sh\n'})
      const {db, query} = await create(t)
      const queue = await JobQueue.open({db})
      const ids: number[] = []
      for (const priority of [3, 2, 1]) ids.push((await queue.enqueue('Shell', {priority})).id)
      await queue.close()
      await query(`UPDATE job SET id = 9007199254740993 WHERE id = ${ids[1]}`)
      const {code, stderr} = await site.work('--db', db, '--drain', '--prefetch', prefetch).exited
      assert.equal(code, 0, stderr)
      assert.equal(stderr.match(/9007199254740993/g)!.length, 1)
      assert.match(stderr, new RegExp(`${ids[0]} Shell completed[^]* ${ids[2]} Shell completed`))
      assert.deepEqual(await query('SELECT CAST(id AS CHAR(16)) AS id, grabbed_until FROM job'), [
        {id: '9007199254740993', grabbed_until: 0},
      ])
    })
}

test('a lock that another process holds is waited for: what has ended is settled when it is gone', async t => {
  const site = new Workplace(t, {'Completes.mjs': waits('')})
  await site.enqueue(['Completes'], ['Completes', {priority: 1}])
  const work = site.work('--debug')
  await until('one has begun', () => site.notes().length === 1)
  const other = new Sqlite(site.db)
  other.exec('BEGIN IMMEDIATE')
  site.write('go', '')
  await until('it has ended', () => site.notes().length === 2)
  work.kill('SIGTTIN')
  await work.prints(/max_workers is 2/) // it answers while it waits
  assert.equal(work.hasExited, false)
  assert.equal(site.count('job'), 2)
  other.exec('COMMIT')
  other.close()
  await until('both are settled', () => site.count('job') === 0)
  assert.doesNotMatch(work.stderr, /locked/)
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

describe('a lease of a minute', () => {
  const silent: JobLog = {
    ended() {},
    output: () => null,
    trouble() {},
    pruned() {},
    isVerbose: false,
    debug() {},
  }

  test('is renewed every 20 seconds while the job runs, and no further once it is someone else’s', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Long'])
    let now = 2_000_000_000
    const store = await openSqlite(site.db, {clock: () => now * 1000})
    mock.timers.enable({apis: ['setInterval']})
    t.after(() => mock.timers.reset())
    const onEnds: ((ended: Ended) => void)[] = []
    const executors: Executors = {
      isPrompt: true,
      coalesced: new Map(),
      failure: null,
      handled: ['Long'],
      shares: new Map(),
      prospect: () => 'now',
      room: () => ({
        funcs: ['Long'],
        held: new Set(),
        maxRunning: new Map(),
        limit: 1 - onEnds.length,
        isWhole: true,
      }),
      start: (_job: unknown, _since: number, onEnd: (ended: Ended) => void) => {
        onEnds.push(onEnd)
        return {
          settings: {grabFor: 3600, setJobStatus: false, keepResult: 0, retryIn: () => null},
          pid: null,
          stop() {},
        }
      },
    }
    const said: string[] = []
    const log = {...silent, trouble: (message: string) => void said.push(message)}
    const options = {
      mode: 'once',
      prefetch: 0,
      shutdownTimeoutMs: 1000,
      fair: false,
      workDelayMs: 5000,
    } as const
    const ran = new Dispatcher(store, executors, options, log, new Events()).run()
    await until('it has begun', () => onEnds.length === 1)
    const lease = () => site.column<number>('SELECT grabbed_until FROM job')[0]
    assert.equal(lease(), now + 60)
    for (let turn = 0; turn < 5; turn++) {
      now += 20
      mock.timers.tick(20_000)
      await until('it is renewed', () => lease() === now + 60)
    }
    assert.deepEqual(said, [])
    site.rows('UPDATE job SET grabbed_until = 2100000000')
    now += 20
    mock.timers.tick(20_000)
    await until('it is noticed', () => said.length === 1)
    assert.match(said[0]!, /job 1 was taken by someone else while it ran here/)
    assert.equal(lease(), 2_100_000_000)
    onEnds[0]!({kind: 'finished', outcome: {kind: 'completed'}})
    const {taken, completed, lost} = await ran
    assert.deepEqual({taken, completed, lost}, {taken: 1, completed: 0, lost: 1})
    assert.equal(lease(), 2_100_000_000)
    await store.close()
  })

  test('that someone else has by now, of a job that is on its way back: given back once', async t => {
    const site = new Workplace(t)
    await site.enqueue(...Array.from({length: 5}, (): [string] => ['Long']))
    const store = await openSqlite(site.db)
    mock.timers.enable({apis: ['setInterval']})
    t.after(() => mock.timers.reset())
    let end: ((ended: Ended) => void) | undefined
    const executors: Executors = {
      isPrompt: true,
      coalesced: new Map(),
      failure: null,
      handled: ['Long'],
      shares: new Map(),
      prospect: () => (end ? 'soon' : 'now'),
      room: more => ({
        funcs: ['Long'],
        held: new Set(),
        maxRunning: new Map(),
        limit: more + (end ? 0 : 1),
        isWhole: true,
      }),
      start: (_job: unknown, _since: number, onEnd: (ended: Ended) => void) => {
        end = onEnd
        return {
          settings: {grabFor: 3600, setJobStatus: false, keepResult: 0, retryIn: () => null},
          pid: null,
          stop() {},
        }
      },
    }
    const said: string[] = []
    const log = {...silent, isVerbose: true, debug: (message: string) => void said.push(message)}
    const options = {
      mode: 'forever',
      prefetch: 4,
      shutdownTimeoutMs: 10_000,
      fair: false,
      workDelayMs: 5000,
    } as const
    const dispatcher = new Dispatcher(store, executors, options, log, new Events())
    const ran = dispatcher.run()
    const taken = () => said.filter(line => line.startsWith('grabbed ')).length
    await until('all are taken, and one has begun', () => taken() === 5 && end !== undefined)
    site.rows('UPDATE job SET grabbed_until = 2100000000 WHERE id > 1')
    mock.timers.tick(20_000) // it is about to renew its leases
    dispatcher.finish() // and to give back what has not begun
    await until('it has looked', () => said.some(line => / was given back/.test(line)))
    end!({kind: 'finished', outcome: {kind: 'completed'}})
    assert.equal((await ran).taken, 1)
    assert.equal(said.filter(line => / was given back/.test(line)).length, 4)
    assert.deepEqual(
      site.column('SELECT grabbed_until FROM job'),
      [1, 2, 3, 4].map(() => 2_100_000_000),
    )
    await store.close()
  })
})
