/** A caller's transaction on PostgreSQL: what only this server can do wrong. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {describe, test} from 'node:test'
import pg from 'pg'
import {ArgumentError, DuplicateJobError, StoreError, TransactionError} from '../../src/lib/jobs/errors.ts'
import type {PostgresStore} from '../../src/lib/store/postgres/store.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {prepared} from '../support/prepared.ts'
import {postgresServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await postgresServer(answersPostgres)

if ('missing' in server) test("a caller's transaction on PostgreSQL", {skip: server.missing})
else {
  const {url} = server

  describe("PostgreSQL: a caller's transaction", () => {
    test('an id that JavaScript can not hold is told by its digits, here and in every enqueue, and nothing is stored', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob())
      await db.query(`SELECT setval('job_id_seq', 9007199254740992)`)
      const told = {
        code: 'DATABASE',
        message: /^job: expected ids up to 9007199254740991, got 9007199254741?\d+,/,
      }
      const client = new pg.Client(db.url)
      await client.connect()
      try {
        await client.query('BEGIN')
        await assert.rejects(Promise.resolve(store.enqueueWithin(client, newJob())), told)
        await client.query('COMMIT')
      } finally {
        await client.end()
      }
      await assert.rejects(store.enqueue(newJob()), told)
      await assert.rejects(store.enqueue({...newJob(), uniqkey: 'k'}), told)
      await assert.rejects(store.enqueue({...newJob(), tracked: true}), told)
      await assert.rejects(store.enqueueMany([newJob(), newJob()]), told)
      for (const enqueued of await Promise.allSettled(
        [newJob(), newJob(), {...newJob(), uniqkey: 'k'}].map(store.enqueue.bind(store)),
      ))
        await assert.rejects(
          async () => enqueued.status === 'rejected' && Promise.reject(enqueued.reason),
          told,
        )
      await db.query(
        'INSERT INTO exception_log (func_id, exception_time, message) SELECT id, 1, $$x$$ FROM func',
      )
      await assert.rejects(store.retry(1, {priority: 0, due: {in: 0}}), told)
      assert.deepEqual(await db.query('SELECT id FROM job'), [{id: '1'}])
      assert.deepEqual(await db.query('SELECT retried FROM exception_log'), [{retried: 0}])
    })

    test('of a PoolClient, and after it was released none', async t => {
      const {db, store} = await prepared(t, url)
      const pool = new pg.Pool({connectionString: db.url})
      pool.on('error', () => {}) // its connection may outlive its end by a moment, and is ended with the database
      try {
        const client = await pool.connect()
        await client.query('BEGIN')
        const {id} = await store.enqueueWithin(client, newJob())
        await client.query('COMMIT')
        client.release()
        assert.equal((await store.find(id))?.func, 'Work')
        await refused(store.enqueueWithin(client, newJob()), /in no transaction/, /BEGIN/)
      } finally {
        await pool.end()
      }
    })

    test('a pool, and a client that is not connected, are told what to do', async t => {
      const {db, store} = await prepared(t, url)
      const pool = new pg.Pool({connectionString: db.url})
      await refused(store.enqueueWithin(pool, newJob()), /got a pool/, /pool\.connect\(\)/)
      await refused(store.enqueueWithin(new pg.Client(db.url), newJob()), /not connected/, /connect\(\)/)
      await pool.end()
    })

    test('one that has failed can only be rolled back', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.begin()
      await assert.rejects(app.run('SELECT 1 / 0'))
      await refused(store.enqueueWithin(app.connection, newJob()), /has failed/, /ROLLBACK/)
      await app.rollback()
      await app.begin()
      await store.enqueueWithin(app.connection, newJob())
      await app.commit()
      assert.equal((await store.counts('Work'))[0]?.ready, 1)
    })

    test('in a database, or a schema, without jobq’s tables it is refused and goes on', async t => {
      const {store} = await prepared(t, url)
      const other = await PostgresDatabase.create(url)
      t.after(() => other.drop())
      const app = await other.foreign()
      await app.run('CREATE TABLE mine (id INT)')
      await app.begin()
      await refused(store.enqueueWithin(app.connection, newJob()), /without jobq's tables/, /connected to/)
      await app.run('INSERT INTO mine VALUES (1)')
      await app.commit()
      assert.equal((await other.query('SELECT * FROM mine')).length, 1)
    })

    test('in another schema of the same database it is refused', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.run('CREATE SCHEMA other')
      await app.run('SET search_path = other')
      const there = postgresStoreIn(db, 'other')
      t.after(() => there.close())
      await there.init()
      await app.begin()
      await refused(store.enqueueWithin(app.connection, newJob()), /another search_path/, /same database/)
      const {id} = await there.enqueueWithin(app.connection, newJob())
      await app.commit()
      assert.equal((await there.find(id))?.func, 'Work')
      assert.deepEqual(await store.funcs(), [])
    })

    test('an error in the middle of it leaves the transaction as it was', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.begin()
      await store.enqueueWithin(app.connection, newJob('First'))
      const late = newJob('Late', {due: {in: 2 ** 31}})
      await assert.rejects(store.enqueueWithin(app.connection, late), ArgumentError)
      await assert.rejects(store.enqueueWithin(app.connection, newJob('x'.repeat(256))), ArgumentError)
      await db.run('ALTER TABLE jobq_wait RENAME TO elsewhere')
      await assert.rejects(
        store.enqueueWithin(app.connection, newJob('Tracked', {tracked: true})),
        TransactionError,
      )
      await db.run('ALTER TABLE elsewhere RENAME TO jobq_wait')
      await store.enqueueWithin(app.connection, newJob('Last'))
      await app.commit()
      assert.deepEqual(await store.funcs(), ['First', 'Last'])
    })

    test('several calls at once on one client are done one after the other', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await store.enqueue(newJob('Work', {uniqkey: 'taken'}))
      await app.begin()
      const calls = Array.from({length: 20}, (_, i) =>
        store.enqueueWithin(app.connection, newJob('Work', {uniqkey: i % 5 === 0 ? 'taken' : `k${i}`})),
      )
      const done = await Promise.allSettled(calls)
      await app.commit()
      assert.deepEqual(
        done.map(({status}) => status),
        Array.from({length: 20}, (_, i) => (i % 5 === 0 ? 'rejected' : 'fulfilled')),
      )
      assert.equal((await store.counts('Work'))[0]?.ready, 17)
    })

    for (const end of ['commit', 'rollback'] as const)
      test(`a key of an open transaction is waited for, until its ${end}`, async t => {
        const {db, store} = await prepared(t, url)
        const [first, second] = [await db.foreign(), await db.foreign()]
        await first.begin()
        await second.begin()
        const keyed = newJob('Work', {uniqkey: 'k'})
        const {id} = await store.enqueueWithin(first.connection, keyed)
        const waits = Promise.allSettled([store.enqueueWithin(second.connection, keyed)])
        await until('the second one waits', async () => (await waiting(db)) === 1)
        await first[end]()
        const [result] = await waits
        assert.equal(result?.status, end === 'commit' ? 'rejected' : 'fulfilled')
        if (result?.status === 'rejected') {
          assert.ok(result.reason instanceof DuplicateJobError)
          assert.equal(result.reason.existingId, id)
        }
        await store.enqueueWithin(second.connection, newJob('Other'))
        await second.commit()
        assert.equal((await store.list({uniqkey: 'k', limit: 9, offset: 0})).length, 1)
        assert.equal((await store.counts('Other'))[0]?.ready, 1)
      })

    test('two that make the same function: the second waits, and both are stored', async t => {
      const {db, store} = await prepared(t, url)
      const [first, second] = [await db.foreign(), await db.foreign()]
      await first.begin()
      await second.begin()
      await store.enqueueWithin(first.connection, newJob('New'))
      const waits = store.enqueueWithin(second.connection, newJob('New'))
      await until('the second one waits', async () => (await waiting(db)) === 1)
      await first.commit()
      await waits
      await second.commit()
      assert.deepEqual(await store.funcs(), ['New'])
      assert.equal((await store.counts('New'))[0]?.ready, 2)
    })

    test('two that wait for each other: one is told so, the other one is stored', async t => {
      const {db, store} = await prepared(t, url)
      const [first, second] = [await db.foreign(), await db.foreign()]
      await store.enqueue(newJob())
      for (const [app, uniqkey] of [
        [first, 'a'],
        [second, 'b'],
      ] as const) {
        await app.begin()
        await store.enqueueWithin(app.connection, newJob('Work', {uniqkey}))
      }
      const one = store.enqueueWithin(first.connection, newJob('Work', {uniqkey: 'b'}))
      const two = store.enqueueWithin(second.connection, newJob('Work', {uniqkey: 'a'}))
      const told = await Promise.race(
        [one, two].map((call, i) =>
          call.then(
            () => assert.fail('stored'),
            error => ({error, i}),
          ),
        ),
      )
      assert.ok(told.error instanceof StoreError, String(told.error))
      assert.equal(told.error.code, 'LOCKED')
      assert.match(told.error.hint, /roll back/)
      await (told.i === 0 ? first : second).rollback()
      await (told.i === 0 ? two : one)
      await (told.i === 0 ? second : first).commit()
      assert.equal((await store.counts('Work'))[0]?.ready, 3)
    })

    for (const level of ['REPEATABLE READ', 'SERIALIZABLE'])
      test(`${level}: what its snapshot does not show is found all the same`, async t => {
        const {db, store} = await prepared(t, url)
        const app = await db.foreign()
        await app.run(`BEGIN ISOLATION LEVEL ${level}`)
        await app.run('SELECT FROM func')
        const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
        await assert.rejects(
          async () => store.enqueueWithin(app.connection, newJob('Work', {uniqkey: 'k'})),
          error => error instanceof DuplicateJobError && error.existingId === id,
        )
        const mine = newJob('Work', {uniqkey: 'mine', context: '{"a":"b"}', tracked: true})
        const stored = await store.enqueueWithin(app.connection, mine)
        await app.commit()
        assert.equal((await store.find(stored.id))?.func, 'Work')
        assert.deepEqual(await store.funcs(), ['Work'])
      })

    test('a client that has ended is told of, and nothing is stored', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.begin()
      await store.enqueueWithin(app.connection, newJob())
      const hasEnded = new Promise(resolve => app.connection.once('end', resolve))
      const [row] = (await app.connection.query('SELECT pg_backend_pid() AS pid')).rows as {pid: number}[]
      await db.query('SELECT pg_terminate_backend(?)', row!.pid)
      await hasEnded
      await refused(store.enqueueWithin(app.connection, newJob()), /closed/, /new connection/)
      assert.deepEqual(await store.funcs(), [])
    })

    test('one whose end is the answer to what is sent is told of, and nothing is stored', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.begin()
      await store.enqueueWithin(app.connection, newJob())
      const [row] = (await app.connection.query('SELECT pg_backend_pid() AS pid')).rows as {pid: number}[]
      terminateSync(db.url, row!.pid) // what the server said of it has not been read yet
      await refused(store.enqueueWithin(app.connection, newJob()), /closed/, /new connection/)
      assert.deepEqual(await store.funcs(), [])
    })
  })
}

function postgresStoreIn(db: PostgresDatabase, schema: string): PostgresStore {
  return db.store({}, `?options=${encodeURIComponent(`-c search_path=${schema}`)}`)
}

async function refused(call: unknown, words: RegExp, hint: RegExp): Promise<void> {
  await assert.rejects(Promise.resolve(call), error => {
    assert.ok(error instanceof TransactionError, String(error))
    assert.match(error.message, words)
    assert.match(error.hint, hint)
    return true
  })
}

/** Ends a connection, and returns when it is gone; meanwhile this process reads nothing. */
function terminateSync(url: string, pid: number): void {
  const program = `
    import pg from 'pg'
    const client = new pg.Client(process.argv[1])
    await client.connect()
    await client.query('SELECT pg_terminate_backend($1, 60000)', [process.argv[2]])
    await client.end()`
  execFileSync(process.execPath, ['--input-type=module', '-e', program, url, String(pid)])
}

/** How many connections wait for a lock. */
async function waiting(db: PostgresDatabase): Promise<number> {
  const rows = await db.query(
    `SELECT pid FROM pg_stat_activity WHERE datname = ? AND wait_event_type = 'Lock'`,
    db.name,
  )
  return rows.length
}
