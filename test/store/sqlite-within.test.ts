/** Jobs in a transaction of the application's own, on SQLite: what the suite can't say for every driver. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {mkdirSync, rmSync, symlinkSync} from 'node:fs'
import {join} from 'node:path'
import {DatabaseSync} from 'node:sqlite'
import {describe, type TestContext, test} from 'node:test'
import Sqlite, {type Database} from 'better-sqlite3'
import {DuplicateJobError, type StoreError, TransactionError} from '../../src/lib/jobs/errors.ts'
import {openSqlite, type SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {Started} from '../support/started.ts'
import {isStoreError, newJob} from '../support/store.ts'
import {tempFolder} from '../support/temp.ts'

/** Holds the write lock until it has been asked to let go, and a moment longer. */
const HOLDER = `
  const db = new (require('better-sqlite3'))(process.argv[1])
  db.exec('BEGIN IMMEDIATE')
  process.stdout.write('held')
  process.stdin.once('data', () => setTimeout(() => { db.exec('COMMIT'); process.exit() }, 300))
`

describe("a job in a caller's transaction", () => {
  test('is stored at once, by a function of better-sqlite3', async t => {
    const {store, app} = await setUp(t)
    app.exec('CREATE TABLE photo (id INTEGER PRIMARY KEY, job_id)')
    const upload = app.transaction((fails: boolean) => {
      const {id} = store.enqueueWithin(app, newJob())
      app.prepare('INSERT INTO photo (job_id) VALUES (?)').run(id)
      if (fails) throw new Error('no')
      return id
    })
    assert.throws(() => upload(true), /no/)
    assert.deepEqual(await store.funcs(), [])
    const id = upload.immediate(false)
    assert.equal((await store.find(id))?.func, 'Work')
    assert.deepEqual(app.prepare('SELECT job_id FROM photo').pluck().all(), [id])
  })

  test('waits for the lock in one that has only begun, as long as its connection does', async t => {
    const file = join(tempFolder(t), 'jobs.db')
    const store = await openSqlite(file)
    t.after(() => store.close())
    const holder = new Started(process.execPath, ['-e', HOLDER, file], {
      cwd: join(import.meta.dirname, '../..'),
    })
    await holder.prints(/held/)
    const db = new Sqlite(file, {timeout: 20_000})
    t.after(() => db.close())
    holder.child.stdin!.write('go')
    db.exec('BEGIN')
    const job = {func: 'F', arg: null, uniqkey: null, priority: 0, due: {in: 0}}
    const enqueued = await store.enqueueWithin(db, job)
    db.exec('COMMIT')
    assert.equal((await holder.exited).code, 0)
    assert.equal((await store.find(enqueued.id))?.func, 'F')
  })

  test("goes with the caller's savepoints", async t => {
    const {store, app} = await setUp(t)
    app.exec('BEGIN')
    const outer = store.enqueueWithin(app, newJob())
    app.exec('SAVEPOINT jobq_enqueue') // the name that jobq takes, of all
    store.enqueueWithin(app, newJob({func: 'Never'}))
    app.exec('ROLLBACK TO jobq_enqueue; RELEASE jobq_enqueue; COMMIT')
    assert.deepEqual(
      (await store.list({limit: 9, offset: 0})).map(({id}) => id),
      [outer.id],
    )
    assert.deepEqual(await store.funcs(), ['Work'])
  })

  test('does not mind how the connection is set', async t => {
    const {store, app} = await setUp(t)
    app.defaultSafeIntegers(true)
    app.exec('CREATE TEMP TABLE job (other); CREATE TEMP TABLE func (other)')
    app.exec('BEGIN')
    const {id} = store.enqueueWithin(app, newJob({uniqkey: 'k'}))
    assert.equal(typeof id, 'number')
    assert.throws(
      () => store.enqueueWithin(app, newJob({uniqkey: 'k'})),
      error => error instanceof DuplicateJobError && error.existingId === id,
    )
    app.exec('COMMIT')
    assert.equal((await store.find(id))?.uniqkey, 'k')
    assert.equal(app.prepare('SELECT count(*) FROM temp.job').safeIntegers(false).pluck().get(), 0)
  })

  test('finds the file whatever links lead to it', async t => {
    const folder = tempFolder(t)
    mkdirSync(join(folder, 'real'))
    symlinkSync(join(folder, 'real'), join(folder, 'link'))
    const store = await open(t, join(folder, 'link', 'jobs.db'))
    symlinkSync(join(folder, 'real', 'jobs.db'), join(folder, 'linked.db'))
    for (const path of ['real/jobs.db', 'link/jobs.db', 'linked.db']) {
      const app = connect(t, join(folder, path))
      app.exec('BEGIN')
      store.enqueueWithin(app, newJob())
      app.exec('COMMIT')
    }
    assert.equal((await store.counts())[0]?.ready, 3)
  })

  test('waits for a lock as long as the connection does, no longer', async t => {
    const {path, store} = await setUp(t)
    const app = connect(t, path, {timeout: 0})
    const other = connect(t, path)
    app.exec('BEGIN')
    other.exec('BEGIN IMMEDIATE')
    assert.throws(() => store.enqueueWithin(app, newJob()), isStoreError('LOCKED'))
    other.exec('COMMIT')
    assert.ok(app.inTransaction)
    store.enqueueWithin(app, newJob())
    app.exec('COMMIT')
    assert.equal((await store.counts())[0]?.ready, 1)
  })

  test('says what to do where another process has written since the transaction began', async t => {
    const {store, app} = await setUp(t)
    app.exec('BEGIN; SELECT * FROM job')
    app.prepare('SELECT count(*) FROM job').get()
    await store.enqueue(newJob())
    assert.throws(
      () => store.enqueueWithin(app, newJob()),
      error => isStoreError('LOCKED')(error) && /BEGIN IMMEDIATE/.test((error as StoreError).hint),
    )
    assert.ok(app.inTransaction)
  })

  test('is refused in the middle of a query, which goes on', async t => {
    const {store, app} = await setUp(t)
    await store.enqueueMany([newJob(), newJob()])
    app.exec('BEGIN')
    let rows = 0
    for (const _ of app.prepare('SELECT id FROM job').iterate()) {
      rows++
      assert.throws(() => store.enqueueWithin(app, newJob()), TransactionError)
    }
    app.exec('COMMIT')
    assert.equal(rows, 2)
    assert.equal((await store.counts())[0]?.ready, 2)
  })

  test('is refused on a connection that may only read', async t => {
    const {path, store} = await setUp(t)
    const app = connect(t, path, {readonly: true})
    app.exec('BEGIN')
    assert.throws(() => store.enqueueWithin(app, newJob()), isStoreError('READ_ONLY'))
  })

  test('is refused where there is no room, and that is told', async t => {
    const {store, app} = await setUp(t)
    app.pragma(`max_page_count = ${app.pragma('page_count', {simple: true})}`)
    app.exec('BEGIN IMMEDIATE')
    assert.throws(
      () => store.enqueueWithin(app, newJob({arg: new Uint8Array(1 << 20)})),
      isStoreError('FULL'),
    )
    if (app.inTransaction) app.exec('COMMIT')
    assert.equal(await store.find(1), null)
    assert.deepEqual(await store.funcs(), [])
  })

  test('is refused in another file, whatever it is', async t => {
    const {path, store} = await setUp(t)
    const folder = tempFolder(t)
    execFileSync('cp', [path, join(folder, 'jobs.db')]) // read here, it would lose its locks
    const others = [connect(t, join(folder, 'jobs.db')), connect(t, ':memory:'), connect(t, '')]
    for (const other of others) {
      other.prepare('ATTACH ? AS queue').run(path)
      other.exec('BEGIN')
      assert.throws(
        () => store.enqueueWithin(other, newJob()),
        isNoTransaction(/expected a Database that has .* open/),
      )
    }
    assert.deepEqual(await store.funcs(), [])
  })

  test('can not be in a queue in memory', async t => {
    const store = await open(t, ':memory:')
    const app = connect(t, ':memory:')
    app.exec('BEGIN')
    assert.throws(() => store.enqueueWithin(app, newJob()), isNoTransaction(/no other connection can reach/))
  })

  test('is refused where the file of the queue is no more', async t => {
    const {path, store} = await setUp(t)
    const app = connect(t, path)
    app.exec('BEGIN')
    for (const end of ['', '-wal', '-shm']) rmSync(path + end)
    assert.throws(() => store.enqueueWithin(app, newJob()), isStoreError('REPLACED'))
  })

  test('asks for a Database of better-sqlite3, and tells what it got', async t => {
    const {path, store, app} = await setUp(t)
    const node = new DatabaseSync(path)
    t.after(() => node.close())
    node.exec('BEGIN')
    assert.throws(() => store.enqueueWithin(node, newJob()), isNoTransaction(/got a DatabaseSync/))
    assert.throws(() => store.enqueueWithin({$client: app}, newJob()), isNoTransaction(/got a Object/))
    assert.throws(() => store.enqueueWithin('jobs.db', newJob()), isNoTransaction(/got string/))
    assert.throws(() => store.enqueueWithin(null, newJob()), isNoTransaction(/got null/))
    assert.throws(() => store.enqueueWithin(app, newJob()), isNoTransaction(/is in no transaction/))
    const closed = new Sqlite(path)
    closed.close()
    assert.throws(() => store.enqueueWithin(closed, newJob()), isNoTransaction(/is closed/))
  })
})

async function setUp(t: TestContext) {
  const path = join(tempFolder(t), 'jobs.db')
  const store = await open(t, path)
  return {path, store, app: connect(t, path)}
}

async function open(t: TestContext, path: string): Promise<SqliteStore> {
  const store = await openSqlite(path)
  t.after(() => store.close())
  return store
}

function connect(t: TestContext, path: string, options: Sqlite.Options = {}): Database {
  const db = new Sqlite(path, options)
  t.after(() => db.close())
  return db
}

function isNoTransaction(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof TransactionError, String(error))
    assert.match(error.message, message)
    assert.notEqual(error.hint, '')
    return true
  }
}
