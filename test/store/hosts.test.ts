/**
 * An address with several hosts, on real servers: which one is used, when it is left, and what comes along. Where all hosts
 * are to have the same jobs, as in a cluster, they are lines to one server.
 */
import assert from 'node:assert/strict'
import {after, before, describe, type TestContext, test} from 'node:test'
import {createConnection} from 'mysql2/promise'
import {isPassing, StoreError, TransactionError} from '../../src/lib/jobs/errors.ts'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {postgresStore} from '../../src/lib/store/postgres/store.ts'
import {withHosts} from '../../src/lib/store/shared/host-list.ts'
import type {Store} from '../../src/lib/store/store.ts'
import {FaultyLine} from '../support/faulty-line.ts'
import {Home, printed} from '../support/home.ts'
import {find} from '../support/machine.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {ownMysql} from '../support/own-server.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {
  answersMysql,
  mysqlServer,
  type NoServer,
  none,
  postgresServer,
  type TestServer,
} from '../support/servers.ts'
import {until} from '../support/until.ts'

const mysql = await mysqlServer()
const postgres = await postgresServer(answersPostgres)
after(async () => {
  for (const server of [mysql, postgres]) if (!('missing' in server)) await server.stop()
})

function newJob(uniqkey: string | null = null): NewJob {
  return {func: 'Notify', arg: '{}', uniqkey, priority: 0, due: {in: 0}}
}

const EVERYTHING = {of: 'client', after: 0, how: 'stall', connections: Number.POSITIVE_INFINITY} as const
const WANT = {funcs: ['Notify'], limit: 1, lease: 60}

interface Kind {
  server: TestServer | NoServer
  create(url: string): Promise<MysqlDatabase | PostgresDatabase>
  open(url: string): Store & {init(): Promise<void>}
  wrong: RegExp
}

const KINDS: Record<string, Kind> = {
  MySQL: {
    server: mysql,
    create: url => MysqlDatabase.create(url),
    open: url => new MysqlStore(url, 'NAME', {durable: false}),
    wrong: /can't reach NAME \(Access denied/,
  },
  PostgreSQL: {
    server: postgres,
    create: url => PostgresDatabase.create(url),
    open: url => postgresStore(url, 'NAME', {durable: false}),
    wrong: /can't reach NAME \(role "nobody_here" does not exist\)$/,
  },
}

