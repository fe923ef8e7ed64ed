/** Servers that are not there yet, go away in the midst of work and come back: seen by real processes over real sockets. */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import {type AddressInfo, createServer} from 'node:net'
import {after, describe, type TestContext, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import {createConnection} from 'mysql2/promise'
import {Client} from 'pg'
import {JobQueue} from '../../src/lib/index.ts'
import {CutLine} from '../support/cut.ts'
import {NAP, Site} from '../support/manager.ts'
import {mysqlServer, type NoServer, postgresServer, type TestServer} from '../support/servers.ts'
import {until} from '../support/until.ts'

interface Kind {
  name: string
  /** What it says to who may not come in. */
  refusal: Buffer
  /** A connection that cancels what others are at. */
  canceller(url: string): Promise<{cancel(): Promise<void>; close(): Promise<void>}>
  server(): Promise<TestServer | NoServer>
  run(url: string, sql: string): Promise<void>
}

const KINDS: Kind[] = [
  {
    name: 'MySQL',
    refusal: Buffer.from('\x15\0\0\0\xff\x10\x04#08004gone fishing', 'latin1'),
    canceller: async url => {
      const connection = await createConnection(url)
      const others = `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`
      return {
        cancel: async () => {
          const [rows] = await connection.query(others)
          for (const {id} of rows as {id: number}[])
            await connection.query(`KILL QUERY ${id}`).catch(() => {}) // it may have ended
        },
        close: () => connection.end(),
      }
    },
    server: mysqlServer,
    run: async (url, sql) => {
      const connection = await createConnection(url)
      await connection.query(sql)
      await connection.end()
    },
  },
  {
    name: 'PostgreSQL',
    refusal: fatal('57P03', 'gone fishing'),
    canceller: async url => {
      const client = new Client(url)
      await client.connect()
      const others = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`
      return {cancel: async () => void (await client.query(others)), close: () => client.end()}
    },
    server: () => postgresServer(answersPostgres),
    run: async (url, sql) => {
      const client = new Client(url)
      await client.connect()
      await client.query(sql)
      await client.end()
    },
  },
]

/** PostgreSQL's ErrorResponse. */
function fatal(state: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${state}\0M${message}\0\0`)
  const head = Buffer.from('E\0\0\0\0', 'latin1')
  head.writeUInt32BE(4 + fields.length, 1)
  return Buffer.concat([head, fields])
}

async function answersPostgres(url: string): Promise<boolean> {
  const client = new Client({connectionString: url, connectionTimeoutMillis: 3000})
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}

for (const kind of KINDS)
  describe(`an outage of ${kind.name}`, {concurrency: 3}, async () => {
    const found = await kind.server()
    if ('missing' in found) {
      test('is not tried', t => t.skip(found.missing))
      return
    }
    const server: TestServer = found
    after(() => server.stop())

    /** A prepared database behind a line that can be cut. */
    async function scene(t: TestContext): Promise<{site: Site; line: CutLine; direct: string}> {
      const name = `jobq_test_${randomUUID().slice(0, 8)}`
      await kind.run(server.url, `CREATE DATABASE ${name}`)
      const url = new URL(server.url)
      const line = new CutLine(url.hostname, Number(url.port))
      await line.mend()
      url.pathname = name
      const direct = url.href
      url.port = String(line.port)
      const site = new Site(t, {'workers/Nap.js': NAP})
      site.db = url.href
      site.env.JOBQ_DB = url.href
      t.after(async () => {
        await line.cut()
        await kind.run(
          server.url,
          `DROP DATABASE ${name}${kind.name === 'PostgreSQL' ? ' WITH (FORCE)' : ''}`,
        )
      })
      assert.equal(await site.run('init').exit(), 0)
      return {site, line, direct}
    }

    test('that lasts since before the start is waited out, and told once', async t => {
      const {site, line} = await scene(t)
      await site.enqueue('Nap', 1)
      await line.cut()
      const manager = site.work()
      await manager.logs(/trying again until it works/)
      await line.mend()
      await until('the job is done', () => site.record.length === 2)
      await manager.logs(/is back/)
      assert.equal(await manager.end(), 0)
      assert.equal(manager.log.match(/trying again/g)?.length, 1)
    })

    for (const mode of ['--once', '--drain'])
      test(`that lasts since before the start is waited out by ${mode}, too, and by who opens a queue patiently`, async t => {
        const {site, line} = await scene(t)
        await site.enqueue('Nap', 1)
        await line.cut()
        const manager = site.work(mode)
        await manager.logs(/trying again for 30 s at most/)
        const told: string[] = []
        const opening = JobQueue.open({
          db: site.db,
          patient: true,
          onTrouble: message => told.push(message),
        })
        await until('it is told', () => told.length === 1)
        await line.mend()
        assert.equal(await manager.exit(), 0, manager.log)
        await using queue = await opening
        assert.deepEqual(await queue.list(), [])
        assert.match(told.join('\n'), /trying again until it works\n.* is back$/)
      })

    for (const mode of [[], ['--drain']])
      test(`that lasts longer than --max-time is not waited out by ${['work', ...mode].join(' ')}`, async t => {
        const {site, line} = await scene(t)
        await site.enqueue('Nap', 1)
        await line.cut()
        const since = performance.now()
        const manager = site.work(...mode, '--max-time', '1s')
        assert.equal(await manager.exit(), 1, manager.log)
        assert.match(manager.log, /\njobq: can't reach .*\n$/)
        assert.ok(performance.now() - since < 25_000, 'it is patient for 30 seconds, or for ever')
      })

    test('again and again under load: every job once, what a user saw is two lines each', async t => {
      const {site, line, direct} = await scene(t)
      await site.enqueue('Nap', 300, {ms: 20})
      const managers = [1, 2].map(() => site.work('--max-workers', '3'))
      for (let round = 0; round < 6; round++) {
        const before = site.record.length
        await until('jobs get on', () => site.record.length > before + 20 || site.record.length >= 600)
        await line.cut()
        await sleep(Math.random() * 300) // how long it lasts is not what is tested
        await line.mend()
      }
      await until('all are done, or leased by a turn whose answer was lost', async () => {
        const before = site.record.length
        await sleep(1000)
        return site.record.length === before
      })
      await kind.run(direct, 'UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0') // a minute has passed
      await until('all are done', () => site.record.filter(({word}) => word === 'end').length >= 300, 60_000)
      for (const manager of managers) assert.equal(await manager.end(), 0)
      const ends = site.record.filter(({word}) => word === 'end').map(({id}) => id)
      assert.deepEqual([...new Set(ends)].length, 300)
      assert.equal(ends.length, 300, 'some ran twice')
      await using queue = await site.queue()
      const [counts] = await queue.counts()
      assert.deepEqual(
        {...counts, oldestReadyAge: null},
        {
          func: 'Nap',
          ready: 0,
          delayed: 0,
          waiting: 0,
          running: 0,
          failed: 0,
          retrying: 0,
          completed: 0,
          aborted: 0,
          oldestReadyAge: null,
        },
      )
    })

    test('a job that ends meanwhile is settled when it is over', async t => {
      const {site, line} = await scene(t)
      const manager = site.work()
      await site.enqueue('Nap', 1, {ms: 300})
      await until('it has begun', () => site.record.length === 1)
      await line.cut()
      await until('it has ended', () => site.record.length === 2)
      await manager.logs(/trying again/)
      await line.mend()
      await manager.logs(/1 Nap completed/)
      await using queue = await site.queue()
      assert.deepEqual(await queue.list(), [])
      assert.equal(await manager.end(), 0)
    })

    test('an idle worker that is told to end meanwhile ends; an enqueue says it in one line', async t => {
      const {site, line} = await scene(t)
      const manager = site.work('--work-delay', '1')
      await site.enqueue('Nap', 1)
      await manager.logs(/1 Nap completed/)
      await line.cut()
      await manager.logs(/trying again/)
      assert.equal(await manager.end(), 0)
      const secret = new URL(site.db)
      secret.password = 'sekret'
      const enqueue = site.run('enqueue', 'Nap', '--db', secret.href)
      assert.equal(await enqueue.exit(), 1)
      assert.equal(enqueue.log.trim().split('\n').length, 1)
      assert.doesNotMatch(enqueue.log, /sekret/)
    })

    test('a line that stalls, in the handshake or later: each command ends, with what it waited for', async t => {
      const {site, line} = await scene(t)
      await site.enqueue('Nap', 1)
      const jobs = site.db
      site.db = site.env.JOBQ_DB = `${jobs}?connect-timeout=0.5&answer-timeout=0.5`
      const commands = [
        ['enqueue', 'Nap'],
        ['enqueue', 'Nap', '--args-from', site.write('args', '{}\n{}\n')],
        ['list'],
        ['stats'],
        ['wait', '1'],
        ['init'],
        ['pause', 'Nap'],
        ['copy', '--db', site.write('empty.db', ''), '--to', site.db],
      ]
      for (const bytes of [0, 60, 200]) {
        line.stallsAfter = bytes
        for (const words of commands.slice(0, bytes === 60 ? undefined : 2)) {
          const command = site.run(...words)
          assert.equal(await command.exit(), 1, `${bytes} ${words}`)
          assert.match(command.log, /no connection within 0.5 s/, String(words))
        }
      }
      line.stallsAfter = kind.name === 'MySQL' ? 1300 : 650 // behind the handshake
      const list = site.run('list')
      assert.equal(await list.exit(), 1)
      assert.match(list.log, /no (answer|connection)/)
    })

    test('a line that is slow is none that stalls: a large argument is waited for', async t => {
      const {site, line} = await scene(t)
      site.env.JOBQ_DB = `${site.db}?answer-timeout=0.3`
      line.speed = 400
      const arg = site.write('arg', JSON.stringify('x'.repeat(700_000)))
      const enqueue = site.run('enqueue', 'Nap', '--arg-file', arg)
      assert.equal(await enqueue.exit(), 0, enqueue.log)
      line.speed = Number.POSITIVE_INFINITY
      await using queue = await site.queue()
      assert.equal((await queue.list()).length, 1)
    })

    test('a server that refuses and does not hang up: the process ends', async t => {
      const {site} = await scene(t)
      const refusing = createServer({allowHalfOpen: true}, socket => {
        socket.on('error', () => {})
        if (kind.name === 'MySQL') socket.write(kind.refusal)
        else socket.once('data', () => socket.write(kind.refusal))
      }).listen(0, '127.0.0.1')
      t.after(() => refusing.close())
      await once(refusing, 'listening')
      const url = new URL(site.db)
      url.port = String((refusing.address() as AddressInfo).port)
      for (const words of [['enqueue', 'Nap'], ['list'], ['init']]) {
        const command = site.run(...words, '--db', url.href)
        assert.equal(await command.exit(), 1, String(words))
        assert.match(command.log, /gone fishing/)
      }
    })

    test('a server that does not answer is told of soon, and no hindrance to who is told to end', async t => {
      const {site, line} = await scene(t)
      const manager = site.work('--work-delay', '1')
      await site.enqueue('Nap', 1)
      await manager.logs(/1 Nap completed/)
      line.stallsAfter = 0
      await manager.logs(/has not answered for 3 s/)
      assert.doesNotMatch(manager.log, /no answer/)
      assert.equal(await manager.end(), 0)
    })

    test('statements that the server cancels: work goes on, a command says so', async t => {
      const {site, direct} = await scene(t)
      await site.enqueue('Nap', 200, {ms: 5})
      const manager = site.work('--max-workers', '3', '--work-delay', '1')
      const canceller = await kind.canceller(direct)
      let seen = -1
      await until('it was noticed, and jobs get on', async () => {
        // One that gets nothing through has nothing to show
        if (site.record.length !== seen || !/has cancelled it/.test(manager.log)) await canceller.cancel()
        seen = site.record.length
        return /has cancelled it/.test(manager.log) && site.record.length > 200
      })
      await canceller.close()
      await until('all are done, or leased by a turn whose answer was cancelled', async () => {
        const before = site.record.length
        await sleep(1000)
        return site.record.length === before
      })
      await kind.run(direct, 'UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0') // a minute has passed
      await until('all are done', async () => {
        await using queue = await site.queue()
        return (await queue.list()).length === 0
      })
      const ends = site.record.filter(({word}) => word === 'end').map(({id}) => id)
      assert.equal(new Set(ends).size, 200)
      assert.equal(await manager.end(), 0)
      assert.match(manager.log, /the database is back/)
    })
  })
