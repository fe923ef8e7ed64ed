/** The store on MySQL when connections break, locks collide, and processes race. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {createConnection} from 'mysql2/promise'
import {ArgumentError, DuplicateJobError, StoreError} from '../../src/lib/jobs/errors.ts'
import type {JobRow} from '../../src/lib/jobs/job.ts'
import {connectionOptions} from '../../src/lib/store/mysql/connections/address.ts'
import {explain} from '../../src/lib/store/mysql/errors.ts'
import {type MysqlOptions, MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {preparedMysql} from '../support/prepared.ts'
import {mysqlServer} from '../support/servers.ts'
import {isStoreError, newJob, startProcess, tell, want} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await mysqlServer()

if ('missing' in server) test('MySQL when things go wrong', {skip: server.missing})
else {
  after(() => server.stop())
  const {url} = server

  describe('a connection to MySQL', () => {
    test('that was killed is made again at the next call', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      await store.turn([], want())
      assert.ok((await killConnections(db)) >= 2)
      assert.equal((await store.list({limit: 9, offset: 0})).length, 1)
      await store.enqueue(newJob())
      await killConnections(db)
      assert.equal((await store.turn([], want(5))).jobs.length, 1)
    })

    test('that breaks before the answer to an insert: it may have been stored, and is not sent twice', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      await store.enqueue(newJob())
      proxy.cutAfter = 'INSERT INTO job'
      await assert.rejects(store.enqueue(newJob()), error => {
        assert.ok(error instanceof StoreError)
        assert.equal(error.code, 'UNCERTAIN')
        assert.match(error.message, /may have been stored/)
        return true
      })
      assert.equal(proxy.cuts, 1)
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })

    test('likewise where it lives and says no more', async t => {
      const {db, proxy} = await setUpProxy(t)
      const store = new MysqlStore(`${proxied(db, proxy)}?answer-timeout=0.2`, db.name)
      t.after(() => store.close())
      await store.enqueue(newJob())
      proxy.silentAfter = 'INSERT INTO job'
      await assert.rejects(store.enqueue(newJob()), isStoreError('UNCERTAIN'))
      proxy.silentAfter = 'CALL jobq_turn'
      await assert.rejects(store.turn([], want()), isStoreError('UNREACHABLE'))
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })

    test('likewise, but with a uniqkey: the job is found again', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      await store.enqueue(newJob())
      proxy.cutAfter = 'INSERT INTO job'
      const enqueued = await store.enqueue(newJob('Work', {uniqkey: 'k', arg: '[1]', priority: 3}))
      assert.equal(proxy.cuts, 1)
      const rows = await db.query(`SELECT id, run_after FROM job WHERE uniqkey = 'k'`)
      assert.deepEqual(rows, [{id: enqueued.id, run_after: enqueued.runAfter}])
      proxy.cutAfter = 'INSERT INTO job' // which is refused now, and nobody hears of it
      await assert.rejects(store.enqueue(newJob('Work', {uniqkey: 'k', arg: '[2]'})), DuplicateJobError)
    })

    test('that breaks at the end of a bulk: all may have been stored', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      proxy.cutAfter = '\x03COMMIT' // the statement that it is, by itself
      await assert.rejects(store.enqueueMany([newJob(), newJob()]), /all 2 jobs may have been stored/)
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
      proxy.cutAfter = 'INSERT INTO job'
      await assert.rejects(store.enqueueMany([newJob()]), error => {
        assert.ok(error instanceof StoreError)
        return error.code === 'UNREACHABLE' && !/may have/.test(error.message)
      })
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })

    test('that breaks in a turn raises UNREACHABLE, and the next turn works', async t => {
      const {store, proxy} = await setUpProxy(t)
      await store.enqueueMany([newJob(), newJob()])
      const [job] = (await store.turn([], want())).jobs
      proxy.cutAfter = 'CALL jobq_turn'
      const ended = [{lease: job!, outcome: {kind: 'completed'}}] as const
      await assert.rejects(store.turn(ended, want(0)), isStoreError('UNREACHABLE'))
      assert.equal(proxy.cuts, 1)
      assert.equal((await store.turn([], want())).jobs.length, 1)
    })

    test('that is lost does not end a watch', async t => {
      const {db, store} = await setUp(t)
      const other = await open(t, db)
      let rung = 0
      const watch = store.watch(() => rung++)
      t.after(() => watch.close())
      await until('it rings at the start', () => rung > 0)
      await killConnections(db)
      const before = rung
      await other.enqueue(newJob())
      await until('it rings', () => rung > before)
    })

    test('that the server refuses since there are too many: who has one goes on with it', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      const address = await db.withoutProcedure()
      const alone = new MysqlStore(address, 'mysql://***@host/db')
      const refused = new MysqlStore(address, 'mysql://***@host/db')
      await db.query(`ALTER USER '${new URL(address).username}'@'%' WITH MAX_USER_CONNECTIONS 1`)
      try {
        assert.deepEqual(await alone.funcs(), ['Work'])
        const stored = await Promise.all(Array.from({length: 20}, () => alone.enqueue(newJob())))
        assert.equal(new Set(stored.map(({id}) => id)).size, 20)
        assert.deepEqual(
          await Promise.all([alone.funcs(), alone.funcs(), alone.funcs()]),
          Array(3).fill(['Work']),
        )
        await assert.rejects(refused.funcs(), error => {
          assert.ok(error instanceof StoreError, String(error))
          assert.equal(error.code, 'UNREACHABLE')
          assert.match(error.hint, /no connection left for this user/)
          return true
        })
      } finally {
        await Promise.all([alone.close(), refused.close()])
      }
    })

    test('where no server is: UNREACHABLE, and never the password', async t => {
      const {db} = await setUp(t)
      const at = (change: Partial<URL>) => Object.assign(new URL(db.url), change).href
      const addresses = {
        ECONNREFUSED: at({port: '1', password: 'hush'}),
        'Access denied': at({username: 'nobody_here', password: 'hush'}),
        'Unknown database': at({pathname: '/jobq_not_there'}),
        ENOTFOUND: at({hostname: 'no.such.host.invalid', password: 'hush'}),
      }
      for (const [reason, address] of Object.entries(addresses)) {
        const store = new MysqlStore(address, 'mysql://***@host/db')
        await assert.rejects(store.enqueue(newJob()), error => {
          assert.ok(error instanceof StoreError, String(error))
          assert.equal(error.code, 'UNREACHABLE')
          assert.match(error.message, new RegExp(reason))
          assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack}`, /hush|may have/)
          return true
        })
        await store.close()
      }
    })
  })

  describe('a lock on MySQL', () => {
    test('of a whole table is waited for, by who stores and who reads, and told when it stays', async t => {
      const {db, store: impatient} = await setUp(t, {patience: 1000})
      const store = new MysqlStore(`${db.url}?answer-timeout=2`, db.name)
      t.after(() => store.close())
      await store.enqueue(newJob())
      const locker = await db.another()
      await locker.query('LOCK TABLES job WRITE, func WRITE')
      const enqueued = store.enqueue(newJob())
      const listed = store.list({limit: 9, offset: 0})
      await assert.rejects(impatient.enqueue(newJob()), isStoreError('LOCKED'))
      await until('both have tried again', () => store.deadlocks >= 4)
      await locker.query('UNLOCK TABLES')
      await enqueued
      assert.ok((await listed).length >= 1)
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })

    test('that makes a deadlock: the transaction is done again', async t => {
      const {db, store} = await setUp(t)
      await store.enqueueMany(Array.from({length: 100}, () => newJob()))
      const [first, second] = (await store.turn([], want(2))).jobs as [JobRow, JobRow]
      const perl = await createConnection({uri: db.url})
      t.after(() => perl.end())
      await perl.query('START TRANSACTION')
      await perl.query('UPDATE job SET enqueue_time = 1 WHERE id > ?', [second.id]) // the heavier one, so it lives
      await perl.query('UPDATE job SET enqueue_time = 1 WHERE id = ?', [second.id])
      const ended = [first, second].map(lease => ({lease, outcome: {kind: 'completed'} as const}))
      const turn = store.turn(ended, want(0))
      await until('the turn waits for the second row', async () => {
        const sql = `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = ? AND info LIKE 'SELECT GROUP_CONCAT(id) INTO%'`
        return Number((await db.query(sql, db.name))[0]!.n) > 0
      })
      await perl.query('UPDATE job SET enqueue_time = 1 WHERE id = ?', [first.id])
      await perl.query('COMMIT')
      assert.deepEqual((await turn).settled, [{held: true}, {held: true}])
      assert.equal(store.deadlocks, 1)
    })

    test('that stays is LOCKED, and nothing of the turn is written', async t => {
      const {db, store} = await setUp(t, {patience: 1000})
      await store.enqueueMany([newJob(), newJob()])
      const jobs = (await store.turn([], want(2))).jobs
      const perl = await createConnection({uri: db.url})
      t.after(() => perl.end())
      await perl.query('START TRANSACTION')
      await perl.query('UPDATE job SET enqueue_time = 1 WHERE id = ?', [jobs[1]!.id])
      const ended = jobs.map(lease => ({lease, outcome: {kind: 'completed'} as const}))
      await assert.rejects(store.turn(ended, want(0)), isStoreError('LOCKED'))
      await perl.query('ROLLBACK')
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })

    test("on the best job passes it over: another's grab that has not ended", async t => {
      const {db, store} = await setUp(t)
      const {id} = await store.enqueue(newJob('Work', {priority: 9}))
      const next = await store.enqueue(newJob('Work', {priority: 9}))
      const last = await store.enqueue(newJob('Other'))
      const perl = await createConnection({uri: db.url})
      t.after(() => perl.end())
      await perl.query('START TRANSACTION')
      await perl.query('SELECT id FROM job WHERE id = ? FOR UPDATE', [id])
      const {jobs, nextDueIn} = await store.turn([], want(3, 'Work', 'Other'))
      assert.deepEqual(
        jobs.map(job => job.id),
        [next.id, last.id],
      )
      assert.equal(nextDueIn, 0)
      await perl.query('ROLLBACK')
      assert.equal((await store.turn([], want(3, 'Work', 'Other'))).jobs[0]?.id, id)
    })
  })

  describe('a statement that the MySQL server cancels', () => {
    const cancelAll = async (db: MysqlDatabase, what = '%INSERT INTO job%') => {
      const waiting = `SELECT id FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID() AND info LIKE ?`
      await until('it waits', async () => {
        const rows = await db.query(waiting, db.name, what)
        for (const {id} of rows) await db.query(`KILL QUERY ${id}`)
        return rows.length > 0
      })
    }

    test('is told with that, and nothing was stored', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      const perl = await db.another()
      await perl.query('START TRANSACTION')
      await perl.query(`INSERT INTO job (func_id, uniqkey, grabbed_until) SELECT id, 'k', 0 FROM func`)
      for (const jobs of [
        [newJob('Work', {uniqkey: 'k'})],
        [newJob('Work', {uniqkey: 'k', tracked: true})],
      ]) {
        const enqueued = Promise.all(jobs.map(job => store.enqueue(job)))
        const told = assert.rejects(enqueued, isStoreError('CANCELLED'))
        await cancelAll(db)
        await told
      }
      await perl.query('ROLLBACK')
      assert.equal((await db.query('SELECT id FROM job')).length, 1)
    })

    test('behind an insert that is done: it may have been stored', async t => {
      const {db, proxy} = await setUpProxy(t)
      const store = new MysqlStore(proxied(db, proxy), db.name)
      t.after(() => store.close())
      await store.enqueue(newJob())
      // As a KILL QUERY that comes when the job is stored and the answer is not yet complete
      proxy.change = ['SELECT @now AS now', 'SELECT SLEEP(1000)']
      const told = assert.rejects(store.enqueue(newJob()), isStoreError('UNCERTAIN'))
      await cancelAll(db, 'SELECT SLEEP%')
      await told
      assert.equal((await db.query('SELECT id FROM job')).length, 2)
    })
  })

  describe('an argument that is larger than the MySQL server takes', () => {
    test('is refused before it is sent, and nothing is stored: alone, with others, in a bulk, in a transaction', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      const [row] = await db.query('SELECT @@max_allowed_packet AS most')
      const large = newJob('Work', {arg: new Uint8Array(3 * Number(row!.most))})
      const refused = (error: unknown) => {
        assert.ok(error instanceof ArgumentError, String(error))
        assert.match(error.message, /^larger than .* takes \(.*; nothing was stored$/)
        return true
      }
      await assert.rejects(store.enqueue(large), refused)
      await assert.rejects(store.enqueue(newJob('Work', {context: 'x'.repeat(Number(row!.most))})), refused)
      await assert.rejects(store.enqueueMany([newJob(), large]), refused)
      const together = await Promise.allSettled([newJob(), large, newJob()].map(job => store.enqueue(job)))
      assert.deepEqual(
        together.map(({status}) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
      const guest = await db.another()
      await guest.beginTransaction()
      await assert.rejects(store.enqueueWithin(guest, large), refused)
      await store.enqueueWithin(guest, newJob())
      await guest.commit()
      assert.equal((await db.query('SELECT id FROM job')).length, 4)
    })
  })

  describe('several processes on MySQL', () => {
    test('get every job once, each in strict order, and make the schema together', async t => {
      const db = await MysqlDatabase.create(url)
      t.after(() => db.drop())
      const children = await Promise.all(Array.from({length: 4}, () => startProcess(t, db.url)))
      for (const child of children) await tell(child, {do: 'open'})
      await Promise.all(children.map(child => tell(child, {do: 'init'})))
      const store = await open(t, db)
      await store.enqueueMany(Array.from({length: 2000}, (_, i) => newJob('Work', {priority: i % 5})))
      const priorities = new Map(
        (await db.query('SELECT id, priority FROM job')).map(row => [row.id, row.priority]),
      )
      const taken = await Promise.all(children.map(child => tell(child, {do: 'work', func: 'Work'})))
      assert.equal(new Set(taken.flat()).size, 2000)
      assert.equal(taken.flat().length, 2000)
      for (const ids of taken) {
        const order = ids.map(id => Number(priorities.get(id)))
        assert.deepEqual(
          order,
          [...order].sort((a, b) => b - a),
        )
      }
    })

    test('enqueue one key at once: one wins', async t => {
      const {db, store} = await setUp(t)
      const others = [store, await open(t, db), await open(t, db)]
      for (let round = 0; round < 20; round++) {
        const job = newJob(`New ${round}`, {uniqkey: 'k'}) // and its function's row
        const results = await Promise.allSettled(others.map(each => each.enqueue(job)))
        const refused = results.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
        assert.equal(refused.length, 2)
        for (const reason of refused) assert.ok(reason instanceof DuplicateJobError, String(reason))
      }
      assert.equal((await db.query('SELECT id FROM job')).length, 20)
      assert.equal((await db.query('SELECT id FROM func')).length, 20)
    })
  })

  interface Scene {
    db: MysqlDatabase
    store: MysqlStore
  }

  async function setUp(t: TestContext, options: MysqlOptions = {}): Promise<Scene> {
    const db = await preparedMysql(t, url)
    const store = await open(t, db, options)
    return {db, store}
  }

  async function setUpProxy(t: TestContext): Promise<Scene & {proxy: CuttingProxy}> {
    const {db, store: direct} = await setUp(t)
    await direct.enqueue(newJob()) // the function's row is there
    await db.run('DELETE FROM job')
    const {hostname, port} = new URL(db.url)
    const proxy = await CuttingProxy.to(hostname, Number(port || 3306))
    t.after(() => proxy.close())
    const store = new MysqlStore(proxied(db, proxy), db.name)
    t.after(() => store.close())
    return {db, store, proxy}
  }
}

describe("MySQL's errors", () => {
  const told = (error: object) => explain('db', Object.assign(new Error('x'), error))

  test('have a code of jobq each', () => {
    const codes: [object, string][] = [
      [{code: 'ER_CON_COUNT_ERROR', errno: 1040}, 'UNREACHABLE'],
      [{code: 'ER_SERVER_SHUTDOWN', errno: 1053}, 'UNREACHABLE'],
      [{code: 'PROTOCOL_CONNECTION_LOST', fatal: true}, 'UNREACHABLE'],
      [{code: 'ECONNRESET', errno: -104}, 'UNREACHABLE'],
      [{code: 'DEPTH_ZERO_SELF_SIGNED_CERT'}, 'UNREACHABLE'],
      [{code: 'MYSQL_CLEAR_PASSWORD_NOT_ENABLED', fatal: true}, 'UNREACHABLE'],
      [{code: 'ER_OPTION_PREVENTS_STATEMENT', errno: 1290}, 'READ_ONLY'],
      [{code: 'ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION', errno: 1792}, 'READ_ONLY'],
      [{code: 'ER_RECORD_FILE_FULL', errno: 1114}, 'FULL'],
      [{code: 'ER_DISK_FULL', errno: 1021}, 'FULL'],
      [{code: 'ER_LOCK_WAIT_TIMEOUT', errno: 1205}, 'LOCKED'],
      [{code: 'ER_LOCK_DEADLOCK', errno: 1213}, 'LOCKED'],
      [{code: 'ER_NO_SUCH_TABLE', errno: 1146}, 'FOREIGN'],
      [{code: 'ER_KEY_DOES_NOT_EXITS', errno: 1176}, 'FOREIGN'],
      [{code: 'ER_PARSE_ERROR', errno: 1064}, 'DATABASE'],
      [{code: 'ER_QUERY_INTERRUPTED', errno: 1317}, 'CANCELLED'],
      [{errno: 1969}, 'CANCELLED'], // MariaDB's own have no name in mysql2
      [{code: 'ER_QUERY_TIMEOUT', errno: 3024}, 'CANCELLED'],
      [{errno: 4999}, 'DATABASE'],
    ]
    for (const [error, code] of codes) assert.equal((told(error) as StoreError).code, code)
    assert.ok(told({code: 'ER_TRUNCATED_WRONG_VALUE_FOR_FIELD', errno: 1366}) instanceof ArgumentError)
    const defect = new TypeError('x')
    assert.equal(explain('db', defect), defect)
  })

  test('TLS is as the address says, and verified unless it says otherwise', () => {
    const ssl = (query: string) => connectionOptions(`mysql://u:p@h/d${query}`, 'h').ssl
    for (const query of ['', '?ssl=false', '?ssl-mode=DISABLED', '?ssl-mode=PREFERRED'])
      assert.equal(ssl(query), undefined, query)
    for (const query of ['?ssl=true', '?ssl=1', '?ssl-mode=REQUIRED', '?ssl-mode=VERIFY_IDENTITY'])
      assert.deepEqual(ssl(query), {rejectUnauthorized: true, verifyIdentity: true}, query)
    assert.deepEqual(ssl('?ssl-mode=VERIFY_CA'), {rejectUnauthorized: true, verifyIdentity: false})
    assert.deepEqual(ssl('?ssl=true&ssl-verify=false'), {rejectUnauthorized: false, verifyIdentity: false})
    assert.throws(() => ssl('?ssl-ca=/no/such/file'), /ssl-ca: can't read/)
  })
})

function proxied(db: MysqlDatabase, {port}: CuttingProxy): string {
  return Object.assign(new URL(db.url), {hostname: '127.0.0.1', port: String(port)}).href
}

async function open(t: TestContext, db: MysqlDatabase, options: MysqlOptions = {}): Promise<MysqlStore> {
  const store = db.store(options)
  t.after(() => store.close())
  return store
}

/** All but the test's own. @returns how many */
async function killConnections(db: MysqlDatabase): Promise<number> {
  const sql = 'SELECT id FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()'
  const connections = await db.query(sql, db.name)
  for (const {id} of connections) await db.query(`KILL CONNECTION ${id}`).catch(() => {})
  return connections.length
}
