/** The plugin for OpenTelemetry, with its real SDK: spans of enqueues and of attempts, and how they hang together. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {after, afterEach, before, describe, type TestContext, test} from 'node:test'
import {context, propagation, SpanKind, SpanStatusCode, trace} from '@opentelemetry/api'
import {AsyncLocalStorageContextManager} from '@opentelemetry/context-async-hooks'
import {W3CTraceContextPropagator} from '@opentelemetry/core'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/client/queue.ts'
import {type EnqueueCall, Hooks} from '../../src/lib/hooks/hooks.ts'
import {PluginSet} from '../../src/lib/hooks/plugin-set.ts'
import {DuplicateJobError, HookError} from '../../src/lib/jobs/errors.ts'
import type {EnqueuedJob, JobRow} from '../../src/lib/jobs/job.ts'
import type {Worker} from '../../src/lib/jobs/worker.ts'
import {type OpenTelemetryOptions, openTelemetry} from '../../src/lib/opentelemetry.ts'
import {readyWorker} from '../../src/lib/work/executors/ready-worker.ts'
import {runJob} from '../../src/lib/work/executors/run-job.ts'
import {RunningJob} from '../../src/lib/work/executors/running-job.ts'
import {tempFolder} from '../support/temp.ts'

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({spanProcessors: [new SimpleSpanProcessor(exporter)]})
const STORED: EnqueuedJob = {id: 7, func: 'Notify', uniqkey: null, priority: 3, runAfter: 0}

before(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(provider)
})
afterEach(() => exporter.reset())
after(() => {
  context.disable()
  propagation.disable()
  trace.disable()
})

function callOf(given: Partial<EnqueueCall> = {}): EnqueueCall {
  return {
    ...{func: 'Notify', arg: null, serializer: 'json', uniqkey: undefined, priority: 3, delay: undefined},
    ...{runAfter: undefined, context: {}, tracked: false},
    ...given,
  }
}

function rowOf(call: EnqueueCall, given: Partial<JobRow> = {}): JobRow {
  return {
    ...{id: 7, func: call.func, funcId: 1, arg: null, uniqkey: null, enqueueTime: 0, grabbedUntil: 9},
    ...{runAfter: 0, retryCnt: 2, priority: 3, context: JSON.stringify(call.context)},
    ...given,
  }
}

async function attempt(worker: Partial<Worker>, row: JobRow, options: OpenTelemetryOptions = {}) {
  const ready = readyWorker({work: () => {}, ...worker}, {}, row.func)
  const plugins = new PluginSet([['otel', openTelemetry(options)]])
  const support = {hooks: new Hooks(), plugins, serializer: 'json'} as const
  const {outcome} = await runJob(ready, new RunningJob(row, new AbortController(), plugins), support)
  return outcome
}

/** The one span of that name. */
function span(name: string): ReadableSpan {
  const found = exporter.getFinishedSpans().filter(span => span.name === name)
  assert.equal(found.length, 1, `${found.length} spans ${name}`)
  return found[0]!
}

