/** How jobs come into MySQL: together, in bulk, with what is kept beside them; and how those are told that wait for them. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {ArgumentError, DuplicateJobError, type StoreError} from '../../src/lib/jobs/errors.ts'
import type {EnqueuedJob, JobRow, Outcome} from '../../src/lib/jobs/job.ts'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import {type MysqlDatabase, rowsOf} from '../support/mysql.ts'
import {preparedMysql} from '../support/prepared.ts'
import {mysqlServer} from '../support/servers.ts'
import {newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await mysqlServer()

if ('missing' in server) test('jobs on MySQL', {skip: server.missing})
else {
  after(() => server.stop())
  const {url} = server

  test('an id that JavaScript can not hold is none to enqueue with on MySQL, and nothing is stored', async t => {
    const {db, store} = await setUp(t)
    const {id} = await store.enqueue(newJob())
    await db.query(`INSERT INTO exception_log (func_id, exception_time, message) SELECT id, 1, 'x' FROM func`)
    await db.query('ALTER TABLE job AUTO_INCREMENT = 9007199254740992')
    const told = {
      code: 'DATABASE',
      message:
        /^job: expected ids up to 9007199254740991, got 9007199254741?\d+, which jobq can't tell from others$/,
    }
    const guest = await db.another()
    await guest.beginTransaction()
    for (const enqueue of [
      () => store.enqueue(newJob()),
      () => store.enqueue(newJob('Work', {tracked: true})),
      () => store.enqueue(newJob('Work', {context: '{}'})),
      () => store.enqueue(newJob('New')),
      () => store.enqueue(newJob('Work', {arg: new Uint8Array(1 << 19), tracked: true})),
      () => store.enqueueMany([newJob(), newJob()]),
      () => store.enqueueWithin(guest, newJob()),
      () => store.enqueueWithin(guest, newJob('New', {context: '{}'})),
      () => store.retry(1, {priority: 0, due: {in: 0}}),
    ])
      await assert.rejects(async () => enqueue(), told)
    await guest.commit()
    const beside = [newJob('Work', {tracked: true}), newJob('Work', {context: '{}'})]
    const together = [newJob(), newJob('Work', {uniqkey: 'k'}), newJob(), ...beside].map(job =>
      store.enqueue(job),
    )
    await Promise.all(together.map(enqueued => assert.rejects(enqueued, told)))
    assert.deepEqual(await db.query('SELECT id FROM job'), [{id}])
    for (const table of ['jobq_wait', 'jobq_context'])
      assert.deepEqual(await db.query(`SELECT job_id FROM ${table}`), [])
    assert.deepEqual(await db.query('SELECT retried FROM exception_log'), [{retried: 0}])
  })

  describe('enqueued at once on MySQL', () => {
    test('a thousand jobs share a few commits, and each has its id', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      await store.enqueue(newJob())
      const before = proxy.sent
      const jobs = await Promise.all(
        Array.from({length: 1000}, (_, i) => store.enqueue(newJob('Work', {arg: `[${i}]`, priority: i}))),
      )
      assert.ok(proxy.sent - before < 100, `${proxy.sent - before} packets`)
      const rows = await db.query('SELECT id, priority FROM job WHERE arg IS NOT NULL')
      const ids = new Map(rows.map(({id, priority}) => [priority, id]))
      assert.equal(ids.size, 1000)
      for (const {id, priority} of jobs) assert.equal(ids.get(priority), id)
    })

    test('each is refused for itself', async t => {
      const {db, store} = await setUp(t)
      const {id} = await store.enqueue(newJob('Work', {uniqkey: 'waiting'}))
      const batch = [
        newJob('Work', {uniqkey: 'twin'}),
        newJob('Work', {uniqkey: 'waiting'}),
        newJob('Work', {uniqkey: 'twin'}),
        newJob('Other', {uniqkey: 'twin', context: '{"a":"1"}', tracked: true}),
        newJob(),
      ]
      for (const more of [[], [newJob('Work', {due: {at: 5_000_000_000}})], [newJob('New')]]) {
        await db.run(`DELETE FROM job WHERE id > ${id}`)
        await db.run('DELETE FROM jobq_context')
        const results = await Promise.allSettled([...batch, ...more].map(job => store.enqueue(job)))
        const told = results.map(each => (each.status === 'fulfilled' ? each.value : each.reason))
        const [first, waiting, twin, other, plain, last] = told
        assert.ok(waiting instanceof DuplicateJobError && waiting.existingId === id, String(waiting))
        assert.ok(twin instanceof DuplicateJobError && twin.existingId === first.id, String(twin))
        if (more[0]?.func === 'Work') assert.ok(last instanceof ArgumentError, String(last))
        const stored = [first, other, plain, ...(more[0]?.func === 'New' ? [last] : [])]
        const rows = await db.query(`SELECT id FROM job WHERE id > ${id} ORDER BY id`)
        assert.deepEqual(
          rows.map(row => row.id),
          stored.map(job => job.id).sort((a, b) => a - b),
        )
        assert.deepEqual(await db.query('SELECT job_id FROM jobq_context'), [{job_id: other.id}])
      }
    })

    test('and the connection breaks before the answer: of each it is said what is known', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      await store.enqueue(newJob())
      await db.run('DELETE FROM job')
      proxy.cutAfter = 'INSERT INTO job'
      const results = await Promise.allSettled([
        store.enqueue(newJob()),
        store.enqueue(newJob('Work', {uniqkey: 'k'})),
        store.enqueue(newJob()),
      ])
      assert.equal(proxy.cuts, 1)
      assert.deepEqual(
        results.map(each => (each.status === 'fulfilled' ? 'stored' : (each.reason as StoreError).code)),
        ['UNCERTAIN', 'stored', 'UNCERTAIN'],
      )
      assert.equal((await db.query('SELECT id FROM job')).length, 3)
    })

    test('and no one can connect any more: the one under way may be stored, the others are not', async t => {
      const {db, store, proxy} = await setUpProxy(t)
      await store.enqueue(newJob())
      const large = 'x'.repeat(300_000) // goes alone
      const jobs = Array.from({length: 6}, (_, i) => newJob('Work', {uniqkey: `k${i}`, arg: large}))
      proxy.cutAfter = 'COMMIT'
      proxy.closesAtCut = true
      const first = Promise.allSettled([store.enqueue(jobs[0]!)])
      await until('one has broken', () => proxy.cuts === 1)
      const others = Promise.allSettled(jobs.slice(1).map(job => store.enqueue(job)))
      assert.deepEqual(
        [...(await first), ...(await others)].map(each => each.status === 'rejected' && each.reason.code),
        ['UNCERTAIN', ...Array(5).fill('UNREACHABLE')],
      )
      const keys = await db.query('SELECT uniqkey FROM job WHERE uniqkey IS NOT NULL')
      assert.deepEqual(keys, [{uniqkey: 'k0'}])
    })
  })

  describe('many jobs on MySQL', () => {
    test('more than memory should hold, from a source that takes its time: all or none', async t => {
      const {db, store} = await setUp(t)
      const arg = 'x'.repeat(1000)
      async function* source(last: 'end' | 'throw') {
        for (let i = 0; i < 20_000; i++) {
          if (i % 5000 === 0) await new Promise(resolve => setImmediate(resolve))
          yield newJob('Bulk', {arg: `${i}${arg}`, uniqkey: `${i}`})
        }
        if (last === 'throw') throw new RangeError('no more')
      }
      await assert.rejects(store.enqueueMany(source('throw')), RangeError)
      assert.equal((await db.query('SELECT id FROM job LIMIT 1')).length, 0)
      assert.equal(await store.enqueueMany(source('end')), 20_000)
      const [row] = await db.query(
        `SELECT COUNT(*) AS n, SUM(arg = CONCAT(uniqkey, '${arg}')) AS same FROM job`,
      )
      assert.deepEqual([Number(row!.n), Number(row!.same)], [20_000, 20_000])
    })

    test('no lock is held while the source is waited for', async t => {
      const {store} = await setUp(t)
      const other = await open(t, store.name)
      let proceed = () => {}
      const isWaiting = new Promise<void>(resolve => {
        proceed = resolve
      })
      let given = 0
      async function* source() {
        for (let i = 0; i < 3000; i++) yield newJob('Work', {uniqkey: `${given++}`})
        await isWaiting
      }
      const all = store.enqueueMany(source())
      await until('the source is read', () => given === 3000)
      await other.enqueue(newJob('Work', {uniqkey: '7'})) // would wait for the other's row
      proceed()
      await assert.rejects(all, error => error instanceof DuplicateJobError && error.uniqkey === '7')
    })

    test('a deadlock in the middle: it starts over by itself, however long it is', async t => {
      const {db, store} = await setUp(t)
      await store.enqueue(newJob())
      await db.run('CREATE TABLE heavy (n INT)')
      const insert = (key: string) =>
        perl.query(`INSERT INTO job (func_id, uniqkey, grabbed_until) SELECT id, '${key}', 0 FROM func`)
      const perl = await db.another()
      await perl.query('START TRANSACTION')
      await perl.query(`INSERT INTO heavy SELECT 1 FROM ${rowsOf(100_000)}`) // so that it is the bulk that is chosen to die
      await insert('theirs')
      const arg = 'x'.repeat(1000)
      const jobs = Array.from({length: 12_000}, (_, i) => newJob('Work', {arg, uniqkey: `${i}`}))
      const all = store.enqueueMany([...jobs, newJob('Work', {uniqkey: 'theirs'})])
      await until('it waits for the row', () => db.hasLockWait())
      await insert('5')
      await perl.query('ROLLBACK')
      assert.equal(await all, 12_001)
      assert.equal(store.deadlocks, 1)
    })
  })

  describe('what is kept beside a job on MySQL', () => {
    test('a context comes with the job, from each way in, and goes with it', async t => {
      const {db, store} = await setUp(t)
      const context = (n: number) => JSON.stringify({traceparent: `00-${n}-é-📷`})
      await store.enqueue(newJob('Work', {context: context(1), priority: 9}))
      await store.enqueue(newJob('Work', {priority: 8}))
      await Promise.all(
        [2, 3].map(n => store.enqueue(newJob('Work', {context: context(n), priority: 9 - n}))),
      )
      await store.enqueueMany([
        newJob('Work', {priority: 5}),
        newJob('Work', {context: context(4), priority: 4}),
        newJob('Work', {priority: 3}),
        newJob('Work', {context: context(5), priority: 2}),
      ])
      await store.enqueue(newJob('Work', {context: context(6), arg: 'x'.repeat(300_000), priority: 1}))
      const {jobs} = await store.turn([], want(99))
      assert.deepEqual(
        jobs.map(job => job.context),
        [
          context(1),
          undefined,
          context(2),
          context(3),
          undefined,
          context(4),
          undefined,
          context(5),
          context(6),
        ],
      )
      const ends: Outcome[] = [
        {kind: 'completed'},
        {kind: 'completed'},
        {kind: 'failed', message: 'x', retryIn: 0},
        {kind: 'failed', message: 'x', retryIn: null},
        {kind: 'aborted', reason: 'x'},
        {kind: 'replaced', jobs: [newJob('Work', {context: context(7)})], retryIn: null},
        {kind: 'released'},
        {kind: 'died', how: 'x'},
        {kind: 'completed'},
      ]
      await store.turn(
        jobs.map((lease, i) => ({lease, outcome: ends[i]!})),
        want(0),
      )
      const left = await db.query('SELECT context FROM jobq_context ORDER BY context')
      const kept = [context(2), context(5), context(7)]
      assert.deepEqual(
        left.map(row => row.context),
        kept,
      )
      const again = (await store.turn([], want(99))).jobs.map(job => job.context)
      assert.deepEqual(again.filter(Boolean).sort(), kept)
    })

    test('how a job ends is told to who waits for it, once', async t => {
      const {db, store} = await setUp(t)
      const other = await open(t, store.name)
      const ends: [Outcome, string, string][] = [
        [{kind: 'completed'}, 'completed', ''],
        [{kind: 'replaced', jobs: [newJob('Later', {due: {in: 99}})], retryIn: null}, 'replaced', ''],
        [{kind: 'replaced', jobs: [newJob('Later', {uniqkey: 'k'})], retryIn: null}, 'failed', 'k'],
        [{kind: 'failed', message: "it's '\\ broken", retryIn: null}, 'failed', "it's '\\ broken"],
        [{kind: 'aborted', reason: '中止'}, 'aborted', '中止'],
      ]
      await store.enqueue(newJob('Later', {uniqkey: 'k', due: {in: 99}}))
      for (const span of [undefined, {start: 1_700_000_000, end: 1_700_000_001}])
        for (const [outcome, told, message] of ends) {
          const job = await store.enqueue(newJob('Work', {tracked: true}))
          const plain = await store.enqueue(newJob())
          const {jobs} = await other.turn([], want(2))
          assert.deepEqual(await store.ends([job, plain]), [])
          await other.turn(
            jobs.map(lease => ({lease, outcome, span})),
            want(0),
          )
          const [end, gone, ...more] = await store.ends([job, plain])
          assert.deepEqual(more, [])
          assert.deepEqual([end!.id, end!.outcome], [job.id, told])
          assert.ok(
            message === 'k' ? /uniqkey "k"/.test(end!.message) : end!.message === message,
            end!.message,
          )
          assert.deepEqual(gone, {id: plain.id, outcome: 'gone', message: ''})
          const kept = 'SELECT * FROM jobq_wait WHERE outcome IS NULL OR ended_at > UNIX_TIMESTAMP() - 86340'
          assert.deepEqual(await db.query(kept), [], 'longer than a minute')
          await db.run('DELETE FROM job WHERE priority = 0 AND uniqkey IS NULL')
        }
    })

    test('a job is waited for from later on; one that has lost its lease, or will be tried again, has not ended', async t => {
      const {db, store} = await setUp(t)
      const jobs: EnqueuedJob[] = []
      for (let i = 0; i < 4; i++) jobs.push(await store.enqueue(newJob()))
      const taken = (await store.turn([], want(3))).jobs as [JobRow, JobRow, JobRow]
      assert.deepEqual(
        (await store.track([...jobs, {id: 99}])).map(({id}) => id),
        jobs.map(({id}) => id),
      )
      await db.run('UPDATE job SET grabbed_until = grabbed_until + 1 WHERE id = ?', taken[0].id)
      const ends: Outcome[] = [
        {kind: 'completed'},
        {kind: 'failed', message: 'x', retryIn: 99},
        {kind: 'completed'},
      ]
      await store.turn(
        taken.map((lease, i) => ({lease, outcome: ends[i]!})),
        want(0),
      )
      assert.deepEqual(await store.ends(jobs), [{id: taken[2].id, outcome: 'completed', message: ''}])
      await db.run('DELETE FROM job WHERE id = ?', jobs[3]!.id) // as Perl ends it
      assert.deepEqual(await store.ends(jobs.slice(3)), [{id: jobs[3]!.id, outcome: 'gone', message: ''}])
    })

    test('the last death is an end', async t => {
      const {db, store} = await setUp(t)
      const died = await store.enqueue(newJob('Work', {tracked: true, context: '{}'}))
      for (let i = 0; i < 3; i++) {
        const [lease] = (await store.turn([], want())).jobs
        await store.turn([{lease: lease!, outcome: {kind: 'died', how: 'hit'}}], want(0))
      }
      const buried = await store.enqueue(newJob('Work', {tracked: true, context: '{}'}))
      for (let i = 0; i < 3; i++) {
        assert.equal((await store.turn([], want())).jobs.length, 1)
        await db.run('UPDATE job SET grabbed_until = 5')
      }
      await store.turn([], want())
      const ends = await store.ends([died, buried])
      assert.deepEqual(
        ends.map(({outcome}) => outcome),
        ['failed', 'failed'],
      )
      assert.match(ends[0]!.message, /its worker died 3 times: 1. hit/)
      assert.match(ends[1]!.message, /its lease ran out/)
      assert.equal((await db.query('SELECT * FROM jobq_context')).length, 0)
    })

    test('a watch rings when a job ends that is waited for, though nothing else has changed', async t => {
      const {store} = await setUp(t)
      const other = await open(t, store.name)
      await other.enqueueMany([newJob('Work', {priority: 1}), newJob('Work', {priority: 1})])
      const [first] = (await other.turn([], want(2))).jobs // whose lease ends first
      const waited = await store.enqueue(newJob('Work', {tracked: true}))
      const last = await store.enqueue(newJob('Work', {priority: 2}))
      const [, job] = (await other.turn([], want(2))).jobs
      assert.deepEqual([job!.id, last.id > waited.id], [waited.id, true])
      let rung = 0
      const watch = store.watch(() => rung++)
      t.after(() => watch.close())
      await until('it rings at the start', () => rung > 0)
      assert.deepEqual(await store.ends([waited]), [])
      const before = rung
      await other.turn([{lease: job!, outcome: {kind: 'completed'}}], want(0))
      await until('it rings', () => rung > before)
      assert.equal((await store.ends([waited]))[0]!.outcome, 'completed')
      assert.ok(first)
    })

    test('what Perl leaves behind is swept', async t => {
      const {db, store} = await setUp(t)
      const jobs = Array.from({length: 300}, () => newJob('Work', {context: '{}', tracked: true}))
      await store.enqueueMany(jobs)
      await db.run('DELETE FROM job WHERE id % 3 > 0')
      await db.run(
        `UPDATE jobq_wait SET outcome = 'completed', ended_at = UNIX_TIMESTAMP() WHERE job_id % 3 = 1`,
      )
      const [kept] = await db.query('SELECT id FROM job LIMIT 1')
      for (let i = 0; i < 500; i++) await store.track([{id: Number(kept!.id)}])
      const count = async (sql: string) => Number((await db.query(`SELECT COUNT(*) AS n FROM ${sql}`))[0]!.n)
      assert.equal(await count('jobq_context'), 100)
      assert.equal(await count('jobq_wait'), 200) // those that were told how it ended are kept for a day
      await db.run('UPDATE jobq_wait SET ended_at = ended_at - 90000')
      for (let i = 0; i < 500; i++) await store.track([{id: Number(kept!.id)}])
      assert.equal(await count('jobq_wait'), 100)
    })
  })

  interface Scene {
    db: MysqlDatabase
    store: MysqlStore
  }

  async function setUp(t: TestContext): Promise<Scene> {
    const db = await preparedMysql(t, url)
    const store = await open(t, db.name)
    return {db, store}
  }

  async function open(t: TestContext, name: string): Promise<MysqlStore> {
    const store = new MysqlStore(Object.assign(new URL(url), {pathname: `/${name}`}).href, name)
    t.after(() => store.close())
    return store
  }

  async function setUpProxy(t: TestContext): Promise<Scene & {proxy: CuttingProxy}> {
    const {db, store: direct} = await setUp(t)
    await direct.enqueue(newJob()) // the function's row is there
    const {hostname, port} = new URL(url)
    const proxy = await CuttingProxy.to(hostname, Number(port || 3306))
    t.after(() => proxy.close())
    const address = Object.assign(new URL(db.url), {hostname: '127.0.0.1', port: String(proxy.port)}).href
    const store = new MysqlStore(address, db.name)
    t.after(() => store.close())
    return {db, store, proxy}
  }
}
