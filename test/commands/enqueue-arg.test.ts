/**
 * The argument of `jobq enqueue`: JSON is checked and stored byte for byte as it was written, whatever way it comes;
 * text is TEXT in the database, all else a BLOB of exactly its bytes.
 */
import assert from 'node:assert/strict'
import {isUtf8} from 'node:buffer'
import {closeSync, openSync, truncateSync, writeFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {assertOneLine, assertRefused, badArgument} from '../support/refusal.ts'
import type {Finished} from '../support/started.ts'

const ENQUEUE = ['enqueue', 'F', '--db', 'jobs.db']
const MAX = 16_777_215

describe('JSON', () => {
  const kept: [what: string, json: string][] = [
    ['blanks and the order of keys', ' { "b" : 1,\n\t"a":[ ] ,"10":1, "9":2 }\r\n'],
    ['a key twice', '{"a":1,"a":2}'],
    ['numbers past a double', '[12345678901234567890, 0.1234567890123456789, 1e400, -1e-400]'],
    ['numbers that would be written otherwise', '[1.0, -0, 1E5, 1.50, 0e1]'],
    ['a negative number', '-1'],
    ['escapes', '"\\u00e9\\/\\ud83d\\ude00\\ud800 \\u0000"'],
    ['characters of all planes', '{"이름":"é 🦉 \u2028 \uFEFF"}'],
    ['null', 'null'],
    ["a key of all objects'", '{"__proto__":{"a":1}}'],
  ]
  for (const [what, json] of kept)
    test(`${what}: kept as written, from --arg and from a file`, async t => {
      const home = new Home(t)
      const file = home.write('arg.json', json)
      assert.deepEqual(await home.jobq([...ENQUEUE, '--arg', json]), printed('1'))
      assert.deepEqual(await home.jobq([...ENQUEUE, '--arg-file', file]), printed('2'))
      assert.deepEqual(await home.jobq([...ENQUEUE, '--arg-file', '-'], {stdin: json}), printed('3'))
      for (const {type, bytes} of home.jobs()) assert.deepEqual([type, bytes?.toString()], ['text', json])
    })

  test('nested 100,000 deep: kept as written', async t => {
    const home = new Home(t)
    const json = `${'['.repeat(100_000)}{"a":1.0}${']'.repeat(100_000)}`
    assert.deepEqual(await home.jobq([...ENQUEUE, '--arg-file', '-'], {stdin: json}), printed('1'))
    const [job] = home.jobs()
    assert.ok(job?.type === 'text' && job.bytes?.toString() === json)
  })

  test('as long as an argument may be: kept; a byte more: refused', async t => {
    const home = new Home(t)
    const json = `"${'x'.repeat(MAX - 2)}"`
    assert.deepEqual(await home.jobq([...ENQUEUE, '--arg-file', home.write('max', json)]), printed('1'))
    assert.equal(home.jobs()[0]?.bytes?.equals(Buffer.from(json)), true)
    const says = [`--arg-file: expected an argument of at most ${MAX} bytes, got ${MAX + 1}`]
    assertOneLine(await home.jobq([...ENQUEUE, '--arg-file', home.write('more', `${json} `)]), {
      exit: 2,
      says,
    })
    assert.equal(home.jobs().length, 1)
  })

  test("none given: the serializer's null, which Perl's hooks can read; none has none", async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(ENQUEUE), printed('1'))
    await home.jobq([...ENQUEUE, '--serializer', 'msgpack'])
    await home.jobq([...ENQUEUE, '--serializer', 'none'])
    assert.deepEqual(
      home.jobs().map(({type, bytes}) => [type, bytes?.toString('hex')]),
      [
        ['text', '6e756c6c'],
        ['blob', 'c0'],
        ['null', undefined],
      ],
    )
  })

  const refused: [what: string, text: string, says: string][] = [
    ['nothing', '', 'got nothing'],
    ['blanks', ' \n', 'got blanks only'],
    ['cut off', '{"a":1', 'got text that ends too early, at column 7'],
    ['cut off in a string', '{"a":"b', 'got text that ends too early'],
    ['cut off in a word', 'tru', 'got text that ends too early, at column 4'],
    ['a trailing comma', '{"a":1,}', 'got a mistake at column 8: expected double-quoted property name'],
    ['a trailing comma, in lines', '[1,\n2,\n]', "got a mistake at line 3 column 1: unexpected token ']'"],
    ['quotes that the shell took', '{a:1}', "got a mistake at column 2: expected property name or '}'"],
    ['single quotes', "{'a':1}", 'got a mistake at column 2'],
    ['a word', 'photo.jpg', "got a mistake at column 1: unexpected token 'p'"],
    ['a word of JavaScript', 'undefined', 'got a mistake at column 1'],
    ['NaN', '[NaN]', "got a mistake at column 2: unexpected token 'N'"],
    ['two values', '1 2', 'got a mistake at column 3'],
    ['a leading zero', '01', 'got a mistake at column 2'],
    ['a line break in a string', '"a\nb"', 'got a mistake at line 1 column 3: bad control character'],
    ['a terminal command', '\u001b[31m', "got a mistake at column 1: unexpected token 'U+001B'"],
    ['a byte order mark', '\uFEFF{}', "got a mistake at column 1: unexpected token 'U+FEFF'"],
  ]
  for (const [what, text, says] of refused)
    test(`${what}: refused, with the place`, async t => {
      const said = [`--arg: expected JSON, ${says}`, '--serializer none takes any text']
      await assertRefused(new Home(t), [...ENQUEUE, '--arg', text], badArgument(...said))
    })

  test('a NUL, from a file: refused', async t => {
    const home = new Home(t)
    const file = home.write('arg', '"a\0b"')
    const says = ['--arg-file: expected JSON, got a mistake at column 3: bad control character']
    await assertRefused(home, [...ENQUEUE, '--arg-file', file], badArgument(...says))
  })

  test('50 MB from a file, 50 MB from a pipe, no end at all: refused', async t => {
    const home = new Home(t)
    const file = home.path('large')
    closeSync(openSync(file, 'w'))
    truncateSync(file, 50_000_000)
    const says = (got: string) => [
      `--arg-file: expected an argument of at most ${MAX} bytes, got ${got}`,
      'enqueue its name',
    ]
    assertOneLine(await home.jobq([...ENQUEUE, '--arg-file', file]), {exit: 2, says: says('50000000')})
    const pipe = await home.jobq([...ENQUEUE, '--arg-file', '-'], {stdin: Buffer.alloc(50_000_000)})
    assertOneLine(pipe, {exit: 2, says: says('more')})
    const endless = await home.jobq([...ENQUEUE, '--arg-file', '/dev/zero', '--serializer', 'none'])
    assertOneLine(endless, {exit: 2, says: says('more')})
    assert.throws(() => home.read('jobs.db'))
  })
})