describe('an enqueue', () => {
  const {aroundEnqueue} = new PluginSet([['otel', openTelemetry()]])

  test('is a span that tells what was sent, and the job carries its context', async () => {
    const call = callOf()
    let within: unknown
    await aroundEnqueue!(call, async () => {
      within = trace.getActiveSpan()
      return STORED
    })
    const send = span('send Notify')
    assert.equal(send.kind, SpanKind.PRODUCER)
    assert.deepEqual(send.attributes, {
      'messaging.system': 'jobq',
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'Notify',
      'messaging.jobq.priority': 3,
      'messaging.message.id': '7',
    })
    assert.equal(send.status.code, SpanStatusCode.UNSET)
    assert.equal(send.instrumentationScope.name, 'jobq')
    assert.match(send.instrumentationScope.version!, /^\d+\.\d+\.\d+/)
    const {traceId, spanId} = send.spanContext()
    assert.deepEqual(call.context, {traceparent: `00-${traceId}-${spanId}-01`})
    assert.equal((within as ReadableSpan | undefined)?.name, 'send Notify')
  })

  test("is a child of the application's span", async () => {
    await trace.getTracer('app').startActiveSpan('request', async request => {
      await aroundEnqueue!(callOf(), async () => STORED)
      request.end()
    })
    assert.equal(span('send Notify').parentSpanContext?.spanId, span('request').spanContext().spanId)
  })

  test('with several databases the id says which', async () => {
    await aroundEnqueue!(callOf(), async () => ({...STORED, db: 2}))
    assert.equal(span('send Notify').attributes['messaging.message.id'], '2:7')
  })

  test('that is refused ends its span as an error', async () => {
    const error = new DuplicateJobError('Notify', 'k', 5)
    await assert.rejects(
      aroundEnqueue!(callOf(), async (): Promise<EnqueuedJob> => {
        throw error
      }),
      error,
    )
    const {status, attributes, events} = span('send Notify')
    assert.deepEqual(status, {code: SpanStatusCode.ERROR, message: error.message})
    assert.equal(attributes['error.type'], 'DUPLICATE')
    assert.equal(attributes['messaging.message.id'], undefined)
    assert.deepEqual(
      events.map(({name}) => name),
      ['exception'],
    )
  })

  test('that a hook at postEnqueue spoils is an error of a job that has an id', async () => {
    const error = new HookError('HOOK_FAILED', 'bad', 'postEnqueue', 'threw', {stored: {id: 7}})
    await assert.rejects(
      aroundEnqueue!(callOf(), async (): Promise<EnqueuedJob> => {
        throw error
      }),
      error,
    )
    const {attributes} = span('send Notify')
    assert.equal(attributes['error.type'], 'HOOK_FAILED')
    assert.equal(attributes['messaging.message.id'], '7')
  })

  test('in a transaction of better-sqlite3 needs no promise', () => {
    assert.equal(
      aroundEnqueue!(callOf(), () => STORED),
      STORED,
    )
    assert.equal(span('send Notify').attributes['messaging.message.id'], '7')
    exporter.reset()
    const error = new TypeError('no')
    assert.throws(
      () =>
        aroundEnqueue!(callOf(), (): EnqueuedJob => {
          throw error
        }),
      error,
    )
    assert.equal(span('send Notify').attributes['error.type'], 'TypeError')
  })

  test('of many is one span, whose context all of them carry', async () => {
    const hooks = new Hooks().register(...new PluginSet([['otel', openTelemetry()]]).hooks)
    const calls = [callOf(), callOf({func: 'Other'})]
    await aroundEnqueue!(null, async () => {
      for (const call of calls) await hooks.run('preEnqueue', call)
      return calls.length
    })
    const send = span('send')
    assert.equal(send.attributes['messaging.batch.message_count'], 2)
    assert.equal(send.attributes['messaging.destination.name'], undefined)
    const {traceId, spanId} = send.spanContext()
    for (const call of calls) assert.deepEqual(call.context, {traceparent: `00-${traceId}-${spanId}-01`})
  })

  test("a context of the application's own stays, and the span links to it", async () => {
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const call = callOf({context: {traceparent, tenant: 'x'}})
    await aroundEnqueue!(call, async () => STORED)
    assert.deepEqual(call.context, {traceparent, tenant: 'x'})
    const send = span('send Notify')
    assert.equal(send.kind, SpanKind.CLIENT)
    assert.deepEqual(
      send.links.map(({context: {spanId}}) => spanId),
      ['b'.repeat(16)],
    )
  })
})

describe('an attempt', () => {
  async function sent(): Promise<EnqueueCall> {
    const call = callOf()
    await new PluginSet([['otel', openTelemetry()]]).aroundEnqueue!(call, async () => STORED)
    return call
  }

  test("is a span of a trace of its own that links to the enqueue's; the worker's are its children", async () => {
    const call = await sent()
    const work = () => trace.getTracer('app').startActiveSpan('resize', async inner => inner.end())
    assert.deepEqual(await attempt({work}, rowOf(call)), {kind: 'completed'})
    const [send, process] = [span('send Notify'), span('process Notify')]
    assert.equal(process.kind, SpanKind.CONSUMER)
    assert.deepEqual(process.attributes, {
      'messaging.system': 'jobq',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'Notify',
      'messaging.message.id': '7',
      'messaging.jobq.priority': 3,
      'messaging.jobq.retry_count': 2,
      'messaging.jobq.outcome': 'completed',
    })
    assert.equal(process.status.code, SpanStatusCode.UNSET)
    assert.equal(process.parentSpanContext, undefined)
    assert.notEqual(process.spanContext().traceId, send.spanContext().traceId)
    assert.equal(process.links.length, 1)
    assert.deepEqual(
      [process.links[0]!.context.traceId, process.links[0]!.context.spanId],
      [send.spanContext().traceId, send.spanContext().spanId],
    )
    assert.equal(span('resize').parentSpanContext?.spanId, process.spanContext().spanId)
  })

  test('begins its own trace wherever it is dispatched from', async () => {
    const call = await sent()
    await trace.getTracer('app').startActiveSpan('dispatching', async outer => {
      await attempt({}, rowOf(call))
      outer.end()
    })
    assert.equal(span('process Notify').parentSpanContext, undefined)
  })

  test('with sameTrace it is a child, and links all the same', async () => {
    const call = await sent()
    await attempt({}, rowOf(call), {sameTrace: true})
    const [send, process] = [span('send Notify').spanContext(), span('process Notify')]
    assert.equal(process.parentSpanContext?.spanId, send.spanId)
    assert.equal(process.spanContext().traceId, send.traceId)
    assert.equal(process.links[0]?.context.spanId, send.spanId)
  })

  test('at a job that carries no context has no link', async () => {
    await attempt({}, rowOf(callOf()))
    assert.deepEqual(span('process Notify').links, [])
  })

  test('at a job whose context is none of a trace, or a damaged one, has no link', async () => {
    await attempt({}, rowOf(callOf({context: {traceparent: 'nonsense', tenant: 'x'}})))
    assert.deepEqual(span('process Notify').links, [])
  })

  class NoSuchUser extends Error {}
  const failures: [title: string, work: Worker['work'], type: string, message: RegExp][] = [
    ['throws', () => Promise.reject(new NoSuchUser('ada')), 'NoSuchUser', /^ada$/],
    ['throws a plain error', () => Promise.reject(new Error('no')), 'Error', /^no$/],
    ['throws something else', () => Promise.reject('no'), '_OTHER', /^no$/],
  ]
  for (const [title, work, type, message] of failures)
    test(`that ${title} is an error`, async () => {
      await attempt({work, maxRetries: 5, retryDelay: 60}, rowOf(callOf()))
      const {status, attributes, events} = span('process Notify')
      assert.equal(status.code, SpanStatusCode.ERROR)
      assert.match(status.message!, message)
      assert.equal(attributes['error.type'], type)
      assert.equal(attributes['messaging.jobq.outcome'], 'failed')
      assert.equal(attributes['messaging.jobq.retry_in'], 60)
      assert.equal(events[0]?.name, 'exception')
    })

  test('that is aborted is an error, without an exception', async () => {
    await attempt({work: job => job.abort('too old')}, rowOf(callOf()))
    const {status, attributes, events} = span('process Notify')
    assert.deepEqual(status, {code: SpanStatusCode.ERROR, message: 'too old'})
    assert.equal(attributes['error.type'], 'aborted')
    assert.equal(attributes['messaging.jobq.outcome'], 'aborted')
    assert.deepEqual(events, [])
  })

  test('at what can not be decoded is an error', async () => {
    await attempt({}, rowOf(callOf(), {arg: Buffer.from('{')}))
    assert.equal(span('process Notify').attributes['error.type'], 'BAD_ARGUMENT')
  })
})

