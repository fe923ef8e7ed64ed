/** `jobq enqueue --args-from` and `--batch`: many jobs, all or none, in one transaction and in flat memory. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {once} from 'node:events'
import {createWriteStream, readdirSync, readlinkSync} from 'node:fs'
import {after, before, describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {assertOneLine, assertRefused, badArgument, usage} from '../support/refusal.ts'
import type {Finished} from '../support/started.ts'
import {until} from '../support/until.ts'

const ARGS = ['enqueue', 'F', '--db', 'jobs.db', '--args-from']
const BATCH = ['enqueue', '--db', 'jobs.db', '--batch']

describe('--args-from', {concurrency: 4}, () => {
  const kept: [what: string, lines: string, args: string[]][] = [
    ['lines', '1\n{"b": 1.0, "a":-0}\n"é 🦉"\n', ['1', '{"b": 1.0, "a":-0}', '"é 🦉"']],
    ['no line break at the end', '1\n2', ['1', '2']],
    ['CRLF', '1\r\n{"a":1}\r\n3', ['1', '{"a":1}', '3']],
    ['blanks around', ' 1 \n\t2\n', [' 1 ', '\t2']],
    ['digits past a double', '12345678901234567890\n1e400\n', ['12345678901234567890', '1e400']],
    ['an empty file', '', []],
  ]
  for (const [what, lines, args] of kept)
    test(`${what}: every line an argument, from a file and from standard input`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq([...ARGS, home.write('lines', lines)]), printed(args.length))
      assert.deepEqual(await home.jobq([...ARGS, '-'], {stdin: lines}), printed(args.length))
      const stored = home.jobs().map(({func, type, bytes}) => [func, type, bytes?.toString()])
      assert.deepEqual(
        stored,
        [...args, ...args].map(arg => ['F', 'text', arg]),
      )
    })

  test('with none every line is its bytes', async t => {
    const home = new Home(t)
    const lines = [
      Buffer.from('a'),
      Buffer.alloc(0),
      Buffer.from([0xff, 0x0d]),
      Buffer.from('b\0'),
      Buffer.from('{'),
    ]
    const file = home.write('lines', Buffer.concat(lines.flatMap(line => [line, Buffer.from('\n')])))
    assert.deepEqual(await home.jobq([...ARGS, file, '--serializer', 'none']), printed(5))
    assert.deepEqual(
      home.jobs().map(({type, bytes}) => [type, bytes]),
      lines.map((line, i) => [i === 2 || i === 3 ? 'blob' : 'text', line]),
    )
  })

  test('options are for every line', async t => {
    const home = new Home(t)
    const words = [...ARGS, '-', '--priority', '7', '--at', '@1798135200', '--json']
    const ended = await home.jobq(words, {stdin: '1\n2\n'})
    assert.deepEqual(ended, {code: 0, signal: null, stdout: '{"enqueued":2}\n', stderr: ''})
    for (const {priority, run_after} of home.jobs())
      assert.deepEqual([priority, run_after], [7, 1_798_135_200])
  })

  const refused: [what: string, lines: string | Buffer, says: string][] = [
    ['a line that is no JSON', '1\n{"a":1,}\n3\n', 'line 2: expected JSON, got a mistake at column 8'],
    ['a line cut off', '1\n2\n{"a"', 'line 3: expected JSON, got text that ends too early'],
    ['a blank line', '1\n\n3\n', 'line 2: expected JSON, got nothing'],
    ['a blank line, CRLF', '1\r\n\r\n', 'line 2: expected JSON, got nothing'],
    ['a line that is not UTF-8', Buffer.from('1\n"\xff"\n', 'latin1'), 'line 2: expected JSON in UTF-8'],
    ['a NUL', '1\n"\0"\n', 'line 2: expected JSON, got a mistake at column 2: bad control character'],
  ]
  for (const [what, lines, says] of refused)
    test(`${what}: nothing is enqueued`, async t => {
      const home = await prepared(t)
      const file = home.write('lines', lines)
      await assertRefused(home, [...ARGS, file], badArgument(says, '--serializer none takes any'))
      assertOneLine(await home.jobq([...ARGS, '-'], {stdin: lines}), {exit: 2, says: [says]})
      assert.equal(home.jobs().length, 1)
    })

  test('as MessagePack: every line is JSON, and is packed', async t => {
    const home = new Home(t)
    const file = home.write('lines', '{"a":1}\n[18446744073709551615]\n')
    assert.deepEqual(await home.jobq([...ARGS, file, '--serializer', 'msgpack']), printed(2))
    assert.deepEqual(
      home.jobs().map(({type, bytes}) => [type, bytes!.toString('hex')]),
      [
        ['blob', '81c4016101'],
        ['blob', '91cfffffffffffffffff'],
      ],
    )
    const bad = home.write('bad', '1\n18446744073709551616\n')
    const says = ['line 2: expected a number that MessagePack can hold, got 18446744073709551616']
    assertOneLine(await home.jobq([...ARGS, bad, '--serializer', 'msgpack']), {exit: 2, says})
    assert.equal(home.jobs().length, 2)
  })

  const words: [what: string, words: string[], says: string[]][] = [
    ['a key for all', ['--uniqkey', 'k'], ['--uniqkey: expected none with --args-from', 'use --batch']],
    ['--if-absent', ['--if-absent'], ['--if-absent: expected a --uniqkey with it']],
    ['another argument', ['--arg', '1'], ['expected one of', 'got --arg and --args-from']],
    ['a batch', ['--batch', '-'], ['expected one of', 'got --args-from and --batch']],
    ['a bad priority', ['--priority', '-1'], ['--priority: expected a whole number from 0']],
  ]
  for (const [what, more, says] of words)
    test(`with ${what}: refused`, async t => {
      const home = new Home(t)
      await assertRefused(home, [...ARGS, home.write('lines', '1\n'), ...more], usage(...says))
    })

  test('without a function: refused', async t => {
    const home = new Home(t)
    const words = ['enqueue', '--args-from', home.write('lines', '1\n'), '--db', 'jobs.db']
    await assertRefused(home, words, usage('expected a function to enqueue, got none'))
  })
})

describe('--batch', () => {
  test('every line a job, each with what it says', async t => {
    const home = new Home(t)
    const lines = [
      '{"func":"A"}',
      '{"func":"B::C","arg":{"x":[1]},"uniqkey":"k","priority":9,"delay":300}',
      ' { "delay" : "2h" , "func" : "A" , "uniqkey" : null } \r',
      '{"run_after":1798135200,"func":"A","arg":null}',
      '{"func":"A","run_after":"2026-12-24T18:00Z","priority":1e2}',
      '{"func":"A","run_after":"5m","priority":4294967295}',
    ]
    const ended = await home.jobq([...BATCH, home.write('batch', lines.join('\n'))])
    assert.deepEqual(ended, printed(6))
    const stored = home
      .jobs()
      .map(job => [
        ...[job.func, job.bytes?.toString(), job.uniqkey, job.priority],
        job.run_after === 1_798_135_200 ? 'then' : job.run_after - job.enqueue_time,
      ])
    // A time from now is one by this host's clock, read before the commit: a second may turn between the two
    if (stored[5]![4] === 299) stored[5]![4] = 300
    assert.deepEqual(stored, [
      ['A', 'null', null, 0, 0],
      ['B::C', '{"x":[1]}', 'k', 9, 300],
      ['A', 'null', null, 0, 7200],
      ['A', 'null', null, 0, 'then'],
      ['A', 'null', null, 100, 'then'],
      ['A', 'null', null, 4_294_967_295, 300],
    ])
  })

  test('arguments are kept as they are written', async t => {
    const home = new Home(t)
    const args = [
      '12345678901234567890',
      '[1.0, 1e400, -0, 1E5, 0.1234567890123456789]',
      '{"10":1, "9" :2,"a":1,"a":2}',
      '"\\u00e9\\/ \\" \\\\"',
      '"}{][,:"',
      '{"a":"\\"}","b":[{"c":"]"}]}',
      '{"__proto__":1,"rawJSON":"2"}',
      `${'['.repeat(100_000)}1.0${']'.repeat(100_000)}`,
      `"${'x'.repeat(100_000)}"`,
    ]
    const lines = args.map((arg, i) => (i % 2 ? `{"func":"F", "arg" :${arg} }` : `{"arg":${arg},"func":"F"}`))
    assert.deepEqual(await home.jobq([...BATCH, '-'], {stdin: lines.join('\n')}), printed(args.length))
    assert.deepEqual(
      home.jobs().map(({type, bytes}) => [type, bytes?.toString()]),
      args.map(arg => ['text', arg]),
    )
  })

  const whole = 'expected a whole number'
  const duration = 'expected a duration such as 90, 90s, 5m, 2h, 3d, 2w or 1h30m'
  const refused: [line: string, says: string, code?: string][] = [
    ['', 'expected JSON, got nothing', 'BAD_ARGUMENT'],
    ['{"func":"F"', 'expected JSON, got text that ends too early', 'BAD_ARGUMENT'],
    ['{"func":"F"},', 'expected JSON, got a mistake at column 13', 'BAD_ARGUMENT'],
    ['[]', 'expected an object, got an array (every line is one job, such as {"func"', 'BAD_ARGUMENT'],
    ['12345678901234567890', 'expected an object, got 1234567890123456', 'BAD_ARGUMENT'],
    ['null', 'expected an object, got null', 'BAD_ARGUMENT'],
    ['"F"', 'expected an object, got "F"', 'BAD_ARGUMENT'],
    [
      '{"func":"F","prio":1}',
      'prio: expected one of func, arg, uniqkey, priority, delay, run_after, after, after_end, tags, expires, uniq_for, keep_result, got "prio"',
    ],
    ['{"__proto__":1,"func":"F"}', '__proto__: expected one of func'],
    ['{"func":"F","func":"G"}', 'func: expected it once, got it twice'],
    ['{"arg":1}', 'func: expected a function name, got none'],
    ['{"func":5}', 'func: expected a function name, got 5'],
    ['{"func":""}', 'func: expected a function name of 1 to 255 characters, got 0'],
    [`{"func":"${'x'.repeat(256)}"}`, 'func: expected a function name of 1 to 255 characters, got 256'],
    ['{"func":"F\\u0000"}', 'func: expected a function name of valid Unicode without NUL'],
    ['{"func":"F\\ud800"}', 'func: expected a function name of valid Unicode without NUL'],
    ['{"func":"F","uniqkey":""}', 'uniqkey: expected a key of 1 to 255 characters, got 0'],
    ['{"func":"F","uniqkey":5}', 'uniqkey: expected text or null, got 5'],
    ['{"func":"F","uniqkey":["k"]}', 'uniqkey: expected text or null, got an array'],
    ['{"func":"F","priority":-1}', `priority: ${whole} from 0 to 4294967295, got -1`],
    ['{"func":"F","priority":1.5}', `priority: ${whole} from 0 to 4294967295, got 1.5`],
    ['{"func":"F","priority":4294967296}', `priority: ${whole} from 0 to 4294967295, got 4294967296`],
    ['{"func":"F","priority":"1"}', `priority: ${whole}, got "1"`],
    ['{"func":"F","priority":null}', `priority: ${whole}, got null`],
    ['{"func":"F","delay":"5x"}', `delay: ${duration}, got "5x"`],
    ['{"func":"F","delay":-5}', `delay: ${duration}, got "-5"`],
    ['{"func":"F","delay":1e10}', 'delay: expected a duration such as'],
    ['{"func":"F","delay":true}', `delay: ${duration.replace(' a ', ' seconds or a ')}, got true`],
    ['{"func":"F","delay":4294967295}', `delay: ${duration}, ending before 2106-02-07T06:28:15Z`],
    ['{"func":"F","run_after":"2026-02-30"}', 'run_after: expected a time that exists'],
    [
      '{"func":"F","run_after":4294967296}',
      'run_after: expected a time from 1970 and before 2106-02-07T06:28:15Z (the column is 32 bits wide), got 4294967296',
    ],
    ['{"func":"F","run_after":1.5}', 'run_after: expected whole Unix seconds, got 1.5'],
    ['{"func":"F","run_after":{}}', 'run_after: expected Unix seconds or a time such as "2h", got an object'],
    ['{"func":"F","run_after":1,"delay":1}', 'expected delay or run_after, got both'],
  ]
  describe('bad lines', () => {
    const cleanUp: (() => void)[] = []
    const home = new Home({after: clean => cleanUp.push(clean as () => void)})
    let bytes: string | undefined
    before(async () => {
      await enqueueOne(home)
      bytes = home.read('jobs.db').toString('base64')
    })
    after(() => {
      assert.equal(home.read('jobs.db').toString('base64'), bytes)
      for (const clean of cleanUp) clean()
    })
    for (const [i, [line, says, code = 'USAGE']] of refused.entries())
      test(`${line.slice(0, 40)}: nothing is enqueued`, async () => {
        const file = home.write(`batch-${i}`, `{"func":"A"}\n{"func":"B"}\n${line}\n{"func":"C"}\n`)
        const {stdout, ...ended} = await home.call([...BATCH, file, '--json'])
        assert.deepEqual(ended, {code: 2, signal: null, stderr: ''})
        const {error} = JSON.parse(stdout) as {error: {code: string; message: string; hint: string}}
        assert.equal(error.code, code)
        const text = error.hint ? `${error.message} (${error.hint})` : error.message
        assert.ok(text.startsWith(`line 3: ${says}`), text)
      })
  })

  test('bytes that are not UTF-8: nothing is enqueued', async t => {
    const home = await prepared(t)
    const file = home.write('batch', Buffer.from('{"func":"A"}\n{"func":"F","arg":"\xff"}\n', 'latin1'))
    await assertRefused(home, [...BATCH, file], badArgument('line 2: expected JSON in UTF-8', 'one job'))
  })

  test('an argument that is too long: nothing is enqueued; the longest there may be: stored', async t => {
    const home = new Home(t)
    const most = `"${'x'.repeat(16_777_213)}"`
    const file = home.write('most', `{"func":"F","uniqkey":"k","arg":${most}}\n`)
    assert.deepEqual(await home.jobq([...BATCH, file]), printed(1))
    const more = home.write('more', `{"func":"F"}\n{"func":"F","arg":${most.replace('x', 'xx')}}\n`)
    const says = ['line 2: arg: expected an argument of at most 16777215 bytes, got 16777216']
    assertOneLine(await home.jobq([...BATCH, more]), {exit: 2, says})
    const endless = home.write('endless', Buffer.alloc(20_000_000, 'x'))
    assertOneLine(await home.jobq([...BATCH, endless]), {exit: 2, says: ['line 1: expected at most']})
    assert.equal(home.jobs().length, 1)
  })

  test('a key that waits already, and one that comes twice: exit 3, nothing is enqueued', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db', '--uniqkey', 'k'])
    const waits = home.write(
      'waits',
      '{"func":"F"}\n{"func":"G","uniqkey":"k"}\n{"func":"F","uniqkey":"k"}\n',
    )
    await assertRefused(home, [...BATCH, waits], {
      exit: 3,
      code: 'DUPLICATE',
      says: [
        'line 3: uniqkey: refused: a job of F with uniqkey "k" is already waiting (job 1)',
        'nothing was enqueued',
      ],
    })
    const twice = home.write(
      'twice',
      '{"func":"G","uniqkey":"a"}\n{"func":"H"}\n{"func":"G","uniqkey":"a"}\n',
    )
    await assertRefused(home, [...BATCH, twice], {
      exit: 3,
      code: 'DUPLICATE',
      says: ['line 3: uniqkey: refused: a job of G with uniqkey "a" is in an earlier line', 'nothing was'],
    })
    assert.equal(home.jobs().length, 1)
  })

  test('the line of a key that is refused is told, whatever follows it', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db', '--uniqkey', 'k'])
    const lines = (count: number) => '{"func":"G"}\n'.repeat(count)
    for (const [before, after] of [
      [1, 3],
      [3000, 5000],
    ] as const) {
      const batch = `${lines(before)}{"func":"F","uniqkey":"k"}\n${lines(after)}`
      await assertRefused(home, [...BATCH, home.write('batch', batch)], {
        exit: 3,
        code: 'DUPLICATE',
        says: [
          `line ${before + 1}: uniqkey: refused: a job of F with uniqkey "k" is already waiting (job 1)`,
          'nothing',
        ],
      })
    }
    assert.equal(home.jobs().length, 1)
  })

  const words: [what: string, words: string[], says: string[]][] = [
    ['a function', ['F'], ['FUNC F: expected none with --batch', 'every line says it for itself']],
    ['a key', ['--uniqkey', 'k'], ['--uniqkey: expected none with --batch']],
    ['a priority', ['--priority', '1'], ['--priority: expected none with --batch']],
    ['a delay', ['--delay', '1'], ['--delay: expected none with --batch']],
    ['a time', ['--at', '1'], ['--at: expected none with --batch']],
    ['a serializer', ['--serializer', 'none'], ['--serializer: expected none with --batch']],
    ['--if-absent', ['--if-absent'], ['--if-absent: expected none with --batch']],
    ['an argument', ['--arg', '1'], ['expected one of', 'got --arg and --batch']],
  ]
  for (const [what, more, says] of words)
    test(`with ${what}: refused`, async t => {
      const home = new Home(t)
      await assertRefused(home, [...BATCH, home.write('batch', '{"func":"F"}\n'), ...more], usage(...says))
    })
})

describe('where the lines come from', {concurrency: 4}, () => {
  for (const words of [ARGS, BATCH])
    for (const [what, file, says] of [
      ['a missing file', 'nope', `can't read "nope" (ENOENT: no such file or directory`],
      ['a folder', '.', `can't read "." (it is a folder)`],
      ['no name', '', `can't read "" (ENOENT`],
    ] as const)
      test(`${words.at(-1)} with ${what}: refused, and no database is made`, async t => {
        await assertRefused(new Home(t), [...words, file], usage(says, 'check the path'))
      })

  test('standard input that is a file: read where it stands', async t => {
    const home = new Home(t)
    const file = home.write('lines', 'header\n1\n2\n')
    const script = `{ IFS= read -r header; exec "$@"; } < ${file}`
    const ended = await home.jobq([...ARGS, '-'], {
      command: ['bash', '-c', script, 'bash', process.execPath, RUN_JS],
    })
    assert.deepEqual([ended, home.jobs().length], [printed(2), 2])
  })

  test('a slow writer on standard input does not hold the lock', async t => {
    const home = await prepared(t)
    const slow = home.start([...ARGS, '-'], {stdin: 'open'})
    slow.child.stdin!.write('1\n'.repeat(MANY))
    await spooling(slow.pid)
    assert.deepEqual(await home.jobq(['enqueue', 'Other', '--db', 'jobs.db']), printed(2))
    slow.child.stdin!.end('2\n')
    assert.deepEqual(await once(slow.child, 'exit'), [0, null])
    const jobs = home.jobs().map(({func, bytes}) => `${func} ${bytes}`)
    assert.deepEqual(jobs.slice(0, 3), ['Before null', 'Other null', 'F 1'])
    assert.deepEqual([jobs.length, jobs.at(-1)], [MANY + 3, 'F 2'])
  })

  test('nor does one on a named pipe', async t => {
    const home = await prepared(t)
    const pipe = home.path('pipe')
    execFileSync('mkfifo', [pipe])
    const slow = home.start([...BATCH, pipe])
    const writer = createWriteStream(pipe)
    writer.write('{"func":"A"}\n'.repeat(MANY))
    await spooling(slow.pid)
    assert.deepEqual(await home.jobq(['enqueue', 'Other', '--db', 'jobs.db']), printed(2))
    writer.end('{"func":"B"}\n')
    assert.deepEqual(await once(slow.child, 'exit'), [0, null])
    const funcs = home.jobs().map(({func}) => func)
    assert.deepEqual(funcs.slice(0, 3), ['Before', 'Other', 'A'])
    assert.deepEqual([funcs.length, funcs.at(-1)], [MANY + 3, 'B'])
  })

  test('a line that is wrong is told at once, though whoever writes to the pipe goes on', async t => {
    const home = await prepared(t)
    const piped = home.start([...ARGS, '-'], {stdin: 'open'})
    piped.child.stdin!.write('{wrong\n')
    assert.deepEqual(await once(piped.child, 'exit'), [2, null])
    const pipe = home.path('pipe')
    execFileSync('mkfifo', [pipe])
    const named = home.start([...ARGS, pipe])
    const writer = createWriteStream(pipe)
    writer.write('{wrong\n')
    assert.deepEqual(await once(named.child, 'exit'), [2, null])
    writer.destroy()
    assert.equal(home.jobs().length, 1)
  })

  test('what is kept of standard input is gone, however it ends', async t => {
    const home = new Home(t)
    const temp = home.path('tmp')
    home.write('tmp/.keep', '')
    const slow = home.start([...ARGS, '-'], {stdin: 'open', env: {TMPDIR: temp}})
    slow.child.stdin!.write('1\n'.repeat(MANY))
    await spooling(slow.pid)
    slow.kill('SIGKILL')
    await once(slow.child, 'exit')
    const ours = readdirSync(temp).filter(name => name.startsWith('jobq'))
    assert.deepEqual(ours, [])
  })

  test('standard input that is closed: refused', async t => {
    const home = new Home(t)
    const ended = await home.jobq([...BATCH, '-'], {
      command: ['bash', '-c', 'exec "$@" <&-', 'bash', process.execPath, RUN_JS],
    })
    assert.equal(ended.code === 0 ? ended.stdout : ended.code, '0\n') // Node opens /dev/null in its place
  })
})

/** 200 MB of lines: who kept them would need more than FLAT_KB. */
const [LINES, LONG, FLAT_KB] = [50_000, 'x'.repeat(4000), 250_000]

