/**
 * Imported before anything else of the library: on an older Node better-sqlite3 would not fail, it would take the process
 * down. bin/run.js says the same for the command.
 */
import {NodeVersionError} from './errors.ts'

const OLDEST = [22, 18] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
  throw new NodeVersionError(OLDEST.join('.'), process.versions.node)
