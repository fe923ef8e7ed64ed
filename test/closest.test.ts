import assert from 'node:assert/strict'
import {test} from 'node:test'
import {closest, distance} from '../src/lib/closest.ts'

test('the distance is the number of edits', () => {
  const samples: [a: string, b: string, edits: number][] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', '', 3],
    ['abc', 'abc', 0],
    ['kitten', 'sitting', 3],
    ['saturday', 'sunday', 3],
    ['maxRetry', 'maxRetries', 3],
    ['ab', 'ba', 2],
  ]
  for (const [a, b, edits] of samples) {
    assert.equal(distance(a, b), edits, `${a} ${b}`)
    assert.equal(distance(b, a), edits, `${b} ${a}`)
  }
})

test('the closest is the one with the fewest edits, the first of several', () => {
  assert.equal(closest('retryDelai', ['grabFor', 'retryDelay', 'maxRetries']), 'retryDelay')
  assert.equal(closest('x', ['a', 'b']), 'a')
  assert.equal(closest('x', []), '')
})
