/** What an application may give that can't be meant: each is refused by its class, its code and one clear line, and nothing is stored. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {
  ArgumentError,
  ClosedError,
  type JobQueue,
  JobqError,
  JobQueue as Queue,
  TransactionError,
  UsageError,
} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

type Refused = [what: string, call: (queue: JobQueue) => unknown, message: string | RegExp, hint?: RegExp]

/** What the compiler would refuse, as a program without types says it. */
const wrong = <T>(value: unknown): T => value as T

class Weight {
  readonly kilos: number
  constructor(kilos: number) {
    this.kilos = kilos
  }
  toJSON() {
    return `${this.kilos} kg`
  }
}

const circle: Record<string, unknown> = {name: 'circle'}
circle.inner = {list: [1, circle]}

const deep = () => {
  let value: unknown = 1
  for (let i = 0; i < 100_000; i++) value = [value]
  return value
}

async function assertRefuses(
  queue: JobQueue,
  call: Refused[1],
  kind: new (...given: never[]) => JobqError,
  code: string,
  message: string | RegExp,
  hint = /./,
): Promise<void> {
  await assert.rejects(
    async () => call(queue),
    (error: unknown) => {
      assert.ok(error instanceof kind, String(error))
      assert.ok(error instanceof JobqError)
      assert.equal(error.code, code)
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      assert.ok(!error.message.includes('\n'), error.message)
      if (error.hint !== '' || hint.source !== '.') assert.match(error.hint, hint)
      return true
    },
  )
}

