/** The plugins of one process, checked, started and stopped. */
import {PluginError} from '../jobs/errors.ts'
import type {PluginOf} from '../jobs/plugins.ts'
import {isThenable, kindOf} from '../jobs/value.ts'
import type {Job} from '../jobs/worker.ts'
import type {Hook} from './hooks.ts'
import type {Plugin, PluginContext} from './plugins.ts'

/** How long a plugin may take to stop. */
const STOP_MS = 5000

export class PluginSet {
  /** An attempt within what the plugins put around it, the first one outermost; null if none does. */
  readonly aroundWork: NonNullable<Plugin['aroundWork']> | null
  /** An enqueue within what the plugins put around it, the first one outermost; null if none does. */
  readonly aroundEnqueue: NonNullable<Plugin['aroundEnqueue']> | null
  readonly #plugins: ReadonlyMap<string, Plugin>
  #started: [name: string, plugin: Plugin][] = []

  /** @throws PluginError for what is no object, or has something else where jobq looks for a function */
  constructor(plugins: Iterable<readonly [name: string, plugin: unknown]> = []) {
    this.#plugins = new Map([...plugins].map(([name, plugin]) => [name, checked(name, plugin)]))
    const all = [...this.#plugins.values()]
    const aroundWork = all.filter(({aroundWork}) => aroundWork)
    this.aroundWork =
      aroundWork.length === 0
        ? null
        : (job, work) =>
            aroundWork.reduceRight((inner, plugin) => () => plugin.aroundWork!(job, inner), work)()
    const aroundEnqueue = all.filter(({aroundEnqueue}) => aroundEnqueue)
    this.aroundEnqueue =
      aroundEnqueue.length === 0
        ? null
        : (call, enqueue) =>
            madeOnce(enqueue, once =>
              aroundEnqueue.reduceRight((inner, plugin) => () => plugin.aroundEnqueue!(call, inner), once)(),
            )
  }

  get isEmpty(): boolean {
    return this.#plugins.size === 0
  }

  /** @param job who asks for it, if it is a job. @throws PluginError if there is none of that name */
  get<Name extends string>(name: Name, job?: Job): PluginOf<Name> {
    const plugin = this.#plugins.get(name)
    if (plugin !== undefined) return (job && plugin.forJob ? plugin.forJob(job) : plugin) as PluginOf<Name>
    const names = [...this.#plugins.keys()]
    throw new PluginError(`no plugin ${JSON.stringify(name)}`, {
      hint:
        names.length === 0
          ? 'there are none: name it in `plugins` of the configuration or of JobQueue.open()'
          : `known are ${names.join(', ')}`,
    })
  }

  /** Those of all plugins, in their order. */
  get hooks(): Hook[] {
    return [...this.#plugins.values()].flatMap(({hooks = []}) => hooks)
  }

  /** Starts them, one after the other; if one can't be started, stops those that were. @throws PluginError */
  async start(context: PluginContext): Promise<void> {
    for (const [name, plugin] of this.#plugins) {
      try {
        await plugin.start?.(context)
      } catch (cause) {
        await this.stop().catch(() => {}) // the first failure is the one to tell
        throw failed(name, 'start', cause)
      }
      this.#started.push([name, plugin])
    }
  }

  /** Stops all that were started, the last one first, even if one can't be stopped. @throws PluginError */
  async stop(): Promise<void> {
    const started = this.#started.reverse()
    this.#started = []
    const failures: PluginError[] = []
    for (const [name, plugin] of started) {
      try {
        await inTime(plugin.stop?.(), STOP_MS)
      } catch (cause) {
        failures.push(failed(name, 'stop', cause))
      }
    }
    if (failures[0]) throw failures[0]
  }
}

/**
 * What `make` makes, however often what is around it calls for it and whatever that returns: that is the job that is stored.
 * @throws PluginError, or rejects with it, if it was not called; what it or what is around it throws
 */
function madeOnce<Result>(make: () => Result, around: (once: () => Result) => Result): Result {
  let made: {result: Result} | undefined
  const result = () => {
    if (made) return made.result
    throw new PluginError('a plugin did not call enqueue() in its aroundEnqueue()')
  }
  const returned = around(() => {
    made ??= {result: make()}
    return made.result
  })
  return isThenable(returned) ? (returned.then(result) as Result) : result()
}

function checked(name: string, plugin: unknown): Plugin {
  if (typeof plugin !== 'object' || plugin === null)
    throw new PluginError(`plugin ${name}: expected an object, got ${kindOf(plugin)}`)
  for (const key of ['start', 'stop', 'aroundWork', 'aroundEnqueue', 'forJob'] as const) {
    const value = (plugin as Plugin)[key] as unknown
    if (value !== undefined && typeof value !== 'function')
      throw new PluginError(`plugin ${name}: ${key}: expected a function, got ${typeof value}`)
  }
  return plugin
}

async function inTime(stopped: unknown, ms: number): Promise<void> {
  const patience = new AbortController()
  const late = async () => {
    const {setTimeout: sleep} = await import('node:timers/promises')
    await sleep(ms, undefined, patience)
    throw new Error(`expected an end within ${ms / 1000} s, got none`)
  }
  try {
    await Promise.race([stopped, late()])
  } finally {
    patience.abort()
  }
}

function failed(name: string, what: string, cause: unknown): PluginError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new PluginError(`plugin ${name}: ${what}() threw: ${reason}`, {cause})
}