test('standard input that refuses to wait: what comes later is read', async t => {
  const home = new Home(t)
  // Node makes a pipe non-blocking for all who share it, as long as it runs
  home.write(
    'share.cjs',
    `const {existsSync, writeFileSync} = require('node:fs')
    process.stdin.unref()
    writeFileSync('shared', '')
    const timer = setInterval(() => existsSync('ended') && clearInterval(timer), 5)`,
  )
  home.write(
    'refused.cjs',
    `const fs = require('node:fs'), read = fs.readSync
    fs.readSync = (...args) => {
      try { return read(...args) } catch (error) { fs.writeFileSync('refused', error.code); throw error }
    }`,
  )
  const wait = (file: string) => `until [ -e ${file} ]; do sleep 0.01; done`
  const jobq = `${process.execPath} --require ./refused.cjs "$@"`
  const reader = `exec 3<&0; node share.cjs <&3 & ${wait('shared')}; ${jobq} <&3; touch ended; wait`
  const script = `{ printf '{"a":'; ${wait('refused')}; printf '1.0}'; } | { ${reader}; }`
  const command = ['sh', '-c', script, 'sh', RUN_JS]
  assert.deepEqual(await home.jobq([...ENQUEUE, '--arg-file', '-'], {command}), printed(1))
  assert.equal(home.read('refused').toString(), 'EAGAIN')
  assert.equal(home.jobs()[0]?.bytes?.toString(), '{"a":1.0}')
})

