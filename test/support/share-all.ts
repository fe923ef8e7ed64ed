/** Everything that a store does for functions that share what is scarce: for users who may do just that. */
import assert from 'node:assert/strict'
import type {ShareLimits} from '../../src/lib/jobs/shares/limits.ts'
import type {Store} from '../../src/lib/store/store.ts'
import {newJob} from './store.ts'

const RATE = {most: 1, seconds: 3600}
const LIMITS: ShareLimits = {
  rate: {most: 9, seconds: 3600},
  perKey: {maxRunning: 1, rate: {most: 3, seconds: 3600}},
  shareBy: null,
  serializer: 'json',
}

export async function shareAll(store: Store): Promise<void> {
  const func = 'Work'
  await store.enqueueMany(['a:1', 'a:2', 'b:1'].map(uniqkey => newJob(func, {uniqkey})))
  const {jobs} = await store.turn([], {funcs: [func], limit: 9, lease: 60})
  const given = jobs.map(job => ({...job, key: job.uniqkey!.slice(0, 1)}))
  const shared = await store.share({func, limits: LIMITS, jobs: given, keys: []})
  assert.deepEqual([shared.admitted.length, shared.parked.length], [2, 1])
  const settled = jobs.map(lease => ({lease, outcome: {kind: 'completed'} as const}))
  await store.turn(settled, {funcs: [], limit: 0, lease: 60})
  const found = await store.sharedKeys(func, LIMITS.perKey!, {key: ''})
  assert.deepEqual(found.keys, ['a', 'b'])
  assert.equal((await store.share({func, limits: LIMITS, jobs: [], keys: found.keys})).called, 1)
  const [called] = (await store.turn([], {funcs: [func], limit: 9, lease: 60})).jobs
  const limits = {...LIMITS, rate: RATE}
  const back = await store.share({func, limits, jobs: [{...called!, key: 'a'}], keys: []})
  assert.deepEqual([back.admitted, back.parked, back.lost, back.closedMs > 0], [[], [], [], true])
  await store.share({func, limits: {...LIMITS, rate: {most: 9, seconds: 0}}, jobs: [], keys: []})
  while (await store.unshare([func]));
}
