/** Hooks around an enqueue: the points, their order, what they may change, and what it means that one fails. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {
  ClosedError,
  DuplicateJobError,
  type EnqueueCall,
  type Hook,
  HookError,
  UsageError,
} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

const POINTS = ['preEnqueue', 'serialize', 'postEnqueue'] as const

/** Says at each point that it is there. */
function witness(name: string, seen: string[], later = false): Hook {
  const say = (point: string) => () => {
    if (!later) return void seen.push(`${name} ${point}`)
    return Promise.resolve().then(() => seen.push(`${name} ${point}`))
  }
  return {name, ...Object.fromEntries(POINTS.map(point => [point, say(point)]))}
}

const jobs =
  'SELECT job.id, name, CAST(arg AS TEXT) AS arg, uniqkey, priority, run_after - enqueue_time AS delay FROM job JOIN func ON func.id = func_id ORDER BY job.id'

describe('the points of an enqueue', () => {
  test('come one after the other, and at each the hooks as they were registered, whether they take their time or not', async t => {
    const seen: string[] = []
    const {queue} = await openQueue(t, {hooks: [witness('a', seen), witness('b', seen, true)]})
    queue.hooks.register(witness('c', seen))
    queue.on('enqueue', () => seen.push('told'))
    await queue.enqueue('F')
    assert.deepEqual(seen, [
      ...['a preEnqueue', 'b preEnqueue', 'c preEnqueue'],
      ...['a serialize', 'b serialize', 'c serialize'],
      'told',
      ...['a postEnqueue', 'b postEnqueue', 'c postEnqueue'],
    ])
  })

  test('unregistered hooks are called no more; names are known', async t => {
    const seen: string[] = []
    const {queue} = await openQueue(t, {hooks: [witness('a', seen), witness('b', seen)]})
    queue.hooks.unregister('a')
    assert.deepEqual(queue.hooks.names, ['b'])
    await queue.enqueue('F')
    assert.deepEqual(seen, ['b preEnqueue', 'b serialize', 'b postEnqueue'])
    queue.hooks.unregister('b')
    await queue.enqueue('F')
    assert.equal(seen.length, 3)
  })

  test('are called as methods of their object, which may be of a class', async t => {
    class Counter implements Hook {
      readonly name = 'counter'
      count = 0
      preEnqueue() {
        this.count++
      }
    }
    const counter = new Counter()
    const {queue} = await openQueue(t, {hooks: [counter]})
    await queue.enqueue('F')
    assert.equal(counter.count, 1)
  })

  test('preEnqueue sees the call whole, and may change all of it', async t => {
    const calls: EnqueueCall[] = []
    const {queue, rows} = await openQueue(t, {serializer: 'none'})
    queue.hooks.register({
      name: 'changer',
      preEnqueue(call) {
        calls.push(structuredClone(call))
        Object.assign(call, {
          func: 'G',
          arg: {to: 'b'},
          uniqkey: 'k2',
          priority: 9,
          delay: 60,
          serializer: 'json',
        })
        call.context.trace = 't'
        call.tracked = true
      },
    })
    const job = await queue.enqueue('F', {arg: 'text', uniqkey: 'k', context: {a: '1'}})
    assert.deepEqual(calls, [
      {
        func: 'F',
        arg: 'text',
        serializer: 'none',
        uniqkey: 'k',
        priority: 0,
        delay: undefined,
        runAfter: undefined,
        context: {a: '1'},
        tracked: false,
      },
    ])
    assert.deepEqual([job.func, job.uniqkey, job.priority], ['G', 'k2', 9])
    assert.deepEqual(rows(jobs), [
      {id: 1, name: 'G', arg: '{"to":"b"}', uniqkey: 'k2', priority: 9, delay: 60},
    ])
    assert.deepEqual(rows('SELECT job_id, context FROM jobq_context'), [
      {job_id: 1, context: '{"a":"1","trace":"t"}'},
    ])
    assert.equal(rows('SELECT * FROM jobq_wait').length, 1)
  })

  test("what the caller gave is the caller's: the options object stays as it was", async t => {
    const {queue} = await openQueue(t, {
      hooks: [{name: 'x', preEnqueue: call => void Object.assign(call.context, {b: '2'})}],
    })
    const options = {context: {a: '1'}}
    await queue.enqueue('F', options)
    assert.deepEqual(options, {context: {a: '1'}})
  })

  test('serialize may choose the bytes', async t => {
    const {queue, rows} = await openQueue(t)
    queue.hooks.register({
      name: 'reverse',
      serialize(call) {
        call.arg = [...JSON.stringify(call.arg)].reverse().join('')
        call.serializer = 'none'
      },
    })
    await queue.enqueue('F', {arg: {a: 1}})
    assert.equal(rows<{arg: string}>(jobs)[0]!.arg, '}1:"a"{')
  })

  test('postEnqueue gets the job that is stored, and the call', async t => {
    const seen: unknown[] = []
    const {queue, rows} = await openQueue(t)
    queue.hooks.register({
      name: 'x',
      postEnqueue: (job, call) => void seen.push(job, call.arg, rows('SELECT id FROM job').length),
    })
    const job = await queue.enqueue('F', {arg: 5})
    assert.deepEqual(seen, [job, 5, 1])
  })

  test('what a hook makes of it is checked like what a user gives', async t => {
    const made: [field: Partial<Record<keyof EnqueueCall, unknown>>, message: string][] = [
      [{priority: '5'}, 'after the hooks: enqueue: priority: expected a whole number, got "5"'],
      [{func: ''}, 'after the hooks: function: expected a function name of 1 to 255 characters, got 0'],
      [{uniqkey: 5}, 'after the hooks: enqueue: uniqkey: expected text, got 5'],
      [
        {delay: Number.NaN},
        'after the hooks: enqueue: delay: expected seconds from 0 to 4294967295, got NaN',
      ],
      [{delay: 1, runAfter: new Date()}, 'after the hooks: expected delay or runAfter, got both'],
      [{context: {a: 1}}, 'after the hooks: enqueue: context.a: expected text, got 1'],
      [
        {arg: {when: new Date('never')}},
        'after the hooks: arg.when: expected a value that JSON can hold, got an invalid Date',
      ],
      [
        {serializer: 'none', arg: {}},
        "after the hooks: arg: expected text or bytes for the serializer 'none', got an object",
      ],
    ]
    const {queue, rows} = await openQueue(t)
    for (const [field, message] of made) {
      queue.hooks.register({name: 'x', preEnqueue: call => void Object.assign(call, field)})
      await assert.rejects(queue.enqueue('F'), error => {
        assert.ok(error instanceof UsageError)
        assert.equal(error.message, message)
        return true
      })
      queue.hooks.unregister('x')
    }
    assert.deepEqual(rows(jobs), [])
  })

  test('what the caller gave wrong is refused before any hook is called', async t => {
    const seen: string[] = []
    const {queue} = await openQueue(t, {hooks: [witness('a', seen)]})
    await assert.rejects(queue.enqueue('F', {priority: -1}), /^UsageError: enqueue: priority/)
    assert.deepEqual(seen, [])
  })

  test('a job that is refused has no postEnqueue', async t => {
    const seen: string[] = []
    const {queue} = await openQueue(t)
    await queue.enqueue('F', {uniqkey: 'k'})
    queue.hooks.register(witness('a', seen))
    await assert.rejects(queue.enqueue('F', {uniqkey: 'k'}), DuplicateJobError)
    assert.deepEqual(seen, ['a preEnqueue', 'a serialize'])
  })
})

