/** A worker that puts its job back: job.decline(). */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {type Job, JobQueue} from '../../src/lib/index.ts'
import {openTestQueue} from '../../src/lib/testing.ts'
import {Workplace} from '../support/workplace.ts'

const worker = (body: string, settings = 'maxRetries: 3, setJobStatus: true') =>
  `export default {${settings}, keepOutput: 'all', async work(job) {${body}}}`

interface Row {
  delay: number
  retryCnt: number
  grabbedUntil: number
}

/** `delay`: how much later than it was enqueued it is due. */
const rows = (site: Workplace) =>
  site.rows<Row>(
    'SELECT run_after - enqueue_time AS delay, retry_cnt AS retryCnt, grabbed_until AS grabbedUntil FROM job ORDER BY id',
  )

describe('a job that is declined', {concurrency: 2}, () => {
  test('is due later, and no try is counted, nothing logged; what waits for it waits on', async t => {
    const site = new Workplace(t, {
      Later: worker(`console.log('not now'); job.decline('10m'); console.log('never')`),
    })
    const [id] = await site.enqueue(['Later'])
    await site.withQueue(queue => queue.enqueue('Later', {after: [id!]}))
    const {code, stdout, stderr} = await site.drain()
    assert.deepEqual([code, /^1 declined in /.test(stdout)], [0, true])
    assert.match(stderr, /1 Later \| not now\n/)
    assert.match(stderr, /1 Later declined \S+ again in 600 s\n$/)
    assert.doesNotMatch(stderr, /never/)
    const [declined, waits] = rows(site)
    assert.deepEqual([declined!.retryCnt, declined!.grabbedUntil, waits!.grabbedUntil], [0, 0, 0])
    assert.ok(declined!.delay >= 600 && declined!.delay < 660, `due ${declined!.delay} s later`)
    assert.ok(waits!.delay > 660)
    for (const table of ['exception_log', 'job_status', 'jobq_attempt', 'jobq_output', 'jobq_death'])
      assert.deepEqual(site.rows(`SELECT * FROM ${table}`), [], table)
  })

  test('0 for --once, told as a JSON line, too; in ten seconds if nothing else is said', async t => {
    const site = new Workplace(t, {Later: worker('job.decline()')})
    await site.enqueue(['Later'])
    const {code, stdout} = await site.run(['work', '--once', '--json'])
    const [line, summary] = stdout
      .trimEnd()
      .split('\n')
      .map(text => JSON.parse(text))
    assert.equal(code, 0)
    assert.partialDeepStrictEqual(line, {event: 'job', id: 1, outcome: 'declined', message: 'again in 10 s'})
    assert.partialDeepStrictEqual(summary, {
      event: 'summary',
      taken: 1,
      completed: 0,
      declined: 1,
      released: 0,
    })
    assert.ok(rows(site)[0]!.delay >= 10)
  })

  test('with a delay of 0 it is next again, as soon as it is put back', async t => {
    const site = new Workplace(t, {
      Later: worker(`import('node:fs').then(); const {appendFileSync, readFileSync} = await import('node:fs')
        appendFileSync('tries', 'x'); if (readFileSync('tries', 'utf8').length < 3) job.decline(0)`),
    })
    await site.enqueue(['Later', {priority: 1}])
    const {code, stdout} = await site.drain()
    assert.deepEqual([code, /^1 completed, 2 declined in /.test(stdout)], [0, true])
  })

  test('counts even if work() swallows what is thrown, or it is thrown where no one catches it', async t => {
    const site = new Workplace(t, {
      Swallows: worker(`try { job.decline(60) } catch {}`),
      Timer: worker(
        `setTimeout(() => job.decline(60), 1); await new Promise(() => setInterval(() => {}, 1000))`,
      ),
    })
    await site.enqueue(['Swallows'], ['Timer'])
    const {code, stdout} = await site.drain()
    assert.deepEqual([code, /^2 declined in /.test(stdout)], [0, true])
    assert.deepEqual(
      rows(site).map(({delay, retryCnt}) => [delay >= 60, retryCnt]),
      [
        [true, 0],
        [true, 0],
      ],
    )
  })

  for (const [given, told] of [
    [`'soon'`, `expected a duration such as 90, 90s, 5m, 2h, 3d, 2w or 1h30m, got "soon"`],
    [
      '-1',
      'expected seconds from 0 to 4294967295, or a duration such as 90, 90s, 5m, 2h, 3d, 2w or 1h30m, got -1',
    ],
    ['NaN', 'got null'],
    ['{}', 'got {}'],
  ])
    test(`a delay of ${given} is no delay: the job has failed, and says so`, async t => {
      const site = new Workplace(t, {Later: worker(`job.decline(${given})`, 'maxRetries: 0')})
      await site.enqueue(['Later'])
      assert.equal((await site.drain()).code, 5)
      assert.ok(
        site.messages()[0]!.startsWith('decline: ') && site.messages()[0]!.endsWith(told!),
        site.messages()[0],
      )
      assert.equal(site.count('job'), 0)
    })

  test('that is cancelled is cancelled', async t => {
    const site = new Workplace(t, {
      Later: worker(
        `console.log('begun'); await new Promise(resolve => job.signal.addEventListener('abort', resolve)); job.decline(60)`,
      ),
    })
    await site.enqueue(['Later'])
    const work = site.work()
    await work.prints(/begun/)
    assert.equal((await site.run(['cancel', '1'])).code, 0)
    await work.prints(/1 Later aborted \S+ cancelled/)
    assert.deepEqual(site.messages(), ['cancelled'])
    assert.equal(site.count('job'), 0)
  })

  test('while its dispatcher ends: its word counts', async t => {
    const site = new Workplace(t, {
      Later: worker(
        `console.log('begun'); await new Promise(resolve => job.signal.addEventListener('abort', resolve)); job.decline(60)`,
      ),
    })
    await site.enqueue(['Later'])
    const work = site.work('--shutdown-timeout', '0')
    await work.prints(/begun/)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
    assert.match(work.stderr, /1 Later declined \S+ again in 60 s/)
    assert.ok(rows(site)[0]!.delay >= 60)
  })
})