for (const [name, {server, create, open, wrong}] of Object.entries(KINDS))
  describe(`two hosts of ${name}`, {skip: 'missing' in server && server.missing}, () => {
    const {url = ''} = server as TestServer

    let db: MysqlDatabase | PostgresDatabase

    before(async () => {
      db = await create(url)
      const store = open(db.url)
      await store.init()
      await store.close()
    })
    after(() => db.drop())

    /** Two ways to an empty queue, and their address. */
    async function twoHosts(t: TestContext, query = '') {
      await db.query('DELETE FROM job')
      const lines = [await FaultyLine.to(db.url), await FaultyLine.to(db.url)] as [FaultyLine, FaultyLine]
      t.after(() => {
        for (const line of lines) line.close()
      })
      const hosts = lines.map(line => new URL(line.through(db.url)).host)
      const address = withHosts(db.url, hosts) + query
      const store = open(address)
      t.after(() => store.close())
      return {lines, hosts, address, store}
    }

    test('the first is used, by everything, and no other; until it is gone, then the second, even when it is back', async t => {
      const {lines, hosts, store} = await twoHosts(t)
      let rings = 0
      const watch = store.watch(() => rings++)
      t.after(() => watch.close())
      await until('it listens', () => rings > 0)
      lines[1].arm(null)
      await store.enqueue(newJob())
      await until('it is taken', async () => (await store.turn([], WANT)).jobs.length === 1)
      assert.equal((await store.list({limit: 9, offset: 0})).length, 1)
      assert.deepEqual(lines[1].seen.client, [])

      lines[0].close()
      assert.equal((await store.list({limit: 9, offset: 0})).length, 1)
      await store.enqueue(newJob())
      await until('the other is taken', async () => {
        const turn = await store.turn([], WANT).catch(error => {
          // As a dispatcher has it: its connection was lost with the host
          if (isPassing(error)) return {jobs: []}
          throw error
        })
        return turn.jobs.length === 1
      })
      await until('it listens again', async () => {
        const before = rings
        await db.query('DELETE FROM job')
        await db.query(
          'INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority) SELECT id, ?, NULL, 1, 0, 1, 0, 0 FROM func',
          Buffer.from('{}'),
        )
        return rings > before
      })

      const back = await FaultyLine.to(db.url, Number(new URL(`x://${hosts[0]}`).port))
      t.after(() => back.close())
      assert.equal((await store.list({limit: 9, offset: 0})).length, 1)
      assert.deepEqual(back.seen.client, [])
      lines[1].close()
      assert.equal((await store.list({limit: 9, offset: 0})).length, 1)
      assert.ok(back.seen.client.length > 0)
    })

    test('one that hangs is left when its time is over: reads go on elsewhere, and a job is found there, or stored once', async t => {
      const {lines, store} = await twoHosts(t, '?answer-timeout=0.3')
      await store.enqueue(newJob('first'))
      lines[0].arm(EVERYTHING)
      const {id} = await store.enqueue(newJob()) // by its token
      assert.equal((await store.enqueue(newJob('second'))).uniqkey, 'second')
      lines[0].arm(null)
      lines[1].arm(EVERYTHING)
      const jobs = await store.list({limit: 9, offset: 0})
      assert.deepEqual(
        jobs.filter(({uniqkey}) => uniqkey === null).map(job => job.id),
        [id],
      )
      assert.equal(jobs.length, 3)
    })

    test('where none can be reached, each is named with its reason, and it passes', async t => {
      const {lines, hosts, store} = await twoHosts(t)
      for (const line of lines) line.close()
      // The first call finds the connections closed
      const error = await store.paused().catch(error => error)
      assert.ok(error instanceof StoreError && error.code === 'UNREACHABLE', String(error))
      const reasons = hosts.map(host => `${host}: connect ECONNREFUSED ${host}`)
      assert.equal(error.message, `no host of NAME takes writes (${reasons.join('; ')})`)
    })

    test('a login that is refused is told as with one host', async t => {
      const {address} = await twoHosts(t)
      const store = open(address.replace(/\/\/\w+@/, '//nobody_here:secret@'))
      t.after(() => store.close())
      await assert.rejects(store.paused(), wrong)
    })

    test('commands: --db, JOBQ_DB, configuration; what a job gets; one database twice', async t => {
      const {address, lines} = await twoHosts(t)
      const home = new Home(t)
      lines[0].close()
      const ids = [await home.jobq(['enqueue', 'Notify', '--db', address])]
      ids.push(await home.call(['enqueue', 'Notify'], {env: {JOBQ_DB: address}}))
      const rows = await db.query('SELECT id FROM job ORDER BY id')
      assert.deepEqual(
        ids,
        rows.map(({id}) => printed(Number(id))),
      )
      home.write('jobq.config.json', JSON.stringify({db: address}))
      const {stdout} = await home.jobq(['work', '--once', '--exec', 'Notify=printenv JOBQ_DB >got'])
      assert.equal(stdout, '')
      assert.equal(home.read('got').toString(), `${address}\n`)
      if (name === 'PostgreSQL') {
        const checked = await home.call(['check'])
        assert.match(
          checked.stdout,
          /^JOBQ WARNING - its standbys are asynchronous \(synchronous_standby_names is empty\): [^|]* \| ready=1;/,
        )
        assert.equal(checked.code, 1)
        const prepared = await home.call(['init'])
        assert.match(prepared.stderr, /^jobq: \S+: its standbys are asynchronous [^\n]*\n$/)
        assert.equal(prepared.code, 0)
      } else {
        const long = await home.call(['check', '--json', '--db', `${address}?answer-timeout=30`])
        const {status, warnings} = JSON.parse(long.stdout) as {status: string; warnings: string[]}
        assert.equal(status, 'WARNING')
        assert.match(
          warnings.join(),
          /^a host that hangs is left, and the next has answered, after up to 70 s/,
        )
        assert.equal((await home.call(['check'])).code, 0)
      }
      const twice = await home.call([
        'list',
        '--db',
        address,
        '--db',
        db.url.replace(/:\d+\//, `:${new URL(lines[1].through(db.url)).port}/`),
      ])
      assert.match(
        twice.stderr,
        /^jobq: expected different databases, got the same one as the 1\. and the 2\./,
      )
      assert.equal(twice.code, 2)
    })
  })

describe('MySQL: read_only', {
  skip: find('mariadbd', 'mysqld') ? false : none('MySQL', 'PATH', 'apt-get install mariadb-server').missing,
}, () => {
  const servers: MysqlDatabase[] = []
  const own: TestServer[] = []
  let url = ''

  before(async () => {
    const path = find('mariadbd', 'mysqld')!
    const [first, second] = await Promise.all([ownMysql(path, answersMysql), ownMysql(path, answersMysql)])
    for (const {url} of [first, second]) {
      const db = await MysqlDatabase.create(url)
      await db.query('CREATE DATABASE jobs')
      await db.query('CREATE USER worker@localhost')
      await db.query('GRANT ALL ON jobs.* TO worker@localhost')
      servers.push(db)
    }
    const hosts = [first, second].map(({url}) => new URL(url).host)
    url = withHosts('mysql://worker@host/jobs', hosts)
    own.push(first, second)
  })

  after(async () => {
    for (const db of servers) await db.drop()
    for (const server of own) await server.stop()
  })

  async function readOnly(first: boolean, second: boolean): Promise<void> {
    for (const [i, value] of [first, second].entries())
      await servers[i]!.query(`SET GLOBAL read_only = ${value ? 'ON' : 'OFF'}`)
  }

  const count = async (db: MysqlDatabase) =>
    Number((await db.query('SELECT COUNT(*) AS n FROM jobs.job'))[0]!.n)

  test('such a host is passed over, left when it becomes one, and if all are, that is told', async t => {
    for (const db of servers) {
      const {url} = db
      const alone = new MysqlStore(Object.assign(new URL(url), {pathname: '/jobs'}).href, 'NAME')
      await alone.init()
      await alone.close()
    }
    await readOnly(true, false)
    const store = new MysqlStore(url, 'NAME')
    t.after(() => store.close())
    await store.enqueue(newJob())
    assert.deepEqual(await Promise.all(servers.map(count)), [0, 1])
    await readOnly(false, true)
    await store.enqueue(newJob())
    assert.equal((await store.turn([], WANT)).jobs.length, 1)
    assert.deepEqual(await Promise.all(servers.map(count)), [1, 1])
    const theirs = await createConnection(withHosts(url, [new URL(servers[0]!.url).host]))
    t.after(() => theirs.destroy())
    await theirs.beginTransaction()
    await store.enqueueWithin(theirs, newJob())
    await readOnly(true, false)
    await assert.rejects(
      store.enqueueWithin(theirs, newJob()),
      error =>
        error instanceof TransactionError &&
        /^the connection is to a host that takes no writes \(/.test(error.message),
    )
    await theirs.rollback()
    await readOnly(true, true)
    await assert.rejects(
      store.enqueue(newJob()),
      /^StoreError: no host of NAME takes writes \(127\.0\.0\.1:\d+: it takes no writes \(read_only\); 127\.0\.0\.1:\d+: it takes no writes \(read_only\)\)$/,
    )
    // Who may write all the same does not
    const root = new MysqlStore(url.replace('worker', 'root'), 'NAME')
    t.after(() => root.close())
    await assert.rejects(root.enqueue(newJob()), /takes no writes \(read_only\)/)
  })
})