describe('what is no call', () => {
  const refused: Refused[] = [
    ['a function that is a number', q => q.enqueue(wrong<string>(7)), 'function: expected a name, got 7'],
    ['no function', q => q.enqueue(wrong<string>(undefined)), 'function: expected a name, got undefined'],
    [
      'an empty function',
      q => q.enqueue(''),
      'function: expected a function name of 1 to 255 characters, got 0',
    ],
    [
      'options that are null',
      q => q.enqueue('F', wrong(null)),
      'enqueue: options: expected an object, got null',
    ],
    [
      'options that are text',
      q => q.enqueue('F', wrong('x')),
      'enqueue: options: expected an object, got "x"',
    ],
    [
      'options that are an array',
      q => q.enqueue('F', wrong([])),
      'enqueue: options: expected an object, got an array',
    ],
    [
      'an option misspelt',
      q => q.enqueue('F', wrong({prioriti: 5})),
      'enqueue: unknown option prioriti',
      /did you mean priority\?/,
    ],
    [
      'a key of all objects',
      q => q.enqueue('F', wrong({constructor: 5})),
      'enqueue: unknown option constructor',
    ],
    [
      'a priority of text',
      q => q.enqueue('F', {priority: wrong('5')}),
      'enqueue: priority: expected a whole number, got "5"',
    ],
    [
      'a priority below 0',
      q => q.enqueue('F', {priority: -1}),
      'enqueue: priority: expected a whole number from 0 to 4294967295, got -1',
    ],
    ['a broken priority', q => q.enqueue('F', {priority: 1.5}), /priority: expected a whole number from 0/],
    [
      'a priority that is too large',
      q => q.enqueue('F', {priority: 2 ** 32}),
      /priority: expected a whole number from 0/,
    ],
    [
      'a uniqkey that is a number',
      q => q.enqueue('F', {uniqkey: wrong(5)}),
      'enqueue: uniqkey: expected text, got 5',
    ],
    [
      'an empty uniqkey',
      q => q.enqueue('F', {uniqkey: ''}),
      /uniqkey: expected a key of 1 to 255 characters, got 0/,
    ],
    [
      'a delay that is NaN',
      q => q.enqueue('F', {delay: Number.NaN}),
      'enqueue: delay: expected seconds from 0 to 4294967295, got NaN',
    ],
    [
      'a delay below 0',
      q => q.enqueue('F', {delay: -1}),
      'enqueue: delay: expected seconds from 0 to 4294967295, got -1',
    ],
    [
      'a delay without end',
      q => q.enqueue('F', {delay: Infinity}),
      /delay: expected seconds from 0 to 4294967295, got Infinity/,
    ],
    [
      'a delay of text',
      q => q.enqueue('F', {delay: wrong('5m')}),
      'enqueue: delay: expected seconds from 0 to 4294967295, got "5m"',
    ],
    [
      'a delay past the columns',
      q => q.enqueue('F', {delay: 4_294_967_295}),
      /run_after: expected a time before 2106/,
    ],
    [
      'a time that is none',
      q => q.enqueue('F', {runAfter: new Date('never')}),
      'enqueue: runAfter: expected a Date from 1970 on, got an invalid Date',
    ],
    [
      'a time of text',
      q => q.enqueue('F', {runAfter: wrong('2026-12-24')}),
      'enqueue: runAfter: expected a Date from 1970 on, got "2026-12-24"',
    ],
    [
      'a time before 1970',
      q => q.enqueue('F', {runAfter: new Date(-1)}),
      /runAfter: expected a Date from 1970 on, got 1969-12-31T23:59:59.999Z/,
    ],
    [
      'a time past the columns',
      q => q.enqueue('F', {runAfter: new Date('2107-01-01')}),
      /run_after: expected a time before 2106/,
    ],
    [
      'a delay and a time',
      q => q.enqueue('F', {delay: 1, runAfter: new Date()}),
      'expected delay or runAfter, got both',
    ],
    [
      'a serializer that there is not',
      q => q.enqueue('F', {serializer: wrong('storable')}),
      'enqueue: serializer: expected one of json, msgpack, none, got "storable"',
    ],
    [
      'a context that is text',
      q => q.enqueue('F', {context: wrong('x')}),
      'enqueue: context: expected an object, got "x"',
    ],
    [
      'a context of numbers',
      q => q.enqueue('F', {context: wrong({a: 1})}),
      'enqueue: context.a: expected text, got 1',
    ],
    [
      'tracked by text',
      q => q.enqueue('F', {tracked: wrong('yes')}),
      'enqueue: tracked: expected true or false, got "yes"',
    ],

    ['many that are none', q => q.enqueueMany(wrong(5)), 'enqueueMany: expected an iterable, got none'],
    ['many in a text', q => q.enqueueMany(wrong('F')), 'enqueueMany: expected an iterable, got none'],
    [
      'many with text in it',
      q => q.enqueueMany([{func: 'F'}, wrong('F')]),
      /job 2: expected an object {func, arg, …}, got string/,
    ],
    [
      'many without a name',
      q => q.enqueueMany([{func: 'F'}, wrong({})]),
      'job 2: function: expected a name, got undefined',
    ],
    [
      'many with a mistake',
      q => q.enqueueMany([{func: 'F'}, {func: 'F', priority: -1}]),
      /^job 2: enqueue: priority: expected/,
    ],
    [
      'many later with a mistake',
      q => q.enqueueMany(later([{func: 'F'}, {func: 'F', priority: -1}])),
      /^job 2: enqueue: priority: expected/,
    ],

    [
      'a limit that is text',
      q => q.list({limit: wrong('5')}),
      'list: limit: expected a whole number from 0, got "5"',
    ],
    ['a limit below 0', q => q.list({limit: -1}), 'list: limit: expected a whole number from 0, got -1'],
    [
      'an offset that is broken',
      q => q.statuses({offset: 1.5}),
      'statuses: offset: expected a whole number from 0, got 1.5',
    ],
    [
      'a state that there is not',
      q => q.list({state: wrong('done')}),
      'list: state: expected one of ready, delayed, waiting, running, got "done"',
    ],
    ['an option of list misspelt', q => q.list(wrong({function: 'F'})), 'list: unknown option function'],
    [
      'an option of exceptions misspelt',
      q => q.exceptions(wrong({sinse: {ago: 5}})),
      'exceptions: unknown option sinse',
      /did you mean since\?/,
    ],
    [
      'a since that is a number',
      q => q.exceptions({since: wrong(5)}),
      'exceptions: since: expected {at: Unix seconds} or {ago: seconds}, got 5',
    ],
    ['a listing row by row', q => q.eachJob(wrong({limt: 1})).next(), 'list: unknown option limt'],
    ['an id that is text', q => q.find(wrong('5')), 'find: expected a job or its id, got string'],
    ['an id of 0', q => q.find(0), 'find: id: expected a whole number from 1, got 0'],
    ['a retry of text', q => q.retry(wrong('5')), 'retry: expected a job or its id, got string'],
    ['an option of retry misspelt', q => q.retry(5, wrong({due: {in: 5}})), 'retry: unknown option due'],
    ['a wait for text', q => q.wait(wrong('5')), 'wait: expected a job or its id, got string'],
    ['a wait for null', q => q.wait(wrong(null)), 'wait: expected a job or its id, got object'],
    ['a wait in the past', q => q.wait(1, {timeout: -1}), 'wait: timeout: expected seconds from 0, got -1'],
    [
      'a wait without a signal',
      q => q.wait(1, {signal: wrong({})}),
      'wait: signal: expected an AbortSignal, got an object',
    ],
    [
      'a pause of an empty list',
      q => q.pause([]),
      'pause: expected functions, got an empty array',
      /^leave it out to pause everything/,
    ],
    ['a resume of an empty list', q => q.resume([]), 'resume: expected functions, got an empty array'],
    ['a pause of nothing', q => q.pause(['']), /^pause: function: expected a function name of 1 to 255/],
    ['a pause of text', q => q.pause(wrong('F')), 'pause: expected an array of functions, got "F"'],
    ['a resume of a number', q => q.resume(wrong([5])), 'resume: function: expected text, got 5'],
    ['a count of a number', q => q.count(wrong(5)), 'count: function: expected a name, got 5'],
    ['counts of a number', q => q.counts(wrong(5)), 'counts: function: expected text, got 5'],
    [
      'stats of an object',
      q => q.stats(wrong({func: 'F'})),
      'counts: function: expected text, got an object',
    ],
    ['times of a number', q => q.times(wrong(5)), 'times: function: expected text, got 5'],
    [
      'many retries of no choice',
      q => q.retryMany(wrong(null)).next(),
      'retryMany: options: expected an object, got null',
    ],
    [
      'many retries misspelt',
      q => q.retryMany(wrong({fnc: 'F'})).next(),
      'retryMany: unknown option fnc',
      /did you mean func\?/,
    ],
    [
      'many retries of text',
      q => q.retryMany(wrong({ids: ['1']})).next(),
      'retryMany: ids: expected a job or its id, got string',
    ],
    [
      'an event that there is not',
      q => q.on(wrong<'finish'>('finsh'), () => {}),
      'on: expected the name of an event, got "finsh"',
      /finish/,
    ],
    [
      'a listener that is none',
      q => q.on('finish', wrong('log')),
      'on: finish: expected a function, got "log"',
    ],
  ]
  for (const [what, call, message, hint] of refused)
    test(what, async t => {
      const {queue, rows} = await openQueue(t)
      const isArgument = message instanceof RegExp && message.source.includes('run_after')
      await assertRefuses(
        queue,
        call,
        isArgument ? ArgumentError : UsageError,
        isArgument ? 'BAD_ARGUMENT' : 'USAGE',
        message,
        hint,
      )
      assert.deepEqual([rows('SELECT * FROM job'), rows('SELECT * FROM func')], [[], []])
    })
})

