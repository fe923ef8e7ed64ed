/** A queue for as long as a command takes, with its plugins: what they do wrong at the end is told, and holds up nothing. */

import type {QueueOptions} from '../client/options.ts'
import {JobQueue} from '../client/queue.ts'
import type {Settings} from '../config/settings.ts'
import type {PluginContext} from '../hooks/plugins.ts'
import {EXIT, idTooLarge} from '../jobs/errors.ts'
import {complain} from './output-guard.ts'
import {commandSettings, type QueueFlags, settingsThere} from './settings.ts'

/** What keeps the process alive once its command is done is a plugin's: for so long it may finish. */
const PATIENCE_MS = 1000

type OpenOptions = Pick<QueueOptions, 'onTrouble' | 'durable' | 'oneJob'>

interface LookOptions {
  role?: PluginContext['role'] | null
  /** Its files must be there. Default false: a file that is not is made. */
  mustBeThere?: boolean
}

/** @param role what plugins are told; null: without plugins, and without hooks */
export async function withQueue<T>(
  settings: Settings,
  role: PluginContext['role'] | null,
  options: OpenOptions,
  use: (queue: JobQueue) => Promise<T>,
): Promise<T> {
  const onTrouble = (message: string) => complain(`jobq: ${message}`)
  const queue = await JobQueue.openWith(settings, role, {onTrouble, ...options})
  try {
    return await use(queue)
  } finally {
    await queue.close()
    if (!queue.extensions.plugins.isEmpty) setTimeout(() => process.exit(), PATIENCE_MS).unref()
  }
}

/** For a command that looks. With a database out of reach, what it shows is not all there is: it ends with 1. */
export async function withQueueOf<T>(
  flags: QueueFlags,
  use: (queue: JobQueue) => Promise<T>,
  {role = null, mustBeThere = false, ...options}: OpenOptions & LookOptions = {},
): Promise<T> {
  const onTrouble = (message: string) => {
    process.exitCode = EXIT.failed
    complain(`jobq: ${message}`)
  }
  const settings = await (mustBeThere ? settingsThere : commandSettings)(flags)
  return withQueue(settings, role, {onTrouble, ...options}, use)
}

/** A job whose id can't be told from others is passed over: what was done is not all there is, either. */
export async function tellPassedOver(queue: JobQueue, done: 'copied' | 'listed'): Promise<void> {
  const digits = await queue.store.tooLargeId()
  if (digits === null) return
  process.exitCode = EXIT.failed
  const {message, hint} = idTooLarge('job', digits)
  complain(`jobq: ${message}: no such job is ${done}; ${hint}`)
}
