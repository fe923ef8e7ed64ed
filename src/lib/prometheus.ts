/**
 * jobq's metrics for prom-client, as a plugin: `import {prometheus} from 'jobq/prometheus'`.
 *
 * Gauges are read from the database at each scrape, and are the same as those of `jobq stats --prometheus`. Counters and
 * histograms are counted from this process's events, since it started. They are kept where jobs are enqueued or
 * dispatched: in an application, and in `jobq work` itself, for all of its processes. A command that is done soon has
 * no one to scrape it; there this does nothing, and prom-client is not even loaded.
 *
 * @module jobq/prometheus
 */
import {createServer, type Server, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import type * as PromClient from 'prom-client'
import type {Plugin, PluginContext} from './client/plugin.ts'
import type {JobQueue} from './client/queue.ts'
import type {EventName, JobqEvents} from './hooks/events.ts'
import {isPassing, StoreError, UsageError} from './jobs/errors.ts'
import {listenOn} from './jobs/listen.ts'
import {
  type AttemptOutcome,
  DURATION_BUCKETS,
  funcLabel,
  jobsSamples,
  latencySamples,
  METRICS,
  type Metric,
  type Sample,
  scheduleSamples,
  WAIT_BUCKETS,
  workersSamples,
} from './jobs/metrics.ts'
import {checkOptions, is} from './jobs/options.ts'
import type {FuncCounts} from './jobs/stats.ts'

/** Where the metrics go, and where they are served. */
export interface PrometheusOptions {
  /** Default: prom-client's own `register`. Each queue needs one of its own. */
  register?: PromClient.Registry | undefined
  /** Where `jobq work` serves /metrics; an application serves its registry itself. Default: nowhere. */
  port?: number | undefined
  /** Default 127.0.0.1: this host only. */
  host?: string | undefined
}

/** What `prometheus()` makes: a plugin for `plugins` of the configuration or of `JobQueue.open()`. */
export interface PrometheusPlugin extends Plugin {
  /** Where the metrics are served, null while they are not. */
  readonly url: string | null
}

/**
 * A plugin that keeps jobq's metrics in a registry of prom-client, which must be installed.
 * @throws UsageError for an option that can't be meant
 */
export function prometheus(options: PrometheusOptions = {}): PrometheusPlugin {
  checkOptions(options, 'prometheus', {register: is.object, port: is.port, host: is.text})
  return new Metrics(options)
}

class Metrics implements PrometheusPlugin {
  readonly #options: PrometheusOptions
  #server: Server | null = null
  #undo: (() => void) | null = null

  constructor(options: PrometheusOptions) {
    this.#options = options
  }

  get url(): string | null {
    if (this.#server === null) return null
    const {address, family, port} = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`
  }

  /** @throws UsageError, ServerError */
  async start({role, queue}: PluginContext): Promise<void> {
    if (queue === null || role === 'command' || role === 'worker') return
    if (this.#undo)
      throw new UsageError('expected a plugin of its own for each queue, got one that another queue has', {
        hint: 'write prometheus({register: new Registry()}) for each',
      })
    const client = await import('prom-client')
    const {register = client.register, port, host = '127.0.0.1'} = this.#options
    this.#undo = collect(client, register, queue)
    if (port === undefined || role !== 'dispatcher') return
    try {
      this.#server = await serve(register, host, port)
    } catch (error) {
      this.#undo()
      this.#undo = null
      throw error
    }
  }

  stop(): void {
    this.#undo?.()
    this.#undo = null
    this.#server?.close()
    this.#server?.closeAllConnections()
    this.#server = null
  }
}

/** @returns what takes it all away again */
function collect(client: typeof PromClient, register: PromClient.Registry, queue: JobQueue): () => void {
  const taken = Object.values(METRICS).find(({name}) => register.getSingleMetric(name) !== undefined)
  if (taken)
    throw new UsageError(`expected a registry for this queue, got one that has ${taken.name} already`, {
      hint: 'give each queue a registry of its own: prometheus({register: new Registry()})',
    })
  addGauges(client, register, queue)
  const stopCounting = addCounters(client, register, queue)
  return () => {
    stopCounting()
    for (const {name} of Object.values(METRICS)) register.removeSingleMetric(name)
  }
}

function addGauges(client: typeof PromClient, register: PromClient.Registry, queue: JobQueue): void {
  // Both ask at the same scrape: it is one read
  let counts: Promise<FuncCounts[]> | null = null
  const readCounts = () => {
    counts ??= queue.counts().finally(() => (counts = null))
    return counts
  }
  const gauge = (metric: Metric, samples: () => Promise<Sample[]>) =>
    new client.Gauge({
      ...described(metric, register),
      async collect() {
        const now = await samples()
        this.reset()
        for (const {labels, value} of now) this.set(labels, value)
      },
    })
  gauge(METRICS.jobs, async () => jobsSamples(await readCounts()))
  gauge(METRICS.latency, async () => latencySamples(await readCounts()))
  gauge(METRICS.scheduleNext, async () => scheduleSamples(await queue.schedules(), 'next'))
  gauge(METRICS.scheduleLast, async () => scheduleSamples(await queue.schedules(), 'last'))
  gauge(METRICS.workers, async () => {
    try {
      return workersSamples(await queue.managers())
    } catch (error) {
      if (!(error instanceof StoreError) || isPassing(error)) throw error
      return [] // its table, or the GRANT, is missing: all else can be told
    }
  })
}

function addCounters(client: typeof PromClient, register: PromClient.Registry, queue: JobQueue): () => void {
  const enqueued = new client.Counter(described(METRICS.enqueued, register))
  const processed = new client.Counter(described(METRICS.processed, register))
  const duration = new client.Histogram({
    ...described(METRICS.duration, register),
    buckets: [...DURATION_BUCKETS],
  })
  const wait = new client.Histogram({...described(METRICS.wait, register), buckets: [...WAIT_BUCKETS]})
  const ended = (func: string, outcome: AttemptOutcome, durationMs: number | null) => {
    processed.inc({func: funcLabel(func), outcome})
    if (durationMs !== null) duration.observe({func: funcLabel(func)}, durationMs / 1000)
  }
  const undo = [
    listen(queue, 'enqueue', ({func}) => enqueued.inc({func: funcLabel(func)})),
    listen(queue, 'enqueueMany', ({funcs}) => {
      for (const [func, count] of Object.entries(funcs)) enqueued.inc({func: funcLabel(func)}, count)
    }),
    listen(queue, 'retry', ({func, exceptionId}) => {
      if (exceptionId !== null) enqueued.inc({func: funcLabel(func)})
    }),
    listen(queue, 'grab', ({func, waitMs}) => wait.observe({func: funcLabel(func)}, waitMs / 1000)),
    listen(queue, 'finish', ({func, outcome, durationMs}) =>
      ended(func, outcome === 'replaced' ? 'completed' : outcome, durationMs),
    ),
    listen(queue, 'fail', ({func, outcome, durationMs}) => ended(func, outcome, durationMs)),
  ]
  return () => {
    for (const off of undo) off()
  }
}

function listen<Name extends EventName>(
  queue: JobQueue,
  name: Name,
  listener: (event: JobqEvents[Name]) => void,
): () => void {
  queue.on(name, listener)
  return () => queue.off(name, listener)
}

function described({name, labels, live, stored}: Metric, register: PromClient.Registry) {
  return {name, help: live ?? stored ?? '', labelNames: [...labels], registers: [register]}
}

/** @throws ServerError if it can't listen there */
function serve(register: PromClient.Registry, host: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url?.split('?', 1)[0] === '/metrics') void answer(register, response)
    else response.writeHead(404, {'content-type': 'text/plain'}).end('expected /metrics\n')
  })
  return listenOn(server, host, port, 'choose another port for prometheus()')
}

/** A database that is out of reach fails the scrape: what is not known is not told. */
async function answer(register: PromClient.Registry, response: ServerResponse): Promise<void> {
  try {
    const text = await register.metrics()
    response.writeHead(200, {'content-type': register.contentType}).end(text)
  } catch (error) {
    response.writeHead(500, {'content-type': 'text/plain'}).end(`${(error as Error).message}\n`)
  }
}