describe('what is no argument', () => {
  const held = (format: string) => `expected a value that ${format} can hold, got`
  const json: [what: string, arg: unknown, says: string | RegExp][] = [
    ['a BigInt', 5n, `arg: ${held('JSON')} the BigInt 5`],
    ['a BigInt inside', {a: [1, {b: 5n}]}, `arg.a[1].b: ${held('JSON')} the BigInt 5`],
    ['a circle', circle, `arg.inner.list[1]: ${held('JSON')} a circle: an object that holds itself`],
    ['a function', () => 1, `arg: ${held('JSON')} a function`],
    ['a function inside', {items: [{cb() {}}]}, `arg.items[0].cb: ${held('JSON')} a function`],
    ['a class', {kind: Weight}, `arg.kind: ${held('JSON')} a function`],
    ['a symbol', Symbol('x'), `arg: ${held('JSON')} a symbol`],
    ['a symbol inside', [Symbol('x')], `arg[0]: ${held('JSON')} a symbol`],
    ['an invalid Date', new Date('never'), `arg: ${held('JSON')} an invalid Date`],
    [
      'an invalid Date inside',
      {items: [0, 1, {when: new Date('never')}]},
      `arg.items[2].when: ${held('JSON')} an invalid Date`,
    ],
    ['NaN', Number.NaN, `arg: ${held('JSON')} NaN`],
    ['NaN under an odd key', {'a b': {0: Number.NaN}}, `arg["a b"]["0"]: ${held('JSON')} NaN`],
    ['Infinity inside', [[-Infinity]], `arg[0][0]: ${held('JSON')} -Infinity`],
    ['a Map', {map: new Map([[1, 2]])}, `arg.map: ${held('JSON')} a Map`],
    ['a Set', new Set([1]), `arg: ${held('JSON')} a Set`],
    ['a promise', {later: Promise.resolve(1)}, `arg.later: ${held('JSON')} a Promise`],
    [
      'bytes',
      {bytes: Uint8Array.of(1, 2)},
      `arg.bytes: ${held('JSON')} an Uint8Array`.replace('an U', 'a U'),
    ],
    ['a regular expression', /x/, `arg: ${held('JSON')} a RegExp`],
    ['an Error', new Error('x'), `arg: ${held('JSON')} an Error`],
    ['what its toJSON makes of it', {toJSON: () => ({n: Number.NaN})}, `arg.n: ${held('JSON')} NaN`],
    ['a toJSON of nothing', {toJSON: () => undefined}, `arg: ${held('JSON')} an object`],
    [
      'a toJSON that throws',
      {
        toJSON: () => {
          throw new Error('no way')
        },
      },
      "arg: JSON can't hold it (no way)",
    ],
    ['what is too deep', deep(), "arg: JSON can't hold it (it is nested too deeply)"],
    [
      'what is too large',
      'x'.repeat(16_777_214),
      'arg: expected an argument of at most 16777215 bytes, got 16777216',
    ],
  ]
  const msgpack: typeof json = [
    [
      'a BigInt of 65 bits',
      {n: [2n ** 64n]},
      /^arg: MessagePack can't hold it \(the BigInt 18446744073709551616, of more than 64 bits\)/,
    ],
    ['a circle', circle, `arg.inner.list[1]: ${held('MessagePack')} a circle: an object that holds itself`],
    ['a function', {f() {}}, `arg.f: ${held('MessagePack')} a function`],
    ['an invalid Date', [new Date('never')], `arg[0]: ${held('MessagePack')} an invalid Date`],
    ['a symbol', {s: Symbol('x')}, `arg.s: ${held('MessagePack')} a symbol`],
    ['a Map', {map: new Map()}, `arg.map: ${held('MessagePack')} a Map`],
    ['what is too deep', deep(), "arg: MessagePack can't hold it (it is nested too deeply)"],
    [
      'what is too large',
      new Uint8Array(16_777_215),
      'arg: expected an argument of at most 16777215 bytes, got 16777220',
    ],
  ]
  const none: typeof json = [
    ['an object', {}, "arg: expected text or bytes for the serializer 'none', got an object"],
    ['a number', 5, "arg: expected text or bytes for the serializer 'none', got a number"],
    [
      'what is too large',
      'x'.repeat(16_777_216),
      'arg: expected an argument of at most 16777215 bytes, got 16777216',
    ],
  ]
  for (const [serializer, samples] of [
    ['json', json],
    ['msgpack', msgpack],
    ['none', none],
  ] as const)
    for (const [what, arg, says] of samples)
      test(`${serializer}: ${what}`, async t => {
        const {queue, rows} = await openQueue(t)
        const calls: Refused[1][] = [
          q => q.enqueue('F', {arg, serializer}),
          q => q.enqueueMany([{func: 'F', arg, serializer}]),
        ]
        for (const [i, call] of calls.entries()) {
          const place = i === 0 ? '' : 'job 1: '
          const message =
            typeof says === 'string' ? place + says : new RegExp(says.source.replace('^', `^${place}`))
          await assertRefuses(queue, call, ArgumentError, 'BAD_ARGUMENT', message)
        }
        assert.deepEqual([rows('SELECT * FROM job'), rows('SELECT * FROM func')], [[], []])
      })

  test('what looks like it and can be held is', async t => {
    const {queue, rows} = await openQueue(t)
    const shared = {x: 1}
    const samples: [arg: unknown, text: string | null][] = [
      [undefined, 'null'],
      [null, 'null'],
      [{a: undefined, b: 1}, '{"b":1}'],
      [[undefined], '[null]'],
      [{when: new Date(0)}, '{"when":"1970-01-01T00:00:00.000Z"}'],
      [{weight: new Weight(5)}, '{"weight":"5 kg"}'],
      [{twice: [shared, shared]}, '{"twice":[{"x":1},{"x":1}]}'],
      [Object.create(null, {a: {value: 1, enumerable: true}}), '{"a":1}'],
      [
        new (class Point {
          x = 1
        })(),
        '{"x":1}',
      ],
      [{url: new URL('http://localhost/x')}, '{"url":"http://localhost/x"}'],
      [Buffer.from('a'), '{"type":"Buffer","data":[97]}'],
      ['', '""'],
      [-0, '0'],
      [false, 'false'],
    ]
    for (const [arg] of samples) await queue.enqueue('F', {arg})
    const stored = rows<{arg: string | null}>('SELECT arg FROM job ORDER BY id').map(({arg}) => arg)
    assert.deepEqual(
      stored,
      samples.map(([, text]) => text),
    )
  })
})

