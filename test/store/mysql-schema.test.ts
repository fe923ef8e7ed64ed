/** The schema on MySQL: what is made, adopted and refused, and which rights each command needs. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {preparationText} from '../../src/lib/cli/run/init.ts'
import {ArgumentError, DuplicateJobError, StoreError} from '../../src/lib/jobs/errors.ts'
import {ALL_FUNCS, type Outcome} from '../../src/lib/jobs/job.ts'
import {MysqlStore, prepareMysql} from '../../src/lib/store/mysql/store.ts'
import {MysqlDatabase, rowsOf} from '../support/mysql.ts'
import {mysqlServer} from '../support/servers.ts'
import {shareAll} from '../support/share-all.ts'
import {newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

/** As Qudo 0.0214 makes them: no character set, so the database's own. */
const QUDO = `
CREATE TABLE func (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT, name VARCHAR(255) NOT NULL, PRIMARY KEY (id), UNIQUE (name)
) ENGINE=InnoDB;
CREATE TABLE job (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, func_id INTEGER UNSIGNED NOT NULL, arg MEDIUMBLOB,
  uniqkey VARCHAR(255) NULL, enqueue_time INTEGER UNSIGNED, grabbed_until INTEGER UNSIGNED NOT NULL,
  run_after INTEGER UNSIGNED NOT NULL DEFAULT 0, retry_cnt INTEGER UNSIGNED NOT NULL DEFAULT 0,
  priority INTEGER UNSIGNED NOT NULL DEFAULT 0, PRIMARY KEY (id), UNIQUE (func_id, uniqkey), KEY priority (priority)
) ENGINE=InnoDB;
CREATE TABLE exception_log (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, func_id INTEGER UNSIGNED NOT NULL DEFAULT 0,
  exception_time INTEGER UNSIGNED NOT NULL, message MEDIUMBLOB NOT NULL, uniqkey VARCHAR(255) NULL, arg MEDIUMBLOB,
  retried TINYINT(1) NOT NULL DEFAULT 0, PRIMARY KEY (id), KEY (func_id), KEY (exception_time)
) ENGINE=InnoDB;
CREATE TABLE job_status (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, func_id INTEGER UNSIGNED NOT NULL DEFAULT 0, arg MEDIUMBLOB NOT NULL,
  uniqkey VARCHAR(255) NULL, status VARCHAR(10), job_start_time INTEGER UNSIGNED NOT NULL,
  job_end_time INTEGER UNSIGNED NOT NULL, PRIMARY KEY (id)
) ENGINE=InnoDB`

