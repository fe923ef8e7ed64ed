/** Concurrent enqueues on PostgreSQL: they share commits, and nothing of one is another's. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {ArgumentError, DuplicateJobError} from '../../src/lib/jobs/errors.ts'
import {answersPostgres, type PostgresDatabase} from '../support/postgres.ts'
import {prepared} from '../support/prepared.ts'
import {postgresServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'
import {until} from '../support/until.ts'

const server = await postgresServer(answersPostgres)

if ('missing' in server) test('concurrent enqueues on PostgreSQL', {skip: server.missing})
else {
  const {url} = server

  /** How many transactions have stored what is in the table. */
  async function commits(db: PostgresDatabase): Promise<number> {
    const [row] = await db.query('SELECT count(DISTINCT xmin::TEXT) AS n FROM job')
    return Number(row!.n)
  }

  describe('PostgreSQL: concurrent enqueues', () => {
    for (const [what, keyOf] of [
      ['without keys', () => null],
      ['with keys', (i: number) => `k${i}`],
    ] as const)
      test(`a thousand ${what} are few commits, in the order of the calls`, async t => {
        const {db, store} = await prepared(t, url)
        const jobs = Array.from({length: 1000}, (_, i) =>
          newJob(`F${i % 3}`, {arg: `[${i}]`, uniqkey: keyOf(i), priority: i}),
        )
        const enqueued = await Promise.all(jobs.map(each => store.enqueue(each)))
        const ids = enqueued.map(({id}) => id)
        assert.deepEqual(
          ids,
          [...new Set(ids)].sort((a, b) => a - b),
        )
        for (const i of [0, 1, 500, 999]) {
          const found = await store.find(ids[i]!)
          const {func, uniqkey, priority, runAfter} = enqueued[i]!
          assert.deepEqual(
            [found?.func, String(found?.arg), found?.uniqkey, found?.priority, found?.runAfter],
            [func, `[${i}]`, uniqkey, priority, runAfter],
          )
          assert.equal(priority, i)
        }
        assert.ok((await commits(db)) <= 4, `${await commits(db)} commits`)
      })

    test('each has its own refusal', async t => {
      const {db, store} = await prepared(t, url)
      const taken = await store.enqueue(newJob('Work', {uniqkey: 'taken'}))
      const jobs = [
        newJob(),
        newJob('Work', {uniqkey: 'taken'}),
        newJob('New', {uniqkey: 'a'}),
        newJob('New', {uniqkey: 'a', tracked: true}),
        newJob('Late', {due: {in: 2 ** 31 - 1}}),
        newJob('x'.repeat(256)),
        newJob('No\0'),
        newJob('New', {uniqkey: 'b', context: '{}', tracked: true}),
      ]
      const done = await Promise.allSettled(jobs.map(each => store.enqueue(each)))
      const outcome = done.map(each => (each.status === 'fulfilled' ? 'stored' : each.reason.constructor))
      assert.deepEqual(outcome, [
        'stored',
        DuplicateJobError,
        'stored',
        DuplicateJobError,
        ArgumentError,
        ArgumentError,
        ArgumentError,
        'stored',
      ])
      const refusals = done.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
      const first = done[2]?.status === 'fulfilled' ? done[2].value.id : null
      assert.deepEqual(
        refusals.slice(0, 2).map(({existingId}) => existingId),
        [taken.id, first],
      )
      assert.deepEqual(await store.funcs(), ['New', 'Work'])
      const [beside] = await db.query(
        'SELECT (SELECT count(*) FROM jobq_wait) AS waits, (SELECT count(*) FROM jobq_context) AS contexts',
      )
      assert.deepEqual([Number(beside!.waits), Number(beside!.contexts)], [1, 1])
    })

    test('one whose key an open transaction holds keeps no other one waiting', async t => {
      const {db, store} = await prepared(t, url)
      const app = await db.foreign()
      await app.begin()
      await store.enqueueWithin(app.connection, newJob('Work', {uniqkey: 'held'}))
      let isDone = false
      const held = store.enqueue(newJob('Work', {uniqkey: 'held'})).finally(() => {
        isDone = true
      })
      held.catch(() => {})
      const others = [
        ...Array.from({length: 50}, (_, i) => newJob('Other', {uniqkey: `k${i}`})),
        ...Array.from({length: 50}, () => newJob('Other')),
      ]
      await store.enqueue(newJob('Other', {uniqkey: 'first'}))
      await Promise.all(others.map(each => store.enqueue(each)))
      assert.equal(isDone, false)
      await app.commit()
      await assert.rejects(held, DuplicateJobError)
    })

    test('processes that enqueue the same keys in opposite orders do not hold each other up', async t => {
      const {db, store} = await prepared(t, url)
      const other = db.store()
      t.after(() => other.close())
      const keys = Array.from({length: 300}, (_, i) => `k${i}`)
      for (let round = 0; round < 5; round++) {
        const jobs = keys.map(key => newJob('Work', {uniqkey: `${round} ${key}`}))
        const done = await Promise.allSettled([
          ...jobs.map(each => store.enqueue(each)),
          ...[...jobs].reverse().map(each => other.enqueue(each)),
        ])
        const refusals = done.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
        assert.equal(refusals.length, keys.length)
        for (const refusal of refusals) assert.ok(refusal instanceof DuplicateJobError, String(refusal))
      }
      const [row] = await db.query('SELECT deadlocks FROM pg_stat_database WHERE datname = ?', db.name)
      assert.equal(Number(row!.deadlocks), 0)
    })

    test('connections that are ended meanwhile: what is said to be stored is', async t => {
      const {db, store} = await prepared(t, url)
      await store.enqueue(newJob('Warm'))
      const calls = Array.from({length: 40}, (_, i) =>
        Array.from({length: 25}, (_, k) =>
          store.enqueue(newJob('Work', {uniqkey: k % 2 ? `${i} ${k}` : null})),
        ),
      )
      const settled = Promise.allSettled(calls.flat())
      await db.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ? AND application_name = 'jobq'`,
        db.name,
      )
      const done = await settled
      const ids = done.flatMap(each => (each.status === 'fulfilled' ? [each.value.id] : []))
      await until('the store is reached again', () =>
        store.paused().then(
          () => true,
          () => false,
        ),
      )
      const rows = await db.query(`SELECT job.id FROM job JOIN func ON func.id = func_id WHERE name = 'Work'`)
      const there = new Set(rows.map(({id}) => Number(id)))
      assert.ok(ids.every(id => there.has(id)))
      assert.equal(new Set(ids).size, ids.length)
    })
  })
}
