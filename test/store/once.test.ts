/** What is done again, since its answer was lost: an enqueue with a token stores nothing twice, a renewal loses no job. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {postgresStore} from '../../src/lib/store/postgres/store.ts'
import type {Store} from '../../src/lib/store/store.ts'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import {answersPostgres} from '../support/postgres.ts'
import {preparedMysql, preparedPostgres} from '../support/prepared.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'
import {isStoreError, newJob, want} from '../support/store.ts'

interface Database {
  readonly url: string
  query(sql: string): Promise<Record<string, unknown>[]>
}

const STORES = [
  {
    name: 'MySQL',
    sweeping: 'DELETE FROM jobq_token',
    renewing: 'SET grabbed_until = @now',
    server: await mysqlServer(),
    lend: (t: TestContext, url: string): Promise<Database> => preparedMysql(t, url),
    open: (url: string, patience: number): Store => new MysqlStore(url, 'db', {patience}),
  },
  {
    name: 'PostgreSQL',
    sweeping: null, // after the enqueue, and nobody waits for it
    renewing: 'jobq_renew',
    server: await postgresServer(answersPostgres),
    lend: (t: TestContext, url: string): Promise<Database> => preparedPostgres(t, url),
    open: (url: string, patience: number): Store => postgresStore(url, 'db', {patience}),
  },
]

/** In what stores a job under a token; one in 100 such enqueues also takes old tokens away. */
const STORING = 'INSERT INTO jobq_token'

for (const {name, sweeping, renewing, server, lend, open} of STORES)
  describe(`an enqueue with a token, or a renewal, on ${name} whose answer is lost`, {
    skip: 'missing' in server,
  }, () => {
    if ('missing' in server) return
    const {url} = server
    after(() => server.stop())

    async function setUp(t: TestContext, {patience = 20_000, parameters = ''} = {}) {
      const db = await lend(t, url)
      const {hostname, port} = new URL(db.url)
      const proxy = await CuttingProxy.to(hostname, Number(port))
      const store = open(
        `${Object.assign(new URL(db.url), {port: String(proxy.port)}).href}${parameters}`,
        patience,
      )
      t.after(async () => {
        await store.close()
        proxy.close()
      })
      await store.init()
      await store.enqueue(newJob()) // the function is known, and what stores a job is one text
      const count = async () => Number((await db.query('SELECT count(*) AS n FROM job'))[0]!.n) - 1
      return {db, proxy, store, count}
    }

    test('is done again, and stores nothing twice', async t => {
      const {proxy, store, count} = await setUp(t)
      for (const [i, job] of [
        newJob('Work', {token: 'a'}),
        newJob('Work', {token: 'b', uniqkey: 'k'}),
      ].entries()) {
        proxy.cutAfter = STORING
        const {id} = await store.enqueue(job)
        assert.deepEqual([proxy.cuts, await count()], [i + 1, i + 1])
        assert.equal((await store.enqueue(job)).id, id)
      }
    })

    test('together with others', async t => {
      const {proxy, store, count} = await setUp(t)
      proxy.cutAfter = STORING
      const jobs = Array.from({length: 5}, (_, i) => newJob('Work', {token: `t${i}`}))
      const ids = (await Promise.all(jobs.map(job => store.enqueue(job)))).map(({id}) => id)
      assert.deepEqual([proxy.cuts, new Set(ids).size, await count()], [1, 5, 5])
    })

    if (sweeping)
      test('and that was about old tokens is done again, too', async t => {
        const {proxy, store, count} = await setUp(t)
        proxy.cutAfter = sweeping
        let stored = 0
        for (; proxy.cuts === 0 && stored < 200; stored++)
          await store.enqueue(newJob('Work', {token: `t${stored}`}))
        assert.deepEqual([proxy.cuts, await count()], [1, stored])
      })

    test('and that was not stored is stored', async t => {
      const {proxy, store, count} = await setUp(t, {parameters: '?answer-timeout=1'})
      const job = newJob('Work', {token: 'a'})
      proxy.silentAfter = STORING
      await store.enqueue(job)
      assert.equal(await count(), 1)
    })

    test('a renewal is done again, and the job is still held', async t => {
      const {proxy, store} = await setUp(t)
      const [job] = (await store.turn([], want())).jobs
      const [mine] = await store.renew([job!], 100)
      assert.deepEqual(await store.renew([job!], 300), []) // that one was answered
      proxy.cutAfter = renewing
      await assert.rejects(store.renew([mine!], 600), isStoreError('UNREACHABLE'))
      const [again] = await store.renew([mine!], 900)
      assert.ok(again!.grabbedUntil >= mine!.grabbedUntil + 700)
      const {settled} = await store.turn([{lease: again!, outcome: {kind: 'completed'}}], want())
      assert.deepEqual(settled, [{held: true}])
    })

    test('and that nobody answers any more may have been stored: it tells the token, which is good later', async t => {
      const {db, proxy, store, count} = await setUp(t, {patience: 500})
      const job = newJob('Work', {token: 'later'})
      proxy.cutAfter = STORING
      proxy.closesAtCut = true
      await assert.rejects(store.enqueue(job), (error: Error & {token?: string; hint?: string}) => {
        assert.equal(error.token, 'later')
        assert.match(error.hint!, /--token later/)
        return isStoreError('UNCERTAIN', /may have been stored, under the token later$/)(error)
      })
      assert.equal(await count(), 1)
      const again = open(db.url, 500)
      t.after(() => again.close())
      assert.ok((await again.enqueue(job)).id > 0)
      assert.equal(await count(), 1)
    })
  })