describe('in a queue', () => {
  async function open(t: TestContext) {
    const db = join(tempFolder(t), 'jobs.db')
    const queue = await JobQueue.open({db, plugins: {tracing: openTelemetry()}})
    t.after(() => queue.close())
    const caller = new Sqlite(db)
    t.after(() => caller.close())
    return {queue, caller}
  }

  test("an enqueue in the application's own transaction is traced to its attempt", async t => {
    const {queue, caller} = await open(t)
    const job = caller.transaction(() => queue.enqueueIn(caller, 'Notify', {arg: 1}))()
    const send = span('send Notify')
    assert.equal(send.attributes['messaging.message.id'], String(job.id))
    await queue.work({mode: 'drain', workers: {Notify: () => {}}})
    assert.equal(span('process Notify').links[0]?.context.spanId, send.spanContext().spanId)
  })

  test('a second attempt links to the same enqueue', async t => {
    const {queue} = await open(t)
    await queue.enqueue('Notify')
    const Notify = {maxRetries: 1, work: () => Promise.reject(new Error('no'))}
    await queue.work({mode: 'drain', workers: {Notify}})
    const {spanId} = span('send Notify').spanContext()
    const attempts = exporter.getFinishedSpans().filter(({name}) => name === 'process Notify')
    assert.deepEqual(
      attempts.map(({links, attributes}) => [
        links[0]?.context.spanId,
        attributes['messaging.jobq.retry_count'],
        attributes['messaging.jobq.retry_in'],
      ]),
      [
        [spanId, 0, 0],
        [spanId, 1, undefined],
      ],
    )
  })

  test('what a worker enqueues belongs to its attempt', async t => {
    const {queue} = await open(t)
    await queue.enqueue('Notify')
    await queue.work({mode: 'drain', workers: {Notify: () => queue.enqueue('Mail', {delay: 60})}})
    assert.equal(span('send Mail').parentSpanContext?.spanId, span('process Notify').spanContext().spanId)
  })
})

describe('openTelemetry()', () => {
  test('takes a provider of its own, and sends what that holds when it stops', async () => {
    const own = new InMemorySpanExporter()
    const held = new BatchSpanProcessor(own, {scheduledDelayMillis: 3_600_000})
    const plugin = openTelemetry({tracerProvider: new BasicTracerProvider({spanProcessors: [held]})})
    await plugin.aroundEnqueue!(callOf(), async () => STORED)
    assert.equal(own.getFinishedSpans().length, 0)
    await plugin.stop!()
    assert.equal(own.getFinishedSpans().length, 1)
    assert.equal(exporter.getFinishedSpans().length, 0)
    await openTelemetry().stop!() // the global one
  })

  const mistakes: [options: object, message: RegExp][] = [
    [{sameTrce: true}, /unknown option sameTrce/],
    [{sameTrace: 'yes'}, /openTelemetry: sameTrace: expected true or false, got "yes"/],
    [{tracerProvider: {}}, /tracerProvider: expected a TracerProvider/],
  ]
  for (const [options, message] of mistakes)
    test(`${JSON.stringify(options)} is refused`, () =>
      assert.throws(() => openTelemetry(options as OpenTelemetryOptions), {code: 'USAGE', message}))
})