describe('a hook that fails', () => {
  const boom = new Error('boom')
  const ways: Record<string, () => unknown> = {
    'throws at once': () => {
      throw boom
    },
    'rejects later': async () => {
      await Promise.resolve()
      throw boom
    },
  }
  for (const [how, fail] of Object.entries(ways)) {
    for (const point of ['preEnqueue', 'serialize'] as const)
      test(`${point}, ${how}: nothing is stored, and the ones behind it are not called`, async t => {
        const seen: string[] = []
        const {queue, rows} = await openQueue(t, {
          hooks: [{name: 'bad', [point]: fail}, witness('behind', seen)],
        })
        await assert.rejects(queue.enqueue('F'), error => {
          assert.ok(error instanceof HookError)
          assert.deepEqual(
            [error.code, error.hook, error.point, error.cause, error.stored, error.message],
            ['HOOK_FAILED', 'bad', point, boom, null, `hook "bad" at ${point}: threw: boom`],
          )
          return true
        })
        assert.deepEqual(rows(jobs), [])
        assert.deepEqual(seen, point === 'serialize' ? ['behind preEnqueue'] : [])
      })

    test(`postEnqueue, ${how}: the job is stored, and the error has its id`, async t => {
      const {queue, rows} = await openQueue(t, {hooks: [{name: 'bad', postEnqueue: fail}]})
      await assert.rejects(queue.enqueue('F'), error => {
        assert.ok(error instanceof HookError)
        assert.deepEqual([error.code, error.stored], ['HOOK_FAILED', {id: 1}])
        assert.match(error.message, /; job 1 is stored all the same$/)
        return true
      })
      assert.equal(rows(jobs).length, 1)
    })
  }

  test('one that throws what is no Error is told all the same', async t => {
    const {queue} = await openQueue(t, {
      hooks: [
        {
          name: 'bad',
          preEnqueue() {
            throw Object.create(null)
          },
        },
      ],
    })
    await assert.rejects(queue.enqueue('F'), /^HookError: hook "bad" at preEnqueue: threw: /)
  })

  for (const point of ['preEnqueue', 'postEnqueue'] as const)
    test(`${point} that never resolves: given up after the timeout`, async t => {
      const {queue, rows} = await openQueue(t, {
        hooks: [{name: 'slow', [point]: () => new Promise(() => {})}],
        hookTimeout: 0.05,
      })
      await assert.rejects(queue.enqueue('F'), error => {
        assert.ok(error instanceof HookError)
        assert.equal(error.code, 'HOOK_TIMEOUT')
        assert.match(error.message, /^hook "slow" at \w+: expected an end within 0.05 s, got none/)
        assert.deepEqual(error.stored, point === 'postEnqueue' ? {id: 1} : null)
        return true
      })
      assert.equal(rows(jobs).length, point === 'postEnqueue' ? 1 : 0)
    })

  test('one that rejects after its time is not heard of again', async t => {
    const late = Promise.withResolvers<void>()
    const {queue} = await openQueue(t, {
      hooks: [{name: 'slow', preEnqueue: () => late.promise}],
      hookTimeout: 0.01,
    })
    await assert.rejects(queue.enqueue('F'), {code: 'HOOK_TIMEOUT'})
    late.reject(boom)
    await new Promise(setImmediate) // an unhandled rejection would fail this test
  })

  test('closing gives it up: before the job is stored, nothing is; behind that, the error has its id', async t => {
    for (const point of ['preEnqueue', 'postEnqueue'] as const) {
      const where = place(t)
      const begun = Promise.withResolvers<void>()
      const hang = () => {
        begun.resolve()
        return new Promise(() => {})
      }
      const queue = await where.open({hooks: [{name: 'hangs', [point]: hang}]})
      const enqueued = queue.enqueue('F').then(
        () => assert.fail('it was enqueued'),
        (error: unknown) => error,
      )
      await begun.promise
      await queue.close()
      const error = await enqueued
      if (point === 'preEnqueue') assert.ok(error instanceof ClosedError, String(error))
      else {
        assert.ok(error instanceof HookError)
        assert.deepEqual(error.stored, {id: 1})
      }
      assert.equal(where.rows(jobs).length, point === 'postEnqueue' ? 1 : 0)
    }
  })
})

