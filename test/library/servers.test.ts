/** The library on database servers: what differs from SQLite is that a caller's transaction takes its time. */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {DuplicateJobError, JobQueue, type ServerConnection, TransactionError} from '../../src/lib/index.ts'
import {place} from '../support/library.ts'
import {answersPostgres} from '../support/postgres.ts'
import {preparedMysql, preparedPostgres} from '../support/prepared.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'

/** What the two have in common. */
interface Database {
  url: string
  query(sql: string): Promise<Record<string, unknown>[]>
  foreign(): Promise<{
    connection: unknown
    begin(): Promise<unknown>
    commit(): Promise<unknown>
    rollback(): Promise<unknown>
  }>
}

const [mysql, postgres] = [await mysqlServer(), await postgresServer(answersPostgres)]

for (const [name, server, lend] of [
  ['MySQL', mysql, (t: TestContext, url: string): Promise<Database> => preparedMysql(t, url)],
  ['PostgreSQL', postgres, (t: TestContext, url: string): Promise<Database> => preparedPostgres(t, url)],
] as const) {
  if ('missing' in server) {
    test(`the library on ${name}`, {skip: server.missing})
    continue
  }
  after(() => server.stop())

  describe(`the library on ${name}`, () => {
    const setUp = async (t: TestContext, options = {}) => {
      const database = await lend(t, server.url)
      const queue = await JobQueue.open({db: database.url, ...options})
      t.after(() => queue.close())
      const jobs = async () =>
        (await database.query('SELECT uniqkey FROM job ORDER BY id')).map(row => row.uniqkey)
      return {database, queue, jobs}
    }

    test('of many the one that is refused is named by its place', async t => {
      const {queue, jobs} = await setUp(t)
      const {id} = await queue.enqueue('F', {uniqkey: 'waits'})
      const refusal = (...requests: {func: string; uniqkey?: string; priority?: number}[]) =>
        queue.enqueueMany(requests).then(
          count => count,
          error => (error as Error).message,
        )
      const none = {func: 'F'}
      assert.equal(
        await refusal(none, {func: 'F', uniqkey: 'waits'}, none, none),
        `job 2: uniqkey: refused: a job of F with uniqkey "waits" is already waiting (job ${id})`,
      )
      assert.equal(
        await refusal(none, {func: 'G', uniqkey: 'k'}, {func: 'G', uniqkey: 'k'}, none),
        'job 3: uniqkey: refused: a job of G with uniqkey "k" is in an earlier job',
      )
      const many = Array.from({length: 2500}, (_, i) => ({func: 'F', uniqkey: String(i)}))
      assert.match(String(await refusal(...many, many[1]!, none)), /^job 2501: .* is in an earlier job$/)
      if (name === 'PostgreSQL')
        assert.match(
          String(await refusal(none, {func: 'F', priority: 4e9}, none)),
          /^job 2: priority: expected at most/,
        )
      assert.deepEqual(await jobs(), ['waits'])
    })

    test("a job in the caller's transaction, with hooks that take their time, is waited for and worked", async t => {
      const seen: string[] = []
      const hooks = ['preEnqueue', 'serialize', 'postEnqueue'].map(point => ({
        name: point,
        [point]: async () => void seen.push(point),
      }))
      const {database, queue, jobs} = await setUp(t, {hooks})
      const caller = await database.foreign()
      const enqueue = (uniqkey: string) =>
        queue.enqueueIn(caller.connection as ServerConnection, 'F', {
          uniqkey,
          tracked: true,
          context: {a: uniqkey},
        })
      await caller.begin()
      await enqueue('never')
      await caller.rollback()
      await caller.begin()
      const job = await enqueue('k')
      await assert.rejects(enqueue('k'), DuplicateJobError)
      assert.deepEqual(await jobs(), [])
      await caller.commit()
      assert.deepEqual(await jobs(), ['k'])
      assert.deepEqual(seen.slice(0, 3), ['preEnqueue', 'serialize', 'postEnqueue'])
      const contexts: unknown[] = []
      const end = queue.wait(job)
      await queue.work({mode: 'drain', workers: {F: ({context}) => void contexts.push(context)}})
      assert.deepEqual(await end, {id: job.id, outcome: 'completed', message: ''})
      assert.deepEqual(contexts, [{a: 'k'}])
    })

    test('in no transaction, or on another kind of connection, it is refused', async t => {
      const {database, queue, jobs} = await setUp(t)
      const {connection} = await database.foreign()
      await assert.rejects(queue.enqueueIn(connection as ServerConnection, 'F'), TransactionError)
      assert.throws(() => queue.enqueueIn(new Sqlite(':memory:'), 'F'), {
        name: 'TransactionError',
        message: /^expected a connection to .*, got a Database of better-sqlite3$/,
      })
      assert.deepEqual(await jobs(), [])
    })

    test('many from an asynchronous source: all or none', async t => {
      const {queue, jobs} = await setUp(t)
      async function* source(keys: string[]) {
        for (const uniqkey of keys) yield await Promise.resolve({func: 'F', uniqkey})
      }
      await assert.rejects(queue.enqueueMany(source(['a', 'b', 'a'])), DuplicateJobError)
      assert.deepEqual(await jobs(), [])
      assert.equal(await queue.enqueueMany(source(['a', 'b'])), 2)
      assert.deepEqual(await jobs(), ['a', 'b'])
      assert.equal(await queue.count(), 2)
    })

    test('beside a SQLite file, a connection says which of the two it is', async t => {
      const {database, jobs} = await setUp(t)
      const {open, file, rows} = place(t)
      const queue = await open({db: [file, database.url]})
      const caller = await database.foreign()
      await caller.begin()
      const there = await queue.enqueueIn(caller.connection as ServerConnection, 'F', {uniqkey: 'there'})
      await caller.commit()
      const db = new Sqlite(file)
      t.after(() => db.close())
      const here = db.transaction(() => queue.enqueueIn(db, 'F', {uniqkey: 'here'})).immediate()
      assert.deepEqual([there.db, here.db], [2, 1])
      assert.deepEqual([await jobs(), rows('SELECT uniqkey FROM job')], [['there'], [{uniqkey: 'here'}]])
      const ends = Promise.all([queue.wait(there), queue.wait(here)])
      await queue.work({mode: 'drain', workers: {F: () => {}}})
      assert.deepEqual(
        (await ends).map(({db, outcome}) => [db, outcome]),
        [
          [2, 'completed'],
          [1, 'completed'],
        ],
      )
    })
  })
}

if ('url' in mysql && 'url' in postgres)
  test('of a queue on both, a connection says which', async t => {
    const databases: Database[] = [await preparedMysql(t, mysql.url), await preparedPostgres(t, postgres.url)]
    const db = databases.map(({url}) => url)
    const queue = await JobQueue.open({db})
    t.after(() => queue.close())
    for (const [i, database] of databases.entries()) {
      const {connection, begin, commit} = await database.foreign()
      await begin()
      const job = await queue.enqueueIn(connection as ServerConnection, 'F')
      await commit()
      assert.equal(job.db, i + 1)
    }
    const [{url}] = databases as [Database]
    await assert.rejects(
      JobQueue.open({db: [url, url.replace('127.0.0.1', 'localhost')]}),
      /got the same one/,
    )
    await assert.rejects(queue.enqueueIn({query: () => {}}, 'F'), {
      name: 'TransactionError',
      message: "expected a connection to one of the queue's databases, got one to another",
    })
  })
