/** The scoreboard of work within an application: its line, the facts behind it, and who else gets to see them. */
import assert from 'node:assert/strict'
import {connect, createServer} from 'node:net'
import {join} from 'node:path'
import {text} from 'node:stream/consumers'
import {describe, type TestContext, test} from 'node:test'
import {
  type Job,
  JobQueue,
  type ManagerStatus,
  type ScoreboardOptions,
  scoreboard,
} from '../../src/lib/index.ts'
import {jobqIn} from '../support/jobq.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

async function openQueue(
  t: TestContext,
  options: ScoreboardOptions = {},
  db = join(tempFolder(t), 'jobs.db'),
) {
  const board = scoreboard(options)
  const queue = await JobQueue.open({db, plugins: {board}})
  t.after(() => queue.close())
  return {board, queue}
}

/** Jobs that end when they are told to. */
function gate() {
  const open = Promise.withResolvers<void>()
  return {open: () => open.resolve(), work: async () => open.promise}
}

describe('scoreboard()', () => {
  test('marks what works, what is idle, and what is no more', async t => {
    const {board, queue} = await openQueue(t)
    assert.equal(board.line, '')
    await queue.enqueue('Notify')
    const {open, work} = gate()
    const working = queue.work({workers: {Notify: work}, concurrency: 3, mode: 'once'})
    await until('the job runs', () => board.line === 'A _ _')
    open()
    await working
    assert.equal(board.line, '. . .')
  })

  test('knows the facts', async t => {
    const {board, queue} = await openQueue(t)
    const ids = []
    for (const fails of [true, false, false]) ids.push((await queue.enqueue('Notify', {arg: fails})).id)
    await queue.pause(['Other'])
    const {open, work} = gate()
    const end = new AbortController()
    const working = queue.work({
      concurrency: 2,
      signal: end.signal,
      workers: {
        Notify: (job: Job) => {
          if (job.arg) throw new Error('no')
          return work()
        },
      },
    })
    const hasFailed = async () => (await board.status()).failed === 1
    await until('one has failed and two run', async () => (await hasFailed()) && board.line === 'A A')
    const {slots, memory, started, host, seen, ...facts} = await board.status()
    assert.deepEqual(facts, {
      ...{pid: process.pid, db: queue.name, funcs: ['Notify'], paused: ['Other'], jobs: 1, failed: 1},
      ...{moreFuncs: 0, workers: {working: 2, idle: 0, none: 0}, age: 0, gone: false},
    })
    assert.ok(seen >= started)
    assert.ok(memory! > 1_000_000 && host !== '' && Math.abs(started - Date.now() / 1000) < 600)
    assert.deepEqual(
      slots.map(({state, pid, func}) => [state, pid, func]),
      [
        ['working', process.pid, 'Notify'],
        ['working', process.pid, 'Notify'],
      ],
    )
    assert.deepEqual(slots.map(({id}) => id).sort(), ids.slice(1))
    assert.equal(slots[0]!.jobs + slots[1]!.jobs, 1)
    for (const {seconds} of slots) assert.ok(seconds !== null && seconds >= 0)
    open()
    end.abort()
    await working
    const after = await board.status()
    assert.deepEqual([after.jobs, after.failed, after.funcs], [3, 1, []])
    assert.deepEqual(
      after.slots.map(({state, pid, id}) => [state, pid, id]),
      [
        ['none', null, null],
        ['none', null, null],
      ],
    )
  })

  test('a job that is released leaves its slot', async t => {
    const {board, queue} = await openQueue(t)
    await queue.enqueue('Notify')
    const end = new AbortController()
    const working = queue.work({
      signal: end.signal,
      shutdownTimeout: 0,
      workers: {Notify: ({signal}: Job) => new Promise((_, reject) => (signal.onabort = reject))},
    })
    await until('it runs', () => board.line === 'A')
    const released: unknown[] = []
    queue.on('release', ({func, reason}) => released.push([func, reason]))
    end.abort()
    await working
    assert.deepEqual(released, [['Notify', 'stopped']])
    assert.equal(board.line, '.')
  })

  test('two works on one queue are one board', async t => {
    const {board, queue} = await openQueue(t)
    const end = new AbortController()
    const works = ['A', 'B'].map(func =>
      queue.work({workers: {[func]: () => {}}, concurrency: 2, signal: end.signal}),
    )
    await until('both go on', () => board.line === '_ _ _ _')
    assert.deepEqual((await board.status()).funcs, ['A', 'B'])
    end.abort()
    await Promise.all(works)
  })

  test('jobq status shows it, and so do the metrics, until the queue is closed', async t => {
    const jobq = jobqIn(t)
    const {board, queue} = await openQueue(t, {}, jobq.db)
    const other = await openQueue(t, {}, jobq.db)
    const end = new AbortController()
    const working = queue.work({workers: {Notify: () => {}}, concurrency: 2, signal: end.signal})
    await until('it goes on', () => board.line === '_ _')
    const slotsOf = async () => {
      const {managers} = JSON.parse((await jobq(['status', '--json'])).stdout)
      return managers.map(({pid, slots}: ManagerStatus) => `${pid} ${slots.length}`).sort()
    }
    await until('both are shown', async () => {
      const slots = await slotsOf()
      return slots.join() === [`${process.pid} 0`, `${process.pid} 2`].join()
    })
    const {stdout} = await jobq(['stats', '--prometheus'])
    assert.match(stdout, /^jobq_workers\{state="idle"\} 2$/m)
    end.abort()
    await working
    await queue.close()
    await other.queue.close()
    assert.deepEqual(JSON.parse((await jobq(['status', '--json'])).stdout), {managers: []})
  })

  test('serves the line like the admin port', async t => {
    const db = join(tempFolder(t), 'jobs.db')
    const probe = createServer().listen(0, '127.0.0.1')
    await until('it listens', () => probe.listening)
    const {port} = probe.address() as {port: number}
    await new Promise(resolve => probe.close(resolve))
    const {queue} = await openQueue(t, {port}, db)
    const end = new AbortController()
    const working = queue.work({workers: {Notify: () => {}}, concurrency: 2, signal: end.signal})
    await until('it answers', async () => (await text(connect(port, '127.0.0.1'))) === '_ _\n')
    await assert.rejects(JobQueue.open({db, plugins: {board: scoreboard({port})}}), {
      code: 'BAD_PLUGIN',
      message: new RegExp(`plugin board: start\\(\\) threw: can't listen on 127.0.0.1:${port} `),
    })
    end.abort()
    await working
  })

  test('before it was started it says so', async () => {
    assert.equal(scoreboard().line, '')
    await assert.rejects(scoreboard().status(), {code: 'USAGE'})
  })

  const mistakes: [options: object, message: RegExp][] = [
    [{prot: 1}, /scoreboard: unknown option prot/],
    [{port: -1}, /port: expected a whole number from 0 to 65535, got -1/],
    [{host: 1}, /scoreboard: host: expected text, got 1/],
  ]
  for (const [options, message] of mistakes)
    test(`${JSON.stringify(options)} is refused`, () =>
      assert.throws(() => scoreboard(options as ScoreboardOptions), {code: 'USAGE', message}))
})
