/** The default export of a user's file: a configuration, a hook, a plugin. */
import {existsSync, statSync} from 'node:fs'
import {pathToFileURL} from 'node:url'
import {ConfigError, isShort, ProcessError} from '../jobs/errors.ts'
import {loadError} from './load-error.ts'
import {makeJobqImportable} from './self-import.ts'

/**
 * @param file absolute
 * @param write what its author should write where it has none
 * @throws ConfigError
 */
export async function loadDefault(file: string, write: string, hint: string): Promise<unknown> {
  makeJobqImportable()
  if (!existsSync(file)) throw new ConfigError(`${file} does not exist`, {hint})
  const url = `${pathToFileURL(file).href}?${statSync(file).mtimeMs}` // as it is now, where it was loaded before
  const module: {default?: unknown} = await import(url).catch(cause => {
    if (isShort(cause)) throw new ProcessError(cause, `can't load ${file}`)
    const failed = loadError(file, cause)
    throw new ConfigError(failed.message, {hint: failed.hint || hint, cause})
  })
  if (module.default !== undefined) return module.default
  throw new ConfigError(`${file}: expected a default export, got none`, {hint: `write: ${write}`})
}
