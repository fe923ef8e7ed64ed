/** Plugins in an application: by name for the queue and its jobs, started and stopped, with hooks of their own. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {type EnqueueCall, JobQueue, PluginError} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

describe('plugins', () => {
  test('are reached by name, from the queue and from its jobs', async t => {
    const clock = {hours: () => 5}
    const {queue} = await openQueue(t, {plugins: {clock}})
    assert.equal(queue.plugin('clock'), clock)
    let seen: unknown
    await queue.enqueue('F')
    await queue.work({
      mode: 'drain',
      workers: {
        F: job => {
          seen = job.plugin('clock')
        },
      },
    })
    assert.equal(seen, clock)
  })

  test('of another name are refused, with those that there are', async t => {
    const {queue} = await openQueue(t, {plugins: {clock: {}, log: {}}})
    const refused = {name: 'PluginError', message: 'no plugin "clok"', hint: 'known are clock, log'}
    assert.throws(() => queue.plugin('clok'), refused)
    await queue.enqueue('F')
    await queue.work({mode: 'drain', workers: {F: job => job.plugin('clok')}})
    const [exception] = await queue.exceptions()
    assert.match(exception!.message, /^no plugin "clok" \(known are clock, log\)/)
    const {queue: none} = await openQueue(t)
    assert.throws(() => none.plugin('x'), {hint: /^there are none: name it in `plugins`/})
  })

  test('are started in their order before anything else, with the queue, and stopped the other way round', async t => {
    const seen: unknown[] = []
    const plugin = (name: string) => ({
      start: async ({role, queue}: {role: string; queue: unknown}) =>
        seen.push(`${name} starts`, role, queue),
      stop: () => seen.push(`${name} stops`),
      hooks: [{name, preEnqueue: () => void seen.push(`${name} preEnqueue`)}],
    })
    const {open} = place(t)
    const queue = await open({plugins: {a: plugin('a'), b: plugin('b')}})
    await queue.enqueue('F')
    await queue.close()
    assert.deepEqual(seen, [
      ...['a starts', 'client', queue, 'b starts', 'client', queue],
      ...['a preEnqueue', 'b preEnqueue', 'b stops', 'a stops'],
    ])
  })

  test('one that can not be started keeps the queue from opening, and stops those before it', async t => {
    const {file} = place(t)
    const seen: string[] = []
    const cause = new Error('no port')
    const plugins = {
      a: {stop: () => seen.push('a stops')},
      b: {
        start() {
          throw cause
        },
      },
    }
    await assert.rejects(JobQueue.open({db: file, plugins}), error => {
      assert.ok(error instanceof PluginError)
      assert.deepEqual(
        [error.message, error.cause, error.code],
        ['plugin b: start() threw: no port', cause, 'BAD_PLUGIN'],
      )
      return true
    })
    assert.deepEqual(seen, ['a stops'])
  })

  test('one that can not be stopped is told of by close, or by onTrouble; the queue is closed all the same', async t => {
    const {open} = place(t)
    const plugins = {
      bad: {
        stop() {
          throw new Error('stuck')
        },
      },
    }
    const {file} = place(t)
    const loud = await JobQueue.open({db: file, plugins})
    await assert.rejects(loud.close(), {name: 'PluginError', message: 'plugin bad: stop() threw: stuck'})
    await assert.rejects(loud.enqueue('F'), {code: 'CLOSED'})
    const said: string[] = []
    const quiet = await open({plugins, onTrouble: message => said.push(message)})
    await quiet.close()
    assert.deepEqual(said, ['plugin bad: stop() threw: stuck'])
  })

  const refused: [plugin: unknown, message: RegExp][] = [
    [5, /^plugin x: expected an object, got number$/],
    [null, /^plugin x: expected an object, got null$/],
    [{start: 5}, /^plugin x: start: expected a function, got number$/],
    [{hooks: {name: 'h'}}, /^hook "h": expected a function at one of the points, got none$/],
  ]
  for (const [plugin, message] of refused)
    test(`${JSON.stringify(plugin)} is none`, async t => {
      const {file} = place(t)
      await assert.rejects(JobQueue.open({db: file, plugins: {x: plugin as object}}), {message})
    })
})

describe('around an enqueue', () => {
  test('a plugin sees the call before the hooks do, the job that is stored, and what is refused', async t => {
    const seen: unknown[] = []
    const {queue, file} = await openQueue(t, {
      hooks: [{name: 'h', preEnqueue: call => void seen.push(['hook', call.context])}],
      plugins: {
        p: {
          aroundEnqueue<T>(call: EnqueueCall | null, enqueue: () => T): T {
            if (call) call.context.from = 'p'
            const result = enqueue()
            const is = result instanceof Promise ? 'later' : 'now'
            seen.push([call?.func ?? 'many', is])
            return result
          },
        },
      },
    })
    const {id} = await queue.enqueue('F', {uniqkey: 'k'})
    assert.equal((await queue.find(id))?.uniqkey, 'k')
    await assert.rejects(queue.enqueue('F', {uniqkey: 'k'}), {code: 'DUPLICATE'})
    await queue.enqueueMany([{func: 'F'}])
    const db = new Sqlite(file)
    t.after(() => db.close())
    db.transaction(() => queue.enqueueIn(db, 'G')).immediate()
    assert.deepEqual(seen, [
      ['hook', {from: 'p'}],
      ['F', 'later'],
      ['hook', {from: 'p'}],
      ['F', 'later'],
      ['many', 'later'],
      ['hook', {}],
      ['hook', {from: 'p'}],
      ['G', 'now'],
    ])
  })
})

test("a replacement's hooks are called where it is made; what they throw fails the job", async t => {
  const {queue, rows} = await openQueue(t, {
    serializer: 'msgpack',
    hooks: [
      {
        name: 'h',
        preEnqueue(call) {
          if (call.func === 'Next') call.context.by = 'h'
          if (call.func === 'Never') throw new Error('never')
        },
        postEnqueue: job => assert.notEqual(job.func, 'Next', 'it is stored elsewhere'),
      },
    ],
  })
  await queue.enqueue('F')
  await queue.enqueue('G')
  await queue.work({
    mode: 'drain',
    workers: {
      F: job => job.replace({func: 'Next', arg: {a: 1}}),
      G: job => job.replace({func: 'Next'}, {func: 'Never'}),
    },
  })
  assert.deepEqual(
    rows(
      'SELECT name, hex(arg) AS arg, context FROM job JOIN func ON func.id = func_id JOIN jobq_context ON job_id = job.id',
    ),
    [{name: 'Next', arg: '81C4016101', context: '{"by":"h"}'}],
  )
  assert.match((await queue.exceptions())[0]!.message, /^hook "h" at preEnqueue: threw: never/)
})
