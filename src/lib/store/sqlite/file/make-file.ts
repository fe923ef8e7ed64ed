/** Making a database's file and its folder, for the user's eyes only. */
import {closeSync, existsSync, mkdirSync, openSync, statSync} from 'node:fs'
import {dirname} from 'node:path'
import {StoreError} from '../../../jobs/errors.ts'

export function makeFile(path: string, makeFolder: boolean): void {
  if (existsSync(path)) {
    if (statSync(path).isDirectory())
      throw new StoreError('UNREACHABLE', `expected a SQLite file, got a folder: ${path}`, {
        hint: `name a file in it, such as --db ${path.replace(/\/$/, '')}/jobq.db`,
      })
    return
  }
  const folder = dirname(path)
  if (!existsSync(folder)) {
    if (!makeFolder) throw noFolder(folder)
    makeFolders(folder)
  }
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // another process was faster
  }
}

/** One after the other: where none can be made, as in /proc, Node's own mkdir -p tries for ever. */
function makeFolders(folder: string): void {
  const above = dirname(folder)
  if (!existsSync(above)) makeFolders(above)
  try {
    mkdirSync(folder, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

export function noFolder(folder: string): StoreError {
  return new StoreError('UNREACHABLE', `expected a folder for the database, but ${folder} does not exist`, {
    hint: `make it (mkdir -p ${folder}) or check --db`,
  })
}