describe('files that can not be read', () => {
  for (const [what, file, says] of [
    ['missing', 'nope.json', `can't read "nope.json" (ENOENT: no such file or directory`],
    ['a folder', '.', `can't read "." (EISDIR: illegal operation on a directory`],
    ['without a name', '', `can't read "" (ENOENT`],
  ] as const)
    test(`${what}: refused`, async t => {
      const refusal = {exit: 2, code: 'USAGE', says: [says, 'check the path']}
      await assertRefused(new Home(t), [...ENQUEUE, '--arg-file', file], refusal)
    })
})

describe('bytes', () => {
  const samples: [what: string, bytes: Buffer, type: 'text' | 'blob'][] = [
    ['plain text', Buffer.from('no JSON: 썸네일 🦉 \r\n'), 'text'],
    ['nothing', Buffer.alloc(0), 'text'],
    ['a byte order mark', Buffer.from('\uFEFFtext'), 'text'],
    ['a replacement character', Buffer.from('\uFFFD'), 'text'],
    ['NUL', Buffer.from('a\0b\0'), 'blob'],
    ['Latin-1', Buffer.from('caf\xe9', 'latin1'), 'blob'],
    ['half a character', Buffer.from('é').subarray(0, 1), 'blob'],
    ['a surrogate', Buffer.from([0xed, 0xa0, 0x80]), 'blob'],
    ['every byte', Buffer.from(Array.from({length: 256}, (_, i) => i)), 'blob'],
  ]
  for (const [what, bytes, type] of samples)
    test(`${what}: with none stored as they are, as ${type}`, async t => {
      const home = new Home(t)
      const words = [...ENQUEUE, '--serializer', 'none']
      const file = home.write('arg', bytes)
      assert.deepEqual(await home.jobq([...words, '--arg-file', file]), printed('1'))
      assert.deepEqual(await home.jobq([...words, '--arg-file', '-'], {stdin: bytes}), printed('2'))
      let count = 2
      if (isText(bytes) && !bytes.includes(0)) {
        assert.deepEqual(await withArg(home, words, bytes), printed('3'))
        assert.deepEqual(await withArg(home, words, bytes, '--arg='), printed('4'))
        count = 4
      }
      const stored = home.jobs().map(job => [job.type, job.bytes?.toString('hex')])
      assert.deepEqual(stored, Array(count).fill([type, bytes.toString('hex')]))
    })

  for (const serializer of ['json', 'msgpack'])
    test(`that are not UTF-8: refused as ${serializer}`, async t => {
      const home = new Home(t)
      const bytes = Buffer.from('"caf\xe9"', 'latin1')
      const words = [...ENQUEUE, '--serializer', serializer]
      const says = ['expected JSON in UTF-8, got bytes that are not UTF-8', '--serializer none takes any']
      await assertRefused(home, [...words, '--arg-file', home.write('arg', bytes)], badArgument(...says))
      assertOneLine(await home.jobq([...words, '--arg-file', '-'], {stdin: bytes}), {exit: 2, says})
      assert.throws(() => home.read('jobs.db'))
    })

  for (const word of ['F', '--arg', '--arg=', '--uniqkey=k', '--db=jobs.db', '--config=c'])
    test(`that are not UTF-8 in the word ${word}: refused`, async t => {
      const home = new Home(t)
      const says = ['expected words in UTF-8, got bytes that are not: ', '--arg-file and --serializer none']
      const words = ['enqueue', '--db', 'jobs.db', '--serializer', 'none']
      const ended = await withArg(home, words, Buffer.from([0xff]), word)
      assertOneLine(ended, {exit: 2, says})
      assert.deepEqual(home.files(), {})
    })
})

