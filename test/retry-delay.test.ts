/** How long a failed job waits for its next try: how that is said, and how it grows. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import fc from 'fast-check'
import {parseRetryDelay, retryDelaySeconds} from '../src/lib/jobs/backoff.ts'
import {parseDuration} from '../src/lib/jobs/time.ts'
import {fuzz} from './support/fuzz.ts'

const UINT32 = 2 ** 32 - 1
const range = fc
  .tuple(fc.integer({min: 1, max: UINT32}), fc.integer({min: 1, max: UINT32}))
  .map(([a, b]) => ({first: Math.min(a, b), longest: Math.max(a, b)}))
const chance = fc.double({min: 0, max: 1, noNaN: true})

describe('a delay that grows', () => {
  test('is never below the first nor above the second, and within a fifth of the doubled one', t =>
    fuzz(t, [2000, 20_000], fc.tuple(range, fc.nat(5000), chance), ([range, retryCnt, random]) => {
      const delay = retryDelaySeconds(range, retryCnt, random)
      const doubled = Math.min(range.first * 2 ** retryCnt, range.longest)
      assert.ok(Number.isInteger(delay) && delay >= range.first && delay <= range.longest)
      assert.ok(Math.abs(delay - doubled) <= 0.2 * doubled + 0.5, `${delay}, ${doubled}`)
      return delay === range.longest ? 'longest' : delay === range.first ? 'first' : 'between'
    }))

  test('is longer than the one before, until the second is near', t =>
    fuzz(t, [2000, 20_000], fc.tuple(range, fc.nat(32), chance, chance), ([range, retryCnt, one, other]) => {
      if (range.first * 2 ** (retryCnt + 1) > range.longest) return 'near'
      assert.ok(retryDelaySeconds(range, retryCnt, one) < retryDelaySeconds(range, retryCnt + 1, other))
      return 'longer'
    }))

  test('is anywhere between, by chance', () => {
    const at = (retryCnt: number) =>
      [0, 0.5, 1].map(random => retryDelaySeconds({first: 10, longest: 3600}, retryCnt, random))
    assert.deepEqual([0, 1, 2, 9].map(at), [
      [10, 11, 12],
      [16, 20, 24],
      [32, 40, 48],
      [2880, 3240, 3600],
    ])
    const met = new Set(Array.from({length: 200}, () => retryDelaySeconds({first: 100, longest: 900}, 2)))
    assert.ok(met.size > 20, `${met.size} of 200 differ`)
  })

  test('that is a number is that number, whatever was before', () => {
    assert.deepEqual(
      [0, 1, 9].map(retryCnt => retryDelaySeconds(90, retryCnt)),
      [90, 90, 90],
    )
  })
})

describe('how it is said', () => {
  test('a duration, or two', () => {
    const cases: [string, unknown][] = [
      ['0', 0],
      ['10', 10],
      ['1h30m', 5400],
      ['10s..1h', {first: 10, longest: 3600}],
      ['1..1', {first: 1, longest: 1}],
      ['90..1w', {first: 90, longest: 604_800}],
    ]
    for (const [text, delay] of cases) assert.deepEqual(parseRetryDelay(text, 'x'), delay, text)
  })

  test('anything else is refused, with what was expected, what was got and how it is written', () => {
    const cases: [string, RegExp][] = [
      ['', /^x: expected a duration such as .*, got ""$/],
      ['..', /^x: expected a duration such as .*, got ""$/],
      ['10s..', /^x: expected a duration such as .*, got ""$/],
      ['10s-1h', /^x: expected a duration such as .*, got "10s-1h"$/],
      ['10s...1h', /^x: expected a duration such as .*, got ".1h"$/],
      ['1s..2s..3s', /^x: expected a range of two durations, got "1s..2s..3s"$/],
      ['0s..1h', /^x: expected a range from 1s or more, got "0s..1h"$/],
      ['1h..10s', /^x: expected a range to no less than it begins with, got "1h..10s"$/],
      ['1s..9999999999', /^x: expected a duration such as .*, at most 4294967295s, got "9999999999"$/],
    ]
    for (const [text, message] of cases)
      assert.throws(
        () => parseRetryDelay(text, 'x'),
        {code: 'USAGE', message, hint: 'a delay that doubles with each retry is written 10s..1h'},
        text,
      )
  })

  test('any text is one, or refused', t =>
    fuzz(t, [2000, 20_000], fc.stringMatching(/^[0-9smh. ]{0,12}$/), text => {
      let delay: ReturnType<typeof parseRetryDelay>
      try {
        delay = parseRetryDelay(text, 'x')
      } catch (error) {
        assert.equal((error as {code?: string}).code, 'USAGE')
        return 'refused'
      }
      const words = text.split('..').map(word => parseDuration(word, 'x'))
      assert.deepEqual(typeof delay === 'number' ? [delay] : [delay.first, delay.longest], words)
      return words.length
    }))
})
