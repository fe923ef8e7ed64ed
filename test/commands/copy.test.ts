/** `jobq copy`, as a process: a queue moves with its bytes, priorities, keys, times and order. */
import assert from 'node:assert/strict'
import {copyFileSync, existsSync, mkdirSync, symlinkSync} from 'node:fs'
import {join} from 'node:path'
import {after, describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Database from 'better-sqlite3'
import {type Jobq, jobqIn} from '../support/jobq.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/qudo-0.0214-written.sqlite', import.meta.url))
const [mysql, postgres] = [await mysqlServer(), await postgresServer(answersPostgres)]
const ROWS = `SELECT func.name AS func, hex(CAST(arg AS BLOB)) AS arg, arg IS NULL AS none, uniqkey, priority, run_after
  FROM job JOIN func ON func.id = func_id WHERE grabbed_until = 0`

test('what Qudo wrote moves undamaged, in the order of work', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  copyFileSync(FIXTURE, from)
  const {code, stdout, stderr} = await jobq(['copy', '--db', from, '--to', to])
  assert.deepEqual({code, stdout, stderr}, {code: 0, stdout: '9\n', stderr: ''})
  const rows = (db: string, order: string) => {
    const store = new Database(db, {readonly: true})
    const all = store.prepare(`${ROWS} ORDER BY ${order}`).all()
    store.close()
    return all
  }
  const sorted = 'run_after > unixepoch(), priority DESC, run_after, job.id'
  assert.deepEqual(rows(to, 'job.id'), rows(from, sorted))
  assert.deepEqual(rows(to, sorted), rows(to, 'job.id'))
})

test('a uniqkey that is waiting there refuses all; one function may be chosen; running jobs stay', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  for (const words of [['A'], ['B', '--uniqkey', 'k'], ['C']]) await jobq(['enqueue', ...words, '--db', from])
  await jobq(['enqueue', 'B', '--uniqkey', 'k', '--db', to])
  const refused = await jobq(['copy', '--db', from, '--to', to])
  assert.equal(refused.code, 3)
  assert.match((await jobq(['stats', '--db', to])).stdout, /^total\t1\t/m)
  const store = new Database(from)
  store.exec(
    "UPDATE job SET grabbed_until = unixepoch() + 3600 WHERE func_id = (SELECT id FROM func WHERE name = 'C')",
  )
  store.close()
  assert.equal((await jobq(['copy', '--db', from, '--to', to, '--func', 'A'])).stdout, '1\n')
  const running = await jobq(['copy', '--db', from, '--to', to, '--func', 'C', '--json'])
  assert.deepEqual(JSON.parse(running.stdout), {copied: 0, running: 1, waiting: 0, expired: 0})
  assert.match(running.stderr, /^jobq: running, and not copied: 1\n/)
})

test('tags, and when a job expires, go with it', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  await jobq(['enqueue', 'A', '--expires', '1h', '--tag', 'customer=42', '--db', from])
  assert.equal((await jobq(['copy', '--db', from, '--to', to])).stdout, '1\n')
  const [before, after] = (await Promise.all(
    [from, to].map(async db => JSON.parse((await jobq(['list', '--json', '--db', db])).stdout)[0]),
  )) as [Record<string, unknown>, Record<string, unknown>]
  assert.deepEqual(after.tags, {customer: '42'})
  assert.ok(Math.abs(Number(after.expires_at) - Number(before.expires_at)) <= 2)
})

test('a job that has expired where nobody works is not copied, and not begun there: it is told', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  for (const words of [['A', '--expires', '1h'], ['B']]) await jobq(['enqueue', ...words, '--db', from])
  const store = new Database(from)
  store.exec('UPDATE jobq_expiry SET expires_at = unixepoch() - 1')
  store.close()
  const {code, stdout, stderr} = await jobq(['copy', '--db', from, '--to', to])
  assert.deepEqual(
    {code, stdout, stderr},
    {code: 0, stdout: '1\n', stderr: 'jobq: expired, and not copied: 1\n'},
  )
  assert.match((await jobq(['list', '--db', to])).stdout, /^1\tB\tready\t.*\n$/)
})

