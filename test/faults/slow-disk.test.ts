/** A server whose disk is slow, so that a COMMIT takes long, and what is told before it is long ahead of it. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {type BatchCounts, JobQueue} from '../../src/lib/index.ts'
import {isObject} from '../../src/lib/jobs/value.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'
import {SlowDisk} from './slow-disk.ts'
import {placeOf} from './storm/place.ts'

const FLUSH_MS = 40
const ROUNDS = 10

test('MySQL with a slow disk: what has waited for others sees how they have ended, and what a job says is told', async t => {
  const place = await placeOf('MySQL', tempFolder(t))
  if ('missing' in place) return t.skip(place.missing)
  t.after(() => place.close())
  const {server, db} = place
  await server!.kill()
  await server!.start(new SlowDisk(tempFolder(t)).env(FLUSH_MS))
  const queue = await JobQueue.open({db})
  t.after(() => queue.close())
  const told: {bad: boolean; batch?: BatchCounts}[] = []
  const results: unknown[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const bad = i % 2 === 1
    await queue.batch([{func: 'Part'}, {func: 'Part', arg: {bad}}], {then: {func: 'All', arg: {bad}}})
    const part = await queue.enqueue('Part', {keepResult: '5m'})
    await queue.enqueue('Next', {arg: part.id, after: [part]})
  }
  await queue.work({
    mode: 'drain',
    workers: {
      Part({arg}) {
        if (isObject(arg) && arg.bad) throw new Error('bad')
        return 'done'
      },
      All: ({arg}) => void told.push(arg as (typeof told)[number]),
      Next: async ({arg}) => void results.push((await queue.show(Number(arg)))?.result?.value),
    },
  })
  assert.equal(told.length, ROUNDS)
  for (const {bad, batch} of told)
    assert.deepEqual(batch, {jobs: 2, completed: bad ? 1 : 2, failed: bad ? 1 : 0, aborted: 0})
  assert.deepEqual(results, Array(ROUNDS).fill('done'))

  // Said in the moment in which the job begins, and not again
  await queue.enqueue('Says')
  await queue.work({
    mode: 'drain',
    workers: {
      async Says(job) {
        job.progress(0.5)
        await until('it is told', async () => (await queue.find(job.id))?.progress?.fraction === 0.5)
      },
    },
  })
  assert.deepEqual(
    (await queue.exceptions()).filter(({func}) => func === 'Says'),
    [],
  )
})
