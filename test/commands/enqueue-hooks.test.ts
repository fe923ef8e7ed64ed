/** `jobq enqueue` with a configuration that has hooks, plugins or a serializer: one job, every line, a batch. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {assertOneLine} from '../support/refusal.ts'

const ENQUEUE = ['enqueue', 'F', '--db', 'jobs.db']

function configured(t: TestContext, body: string): Home {
  const home = new Home(t)
  home.write(
    'jobq.config.mjs',
    `import {appendFileSync} from 'node:fs'
const note = text => appendFileSync('notes', text + '\\n')
export default {${body}}`,
  )
  return home
}

const notes = (home: Home) => home.read('notes').toString().trimEnd().split('\n')
const stored = (home: Home) => home.jobs().map(({func, bytes}) => [func, bytes?.toString() ?? null])

/** Digits, blanks, keys and escapes that a parse and a stringify would lose. */
const ODD = '{"n": 12345678901234567890, "b":1.0,"b":2 , "e":"\\u0041"}'

describe('hooks', {concurrency: 4}, () => {
  test('that do not look leave the argument as it was written, byte for byte; so do those that only look', async t => {
    for (const body of [`call.priority = 7`, `note(JSON.stringify(call.arg))`, `call.arg = {...call.arg}`]) {
      const home = configured(t, `hooks: [{name: 'x', preEnqueue(call) { ${body} }}]`)
      home.write('lines', `${ODD}\n`)
      home.write('batch', `{"arg": ${ODD} ,"func":"F"}\n`)
      assert.deepEqual(await home.jobq([...ENQUEUE, '--arg', ODD]), printed(1))
      assert.deepEqual(await home.jobq([...ENQUEUE, '--args-from', 'lines']), printed(1))
      assert.deepEqual(await home.jobq(['enqueue', '--db', 'jobs.db', '--batch', 'batch']), printed(1))
      assert.deepEqual(stored(home), Array(3).fill(['F', ODD]), body)
    }
  })

  test('that change it have it encoded anew; of a bulk, only where they did', async t => {
    const home = configured(
      t,
      `hooks: [{name: 'x', serialize(call) { if (call.arg?.b) call.arg.seen = true }}]`,
    )
    home.write('lines', `{"b": 1}\n{"c": 1.0}\n`)
    assert.deepEqual(await home.jobq([...ENQUEUE, '--args-from', 'lines']), printed(2))
    assert.deepEqual(stored(home), [
      ['F', '{"b":1,"seen":true}'],
      ['F', '{"c": 1.0}'],
    ])
  })

  test('see the digits of MessagePack that a number would lose, and keep them', async t => {
    const home = configured(
      t,
      `serializer: 'msgpack',
       hooks: [{name: 'x', preEnqueue(call) { note(String(call.arg.n + 1n)); if (call.arg.b) call.arg.b = 2 }}]`,
    )
    for (const arg of ['{"n":18446744073709551614}', '{"n":18446744073709551614,"b":1}'])
      assert.equal((await home.jobq([...ENQUEUE, '--arg', arg])).code, 0)
    assert.deepEqual(notes(home), Array(2).fill('18446744073709551615'))
    assert.deepEqual(
      home.jobs().map(({bytes}) => bytes?.toString('hex')),
      ['81c4016ecffffffffffffffffe', '82c4016ecffffffffffffffffec4016202'],
    )
  })

  test('see the call whole, and may change all of it', async t => {
    const home = configured(
      t,
      `hooks: [{name: 'x', preEnqueue(call) {
        note(JSON.stringify(call))
        Object.assign(call, {func: 'G', uniqkey: 'k2', serializer: 'none', arg: 'text', delay: undefined, runAfter: new Date(1798135200000)})
        call.context.a = 'b'
      }}]`,
    )
    const words = [
      '--arg',
      '[1]',
      '--uniqkey',
      'k',
      '--priority',
      '3',
      '--delay',
      '1m',
      '--tracked',
      '--json',
    ]
    const {stdout} = await home.jobq([...ENQUEUE, ...words])
    assert.deepEqual(JSON.parse(stdout), {
      ...{id: 1, func: 'G', uniqkey: 'k2', priority: 3, run_after: 1_798_135_200, enqueued: true},
    })
    assert.deepEqual(JSON.parse(notes(home)[0]!), {
      ...{
        func: 'F',
        arg: [1],
        serializer: 'json',
        uniqkey: 'k',
        priority: 3,
        delay: 60,
        context: {},
        tracked: true,
      },
    })
    assert.deepEqual(stored(home), [['G', 'text']])
  })

  test('what they print is no result: it goes to standard error', async t => {
    const home = configured(t, `hooks: [{name: 'x', postEnqueue(job) { console.log('stored', job.id) }}]`)
    assert.deepEqual(await home.jobq(ENQUEUE), {...printed(1), stderr: 'stored 1\n'})
  })

  test('postEnqueue gets the job; what it throws is told, with the id of what is stored', async t => {
    const home = configured(
      t,
      `hooks: [{name: 'x', postEnqueue(job) { note(job.id); if (job.id > 1) throw new Error('no') }}]`,
    )
    assert.deepEqual(await home.jobq(ENQUEUE), printed(1))
    assertOneLine(await home.jobq(ENQUEUE), {
      exit: 1,
      says: ['hook "x" at postEnqueue: threw: no; job 2 is stored all the same'],
    })
    assert.deepEqual([notes(home), home.jobs().length], [['1', '2'], 2])
  })

  for (const [what, words, place] of [
    ['one job', [], ''],
    ['every line', ['--args-from', 'lines'], ''],
  ] as const)
    test(`that throw keep all of it out: ${what}`, async t => {
      const home = configured(
        t,
        `hooks: [{name: 'x', async preEnqueue(call) { if (call.arg !== 1) throw new Error('only 1') }}]`,
      )
      home.write('lines', '1\n2\n')
      assertOneLine(await home.jobq([...ENQUEUE, ...words]), {
        exit: 1,
        says: [`${place}hook "x" at preEnqueue: threw: only 1`],
      })
      assert.deepEqual(home.jobs(), [])
    })

  test('that spoil a line have it named', async t => {
    const home = configured(
      t,
      `hooks: [{name: 'x', preEnqueue(call) { if (call.arg === 2) call.priority = 'high' }}]`,
    )
    home.write('lines', '1\n2\n')
    assertOneLine(await home.jobq([...ENQUEUE, '--args-from', 'lines']), {
      exit: 2,
      says: ['line 2: after the hooks: enqueue: priority: expected a whole number, got "high"'],
    })
    assert.deepEqual(home.jobs(), [])
  })

  test('that do not end are given up', async t => {
    const home = configured(
      t,
      `hookTimeout: 0, hooks: [{name: 'x', preEnqueue: () => new Promise(() => {})}]`,
    )
    assertOneLine(await home.jobq(ENQUEUE), {exit: 1, says: ['it awaits something that never comes']})
    home.write(
      'jobq.config.mjs',
      `export default {hookTimeout: 1, hooks: [{name: 'x', preEnqueue: () => new Promise(() => {})}]}`,
    )
    assertOneLine(await home.jobq(ENQUEUE), {
      exit: 1,
      says: ['hook "x" at preEnqueue: expected an end within 1 s, got none'],
    })
    assert.deepEqual(home.jobs(), [])
  })

  test('are not called by what enqueues nothing', async t => {
    const home = configured(t, `hooks: ['./none.mjs'], plugins: {p: {start() { note('started') }}}`)
    await home.jobq(['init', '--db', 'jobs.db'])
    for (const words of [['list'], ['stats'], ['pause', '--all'], ['resume', '--all']])
      assert.equal((await home.jobq([...words, '--db', 'jobs.db'])).code, 0)
    assert.throws(() => home.read('notes'))
  })
})

