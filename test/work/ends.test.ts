/** Ends that say too much, and ends that a database does not take: on every kind of database, by a real dispatcher. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {after, describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {answersPostgres} from '../support/postgres.ts'
import {preparedMysql, preparedPostgres} from '../support/prepared.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'
import {tempFolder} from '../support/temp.ts'
import {Workplace} from '../support/workplace.ts'

const MOST = 64 * 1024

interface Place {
  url: string
  /** From now on the database refuses exceptions that contain this word. */
  refuse(word: string): unknown
}

const [mysql, postgres] = [await mysqlServer(), await postgresServer(answersPostgres)]

const KINDS = [
  {
    name: 'SQLite',
    create: async (t: TestContext): Promise<Place> => {
      const url = join(tempFolder(t), 'jobs.db')
      await (await JobQueue.open({db: url})).close()
      const refuse = (word: string) => {
        const db = new Sqlite(url)
        db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON exception_log WHEN instr(NEW.message, '${word}')
          BEGIN SELECT RAISE(ABORT, 'not that'); END`)
        db.close()
      }
      return {url, refuse}
    },
  },
  {
    name: 'MySQL',
    server: mysql,
    create: async (t: TestContext): Promise<Place> => {
      const database = await preparedMysql(t, (mysql as {url: string}).url)
      const refuse = (word: string) =>
        database.query(`CREATE TRIGGER refuse BEFORE INSERT ON exception_log FOR EACH ROW
          IF NEW.message LIKE '%${word}%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not that'; END IF`)
      return {url: database.url, refuse}
    },
  },
  {
    name: 'PostgreSQL',
    server: postgres,
    create: async (t: TestContext): Promise<Place> => {
      const database = await preparedPostgres(t, (postgres as {url: string}).url)
      const refuse = async (word: string) => {
        await database.query(`CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
          BEGIN
            IF position(convert_to('${word}', 'UTF8') IN NEW.message) > 0 THEN RAISE 'not that'; END IF;
            RETURN NEW;
          END $$`)
        await database.query(
          'CREATE TRIGGER refuse BEFORE INSERT ON exception_log FOR EACH ROW EXECUTE FUNCTION refuse()',
        )
      }
      return {url: database.url, refuse}
    },
  },
]

for (const {name, server, create} of KINDS) {
  if (server && 'missing' in server) {
    test(`ends on ${name}`, {skip: server.missing})
    continue
  }
  if (server) after(() => server.stop())

  describe(`ends on ${name}`, () => {
    const setUp = async (t: TestContext) => {
      const place = await create(t)
      const queue = await JobQueue.open({db: place.url})
      t.after(() => queue.close())
      return {queue, refuse: place.refuse}
    }

    test('keep 64 KiB of a message, its beginning and its end', async t => {
      const {queue} = await setUp(t)
      for (const func of ['Throws', 'Aborts', 'Twice']) await queue.enqueue(func)
      const endless = (letter: string) => `begin ${letter.repeat(3_000_000)} end`
      const {failed, aborted} = await queue.work({
        mode: 'drain',
        concurrency: 3,
        workers: {
          Throws: () => {
            throw Object.assign(new Error('long'), {stack: endless('x')})
          },
          Aborts: job => job.abort(endless('한')),
          Twice: () => {
            throw Object.assign(new Error('long'), {stack: endless('😀')})
          },
        },
      })
      assert.deepEqual([failed, aborted], [2, 1])
      const exceptions = await queue.exceptions({limit: 10})
      assert.equal(exceptions.length, 3)
      for (const {message} of exceptions) {
        assert.match(message, /^begin (x+|한+|(😀)+)\n… \d+ bytes are left out here …\n(x+|한+|(😀)+) end$/u)
        const size = Buffer.byteLength(message)
        assert.ok(size <= MOST && size > MOST - 100, `${size} bytes`)
      }
    })

    test('that are refused for what they say have failed, and keep no other from being written', async t => {
      const {queue, refuse} = await setUp(t)
      await refuse('unwritable')
      for (const func of ['Good', 'Bad', 'Fails', 'Retried', 'Good']) await queue.enqueue(func)
      const fails = (message: string) => () => {
        throw Object.assign(new Error(), {stack: message})
      }
      const summary = await queue.work({
        mode: 'drain',
        concurrency: 5,
        workers: {
          Good: () => {},
          Bad: fails('unwritable'),
          Fails: fails('written'),
          Retried: {maxRetries: 1, work: job => fails(job.retryCnt === 0 ? 'unwritable' : 'written')()},
        },
      })
      assert.deepEqual([summary.completed, summary.failed, summary.notDone], [2, 4, 3])
      const messages = (await queue.exceptions({limit: 10})).map(({message}) => message)
      assert.equal(messages.filter(message => message === 'written').length, 2)
      const short = messages.filter(message => message !== 'written')
      assert.equal(short.length, 2)
      for (const message of short)
        assert.match(message, /^its end \(failed\) could not be written: .*not that/)
      assert.equal(await queue.count(), 0)
    })

    test('that are refused whatever they say leave their jobs to be taken again when their leases run out', async t => {
      const {queue, refuse} = await setUp(t)
      await refuse('')
      await queue.enqueue('Good')
      await queue.enqueue('Bad')
      const said: string[] = []
      const summary = await queue.work({
        mode: 'drain',
        concurrency: 2,
        workers: {
          Good: () => {},
          Bad: () => {
            throw new Error('whatever')
          },
        },
        onTrouble: message => said.push(message),
      })
      assert.deepEqual([summary.completed, summary.released, summary.notDone], [1, 1, 1])
      assert.match(
        said.join('\n'),
        /^the end of job \S+ could not be written \(.*not that.*\): it runs again/,
      )
      assert.deepEqual(
        (await queue.list()).map(({func, state}) => [func, state]),
        [['Bad', 'running']],
      )
    })
  })
}

test('a database’s refusal is not for the ends in another one', async t => {
  const [first, second] = [await KINDS[0]!.create(t), await KINDS[0]!.create(t)]
  first.refuse('unwritable')
  for (const {url} of [first, second]) {
    const queue = await JobQueue.open({db: url})
    for (const func of ['Good', 'Bad']) await queue.enqueue(func)
    await queue.close()
  }
  const queue = await JobQueue.open({db: [first.url, second.url]})
  t.after(() => queue.close())
  const all = Promise.withResolvers<void>()
  let started = 0
  const together = () => {
    if (++started === 4) all.resolve()
    return all.promise
  }
  const summary = await queue.work({
    mode: 'drain',
    concurrency: 4,
    workers: {
      Good: together,
      Bad: async () => {
        await together()
        throw new Error('unwritable')
      },
    },
  })
  assert.deepEqual([summary.completed, summary.failed, summary.lost], [2, 2, 0])
  assert.equal(await queue.count(), 0)
})

test('what a pool’s children and executables say is cut as well, in the database and in the log', async t => {
  const site = new Workplace(t, {
    Throws: `export default {work() { throw Object.assign(new Error('long'), {stack: 'begin ' + 'x'.repeat(9_000_000) + ' end'}) }}`,
    Prints: `#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2; exit 1\n`,
  })
  await site.enqueue(['Throws'], ['Prints'])
  const {code, stdout} = await site.drain('--json')
  assert.equal(code, 5)
  for (const message of site.messages()) assert.ok(Buffer.byteLength(message) <= MOST)
  assert.match(
    site.messages().find(message => message.startsWith('begin'))!,
    /^begin x+\n… \d+ bytes .* end$/s,
  )
  assert.ok(stdout.length < 200_000 + 300_000, 'one message, and what was printed')
})
