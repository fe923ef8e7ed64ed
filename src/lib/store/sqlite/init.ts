/** `jobq init` on SQLite: what is missing is made, or told. A dry run does not even make the file. */
import {existsSync} from 'node:fs'
import type {Preparation} from '../store.ts'
import {checkFolder} from './file/make-file.ts'
import {openSqlite} from './store.ts'

export async function prepareSqlite(
  path: string,
  {makeFolder, dryRun}: {makeFolder: boolean; dryRun: boolean},
): Promise<Preparation> {
  const isThere = path !== ':memory:' && existsSync(path)
  if (dryRun && !isThere && !makeFolder && path !== ':memory:') checkFolder(path)
  const opened = dryRun && !isThere ? ':memory:' : path
  const store = await openSqlite(opened, {makeFolder, prepare: false, adopt: true})
  try {
    const steps = await (dryRun ? store.plan() : store.prepare())
    const sql =
      steps.length === 0
        ? []
        : ['PRAGMA journal_mode = WAL', 'BEGIN IMMEDIATE', ...steps.map(step => step.sql), 'COMMIT']
    return {database: path, made: steps.flatMap(({makes}) => makes ?? []), sql, warnings: []}
  } finally {
    await store.close()
  }
}
