/** Which queue a command is for. */
import {existsSync} from 'node:fs'
import {resolveSettings, type Settings} from '../config/settings.ts'
import {StoreError, UsageError} from '../jobs/errors.ts'

/** The flags that say which queue. */
export interface QueueFlags {
  db?: string[] | undefined
  config?: string | undefined
}

/** @throws UsageError, ConfigError; also for a database that would be gone with the command */
export async function commandSettings({db, config}: QueueFlags, flag?: string): Promise<Settings> {
  // Standard output is the command's: what a configuration and its hooks print must not stand among ids and JSON
  console.log = console.info = console.debug = console.error
  const settings = await resolveSettings({db, config, flag})
  const isKept = settings.databases.every(
    address => address.driver !== 'sqlite' || address.path !== ':memory:',
  )
  if (isKept) return settings
  throw new UsageError('expected a database that stays, got :memory:', {
    hint: 'what a command stores there is gone when it ends; name a file',
  })
}

/** Of a command for which an empty queue would be no answer. @throws StoreError for a file that is not there: it makes none */
export async function settingsThere(flags: QueueFlags): Promise<Settings> {
  const settings = await commandSettings(flags)
  for (const address of settings.databases)
    if (address.driver === 'sqlite' && !existsSync(address.path))
      throw new StoreError('UNREACHABLE', `expected a database at ${address.path}, got none`, {
        hint: 'it is made by the first enqueue; check --db',
      })
  return settings
}
