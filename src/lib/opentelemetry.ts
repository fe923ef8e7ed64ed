/**
 * Spans for OpenTelemetry, as a plugin: `import {openTelemetry} from 'jobq/opentelemetry'`.
 *
 * By the semantic conventions for messaging (1.44): an enqueue is a span `send FUNC` of kind PRODUCER, an attempt at the
 * job a span `process FUNC` of kind CONSUMER. The first one's context travels with the job, beside its argument, and the
 * second one links to it. What a worker does is within its span. The application sets up the SDK; without one, the API's
 * own functions do nothing.
 *
 * @module jobq/opentelemetry
 */
import {createRequire} from 'node:module'
import {
  type Context,
  context,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import type {Plugin} from './client/plugin.ts'
import type {EnqueueCall, Hook} from './hooks/hooks.ts'
import type {AttemptEnd} from './hooks/plugins.ts'
import {HookError, JobqError, UsageError} from './jobs/errors.ts'
import {type EnqueuedJob, idOf, type RowRef} from './jobs/job.ts'
import {checkOptions, is} from './jobs/options.ts'
import type {Job} from './jobs/worker.ts'

/** Where the spans go, and how those of an attempt stand to those of its enqueue. */
export interface OpenTelemetryOptions {
  /** Default: the one that is registered globally. */
  tracerProvider?: TracerProvider | undefined
  /**
   * true: the span of an attempt belongs to the enqueue's trace, as its child. Default false: it begins a trace of its
   * own. It links to the enqueue's span either way.
   */
  sameTrace?: boolean | undefined
}

const {version} = createRequire(import.meta.url)('../../package.json') as {version: string}

/**
 * A plugin that makes spans, for `plugins` of the configuration or of `JobQueue.open()`; @opentelemetry/api must be
 * installed.
 * @throws UsageError for an option that can't be meant
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Plugin {
  checkOptions(options, 'openTelemetry', {tracerProvider: provider, sameTrace: is.yesNo})
  return new Spans(options)
}

class Spans implements Plugin {
  readonly #provider: TracerProvider | undefined
  readonly #sameTrace: boolean

  constructor({tracerProvider, sameTrace = false}: OpenTelemetryOptions) {
    this.#provider = tracerProvider
    this.#sameTrace = sameTrace
  }

  /** Of many, and of those that replace another job: they get what is in force where they are enqueued. */
  readonly hooks: Hook = {
    name: 'opentelemetry',
    preEnqueue(call) {
      if (!creationOf(call.context)) propagation.inject(context.active(), call.context)
    },
  }

  aroundEnqueue<Result extends EnqueuedJob | Promise<EnqueuedJob | number>>(
    call: EnqueueCall | null,
    enqueue: () => Result,
  ): Result {
    // What the application has put there is the job's, and the span says so by a link
    const given = call && creationOf(call.context)
    const span = this.#tracer.startSpan(call ? `send ${call.func}` : 'send', {
      kind: given ? SpanKind.CLIENT : SpanKind.PRODUCER,
      links: given ? [given] : [],
      attributes: {
        ...operation('send'),
        ...(call ? {'messaging.destination.name': call.func, 'messaging.jobq.priority': call.priority} : {}),
      },
    })
    const active = trace.setSpan(context.active(), span)
    if (call && !given) propagation.inject(active, call.context)
    return whenSent(span, () => context.with(active, enqueue))
  }

  async aroundWork(job: Job, work: () => Promise<AttemptEnd>): Promise<AttemptEnd> {
    const created = propagation.extract(ROOT_CONTEXT, job.context)
    const link = linkTo(created)
    const parent = this.#sameTrace ? created : trace.deleteSpan(created) // baggage travels in any case
    const attributes = {
      ...operation('process'),
      'messaging.destination.name': job.func,
      'messaging.message.id': String(idOf(job)),
      'messaging.jobq.priority': job.priority,
      'messaging.jobq.retry_count': job.retryCnt,
    }
    const options = {kind: SpanKind.CONSUMER, links: link ? [link] : [], attributes}
    const span = this.#tracer.startSpan(`process ${job.func}`, options, parent)
    try {
      const end = await context.with(trace.setSpan(parent, span), work)
      describeEnd(span, end)
      return end
    } finally {
      span.end()
    }
  }

  /** What the SDK still holds is sent before the process ends. */
  async stop(): Promise<void> {
    const provider = this.#provider ?? trace.getTracerProvider()
    const real = 'getDelegate' in provider ? (provider.getDelegate as () => TracerProvider)() : provider
    await (real as {forceFlush?(): Promise<void>}).forceFlush?.()
  }

  get #tracer(): Tracer {
    return (this.#provider ?? trace).getTracer('jobq', version)
  }
}

function operation(name: 'send' | 'process') {
  return {
    'messaging.system': 'jobq',
    'messaging.operation.name': name,
    'messaging.operation.type': name,
  }
}

function creationOf(carrier: Readonly<Record<string, string>>): Link | null {
  return linkTo(propagation.extract(ROOT_CONTEXT, carrier))
}

function linkTo(remote: Context): Link | null {
  const spanContext = trace.getSpanContext(remote)
  return spanContext ? {context: spanContext} : null
}

/** Ends the span with what becomes of the enqueue, at once or when its promise settles. */
function whenSent<Result extends EnqueuedJob | Promise<EnqueuedJob | number>>(
  span: Span,
  enqueue: () => Result,
): Result {
  const refused = (error: unknown): never => {
    if (error instanceof HookError && error.stored) describeSent(span, error.stored)
    describeError(span, error)
    span.end()
    throw error
  }
  const sent = <Sent extends EnqueuedJob | number>(result: Sent): Sent => {
    describeSent(span, result)
    span.end()
    return result
  }
  let result: Result
  try {
    result = enqueue()
  } catch (error) {
    return refused(error)
  }
  if (result instanceof Promise) return result.then(sent, refused) as Result
  return sent(result as EnqueuedJob & Result)
}

function describeSent(span: Span, sent: RowRef | number): void {
  if (typeof sent === 'number') span.setAttribute('messaging.batch.message_count', sent)
  else span.setAttribute('messaging.message.id', String(idOf(sent)))
}

function describeEnd(span: Span, {outcome, message, error, retryIn}: AttemptEnd): void {
  span.setAttribute('messaging.jobq.outcome', outcome)
  if (retryIn !== null) span.setAttribute('messaging.jobq.retry_in', retryIn)
  if (outcome === 'failed' || outcome === 'died') describeError(span, error)
  if (outcome !== 'aborted') return
  span.setAttribute('error.type', 'aborted')
  span.setStatus({code: SpanStatusCode.ERROR, message})
}

function describeError(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error))
  const exception = error instanceof Error ? error : String(error)
  span.recordException(exception)
  span.setStatus({
    code: SpanStatusCode.ERROR,
    message: exception instanceof Error ? exception.message : exception,
  })
}

/** A word that many errors share: jobq's own code, or the name of the class. */
function errorType(error: unknown): string {
  if (error instanceof JobqError) return error.code
  if (!(error instanceof Error)) return '_OTHER'
  return error.name === 'Error' ? error.constructor.name : error.name
}
const provider = (value: unknown, what: string) => {
  if (typeof (value as TracerProvider | null)?.getTracer !== 'function')
    throw new UsageError(`${what}: expected a TracerProvider, got something else`)
}
