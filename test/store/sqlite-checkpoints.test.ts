/**
 * A dispatcher's checkpoints, by a thread: the WAL stays short, nothing is lost, and nobody waits for what fails. And a
 * -wal that has become long, or is in the way on a full file system.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, statSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import {openSqlite, type SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {type Jobq, jobqIn} from '../support/jobq.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const STORE = new URL('../../src/lib/store/sqlite/store.ts', import.meta.url).href
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
    test(`of a file that is gone ${when}: no commit goes on into it, and nobody waits for the thread`, async t => {
      const {path, store} = await openStore(t)
      for (let i = 0; i < commits; i++) await store.enqueue(JOB)
      await new Promise(resolve => setImmediate(resolve))
      rmSync(path)
      await assert.rejects(
        async () => {
          for (let i = 0; ; i++) {
            await store.enqueue(JOB)
            if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
          }
        },
        {code: 'REPLACED', message: `${path} was deleted while it was open`},
      )
      await store.close()
      assert.deepEqual(readdirSync(dirname(path)), [])
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

describe('a -wal that someone who reads has let grow', () => {
  const BIG: NewJob = {...JOB, arg: 'x'.repeat(1 << 20)}
  const SHORT = 16 << 20
  const readerOf = (t: TestContext, path: string) => {
    const reader = new Sqlite(path)
    t.after(() => reader.close())
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM job').get()
    return reader
  }

  for (const durable of [true, false])
    test(`is short again when he is gone, though nobody writes any more (durable: ${durable})`, async t => {
      const path = join(tempFolder(t), 'jobs.db')
      const store = await openSqlite(path, {durable})
      t.after(() => store.close())
      await store.enqueue(JOB)
      const reader = readerOf(t, path)
      for (let i = 0; i < 20; i++) await store.enqueue(BIG)
      assert.ok(walBytes(path) > SHORT)
      reader.exec('COMMIT')
      await until('it is short', async () => (await store.find(1)) !== null && walBytes(path) < SHORT)
      assert.deepEqual(contents(path), [21, 'ok'])
    })

  test('is cut by whoever writes next', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const writer = await openSqlite(path, {brief: true})
    t.after(() => writer.close())
    const reader = readerOf(t, path)
    for (let i = 0; i < 20; i++) await writer.enqueue(BIG)
    reader.exec('COMMIT')
    for (let i = 0; i < 2; i++) await writer.enqueue(JOB)
    assert.ok(walBytes(path) < SHORT, `it has ${walBytes(path)} bytes`)
  })

  test('is told of once by `jobq work`, with its size, and is short again beside it', async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'jobs.db')
    const manager = jobq.start(['work', '--debug', '--db', path, '--exec', 'None=true'])
    await manager.prints(/nothing ready/)
    const reader = readerOf(t, path)
    const writer = await openSqlite(path)
    t.after(() => writer.close())
    for (let i = 0; i < 20; i++) await writer.enqueue(BIG)
    await manager.prints(
      /jobs\.db-wal has grown to 2\d MB, since someone has been reading the database for long: `fuser/,
    )
    reader.exec('COMMIT')
    await until('it is short', () => walBytes(path) < SHORT)
    manager.kill('SIGTERM')
    const {stderr} = await manager.exited
    assert.equal(stderr.match(/has grown/g)?.length, 1)
  })
})

describe('a transaction that has found the file system full', () => {
  const LINE = `${JSON.stringify('x'.repeat(1000))}\n`
  const ROOM = 12 << 20

  test('leaves nothing behind, though others have the file open', async t => {
    const done = await withSmallDisk(t, ROOM, async (folder, jobq) => {
      const path = join(folder, 'jobs.db')
      const store = await openSqlite(path)
      try {
        await store.enqueue(JOB)
        const free = () => statfsSync(folder).bfree
        const before = free()
        const isAsBefore = () => assert.ok(before - free() < 50, `${before - free()} blocks are gone`)

        const bulk = ['enqueue', 'F', '--db', path, '--args-from', '-']
        const {code, stderr} = await jobq(bulk, {stdin: LINE.repeat(30_000)})
        assert.equal(code, 1)
        assert.match(stderr, /no room left.*nothing was stored/)
        isAsBefore()

        const large = ['enqueue', 'F', '--db', path, '--serializer', 'none', '--arg-file', '-']
        assert.equal((await jobq(large, {stdin: 'x'.repeat(ROOM)})).code, 1)
        isAsBefore()

        const many = Array.from({length: 30_000}, () => ({...JOB, arg: LINE}))
        await assert.rejects(store.enqueueMany(many), {code: 'FULL'})
        isAsBefore()
        await assert.rejects(store.enqueue({...JOB, arg: 'x'.repeat(ROOM)}), {code: 'FULL'})
        isAsBefore()

        const reader = new Sqlite(path)
        reader.exec('BEGIN')
        reader.prepare('SELECT count(*) FROM job').get()
        await store.enqueue(JOB)
        assert.equal((await jobq(bulk, {stdin: LINE.repeat(30_000)})).code, 1)
        isAsBefore()
        reader.close()
        for (let i = 0; i < 100; i++) await store.enqueue(JOB)
      } finally {
        await store.close()
      }
      assert.deepEqual(contents(path), [102, 'ok'])
    })
    if (!done) t.skip('may not mount here')
  })

  test('so does a bulk whose source fails', async t => {
    const {path, store} = await openStore(t)
    await store.enqueue(JOB)
    const source = function* () {
      for (let i = 0; i < 40_000; i++) yield {...JOB, arg: LINE}
      throw new Error('no more')
    }
    const before = walBytes(path)
    await assert.rejects(store.enqueueMany(source()), /no more/)
    assert.equal(walBytes(path), before)
  })
})

/** @returns false where it may not be mounted */
async function withSmallDisk(
  t: TestContext,
  bytes: number,
  use: (folder: string, jobq: Jobq) => Promise<void>,
): Promise<boolean> {
  const jobq = jobqIn(t)
  const folder = join(jobq.folder, 'disk')
  mkdirSync(folder)
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]).status !== 0) return false
  try {
    await use(folder, jobq)
  } finally {
    spawnSync('umount', [folder])
  }
  return true
}

function walBytes(path: string): number {
  return statSync(`${path}-wal`, {throwIfNoEntry: false})?.size ?? 0
}

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