test('a priority below 0, as Qudo takes it, is listed and copied; a time that is none is refused with its job', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  for (const func of ['A', 'B']) await jobq(['enqueue', func, '--db', from])
  const store = new Database(from)
  store.exec('UPDATE job SET priority = -5 WHERE id = 1')
  assert.deepEqual((await jobq(['list', '--db', from])).stdout.match(/^\d\t\w\tready\t\S+/gm), [
    '2\tB\tready\t0',
    '1\tA\tready\t-5',
  ])
  assert.equal((await jobq(['copy', '--db', from, '--to', to])).code, 0)
  assert.match((await jobq(['list', '--db', to])).stdout, /^2\tA\tready\t-5\t/m)

  store.exec(`UPDATE job SET run_after = 'later', priority = 'high' WHERE id = 1`)
  store.close()
  assert.match((await jobq(['list', '--db', from])).stdout, /^1\tA\tdelayed\t\\N\t\\N\t0\t/m)
  assert.match(
    (await jobq(['list', '--json', '--db', from])).stdout,
    /"id":1,.*"run_after":null,.*"priority":null/,
  )
  const refused = await jobq(['copy', '--db', from, '--to', to])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /^jobq: job 1: expected numbers as its priority and run_after/)
  assert.match((await jobq(['stats', '--db', to])).stdout, /^total\t2\t/m)
})

test('contexts move with their jobs', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  await jobq(['enqueue', 'Other', '--db', to])
  await jobq(['enqueue', '--batch', '-', '--db', from], {stdin: '{"func":"A"}\n{"func":"B","priority":1}\n'})
  const store = new Database(from)
  store.exec(`INSERT INTO jobq_context (job_id, context) VALUES (2, '{"user":"ada"}')`)
  store.close()
  assert.equal((await jobq(['copy', '--db', from, '--to', to])).stdout, '2\n')
  const copied = new Database(to, {readonly: true})
  assert.deepEqual(copied.prepare('SELECT * FROM jobq_context').all(), [
    {job_id: 2, context: '{"user":"ada"}'},
  ])
  copied.close()
})

for (const [name, server, create] of [
  ['SQLite', null, null],
  ['MySQL', mysql, (url: string) => MysqlDatabase.create(url)],
  ['PostgreSQL', postgres, (url: string) => PostgresDatabase.create(url)],
] as const) {
  const title = `a job whose id JavaScript can not hold is passed over, and told once by list and copy: ${name}`
  if (server && 'missing' in server) test(title, {skip: server.missing})
  else
    test(title, async t => {
      const jobq = jobqIn(t)
      const database = server && (await create(server.url))
      t.after(() => database?.drop())
      const from = database?.url ?? join(jobq.folder, 'from.db')
      await jobq(['init', '--db', from])
      for (const func of ['A', 'B', 'C']) await jobq(['enqueue', func, '--db', from])
      const sql = 'UPDATE job SET id = 9007199254740993 WHERE id = 2'
      if (database) await database.query(sql)
      else new Database(from).exec(sql).close()

      const listed = await jobq(['list', '--db', from])
      assert.deepEqual(listed.stdout.match(/^\d+\t\w/gm), ['1\tA', '3\tC'])
      const json = await jobq(['list', '--json', '--db', from])
      const rows = JSON.parse(json.stdout) as {id: number}[]
      assert.deepEqual(
        rows.map(({id}) => id),
        [1, 3],
      )
      const several = await jobq(['list', '--db', from, '--db', join(jobq.folder, 'other.db')])
      assert.equal(several.stdout.match(/\n/g)?.length, 2)
      const to = join(jobq.folder, 'to.db')
      const copied = await jobq(['copy', '--db', from, '--to', to])
      assert.equal(copied.stdout, '2\n')
      for (const [done, {code, stderr}] of [
        ['listed', listed],
        ['listed', json],
        ['listed', several],
        ['copied', copied],
      ] as const) {
        assert.equal(code, 1)
        assert.match(
          stderr,
          new RegExp(`^jobq: job: expected .* got 9007199254740993, .*: no such job is ${done}; .*\n$`),
        )
      }
      assert.equal((await jobq(['list', '--db', to])).code, 0)
    })
}

test('a --to that is no database is told by its name', async t => {
  const jobq = jobqIn(t)
  await jobq(['enqueue', 'A', '--db', 'a.db'])
  for (const to of ['', 'redis://x', 'postgres://h:1,h:1/x']) {
    const {code, stderr} = await jobq(['copy', '--db', 'a.db', '--to', to])
    assert.equal(code, 2)
    assert.match(stderr, /^jobq: --to: expected /)
  }
})

test('a missing --to', async t => {
  const jobq = jobqIn(t)
  await jobq(['enqueue', 'A', '--db', 'a.db'])
  assert.equal((await jobq(['copy', '--db', 'a.db'])).code, 2)
})

