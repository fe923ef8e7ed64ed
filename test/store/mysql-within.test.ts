/** A job in the caller's own transaction, on a connection of mysql2, with callbacks and with promises. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import * as callbacks from 'mysql2'
import * as promises from 'mysql2/promise'
import {ArgumentError, DuplicateJobError, StoreError, TransactionError} from '../../src/lib/jobs/errors.ts'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {mysqlServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await mysqlServer()

if ('missing' in server) test("the caller's transaction on MySQL", {skip: server.missing})
else {
  after(() => server.stop())
  const {url} = server

  describe("the caller's transaction on MySQL", () => {
    test('its commit brings the job, its rollback none; with every kind of connection', async t => {
      const {db, store} = await setUp(t)
      const pool = callbacks.createPool({uri: db.url})
      const promisePool = promises.createPool({uri: db.url})
      t.after(() => Promise.all([pool.promise().end(), promisePool.end()]))
      const plain = callbacks.createConnection({uri: db.url})
      t.after(() => plain.destroy())
      const pooled = await new Promise<callbacks.PoolConnection>((resolve, reject) =>
        pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection))),
      )
      const promisePooled = await promisePool.getConnection()
      t.after(() => {
        for (const each of [pooled, promisePooled]) each.release()
      })
      const connections: [unknown, (sql: string) => Promise<unknown>][] = [
        [plain, sql => plain.promise().query(sql)],
        [plain.promise(), sql => plain.promise().query(sql)],
        [pooled, sql => pooled.promise().query(sql)],
        [promisePooled, sql => promisePooled.query(sql)],
        [await db.another(), sql => db.others.at(-1)!.query(sql)],
      ]
      for (const [i, [connection, run]] of connections.entries())
        for (const func of ['Work', `New ${i}`]) {
          await run('START TRANSACTION')
          await run('INSERT INTO theirs VALUES (1)')
          const lost = await store.enqueueWithin(connection, newJob(func, {context: '{}', tracked: true}))
          assert.equal(await store.find(lost.id), null)
          await run('ROLLBACK')
          await run('START TRANSACTION')
          await run('INSERT INTO theirs VALUES (1)')
          const kept = await store.enqueueWithin(
            connection,
            newJob(func, {arg: '[1]', uniqkey: `알 ${i}`, priority: 3}),
          )
          assert.equal(await store.find(kept.id), null)
          await run('COMMIT')
          const found = await store.find(kept.id)
          const {id, uniqkey, priority, runAfter} = found!
          assert.deepEqual({id, func: found!.func, uniqkey, priority, runAfter}, kept)
          assert.deepEqual([func, '[1]'], [found!.func, Buffer.from(found!.arg!).toString()])
        }
      const counts = await db.query(
        'SELECT (SELECT COUNT(*) FROM theirs) AS t, (SELECT COUNT(*) FROM job) AS j',
      )
      assert.deepEqual(counts, [{t: 10, j: 10}])
      for (const table of ['jobq_context', 'jobq_wait'])
        assert.deepEqual(await db.query(`SELECT * FROM ${table}`), [])
    })

    test('in any character set and sql_mode; bytes and large arguments as they are', async t => {
      const {db, store} = await setUp(t)
      const connection = await db.another()
      await connection.query(
        `SET NAMES latin1, sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', autocommit = 0`,
      )
      const args = ['{"a":"\\\\\\"\'é📷?"}', new Uint8Array([0, 255, 39, 92]), 'x'.repeat(300_000), '', null]
      for (const [i, arg] of args.entries())
        await store.enqueueWithin(
          connection,
          newJob("it's 사진 📷", {arg, uniqkey: `\\'é📷? ${i}`, context: '{"é":"📷"}'}),
        )
      await connection.query('COMMIT')
      const {jobs} = await store.turn([], {funcs: ["it's 사진 📷"], limit: 9, lease: 60})
      assert.deepEqual(
        jobs.map(({arg, uniqkey, context}) => [arg && Buffer.from(arg), uniqkey, context]),
        args.map((arg, i) => [arg === null ? null : Buffer.from(arg), `\\'é📷? ${i}`, '{"é":"📷"}']),
      )
    })

    test('a refusal leaves it as it was, and it goes on', async t => {
      const {db, store} = await setUp(t)
      const {id} = await store.enqueue(newJob('Work', {uniqkey: 'k'}))
      const connection = await db.another()
      await connection.query('START TRANSACTION')
      await connection.query('INSERT INTO theirs VALUES (1)')
      const refused = store.enqueueWithin(connection, newJob('Work', {uniqkey: 'k', context: '{}'}))
      await assert.rejects(refused, error => error instanceof DuplicateJobError && error.existingId === id)
      await assert.rejects(
        store.enqueueWithin(connection, newJob('Work', {uniqkey: 'k'})),
        error => error instanceof DuplicateJobError && error.existingId === id,
      )
      await assert.rejects(
        store.enqueueWithin(connection, newJob('Never', {due: {at: 5_000_000_000}})),
        ArgumentError,
      )
      await db.run('ALTER TABLE jobq_wait RENAME TO hidden')
      await assert.rejects(store.enqueueWithin(connection, newJob('Never', {tracked: true})), /jobq_wait/)
      await db.run('ALTER TABLE hidden RENAME TO jobq_wait')
      const several = await Promise.allSettled(
        ['a', 'k', 'b', 'a'].map(uniqkey => store.enqueueWithin(connection, newJob('Work', {uniqkey}))),
      )
      assert.deepEqual(
        several.map(({status}) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
      )
      await connection.query('COMMIT')
      assert.deepEqual(await store.funcs(), ['Work'])
      assert.equal((await db.query('SELECT * FROM theirs')).length, 1)
      assert.deepEqual(
        (await db.query('SELECT uniqkey FROM job ORDER BY id')).map(row => row.uniqkey),
        ['k', 'a', 'b'],
      )
    })

    test('a text that the tables can’t hold is refused, though their sql_mode would cut it', async t => {
      const {db, store} = await setUp(t, 'CHARACTER SET utf8mb3')
      const connection = await db.another()
      await connection.query(`SET sql_mode = ''`)
      await connection.query('START TRANSACTION')
      for (const func of ['Work', 'New'])
        await assert.rejects(store.enqueueWithin(connection, newJob(func, {uniqkey: '📷'})), ArgumentError)
      await connection.query('COMMIT')
      assert.equal((await db.query('SELECT * FROM job')).length, 0)
    })

    test('that a deadlock has ended: it says that nothing of it is left', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      const [connection, perl] = [await db.another(), await db.another()]
      const theirs = (uniqkey: string) =>
        perl.query(`INSERT INTO job (func_id, uniqkey, grabbed_until) VALUES (1, '${uniqkey}', 0)`)
      await connection.query('START TRANSACTION')
      await perl.query('START TRANSACTION')
      await perl.query('INSERT INTO theirs VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)') // the heavier one
      await store.enqueueWithin(connection, newJob('Work', {uniqkey: 'a'}))
      await theirs('b')
      const victim = assert.rejects(
        store.enqueueWithin(connection, newJob('Work', {uniqkey: 'b'})),
        isTransactionError(/rolled back the whole transaction/, /begin it again/),
      )
      await until('it waits', () => db.hasLockWait())
      await theirs('a')
      await victim
      await perl.query('ROLLBACK')
      await assert.rejects(store.enqueueWithin(connection, newJob()), isTransactionError(/in no transaction/))
    })

    test('a lock that stays: the transaction is still there', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      const [connection, perl] = [await db.another(), await db.another()]
      await perl.query('START TRANSACTION')
      await perl.query(`INSERT INTO job (func_id, uniqkey, grabbed_until) VALUES (1, 'k', 0)`)
      await connection.query('SET innodb_lock_wait_timeout = 1')
      await connection.query('START TRANSACTION')
      await connection.query('INSERT INTO theirs VALUES (1)')
      const job = newJob('Work', {uniqkey: 'k'})
      await assert.rejects(
        store.enqueueWithin(connection, job),
        error => error instanceof StoreError && error.code === 'LOCKED',
      )
      await perl.query('ROLLBACK')
      await store.enqueueWithin(connection, job)
      await connection.query('COMMIT')
      assert.equal((await db.query('SELECT * FROM theirs')).length, 1)
    })

    test('that is none, is elsewhere, or is over', async t => {
      const {db, store} = await setUp(t)
      const job = newJob('Never')
      const pool = callbacks.createPool({uri: db.url})
      const promisePool = promises.createPool({uri: db.url})
      t.after(() => Promise.all([pool.promise().end(), promisePool.end()]))
      for (const each of [pool, promisePool])
        await assert.rejects(
          store.enqueueWithin(each, job),
          isTransactionError(/expected a connection in a transaction, got a (Promise)?Pool/, /getConnection/),
        )
      for (const each of [null, undefined, 'mysql://', {}, {query() {}}, store])
        await assert.rejects(
          store.enqueueWithin(each, job),
          isTransactionError(
            /expected a connection of mysql2, got (null|undefined|string|a Object|a MysqlStore)/,
          ),
        )
      const connection = await db.another()
      await assert.rejects(
        store.enqueueWithin(connection, job),
        isTransactionError(/in no transaction/, /beginTransaction/),
      )
      await connection.query('START TRANSACTION READ ONLY')
      await assert.rejects(store.enqueueWithin(connection, job), isTransactionError(/READ ONLY/))
      await connection.query('ROLLBACK')

      const other = await MysqlDatabase.create(url)
      t.after(() => other.drop())
      for (const database of [other.name, 'mysql', 'information_schema']) {
        await connection.query(`USE ${database}`)
        await connection.query('START TRANSACTION')
        const elsewhere = new RegExp(`expected a connection to ${db.name}, .* got one to ${database}`)
        await assert.rejects(store.enqueueWithin(connection, job), isTransactionError(elsewhere))
        await connection.query('ROLLBACK')
      }
      const none = await promises.createConnection({uri: Object.assign(new URL(db.url), {pathname: ''}).href})
      t.after(() => none.end())
      await none.query('START TRANSACTION')
      await assert.rejects(store.enqueueWithin(none, job), isTransactionError(/got one to no database/))

      await connection.query(`USE ${db.name}`)
      await connection.query('START TRANSACTION')
      await connection.end()
      await assert.rejects(store.enqueueWithin(connection, job), isTransactionError(/closed/))
      const killed = await db.another()
      killed.on('error', () => {})
      await killed.query('START TRANSACTION')
      await db.run(`KILL ${killed.threadId}`)
      await assert.rejects(store.enqueueWithin(killed, job), isTransactionError(/closed/))
      assert.deepEqual(await store.funcs(), [])
    })

    test('in a database that jobq init has not seen', async t => {
      const db = await MysqlDatabase.create(url)
      t.after(() => db.drop())
      const store = new MysqlStore(db.url, db.name)
      t.after(() => store.close())
      const connection = await db.another()
      await connection.query('START TRANSACTION')
      await assert.rejects(
        store.enqueueWithin(connection, newJob()),
        error => error instanceof StoreError && /jobq init/.test(error.hint),
      )
    })

    test('a watch rings soon after the commit', async t => {
      const {db, store} = await setUp(t)
      const other = new MysqlStore(db.url, db.name)
      t.after(() => other.close())
      const connection = await db.another()
      let rung = 0
      const watch = other.watch(() => rung++)
      t.after(() => watch.close())
      await until('it rings at the start', () => rung > 0)
      await connection.query('START TRANSACTION')
      await store.enqueueWithin(connection, newJob())
      const before = rung
      await connection.query('COMMIT')
      await until('it rings', () => rung > before)
    })
  })

  async function setUp(t: TestContext, charset = ''): Promise<{db: MysqlDatabase; store: MysqlStore}> {
    const db = await MysqlDatabase.create(url)
    t.after(() => db.drop())
    const store = new MysqlStore(db.url, db.name)
    t.after(() => store.close())
    await store.init()
    await db.query('CREATE TABLE theirs (n INT)')
    if (charset !== '') await db.query(`ALTER TABLE job CONVERT TO ${charset}`)
    return {db, store}
  }
}

function isTransactionError(message: RegExp, hint = /./) {
  return (error: unknown) => {
    assert.ok(error instanceof TransactionError, String(error))
    assert.match(error.message, message)
    assert.match(error.hint, hint)
    return true
  }
}