describe('many at once', () => {
  test('each goes through preEnqueue and serialize; what one throws stores none', async t => {
    const seen: string[] = []
    const {queue, rows} = await openQueue(t, {hooks: [witness('a', seen, true)]})
    assert.equal(await queue.enqueueMany([{func: 'F'}, {func: 'G'}]), 2)
    assert.deepEqual(seen, ['a preEnqueue', 'a serialize', 'a preEnqueue', 'a serialize'])
    queue.hooks.register({
      name: 'picky',
      preEnqueue(call) {
        if (call.arg === 2) throw new Error('not 2')
      },
    })
    const three = [1, 2, 3].map(arg => ({func: 'F', arg}))
    await assert.rejects(queue.enqueueMany(three), {code: 'HOOK_FAILED', message: /picky.*not 2/})
    assert.equal(rows(jobs).length, 2)
  })

  test('what a hook spoils is told with its place', async t => {
    const {queue} = await openQueue(t, {
      hooks: [{name: 'x', preEnqueue: call => void Object.assign(call, {priority: call.arg})}],
    })
    const jobs = [1, -2].map(arg => ({func: 'F', arg}))
    await assert.rejects(queue.enqueueMany(jobs), /job 2: after the hooks: enqueue: priority: expected/)
  })
})

describe("in the caller's own transaction", () => {
  test('hooks are called at once', async t => {
    const seen: string[] = []
    const {queue, file, rows} = await openQueue(t, {hooks: [witness('a', seen)]})
    const db = new Sqlite(file)
    t.after(() => db.close())
    db.transaction(() => {
      queue.enqueueIn(db, 'F', {arg: 1})
      assert.deepEqual(seen, ['a preEnqueue', 'a serialize', 'a postEnqueue'])
    }).immediate()
    assert.equal(rows(jobs).length, 1)
  })

  for (const point of POINTS)
    test(`one that returns a promise at ${point} is told that nothing can be waited for`, async t => {
      const {queue, file, rows} = await openQueue(t, {hooks: [{name: 'later', [point]: async () => {}}]})
      const db = new Sqlite(file)
      t.after(() => db.close())
      const inTransaction = db.transaction(() => void queue.enqueueIn(db, 'F'))
      assert.throws(
        () => inTransaction.immediate(),
        (error: unknown) => {
          assert.ok(error instanceof HookError)
          assert.deepEqual([error.code, error.hook, error.point], ['HOOK_FAILED', 'later', point])
          assert.match(error.message, /expected to be done at once, returned a promise/)
          assert.match(error.hint, /make the hook synchronous/)
          return true
        },
      )
      assert.deepEqual(rows(jobs), [], 'the transaction is rolled back by what was thrown')
    })
})