/** What a user needs who only enqueues, who works, and who runs `jobq init`; the docs say the same. */
const GRANTS = {
  enqueue: ['SELECT, INSERT ON @.func', 'SELECT, INSERT ON @.job', 'SELECT ON @.jobq_key'],
  /** Besides what enqueue has: contexts, and jobs that are waited for. */
  wait: [
    'SELECT, INSERT, DELETE ON @.jobq_context',
    'SELECT, INSERT, UPDATE, DELETE ON @.jobq_wait',
    'SELECT ON @.jobq_result',
  ],
  work: [
    'SELECT, INSERT, UPDATE ON @.func',
    'SELECT, INSERT, UPDATE, DELETE ON @.job',
    'SELECT, INSERT ON @.exception_log',
    'SELECT, INSERT ON @.job_status',
    'SELECT, INSERT, DELETE ON @.jobq_death',
    'SELECT, INSERT ON @.jobq_attempt',
    'SELECT, INSERT, DELETE ON @.jobq_output',
    'SELECT ON @.jobq_pause',
    'SELECT, DELETE ON @.jobq_context',
    'SELECT, UPDATE ON @.jobq_wait',
    'SELECT ON @.jobq_key',
    'SELECT, DELETE ON @.jobq_tag',
    'SELECT, UPDATE, DELETE ON @.jobq_expiry',
    'SELECT, UPDATE, DELETE ON @.jobq_order',
    'SELECT, INSERT, DELETE ON @.jobq_result',
    'SELECT, INSERT, DELETE ON @.jobq_progress',
    'SELECT ON @.jobq_batch',
    'SELECT, INSERT, UPDATE, DELETE ON @.jobq_manager',
    'EXECUTE ON PROCEDURE @.jobq_turn_9',
    'EXECUTE ON PROCEDURE @.jobq_end_9',
    'SELECT, INSERT, UPDATE, DELETE ON @.jobq_after',
    'EXECUTE ON PROCEDURE @.jobq_after_8',
    'EXECUTE ON PROCEDURE @.jobq_fail_9',
  ],
  /** Besides what enqueue has: jobs that wait for others. */
  after: [
    'UPDATE ON @.job',
    'SELECT, INSERT, DELETE ON @.jobq_after',
    'SELECT ON @.jobq_attempt',
    'SELECT ON @.jobq_wait',
  ],
  /** Of what is scarce: without limits, and besides with them. */
  look: ['SELECT ON @.jobq_share', 'SELECT ON @.jobq_rate'],
  share: ['INSERT, UPDATE, DELETE ON @.jobq_share', 'INSERT, UPDATE, DELETE ON @.jobq_rate'],
  /** Besides what work has, where the configuration has schedules. */
  schedules: ['SELECT, INSERT, UPDATE ON @.jobq_schedule'],
  /** Besides what work has: retry, pause and resume. */
  operate: [
    'UPDATE ON @.exception_log',
    'UPDATE ON @.jobq_attempt',
    'INSERT ON @.jobq_tag',
    'INSERT, DELETE ON @.jobq_pause',
  ],
  /** Besides what enqueue has: jobs with tags. */
  tags: ['INSERT, DELETE ON @.jobq_tag', 'INSERT, DELETE ON @.jobq_expiry', 'INSERT, DELETE ON @.jobq_key'],
  /** Besides what enqueue has: tokens. */
  token: ['SELECT, INSERT, DELETE ON @.jobq_token'],
  /** What `jobq web` keeps of what was done there. */
  log: ['SELECT, INSERT, UPDATE ON @.jobq_action'],
  init: ['SELECT, INSERT, CREATE, INDEX, CREATE ROUTINE ON @.*'],
}

const server = await mysqlServer()