describe('the same queue under another name is refused, and keeps its jobs', () => {
  test('SQLite: by a link to the file or its folder, among several', async t => {
    const jobq = jobqIn(t)
    const folder = join(jobq.folder, 'folder')
    mkdirSync(folder)
    symlinkSync(folder, join(jobq.folder, 'link'))
    symlinkSync(join(folder, 'a.db'), join(jobq.folder, 'link.db'))
    const names = ['folder/a.db', 'link/a.db', 'link.db', `sqlite:${folder}/a.db`, 'dbi:SQLite:link/a.db']
    await assertOne(jobq, names)
    await jobq(['init', '--db', 'other.db'])
    const {code} = await jobq(['copy', '--db', 'other.db', '--db', 'folder/a.db', '--to', 'link.db'])
    assert.equal(code, 2)
  })

  for (const [name, driver, server, create] of [
    ['MySQL', 'mysql', mysql, (url: string) => MysqlDatabase.create(url)],
    ['PostgreSQL', 'Pg', postgres, (url: string) => PostgresDatabase.create(url)],
  ] as const) {
    if ('missing' in server) {
      test(name, {skip: server.missing})
      continue
    }
    after(() => server.stop())

    test(`${name}: by another host, a DSN, a socket, with a parameter; another database is another, and gets the contexts`, async t => {
      const jobq = jobqIn(t)
      const [database, other] = [await create(server.url), await create(server.url)]
      t.after(() => Promise.all([database.drop(), other.drop()]))
      for (const {url} of [database, other]) assert.equal((await jobq(['init', '--db', url])).code, 0)
      const {hostname, port, username, password} = new URL(database.url)
      const where = `host=${hostname};port=${port || (driver === 'mysql' ? 3306 : 5432)}`
      const names = [
        database.url,
        Object.assign(new URL(database.url), {hostname: hostname === '127.0.0.1' ? 'localhost' : hostname})
          .href,
        `${database.url}?connect-timeout=9`,
        `dbi:${driver}:dbname=${database.name};${where};user=${username};password=${password}`,
      ]
      const [row] = await database.query(
        driver === 'mysql'
          ? 'SELECT @@socket AS socket'
          : "SELECT split_part(current_setting('unix_socket_directories'), ',', 1) AS socket",
      )
      const key = driver === 'mysql' ? 'socket' : 'host'
      const bySocket = `${database.url}?${key}=${encodeURIComponent(String(row!.socket))}`
      if ((await jobq(['stats', '--db', bySocket])).code === 0) names.push(bySocket)
      else t.diagnostic(`${name}: not by its socket, which is out of reach`)
      await assertOne(jobq, names)
      await database.query(
        'INSERT INTO jobq_context (job_id, context) SELECT id, \'{"user":"ada"}\' FROM job',
      )
      assert.equal((await jobq(['copy', '--db', database.url, '--to', other.url])).stdout, '1\n')
      const [copied] = await other.query('SELECT context FROM jobq_context JOIN job ON job_id = id')
      assert.equal(copied?.context, '{"user":"ada"}')

      const line = (priority: number) => `{"func":"F","priority":${priority},"uniqkey":"${priority}"}\n`
      await jobq(['enqueue', '--batch', '-', '--db', 'from.db'], {stdin: [1, 4e9, 3e9].map(line).join('')})
      const refused = await jobq(['copy', '--db', 'from.db', '--to', other.url])
      if (driver === 'Pg')
        assert.match(
          refused.stderr,
          /^jobq: job 2: priority: expected at most 2147483647 on PostgreSQL, got 4000000000/,
        )
      else {
        assert.equal(refused.stdout, '3\n')
        await other.query("DELETE FROM job WHERE uniqkey <> '3000000000'")
        const twice = await jobq(['copy', '--db', 'from.db', '--to', other.url])
        assert.match(
          twice.stderr,
          /^jobq: job 3: uniqkey: refused: a job of F with uniqkey "3000000000" is already/,
        )
      }
    })
  }

  /** The first of them is copied to each. */
  async function assertOne(jobq: Jobq, names: readonly string[]): Promise<void> {
    const [from = ''] = names
    await jobq(['enqueue', 'A', '--db', from])
    for (const to of names) {
      const {code, stderr} = await jobq(['copy', '--db', from, '--to', to])
      assert.match(stderr, /^jobq: --to: expected another queue, got the same one/, to)
      assert.equal(code, 2)
    }
    assert.match((await jobq(['stats', '--db', from])).stdout, /^total\t1\t/m)
  }
})

test('a source that is not there is told, and not made', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'form.db'), join(jobq.folder, 'to.db')]
  const {code, stdout, stderr} = await jobq(['copy', '--db', from, '--to', to])
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /^jobq: expected a database at .*form\.db, got none \(.*\)\n$/)
  assert.deepEqual([existsSync(from), existsSync(to)], [false, false])
})
