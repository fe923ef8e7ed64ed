/** The store on PostgreSQL behind PgBouncer: the suite, and what a pooler takes away and must not be given. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import pg from 'pg'
import {postgresStore} from '../../src/lib/store/postgres/store.ts'
import {Site} from '../support/manager.ts'
import {pooler} from '../support/pooler.ts'
import {answersPostgres} from '../support/postgres.ts'
import {preparedPostgres} from '../support/prepared.ts'
import {postgresServer, type TestServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'
import {until} from '../support/until.ts'
import {storeSuite} from './suite.ts'

const server = await postgresServer(answersPostgres)
const transaction = 'missing' in server ? server : await pooler(server.url, 'transaction')
const session = 'missing' in server ? server : await pooler(server.url, 'session')

if ('missing' in server) test('the store behind PgBouncer', {skip: server.missing})
else if ('missing' in transaction) test('the store behind PgBouncer', {skip: transaction.missing})
else if ('missing' in session) test('the store behind PgBouncer', {skip: session.missing})
else {
  const direct = server.url
  after(async () => {
    for (const each of [transaction, session, server]) await each.stop()
  })
  storeSuite('PgBouncer in transaction mode', t => preparedPostgres(t, transaction.url))

  describe('behind PgBouncer', () => {
    /** A prepared database, a store on it through a pooler, and the URL of that. */
    async function scene(t: TestContext, through: TestServer) {
      const db = await preparedPostgres(t, direct)
      const url = Object.assign(new URL(through.url), {pathname: `/${db.name}`}).href
      const store = postgresStore(url, db.name)
      t.after(() => store.close())
      return {db, store, url}
    }

    test('one command after the other, and work', async t => {
      const {url} = await scene(t, transaction)
      const site = new Site(t, {})
      site.env.JOBQ_DB = url
      const commands = [
        ['init'],
        ['enqueue', 'Do'],
        ['enqueue', 'Do', '--uniqkey', 'k'],
        ['enqueue', 'Do', '--args-from', site.write('args', '{}\n{}\n')],
        ['list'],
        ['stats'],
      ]
      for (const words of commands) {
        const command = site.run(...words)
        assert.equal(await command.exit(), 0, `${words}: ${command.log}`)
      }
      const manager = site.run('work', '--exec', 'Do=true', '--work-delay', '3600')
      await manager.logs(/4 Do completed/)
      await manager.logs(
        /: no NOTIFY arrives, as behind a pooler in transaction mode: new jobs are noticed after/,
      )
      assert.equal(await site.run('enqueue', 'Do').exit(), 0)
      await manager.logs(/5 Do completed/)
      assert.equal(await manager.end(), 0)
    })

    test('no setting and no statement is left to who has the connection next', async t => {
      const {store, url} = await scene(t, transaction)
      await store.enqueueMany([newJob(), newJob()])
      await store.turn([], {funcs: ['Work'], limit: 1, lease: 60})
      await store.list({limit: 9, offset: 0})
      const next = new pg.Client(url)
      await next.connect()
      t.after(() => next.end())
      const names = ['enable_seqscan', 'lock_timeout', 'jit', 'jobq.tells_ends']
      const settings = names.map(name => `coalesce(nullif(current_setting('${name}', true), ''), 'none')`)
      const {rows} = await next.query(
        `SELECT concat_ws(' ', ${settings}) AS settings,
           (SELECT count(*)::INTEGER FROM pg_prepared_statements) AS prepared,
           (SELECT count(*)::INTEGER FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks`,
      )
      assert.deepEqual(rows, [{settings: 'on 0 on none', prepared: 0, locks: 0}])
    })

    test('in transaction mode a watch looks again and again', async t => {
      const {store} = await scene(t, transaction)
      let rung = 0
      const watch = store.watch(() => rung++)
      await until('it has looked, though nothing has changed', () => rung > 5)
      watch.close()
    })

    test('in session mode it hears, and does not look', async t => {
      const {db, url} = await scene(t, session)
      const told: string[] = []
      const store = postgresStore(url, db.name, {onTrouble: what => told.push(what)})
      t.after(() => store.close())
      await store.enqueue(newJob())
      let rung = 0
      const watch = store.watch(() => rung++)
      await until('it has heard the knock, and is still', async () => {
        const before = rung
        await sleep(1000)
        return before > 0 && rung === before
      })
      const before = rung
      await db.run('INSERT INTO job (func_id, grabbed_until) SELECT id, 0 FROM func')
      await until('it hears of a job', () => rung > before)
      await sleep(1500) // longer than it waits for the knock
      assert.deepEqual(told, [])
      watch.close()
    })
  })
}