describe('plugins', {concurrency: 4}, () => {
  test('are started, stand around the enqueue, and are stopped', async t => {
    const home = configured(
      t,
      `plugins: {p: {
        start({role, queue}) { note('start ' + role + ' ' + typeof queue.enqueue) },
        aroundEnqueue(call, enqueue) { note('around ' + (call ? call.func : 'many')); return enqueue() },
        stop() { note('stop') },
      }}`,
    )
    assert.deepEqual(await home.jobq([...ENQUEUE, '--arg', ODD]), printed(1))
    home.write('lines', '1\n2\n')
    assert.deepEqual(await home.jobq([...ENQUEUE, '--args-from', 'lines']), printed(2))
    assert.deepEqual(notes(home), [
      ...['start command function', 'around F', 'stop'],
      ...['start command function', 'around many', 'stop'],
    ])
    assert.deepEqual(stored(home)[0], ['F', ODD])
  })

  test('that can not be started keep all of it out', async t => {
    const home = configured(t, `plugins: {p: {start() { throw new Error('no') }}}`)
    assertOneLine(await home.jobq(ENQUEUE), {exit: 2, says: ['plugin p: start() threw: no']})
    assert.deepEqual(home.jobs(), [])
  })

  test('that can not be stopped are told of; the id is printed all the same', async t => {
    const home = configured(t, `plugins: {p: {stop() { throw new Error('no') }}}`)
    const {code, stdout, stderr} = await home.jobq(ENQUEUE)
    assert.deepEqual([code, stdout, stderr], [0, '1\n', 'jobq: plugin p: stop() threw: no\n'])
  })
})

describe('a serializer for all', {concurrency: 4}, () => {
  test('msgpack: of one job, of every line, of a batch; a flag goes before it', async t => {
    const home = configured(t, `serializer: 'msgpack'`)
    home.write('lines', '{"a":1}\n')
    home.write('batch', '{"func":"F","arg":{"a":1}}\n{"func":"F"}\n')
    await home.jobq([...ENQUEUE, '--arg', '{"a":1}'])
    await home.jobq([...ENQUEUE, '--args-from', 'lines'])
    await home.jobq(['enqueue', '--batch', 'batch', '--db', 'jobs.db'])
    await home.jobq([...ENQUEUE, '--arg', '{"a":1}', '--serializer', 'json'])
    assert.deepEqual(
      home.jobs().map(({bytes}) => bytes?.toString('hex')),
      ['81c4016101', '81c4016101', '81c4016101', 'c0', Buffer.from('{"a":1}').toString('hex')],
    )
  })

  test('with hooks: what they change is packed, what they leave is left', async t => {
    const home = configured(
      t,
      `serializer: 'msgpack', hooks: [{name: 'x', serialize(call) { if (call.arg.a) call.arg.a++ }}]`,
    )
    home.write('lines', '{"a":1}\n[18446744073709551615]\n')
    assert.deepEqual(await home.jobq([...ENQUEUE, '--args-from', 'lines']), printed(2))
    assert.deepEqual(
      home.jobs().map(({bytes}) => bytes?.toString('hex')),
      ['81c4016102', '91cfffffffffffffffff'],
    )
  })
})
