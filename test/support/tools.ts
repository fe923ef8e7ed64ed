/** What test/tools has installed, tools too large to come with each `npm ci`; without them tests are skipped, with CI=true they fail. */
import {existsSync} from 'node:fs'
import {createRequire} from 'node:module'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'

export const TOOLS = join(import.meta.dirname, '../tools')

/** Why there are none, for the tests that are skipped. */
export const missingTools = existsSync(join(TOOLS, 'node_modules/.package-lock.json'))
  ? undefined
  : 'tools are not installed: npm install --no-save --ignore-scripts --prefix test/tools'
if (missingTools !== undefined && process.env.CI === 'true') throw new Error(missingTools)

/** A module of theirs, whose types are not at hand. */
export async function fromTools(name: string): Promise<Record<string, unknown>> {
  const require = createRequire(join(TOOLS, 'package.json'))
  const module: unknown = await import(pathToFileURL(require.resolve(name)).href)
  return module as Record<string, unknown>
}
