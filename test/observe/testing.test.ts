/** jobq/testing: a queue in memory, a clock to set, jobs run by hand. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {readdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {pathToFileURL} from 'node:url'
import {defineWorker, type Hook, type Job} from '../../src/lib/index.ts'
import {openTestQueue, type TestQueueOptions} from '../../src/lib/testing.ts'
import {tempFolder} from '../support/temp.ts'

const START = new Date('2030-01-01T00:00:00Z')
const TESTING = pathToFileURL(join(import.meta.dirname, '../../src/lib/testing.ts')).href

async function open<F>(t: TestContext, options: TestQueueOptions<F> = {}) {
  const queue = await openTestQueue<F>({now: START, ...options})
  t.after(() => queue.close())
  return queue
}

describe('what is in the queue', () => {
  test('is listed as it would be worked, with its arguments', async t => {
    const {queue, jobs} = bound(await open(t))
    const {id} = await queue.enqueue('Later', {arg: [1], delay: 60, uniqkey: 'k'})
    await queue.enqueue('Notify', {arg: {to: 'ada'}})
    await queue.enqueue('Notify', {arg: null, priority: 5})
    assert.deepEqual(
      (await jobs()).map(({func, arg, priority, state}) => [func, arg, priority, state]),
      [
        ['Notify', null, 5, 'ready'],
        ['Notify', {to: 'ada'}, 0, 'ready'],
        ['Later', [1], 0, 'delayed'],
      ],
    )
    assert.deepEqual(await jobs('Later'), [
      {
        ...{id, func: 'Later', arg: [1], uniqkey: 'k', priority: 0, retryCnt: 0, state: 'delayed'},
        runAfter: new Date('2030-01-01T00:01:00Z'),
      },
    ])
  })

  test('arguments are decoded as the worker would, else as text or bytes', async t => {
    const {queue, jobs} = bound(
      await open(t, {workers: {Packed: defineWorker({serializer: 'msgpack', work: () => {}})}}),
    )
    await queue.enqueue('Packed', {arg: {a: 1}, serializer: 'msgpack'})
    await queue.enqueue('Text', {arg: 'plain', serializer: 'none'})
    await queue.enqueue('Bytes', {arg: Buffer.from([255, 0]), serializer: 'none'})
    const args = new Map((await jobs()).map(({func, arg}) => [func, arg]))
    assert.deepEqual(args.get('Packed'), {a: 1})
    assert.equal(args.get('Text'), 'plain')
    assert.deepEqual(Buffer.from(args.get('Bytes') as Uint8Array), Buffer.from([255, 0]))
  })
})

describe('a job that is told to stop', () => {
  test('runs longer than its grabFor by the clock: its signal aborts, and it has failed', async t => {
    const tested = await open(t, {
      workers: {
        Long: {
          grabFor: 60,
          maxRetries: 1,
          work: job => {
            tested.clock.advance(60)
            assert.equal(job.signal.aborted, false)
            tested.clock.advance(1)
            job.signal.throwIfAborted()
          },
        },
      },
    })
    await tested.queue.enqueue('Long')
    const run = (await tested.runOne())!
    assert.deepEqual([run.outcome, run.retryIn], ['failed', 0])
    assert.match(run.message, /^ran longer than its grab_for of 60 s and was stopped/)
    assert.equal((run.error as Error).name, 'JobStoppedError')
  })

  test('is cancelled while it runs: it ends as that, unless it gets done all the same', async t => {
    const results: string[] = []
    const tested = await open<unknown>(t, {
      workers: {
        Heeds: async job => {
          results.push((await tested.queue.cancel(job.id)).result!)
          job.signal.throwIfAborted()
        },
        Ends: async job => {
          results.push((await tested.queue.cancel(job.id)).result!)
        },
      },
    })
    const job = await tested.queue.enqueue('Heeds')
    await tested.queue.enqueue('Ends')
    const runs = await tested.drain()
    assert.deepEqual(results, ['stopping', 'stopping'])
    assert.deepEqual(
      runs.map(({outcome, message}) => [outcome, message]),
      [
        ['aborted', 'cancelled'],
        ['completed', ''],
      ],
    )
    assert.deepEqual(
      (await tested.queue.exceptions()).map(({jobId, state}) => [jobId, state]),
      [[job.id, 'cancelled']],
    )
  })

  test('runJob works one that is paused', async t => {
    const tested = await open(t, {workers: {Work: () => {}}})
    await tested.queue.pause(['Work'])
    const job = await tested.queue.enqueue('Work')
    assert.equal(await tested.runOne(), null)
    assert.equal((await tested.runJob(job)).outcome, 'completed')
  })
})

describe('the clock', () => {
  test('stands still, and jobs become ready when it is advanced or set', async t => {
    const tested = await open(t, {workers: {Notify: () => {}}})
    await tested.queue.enqueue('Notify', {delay: 60})
    await tested.queue.enqueue('Notify', {runAfter: new Date('2030-06-01T00:00:00Z')})
    tested.clock.advance(59)
    assert.equal(await tested.runOne(), null)
    tested.clock.advance(1)
    assert.equal((await tested.runOne())?.outcome, 'completed')
    assert.equal(await tested.runOne(), null)
    tested.clock.set(new Date('2030-06-01T00:00:00Z'))
    assert.equal((await tested.runOne())?.outcome, 'completed')
    assert.equal(tested.clock.now.toISOString(), '2030-06-01T00:00:00.000Z')
  })

  test('is what a status and an exception tell', async t => {
    const work = () => {
      tested.clock.advance(90)
      throw new Error('no')
    }
    const tested = await open(t, {workers: {Slow: defineWorker({setJobStatus: true, work})}})
    await tested.queue.enqueue('Slow')
    await tested.runOne()
    const start = START.getTime() / 1000
    const [status] = await tested.queue.statuses()
    assert.deepEqual([status!.jobStartTime, status!.jobEndTime], [start, start + 90])
    assert.equal((await tested.queue.exceptions())[0]!.exceptionTime, start + 90)
  })

  test('begins now, unless it is told', async () => {
    await using tested = await openTestQueue()
    assert.ok(Math.abs(tested.clock.now.getTime() - Date.now()) < 60_000)
  })

  test('takes no nonsense', async t => {
    const {clock} = await open(t)
    assert.throws(() => clock.advance(-1), {
      code: 'USAGE',
      message: /clock\.advance: expected seconds from 0/,
    })
    assert.throws(() => clock.set(new Date('x')), {code: 'USAGE', message: /clock\.set: expected a Date/})
    assert.deepEqual(clock.now, START)
  })
})

describe('a run', () => {
  class NoAddress extends Error {}

  test('tells how it ended, and what was thrown', async t => {
    const error = new NoAddress('grace')
    const workers = {
      Notify: defineWorker<string>({
        maxRetries: 1,
        retryDelay: 60,
        work({arg}) {
          if (arg === 'grace') throw error
        },
      }),
    }
    const tested = await open(t, {workers})
    const {id} = await tested.queue.enqueue('Notify', {arg: 'grace'})
    const run = await tested.runOne()
    assert.partialDeepStrictEqual(run, {
      ...{id, func: 'Notify', arg: 'grace', retryCnt: 0, outcome: 'failed', retryIn: 60},
    })
    assert.equal(run!.error, error)
    assert.match(run!.message, /grace/)
    assert.equal((await tested.jobs())[0]!.runAfter.getTime(), START.getTime() + 60_000)
    tested.clock.advance(60)
    assert.partialDeepStrictEqual(await tested.runOne(), {retryCnt: 1, outcome: 'failed', retryIn: null})
    assert.deepEqual(await tested.jobs(), [])
    assert.equal((await tested.queue.exceptions()).length, 2)
  })

  test('of every other outcome', async t => {
    const tested = await open(t, {
      workers: {
        Fine: () => 'ignored',
        Stop: (job: Job) => job.abort('too old'),
        Swap: (job: Job) => job.replace({func: 'Fine', arg: 1}),
        Clash: (job: Job) => job.replace({func: 'Fine', uniqkey: 'taken'}),
      },
    })
    await tested.queue.enqueue('Fine', {uniqkey: 'taken', delay: 5})
    for (const func of ['Stop', 'Swap', 'Clash'] as const) await tested.queue.enqueue(func)
    const runs = await tested.drain()
    assert.deepEqual(
      runs.map(({func, outcome, error}) => [func, outcome, error]),
      [
        ['Stop', 'aborted', undefined],
        ['Swap', 'replaced', undefined],
        ['Clash', 'failed', undefined],
        ['Fine', 'completed', undefined],
      ],
    )
    assert.equal(runs[0]!.message, 'too old')
    assert.match(runs[2]!.message, /already waiting/)
  })

  test('goes strictly by priority, and by function if one is named', async t => {
    const tested = await open(t, {workers: {A: () => {}, B: () => {}}})
    await tested.queue.enqueue('A', {arg: 'low'})
    await tested.queue.enqueue('A', {arg: 'high', priority: 9})
    await tested.queue.enqueue('B', {arg: 'other', priority: 5})
    assert.equal((await tested.runOne('B'))?.arg, 'other')
    assert.equal((await tested.runOne())?.arg, 'high')
    assert.equal((await tested.runOne())?.arg, 'low')
    assert.equal(await tested.runOne(), null)
  })

  test('tells its events, and runs within hooks and plugins', async t => {
    const said: string[] = []
    const hooks: Hook[] = [
      {name: 'h', preWork: () => said.push('preWork'), postWork: ({outcome}) => said.push(`post ${outcome}`)},
    ]
    const plugins = {words: {say: (word: string) => said.push(word)}}
    const workers = {Notify: (job: Job) => (job.plugin('words') as typeof plugins.words).say('work')}
    const tested = await open(t, {workers, hooks, plugins})
    for (const name of ['enqueue', 'grab', 'start', 'finish'] as const)
      tested.queue.on(name, () => said.push(name))
    await tested.queue.enqueue('Notify')
    await tested.runOne()
    assert.deepEqual(said, ['enqueue', 'grab', 'start', 'preWork', 'work', 'finish', 'post completed'])
  })

  test('a hook that throws before is a death, one that throws afterwards rejects', async t => {
    const boom = () => {
      throw new Error('boom')
    }
    const died = await open(t, {workers: {A: () => {}}, hooks: [{name: 'h', preWork: boom}]})
    await died.queue.enqueue('A')
    assert.equal((await died.runOne())?.outcome, 'died')
    assert.equal((await died.jobs()).length, 1)
    const late = await open(t, {workers: {A: () => {}}, hooks: [{name: 'h', postWork: boom}]})
    await late.queue.enqueue('A')
    await assert.rejects(late.runOne(), {code: 'HOOK_FAILED'})
    assert.deepEqual(await late.jobs(), [])
  })
})

describe('runJob', () => {
  test('works this very job, whatever stands before it, and leaves the others as they were', async t => {
    const tested = await open(t, {workers: {A: () => {}}})
    const before = await tested.queue.enqueue('A', {priority: 9})
    const job = await tested.queue.enqueue('A', {arg: 'me'})
    const rows = await tested.queue.list()
    assert.partialDeepStrictEqual(await tested.runJob(job), {id: job.id, arg: 'me', outcome: 'completed'})
    assert.deepEqual(
      await tested.queue.list(),
      rows.filter(({id}) => id === before.id),
    )
  })

  test('with another worker, or without any of its own', async t => {
    const tested = await open(t)
    const job = await tested.queue.enqueue('A', {arg: {to: 'ada'}})
    const seen: string[] = []
    await tested.runJob(job, defineWorker<{to: string}>({work: ({arg}) => seen.push(arg.to)}))
    await tested.runJob(await tested.queue.enqueue('A', {arg: 'x'}), (job: Job<string>) => seen.push(job.arg))
    assert.deepEqual(seen, ['ada', 'x'])
  })

  test('says why it can not', async t => {
    const tested = await open(t, {workers: {A: () => {}}})
    const job = await tested.queue.enqueue('A', {delay: 60})
    await assert.rejects(tested.runJob(job), {
      code: 'USAGE',
      message: `job ${job.id}: expected one that is ready, got one that is delayed`,
      hint: 'clock.advance(60) makes it ready',
    })
    tested.clock.advance(60)
    await tested.runJob(job)
    await assert.rejects(tested.runJob(job), {code: 'NOT_FOUND'})
    const other = await tested.queue.enqueue('B')
    await assert.rejects(tested.runJob(other), {
      code: 'USAGE',
      message: 'expected a worker for "B", got none',
    })
  })
})

describe('drain', () => {
  test('works what becomes ready by working, and leaves what is not due', async t => {
    const tested = await open(t, {
      workers: {
        Chain: (job: Job) => {
          if ((job.arg as number) > 0) job.replace({func: 'Chain', arg: (job.arg as number) - 1})
        },
      },
    })
    await tested.queue.enqueue('Chain', {arg: 3})
    await tested.queue.enqueue('Chain', {arg: 0, delay: 1})
    const runs = await tested.drain()
    assert.deepEqual(
      runs.map(({arg}) => arg),
      [3, 2, 1, 0],
    )
    assert.equal((await tested.jobs()).length, 1)
    assert.deepEqual(await tested.drain(), [])
  })

  test('gives up where there is no end', async t => {
    const tested = await open(t, {workers: {Again: (job: Job) => job.replace({func: 'Again'})}})
    await tested.queue.enqueue('Again')
    await assert.rejects(tested.drain(), {
      code: 'USAGE',
      message: /expected an end, got none after 10000 jobs/,
    })
  })

  test('without workers it says so', async t => {
    await assert.rejects((await open(t)).drain(), {
      code: 'USAGE',
      hint: 'write openTestQueue({workers: {…}})',
    })
    await assert.rejects((await open(t)).runOne('A'), {code: 'USAGE'})
  })
})

describe('openTestQueue', () => {
  test('two of them know nothing of each other, and queue.work works there, too', async t => {
    const [a, b] = [await open(t), await open(t)]
    await a.queue.enqueue('Notify')
    assert.deepEqual(await b.jobs(), [])
    const summary = await a.queue.work({mode: 'drain', workers: {Notify: () => {}}})
    assert.equal(summary.completed, 1)
    assert.deepEqual(await a.jobs(), [])
  })

  const mistakes: [options: object, message: RegExp][] = [
    [{worker: {}}, /openTestQueue: unknown option worker/],
    [{now: 'today'}, /openTestQueue: now: expected a Date/],
    [{workers: {A: 7}}, /workers\.A: expected .*work\(job\), got 7/],
    [{workers: {A: {wrk: () => {}}}}, /workers\.A: expected/],
  ]
  for (const [options, message] of mistakes)
    test(`${message.source} is told`, async () => {
      await assert.rejects(openTestQueue(options as TestQueueOptions), {message})
    })

  test('leaves no file, and nothing that keeps the process', t => {
    const folder = tempFolder(t)
    const script = join(folder, 'script.ts')
    writeFileSync(
      script,
      `import {openTestQueue} from '${TESTING}'
       const tested = await openTestQueue({workers: {A: () => {}}})
       await tested.queue.enqueue('A', {delay: 1})
       tested.clock.advance(1)
       console.log((await tested.runOne())?.outcome, process.getActiveResourcesInfo().filter(name => name === 'Timeout'))`,
    )
    const {stdout, status, stderr} = spawnSync(process.execPath, [script], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 60_000,
      env: {PATH: process.env.PATH, HOME: folder, JOBQ_DB: '/nowhere/at/all.db'},
    })
    assert.equal(stderr, '')
    assert.equal(stdout, 'completed []\n')
    assert.equal(status, 0) // it was not even closed
    assert.deepEqual(readdirSync(folder), ['script.ts'])
  })
})

/** So that its methods can be taken apart. */
function bound<F>(tested: Awaited<ReturnType<typeof openTestQueue<F>>>) {
  return {queue: tested.queue, jobs: tested.jobs.bind(tested)}
}

