/**
 * What an application has put around its jobs, in this process: hooks and plugins, from the configuration and from the
 * options of JobQueue.open(). Where there are none, nothing of this is loaded.
 */
import {ConfigError, JobqError} from '../jobs/errors.ts'
import {absolutePath} from '../jobs/here.ts'
import type {Plugins} from '../jobs/plugins.ts'
import type {SerializerName} from '../jobs/serializers/serializers.ts'
import {type Hook, Hooks} from './hooks.ts'
import {PluginSet} from './plugin-set.ts'

export interface Extensions {
  readonly hooks: Hooks
  readonly plugins: PluginSet
  /** How arguments are encoded where nothing else is said. */
  readonly serializer: SerializerName
}

/** As the configuration and JobQueue.open() take them. A path is that of a module whose default export is it. */
export interface SupportOptions {
  /** Called in this order. */
  hooks?: readonly (Hook | string)[] | undefined
  /** By the name that jobs reach them by. */
  plugins?: PluginOptions | undefined
  /** Seconds until a hook that does not resolve is given up; 0: never. Default 30. */
  hookTimeout?: number | undefined
  /** How arguments are encoded where an enqueue does not say. Default: the configuration's, else 'json'. */
  serializer?: SerializerName | undefined
}

/** No hooks and no plugins. */
export const NO_EXTENSIONS: Extensions = {hooks: new Hooks(), plugins: new PluginSet(), serializer: 'json'}

/** Plugins, or paths of modules that export one by default, by the name that jobs reach them by. */
export type PluginOptions = {readonly [Name in keyof Plugins]?: Plugins[Name] | string} & {
  readonly [name: string]: object | string
}

/**
 * Hooks are called in this order: the configuration's, those of its plugins, the options', those of their plugins.
 * @param folder what relative paths of the configuration mean; undefined, and for the options': the current one
 * @throws ConfigError, PluginError, UsageError
 */
export async function loadExtensions(
  config: SupportOptions,
  folder: string | undefined,
  options: SupportOptions = {},
): Promise<Extensions> {
  const sources: [from: SupportOptions, folder: string | undefined][] = [
    [config, folder],
    [options, undefined],
  ]
  const hooks = new Hooks(options.hookTimeout ?? config.hookTimeout)
  const all = new Map<string, object>()
  for (const [from, base] of sources) {
    hooks.register(...(await loadHooks(from.hooks ?? [], base)))
    const plugins = await loadPlugins(from.plugins ?? {}, base)
    hooks.register(...new PluginSet(plugins).hooks)
    for (const [name, plugin] of plugins) all.set(name, plugin)
  }
  const serializer = options.serializer ?? config.serializer ?? 'json'
  return {hooks, plugins: new PluginSet(all), serializer}
}

/** A module may export one hook, or an array of them. */
async function loadHooks(hooks: readonly (Hook | string)[], folder: string | undefined): Promise<Hook[]> {
  const loaded: Hook[] = []
  for (const [i, hook] of hooks.entries()) {
    if (typeof hook !== 'string') {
      loaded.push(hook)
      continue
    }
    const write = `export default {name: '…', preEnqueue(call) {…}}`
    loaded.push(...[(await load(`hooks.${i}`, hook, folder, write)) as Hook | Hook[]].flat())
  }
  return loaded
}

async function loadPlugins(plugins: PluginOptions, folder: string | undefined): Promise<[string, object][]> {
  const loaded: [string, object][] = []
  for (const [name, plugin] of Object.entries(plugins as Record<string, object | string>)) {
    const write = 'export default {start() {…}, …}'
    const value = typeof plugin === 'string' ? await load(`plugins.${name}`, plugin, folder, write) : plugin
    loaded.push([name, value as object])
  }
  return loaded
}

async function load(what: string, path: string, folder: string | undefined, write: string): Promise<unknown> {
  const {loadDefault} = await import('../config/load.ts')
  try {
    return await loadDefault(absolutePath(path, folder), write, `check ${what}`)
  } catch (cause) {
    if (!(cause instanceof JobqError)) throw cause
    throw new ConfigError(`${what}: ${cause.message}`, {hint: cause.hint, cause})
  }
}
