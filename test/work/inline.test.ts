/** queue.work(): an application's own functions as workers, in its own process. */
import assert from 'node:assert/strict'
import {type TestContext, test} from 'node:test'
import {type InlineOptions, JobQueue} from '../../src/lib/index.ts'
import {Workplace} from '../support/workplace.ts'

async function open(t: TestContext): Promise<{queue: JobQueue; site: Workplace}> {
  const site = new Workplace(t)
  const queue = await JobQueue.open({db: site.db})
  t.after(() => queue.close())
  return {queue, site}
}

for (const prefetch of [0, 7])
  test(`works by priority until nothing is ready, with a prefetch of ${prefetch}`, async t => {
    const {queue, site} = await open(t)
    const priorities = Array.from({length: 50}, () => Math.floor(Math.random() * 10))
    for (const priority of priorities) await queue.enqueue('Note', {arg: {priority}, priority})
    const begun: unknown[] = []
    const summary = await queue.work({
      workers: {Note: ({arg}) => begun.push((arg as {priority: number}).priority)},
      mode: 'drain',
      prefetch,
    })
    assert.deepEqual(
      begun,
      priorities.toSorted((a, b) => b - a),
    )
    assert.deepEqual(
      {...summary},
      {
        taken: 50,
        completed: 50,
        failed: 0,
        aborted: 0,
        released: 0,
        declined: 0,
        died: 0,
        lost: 0,
        notDone: 0,
        cutShort: false,
      },
    )
    assert.equal(site.count('job'), 0)
  })

test('what it is given wrong is told before anything is grabbed', async t => {
  const {queue, site} = await open(t)
  await queue.enqueue('Note')
  const workers = {Note() {}}
  const wrong: [options: unknown, message: RegExp][] = [
    [undefined, /work: expected an object with workers, got none/],
    [{}, /workers: expected an object of workers, got none/],
    [{workers: []}, /workers: expected an object of workers, got an array/],
    [{workers: {}}, /expected at least one worker/],
    [{workers: {Note: 5}}, /workers.Note: expected a function, or a worker with work\(job\), got 5/],
    [{workers: {Note: {wrk() {}}}}, /workers.Note: expected a function, .*, got object/],
    [{workers: {Note: {work() {}, maxRetrys: 1}}}, /workers.Note: unknown key maxRetrys/],
    [{workers, abilities: ['Notes']}, /expected a worker for "Notes"/],
    [{workers, concurency: 2}, /unknown option concurency/],
    [{workers, concurrency: 0}, /concurrency: expected a whole number from 1 to 10000, got 0/],
    [{workers, prefetch: -1}, /prefetch: expected a whole number from 0 to 10000, got -1/],
    [{workers, signal: {aborted: false}}, /signal: expected an AbortSignal, got object/],
    [{workers, mode: 'always'}, /mode: expected 'forever', 'drain' or 'once', got "always"/],
    [{workers, workDelay: '5s'}, /workDelay: expected seconds from 0, got "5s"/],
    [{workers, shutdownTimeout: Number.NaN}, /shutdownTimeout: expected seconds from 0/],
    [{workers, fair: 1}, /fair: expected true or false, got 1/],
  ]
  for (const [options, message] of wrong)
    await assert.rejects(
      async () => queue.work(options as InlineOptions),
      (error: Error & {code?: string}) => {
        assert.match(error.message, message)
        assert.match(error.code ?? '', /^(USAGE|BAD_WORKER)$/)
        return true
      },
    )
  assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
})
