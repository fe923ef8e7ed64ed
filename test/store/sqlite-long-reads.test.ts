/** Reads that may take long, by a thread: the same rows as without it, and the event loop goes on. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {readdirSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {openSqlite, type SqliteOptions, type SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const LIBRARY = new URL('../../src/lib/index.ts', import.meta.url).href
const ALL = {limit: 1_000_000, offset: 0}
const READS = {
  // Less what depends on the very second
  counts: async store => (await store.counts()).map(({oldestReadyAge: _, ...counts}) => counts),
  'counts of a function': async store => (await store.counts('Mail')).map(({ready}) => ready),
  times: async store => (await store.times()).map(({perMinute: _, ...times}) => times),
  attempts: store => store.attempts(),
  'all jobs': store => store.list(ALL),
  'jobs far down': store => store.list({limit: 3, offset: 1500}),
  'each job from far down': store => rowsOf(store.eachJob({limit: 3, offset: 1500})),
  'all exceptions': store => store.exceptions(ALL),
  'exceptions of a key': store => store.exceptions({...ALL, uniqkey: 'k1'}),
  'exceptions not retried': store => store.exceptions({...ALL, unretried: true}),
  'each exception since': store => rowsOf(store.eachException({...ALL, since: {at: 1}})),
  'all statuses': store => store.statuses(ALL),
  'statuses of a function': store => store.statuses({limit: 2, offset: 0, func: 'Mail'}),
  'each status of a key': store => rowsOf(store.eachStatus({...ALL, uniqkey: 'k2'})),
} satisfies Record<string, (store: SqliteStore) => Promise<unknown>>

describe('a long read on SQLite', () => {
  for (const [what, read] of Object.entries(READS))
    test(`${what}: the event loop goes on, and what is found is the same as without a thread`, async t => {
      const path = await largeDatabase(t)
      const [store, brief] = [await open(t, path), await open(t, path, {brief: true})]
      const {found, turns} = await turnsDuring(() => read(store))
      assert.deepEqual(found, await read(brief))
      assert.ok(turns > 20, `turns of the event loop meanwhile: ${turns}`)
    })

  test('what is found by an index is read at once, and so is all of a small database', async t => {
    const large = await open(t, await largeDatabase(t))
    const small = await open(t, join(tempFolder(t), 'small.db'))
    for (const read of [
      () => large.list({limit: 20, offset: 0, func: 'Mail', state: 'ready'}),
      () => large.exceptions({limit: 20, offset: 0}),
      () => large.find(1),
      () => small.counts(),
      () => small.statuses({limit: 20, offset: 0, func: 'Mail'}),
    ]) {
      await read() // loads modules
      const {turns} = await turnsDuring(read)
      assert.ok(turns <= 1, `turns of the event loop meanwhile: ${turns}`)
    }
  })

  test('many at once are one thread, which ends when it is not asked any more', async t => {
    const store = await open(t, await largeDatabase(t))
    await store.list({limit: 1, offset: 0}) // loads modules
    const before = threads()
    const seen = await Promise.all(Array.from({length: 50}, () => store.counts()))
    assert.equal(new Set(seen.map(([first]) => first?.ready)).size, 1)
    assert.ok(threads() - before <= 2, `${before} threads, then ${threads()}`)
    assert.ok(threads() > before)
    await until('it has ended', () => threads() <= before)
    assert.equal((await store.counts())[0]?.ready, seen[0]?.[0]?.ready)
  })

  test('that fails says so as it would without a thread; the next one goes on', async t => {
    const path = await largeDatabase(t)
    const store = await open(t, path)
    const other = new Sqlite(path)
    t.after(() => other.close())
    other.exec('ALTER TABLE func RENAME TO hidden')
    const failure = await failureOf(store.counts())
    assert.deepEqual(failure, await failureOf((await open(t, path, {brief: true, prepare: false})).counts()))
    assert.match(String(failure.message), /no such table: func/)
    other.exec('ALTER TABLE hidden RENAME TO func')
    assert.equal((await store.counts()).length, 2)
  })

  test('is waited for by close(), and not by a process that has nothing else to do', async t => {
    const db = await largeDatabase(t)
    const queue = await JobQueue.open({db})
    const counted = queue.count('Mail')
    await queue.close()
    assert.equal(await counted, 1000)
    const program = `import {readdirSync} from 'node:fs'
      import {JobQueue} from ${JSON.stringify(LIBRARY)}
      const threads = () => readdirSync('/proc/self/task').length
      const queue = await JobQueue.open({db: ${JSON.stringify(db)}})
      await queue.funcs()
      const before = threads()
      console.log(await queue.count('Mail'))
      process.on('exit', () => console.log(threads() > before ? 'the thread is still there' : 'it was waited for'))`
    const {stdout, stderr} = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    })
    assert.deepEqual([stdout, stderr], ['1000\nthe thread is still there\n', ''])
  })
})

/** Jobs in all states, exceptions and statuses; by its ids it may have a million of them. */
async function largeDatabase(t: TestContext): Promise<string> {
  const path = join(tempFolder(t), 'jobs.db')
  const now = Math.floor(Date.now() / 1000)
  await (await openSqlite(path)).close()
  const db = new Sqlite(path)
  db.exec(`INSERT INTO func (id, name) VALUES (1, 'Mail'), (2, 'Other')`)
  db.exec(`WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
    INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    SELECT 1 + n % 2, 'arg ' || n, 'k' || n, ${now}, iif(n % 50 = 0, ${now + 3600}, 0), iif(n % 7 = 0, ${now + 3600}, ${now - 60}),
      n % 3, n % 5 FROM n`)
  db.exec(`INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
    SELECT func_id, ${now - 10}, 'no: ' || id, uniqkey, arg, id % 2 FROM job WHERE id < 50`)
  db.exec(`INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
    SELECT func_id, arg, uniqkey, iif(id % 4 = 0, 'failed', 'completed'), ${now - 5}, ${now} - id % 5 FROM job WHERE id < 50`)
  db.exec('UPDATE job SET id = 1000000 WHERE id = 2000')
  db.close()
  return path
}

async function open(t: TestContext, path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const store = await openSqlite(path, options)
  t.after(() => store.close())
  return store
}

async function rowsOf<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = []
  for await (const row of rows) all.push(row)
  return all
}

async function turnsDuring(read: () => Promise<unknown>): Promise<{found: unknown; turns: number}> {
  let turns = 0
  let isOver = false
  const turn = () => {
    if (isOver) return
    turns++
    setImmediate(turn)
  }
  const reading = read()
  setImmediate(turn)
  const found = await reading
  isOver = true
  return {found, turns}
}

/** Of this process. */
function threads(): number {
  return readdirSync('/proc/self/task').length
}

async function failureOf(read: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await read.then(
    () => assert.fail('expected it to fail'),
    error => error as Record<string, unknown>,
  )
  const {name, code, message, hint} = error
  return {name, code, message, hint}
}
