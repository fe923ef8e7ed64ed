/** A queue for as long as a command takes, with its plugins: what they do wrong at the end is told, and holds up nothing. */
import type {Settings} from '../config.ts'
import type {PluginContext} from '../plugins.ts'
import {JobQueue} from '../queue.ts'
import type {QueueOptions} from '../queue-options.ts'
import {complain} from './output-guard.ts'

/** What keeps the process alive once its command is done is a plugin's: for so long it may finish. */
const PATIENCE_MS = 1000

/** @param role what plugins are told; null: without plugins, and without hooks */
export async function withQueue<T>(
  settings: Settings,
  role: PluginContext['role'] | null,
  options: Pick<QueueOptions, 'onTrouble' | 'durable' | 'patient'>,
  use: (queue: JobQueue) => Promise<T>,
): Promise<T> {
  const onTrouble = (message: string) => complain(`jobq: ${message}\n`)
  const queue = await JobQueue.openWith(settings, role, {onTrouble, ...options})
  try {
    return await use(queue)
  } finally {
    await queue.close()
    if (!queue.support.plugins.isEmpty) setTimeout(() => process.exit(), PATIENCE_MS).unref()
  }
}
