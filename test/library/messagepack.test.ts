/** MessagePack as Perl's Data::MessagePack writes it: byte for byte, in a job, from the library and from the shell. */
import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import {decodeArg} from '../../src/lib/jobs/serializers/decode.ts'
import {jsonPacker} from '../../src/lib/jobs/serializers/input.ts'
import {pack} from '../../src/lib/jobs/serializers/messagepack.ts'
import {openQueue} from '../support/library.ts'

/** Written by the script beside it. */
const written = JSON.parse(
  readFileSync(new URL('../fixtures/messagepack.json', import.meta.url), 'utf8'),
) as [described: string, bytes: string][]

const isLong = (described: string) => /^{"(text|list|map)":\d+}$/.test(described)

/** The JSON of what is described. */
function jsonOf(described: string): string {
  if (!isLong(described)) return described
  const {text, list, map} = JSON.parse(described) as {text?: number; list?: number; map?: number}
  if (text !== undefined) return JSON.stringify('x'.repeat(text))
  if (list !== undefined) return JSON.stringify(Array(list).fill(1))
  const keys = Array.from({length: map!}, (_, i) => [`k${String(i + 1).padStart(5, '0')}`, i + 1])
  return JSON.stringify(Object.fromEntries(keys))
}

/** As the fixture has them: of many bytes the head, and the MD5 of all. */
function shown(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  if (hex.length <= 160) return hex
  return `${hex.slice(0, 32)}…${createHash('md5').update(bytes).digest('hex')}`
}

describe("Data::MessagePack's bytes", () => {
  for (const [described, bytes] of written)
    test(described, async () => {
      const json = jsonOf(described)
      assert.equal(shown((await jsonPacker())(json, 'arg')), bytes, 'from JSON')
      const value: unknown = JSON.parse(json)
      if (JSON.stringify(value) === json || !/^-?\d+$/.test(json)) assert.equal(shown(pack(value)), bytes)
      else assert.equal(shown(pack(BigInt(json))), bytes, 'more digits than a number of JavaScript has')
    })

  test('are read as what they were', async () => {
    for (const [described] of written) {
      const json = jsonOf(described)
      const bytes = (await jsonPacker())(json, 'arg')
      const whole = /^-?\d+$/.test(json) ? BigInt(json) : 0n
      const isExact = Number.isSafeInteger(Number(whole))
      assert.deepEqual(await decodeArg(bytes, 'msgpack'), isExact ? JSON.parse(json) : whole, described)
    }
  })

  test('with a key __proto__ are an entry of that name, and no prototype', async () => {
    const value = JSON.parse('{"__proto__": {"isAdmin": true}, "a": [{"__proto__": "text"}]}')
    const read = (await decodeArg(pack(value), 'msgpack')) as {isAdmin?: boolean}
    assert.deepEqual(Object.keys(read), ['__proto__', 'a'])
    assert.equal(read.isAdmin, undefined)
    assert.equal(JSON.stringify(read), JSON.stringify(value))
  })

  test('stand in the job', async t => {
    const {queue, rows} = await openQueue(t, {serializer: 'msgpack'})
    const arg = {photo: 9, size: [120, 120], to: 'ada@example.com'}
    await queue.enqueue('F', {arg})
    await queue.enqueueMany([{func: 'F', arg}])
    const [, bytes] = written.at(-1)!
    const stored = rows<{arg: string; type: string}>('SELECT hex(arg) AS arg, typeof(arg) AS type FROM job')
    assert.deepEqual(stored, Array(2).fill({arg: bytes.toUpperCase(), type: 'blob'}))
  })
})

describe('what JSON does not have', () => {
  const samples: [what: string, value: unknown, hex: string][] = [
    ['bytes', Uint8Array.of(0, 255), 'c40200ff'],
    ['bytes of a Buffer', {b: Buffer.from('a')}, '81c40162c40161'],
    ['a BigInt', 5n, '05'],
    ['a large BigInt', 2n ** 63n, 'cf8000000000000000'],
    ['NaN', Number.NaN, 'cb7ff8000000000000'],
    ['Infinity', -Infinity, 'cbfff0000000000000'],
    ['-0', -0, 'cb8000000000000000'],
    ['a number past the whole ones', 2 ** 53, 'cb4340000000000000'],
    ['a Date', new Date(0), 'c418313937302d30312d30315430303a30303a30302e3030305a'],
    ['undefined', {a: undefined, b: [undefined]}, '81c4016291c0'],
  ]
  for (const [what, value, hex] of samples) test(what, () => assert.equal(pack(value).toString('hex'), hex))

  test('what grows while it is written is whole', () => {
    const value = Array.from({length: 3000}, (_, i) => ({[`key ${i}`]: 'é'.repeat(i % 50)}))
    const bytes = pack(value)
    assert.equal(bytes.subarray(0, 3).toString('hex'), 'dc0bb8')
    return assert.doesNotReject(async () => assert.deepEqual(await decodeArg(bytes, 'msgpack'), value))
  })
})

describe('what other writers have written', () => {
  const read: [what: string, hex: string, value: unknown][] = [
    ['text as str', '81a16ea3c3a961', {n: 'éa'}],
    ['bytes that are not UTF-8', 'c402fffe', Buffer.of(0xff, 0xfe)],
    ['a float of 32 bits', 'ca3fc00000', 1.5],
    ['a key that is a number', '8101c0', {1: null}],
    ['a key of 64 bits', '81cfffffffffffffffffc0', {'18446744073709551615': null}],
    ['64 bits where fewer would do', '92cf0000000000000001d3ffffffffffffffff', [1, -1]],
    [
      'whole numbers that a number would round',
      '82a161cf0020000000000001a16291d38000000000000001',
      {a: 2n ** 53n + 1n, b: [-(2n ** 63n) + 1n]},
    ],
  ]
  for (const [what, hex, value] of read)
    test(what, async () => assert.deepEqual(await decodeArg(Buffer.from(hex, 'hex'), 'msgpack'), value))
})

test('text with half a surrogate pair is refused: in UTF-8 it would be another', () => {
  for (const value of ['\ud800', {'\udc00': 1}, ['a', {b: 'x\ud83d'}]])
    assert.throws(() => pack(value), RangeError)
  assert.equal(pack('\u{1f600}').toString('hex'), 'c404f09f9880')
})