describe('opening', () => {
  const refused: [what: string, options: object | null | number, message: string | RegExp, hint?: RegExp][] =
    [
      ['null', null, 'open: options: expected an object, got null'],
      ['an option misspelt', {dbs: 'x'}, 'open: unknown option dbs', /did you mean db\?/],
      [
        'a database that is a number',
        {db: 5},
        'open: db: expected a database, or an array of one or more, got 5',
      ],
      [
        'databases of which one is none',
        {db: ['a.db', null]},
        'open: db: expected a database, or an array of one or more, got an array',
      ],
      ['no database', {db: []}, 'open: db: expected a database, or an array of one or more, got an array'],
      ['an empty database', {db: ''}, /^--db: expected a database, got an empty one/],
      ['a configuration that is no name', {config: 5}, 'open: config: expected text, got 5'],
      [
        'a serializer that there is not',
        {serializer: 'xml'},
        'open: serializer: expected one of json, msgpack, none, got "xml"',
      ],
      ['hooks that are no array', {hooks: {name: 'x'}}, 'open: hooks: expected an array, got an object'],
      ['plugins that are an array', {plugins: []}, 'open: plugins: expected an object, got an array'],
      ['a timeout of text', {hookTimeout: '5s'}, 'open: hookTimeout: expected seconds from 0, got "5s"'],
      ['a listener that is none', {onTrouble: 'log'}, 'open: onTrouble: expected a function, got "log"'],
      ['durable by text', {durable: 'no'}, 'open: durable: expected true or false, got "no"'],
    ]
  for (const [what, options, message, hint] of refused)
    test(what, async () => {
      await assertRefuses(wrong(null), () => Queue.open(options as never), UsageError, 'USAGE', message, hint)
    })

  test('the same database twice', async t => {
    const {file, folder} = place(t)
    for (const twice of [
      [file, file],
      [file, `sqlite:${folder}/./jobs.db`],
      [`${folder}/other.db`, file, file],
    ])
      await assertRefuses(
        wrong(null),
        () => Queue.open({db: twice}),
        UsageError,
        'USAGE',
        /^expected different databases, got the same one as the \d\. and the \d\.: /,
        /name it once/,
      )
    const servers = ['mysql://a:secret@localhost/jobs', 'mariadb://b@127.0.0.1:3306/jobs']
    await assert.rejects(Queue.open({db: servers}), error => {
      assert.ok(error instanceof UsageError && !error.message.includes('secret'))
      return true
    })
  })

  test('init, too', async () => {
    await assertRefuses(
      wrong(null),
      () => Queue.init(wrong({dryrun: true})),
      UsageError,
      'USAGE',
      'init: unknown option dryrun',
    )
  })
})

