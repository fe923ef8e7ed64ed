/** How queue.work() ends: told to, by close, with a job that does not heed it, or not asked at all. */
import assert from 'node:assert/strict'
import {channel} from 'node:diagnostics_channel'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import {type EventName, JobQueue} from '../../src/lib/index.ts'
import {Started} from '../support/started.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

async function open(t: TestContext): Promise<JobQueue> {
  const queue = await JobQueue.open({db: join(tempFolder(t), 'jobs.db')})
  t.after(() => queue.close())
  return queue
}

test('an abort lets what runs finish, and takes no more, prefetched or not', async t => {
  const queue = await open(t)
  for (let i = 0; i < 20; i++) await queue.enqueue('Step', {arg: i})
  const abort = new AbortController()
  const done: unknown[] = []
  const summary = await queue.work({
    workers: {
      Step: async ({arg}) => {
        if (arg === 4) abort.abort()
        await sleep(1)
        done.push(arg)
      },
    },
    prefetch: 7,
    signal: abort.signal,
  })
  assert.deepEqual(done, [0, 1, 2, 3, 4])
  assert.equal(summary.completed, 5)
  const left = await queue.list({limit: 100})
  assert.deepEqual(
    left.map(({arg, state, retryCnt}) => [Number(arg), state, retryCnt]),
    Array.from({length: 15}, (_, i) => [i + 5, 'ready', 0]),
  )
  assert.deepEqual(await queue.exceptions(), [])
})

test('a job that does not finish in time is told to stop, and released', async t => {
  const queue = await open(t)
  await queue.enqueue('Slow')
  const abort = new AbortController()
  let wasTold = false
  const {released, cutShort} = await queue.work({
    workers: {
      Slow: async ({signal}) => {
        abort.abort()
        await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
        wasTold = true
        throw new Error('stopped')
      },
    },
    signal: abort.signal,
    shutdownTimeout: 0,
  })
  assert.deepEqual([wasTold, released, cutShort], [true, 1, true])
  assert.deepEqual(
    (await queue.list()).map(({state, retryCnt}) => [state, retryCnt]),
    [['ready', 0]],
  )
  assert.deepEqual(await queue.exceptions(), [])
})

test('a job that runs longer than its grabFor has failed, whatever it goes on doing', async t => {
  const queue = await open(t)
  await queue.enqueue('Endless')
  const {promise: never, resolve: giveUp} = Promise.withResolvers<void>()
  const summary = await queue.work({
    workers: {Endless: {grabFor: 1, work: () => never}},
    mode: 'drain',
  })
  giveUp()
  assert.equal(summary.failed, 1)
  assert.match((await queue.exceptions())[0]!.message, /ran longer than its grab_for of 1 s/)
  assert.deepEqual(await queue.list(), [])
})

test('and is tried again, if it has retries left', async t => {
  const queue = await open(t)
  await queue.enqueue('Slow')
  const {promise: never, resolve: giveUp} = Promise.withResolvers<void>()
  let runs = 0
  const work = () => (runs++ === 0 ? never : null)
  const {failed, completed} = await queue.work({
    workers: {Slow: {grabFor: 1, maxRetries: 1, work}},
    mode: 'drain',
  })
  giveUp()
  assert.deepEqual([failed, completed], [1, 1])
})

test('close ends the work, and resolves when it has ended', async t => {
  const queue = await open(t)
  await queue.enqueue('Long')
  const begun = Promise.withResolvers<void>()
  let hasFinished = false
  const work = queue.work({
    workers: {
      Long: async () => {
        begun.resolve()
        await sleep(50)
        hasFinished = true
      },
    },
  })
  await begun.promise
  await queue.close()
  assert.equal(hasFinished, true)
  assert.equal((await work).completed, 1)
})

