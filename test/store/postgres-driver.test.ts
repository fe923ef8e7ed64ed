/** What only the store on PostgreSQL does: connections that end, several processes, the schema, rights, many jobs. */

import assert from 'node:assert/strict'
import {fork} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {type AddressInfo, connect, createServer, type Socket} from 'node:net'
import {describe, type TestContext, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import pg from 'pg'
import {ArgumentError, StoreError, type StoreErrorCode, UsageError} from '../../src/lib/jobs/errors.ts'
import {ALIKE_ROWS, type NewJob} from '../../src/lib/jobs/job.ts'
import {preparePostgres} from '../../src/lib/store/postgres/init.ts'
import {type PostgresStore, postgresStore} from '../../src/lib/store/postgres/store.ts'
import {Site} from '../support/manager.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {prepared} from '../support/prepared.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'
import {shareAll} from '../support/share-all.ts'
import {newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

const CHILD = fileURLToPath(new URL('./postgres-process.ts', import.meta.url))
const SCHEMA_1 = fileURLToPath(new URL('../fixtures/postgres-schema-1.sql', import.meta.url))
/** Of which a plan that is not made for any number of rows would read hundreds at least. */
const MANY = 100_000
const server = await postgresServer(answersPostgres)
const mysql = await mysqlServer()

if ('missing' in server) test('the PostgreSQL driver', {skip: server.missing})
else {
  const {url} = server

  describe('PostgreSQL: connections', () => {
    test('one that was ended is made anew by the next call', async t => {
      const {db, store} = await prepared(t, url)
      for (let i = 0; i < 3; i++) {
        await store.enqueue(newJob())
        await endConnections(db)
        await store.enqueue(newJob())
      }
      assert.equal((await store.counts())[0]?.ready, 6)
    })

    test('a turn whose connection ends midway is not half done', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob())
      const [taken] = (await store.turn([], want())).jobs
      await db.query('BEGIN')
      await db.query('SELECT FROM job FOR UPDATE')
      const end = {lease: taken!, outcome: {kind: 'failed', message: 'x', retryIn: null}} as const
      const settled = store.turn([end], want())
      await until('the turn waits', async () => (await waiting(db)).length === 1)
      const [first] = await waiting(db)
      const failed = assert.rejects(settled, hasCode('UNREACHABLE'))
      await endConnections(db)
      // The second attempt waits as the first did, which the server may still be ending
      await until('it tries again', async () => (await waiting(db)).some(pid => pid !== first))
      await endConnections(db)
      await failed
      await db.query('COMMIT')
      assert.deepEqual((await store.turn([end], want())).settled, [{held: true}])
      assert.equal((await store.exceptions({limit: 9, offset: 0})).length, 1)
    })

    test('a watch listens again after its connection was ended, and rings then', async t => {
      const {db, store} = await prepared(t, url)
      let rung = 0
      const watch = store.watch(() => rung++)
      for (let i = 0; i < 3; i++) {
        await until('it rings for being connected', () => rung > 0)
        const before = rung
        await endConnections(db, 'jobq listen')
        await until('it rings for being connected again', () => rung > before)
        rung = 0
        await db.run(`INSERT INTO func (name) VALUES ('Psql') ON CONFLICT DO NOTHING`)
        await db.run('INSERT INTO job (func_id, grabbed_until) SELECT id, 0 FROM func')
        await until('it rings for an insert', () => rung > 0)
      }
      watch.close()
    })

    test('one transaction rings once, a grab and a renewal not at all', async t => {
      const {db, store} = await prepared(t, url)
      const listener = new pg.Client(db.url)
      await listener.connect()
      t.after(() => listener.end())
      let rung = 0
      listener.on('error', () => {}) // the database is dropped
      listener.on('notification', () => rung++)
      await listener.query('LISTEN jobq_public')
      const heard = async () => {
        await listener.query('SELECT 1') // what was sent before has come by then
        return rung
      }
      await store.enqueueMany(Array.from({length: 5000}, () => newJob()))
      assert.equal(await heard(), 1)
      const {jobs} = await store.turn([], want(2))
      await store.renew(jobs, 900)
      assert.equal(await heard(), 1)
    })

    test('without a function that writes ends, no job is taken: it would run, and run again', async t => {
      const {db, store} = await prepared(t, url)
      await db.query('ALTER FUNCTION jobq_end_6 RENAME TO jobq_end_0')
      const {id} = await store.enqueue(newJob())
      const says = hasCode('FOREIGN', /is not prepared for jobq \(function jobq_end_6 does not exist\)$/)
      await assert.rejects(store.turn([], want(1)), says)
      await assert.rejects(store.claim([{id}], 60), says)
      assert.equal((await store.find(id))!.state, 'ready')
      await store.init()
      assert.equal((await store.turn([], want(1))).jobs.length, 1)
    })

    test('out of reach: in one line, without the password', async () => {
      const port = await freePort()
      const cases: [string, StoreErrorCode, RegExp][] = [
        [`postgres://u:s3cret@127.0.0.1:${port}/x`, 'UNREACHABLE', /ECONNREFUSED/],
        [url.replace(/\/[^/]*$/, '/no_such_database'), 'UNREACHABLE', /no_such_database/],
        [url.replace(/\/\/[^@]*@/, '//no_such_user:s3cret@'), 'UNREACHABLE', /no_such_user/],
        ['postgres://u:s3cret@no-such-host.invalid/x', 'UNREACHABLE', /no-such-host/],
      ]
      if ('url' in mysql)
        cases.push([
          Object.assign(new URL(mysql.url), {protocol: 'postgres:', username: 'u', password: 's3cret'}).href,
          'UNREACHABLE',
          /unexpected \w+ message/,
        ])
      for (const [address, code, words] of cases)
        await assert.rejects(reached(address, address.replace('s3cret', '***')), error => {
          assert.ok(error instanceof StoreError, String(error))
          assert.equal(error.code, code)
          assert.match(error.message, words)
          assert.notEqual(error.hint, '')
          assert.doesNotMatch(`${error.message} ${error.hint}`, /s3cret|\n/)
          return true
        })
    })

    test('too many connections are told, and waited for by no one here', async t => {
      const {db} = await prepared(t, url)
      await db.run(`ALTER DATABASE ${db.name} CONNECTION LIMIT 0`)
      const [user] = await db.query('SELECT rolsuper FROM pg_roles WHERE rolname = current_user')
      if (user!.rolsuper) await assert.doesNotReject(reached(db.url))
      const role = await newRole(t, db)
      await assert.rejects(reached(role), hasCode('UNREACHABLE', /too many connections/))
    })

    test('who may have two connections makes do with them, and hears what is new', async t => {
      const {db, store} = await prepared(t, url)
      const role = await newRole(t, db)
      const {username} = new URL(role)
      for (const what of ['TABLES', 'SEQUENCES'])
        await db.query(`GRANT ALL ON ALL ${what} IN SCHEMA public TO ${username}`)
      await db.query(`ALTER ROLE ${username} CONNECTION LIMIT 2`)
      const mine = postgresStore(role, 'db')
      t.after(() => mine.close())
      const calls = Array.from({length: 20}, (_, i) =>
        i % 2 === 0 ? mine.counts() : mine.enqueue(newJob('Work', {uniqkey: `k${i}`})),
      )
      await Promise.all(calls)
      let rung = 0
      const watch = mine.watch(() => rung++)
      t.after(() => watch.close())
      await until('it listens', async () => {
        const [row] = await db.query(
          `SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'jobq listen' AND usename = '${username}'`,
        )
        return Number(row!.n) === 1
      })
      await Promise.all(Array.from({length: 20}, () => mine.counts()))
      const before = rung
      await store.enqueue(newJob())
      await until('it is told', () => rung > before)
    })

    test('TLS is verified if the URL asks for it, and a mode that is none is refused', async t => {
      const {db} = await prepared(t, url)
      await assert.rejects(reached(`${db.url}?sslmode=require`), hasCode('UNREACHABLE', /SSL|certificate/i))
      assert.throws(() => postgresStore(`${db.url}?sslmode=maybe`, 'db'), UsageError)
      await reached(`${db.url}?sslmode=disable`)
    })

    test('a database that can only be read is listed, not written', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob())
      await db.run(`ALTER DATABASE ${db.name} SET default_transaction_read_only = on`)
      const readOnly = db.store()
      t.after(() => readOnly.close())
      await assert.rejects(readOnly.enqueue(newJob()), hasCode('READ_ONLY'))
      assert.equal((await readOnly.list({limit: 5, offset: 0})).length, 1)
    })
  })

  describe('PostgreSQL: an insert whose answer is lost', () => {
    test('is found again by its key, and told of without one', async t => {
      const {db, store} = await prepared(t, url)
      const {port, loseAnswer, close} = await proxy(new URL(db.url))
      t.after(close)
      const through = new URL(db.url)
      through.host = `127.0.0.1:${port}`
      const far = postgresStore(through.href, 'db')
      t.after(() => far.close())
      await far.enqueue(newJob('Warm'))
      loseAnswer()
      const enqueued = await far.enqueue(newJob('Work', {uniqkey: 'k', arg: 'mine'}))
      assert.equal((await store.find(enqueued.id))?.uniqkey, 'k')
      loseAnswer()
      await assert.rejects(far.enqueue(newJob('Work')), hasCode('UNCERTAIN', /may have been stored/))
      assert.equal((await store.counts('Work'))[0]?.ready, 2)
    })

    test('likewise where the connection lives and says no more', async t => {
      const {db, store} = await prepared(t, url)
      const {port, keepAnswers, close} = await proxy(new URL(db.url))
      t.after(close)
      const through = Object.assign(new URL(db.url), {
        host: `127.0.0.1:${port}`,
        search: 'answer-timeout=0.2',
      })
      const far = postgresStore(through.href, 'db')
      t.after(() => far.close())
      await far.enqueue(newJob('Warm'))
      keepAnswers()
      await assert.rejects(far.enqueue(newJob('Work')), hasCode('UNCERTAIN', /may have been stored/))
      await far.counts() // on a new connection
      keepAnswers()
      await assert.rejects(far.turn([], want()), hasCode('UNREACHABLE', /no answer for 0.2 s/))
      assert.equal((await store.counts('Work')).length, 1)
    })
  })

  describe('PostgreSQL: a statement that the server cancels', () => {
    test('is told with that, and nothing was stored', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob())
      const other = await db.foreign()
      await other.begin()
      await other.run(`INSERT INTO job (func_id, uniqkey, grabbed_until) SELECT id, 'k', 0 FROM func`)
      const told = assert.rejects(store.enqueue(newJob('Work', {uniqkey: 'k'})), hasCode('CANCELLED'))
      await until('it waits', async () => (await waiting(db)).length === 1)
      await db.query(
        `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = ? AND wait_event_type = 'Lock'`,
        db.name,
      )
      await told
      await other.rollback()
      assert.equal((await store.counts())[0]?.ready, 1)
    })

    test('by statement_timeout: likewise, and the next one works', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob())
      await db.run(`ALTER DATABASE ${db.name} SET statement_timeout = '500ms'`)
      const hasty = db.store()
      t.after(() => hasty.close())
      const {jobs} = await hasty.turn([], want())
      await db.query('BEGIN')
      await db.query('SELECT FROM job FOR UPDATE')
      await assert.rejects(hasty.renew(jobs, 5), hasCode('CANCELLED', /statement timeout/))
      await db.query('COMMIT')
      assert.equal((await hasty.renew(jobs, 5)).length, 1)
    })
  })

  describe('PostgreSQL: the commits of a turn', () => {
    test('are waited for by `jobq work --durable`, or as the configuration says', async t => {
      const {db, store} = await prepared(t, url)
      await db.run(`ALTER DATABASE ${db.name} RESET synchronous_commit`)
      await db.query('CREATE TABLE ended (setting TEXT)')
      await db.query(`CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO ended VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$`)
      await db.query('CREATE TRIGGER noted AFTER DELETE ON job FOR EACH ROW EXECUTE FUNCTION note()')
      const site = new Site(t, {'durable.config.json': '{"durable": true}'})
      site.env.JOBQ_DB = db.url
      for (const words of [[], ['--durable'], ['--config', 'durable.config.json']]) {
        await store.enqueue(newJob('Do'))
        const worked = site.run('work', '--once', '--exec', 'Do=true', ...words)
        assert.equal(await worked.exit(), 0, worked.log)
      }
      const settings = (await db.query('SELECT setting FROM ended')).map(({setting}) => setting)
      assert.deepEqual(settings, ['off', 'on', 'on'])
    })
  })

  describe('PostgreSQL: an argument', () => {
    test('that is larger than the server takes is refused before it is sent', async t => {
      const {store} = await prepared(t, url)
      const large = newJob('Work', {arg: new Uint8Array(2 ** 30)})
      await assert.rejects(store.enqueue(large), ArgumentError)
      await assert.rejects(store.enqueue(large), /larger than PostgreSQL takes/)
      assert.deepEqual(await store.counts(), [])
    })
  })

  describe('PostgreSQL: locks', () => {
    test('a job that someone has locked is passed over, and comes later', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueueMany([newJob('Work', {priority: 9}), newJob('Work', {priority: 1})])
      await db.query('BEGIN')
      await db.query('SELECT FROM job WHERE priority = 9 FOR UPDATE')
      const first = await store.turn([], want(2))
      assert.deepEqual(
        first.jobs.map(({priority}) => priority),
        [1],
      )
      assert.ok(first.nextDueIn! <= 1)
      await db.query('ROLLBACK')
      assert.equal((await store.turn([], want())).jobs[0]?.priority, 9)
    })

    test('deadlocks are repeated until they pass', async t => {
      const {store} = await prepared(t, url)
      const names = ['A', 'B', 'C', 'D']
      const enqueueAll = (funcs: string[]) =>
        Promise.all(
          Array.from({length: 20}, (_, i) => store.enqueue(newJob(funcs[i % 4]!, {uniqkey: `k${i}`}))),
        )
      await enqueueAll(names)
      const {jobs} = await store.turn([], {...want(20), funcs: names})
      const reversed = [...jobs].reverse()
      const [a, b] = await Promise.all([store.renew(jobs, 100), store.renew(reversed, 100)])
      assert.equal(a.length + b.length >= 20, true)
    })

    test('a table that is locked is waited for by init, too', async t => {
      const {db} = await prepared(t, url)
      await db.run('DROP TRIGGER jobq_left ON job')
      const init = postgresStore(`${db.url}?answer-timeout=0.5`, 'db')
      t.after(() => init.close())
      await db.query('BEGIN')
      await db.query('LOCK TABLE job IN ACCESS EXCLUSIVE MODE')
      const made = init.prepare()
      const pids = new Set<unknown>()
      await until('it has tried again', async () => {
        for (const pid of await waiting(db)) pids.add(pid)
        return pids.size > 1
      })
      await db.query('COMMIT')
      assert.ok((await made).length > 0)
    })

    test('a lock that stays is told after the patience', async t => {
      const {db, store} = await prepared(t, url)
      const hasty = db.store({patience: 50})
      t.after(() => hasty.close())
      await store.enqueue(newJob())
      const {jobs} = await store.turn([], want())
      await db.query('BEGIN')
      await db.query('SELECT FROM job FOR UPDATE')
      await assert.rejects(hasty.renew(jobs, 5), hasCode('LOCKED'))
      await db.query('ROLLBACK')
    })

    test('processes that race get each job once, each in order', async t => {
      const {db, store} = await prepared(t, url)
      const count = 3000
      await store.enqueueMany(Array.from({length: count}, (_, i) => newJob('Work', {priority: i % 7})))
      const taken = await Promise.all([1, 2, 3].map(() => workedBy(db.url)))
      assert.equal(new Set(taken.flat().map(([id]) => id)).size, count)
      assert.equal(taken.flat().length, count)
      for (const jobs of taken) {
        const priorities = jobs.map(([, priority]) => priority)
        assert.deepEqual(
          priorities,
          [...priorities].sort((a, b) => b - a),
        )
      }
    })

    test('no more run than may, over processes that race', async t => {
      const {store, db} = await prepared(t, url)
      await store.enqueueMany(Array.from({length: 50}, () => newJob()))
      const stores = Array.from({length: 4}, () => db.store())
      t.after(() => Promise.all(stores.map(each => each.close())))
      const limited = {...want(5), maxRunning: new Map([['Work', 3]])}
      for (let round = 0; round < 10; round++) {
        const turns = await Promise.all(stores.map(each => each.turn([], limited)))
        const jobs = turns.flatMap(turn => turn.jobs)
        assert.equal(jobs.length, 3)
        await store.turn(
          jobs.map(lease => ({lease, outcome: {kind: 'released'}})),
          want(0),
        )
      }
    })
  })

  describe('PostgreSQL: the schema', () => {
    test('Qudo’s columns to the letter', async t => {
      const {db} = await prepared(t, url)
      const columns = await db.query(
        `SELECT table_name || '.' || column_name || ' ' || upper(data_type) || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END AS line
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'jobq%'
         ORDER BY table_name, ordinal_position`,
      )
      assert.deepEqual(
        columns.map(({line}) => line),
        [
          'exception_log.id BIGINT NOT NULL',
          'exception_log.func_id INTEGER NOT NULL',
          'exception_log.exception_time INTEGER NOT NULL',
          'exception_log.message BYTEA',
          'exception_log.uniqkey CHARACTER VARYING',
          'exception_log.arg BYTEA',
          'exception_log.retried SMALLINT NOT NULL',
          'func.id INTEGER NOT NULL',
          'func.name CHARACTER VARYING NOT NULL',
          'job.id BIGINT NOT NULL',
          'job.func_id INTEGER NOT NULL',
          'job.arg BYTEA',
          'job.uniqkey CHARACTER VARYING',
          'job.enqueue_time INTEGER',
          'job.grabbed_until INTEGER NOT NULL',
          'job.run_after INTEGER NOT NULL',
          'job.retry_cnt INTEGER NOT NULL',
          'job.priority INTEGER NOT NULL',
          'job_status.id BIGINT NOT NULL',
          'job_status.func_id INTEGER NOT NULL',
          'job_status.arg BYTEA',
          'job_status.uniqkey CHARACTER VARYING',
          'job_status.status CHARACTER VARYING',
          'job_status.job_start_time INTEGER NOT NULL',
          'job_status.job_end_time INTEGER NOT NULL',
        ],
      )
    })

    test('a dry run tells what init then does, and the second time there is nothing to do', async t => {
      const db = await PostgresDatabase.create(url)
      t.after(() => db.drop())
      const told = await preparePostgres(db.url, 'db', {dryRun: true})
      assert.deepEqual(await preparePostgres(db.url, 'db', {dryRun: true}), told)
      assert.ok(told.made.includes('table job') && told.made.includes('index jobq_lane'))
      assert.deepEqual(await preparePostgres(db.url, 'db', {dryRun: false}), told)
      const again = await preparePostgres(db.url, 'db', {dryRun: false})
      assert.deepEqual([again.made, again.sql], [[], []])
    })

    test('what the dry run prints is what psql needs', async t => {
      const db = await PostgresDatabase.create(url)
      t.after(() => db.drop())
      const {sql} = await preparePostgres(db.url, 'db', {dryRun: true})
      for (const statement of sql) await db.query(statement)
      assert.deepEqual((await preparePostgres(db.url, 'db', {dryRun: true})).made, [])
    })

    test('several inits at once make it once', async t => {
      const db = await PostgresDatabase.create(url)
      t.after(() => db.drop())
      const done = await Promise.all(
        Array.from({length: 5}, () => preparePostgres(db.url, 'db', {dryRun: false})),
      )
      assert.equal(done.filter(({made}) => made.length > 0).length, 1)
    })

    test('tables that Perl made are adopted, with Perl at work on them', async t => {
      const db = await PostgresDatabase.create(url)
      t.after(() => db.drop())
      const {sql} = await preparePostgres(db.url, 'db', {dryRun: true})
      for (const statement of sql.filter(each => /^CREATE TABLE (?!jobq_)/.test(each)))
        await db.query(statement)
      await db.run(`INSERT INTO func (name) VALUES ('Perl')`)
      await db.run('INSERT INTO job (func_id, grabbed_until) VALUES (1, 0)')
      const store = db.store()
      t.after(() => store.close())
      assert.deepEqual((await store.list({limit: 9, offset: 0})).length, 1) // can be looked at before
      for (const call of [() => store.turn([], want()), () => store.paused()])
        await assert.rejects(call(), (error: StoreError) => {
          assert.match(error.hint, /^run `jobq init`/)
          return hasCode('FOREIGN', /not prepared/)(error)
        })
      let isDone = false
      const init = store.prepare().finally(() => {
        isDone = true
      })
      let perl = 1
      for (; !isDone; perl++) await db.run('INSERT INTO job (func_id, grabbed_until) VALUES (1, 0)')
      const steps = await init
      assert.ok(steps.some(({sql}) => sql.startsWith('CREATE INDEX CONCURRENTLY jobq_lane')))
      const {jobs} = await store.turn([], {...want(perl + 5), funcs: ['Perl']})
      assert.equal(jobs.length, perl)
    })

    test('an index whose making was cut short is made anew', async t => {
      const {db, store} = await prepared(t, url)
      await db.run(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobq_lane'::regclass`)
      assert.deepEqual(
        (await store.prepare()).map(({sql}) => sql.split(' ON ')[0]),
        ['DROP INDEX CONCURRENTLY jobq_lane', 'CREATE INDEX CONCURRENTLY jobq_lane'],
      )
      assert.deepEqual(await store.prepare(), [])
    })

    test('tables of these names that are something else are left alone', async t => {
      const db = await PostgresDatabase.create(url)
      const store = db.store()
      t.after(async () => {
        await store.close()
        await db.drop()
      })
      await db.query('CREATE TABLE job (id INT, title TEXT)')
      for (const call of [() => store.init(), () => store.plan()])
        await assert.rejects(call(), hasCode('FOREIGN', /table job has no column func_id/))
      await assert.rejects(store.enqueue(newJob()), hasCode('FOREIGN'))
    })

    test('a schema that is missing is told with what to do', async t => {
      const db = await PostgresDatabase.create(url)
      const store = db.store()
      t.after(async () => {
        await store.close()
        await db.drop()
      })
      for (const call of [
        () => store.enqueue(newJob()),
        () => store.list({limit: 1, offset: 0}),
        () => store.turn([], want()),
      ])
        await assert.rejects(
          call(),
          error => error instanceof StoreError && error.code === 'FOREIGN' && /jobq init/.test(error.hint),
        )
    })

    test('one of version 1 is brought to this one, with an older jobq at work on it', async t => {
      const db = await PostgresDatabase.create(url)
      const store = db.store()
      t.after(async () => {
        await store.close()
        await db.drop()
      })
      await db.query(readFileSync(SCHEMA_1, 'utf8'))
      // What needs nothing new works; what does says what to do
      const {id} = await store.enqueue(newJob('Work'))
      for (const call of [
        () => store.turn([], want()),
        () => store.enqueue(newJob('Work', {tracked: true})),
        () => store.enqueue(newJob('Work', {uniqkey: 'k'})), // which may be taken by a job that has ended
      ])
        await assert.rejects(
          call(),
          error => hasCode('FOREIGN')(error) && /jobq init/.test((error as StoreError).hint),
        )
      const older = (done: number[], until: number[]) =>
        db.query(
          `SELECT what, job_id, job_grabbed_until FROM jobq_grab_1(?, ?, '{NULL}', '{Work}', '{f}', '{0}', NULL, 1, 60, 3)`,
          done,
          until,
        )
      const [first] = await older([], [])
      assert.equal(Number(first!.job_id), id)

      const {made} = await preparePostgres(db.url, 'db', {dryRun: false})
      assert.deepEqual(
        made.filter(each => each.startsWith('table')),
        [
          ...['attempt', 'output', 'order', 'manager', 'context', 'wait', 'after', 'schedule'],
          ...['tag', 'expiry', 'key', 'share', 'rate', 'action', 'batch', 'progress', 'result', 'token'],
        ].map(name => `table jobq_${name}`),
      )
      assert.ok(!made.includes('table job') && made.includes('function jobq_grab_5'), String(made))
      assert.deepEqual((await preparePostgres(db.url, 'db', {dryRun: true})).sql, [])
      assert.deepEqual(await db.query('SELECT version FROM jobq_schema'), [{version: 7}])

      // The older one ends its job and takes the next, and who waits for that hears that it is gone
      const second = await store.enqueue(newJob('Work', {tracked: true, context: '{}'}))
      const [ended, taken] = await older([id], [Number(first!.job_grabbed_until)])
      assert.deepEqual([ended?.what, Number(taken?.job_id)], ['done', second.id])
      let rung = 0
      const watch = store.watch(() => rung++)
      await until('it listens', () => rung > 0)
      rung = 0
      await older([second.id], [Number(taken!.job_grabbed_until)])
      await until('it rings', () => rung > 0)
      watch.close()
      assert.deepEqual(await store.ends([second]), [{id: second.id, outcome: 'gone', message: ''}])
    })

    test('a newer jobq’s is refused', async t => {
      const {db, store} = await prepared(t, url)
      await db.run('UPDATE jobq_schema SET version = 99')
      await assert.rejects(store.init(), hasCode('FOREIGN', /newer jobq/))
    })

    test('all is in the first schema of the search_path', async t => {
      const {db, store} = await prepared(t, url)
      await db.query('CREATE SCHEMA other')
      const role = `?options=${encodeURIComponent('-c search_path=other')}`
      const other = postgresStore(db.url + role, 'db')
      t.after(() => other.close())
      await other.init()
      let rung = 0
      const watch = store.watch(() => rung++)
      await until('it listens', () => rung > 0)
      const {id} = await other.enqueue(newJob())
      assert.equal((await other.turn([], want())).jobs[0]?.id, id)
      assert.deepEqual(await store.list({limit: 1, offset: 0}), [])
      assert.equal(rung, 1)
      watch.close()
    })
  })

  describe('PostgreSQL: what its columns hold', () => {
    test('what they do not is a clear error', async t => {
      const {store} = await prepared(t, url)
      const bad: NewJob[] = [
        newJob('Wo\0rk'),
        newJob('Work', {uniqkey: 'a\0b'}),
        newJob('Work', {priority: 2 ** 31}),
        newJob('Work', {due: {at: 2 ** 31}}),
        newJob('Work', {due: {in: 2 ** 31}}),
        newJob('x'.repeat(256)),
      ]
      for (const each of bad) {
        await assert.rejects(store.enqueue(each), ArgumentError)
        await assert.rejects(store.enqueueMany([newJob(), each]), ArgumentError)
      }
      assert.deepEqual(await store.funcs(), [])
    })
  })

  describe('PostgreSQL: least privilege', () => {
    const USE = (tables: string) =>
      tables.split(', ').map(table => `GRANT USAGE ON SEQUENCE ${table}_id_seq TO`)
    const ENQUEUE = [
      'GRANT SELECT, INSERT ON func, job TO',
      'GRANT SELECT ON jobq_key TO',
      ...USE('func, job'),
    ]
    const WORK = [
      ...ENQUEUE,
      'GRANT UPDATE, DELETE ON job TO',
      'GRANT SELECT, INSERT ON exception_log, job_status, jobq_attempt TO',
      'GRANT SELECT, INSERT, DELETE ON jobq_output TO',
      'GRANT SELECT, INSERT, DELETE ON jobq_death TO',
      'GRANT SELECT, DELETE ON jobq_context TO',
      'GRANT SELECT, UPDATE ON jobq_wait TO',
      'GRANT SELECT, DELETE ON jobq_tag TO',
      'GRANT SELECT, UPDATE, DELETE ON jobq_expiry TO',
      'GRANT SELECT, INSERT, UPDATE, DELETE ON jobq_manager TO',
      'GRANT SELECT ON jobq_pause TO',
      'GRANT SELECT, UPDATE, DELETE ON jobq_order TO',
      'GRANT SELECT, INSERT, UPDATE, DELETE ON jobq_result, jobq_progress TO',
      'GRANT SELECT ON jobq_batch TO',
      'GRANT SELECT, INSERT, UPDATE, DELETE ON jobq_after TO',
      ...USE('exception_log, job_status, jobq_attempt, jobq_death, jobq_output'),
    ]

    async function roleWith(t: TestContext, grants: readonly string[]) {
      const {db, store} = await prepared(t, url)
      const role = await newRole(t, db)
      for (const grant of grants) await db.query(`${grant} ${new URL(role).username}`)
      const mine = postgresStore(role, 'db')
      t.after(() => mine.close())
      return {mine, store, db}
    }

    test('enqueue', async t => {
      const {mine} = await roleWith(t, ENQUEUE)
      await mine.enqueue(newJob('Work', {uniqkey: 'k'}))
      await assert.rejects(mine.enqueue(newJob('Work', {uniqkey: 'k'})), {code: 'DUPLICATE'})
      await mine.enqueueMany([newJob('Other')])
      await assert.rejects(mine.turn([], want()), hasCode('DATABASE', /permission denied/))
    })

    test('work', async t => {
      const {mine, store, db} = await roleWith(t, WORK)
      const outcomes = [
        {kind: 'completed'},
        {kind: 'completed', result: '1'},
        {kind: 'failed', message: 'x', retryIn: 5},
        {kind: 'failed', message: 'x', retryIn: null},
        {kind: 'aborted', reason: 'x'},
        {kind: 'released'},
        {kind: 'died', how: 'x'},
        {kind: 'replaced', jobs: [newJob('New')], retryIn: null},
      ] as const
      await mine.enqueueMany(outcomes.map(() => newJob()))
      const {jobs} = await mine.turn([], {...want(9), maxRunning: new Map([['Work', 9]])})
      await mine.renew(jobs.slice(0, 1), 1)
      const claimed = await mine.claim([await mine.enqueue(newJob())], 60)
      await mine.postpone(claimed.jobs.map(lease => ({lease, seconds: 60})))
      for (const among of [undefined, {key: 'k', limit: 1}]) await mine.alike(claimed.jobs[0]!, among)
      const span = {start: 1, end: 2}
      const {settled} = await mine.turn(
        outcomes.slice(1).map((outcome, i) => ({
          ...{lease: jobs[i + 1]!, outcome, span},
          ...('result' in outcome ? {result: {json: outcome.result, seconds: 60}} : {}),
        })),
        want(9),
      )
      assert.ok(settled.every(({held}) => held))
      await store.cancel([{id: jobs[4]!.id}])
      const orders = await mine.orders()
      assert.deepEqual(await mine.hear(orders), orders)
      await mine.forgetOrders(orders)
      await mine.beside()
      await store.enqueue(newJob('Late', {expires: 1}))
      await db.query('UPDATE jobq_expiry SET expires_at = 1')
      assert.equal((await mine.expire()).expired.length, 1)
      await mine.forgetBeside(jobs)
      await mine.sweepTags(0)
      await mine.sweepResults()
      await mine.tellProgress([{...jobs[0]!, fraction: 0.5, text: 'x'}])
      await mine.forgetProgress(jobs)
      assert.equal(await mine.batch(jobs[0]!.id), null)
      let rung = 0
      const watch = mine.watch(() => rung++)
      await until('it listens', () => rung > 0)
      watch.close()
      await assert.rejects(mine.init(), hasCode('DATABASE', /permission denied/))
      assert.equal((await store.exceptions({limit: 9, offset: 0})).length, 4)
    })

    test('tags', async t => {
      const {mine, store} = await roleWith(t, [
        ...ENQUEUE,
        'GRANT SELECT, INSERT, UPDATE, DELETE ON jobq_context, jobq_wait TO',
        'GRANT SELECT, INSERT, UPDATE ON jobq_tag, jobq_expiry TO',
        'GRANT INSERT, UPDATE, DELETE ON jobq_key TO',
      ])
      const tagged = newJob('Work', {tags: [['a', '1']], expires: 60})
      await mine.enqueue({...tagged, uniqkey: 'k', uniqFor: 60})
      await mine.enqueue(tagged)
      await mine.enqueueMany([tagged, newJob()])
      assert.equal((await store.list({limit: 9, offset: 0, tags: [{name: 'a', value: '1'}]})).length, 3)
    })

    test('a token', async t => {
      const {mine, db} = await roleWith(t, [...ENQUEUE, 'GRANT SELECT, INSERT, DELETE ON jobq_token TO'])
      const old = newJob('Work', {token: 'old', uniqkey: 'k'})
      assert.equal((await mine.enqueue(old)).id, (await mine.enqueue(old)).id)
      await db.query('UPDATE jobq_token SET stored_at = 1')
      await Promise.all(Array.from({length: 110}, (_, i) => mine.enqueue(newJob('Work', {token: `t${i}`}))))
      await until('the old one is swept', async () => {
        const [row] = await db.query(`SELECT count(*) AS n FROM jobq_token WHERE token = 'old'`)
        return Number(row!.n) === 0
      })
    })

    test('what is scarce', async t => {
      const look = 'GRANT SELECT ON jobq_share, jobq_rate TO'
      const {mine} = await roleWith(t, [
        ...WORK,
        look,
        'GRANT INSERT, UPDATE, DELETE ON jobq_share, jobq_rate TO',
      ])
      await shareAll(mine)
      const looking = await roleWith(t, [...WORK, look])
      assert.equal(await looking.mine.unshare(['Work']), false)
    })

    test('schedules', async t => {
      const {mine} = await roleWith(t, [...WORK, 'GRANT SELECT, INSERT, UPDATE ON jobq_schedule TO'])
      const schedule = {name: 'each', cron: '* * * * * *', timeZone: 'UTC'}
      await mine.takeUp([schedule])
      const {now} = await mine.schedules()
      for (const at of [now + 1, now + 2, null])
        assert.ok((await mine.tick({...schedule, at, overlap: false}, newJob())).isOurs)
      assert.equal((await mine.counts())[0]!.ready, 2)
    })

    test('cancel, edit', async t => {
      const {mine, store} = await roleWith(t, [
        'GRANT SELECT ON func TO',
        'GRANT SELECT, UPDATE, DELETE ON job TO',
        'GRANT SELECT, DELETE ON jobq_context, jobq_death, jobq_share, jobq_tag TO',
        'GRANT SELECT, UPDATE ON jobq_wait TO',
        'GRANT SELECT, INSERT, DELETE ON jobq_order TO',
        'GRANT SELECT, INSERT ON exception_log, jobq_attempt TO',
        'GRANT SELECT ON job_status, jobq_output, jobq_expiry TO',
        'GRANT SELECT, UPDATE, DELETE ON jobq_after TO',
        ...USE('exception_log, jobq_attempt'),
      ])
      await store.enqueueMany([newJob(), newJob()])
      const [job] = (await store.turn([], want())).jobs
      const jobs = [{id: job!.id}, {id: job!.id + 1}]
      assert.equal(typeof (await mine.edit(job!.id + 1, {priority: 1})), 'object')
      assert.deepEqual(
        (await mine.cancel(jobs)).map(({state}) => state),
        ['running', 'ready'],
      )
      assert.equal((await mine.withdraw([{id: job!.id, what: 'cancel'}])).length, 1)
      assert.equal(await mine.history(job!.id + 1), null)
    })

    test('init', async t => {
      const db = await PostgresDatabase.create(url)
      t.after(() => db.drop())
      const role = await newRole(t, db)
      const {username} = new URL(role)
      await assert.rejects(preparePostgres(role, 'db', {dryRun: false}), hasCode('DATABASE', /permission/))
      await db.query(`GRANT CREATE ON SCHEMA public TO ${username}`)
      const {made} = await preparePostgres(role, 'db', {dryRun: false})
      assert.ok(made.includes('table job'))
    })
  })

  describe('PostgreSQL: a hundred thousand jobs', () => {
    const heaps: [what: string, func: string, priority: string, runAfter: string][] = [
      ['waiting', 'Work', '0', '1'],
      ['delayed on top', 'Work', '9', '2000000000'],
      ['of another function', 'Other', '9', '1'],
      ['in a hundred delayed lanes on top', 'Work', '1 + n % 100', '2000000000'],
    ]
    for (const [what, func, priority, runAfter] of heaps)
      test(`${what}: a grab reads a handful of rows`, {timeout: 300_000}, async t => {
        const {db, store} = await prepared(t, url)
        await db.query('ALTER TABLE job SET UNLOGGED') // sooner, and none of it is tested
        await store.enqueueMany([newJob('Other'), ...Array.from({length: 9}, () => newJob())])
        for (let i = 0; i < 8; i++) await store.turn([], want()) // planned while the table was as good as empty
        await db.query(
          `INSERT INTO job (func_id, grabbed_until, priority, run_after)
           SELECT (SELECT id FROM func WHERE name = '${func}'), 0, ${priority}, ${runAfter}
           FROM generate_series(1, ${MANY}) AS n`,
        )
        const readBefore = await rowsRead(db)
        const {jobs} = await store.turn([], want())
        assert.equal(jobs.length, 1)
        const read = await readBefore(store)
        const most = what.includes('hundred') ? 600 : 300
        assert.ok(read < most, `read ${read} rows`)
      })

    for (const key of ['k', null])
      test(`what is alike ${key === null ? 'is looked for' : 'by a key is found'} among a bounded number of rows`, {
        timeout: 300_000,
      }, async t => {
        const {db, store} = await prepared(t, url)
        await db.query('ALTER TABLE job SET UNLOGGED')
        await store.enqueue(newJob('Work', {uniqkey: 'k:0'}))
        const [job] = (await store.turn([], want())).jobs
        await db.query(
          `INSERT INTO job (func_id, grabbed_until, run_after, uniqkey)
           SELECT (SELECT id FROM func WHERE name = 'Work'), 0, 1, n % 1000 || ':' || n FROM generate_series(1, ${MANY}) AS n`,
        )
        await db.query(`INSERT INTO job (func_id, grabbed_until, run_after, uniqkey)
          SELECT func_id, 0, 1, 'k:1' FROM job WHERE id = ${job!.id}`)
        const readBefore = await rowsRead(db)
        const found = await store.alike(job!, key === null ? undefined : {key, limit: 9})
        assert.equal(found.length, key === null ? ALIKE_ROWS : 1)
        const read = await readBefore(store)
        assert.ok(read < 6 * ALIKE_ROWS, `read ${read} rows`)
      })

    test('parked: to share what is scarce, and to look at its keys, reads a handful of rows', {
      timeout: 300_000,
    }, async t => {
      const {db, store} = await prepared(t, url)
      const perKey = {maxRunning: 1, rate: {most: 5, seconds: 9}}
      const asked = {
        func: 'Work',
        limits: {rate: null, perKey, shareBy: null, serializer: 'json'} as const,
        jobs: [],
        keys: ['flood', 'other'],
      }
      await store.enqueue(newJob())
      const fill = (from: number, to: number) =>
        db.query(`INSERT INTO jobq_share (job_id, func_id, share_key, is_parked, waits_for, level, run_after)
          SELECT n, (SELECT id FROM func), 'flood', n > 9, 'place', 0, 1 FROM generate_series(${from}, ${to}) AS n`)
      // Planned while the table was as good as empty, and its statistics say so
      await fill(1, 30)
      await db.query('ANALYZE jobq_share')
      for (let i = 0; i < 8; i++) await store.share({...asked, keys: ['other']})
      await fill(31, MANY)
      await db.query('VACUUM jobq_share')
      const readBefore = await rowsRead(db)
      for (let i = 0; i < 3; i++) await store.share(asked)
      assert.deepEqual((await store.sharedKeys('Work', perKey, {key: ''})).keys, ['flood'])
      const read = await readBefore(store)
      assert.ok(read < 300, `read ${read} rows`)
    })
  })

  /** @returns what tells how many rows have been read since, of jobs and of what they share: it ends the store */
  async function rowsRead(db: PostgresDatabase): Promise<(store: PostgresStore) => Promise<number>> {
    const read = async () => {
      const [row] = await db.query(
        `SELECT (SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname IN ('job', 'jobq_share'))
           + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('job', 'jobq_share')) AS rows`,
      )
      return Number(row!.rows)
    }
    await db.query('SELECT pg_stat_force_next_flush()')
    const before = await read()
    return async store => {
      await store.close() // its counters are told when a connection ends, those of the first turns, too
      let after = before
      await until('they are', async () => {
        after = await read()
        return after > before
      })
      return after - before
    }
  }

  /** A role of its own that may connect and no more. @returns its URL */
  async function newRole(t: TestContext, db: PostgresDatabase): Promise<string> {
    const role = `${db.name}_${randomBytes(3).toString('hex')}`
    await db.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
    t.after(async () => {
      await db.query(`DROP OWNED BY ${role}`).catch(() => {}) // its database is gone
      const admin = new pg.Client(url)
      await admin.connect()
      await admin.query(`DROP ROLE IF EXISTS ${role}`)
      await admin.end()
    })
    return Object.assign(new URL(db.url), {username: role, password: 'secret'}).href
  }

  /** The ids and priorities of the jobs that another process got, working until nothing is ready. */
  async function workedBy(address: string): Promise<[id: number, priority: number][]> {
    const child = fork(CHILD, [address])
    const [jobs] = await once(child, 'message')
    await once(child, 'exit')
    return jobs as [number, number][]
  }
}

