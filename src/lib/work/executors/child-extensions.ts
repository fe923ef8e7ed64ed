/**
 * Loads the hooks and plugins of a pool's child from the configuration file. It is a file of its own, so that a child
 * without them loads nothing of it.
 */
import {dirname} from 'node:path'
import {loadConfig} from '../../config/settings.ts'
import {type Extensions, loadExtensions} from '../../hooks/extensions.ts'

/** Loads them and starts the plugins. @throws ConfigError, PluginError, UsageError */
export async function startExtensions(file: string): Promise<Extensions> {
  const extensions = await loadExtensions(await loadConfig(file), dirname(file))
  await extensions.plugins.start({role: 'worker', queue: null})
  return extensions
}
