/** What the configuration's plugins see of a real `jobq work`, of its children, and of `jobq enqueue`. */
import assert from 'node:assert/strict'
import {readFileSync, symlinkSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {parseExposition} from '../support/exposition.ts'
import {until} from '../support/until.ts'
import {ROOT, Workplace} from '../support/workplace.ts'

/** A project that has jobq and the packages of its plugins installed. */
function project(t: TestContext, workers: Record<string, string>, config: string): Workplace {
  const site = new Workplace(t, workers)
  symlinkSync(join(ROOT, 'node_modules'), site.path('node_modules'))
  site.write('package.json', '{"type": "module"}')
  site.write('jobq.config.ts', config)
  return site
}

interface SpanLine {
  name: string
  pid: number
  traceId: string
  spanId: string
  parent?: string
  links: string[]
  attributes: Record<string, unknown>
  status: number
}

/** Sets up the SDK in every process that loads it; a span is written down when it ends, or when it is flushed. */
const TELEMETRY = `
import {appendFileSync} from 'node:fs'
import {context, propagation, trace} from '@opentelemetry/api'
import {AsyncLocalStorageContextManager} from '@opentelemetry/context-async-hooks'
import {W3CTraceContextPropagator} from '@opentelemetry/core'
import {BasicTracerProvider, BatchSpanProcessor, SimpleSpanProcessor} from '@opentelemetry/sdk-trace-base'

const exporter = {
  export(spans, done) {
    for (const {name, parentSpanContext, links, attributes, status, spanContext} of spans.map(span => ({
      ...span, name: span.name, spanContext: span.spanContext(), parentSpanContext: span.parentSpanContext,
      links: span.links, attributes: span.attributes, status: span.status,
    })))
      appendFileSync(process.env.NOTES, JSON.stringify({
        name, pid: process.pid, traceId: spanContext.traceId, spanId: spanContext.spanId,
        parent: parentSpanContext?.spanId, links: links.map(link => link.context.spanId), attributes, status: status.code,
      }) + '\\n')
    done({code: 0})
  },
  shutdown: async () => {},
}
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
propagation.setGlobalPropagator(new W3CTraceContextPropagator())
const processor = process.env.BATCH
  ? new BatchSpanProcessor(exporter, {scheduledDelayMillis: 3_600_000})
  : new SimpleSpanProcessor(exporter)
trace.setGlobalTracerProvider(new BasicTracerProvider({spanProcessors: [processor]}))
`
const TRACED = `
import './telemetry.mjs'
import {openTelemetry} from 'jobq/opentelemetry'
export default {plugins: {tracing: openTelemetry()}}
`
const RESIZE = `
import {trace} from '@opentelemetry/api'
export default {
  work: job => trace.getTracer('app').startActiveSpan('resize', async span => {
    span.end()
    if (job.arg === 'bad') throw new TypeError('no picture')
    if (job.arg === 'swap') job.replace({func: 'Resize', arg: 'swapped'})
  }),
}
`

function spansOf(site: Workplace): SpanLine[] {
  return site.notes<SpanLine & Record<string, unknown>>()
}

describe('OpenTelemetry', () => {
  function traced(t: TestContext): Workplace {
    const site = project(t, {Resize: RESIZE}, TRACED)
    site.write('telemetry.mjs', TELEMETRY)
    return site
  }

  test('from jobq enqueue to a child of jobq work, and to what its worker does there', async t => {
    const site = traced(t)
    const enqueued = await site.run(['enqueue', 'Resize', '--arg', '"cat.jpg"'])
    assert.equal(enqueued.stderr, '')
    assert.equal((await site.drain()).code, 0)
    const [send, resize, process, ...more] = spansOf(site)
    assert.deepEqual(more, [])
    assert.equal(send!.name, 'send Resize')
    assert.equal(send!.attributes['messaging.message.id'], '1')
    assert.deepEqual(
      [process!.name, process!.links, process!.parent],
      ['process Resize', [send!.spanId], undefined],
    )
    assert.equal(process!.attributes['messaging.jobq.outcome'], 'completed')
    assert.deepEqual(
      [resize!.name, resize!.parent, resize!.traceId],
      ['resize', process!.spanId, process!.traceId],
    )
    assert.equal(resize!.pid, process!.pid)
    assert.notEqual(process!.pid, send!.pid)
  })

  test('a failure and a refusal are errors', async t => {
    const site = traced(t)
    for (let i = 0; i < 2; i++) await site.run(['enqueue', 'Resize', '--arg', '"bad"', '--uniqkey', 'k'])
    assert.equal((await site.drain()).code, 5)
    const [sent, refused, , process] = spansOf(site)
    assert.deepEqual([sent!.status, refused!.status, process!.status], [0, 2, 2])
    assert.equal(refused!.attributes['error.type'], 'DUPLICATE')
    assert.equal(process!.attributes['error.type'], 'TypeError')
    assert.equal(process!.attributes['messaging.jobq.outcome'], 'failed')
  })

  test('many at once carry the context of their one span', async t => {
    const site = traced(t)
    await site.run(['enqueue', 'Resize', '--args-from', '-'], {input: '1\n2\n3\n'})
    assert.equal((await site.drain()).code, 0)
    const spans = spansOf(site)
    const [send] = spans
    assert.equal(send!.name, 'send')
    assert.equal(send!.attributes['messaging.batch.message_count'], 3)
    const links = spans.filter(({name}) => name === 'process Resize').map(({links}) => links)
    assert.deepEqual(
      links,
      Array.from({length: 3}, () => [send!.spanId]),
    )
  })

  test('what replaces a job links to the attempt that replaced it', async t => {
    const site = traced(t)
    await site.run(['enqueue', 'Resize', '--arg', '"swap"'])
    assert.equal((await site.drain()).code, 0)
    const [first, second] = spansOf(site).filter(({name}) => name === 'process Resize')
    assert.equal(first!.attributes['messaging.jobq.outcome'], 'replaced')
    assert.deepEqual(second!.links, [first!.spanId])
  })

  test('spans that the SDK holds back are sent before a process ends', async t => {
    const site = traced(t)
    const env = {BATCH: '1'}
    await site.run(['enqueue', 'Resize'], {env})
    assert.deepEqual(
      spansOf(site).map(({name}) => name),
      ['send Resize'],
    )
    assert.equal((await site.run(['work', '--drain'], {env})).code, 0)
    assert.deepEqual(
      spansOf(site).map(({name}) => name),
      ['send Resize', 'resize', 'process Resize'],
    )
  })
})

describe('Prometheus', () => {
  test("jobq work serves what all its workers do; other commands don't", async t => {
    const site = project(
      t,
      {
        Fine: 'export default {work: () => {}}',
        Bad: "export default {work: () => { throw new Error('no') }}",
      },
      `import {writeFileSync} from 'node:fs'
       import {defineConfig} from 'jobq'
       import {prometheus} from 'jobq/prometheus'
       const metrics = prometheus({port: 0})
       const say = {start: ({role}) => writeFileSync(role, String(metrics.url))}
       export default defineConfig({plugins: {metrics, say}})`,
    )
    site.worker('Shell', '#!/bin/sh\nexit 100\n')
    await site.enqueue(['Fine'], ['Fine'], ['Bad'], ['Shell'], ['Fine', {delay: 3600}])
    const work = site.work()
    await until('all are worked', () => site.count('job') === 1)
    const url = readFileSync(site.path('dispatcher'), 'utf8')
    let families = parseExposition('')
    const samples = (name: string) => Object.fromEntries(families.get(name)!.samples)
    await until('it has told that it is idle', async () => {
      families = parseExposition(await (await fetch(url)).text())
      return samples('jobq_workers')['jobq_workers{state="idle"}'] === 1
    })
    assert.deepEqual(samples('jobq_jobs_processed_total'), {
      'jobq_jobs_processed_total{func="Bad",outcome="failed"}': 1,
      'jobq_jobs_processed_total{func="Fine",outcome="completed"}': 2,
      'jobq_jobs_processed_total{func="Shell",outcome="aborted"}': 1,
    })
    assert.equal(samples('jobq_job_duration_seconds')['jobq_job_duration_seconds_count{func="Fine"}'], 2)
    assert.equal(samples('jobq_jobs')['jobq_jobs{func="Fine",state="delayed"}'], 1)
    assert.equal(readFileSync(site.path('worker'), 'utf8'), 'null')
    await site.run(['enqueue', 'Fine', '--delay', '1h'])
    assert.equal(readFileSync(site.path('command'), 'utf8'), 'null')
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('a port that is taken keeps jobq work from starting, with one line', async t => {
    const site = project(
      t,
      {Fine: 'export default {work: () => {}}'},
      `import {prometheus} from 'jobq/prometheus'
       export default {plugins: {metrics: prometheus({port: 1, host: '192.0.2.1'})}}`,
    )
    await site.enqueue(['Fine'])
    const {code, stderr} = await site.run(['work', '--drain'])
    assert.match(stderr, /^jobq: plugin metrics: start\(\) threw: can't listen on 192\.0\.2\.1:1 [^\n]*\n$/)
    assert.equal(code, 2)
    assert.equal(site.count('job'), 1)
  })
})

describe('the logger', () => {
  const LOGGING = `export default {work: job => job.plugin('logger').info('resized', {to: job.arg})}`

  test('writes lines of text into the log of jobq work, under the job', async t => {
    const site = project(
      t,
      {Resize: LOGGING},
      `import {logger} from 'jobq'\nexport default {plugins: {logger: logger()}}`,
    )
    await site.enqueue(['Resize', {arg: 'small.jpg'}])
    const {stderr} = await site.drain()
    assert.match(stderr, /^\S+Z 1 Resize \| info resized to=small\.jpg$/m)
  })

  test('writes JSON that is whole, too', async t => {
    const site = project(
      t,
      {Resize: LOGGING},
      `import {logger} from 'jobq'\nexport default {plugins: {logger: logger({format: 'json'})}}`,
    )
    await site.enqueue(['Resize', {arg: 'small.jpg'}])
    const {stdout} = await site.drain('--json')
    const lines = stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line))
    const {line} = lines.find(({event}) => event === 'output')
    const {time, ...rest} = JSON.parse(line)
    assert.ok(Date.parse(time) > 0)
    assert.deepEqual(rest, {level: 'info', id: 1, func: 'Resize', message: 'resized', to: 'small.jpg'})
  })
})
