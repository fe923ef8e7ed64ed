import assert from 'node:assert/strict'
import {test} from 'node:test'
import {closest, distance} from '../src/lib/jobs/closest.ts'

test('the closest is the one with the fewest edits, the first of several', () => {
  assert.equal(closest('retryDelai', ['grabFor', 'retryDelay', 'maxRetries']), 'retryDelay')
  assert.equal(closest('x', ['a', 'b']), 'a')
  assert.equal(closest('x', []), '')
  assert.equal(distance('maxRetry', 'maxRetries'), 3)
})
