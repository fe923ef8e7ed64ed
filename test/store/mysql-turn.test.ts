/** Turns on MySQL: that nobody waits for the server's disk, and what becomes of those whose COMMIT was lost. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import type {JobRow, Outcome, Settlement} from '../../src/lib/jobs/job.ts'
import {type MysqlOptions, MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import type {MysqlDatabase} from '../support/mysql.ts'
import {preparedMysql} from '../support/prepared.ts'
import {mysqlServer} from '../support/servers.ts'
import {newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await mysqlServer()

if ('missing' in server) test('turns on MySQL', {skip: server.missing})
else {
  after(() => server.stop())
  const {url} = server

  describe('a turn on MySQL whose answer is lost', () => {
    test('is repeated, and what it had settled is not lost but done', async t => {
      const {db, store, proxy} = await setUp(t)
      await store.enqueueMany(Array.from({length: 5}, (_, i) => newJob({priority: 9 - i})))
      const {jobs} = await store.turn([], want(5))
      const ends: Outcome[] = [
        {kind: 'completed'},
        {kind: 'failed', message: 'x', retryIn: 99},
        {kind: 'failed', message: 'x', retryIn: null},
        {kind: 'completed'},
        {kind: 'completed'},
      ]
      const settlements = jobs.map((lease, i) => ({lease, outcome: ends[i]!}))
      await db.run('UPDATE job SET grabbed_until = grabbed_until + 1 WHERE id = ?', jobs[3]!.id)
      const past = {...jobs[4]!, grabbedUntil: jobs[4]!.grabbedUntil - 3600} // its lease has run out
      settlements[4] = {lease: past, outcome: {kind: 'completed'}}
      proxy.cutAfter = 'CALL jobq_turn'
      await assert.rejects(store.turn(settlements, want(0)), /can't reach|Connection/)
      assert.equal(proxy.cuts, 1)
      const {settled} = await store.turn(settlements, want(0))
      assert.deepEqual(
        settled.map(({held}) => held),
        [true, true, true, true, false], // the fourth is not told apart from one that was done: its lease holds
      )
      assert.equal((await db.query('SELECT id FROM exception_log')).length, 2)
      const [retried] = await db.query('SELECT retry_cnt FROM job WHERE id = ?', jobs[1]!.id)
      assert.equal(retried!.retry_cnt, 1)
      assert.deepEqual((await store.turn(settlements, want(0))).settled[0], {held: false})
    })
  })

  test('where others are at the first, as many of what follows are taken', async t => {
    const {db, store} = await setUp(t)
    await store.enqueueMany(Array.from({length: 12}, () => newJob()))
    const other = await db.another()
    await other.query('START TRANSACTION')
    const all = (await db.query('SELECT id FROM job ORDER BY id')).map(({id}) => Number(id))
    for (const id of all.slice(0, 7)) await other.query('SELECT id FROM job WHERE id = ? FOR UPDATE', [id])
    for (const wanted of [all.slice(7, 10), all.slice(10)])
      assert.deepEqual(
        (await store.turn([], want(3))).jobs.map(({id}) => id),
        wanted,
      )
    await other.query('ROLLBACK')
    assert.equal((await store.turn([], want(9))).jobs.length, 7)
  })

  describe('turns on MySQL that wait for no disk', () => {
    test('are in order: each job once, by priority, however many connections they take', async t => {
      const {db, store} = await setUp(t, {durable: false})
      await store.enqueueMany(
        Array.from({length: 500}, (_, i) => newJob({priority: i % 7, context: `${i % 7}`})),
      )
      const taken: JobRow[] = []
      let ends: Settlement[] = []
      for (;;) {
        const {jobs, settled} = await store.turn(ends, want(1 + (taken.length % 3)))
        assert.ok(settled.every(({held}) => held))
        if (jobs.length === 0) break
        taken.push(...jobs)
        ends = jobs.map(lease => ({lease, outcome: {kind: 'completed'}}))
      }
      const order = taken.map(({priority}) => priority)
      assert.deepEqual(
        order,
        [...order].sort((a, b) => b - a),
      )
      assert.deepEqual(
        taken.map(({context}) => context),
        order.map(String),
      )
      assert.equal(new Set(taken.map(({id}) => id)).size, 500)
      await store.close() // what was told is there
      assert.deepEqual(await db.query('SELECT id FROM job'), [])
      assert.deepEqual(await db.query('SELECT job_id FROM jobq_context'), [])
    })

    for (const isCommitted of [false, true])
      test(`are mended when a COMMIT ${isCommitted ? 'is not answered' : 'fails'}, and nothing is done twice`, async t => {
        const {db, store, proxy} = await setUp(t, {durable: false})
        const ends: [Outcome, state: object][] = [
          [{kind: 'completed'}, {}],
          [
            {kind: 'failed', message: 'x', retryIn: 99},
            {retry_cnt: 1, grabbed_until: 0},
          ],
          [{kind: 'aborted', reason: 'x'}, {}],
          [
            {kind: 'died', how: 'x'},
            {retry_cnt: 0, grabbed_until: 0},
          ],
          [{kind: 'replaced', jobs: [newJob({func: 'New'})], retryIn: null}, {}],
        ]
        await store.enqueueMany(ends.map((_, i) => newJob({priority: 9 - i})))
        const {jobs: first} = await store.turn([], want(ends.length))
        await until('that is committed', async () => (await leasesOf(db)) === ends.length)
        await store.enqueueMany(Array.from({length: 2}, () => newJob({priority: 10})))
        if (isCommitted) proxy.cutBeforeLast = ';\nCOMMIT'
        else proxy.change = [';\nCOMMIT', ';\nCOMM17']
        const turn = await store.turn(
          first.map((lease, i) => ({lease, outcome: ends[i]![0]})),
          want(2),
        )
        assert.deepEqual(
          turn.settled.map(({held}) => held),
          ends.map(() => true),
        )
        const [a, b] = turn.jobs as [JobRow, JobRow]
        const second = await store.turn([{lease: a, outcome: {kind: 'completed'}}], want(0))
        assert.deepEqual(second.settled, [{held: true}])
        const [renewed] = await store.renew([b], 300)
        assert.equal(renewed?.id, b.id)
        await store.close()
        for (const [i, {id}] of first.entries()) {
          const rows = await db.query('SELECT retry_cnt, grabbed_until FROM job WHERE id = ?', id)
          assert.deepEqual(rows, Object.keys(ends[i]![1]).length > 0 ? [ends[i]![1]] : [], ends[i]![0].kind)
        }
        const [counts] = await db.query(`SELECT (SELECT COUNT(*) FROM exception_log) AS exceptions,
          (SELECT COUNT(*) FROM jobq_death) AS deaths,
          (SELECT COUNT(*) FROM job WHERE func_id = (SELECT id FROM func WHERE name = 'New')) AS news,
          (SELECT COUNT(*) FROM job WHERE id = ${a.id}) AS a,
          (SELECT COUNT(*) FROM job WHERE id = ${b.id} AND grabbed_until = ${renewed!.grabbedUntil}) AS b`)
        assert.deepEqual(counts, {exceptions: 2, deaths: 1, news: 1, a: 0, b: 1})
        assert.ok(isCommitted ? proxy.cuts === 1 : proxy.change === null)
      })

    test('call for a turn when a COMMIT fails, so that it is soon mended', async t => {
      const {db, store, proxy} = await setUp(t, {durable: false})
      let rung = 0
      const watch = store.watch(() => rung++)
      t.after(() => watch.close())
      await store.enqueueMany([newJob(), newJob()])
      const [first] = (await store.turn([], want())).jobs
      await until('that is committed', async () => (await leasesOf(db)) === 1)
      proxy.change = [';\nCOMMIT', ';\nCOMM17']
      await until('it rings at the start', () => rung > 0)
      const before = rung
      const {jobs} = await store.turn([{lease: first!, outcome: {kind: 'aborted', reason: 'x'}}], want())
      assert.equal(jobs.length, 1)
      await until('it rings', () => rung > before)
      await until('it is mended', async () => {
        await store.turn([], want(0)) // as who is rung does
        const rows = await db.query('SELECT id FROM job WHERE grabbed_until > 0')
        return rows.length === 1 && rows[0]!.id === jobs[0]!.id
      })
      assert.equal((await db.query('SELECT id FROM exception_log')).length, 1)
    })

    test('that are one call: where its COMMIT is not answered, what it took stays taken, and is settled once', async t => {
      const {db, store, proxy} = await setUp(t, {durable: false})
      await store.enqueueMany(Array.from({length: 3}, () => newJob()))
      const {jobs: first} = await store.turn([], want(2))
      await until('that is committed', async () => (await leasesOf(db)) === 2)
      proxy.cutBeforeLast = 'CALL jobq_turn'
      const ended = first.map(lease => ({lease, outcome: {kind: 'completed'}}) as const)
      const {settled, jobs} = await store.turn(ended, want())
      assert.deepEqual([settled, jobs.length], [[{held: true}, {held: true}], 1])
      const [renewed] = await store.renew(jobs, 300)
      assert.equal(renewed?.id, jobs[0]!.id)
      const last = await store.turn([{lease: renewed, outcome: {kind: 'completed'}}], want(0))
      assert.deepEqual(last.settled, [{held: true}])
      await store.close()
      assert.deepEqual(await db.query('SELECT id FROM job'), [])
      assert.equal(proxy.cuts, 1)
    })
  })

  interface Scene {
    db: MysqlDatabase
    store: MysqlStore
    proxy: CuttingProxy
  }

  async function setUp(t: TestContext, options: MysqlOptions = {}): Promise<Scene> {
    const db = await preparedMysql(t, url)
    const {hostname, port} = new URL(url)
    const proxy = await CuttingProxy.to(hostname, Number(port || 3306))
    t.after(() => proxy.close())
    const store = await open(
      t,
      Object.assign(new URL(db.url), {hostname: '127.0.0.1', port: String(proxy.port)}).href,
      options,
    )
    await store.enqueue(newJob())
    await db.run('DELETE FROM job')
    return {db, store, proxy}
  }

  async function open(t: TestContext, address: string, options: MysqlOptions = {}): Promise<MysqlStore> {
    const store = new MysqlStore(address, 'db', options)
    t.after(() => store.close())
    return store
  }
}

async function leasesOf(db: MysqlDatabase): Promise<number> {
  const [row] = await db.query('SELECT COUNT(*) AS n FROM job WHERE grabbed_until > 0')
  return Number(row!.n)
}
