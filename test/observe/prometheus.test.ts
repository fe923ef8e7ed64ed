/** The plugin for prom-client: gauges from the database, counters and histograms from what happens. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {Counter, Registry, register} from 'prom-client'
import {JobQueue} from '../../src/lib/index.ts'
import {METRICS} from '../../src/lib/jobs/metrics.ts'
import {type PrometheusOptions, prometheus} from '../../src/lib/prometheus.ts'
import {type Family, parseExposition} from '../support/exposition.ts'
import {jobqIn} from '../support/jobq.ts'
import {openDatabase, seedException, seedJob, seedStatus} from '../support/seed.ts'
import {tempFolder} from '../support/temp.ts'

async function openQueue(t: TestContext, db = join(tempFolder(t), 'jobs.db')): Promise<JobQueue> {
  const queue = await JobQueue.open({db})
  t.after(() => queue.close())
  return queue
}

async function metrics(t: TestContext, queue: JobQueue, options: PrometheusOptions = {}) {
  const registry = new Registry()
  const plugin = prometheus({register: registry, ...options})
  await plugin.start!({role: 'client', queue})
  t.after(() => plugin.stop!())
  return {plugin, registry, read: async () => parseExposition(await registry.metrics())}
}

function values(families: Map<string, Family>, name: string): Record<string, number> {
  return Object.fromEntries(families.get(name)!.samples)
}

describe('prometheus()', () => {
  test('gauges are those of jobq stats --prometheus', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    const db = openDatabase(t, jobq.db)
    seedJob(db, {func: 'odd "name"\\with\nall', run_after: 0})
    seedJob(db, {run_after: 4_000_000_000})
    seedJob(db, {grabbed_until: 4_000_000_000})
    seedException(db)
    seedStatus(db, {status: 'abort'})
    const {read} = await metrics(t, await openQueue(t, jobq.db))
    const stored = parseExposition((await jobq(['stats', '--prometheus'])).stdout)
    const live = await read()
    for (const {name} of [METRICS.jobs, METRICS.workers]) {
      assert.deepEqual(live.get(name), stored.get(name))
      assert.ok(values(live, name))
    }
    // A second may have turned between the two
    const [now, before] = [live, stored].map(families => values(families, METRICS.latency.name))
    assert.deepEqual(Object.keys(now!), Object.keys(before!))
    for (const [series, age] of Object.entries(now!))
      assert.ok(age - before![series]! >= 0 && age - before![series]! < 60)
    assert.deepEqual(
      [...live.keys()].sort(),
      Object.values(METRICS)
        .map(({name}) => name)
        .sort(),
    )
  })

  test('a function that has gone is no longer told of', async t => {
    const queue = await openQueue(t)
    const {read} = await metrics(t, queue)
    await queue.enqueue('Gone')
    const latency = values(await read(), 'jobq_latency_seconds')['jobq_latency_seconds{func="Gone"}']
    assert.ok(latency !== undefined && latency < 60, `${latency}`)
    const db = openDatabase(t, queue.name)
    db.exec('DELETE FROM job; DELETE FROM func')
    assert.deepEqual(values(await read(), 'jobq_jobs'), {})
  })

  test('counters and histograms tell what happened', async t => {
    const queue = await openQueue(t)
    const {read} = await metrics(t, queue)
    const aims = ['done', 'done', 'fail', 'abort', 'replace']
    for (const arg of aims) await queue.enqueue('Work', {arg})
    await queue.work({
      mode: 'drain',
      workers: {
        Work: job => {
          if (job.arg === 'fail') throw new Error('no')
          if (job.arg === 'abort') job.abort('never')
          if (job.arg === 'replace') job.replace({func: 'Other'})
        },
        Other: () => {},
      },
    })
    const [exception] = await queue.exceptions()
    await queue.retry(exception!.id)
    await queue.enqueueMany([{func: 'Work'}, {func: 'Bulk'}, {func: 'Bulk'}])
    const families = await read()
    assert.deepEqual(values(families, 'jobq_jobs_enqueued_total'), {
      'jobq_jobs_enqueued_total{func="Work"}': 7,
      'jobq_jobs_enqueued_total{func="Bulk"}': 2,
    })
    assert.deepEqual(values(families, 'jobq_jobs_processed_total'), {
      'jobq_jobs_processed_total{func="Work",outcome="completed"}': 3,
      'jobq_jobs_processed_total{func="Work",outcome="failed"}': 1,
      'jobq_jobs_processed_total{func="Work",outcome="aborted"}': 1,
      'jobq_jobs_processed_total{func="Other",outcome="completed"}': 1,
    })
    const duration = values(families, 'jobq_job_duration_seconds')
    assert.equal(duration['jobq_job_duration_seconds_count{func="Work"}'], 5)
    assert.ok(duration['jobq_job_duration_seconds_sum{func="Work"}']! > 0)
    const wait = values(families, 'jobq_job_wait_seconds')
    assert.equal(wait['jobq_job_wait_seconds_count{func="Work"}'], 5)
    assert.equal(wait['jobq_job_wait_seconds_count{func="Other"}'], 1)
  })

  test('a job whose machine is gone once too often has failed, after no one knows how long', async t => {
    const queue = await openQueue(t)
    const {read} = await metrics(t, queue)
    const events: unknown[] = []
    queue.on('fail', event => events.push(event))
    const {id} = await queue.enqueue('Work', {uniqkey: 'k', priority: 7})
    const db = openDatabase(t, queue.name)
    db.prepare('UPDATE job SET grabbed_until = 1').run()
    for (let i = 0; i < 2; i++)
      db.prepare("INSERT INTO jobq_death (job_id, died_at, how) VALUES (?, 1, 'it burnt')").run(id)
    await queue.work({mode: 'drain', workers: {Work: () => {}}})
    const [exception] = await queue.exceptions()
    assert.deepEqual(events, [
      {
        ...{id, func: 'Work', uniqkey: 'k', priority: 7, outcome: 'failed', durationMs: null, retryIn: null},
        message: exception!.message,
      },
    ])
    const families = await read()
    assert.deepEqual(values(families, 'jobq_jobs_processed_total'), {
      'jobq_jobs_processed_total{func="Work",outcome="failed"}': 1,
    })
    assert.deepEqual(values(families, 'jobq_job_duration_seconds'), {})
  })

  test("without a registry it is prom-client's own, beside what else is in it", async t => {
    const queue = await openQueue(t)
    const mine = new Counter({name: 'mine_total', help: 'Mine.'})
    t.after(() => register.removeSingleMetric('mine_total'))
    const plugin = prometheus()
    await plugin.start!({role: 'client', queue})
    mine.inc()
    await queue.enqueue('Work')
    const families = parseExposition(await register.metrics())
    assert.equal(values(families, 'mine_total')['mine_total{}'], 1)
    assert.equal(values(families, 'jobq_jobs')['jobq_jobs{func="Work",state="ready"}'], 1)
    await plugin.stop!()
    assert.deepEqual([...parseExposition(await register.metrics()).keys()], ['mine_total'])
  })

  test('when it has stopped nothing is counted, and it can start again', async t => {
    const queue = await openQueue(t)
    const {plugin, read} = await metrics(t, queue)
    await queue.enqueue('Work')
    await plugin.stop!()
    assert.equal(queue.events.hears('enqueue'), false)
    assert.deepEqual([...(await read()).keys()], [])
    await plugin.start!({role: 'client', queue})
    assert.deepEqual(values(await read(), 'jobq_jobs_enqueued_total'), {})
  })

  test('in a command and in a process of workers it does nothing', async t => {
    const queue = await openQueue(t)
    const registry = new Registry()
    const plugin = prometheus({register: registry, port: 0})
    await plugin.start!({role: 'command', queue})
    await plugin.start!({role: 'worker', queue: null})
    assert.equal(await registry.metrics(), '\n')
    assert.equal(plugin.url, null)
    assert.equal(queue.events.hears('enqueue'), false)
  })

  test('two queues in one registry are refused, and one plugin for two queues', async t => {
    const queue = await openQueue(t)
    const {plugin, registry, read} = await metrics(t, queue)
    const second = prometheus({register: registry})
    await assert.rejects(async () => second.start!({role: 'client', queue}), {
      code: 'USAGE',
      message: 'expected a registry for this queue, got one that has jobq_jobs already',
    })
    await assert.rejects(async () => plugin.start!({role: 'client', queue}), {code: 'USAGE'})
    assert.equal((await read()).size, Object.keys(METRICS).length)
  })

  test('a database that is gone fails the scrape', async t => {
    const queue = await openQueue(t)
    const {registry} = await metrics(t, queue)
    await queue.close()
    await assert.rejects(registry.metrics(), {code: 'CLOSED'})
  })

  const mistakes: [options: object, message: RegExp][] = [
    [{prot: 1}, /prometheus: unknown option prot/],
    [{port: 70_000}, /port: expected a whole number from 0 to 65535, got 70000/],
    [{port: '9464'}, /port: expected a whole number from 0 to 65535, got "9464"/],
    [{host: 7}, /prometheus: host: expected text, got 7/],
  ]
  for (const [options, message] of mistakes)
    test(`${JSON.stringify(options)} is refused`, () =>
      assert.throws(() => prometheus(options as PrometheusOptions), {code: 'USAGE', message}))
})

describe('the port of jobq work', () => {
  async function served(t: TestContext, options: PrometheusOptions = {}) {
    const queue = await openQueue(t)
    const plugin = prometheus({register: new Registry(), port: 0, ...options})
    await plugin.start!({role: 'dispatcher', queue})
    t.after(() => plugin.stop!())
    return {queue, plugin}
  }

  test('serves /metrics on this host only, and nothing else', async t => {
    const {queue, plugin} = await served(t)
    await queue.enqueue('Work')
    assert.match(plugin.url!, /^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
    const response = await fetch(`${plugin.url}?x=1`)
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
    const families = parseExposition(await response.text())
    assert.equal(values(families, 'jobq_jobs')['jobq_jobs{func="Work",state="ready"}'], 1)
    assert.equal((await fetch(new URL('/', plugin.url!))).status, 404)
  })

  test('a database that is gone is a 500', async t => {
    const {queue, plugin} = await served(t)
    await queue.close()
    const response = await fetch(plugin.url!)
    assert.equal(response.status, 500)
    assert.match(await response.text(), /closed/)
  })

  test('is closed by stop', async t => {
    const {plugin} = await served(t)
    const {url} = plugin
    await (await fetch(url!)).text()
    await plugin.stop!()
    assert.equal(plugin.url, null)
    await assert.rejects(fetch(url!))
  })

  test('one that is taken is told, and leaves the registry as it was', async t => {
    const other = createServer()
    await once(other.listen(0, '127.0.0.1'), 'listening')
    t.after(() => other.close())
    const {port} = other.address() as AddressInfo
    const register = new Registry()
    const plugin = prometheus({register, port})
    const queue = await openQueue(t)
    await assert.rejects(async () => plugin.start!({role: 'dispatcher', queue}), {
      code: 'CANT_LISTEN',
      message: new RegExp(`can't listen on 127.0.0.1:${port} `),
    })
    assert.equal(register.getMetricsAsArray().length, 0)
    assert.equal(plugin.url, null)
  })
})
