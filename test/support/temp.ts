import {mkdtempSync, realpathSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {TestContext} from 'node:test'

/** A folder of its own for a test, removed when that ends: again if what was killed has just written to it. */
export function tempFolder(t: Pick<TestContext, 'after'>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'jobq-test-')))
  t.after(() => rmSync(folder, {recursive: true, force: true, maxRetries: 10, retryDelay: 20}))
  return folder
}