test('two at once on one queue do each job once', async t => {
  const queue = await open(t)
  for (let i = 0; i < 100; i++) await queue.enqueue('Count', {arg: i})
  const done: unknown[] = []
  const work = () =>
    queue.work({workers: {Count: ({arg}) => done.push(arg)}, mode: 'drain', concurrency: 3, prefetch: 5})
  const [one, other] = await Promise.all([work(), work()])
  assert.equal(one.completed + other.completed, 100)
  assert.deepEqual(
    done.toSorted((a, b) => Number(a) - Number(b)),
    Array.from({length: 100}, (_, i) => i),
  )
})

test('a queue in memory is worked on the connection that it has', async () => {
  await using queue = await JobQueue.open({db: ':memory:'})
  await queue.enqueue('A', {arg: 1})
  const seen: unknown[] = []
  assert.equal((await queue.work({workers: {A: ({arg}) => seen.push(arg)}, mode: 'drain'})).completed, 1)
  assert.deepEqual(seen, [1])
})

test('each event is told, to listeners and on its channel; finish and fail when that is written', async t => {
  const queue = await open(t)
  const told: string[] = []
  const published: string[] = []
  for (const name of ['enqueue', 'grab', 'start', 'finish', 'fail', 'retry'] satisfies EventName[]) {
    queue.on(name, event => told.push(`${name} ${event.func}`))
    const hear = (event: unknown) => published.push(`${name} ${(event as {func: string}).func}`)
    const told_ = channel(`jobq:${name}`)
    told_.subscribe(hear)
    t.after(() => told_.unsubscribe(hear))
  }
  const inTable: (number | undefined)[] = []
  queue.on('finish', async ({id}) => inTable.push((await queue.find(id))?.id))
  await queue.enqueue('Good', {priority: 2})
  await queue.enqueue('Bad', {priority: 1})
  let tries = 0
  const fail = () => {
    if (tries++ === 0) throw new Error('no')
  }
  await queue.work({workers: {Good: () => {}, Bad: {maxRetries: 1, work: fail}}, mode: 'drain'})
  const expected = [
    'enqueue Good',
    'enqueue Bad',
    'grab Good',
    'start Good',
    'finish Good',
    'grab Bad',
    'start Bad',
  ]
  assert.deepEqual(
    told.toSorted(),
    [...expected, 'fail Bad', 'retry Bad', 'grab Bad', 'start Bad', 'finish Bad'].toSorted(),
  )
  assert.deepEqual(published, told)
  assert.deepEqual(told.slice(0, 4), ['enqueue Good', 'enqueue Bad', 'grab Good', 'start Good'])
  assert.ok(told.indexOf('fail Bad') < told.indexOf('retry Bad'))
  await until('both were looked for', () => inTable.length === 2)
  assert.deepEqual(inTable, [undefined, undefined])
})

const KILLED = `
  import {JobQueue} from ${JSON.stringify(new URL('../../src/lib/index.ts', import.meta.url).href)}
  const queue = await JobQueue.open({db: process.argv[1]})
  await queue.work({
    workers: {Note: ({id}) => {
      process.stdout.write(id + '\\n')
      if (id === 3) process.kill(process.pid, 'SIGKILL')
    }},
    prefetch: 10,
  })
`

test('what a killed process had taken ahead is lost to no one', async t => {
  const db = join(tempFolder(t), 'jobs.db')
  const queue = await JobQueue.open({db})
  t.after(() => queue.close())
  for (let i = 0; i < 20; i++) await queue.enqueue('Note')
  const killed = new Started(process.execPath, ['--input-type=module', '-e', KILLED, db], {
    cwd: tempFolder(t),
  })
  assert.equal((await killed.exited).signal, 'SIGKILL')
  const left = await queue.list({limit: 100})
  const begun = killed.stdout.trim().split('\n').map(Number)
  assert.deepEqual(begun, [1, 2, 3])
  // The third was running, the others waited or, at most, had ended without that being written
  for (let id = 4; id <= 20; id++)
    assert.ok(
      left.some(job => job.id === id),
      `job ${id}`,
    )
})