async function reached(url: string, name = 'db'): Promise<void> {
  const store = postgresStore(url, name)
  await store.paused().finally(() => store.close())
}

function hasCode(code: StoreErrorCode, words = /./): (error: unknown) => boolean {
  return error => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, words)
    return true
  }
}

async function endConnections(db: PostgresDatabase, application = 'jobq'): Promise<void> {
  await db.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ? AND application_name = ?',
    db.name,
    application,
  )
}

/** The connections that wait for a lock. */
async function waiting(db: PostgresDatabase): Promise<unknown[]> {
  await db.query('SELECT pg_stat_clear_snapshot()')
  const rows = await db.query(
    `SELECT pid FROM pg_stat_activity WHERE datname = ? AND wait_event_type = 'Lock'`,
    db.name,
  )
  return rows.map(({pid}) => pid)
}

/**
 * In front of a server. @returns `loseAnswer`: the next answer is kept back, and its connection broken; `keepAnswers`: so
 * is all that follows on a connection, which stays
 */
async function proxy({hostname, port}: URL) {
  let isLosing = false
  let isKeeping = false
  const sockets = new Set<Socket>()
  const front = createServer(near => {
    const far = connect(Number(port || 5432), hostname)
    near.pipe(far)
    let isKept = false
    far.on('data', answer => {
      isKept ||= isKeeping
      isKeeping = false
      if (isKept) return
      if (!isLosing) near.write(answer)
      else near.resetAndDestroy()
      isLosing = false
    })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => [near, far].map(each => each.destroy()))
    }
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  return {
    port: (front.address() as AddressInfo).port,
    keepAnswers: () => {
      isKeeping = true
    },
    loseAnswer: () => {
      isLosing = true
    },
    close: () => {
      front.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const {port} = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
