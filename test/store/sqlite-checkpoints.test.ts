/** A dispatcher's checkpoints, by a thread: the WAL stays short, nothing is lost, and nobody waits for what fails. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {existsSync, readdirSync, readFileSync, rmSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {NewJob} from '../../src/lib/job.ts'
import {openSqlite, type SqliteStore} from '../../src/lib/store/sqlite.ts'
import {tempFolder} from '../support/temp.ts'

const STORE = new URL('../../src/lib/store/sqlite.ts', import.meta.url).href
const JOB: NewJob = {func: 'Work', arg: 'x'.repeat(100), uniqkey: null, priority: 0, due: {in: 0}}
/** The pages at which a connection does it by itself, and some that it writes in that commit. */
const SHORT_BYTES = 4200 * 4120

describe('checkpoints of a connection that does not wait for the disk', () => {
  test('are done by a thread; the WAL stays short, and is gone at the end', async t => {
    const {path, store} = await openStore(t)
    let [most, isSeen] = [0, false]
    for (let i = 0; i < 6000; i++) {
      await store.enqueue(JOB)
      if (i % 100 !== 0) continue
      most = Math.max(most, statSync(`${path}-wal`).size)
      isSeen ||= threads() > 0
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.ok(isSeen, 'a thread was there')
    assert.ok(most < SHORT_BYTES, `the WAL had ${most} bytes`)
    await store.close()
    assert.ok(!existsSync(`${path}-wal`))
    assert.deepEqual(contents(path), [6000, 'ok'])
  })

  test('are SQLite’s own where commits are few', async t => {
    const {path, store} = await openStore(t)
    let most = 0
    for (let i = 0; i < 600; i++) {
      await store.enqueue(JOB)
      await new Promise(resolve => setTimeout(resolve, 2))
      assert.equal(threads(), 0, 'there is no thread')
      most = Math.max(most, statSync(`${path}-wal`).size)
    }
    assert.ok(most > 900 * 4120, `the WAL had ${most} bytes at most: there was something to checkpoint`)
    assert.ok(most < 1100 * 4120, `the WAL had ${most} bytes`)
  })

  test('end at a reader who stays: commits go on', async t => {
    const {path, store} = await openStore(t)
    await store.enqueue(JOB)
    const reader = new Sqlite(path)
    t.after(() => reader.close())
    reader.exec('BEGIN')
    assert.equal(reader.prepare('SELECT count(*) FROM job').pluck().get(), 1)
    for (let i = 1; i < 3000; i++) await store.enqueue(JOB)
    assert.equal(reader.prepare('SELECT count(*) FROM job').pluck().get(), 1)
    reader.exec('COMMIT')
    assert.equal(reader.prepare('SELECT count(*) FROM job').pluck().get(), 3000)
    await store.close()
    assert.deepEqual(contents(path), [3000, 'ok'])
  })

  for (const [when, commits] of [
    ['before the first', 0],
    ['before there is a thread', 40],
  ] as const)
    test(`of a file that is gone ${when}: commits go on`, async t => {
      const {path, store} = await openStore(t)
      for (let i = 0; i < commits; i++) await store.enqueue(JOB)
      await new Promise(resolve => setImmediate(resolve))
      rmSync(path)
      for (let i = commits; i < 3000; i++) {
        await store.enqueue(JOB)
        if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      assert.equal((await store.list({limit: 5000, offset: 0})).length, 3000)
      await store.close()
    })

  test('several at once on one file lose nothing', async t => {
    const {path, store} = await openStore(t)
    const stores = [store, await openSqlite(path, {durable: false}), await openSqlite(path, {durable: false})]
    await Promise.all(
      stores.map(async store => {
        for (let i = 0; i < 1500; i++) await store.enqueue(JOB)
      }),
    )
    for (const store of stores) await store.close()
    assert.deepEqual(contents(path), [4500, 'ok'])
  })

  test('keep no process alive that has nothing else to do', t => {
    const path = join(tempFolder(t), 'jobs.db')
    const program = `import {openSqlite} from ${JSON.stringify(STORE)}
      const store = await openSqlite(${JSON.stringify(path)}, {durable: false})
      for (let i = 0; i < 2000; i++) await store.enqueue(${JSON.stringify(JOB)})
      console.log('done')`
    const {status, stdout, stderr} = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    assert.deepEqual([status, stdout, stderr], [0, 'done\n', ''])
    assert.deepEqual(contents(path), [2000, 'ok'])
  })
})

async function openStore(t: TestContext): Promise<{path: string; store: SqliteStore}> {
  const path = join(tempFolder(t), 'jobs.db')
  const store = await openSqlite(path, {durable: false})
  t.after(() => store.close())
  return {path, store}
}

function contents(path: string): [jobs: number, integrity: string] {
  const db = new Sqlite(path)
  try {
    const jobs = db.prepare('SELECT count(*) FROM job').pluck().get() as number
    return [jobs, db.pragma('integrity_check', {simple: true}) as string]
  } finally {
    db.close()
  }
}

/** Worker threads of this process, as Node calls them. */
function threads(): number {
  const names = readdirSync('/proc/self/task').map(id => readFileSync(`/proc/self/task/${id}/comm`, 'utf8'))
  return names.filter(name => name.startsWith('WorkerThread')).length
}