if ('missing' in server) test("MySQL's schema", {skip: server.missing})
else {
  after(() => server.stop())
  const {url} = server

  describe("MySQL's schema", () => {
    test("has Qudo's columns to the letter, and beside them only what begins with jobq_", async t => {
      const perl = await create(t)
      await perl.query(QUDO)
      const ours = await create(t)
      await ours.store(t).init()
      const tables = ['func', 'job', 'exception_log', 'job_status']
      assert.deepEqual(await columnsOf(ours, tables), await columnsOf(perl, tables))
      const indexes = await indexesOf(ours, tables)
      assert.deepEqual(
        indexes.filter(index => !index.includes('.jobq_')),
        await indexesOf(perl, tables),
      )
      assert.equal(indexes.filter(index => index.includes('job.jobq_lane')).length, 5)
      const all = await ours.query('SHOW TABLE STATUS')
      for (const {Engine, Collation} of all) assert.deepEqual([Engine, Collation], ['InnoDB', 'utf8mb4_bin'])
    })

    test('a dry run tells the SQL and makes nothing; the SQL does what init does', async t => {
      const db = await create(t)
      const {made, sql} = await prepareMysql(db.url, db.name, {dryRun: true})
      assert.ok(made.includes('table job') && made.includes('index jobq_lane'), made.join())
      assert.deepEqual(await db.query('SHOW TABLES'), [])
      for (const statement of sql) await db.query(statement)
      assert.deepEqual(await prepareMysql(db.url, db.name, {dryRun: false}), {
        database: db.name,
        made: [],
        sql: [],
        warnings: [],
      })
    })

    test("a dry run is a script for MySQL's own client, procedure included", async t => {
      const db = await create(t)
      const {text} = preparationText([await prepareMysql(db.url, db.name, {dryRun: true})], true)
      assert.match(text, /^DELIMITER \$\$\nCREATE PROCEDURE jobq_turn_9 [^$]*END\$\$\nDELIMITER ;$/m)
    })

    test('that is missing: one line says to run jobq init', async t => {
      const db = await create(t)
      const store = db.store(t)
      for (const call of [
        () => store.enqueue(newJob()),
        () => store.list(PAGE),
        () => store.turn([], want()),
      ])
        await assert.rejects(call(), error => {
          assert.ok(error instanceof StoreError)
          assert.match(error.hint, /jobq init/)
          return !error.message.includes('\n')
        })
    })

    test("of Perl's tables alone: enqueued to as it is, and all that needs more says to run jobq init", async t => {
      const db = await create(t)
      await db.query(QUDO)
      const store = db.store(t)
      const {id} = await store.enqueue(newJob())
      for (const call of [
        () => store.list(PAGE),
        () => store.counts('Work'),
        () => store.turn([], want()),
        () => store.paused(),
        () => store.track([{id}]),
        () => store.eachJob(PAGE).next(),
      ])
        await assert.rejects(call(), error => {
          assert.match((error as StoreError).hint, /^run `jobq init`/)
          return isForeign(/is not prepared for jobq/)(error)
        })
    })

    test('without its procedures, as an older jobq made it: enqueued to and listed, and a turn says to run jobq init', async t => {
      const db = await create(t)
      const store = db.store(t)
      await store.init()
      await db.query('DROP PROCEDURE jobq_turn_9')
      const {id} = await store.enqueue(newJob())
      assert.equal((await store.list(PAGE))[0]?.id, id)
      for (const call of [() => store.turn([], want()), () => store.peek(want())])
        await assert.rejects(call(), error => {
          assert.match((error as StoreError).hint, /^run `jobq init`/)
          return isForeign(/is not prepared for jobq \(PROCEDURE \S+jobq_turn_9 does not exist\)/)(error)
        })
      await store.init()
      assert.equal((await store.turn([], want())).jobs[0]?.id, id)
    })

    test('is made once by ten who do it at once', async t => {
      const db = await create(t)
      const stores = Array.from({length: 10}, () => db.store(t))
      const steps = await Promise.all(stores.map(store => store.prepare()))
      assert.equal(steps.filter(made => made.length > 0).length, 1)
      assert.equal((await db.query('SELECT * FROM jobq_schema')).length, 1)
    })

    test('that Perl made is adopted while Perl goes on', async t => {
      const db = await create(t)
      await db.query(QUDO)
      await db.query(`INSERT INTO func (name) VALUES ('Work')`)
      await db.query(`INSERT INTO job (func_id, arg, grabbed_until) SELECT 1, 'x', 0 FROM ${rowsOf(10_000)}`)
      let [isDone, inserted] = [false, 0]
      const perl = (async () => {
        while (!isDone)
          inserted += await db.run(`INSERT INTO job (func_id, arg, grabbed_until) VALUES (1, 'y', 0)`)
      })()
      const {made} = await prepareMysql(db.url, db.name, {dryRun: false})
      isDone = true
      await perl
      assert.ok(made.includes('index jobq_lane') && !made.includes('table job'), made.join())
      assert.ok(inserted > 0)
      assert.equal((await db.store(t).counts('Work'))[0]?.ready, 10_000 + inserted)
    })

    test('that an older jobq made: it can be enqueued to, and init adds what is new', async t => {
      const db = await create(t)
      await db.store(t).init()
      await db.query('DROP TABLE jobq_context, jobq_wait; UPDATE jobq_schema SET version = 1')
      const store = db.store(t)
      const {id} = await store.enqueue(newJob('Work'))
      for (const call of [
        () => store.enqueue(newJob('Work', {context: '{}'})),
        () => store.track([{id}]),
        () => store.turn([], want()),
      ])
        await assert.rejects(call(), isForeign(/is not prepared for jobq/))
      const {made, sql} = await prepareMysql(db.url, db.name, {dryRun: false})
      assert.deepEqual(made, ['table jobq_context', 'table jobq_wait'])
      assert.deepEqual(sql.slice(2), ['INSERT INTO jobq_schema (version) VALUES (7)']) // procedures stay
      assert.deepEqual((await prepareMysql(db.url, db.name, {dryRun: false})).sql, [])
      assert.deepEqual(
        (await store.turn([], want())).jobs.map(job => job.id),
        [id],
      )
      assert.deepEqual((await db.query('SELECT id FROM job')).length, 1)
    })

    test('in MyISAM is refused, with the ALTER that mends it', async t => {
      const db = await create(t)
      await db.query(QUDO.replaceAll('InnoDB', 'MyISAM'))
      const mend = await db
        .store(t)
        .init()
        .then(
          () => assert.fail('was taken'),
          (error: StoreError) => error,
        )
      assert.match(mend.message, /expected InnoDB tables, got func \(MyISAM\), job \(MyISAM\)/)
      const alters = mend.hint.match(/ALTER TABLE \w+ ENGINE=InnoDB/g)
      assert.equal(alters?.length, 4)
      for (const alter of alters) await db.query(alter)
      await db.store(t).init()
    })

    test('of something else, or of a newer jobq, is refused and left alone', async t => {
      const db = await create(t)
      await db.query('CREATE TABLE job (id INT PRIMARY KEY, title TEXT)')
      await assert.rejects(db.store(t).init(), isForeign(/its table job has no column func_id, arg/))
      await db.query('DROP TABLE job')
      await db.store(t).init()
      await db.query('UPDATE jobq_schema SET version = 99')
      await db.query('ALTER TABLE job DROP INDEX jobq_lane')
      await assert.rejects(db.store(t).init(), isForeign(/newer jobq: its schema has version 99/))
      assert.equal((await indexesOf(db, ['job'])).filter(index => index.includes('jobq_lane')).length, 0)
    })
  })

  describe("Perl's tables in another character set", () => {
    test("latin1: a client's UTF-8 bytes in them are read and written as the text they are", async t => {
      const db = await create(t, 'CHARACTER SET latin1')
      await db.query(QUDO)
      await db.query('SET NAMES latin1') // as DBD::mysql without mysql_enable_utf8
      await db.query(`INSERT INTO func (name) VALUES (?)`, Buffer.from('알림'))
      await db.query(
        `INSERT INTO job (func_id, uniqkey, grabbed_until) VALUES (1, ?, 0)`,
        Buffer.from('사진 📷'),
      )
      const store = db.store(t)
      await store.init()
      assert.deepEqual(await store.funcs(), ['알림'])
      const [job] = await store.list({...PAGE, uniqkey: '사진 📷'})
      assert.deepEqual([job?.func, job?.uniqkey], ['알림', '사진 📷'])
      await assert.rejects(
        store.enqueue(newJob('알림', {uniqkey: '사진 📷'})),
        error => error instanceof DuplicateJobError && error.existingId === job!.id,
      )
      await store.enqueue(newJob('새 것', {uniqkey: 'ü'}))
      const [row] =
        await db.query(`SELECT HEX(name) AS name, (SELECT HEX(uniqkey) FROM job WHERE func_id = func.id) AS k
        FROM func ORDER BY id DESC LIMIT 1`)
      assert.deepEqual(row, {name: hex('새 것'), k: hex('ü')})
      assert.equal((await store.turn([], {funcs: ['알림', '새 것'], limit: 5, lease: 60})).jobs.length, 2)
    })

    test('utf8 of three bytes: what does not fit is an error that says what to do', async t => {
      const db = await create(t, 'CHARACTER SET utf8mb3')
      await db.query(QUDO)
      const store = db.store(t)
      await store.init()
      await store.enqueue(newJob('알림', {uniqkey: '사진'}))
      await assert.rejects(store.enqueue(newJob('알림', {uniqkey: '📷'})), error => {
        assert.ok(error instanceof ArgumentError, String(error))
        assert.match(error.hint, /CONVERT TO CHARACTER SET utf8mb4/)
        return true
      })
    })

    test('without case: what Perl takes for one key or function is one here', async t => {
      const db = await create(t, 'CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci')
      await db.query(QUDO)
      const store = db.store(t)
      await store.init()
      const {id} = await store.enqueue(newJob('Work', {uniqkey: 'a'}))
      for (const [func, uniqkey] of [
        ['Work', 'A'],
        ['WORK', 'a'],
      ] as const)
        await assert.rejects(
          store.enqueue(newJob(func, {uniqkey})),
          error => error instanceof DuplicateJobError && error.existingId === id,
        )
      await assert.rejects(store.enqueueMany([newJob('Work', {uniqkey: 'A'})]), DuplicateJobError)
      assert.deepEqual(await store.funcs(), ['Work'])
      assert.equal((await store.turn([], {...want(), funcs: ['WORK']})).jobs[0]?.func, 'WORK')
    })

    test('what jobq makes tells a from A', async t => {
      const db = await create(t)
      const store = db.store(t)
      await store.init()
      await store.enqueueMany([
        newJob('Work', {uniqkey: 'a'}),
        newJob('Work', {uniqkey: 'A'}),
        newJob('WORK'),
      ])
      assert.deepEqual(await store.funcs(), ['WORK', 'Work'])
    })
  })

  describe('the rights on MySQL', () => {
    test('to enqueue', async t => {
      const {store} = await asUser(t, GRANTS.enqueue)
      const {id} = await store.enqueue(newJob('New', {uniqkey: 'k'}))
      await store.enqueue(newJob('New'))
      await store.enqueueMany([newJob('Other'), newJob('New')])
      await assert.rejects(store.enqueue(newJob('New', {uniqkey: 'k'})), DuplicateJobError)
      assert.equal((await store.find(id))?.func, 'New')
      await assert.rejects(store.turn([], want()), /denied/)
    })

    test('to give jobs tags, a time by which they expire, and keys that stay taken', async t => {
      const {db, store} = await asUser(t, [...GRANTS.enqueue, ...GRANTS.tags])
      const more = {tags: [['a', '1']], expires: 60} as const
      await store.enqueue(newJob('New', {...more, uniqkey: 'k', uniqFor: 60}))
      for (let i = 0; i < 100; i++) await store.enqueue(newJob('New', more)) // no sweeps among them
      await store.enqueueMany([newJob('New', {...more, uniqkey: 'l', uniqFor: 60})])
      const rows = await db.query('SELECT COUNT(*) AS n FROM jobq_tag NATURAL JOIN jobq_expiry')
      assert.equal(Number(rows[0]!.n), 102)
    })

    test('to enqueue with a token', async t => {
      const {db, store} = await asUser(t, [...GRANTS.enqueue, ...GRANTS.token])
      const job = newJob('New', {token: 'a', uniqkey: 'k'})
      const {id} = await store.enqueue(job)
      assert.equal((await store.enqueue(job)).id, id)
      for (let i = 0; i < 110; i++) await store.enqueue(newJob('New', {token: `t${i}`})) // a sweep among them
      assert.equal((await db.query('SELECT token FROM jobq_token')).length, 111)
    })

    test('to wait, and to give jobs a context', async t => {
      const {db, store} = await asUser(t, [...GRANTS.enqueue, ...GRANTS.wait])
      const {id} = await store.enqueue(newJob('New', {context: '{}', tracked: true}))
      await store.enqueueMany([newJob('New', {context: '{}', tracked: true})])
      for (let i = 0; i < 100; i++) assert.deepEqual(await store.track([{id}]), [{id}]) // sweeps among them
      assert.deepEqual(await store.ends([{id}, {id: 99}]), [{id: 99, outcome: 'gone', message: ''}])
      await db.query('DELETE FROM job WHERE id = ?', id)
      await db.query("UPDATE jobq_wait SET outcome = 'completed', message = '', ended_at = UNIX_TIMESTAMP()")
      for (let i = 0; i < 2; i++)
        assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'completed', message: ''}])
    })

    test('to share what is scarce; to look whether anything is shared', async t => {
      const {store} = await asUser(t, [...GRANTS.work, ...GRANTS.look, ...GRANTS.share])
      await shareAll(store)
      const looking = await asUser(t, [...GRANTS.work, ...GRANTS.look])
      assert.equal(await looking.store.unshare(['Work']), false)
    })

    test('to work: every end of a job, leases, deaths, limits', async t => {
      const {db, store} = await asUser(t, GRANTS.work)
      const ends: Outcome[] = [
        {kind: 'completed'},
        {kind: 'failed', message: 'x', retryIn: null},
        {kind: 'failed', message: 'x', retryIn: 1000},
        {kind: 'aborted', reason: 'x'},
        {kind: 'released'},
        {kind: 'replaced', jobs: [newJob('New')], retryIn: null},
        ...Array<Outcome>(3).fill({kind: 'died', how: 'x'}),
      ]
      const result = {json: '1', seconds: 60}
      for (const outcome of ends) {
        await store.enqueue(newJob())
        const {jobs} = await store.turn([], {...want(), maxRunning: new Map([['Work', 1]])})
        const leases = await store.renew(jobs, 60)
        const settled = (
          await store.turn(
            leases.map(lease => ({lease, outcome, span: SPAN, result})),
            want(0),
          )
        ).settled
        assert.deepEqual(
          settled.map(({held}) => held),
          [true],
          outcome.kind,
        )
      }
      await store.turn([], want(9))
      const one = await store.enqueue(newJob())
      const {jobs} = await store.claim([one], 60)
      await store.postpone(jobs.map(lease => ({lease, seconds: 60})))
      for (const among of [undefined, {key: 'k', limit: 1}]) await store.alike(jobs[0]!, among)
      await db.run('UPDATE job SET grabbed_until = 5')
      assert.ok((await store.turn([], want(9))).jobs.length > 0)
      await store.tellProgress([{...one, fraction: 0.5, text: 'x'}])
      await store.forgetProgress([one])
      assert.equal(await store.batch(one.id), null)
      await store.beside()
      await store.sweepResults()
      await store.list(PAGE)
      await store.counts()
      await store.times()
      assert.deepEqual(await store.paused(), [])
    })

    test('to tick', async t => {
      const {store} = await asUser(t, [...GRANTS.work, ...GRANTS.schedules])
      const schedule = {name: 'each', cron: '* * * * * *', timeZone: 'UTC'}
      await store.takeUp([schedule])
      const {now} = await store.schedules()
      for (const at of [now + 1, now + 2, null])
        assert.ok((await store.tick({...schedule, at, overlap: false}, newJob())).isOurs)
      assert.equal((await store.list(PAGE)).length, 2)
    })

    test('to retry, pause and resume', async t => {
      const {store} = await asUser(t, [...GRANTS.work, ...GRANTS.operate])
      await store.enqueue(newJob())
      const {jobs} = await store.turn([], want())
      await store.turn([{lease: jobs[0]!, outcome: {kind: 'failed', message: 'x', retryIn: null}}], want(0))
      const [exception] = await store.exceptions(PAGE)
      await store.retry(exception!.id, {priority: 0, due: {in: 0}})
      await store.pause([ALL_FUNCS])
      assert.deepEqual(await store.resume([ALL_FUNCS]), [ALL_FUNCS])
    })

    test('to keep a log of actions', async t => {
      const {store} = await asUser(t, [...GRANTS.enqueue, ...GRANTS.log])
      await store.countAction(await store.logAction({who: 'me', what: 'this'}), 3)
      assert.deepEqual(
        (await store.actions({limit: 1})).map(({jobs}) => jobs),
        [3],
      )
    })

    test("to init, new and beside Perl's", async t => {
      for (const tables of ['', QUDO]) {
        const {store, db, address} = await asUser(t, GRANTS.init, tables)
        await store.init()
        const {made, sql} = await prepareMysql(address, 'db', {dryRun: false})
        assert.deepEqual([made, sql], [[], []])
        assert.equal((await db.query('SELECT * FROM jobq_schema')).length, 1)
        assert.deepEqual(await proceduresOf(db), ['jobq_after_8', 'jobq_end_9', 'jobq_fail_9', 'jobq_turn_9'])
      }
    })

    test('to init, but not to make procedures: one line says so, and what is missing is made later', async t => {
      const withoutRoutine = GRANTS.init.map(grant => grant.replace(', CREATE ROUTINE', ''))
      const {store, db} = await asUser(t, withoutRoutine, '')
      await assert.rejects(store.init(), error => {
        assert.ok(error instanceof StoreError)
        assert.match(error.message, /^\S+: may not make the procedure jobq_after_8 \(Access denied [^\n]+\)$/)
        assert.match(error.hint, /GRANT CREATE ROUTINE/)
        return error.code === 'DATABASE'
      })
      const {made} = await prepareMysql(db.url, db.name, {dryRun: false})
      const procedures = ['after_8', 'fail_9', 'end_9', 'turn_9'].map(name => `procedure jobq_${name}`)
      assert.deepEqual(made, procedures)
      assert.equal((await db.query('SELECT * FROM jobq_schema')).length, 1)
    })

    test('to work, but not to call the procedures: one line says what to grant', async t => {
      const grants = GRANTS.work.filter(grant => !grant.startsWith('EXECUTE'))
      const {store} = await asUser(t, [...grants, ...GRANTS.wait])
      const {id} = await store.enqueue(newJob())
      for (const call of [() => store.turn([], want()), () => store.peek(want())])
        await assert.rejects(call(), error => {
          assert.ok(error instanceof StoreError)
          assert.match(error.message, /^\S+: execute command denied to user [^\n]+jobq_turn_9'$/)
          assert.match(error.hint, /GRANT EXECUTE/)
          return error.code === 'DATABASE'
        })
      assert.equal((await store.find(id))?.state, 'ready')
    })

    test('to wait, but not to call the procedures: a watch rings when the job ends', async t => {
      const {db, store} = await asUser(t, [...GRANTS.enqueue, ...GRANTS.wait])
      const {id} = await store.enqueue(newJob('Work', {tracked: true}))
      let rung = 0
      const watch = store.watch(() => rung++)
      t.after(() => watch.close())
      await until('it rings at the start', () => rung > 0)
      const before = rung
      const worker = db.store(t)
      const {jobs} = await worker.turn([], want())
      await worker.turn([{lease: jobs[0]!, outcome: {kind: 'completed'}}], want(0))
      await until('it rings', () => rung > before)
      assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'completed', message: ''}])
    })

    test('that are missing are named', async t => {
      const {store} = await asUser(t, ['SELECT ON @.job'])
      await assert.rejects(store.find(1), error => {
        assert.ok(error instanceof StoreError)
        assert.match(error.message, /SELECT command denied to user .*func/)
        return true
      })
    })
  })

  type Scene = {db: Database; store: MysqlStore; address: string}

  /** A store as a user who may do no more than this. */
  async function asUser(
    t: TestContext,
    grants: readonly string[],
    tables: string | null = null,
  ): Promise<Scene> {
    const db = await create(t)
    if (tables === null) await db.store(t).init()
    else if (tables !== '') await db.query(tables)
    const user = `${db.name}_u`.slice(0, 32)
    await db.query(`CREATE USER '${user}'@'%' IDENTIFIED BY 'hush hush'`)
    db.users.push(user)
    for (const grant of grants) await db.query(`GRANT ${grant.replace('@', db.name)} TO '${user}'@'%'`)
    const address = Object.assign(new URL(db.url), {username: user, password: 'hush hush'}).href
    const store = new MysqlStore(address, db.name)
    t.after(() => store.close())
    return {db, store, address}
  }

  type Database = Omit<MysqlDatabase, 'store'> & {users: string[]; store(t: TestContext): MysqlStore}

  async function create(t: TestContext, charset = ''): Promise<Database> {
    const db = await MysqlDatabase.create(url)
    if (charset !== '') await db.query(`ALTER DATABASE ${db.name} ${charset}`)
    const users: string[] = []
    t.after(async () => {
      for (const user of users) await db.query(`DROP USER '${user}'@'%'`)
      await db.drop()
    })
    return {
      users,
      ...{url: db.url, name: db.name, query: db.query.bind(db), run: db.run.bind(db)},
      store: (t: TestContext) => {
        const store = db.store()
        t.after(() => store.close())
        return store
      },
    } as Database
  }
}

