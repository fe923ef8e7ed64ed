/** Jobs coming in through the library: one, many at once, all or none; and what closing does. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {channel} from 'node:diagnostics_channel'
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {ClosedError, DuplicateJobError, type JobQueue, type JobqEvents} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

async function* later<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item)
}

function heard(queue: JobQueue) {
  const events: [name: string, event: unknown][] = []
  for (const name of ['enqueue', 'enqueueMany', 'retry'] as const)
    queue.on(name, (event: JobqEvents[typeof name]) => events.push([name, event]))
  return events
}

describe('one job', () => {
  test('has an id, is told of, and is there for others', async t => {
    const {open, queue} = await openQueue(t)
    const events = heard(queue)
    const job = await queue.enqueue('Notify', {arg: {to: 'ada'}, uniqkey: 'k', priority: 3, delay: 59.5})
    assert.deepEqual(events, [['enqueue', job]])
    const found = await (await open()).find(job.id)
    assert.deepEqual(
      [found?.func, found?.uniqkey, found?.priority, String(found?.arg), found?.state],
      ['Notify', 'k', 3, '{"to":"ada"}', 'delayed'],
    )
    assert.equal(found!.runAfter, job.runAfter)
    assert.equal((await queue.find(job.id, 1))?.id, job.id)
    assert.equal((await queue.find(job))?.id, job.id)
    await assert.rejects(queue.find(job.id, 2), /no database 2/)
    await assert.rejects(queue.retry(1, {db: 2}), /no database 2/)
  })

  test('with a token is stored once', async t => {
    const {queue, rows} = await openQueue(t)
    const {id} = await queue.enqueue('F', {token: 'a'})
    assert.equal((await queue.enqueue('F', {token: 'a', priority: 2})).id, id)
    assert.notEqual((await queue.enqueue('F', {token: 'b'})).id, id)
    const [token, alone] = [{token: 'c'}, /token: expected it only where one job is enqueued/]
    await assert.rejects(queue.enqueueMany([{func: 'F', ...token}] as never[]), alone)
    assert.throws(() => queue.enqueueIn(new Sqlite(':memory:'), 'F', token as never), alone)
    await assert.rejects(
      queue.enqueue('F', {...token, uniqkey: 'k', replace: true}),
      /replace or token, got both/,
    )
    await assert.rejects(queue.enqueue('F', {token: 7 as never}), /token: expected text, got 7/)
    assert.equal(rows('SELECT id FROM job').length, 2)
  })

  test('of a time is due then', async t => {
    const {queue} = await openQueue(t)
    const {runAfter} = await queue.enqueue('F', {runAfter: new Date('2026-12-24T18:00:00.999Z')})
    assert.equal(runAfter, 1_798_135_200)
  })

  test('is told on the diagnostics channel, too', async t => {
    const {queue} = await openQueue(t)
    const told: unknown[] = []
    const listen = (event: unknown) => told.push(event)
    channel('jobq:enqueue').subscribe(listen)
    t.after(() => channel('jobq:enqueue').unsubscribe(listen))
    const job = await queue.enqueue('F')
    assert.deepEqual(told, [job])
  })

  test('is stored whatever a listener throws: that is an uncaught exception', async t => {
    const {folder, rows} = await openQueue(t)
    const program = join(folder, 'program.mjs')
    writeFileSync(
      program,
      `import {JobQueue} from ${JSON.stringify(new URL('../../src/lib/index.ts', import.meta.url).href)}
      process.on('uncaughtException', error => console.log('uncaught', error.message))
      await using queue = await JobQueue.open({db: ${JSON.stringify(join(folder, 'jobs.db'))}})
      queue.on('enqueue', () => { throw new Error('listener') })
      console.log('stored', (await queue.enqueue('F')).id)`,
    )
    const {stdout, stderr} = spawnSync(process.execPath, [program], {encoding: 'utf8'})
    assert.deepEqual([stdout.split('\n').sort(), stderr], [['', 'stored 1', 'uncaught listener'], ''])
    assert.equal(rows('SELECT * FROM job').length, 1)
  })

  test('a thousand at once: each has its own id and its own refusal', async t => {
    const {queue, rows} = await openQueue(t)
    const calls = Array.from({length: 1000}, (_, i) =>
      queue.enqueue(`F${i % 3}`, i % 10 === 0 ? {uniqkey: 'k'} : {arg: i}),
    )
    const ended = await Promise.allSettled(calls)
    const ids = ended.flatMap(end => (end.status === 'fulfilled' ? [end.value.id] : []))
    assert.equal(new Set(ids).size, 903)
    for (const end of ended) if (end.status === 'rejected') assert.ok(end.reason instanceof DuplicateJobError)
    assert.equal(rows('SELECT * FROM job').length, 903)
  })
})

describe('replace', () => {
  test('takes the place of what waits under the key, and is told as that', async t => {
    const {queue} = await openQueue(t)
    const events = heard(queue)
    const first = await queue.enqueue('F', {uniqkey: 'k', arg: 1, replace: true})
    const again = await queue.enqueue('F', {uniqkey: 'k', arg: 2, priority: 4, replace: true})
    assert.deepEqual(again, {...first, priority: 4, runAfter: again.runAfter, isReplaced: true})
    assert.deepEqual(events, [['enqueue', first]])
    assert.deepEqual(
      (await queue.list()).map(({id, arg}) => [id, String(arg)]),
      [[first.id, '2']],
    )
    await assert.rejects(queue.enqueue('F', {uniqkey: 'k', replace: false}), DuplicateJobError)
  })

  test('is for one job at a time, and needs a key', async t => {
    const {queue} = await openQueue(t)
    const request = {func: 'F', uniqkey: 'k', replace: true}
    await assert.rejects(
      queue.enqueueMany([request as never]),
      /job 1: enqueue: replace: expected it only where/,
    )
    await assert.rejects(queue.enqueue('F', {replace: true}), /replace: expected a uniqkey with it, got none/)
    await assert.rejects(
      queue.enqueue('F', {uniqkey: 'k', replace: true, after: [1]}),
      /replace: expected no after with it/,
    )
    await assert.rejects(queue.enqueue('F', {replace: 1 as never}), /replace: expected true or false, got/)
    assert.deepEqual(await queue.list(), [])
  })
})

describe('two queues on one file, in one process', () => {
  test('enqueue at once, and each sees what the other has stored', async t => {
    const {open, rows} = place(t)
    const [a, b] = [await open(), await open()]
    const ids = await Promise.all(
      Array.from({length: 200}, (_, i) => (i % 2 ? a : b).enqueue('F', {arg: i}).then(({id}) => id)),
    )
    assert.equal(new Set(ids).size, 200)
    assert.deepEqual(rows('SELECT count(*) AS jobs FROM job'), [{jobs: 200}])
    assert.deepEqual([await a.count(), await b.count('F'), await b.count('G')], [200, 200, 0])
    await assert.rejects(
      Promise.all([a.enqueue('F', {uniqkey: 'k'}), b.enqueue('F', {uniqkey: 'k'})]),
      DuplicateJobError,
    )
  })

  test('one works what the other has enqueued, while that goes on', async t => {
    const {open, rows} = place(t)
    const [client, worker] = [await open(), await open()]
    const done: unknown[] = []
    const stop = new AbortController()
    const working = worker.work({workers: {F: ({arg}) => void done.push(arg)}, signal: stop.signal})
    const jobs = await Promise.all(
      Array.from({length: 50}, (_, i) => client.enqueue('F', {arg: i, tracked: true})),
    )
    await Promise.all(jobs.map(job => client.wait(job)))
    stop.abort()
    assert.equal((await working).completed, 50)
    assert.deepEqual(
      done,
      Array.from({length: 50}, (_, i) => i),
    )
    assert.deepEqual(rows('SELECT * FROM job'), [])
  })
})

describe('enqueues at once let the event loop go on between their commits, and keep their order:', () => {
  for (const [what, count, padding] of [
    ['many', 1000, ''],
    ['large ones', 10, 'x'.repeat(400_000)],
  ] as const)
    test(what, async t => {
      const {queue, rows} = await openQueue(t)
      let stored = 0
      const jobs = Array.from({length: count}, async (_, i) => {
        const {id} = await queue.enqueue('A', {arg: `${i} ${padding}`})
        stored++
        return id
      })
      const seen: number[] = []
      while (stored < count) {
        await new Promise(resolve => setImmediate(resolve))
        seen.push(stored)
      }
      assert.ok(new Set(seen).size >= 4, `stored at each turn of the event loop: ${seen}`)
      const ids = await Promise.all(jobs)
      assert.deepEqual(
        rows(`SELECT id, CAST(substr(arg, 2) AS INTEGER) AS nth FROM job ORDER BY id`),
        ids.map((id, nth) => ({id, nth})),
      )
    })
})

describe('many jobs', () => {
  for (const [what, make] of [
    ['an array', (items: {func: string}[]) => items],
    ['a generator', (items: {func: string}[]) => items.values()],
    ['an asynchronous one', later],
  ] as const)
    test(`of ${what} are stored together, and told together`, async t => {
      const {queue, rows} = await openQueue(t)
      const events = heard(queue)
      const items = [
        {func: 'A', arg: {x: 1}, priority: 2},
        {func: 'B', uniqkey: 'k', delay: 5},
        {func: 'A', context: {a: 'b'}, tracked: true},
      ]
      assert.equal(await queue.enqueueMany(make(items)), 3)
      assert.deepEqual(
        rows('SELECT name, arg, uniqkey, priority FROM job JOIN func ON func.id = func_id ORDER BY job.id'),
        [
          {name: 'A', arg: '{"x":1}', uniqkey: null, priority: 2},
          {name: 'B', arg: 'null', uniqkey: 'k', priority: 0},
          {name: 'A', arg: 'null', uniqkey: null, priority: 0},
        ],
      )
      assert.deepEqual(rows('SELECT context FROM jobq_context'), [{context: '{"a":"b"}'}])
      assert.deepEqual(rows('SELECT job_id FROM jobq_wait'), [{job_id: 3}])
      assert.deepEqual(events, [['enqueueMany', {count: 3, funcs: {A: 2, B: 1}}]])
    })

  test('of functions named as what all objects have are counted by name', async t => {
    const {queue} = await openQueue(t)
    const events = heard(queue)
    await queue.enqueueMany([{func: '__proto__'}, {func: 'constructor'}, {func: '__proto__'}])
    const funcs = JSON.parse('{"__proto__": 2, "constructor": 1}')
    assert.deepEqual(events, [['enqueueMany', {count: 3, funcs}]])
  })

  test('none are none', async t => {
    const {queue} = await openQueue(t)
    const events = heard(queue)
    assert.equal(await queue.enqueueMany([]), 0)
    assert.deepEqual(events, [])
  })

  test('a key that waits, or comes twice: none is stored, and the job is named', async t => {
    const {queue, rows} = await openQueue(t)
    await queue.enqueue('F', {uniqkey: 'waits'})
    const told = async (items: {func: string; uniqkey?: string}[], message: string) =>
      assert.rejects(queue.enqueueMany(items), error => {
        assert.ok(error instanceof DuplicateJobError)
        assert.equal(error.message, message)
        return true
      })
    await told(
      [{func: 'F'}, {func: 'F', uniqkey: 'waits'}],
      'job 2: uniqkey: refused: a job of F with uniqkey "waits" is already waiting (job 1)',
    )
    await told(
      [{func: 'G', uniqkey: 'k'}, {func: 'F'}, {func: 'G', uniqkey: 'k'}],
      'job 3: uniqkey: refused: a job of G with uniqkey "k" is in an earlier job',
    )
    assert.equal(rows('SELECT * FROM job').length, 1)
  })

  test('what the source throws is thrown, and nothing is stored', async t => {
    const {queue, rows} = await openQueue(t)
    const own = new Error('my source')
    function* bad() {
      yield {func: 'F'}
      throw own
    }
    await assert.rejects(queue.enqueueMany(bad()), error => error === own)
    await assert.rejects(queue.enqueueMany(later(bad())), error => error === own)
    assert.deepEqual(rows('SELECT * FROM job'), [])
  })

  test('while an asynchronous source takes its time, others enqueue', async t => {
    const {open, queue, rows} = await openQueue(t)
    const other = await open()
    async function* slow() {
      for (const n of [1, 2, 3]) {
        await queue.enqueue('Own', {arg: n})
        await other.enqueue('Other', {arg: n})
        yield {func: 'Many', arg: n}
      }
    }
    assert.equal(await queue.enqueueMany(slow()), 3)
    assert.equal(rows('SELECT * FROM job').length, 9)
  })

  test('of which one never comes are given up when the queue is closed', async t => {
    const {open, rows} = place(t)
    const queue = await open()
    const waits = Promise.withResolvers<void>()
    let isReturned = false
    async function* hanging() {
      try {
        yield {func: 'F'}
        waits.resolve()
        await new Promise(() => {})
      } finally {
        isReturned = true
      }
    }
    const enqueued = assert.rejects(queue.enqueueMany(hanging()), ClosedError)
    await waits.promise
    await queue.close()
    await enqueued
    assert.deepEqual(rows('SELECT * FROM job'), [])
    assert.equal(isReturned, false, 'a generator that hangs can not be ended; it is left alone')
  })
})

describe('closing', () => {
  test('what was called before is stored', async t => {
    const {open, rows} = place(t)
    const queue = await open()
    const jobs = Array.from({length: 20}, () => queue.enqueue('F'))
    const many = queue.enqueueMany([{func: 'G'}, {func: 'G'}])
    await queue.close()
    assert.equal((await Promise.all(jobs)).length, 20)
    assert.equal(await many, 2)
    assert.equal(rows('SELECT * FROM job').length, 22)
  })

  test('what was called before is done, whatever it takes', async t => {
    const {queue, rows} = await openQueue(t)
    const [cancelled, other] = [await queue.enqueue('A'), await queue.enqueue('B')]
    const calls = [
      queue.cancel(cancelled),
      queue.cancelMany({jobs: [other]}).next(),
      queue.stats(),
      queue.managers(),
    ]
    await queue.close()
    await Promise.all(calls)
    assert.deepEqual(rows('SELECT * FROM job'), [])
  })

  test('a retry whose event closes the queue is one all the same', async t => {
    const {queue, rows} = await openQueue(t)
    await queue.enqueue('Bad')
    await queue.work({mode: 'drain', workers: {Bad: () => Promise.reject(new Error('bad'))}})
    queue.on('retry', () => void queue.close())
    const [exception] = await queue.exceptions()
    const job = await queue.retry(exception!.id)
    await queue.close()
    assert.deepEqual(
      rows<{id: number}>('SELECT id FROM job').map(row => row.id),
      [job.id],
    )
  })

  test('await using closes at the end of the block', async t => {
    const {open} = place(t)
    let kept: JobQueue
    {
      await using queue = await open()
      await queue.enqueue('F')
      kept = queue
    }
    await assert.rejects(kept.enqueue('F'), ClosedError)
  })

  test('what a cancelMany has done is told, before its next step is refused', async t => {
    const {queue, rows} = await openQueue(t)
    const total = 700
    await queue.enqueueMany(Array.from({length: total}, () => ({func: 'A'})))
    let told = 0
    const cancelling = (async () => {
      for await (const {refused} of queue.cancelMany({func: 'A'})) told += refused ? 0 : 1
    })()
    await Promise.all([assert.rejects(cancelling, ClosedError), queue.close()])
    assert.ok(told > 0)
    assert.equal(rows('SELECT * FROM job').length, total - told)
  })

  test('a listing that is read meanwhile is refused its next row', async t => {
    const {open} = place(t)
    const queue = await open()
    for (const func of ['A', 'B', 'C']) await queue.enqueue(func)
    const listing = queue.eachJob()
    assert.equal((await listing.next()).value?.func, 'A')
    await queue.close()
    await assert.rejects(listing.next(), ClosedError)
  })
})

test('a retry is told of, and so are many', async t => {
  const {queue} = await openQueue(t)
  const events = heard(queue)
  for (let i = 0; i < 3; i++) await queue.enqueue('F')
  await queue.work({
    mode: 'drain',
    workers: {
      F: () => {
        throw new Error('no')
      },
    },
  })
  events.length = 0
  const job = await queue.retry(1, {priority: 5, delay: 30})
  for await (const _ of queue.retryMany({})) {
  }
  assert.deepEqual(
    events.map(([name, event]) => [name, (event as JobqEvents['retry']).exceptionId]),
    [
      ['retry', 1],
      ['retry', 2],
      ['retry', 3],
    ],
  )
  assert.deepEqual(events[0]![1], {...job, exceptionId: 1})
  assert.equal(job.priority, 5)
})