describe('a closed queue', () => {
  const calls: Record<string, (queue: JobQueue) => unknown> = {
    enqueue: q => q.enqueue('F'),
    enqueueMany: q => q.enqueueMany([{func: 'F'}]),
    enqueueIn: q => q.enqueueIn(new Sqlite(':memory:'), 'F'),
    find: q => q.find(1),
    list: q => q.list(),
    eachJob: q => q.eachJob().next(),
    exceptions: q => q.exceptions(),
    statuses: q => q.statuses(),
    retry: q => q.retry(1),
    retryMany: q => q.retryMany({}).next(),
    pause: q => q.pause(),
    resume: q => q.resume(),
    paused: q => q.paused(),
    funcs: q => q.funcs(),
    count: q => q.count(),
    counts: q => q.counts(),
    stats: q => q.stats(),
    wait: q => q.wait(1),
    work: q => q.work({workers: {F: () => {}}}),
  }
  for (const [name, call] of Object.entries(calls))
    test(`${name} is refused`, async t => {
      const {queue} = await openQueue(t)
      await queue.close()
      await assertRefuses(queue, call, ClosedError, 'CLOSED', 'the queue is closed', /JobQueue\.open/)
    })

  test('is closed as often as one likes', async t => {
    const {queue} = await openQueue(t)
    await Promise.all([queue.close(), queue.close()])
    await queue.close()
  })
})

describe('a transaction that is none', () => {
  const refused: [what: string, connection: (file: string) => unknown, message: RegExp][] = [
    ['nothing', () => undefined, /^expected a Database of better-sqlite3, got undefined/],
    ['an object', () => ({}), /^expected a Database of better-sqlite3, got a Object|an object/],
    ['the name of the file', file => file, /^expected a Database of better-sqlite3, got string/],
    ['a Database in no transaction', file => new Sqlite(file), /^the Database is in no transaction/],
    [
      'a Database of another file',
      () => begun(new Sqlite(':memory:')),
      /^expected a Database that has .* open, got one of :memory:/,
    ],
  ]
  for (const [what, connection, message] of refused)
    test(what, async t => {
      const {queue, file, rows} = await openQueue(t)
      const call = (q: JobQueue) => q.enqueueIn(wrong<Sqlite.Database>(connection(file)), 'F')
      await assertRefuses(queue, call, TransactionError, 'NO_TRANSACTION', message)
      assert.deepEqual(rows('SELECT * FROM job'), [])
    })
})

function begun(db: Sqlite.Database): Sqlite.Database {
  db.exec('BEGIN')
  return db
}

async function* later<T>(items: T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item)
}