describe('what a dispatcher sees to is seen to here', () => {
  test('what waits for a job that fails, fails; that a job was aborted counts as well', async () => {
    await using t = await openTestQueue({
      workers: {
        Ok() {},
        Fails() {
          throw new Error('no')
        },
      },
    })
    const {id} = await t.queue.enqueue('Fails')
    const next = await t.queue.enqueue('Ok', {after: [id]})
    await t.queue.enqueue('Ok', {after: [next]})
    assert.deepEqual(
      (await t.drain()).map(({func}) => func),
      ['Fails'],
    )
    assert.deepEqual(await t.jobs(), [])
    assert.match((await t.queue.exceptions({limit: 1}))[0]!.message, /failed: job \d+ failed: Error: no/)
  })

  test('how the jobs of a batch have ended is told; what is for failures has nothing to do', async () => {
    const told: unknown[] = []
    await using t = await openTestQueue({
      workers: {Ok() {}, Then: ({arg}) => void told.push(arg), Alarm: () => void told.push('alarm')},
    })
    const then = {func: 'Then', arg: {a: 1}}
    await t.queue.batch([{func: 'Ok'}, {func: 'Ok'}], {then, onFailure: {func: 'Alarm'}})
    assert.deepEqual(
      (await t.drain()).map(({func}) => func),
      ['Ok', 'Ok', 'Then'],
    )
    assert.deepEqual(told, [{a: 1, batch: {jobs: 2, completed: 2, failed: 0, aborted: 0}}])
    assert.deepEqual(await t.jobs(), [])
  })

  test('what has expired leaves without running', async () => {
    await using t = await openTestQueue({workers: {Ok() {}}})
    const {id} = await t.queue.enqueue('Ok', {expires: 10, tracked: true})
    t.clock.advance(20)
    assert.deepEqual(await t.drain(), [])
    const {outcome, message} = await t.queue.wait(id)
    assert.deepEqual([outcome, message], ['aborted', 'expired'])
  })

  test('limits of what is scarce hold, by the test’s clock', async () => {
    await using t = await openTestQueue({
      workers: {
        Rated: {rate: '2/1h', work() {}},
        PerKey: {ratePerKey: '1/1h', shareBy: 'customer', work() {}},
        Free() {},
      },
    })
    for (let i = 0; i < 4; i++) await t.queue.enqueue('Rated')
    for (const customer of ['a', 'a', 'b']) await t.queue.enqueue('PerKey', {arg: {customer}})
    await t.queue.enqueue('Free')
    const worked = async () => (await t.drain()).map(({func}) => func).sort()
    assert.deepEqual(await worked(), ['Free', 'PerKey', 'PerKey', 'Rated', 'Rated'])
    assert.deepEqual(await worked(), [])
    t.clock.advance(3601)
    assert.deepEqual(await worked(), ['PerKey', 'Rated', 'Rated'])
    assert.deepEqual(await t.jobs(), [])
  })
})