const PAGE = {limit: 100, offset: 0}
const SPAN = {start: 1_700_000_000, end: 1_700_000_042}

function hex(text: string): string {
  return Buffer.from(text).toString('hex').toUpperCase()
}

function isForeign(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, 'FOREIGN')
    assert.match(error.message, message)
    return true
  }
}

async function proceduresOf(db: Queryable): Promise<unknown[]> {
  const rows = await db.query('SHOW PROCEDURE STATUS WHERE Db = DATABASE()')
  return rows.map(({Name}) => Name).sort()
}

type Queryable = Pick<MysqlDatabase, 'query' | 'name'>

function columnsOf(db: Queryable, tables: readonly string[]) {
  return db.query(
    `SELECT table_name, column_name, column_type, is_nullable, column_default, extra FROM information_schema.columns
     WHERE table_schema = ? AND table_name IN (?) ORDER BY table_name, ordinal_position`,
    db.name,
    tables,
  )
}

async function indexesOf(db: Queryable, tables: readonly string[]): Promise<string[]> {
  const rows = await db.query(
    `SELECT CONCAT(table_name, '.', index_name, ' ', seq_in_index, ' ', column_name, ' ', non_unique) AS i
     FROM information_schema.statistics WHERE table_schema = ? AND table_name IN (?) ORDER BY i`,
    db.name,
    tables,
  )
  return rows.map(({i}) => String(i))
}