test('hooks, plugins and events hear of it', async t => {
  const site = new Workplace(t)
  const heard: unknown[] = []
  const queue = await JobQueue.open({
    db: site.db,
    hooks: [
      {name: 'ends', postWork: ({outcome, message, retryIn}) => heard.push([outcome, message, retryIn])},
    ],
    plugins: {
      around: {
        async aroundWork(_job: Job, work: () => Promise<{outcome: string; retryIn: number | null}>) {
          const end = await work()
          heard.push([end.outcome, end.retryIn])
          return end
        },
      },
    },
  })
  t.after(() => queue.close())
  queue.on('release', ({id, reason}) => heard.push([id, reason]))
  queue.on('fail', () => heard.push('fail'))
  queue.on('finish', () => heard.push('finish'))
  await queue.enqueue('Later')
  const summary = await queue.work({workers: {Later: job => job.decline(90.5)}, mode: 'once'})
  assert.deepEqual([summary.taken, summary.declined, summary.notDone], [1, 1, 0])
  assert.deepEqual(heard, [
    ['declined', 91],
    ['declined', '', 91],
    [1, 'declined'],
  ])
})

test("in a test's queue, too", async () => {
  await using tested = await openTestQueue({workers: {Later: job => job.decline('1h')}})
  await tested.queue.enqueue('Later')
  const run = await tested.runOne()
  assert.deepEqual([run!.outcome, run!.message, run!.retryIn], ['declined', '', 3600])
  assert.deepEqual(await tested.drain(), [])
  const [job] = await tested.jobs()
  assert.deepEqual([job!.state, job!.retryCnt], ['delayed', 0])
  tested.clock.advance(3600)
  assert.equal((await tested.runOne())!.outcome, 'declined')
})
