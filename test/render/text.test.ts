import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {RawJson, toJson} from '../../src/lib/render/json.ts'
import {argLine, duration, fromNow, oneLine, sparkline} from '../../src/lib/render/text.ts'

describe('text', () => {
  test('a duration has its two largest units', () => {
    const samples: [number, string][] = [
      [0, '0s'],
      [59, '59s'],
      [60, '1m'],
      [125, '2m 5s'],
      [3600, '1h'],
      [3659, '1h'],
      [7260, '2h 1m'],
      [86_400, '1d'],
      [180_000, '2d 2h'],
    ]
    for (const [seconds, text] of samples) assert.equal(duration(seconds), text)
    assert.equal(fromNow(100, 40), 'in 1m')
    assert.equal(fromNow(40, 100), '1m ago')
    assert.equal(fromNow(40, 40), 'now')
  })

  test('a sparkline adds up neighbours where there are too many, and leaves out nothing', () => {
    assert.equal(sparkline([0, 1, 2, 4, 8], 10), ' ▁▂▄█')
    assert.equal(sparkline([1, 1, 0, 0, 4, 0], 3), '▄ █')
    assert.equal(sparkline([0, 0, 0], 3), '   ')
    assert.equal(sparkline([], 3), '')
    assert.equal(sparkline([1000, 1], 2), '█▁', 'what is there shows')
  })

  test('one line of text can be read back by printf %b', () => {
    assert.equal(oneLine('a\tb\nc\rd\\e\x1bf\x7f\u0085'), 'a\\tb\\nc\\rd\\\\e\\x1bf\\x7f\\xc2\\x85')
    assert.equal(argLine(Buffer.from([0xff, 0x41, 0, 0x5c])), '\\xffA\\x00\\\\')
    assert.equal(argLine(null), '\\N')
  })

  test('JSON on one line is the same JSON', () => {
    for (const json of ['{"a":\t1,\r\n "b":"\\n\\\\"}', '"\u0085\x7f"', '[1,\n\n2]']) {
      const line = argLine(Buffer.from(json))
      assert.doesNotMatch(line, /\p{Cc}/u)
      assert.deepEqual(JSON.parse(line), JSON.parse(json))
    }
  })
})

describe('toJson', () => {
  test('splices raw JSON in, and only that', () => {
    const raw = new RawJson('{"n":1.0,\n"$&":12345678901234567890}')
    assert.equal(toJson({a: raw, b: ['"raw-0-"', raw]}), `{"a":${raw.text},"b":["\\"raw-0-\\"",${raw.text}]}`)
    assert.equal(toJson({a: 'text', b: null, c: undefined}), '{"a":"text","b":null}')
  })
})