describe('MessagePack', () => {
  const samples: [json: string, hex: string][] = [
    // Text is bytes, as it is to Perl: test/library/messagepack.test.ts has what Data::MessagePack writes
    ['{"a":[1,-1,true,null,"é"]}', '81c4016195 01ff c3c0 c402c3a9'],
    ['[1.0,1.5,5000000000]', '93 01 cb3ff8000000000000 cf000000012a05f200'],
    // Past a double, by its digits
    ['[12345678901234567890,-9223372036854775808]', '92 cfab54a98ceb1f0ad2 d38000000000000000'],
    ['"\\u0000"', 'c40100'],
  ]
  for (const [json, hex] of samples)
    test(`${json}: encoded`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq([...ENQUEUE, '--serializer', 'msgpack', '--arg', json]), printed('1'))
      const [job] = home.jobs()
      assert.deepEqual([job?.type, job?.bytes?.toString('hex')], ['blob', hex.replaceAll(' ', '')])
    })

  for (const number of ['1e400', '-1e400', '18446744073709551616', '-9223372036854775809'])
    test(`${number}: refused, since it would lose digits`, async t => {
      const says = [`--arg: expected a number that MessagePack can hold, got ${number}`, '--serializer json']
      const words = [...ENQUEUE, '--serializer', 'msgpack', '--arg', `[${number}]`]
      await assertRefused(new Home(t), words, badArgument(...says))
    })

  test('nested 100,000 deep: refused', async t => {
    const home = new Home(t)
    const file = home.write('deep', '['.repeat(100_000) + ']'.repeat(100_000))
    const words = [...ENQUEUE, '--serializer', 'msgpack', '--arg-file', file]
    await assertRefused(home, words, badArgument("--arg-file: MessagePack can't hold it"))
  })

  test('no JSON: refused', async t => {
    const words = [...ENQUEUE, '--serializer', 'msgpack', '--arg', '{']
    await assertRefused(new Home(t), words, badArgument('--arg: expected JSON, got text that ends'))
  })
})

test('--json prints what was stored', async t => {
  const home = new Home(t)
  const words = [...ENQUEUE, '--json', '--arg', '{}', '--priority', '9', '--at', '@1798135200']
  const {code, stdout, stderr} = await home.jobq(words)
  assert.deepEqual([code, stderr], [0, ''])
  const facts = {id: 1, func: 'F', uniqkey: null, priority: 9, run_after: 1_798_135_200, enqueued: true}
  assert.equal(stdout, `${JSON.stringify(facts)}\n`)
})

/** Can a word hold it? What is no UTF-8 would come as the replacement character, which is refused therefore. */
function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes('\uFFFD')
}

/** With a word of any bytes, which only a shell can pass: its end comes from a file. */
async function withArg(home: Home, words: string[], bytes: Buffer, word = '--arg'): Promise<Finished> {
  // A shell's $(…) takes line breaks off the end: x stays between
  writeFileSync(home.path('word'), Buffer.concat([bytes, Buffer.from('x')]))
  const given = word.startsWith('--') && !word.endsWith('=') && !word.includes('=') ? `${word} ` : word
  const script = `word=$(cat word; rm word); exec "$@" ${given}"\${word%x}"`
  return home.jobq(words, {
    command: ['bash', '-c', script, 'bash', process.execPath, RUN_JS],
    env: {LC_ALL: 'C'},
  })
}

test('too many open files: the limit is named, not the path', async t => {
  const home = new Home(t)
  home.write('arg', '{}')
  home.write(
    'fill.cjs',
    `const fs = require('node:fs'), open = fs.openSync
    fs.openSync = (path, ...rest) => {
      if (path === 'arg') for (;;) try { open('/dev/null') } catch { break }
      return open(path, ...rest)
    }`,
  )
  const command = [
    'sh',
    '-c',
    `ulimit -n 100; exec ${process.execPath} --require ./fill.cjs "$@"`,
    'sh',
    RUN_JS,
  ]
  const says = [`can't read "arg" (EMFILE: too many open files`, 'ulimit -n']
  await assertRefused(home, [...ENQUEUE, '--arg-file', 'arg'], {exit: 1, code: 'NO_PROCESS', says}, {command})
})