describe('more lines than there is memory for', () => {
  test('in flat memory', {timeout: 60_000}, async t => {
    const home = new Home(t)
    const file = home.write('lines', `"${LONG}"\n`.repeat(LINES))
    const {ended, peak} = await measured(home, [...ARGS, file])
    assert.deepEqual(ended, printed(LINES))
    assert.ok(peak < FLAT_KB, `${peak} kB at the most`)
  })

  test('with a bad one near the end: nothing is enqueued', {timeout: 60_000}, async t => {
    const home = await prepared(t)
    const bytes = home.read('jobs.db')
    const good = `{"func":"F","arg":"${LONG}","priority":5}\n`.repeat(LINES)
    const file = home.write('batch', `${good}{"func":"F","priority":-1}\n{"func":"F"}\n`)
    const {ended, peak} = await measured(home, [...BATCH, file])
    assertOneLine(ended, {
      exit: 2,
      says: [`line ${LINES + 1}: priority: expected a whole number from 0 to 4294967295, got -1`],
    })
    assert.ok(peak < FLAT_KB, `${peak} kB at the most`)
    assert.equal(home.jobs().length, 1)
    assert.ok(home.read('jobs.db').equals(bytes))
  })
})

/** A home whose queue has a job already. */
async function prepared(t: ConstructorParameters<typeof Home>[0]): Promise<Home> {
  const home = new Home(t)
  if (waiting) home.write('jobs.db', waiting)
  else {
    await enqueueOne(home)
    waiting = home.read('jobs.db')
  }
  return home
}

/** The file of such a queue: it is made once. */
let waiting: Buffer | undefined

describe('too many open files while a module is loaded: the limit is named', {concurrency: 4}, () => {
  for (const [what, object, name, condition, says] of [
    // Node looks for a package.json there first
    [
      ...["jobq's own", "require('node:module')", '_resolveFilename'],
      ...["parent?.path.endsWith('/lib/cli/enqueue')", 'Cannot read package config'],
    ],
    ["SQLite's", 'process', 'dlopen', 'true', 'cannot open shared object file'],
  ] as const)
    for (const words of [ARGS, BATCH])
      test(`${what}, with ${words.at(-1)}`, async t => {
        const home = await prepared(t)
        home.write('lines', '{"func": "F"}')
        home.write(
          'fill.cjs',
          `const object = ${object}, {openSync} = require('node:fs'), its = object.${name}
          object.${name} = (request, parent, ...rest) => {
            if (${condition}) for (;;) try { openSync('/dev/null') } catch { break }
            return its.call(object, request, parent, ...rest)
          }`,
        )
        const limited = `ulimit -n 100; exec ${process.execPath} --require ./fill.cjs "$@"`
        const command = ['sh', '-c', limited, 'sh', RUN_JS]
        const refusal = {exit: 1, code: 'NO_PROCESS', says: [says, 'oo many open files', 'ulimit -n']}
        await assertRefused(home, [...words, 'lines'], refusal, {command})
      })
})

async function enqueueOne(home: Home): Promise<void> {
  assert.deepEqual(await home.jobq(['enqueue', 'Before', '--db', 'jobs.db']), printed(1))
}

/** So many jobs are not kept in memory. */
const MANY = 50_000

/** Waits until the process keeps jobs in a file that has no name any more. */
async function spooling(pid: number): Promise<void> {
  const folder = `/proc/${pid}/fd`
  await until('the jobs are being kept', () =>
    readdirSync(folder).some(fd => {
      try {
        return /jobq-\d+-.*\(deleted\)$/.test(readlinkSync(`${folder}/${fd}`))
      } catch {
        return false // closed meanwhile
      }
    }),
  )
}

/** Runs jobq and takes down the most memory it had, in kB. */
async function measured(home: Home, words: string[]): Promise<{ended: Finished; peak: number}> {
  const hook = `process.on('exit', () => require('node:fs').writeFileSync('peak', String(process.resourceUsage().maxRSS)))`
  const file = home.write('hook.cjs', hook)
  const ended = await home.jobq(words, {env: {NODE_OPTIONS: `--require ${file}`}})
  return {ended, peak: Number(home.read('peak'))}
}
