/** The store on SQLite: the suite, and what only a file can do. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  watch as watchFolder,
  writeFileSync,
} from 'node:fs'
import {dirname, join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Sqlite, {type Database} from 'better-sqlite3'
import {AlreadyRetriedError, DuplicateJobError, StoreError} from '../../src/lib/jobs/errors.ts'
import {MAX_UINT32, type NewJob, type Outcome, type Settlement} from '../../src/lib/jobs/job.ts'
import {connect} from '../../src/lib/store/sqlite/connection.ts'
import {openSqlite, type SqliteOptions, SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {isStoreError, newJob, startProcess, tell} from '../support/store.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'
import type {Order} from './process.ts'
import {storeSuite, type TestDatabase} from './suite.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/qudo-0.0214-written.sqlite', import.meta.url))
/** When Perl wrote the fixture, and a while after, when all but one of its jobs are due. */
const WRITTEN = 1_795_434_634
const LATER = WRITTEN + 1000
const HALF_A_CENTURY_LATER = 3_372_234_634

storeSuite('SQLite', async (t): Promise<TestDatabase> => {
  const path = join(tempFolder(t), 'jobs.db')
  let perl: Database | undefined
  const foreign: Database[] = []
  t.after(() => {
    for (const connection of foreign) connection.close()
    perl?.close()
  })
  const sql = (text: string) => {
    perl ??= new Sqlite(path)
    return perl.prepare<unknown[], Record<string, unknown>>(text)
  }
  return {
    connect: () => openSqlite(path, {prepare: false, durable: false}),
    query: async (text, ...values) => sql(text).all(...values),
    run: async (text, ...values) => sql(text).run(...values).changes,
    now: async () => Math.floor(Date.now() / 1000),
    perlBytes: 'CAST(? AS TEXT)', // whatever the bytes are: Perl's driver binds them as text
    maxNumber: MAX_UINT32,
    isSigned: true,
    foreign: async () => {
      const connection = new Sqlite(path)
      foreign.push(connection)
      return {
        connection,
        begin: async () => void connection.exec('BEGIN IMMEDIATE'),
        commit: async () => void connection.exec('COMMIT'),
        rollback: async () => void connection.exec('ROLLBACK'),
        run: async (text, ...values) => void connection.prepare(text).run(...values),
        close: async () => void connection.close(),
      }
    },
  }
})

describe('a database that Perl wrote', () => {
  test('every job, exception and status is listed, byte for byte', async t => {
    const path = copyOfFixture(t)
    const perl = readAll(path)
    const store = await openAt(t, path, LATER)
    const page = {limit: 100, offset: 0}
    const [jobs, exceptions, statuses] = [
      await store.list(page),
      await store.exceptions(page),
      await store.statuses(page),
    ]
    assert.deepEqual(
      jobs.sort(byId).map(({state, tags: _tags, expiresAt: _expiresAt, ...job}) => job),
      perl.jobs,
    )
    assert.deepEqual(
      exceptions.sort(byId).map(({message, retried, jobId: _job, state: _state, tags: _tags, ...row}) => ({
        ...row,
        message: Buffer.from(message),
        retried: Number(retried),
      })),
      perl.exceptions,
    )
    assert.deepEqual(
      statuses.sort(byId).map(({jobId: _job, tags: _tags, ...row}) => row),
      perl.statuses,
    )
    assert.ok([...exceptions, ...statuses].every(({jobId}) => jobId === null))
    assert.deepEqual([jobs.length, exceptions.length, statuses.length], [9, 4, 4])
  })

  test('what is ready is worked in the right order, what is delayed is not', async t => {
    const store = await openAt(t, copyOfFixture(t), LATER)
    const funcs = await store.funcs()
    const {jobs, nextDueIn} = await store.turn([], {funcs, limit: 100, lease: 60})
    assert.deepEqual(
      jobs.map(({id}) => id),
      [6, 9, 5, 7, 10, 11, 12, 13],
    )
    assert.equal(nextDueIn, 60) // the leases that were just given
    const settlements = jobs.map(({id, grabbedUntil}) => ({
      lease: {id, grabbedUntil},
      outcome: {kind: 'completed'} as const,
    }))
    const turn = await store.turn(settlements, {funcs, limit: 1, lease: 60})
    assert.deepEqual([turn.jobs, turn.nextDueIn], [[], HALF_A_CENTURY_LATER - LATER])
    const left = await store.list({limit: 100, offset: 0})
    assert.deepEqual(
      left.map(({id, state}) => [id, state]),
      [[8, 'delayed']],
    )
  })

  test('its exceptions are retried, those already retried are not', async t => {
    const store = await openAt(t, copyOfFixture(t), LATER)
    const {func, id} = await store.retry(4, {priority: 0, due: {in: 0}})
    assert.deepEqual([func, id], ['Worker::Silent', 14])
    await assert.rejects(store.retry(3, {priority: 0, due: {in: 0}}), AlreadyRetriedError)
    await store.retry(1, {priority: 0, due: {in: 0}})
    await assert.rejects(store.retry(2, {priority: 0, due: {in: 0}}), DuplicateJobError) // the same order:17
  })

  test('an argument keeps its storage class and bytes through failure, retry and status', async t => {
    const path = copyOfFixture(t)
    const {jobs} = readAll(path)
    const store = await openAt(t, path, LATER)
    for (const {id, func, arg} of jobs.filter(({runAfter}) => runAfter <= LATER)) {
      await endOne(store, func, {kind: 'failed', message: 'x', retryIn: null})
      const [exception] = await store.exceptions({func, limit: 1, offset: 0})
      await store.retry(exception!.id, {priority: 99, due: {in: 0}}) // next to be taken
      const db = new Sqlite(path, {readonly: true})
      const stored = db
        .prepare<unknown[], {class: string; hex: string}>(
          `SELECT typeof(arg) AS class, hex(CAST(arg AS BLOB)) AS hex FROM exception_log WHERE id = ?
           UNION ALL SELECT typeof(arg), hex(CAST(arg AS BLOB)) FROM job WHERE id = (SELECT max(id) FROM job)`,
        )
        .all(exception!.id)
      db.close()
      const wanted = {class: arg === null ? 'null' : 'text', hex: arg?.toString('hex').toUpperCase() ?? ''}
      assert.deepEqual(stored, [wanted, wanted], `job ${id}`)
      await endOne(store, func, {kind: 'completed'})
    }
  })

  test("Qudo's tables, indexes and rows are untouched by what jobq adds", async t => {
    const path = copyOfFixture(t)
    const [schema, rows] = [qudoSchema(path), readAll(path)]
    const store = await openAt(t, path, LATER)
    assert.deepEqual(qudoSchema(path), schema)
    assert.deepEqual(readAll(path), rows)
    await store.turn([], {funcs: await store.funcs(), limit: 3, lease: 60})
    assert.deepEqual(qudoSchema(path), schema)
  })

  test('several processes may adopt it at once', async t => {
    const path = copyOfFixture(t)
    const rows = readAll(path)
    const children = await Promise.all(Array.from({length: 4}, () => startProcess(t, path)))
    await Promise.all(children.map(child => tell(child, {do: 'open'})))
    assert.deepEqual(readAll(path), rows)
  })
})

describe('a new file', () => {
  test("has Qudo's four tables to the letter, and besides only jobq's own", async t => {
    const path = join(tempFolder(t), 'new.db')
    await open(t, path)
    const db = reader(t, path)
    assert.deepEqual(qudoSchema(path), qudoSchema(FIXTURE))
    const columns = (table: string) =>
      db
        .prepare<unknown[], {name: string; type: string; notnull: number; dflt_value: string; pk: number}>(
          'SELECT * FROM pragma_table_info(?)',
        )
        .all(table)
        .map(({name, type, notnull, dflt_value, pk}) =>
          [name, type, pk ? 'PK' : '', notnull ? 'NOT NULL' : '', dflt_value ?? ''].join(' ').trimEnd(),
        )
    assert.deepEqual(columns('func'), ['id INTEGER PK', 'name VARCHAR(255)  NOT NULL'])
    assert.deepEqual(columns('job'), [
      'id INTEGER PK',
      'func_id INTEGER UNSIGNED  NOT NULL',
      'arg MEDIUMBLOB',
      'uniqkey VARCHAR(255)',
      'enqueue_time INTEGER UNSIGNED',
      'grabbed_until INTEGER UNSIGNED  NOT NULL',
      'run_after INTEGER UNSIGNED  NOT NULL 0',
      'retry_cnt INTEGER UNSIGNED  NOT NULL 0',
      'priority INTEGER UNSIGNED  NOT NULL 0',
    ])
    assert.deepEqual(columns('exception_log'), [
      'id INTEGER PK',
      'func_id INTEGER UNSIGNED  NOT NULL 0',
      'exception_time INTEGER UNSIGNED  NOT NULL',
      'message MEDIUMBLOB  NOT NULL',
      'uniqkey VARCHAR(255)',
      'arg MEDIUMBLOB',
      'retried TINYINT(1)  NOT NULL 0',
    ])
    assert.deepEqual(columns('job_status'), [
      'id INTEGER PK',
      'func_id INTEGER UNSIGNED  NOT NULL 0',
      'arg MEDIUMBLOB',
      'uniqkey VARCHAR(255)',
      'status VARCHAR(10)',
      'job_start_time INTEGER UNSIGNED  NOT NULL',
      'job_end_time INTEGER UNSIGNED  NOT NULL',
    ])
    const names = db.prepare<unknown[], string>('SELECT name FROM sqlite_master').pluck().all() as string[]
    const others = names.filter(name => !/^(func|job|exception_log|job_status|sqlite_.*)$/.test(name))
    assert.ok(others.length > 0 && others.every(name => name.startsWith('jobq_')), others.join())
  })

  test('text is stored as TEXT, bytes as a BLOB, nothing as NULL', async t => {
    const path = join(tempFolder(t), 'new.db')
    const store = await open(t, path)
    for (const arg of ['{"a":1}', '', new Uint8Array([0, 255]), null])
      await store.enqueue(newJob('Work', {arg}))
    const classes = reader(t, path).prepare('SELECT typeof(arg) FROM job ORDER BY id').pluck().all()
    assert.deepEqual(classes, ['text', 'text', 'blob', 'null'])
  })

  test('is in WAL mode, as an adopted one is', async t => {
    for (const path of [join(tempFolder(t), 'new.db'), copyOfFixture(t)]) {
      await open(t, path)
      assert.equal(reader(t, path).pragma('journal_mode', {simple: true}), 'wal')
    }
  })

  test('can be read and written by its owner only, as can the folder that is made for it', async t => {
    const folder = join(tempFolder(t), 'a', 'b')
    const umask = process.umask(0)
    t.after(() => process.umask(umask))
    const store = await open(t, join(folder, 'jobs.db'), {makeFolder: true})
    await store.enqueue(newJob())
    for (const each of [folder, join(folder, '..')]) assert.equal(modeOf(each), 0o700, each)
    const files = readdirSync(folder)
    assert.deepEqual(files.sort(), ['jobs.db', 'jobs.db-shm', 'jobs.db-wal'])
    for (const file of files) assert.equal(modeOf(join(folder, file)), 0o600, file)
  })

  test('an empty file is made a store', async t => {
    const path = join(tempFolder(t), 'empty.db')
    writeFileSync(path, '')
    const store = await open(t, path)
    await store.enqueue(newJob())
  })

  test('plan() tells the SQL that prepare() runs, and changes nothing', async t => {
    const path = join(tempFolder(t), 'new.db')
    const store = await open(t, path, {prepare: false})
    const plan = await store.plan()
    assert.equal(statSync(path).size, 0)
    const byHand = join(tempFolder(t), 'by-hand.db')
    const db = new Sqlite(byHand)
    for (const {sql} of plan) db.exec(sql)
    db.close()
    assert.deepEqual(await store.prepare(), plan)
    assert.deepEqual(schema(byHand), schema(path))
    assert.deepEqual(await store.plan(), [])
    assert.deepEqual(await (await open(t, byHand)).plan(), [])
  })

  test('prepare() brings back an index that someone dropped', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    const whole = schema(path)
    const db = new Sqlite(path)
    db.exec('DROP INDEX jobq_lane')
    db.close()
    assert.deepEqual(
      (await store.prepare()).map(({makes}) => makes),
      ['index jobq_lane'],
    )
    assert.deepEqual(schema(path), whole)
  })

  test(':memory: is a store of its own', async t => {
    const store = await open(t, ':memory:')
    let rung = 0
    store.watch(() => rung++)
    await store.enqueue(newJob())
    assert.deepEqual(await store.funcs(), ['Work'])
    assert.equal(rung, 1)
  })
})

describe('several processes', () => {
  test('make one new file at once, and enqueue into it', async t => {
    const path = join(tempFolder(t), 'new.db')
    const children = await Promise.all(Array.from({length: 8}, () => startProcess(t, path)))
    assert.equal(existsSync(path), false)
    const ids = await Promise.all(
      children.map(async child => {
        await tell(child, {do: 'open'})
        return tell(child, {do: 'enqueue', func: 'Work', count: 25})
      }),
    )
    assert.equal(new Set(ids.flat()).size, 200)
    const store = await open(t, path)
    assert.equal((await store.counts('Work'))[0]?.ready, 200)
    assert.deepEqual(await store.funcs(), ['Work'])
    assert.equal(modeOf(path), 0o600)
  })

  test('work one store, each job once', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    await store.enqueueMany(Array.from({length: 600}, (_, i) => newJob('Work', {priority: i % 3})))
    const children = await Promise.all(Array.from({length: 4}, () => startProcess(t, path)))
    await Promise.all(children.map(child => tell(child, {do: 'open'})))
    const taken = (await Promise.all(children.map(child => tell(child, {do: 'work', func: 'Work'})))).flat()
    assert.equal(taken.length, 600)
    assert.equal(new Set(taken).size, 600)
    assert.deepEqual(await store.list({limit: 1, offset: 0}), [])
  })

  test("one's durable commit rings the other's watch, each time", async t => {
    // The last write to the files comes before the wait for the disk, and the commit shows only after that.
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    const child = await startProcess(t, path)
    await tell(child, {do: 'open', durable: true})
    for (let round = 0; round < 20; round++) {
      let rung = 0
      const watch = store.watch(() => rung++)
      const told = tell(child, {do: 'enqueue', func: 'Work', count: 1})
      await until(`the watch rings in round ${round}`, () => rung > 0)
      await told
      watch.close()
    }
  })

  test('one that is killed in a bulk enqueue leaves nothing behind, and no lock', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    const child = await startProcess(t, path)
    await tell(child, {do: 'open'})
    const exited = once(child, 'exit')
    child.send({do: 'die enqueueing', func: 'Work'} satisfies Order)
    assert.deepEqual(await exited, [null, 'SIGKILL'])
    assert.deepEqual(await store.counts(), [])
    await store.enqueue(newJob())
  })
})

describe('what a store remembers', () => {
  test('passes with the time: a delayed job goes first once it is due', async t => {
    let now = WRITTEN
    const store = await open(t, join(tempFolder(t), 'jobs.db'), {clock: () => now * 1000})
    await store.enqueueMany([newJob(), newJob(), newJob('Work', {priority: 9, due: {in: 10}}), newJob()])
    const priorities = []
    for (now of [WRITTEN, WRITTEN + 9, WRITTEN + 10, WRITTEN + 11]) {
      const {jobs} = await store.turn([], {funcs: ['Work'], limit: 1, lease: 60})
      priorities.push(...jobs.map(({priority}) => priority))
    }
    assert.deepEqual(priorities, [0, 0, 9, 0])
  })

  test('passes with a lease that ends', async t => {
    let now = WRITTEN
    const store = await open(t, join(tempFolder(t), 'jobs.db'), {clock: () => now * 1000})
    await store.enqueueMany([newJob('Work', {priority: 9}), newJob('Work', {priority: 8, due: {in: 3600}})])
    await store.enqueueMany(many(3, newJob()))
    const priorities = []
    for (now of [WRITTEN, WRITTEN + 59, WRITTEN + 60, WRITTEN + 61]) {
      const {jobs} = await store.turn([], {funcs: ['Work'], limit: 1, lease: 60})
      priorities.push(...jobs.map(({priority}) => priority))
    }
    assert.deepEqual(priorities, [9, 0, 9, 0])
  })

  test('is dropped with a transaction that failed', async t => {
    const {store, reader} = await rollbackMode(t)
    await store.enqueueMany([newJob('Work', {priority: 9}), newJob('Work', {priority: 9, due: {in: 3600}})])
    await store.enqueueMany(many(3, newJob()))
    reader.exec('BEGIN; SELECT * FROM job')
    setTimeout(() => reader.exec('COMMIT')) // after the first attempt, which blocks the event loop
    const ended = {lease: {id: 0, grabbedUntil: 1}, outcome: {kind: 'completed'}} as const
    const {jobs} = await store.turn([ended], {funcs: ['Work'], limit: 2, lease: 60})
    assert.deepEqual(
      jobs.map(({priority}) => priority),
      [9, 0],
    )
  })

  test('of ends that nobody asks for goes after a day', async t => {
    let now = WRITTEN
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {clock: () => now * 1000})
    const ended = () =>
      reader(t, path).prepare('SELECT count(*) FROM jobq_wait WHERE outcome IS NOT NULL').pluck()
    for (let i = 0; i < 120; i++) {
      await store.enqueue(newJob('Work', {tracked: true}))
      await endOne(store, 'Work', {kind: 'completed'})
    }
    now += 86_399
    await store.enqueueMany(many(250, newJob('Other', {tracked: true})))
    assert.equal(ended().get(), 120)
    now += 2
    await store.enqueueMany(many(250, newJob('Other', {tracked: true})))
    assert.equal(ended().get(), 0)
    assert.equal((await store.ends([{id: 1}]))[0]?.outcome, 'gone')
  })

  test('of deaths goes with the next one, once their jobs are gone', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    const deaths = () => reader(t, path).prepare('SELECT count(*) FROM jobq_death').pluck().get()
    for (let i = 0; i < 5; i++) {
      await store.enqueue(newJob())
      await endOne(store, 'Work', {kind: 'died', how: 'x'})
      assert.equal(deaths(), 1)
      await endOne(store, 'Work', {kind: 'completed'})
    }
  })
})

describe('a watch', () => {
  test('follows a symbolic link to where the database is', async t => {
    const folder = tempFolder(t)
    const [real, link] = [join(folder, 'real'), join(folder, 'link')]
    for (const each of [real, link]) mkdirSync(each)
    const writer = await open(t, join(real, 'jobs.db'))
    symlinkSync(join(real, 'jobs.db'), join(link, 'linked.db'))
    const store = await open(t, join(link, 'linked.db'))
    let rung = 0
    store.watch(() => rung++)
    await writer.enqueue(newJob())
    await until('the watch rings', () => rung > 0)
  })

  test('tells of a storm of commits, and of its end', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const [writer, store] = [await open(t, path, {durable: false}), await open(t, path)]
    let seen = 0
    let rung = 0
    const watch = store.watch(async () => {
      rung++
      seen = (await store.counts('Work'))[0]?.ready ?? 0
    })
    for (let i = 0; i < 300; i++) {
      await writer.enqueue(newJob())
      if (i % 10 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await until('the last commit is seen', () => seen === 300)
    watch.close()
    assert.ok(rung < 300, `rang ${rung} times for 300 commits`)
  })

  test('is touched once more behind a durable commit, when there is something to see', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {durable: false})
    const child = await startProcess(t, path)
    await tell(child, {do: 'open', durable: true})
    const reader = new Sqlite(path)
    t.after(() => reader.close())
    const count = reader.prepare<[], number>('SELECT count(*) FROM job').pluck()
    let atLastEvent = 0
    const watcher = watchFolder(dirname(path), () => {
      atLastEvent = count.get() ?? 0
    })
    t.after(() => watcher.close())
    for (let jobs = 1; jobs <= 20; jobs++) {
      await tell(child, {do: 'enqueue', func: 'Work', count: 1})
      await until(`the event behind commit ${jobs}`, () => atLastEvent === jobs)
    }
    assert.equal((await store.counts('Work'))[0]?.ready, 20)
  })

  test('polls where the folder can not be watched', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const writer = await open(t, path)
    const store = new SqliteStore(new Sqlite(path), join(path, 'not', 'there'))
    t.after(() => store.close())
    let rung = 0
    store.watch(() => rung++)
    await writer.enqueue(newJob())
    await until('the watch rings', () => rung > 0)
  })
})

describe('what is no job store', () => {
  const foreign =
    (sql: string, journal = 'delete') =>
    (path: string) => {
      const db = new Sqlite(path)
      db.pragma(`journal_mode = ${journal}`)
      db.exec(sql)
      db.close()
    }
  const cut = (size: number) => (path: string) => {
    copyFileSync(FIXTURE, path)
    truncateSync(path, size)
  }
  const cases: Record<string, [code: StoreError['code'], message: RegExp, make: (path: string) => void]> = {
    'a folder': ['UNREACHABLE', /expected a SQLite file, got a folder/, path => mkdirSync(path)],
    'a text file': [
      'DAMAGED',
      /expected a SQLite database/,
      path => writeFileSync(path, 'Dear Sir,\n'.repeat(999)),
    ],
    'a short text file': ['DAMAGED', /expected a SQLite database/, path => writeFileSync(path, 'hi')],
    'a zeroed file': [
      'DAMAGED',
      /expected a SQLite database/,
      path => writeFileSync(path, Buffer.alloc(8192)),
    ],
    'a database cut in the middle': ['DAMAGED', /is damaged/, cut(16384)],
    'a database cut within a page': ['DAMAGED', /is damaged/, cut(5000)],
    'a database cut within its header': ['DAMAGED', /is damaged/, cut(90)],
    "another program's database": [
      'FOREIGN',
      /something else: expected Qudo's tables, got users/,
      foreign('CREATE TABLE users (id, name); INSERT INTO users VALUES (1, 2)'),
    ],
    "another program's database in WAL mode": [
      'FOREIGN',
      /got users/,
      foreign('CREATE TABLE users (id)', 'wal'),
    ],
    'a database whose job table is another': [
      'FOREIGN',
      /its table job has no column func_id/,
      foreign('CREATE TABLE job (id INTEGER PRIMARY KEY, title TEXT)'),
    ],
    'a database whose func is a view': [
      'FOREIGN',
      /its table func has no column name/,
      foreign('CREATE VIEW func AS SELECT 1 AS id'),
    ],
    'a store of a newer jobq': [
      'FOREIGN',
      /made by a newer jobq/,
      foreign('CREATE TABLE jobq_schema (version); INSERT INTO jobq_schema VALUES (99)'),
    ],
  }
  for (const [what, [code, message, make]] of Object.entries(cases))
    test(`${what} is refused as ${code} and stays as it is`, async t => {
      const folder = tempFolder(t)
      const path = join(folder, 'jobs.db')
      make(path)
      const before = statSync(path).isFile() ? readFileSync(path) : null
      await assert.rejects(openSqlite(path), error => {
        assert.ok(error instanceof StoreError, String(error))
        assert.equal(error.code, code)
        assert.match(error.message, message)
        assert.ok(error.message.includes(path), error.message)
        assert.notEqual(error.hint, '')
        return true
      })
      if (before) assert.ok(readFileSync(path).equals(before))
      assert.deepEqual(readdirSync(folder), ['jobs.db'])
    })

  test('a folder that is missing is not made', async t => {
    const folder = tempFolder(t)
    for (const path of [join(folder, 'no', 'such', 'jobs.db'), join(folder, 'file', 'jobs.db')]) {
      writeFileSync(join(folder, 'file'), '')
      await assert.rejects(openSqlite(path), error => {
        assert.ok(error instanceof StoreError, String(error))
        assert.equal(error.code, 'UNREACHABLE')
        return true
      })
    }
    assert.deepEqual(readdirSync(folder), ['file'])
  })

  test("another program's database is adopted if that is wanted, and its own table left alone", async t => {
    const path = join(tempFolder(t), 'jobs.db')
    foreign('CREATE TABLE users (id, name); INSERT INTO users VALUES (1, 2)')(path)
    const store = await open(t, path, {adopt: true})
    await store.enqueue(newJob())
    assert.deepEqual(reader(t, path).prepare('SELECT * FROM users').all(), [{id: 1, name: 2}])
  })

  test('a store that may only be read is listed, and says so when it is written', async t => {
    const path = copyOfFixture(t)
    const db = new Sqlite(path, {readonly: true})
    const store = new SqliteStore(db, path, {clock: () => LATER * 1000})
    t.after(() => store.close())
    await store.init()
    assert.equal((await store.list({limit: 100, offset: 0})).length, 9)
    assert.equal((await store.counts('MyApp::Worker::Raw'))[0]?.ready, 3)
    await assert.rejects(store.enqueue(newJob()), isStoreError('READ_ONLY'))
  })

  test('a store without room says so, and keeps what it has', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    await (await open(t, path)).enqueue(newJob())
    const db = new Sqlite(path)
    const store = new SqliteStore(db, path)
    t.after(() => store.close())
    db.pragma(`max_page_count = ${db.pragma('page_count', {simple: true})}`)
    const big = newJob('Work', {arg: new Uint8Array(1 << 20)})
    await assert.rejects(store.enqueue(big), isStoreError('FULL'))
    await assert.rejects(store.enqueueMany([newJob(), big]), isStoreError('FULL'))
    assert.equal((await store.counts('Work'))[0]?.ready, 1)
  })
})

describe('a lock', () => {
  test('is never waited for within SQLite, which would block the process', async t => {
    const db = connect(join(tempFolder(t), 'jobs.db'))
    t.after(() => db.close())
    assert.equal(db.pragma('busy_timeout', {simple: true}), 0)
  })

  test('lets everyone in beside those who take it again and again', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    await store.enqueueMany(many(4000, newJob()))
    const children = await Promise.all(Array.from({length: 3}, () => startProcess(t, path)))
    await Promise.all(children.map(child => tell(child, {do: 'open'})))
    const working = Promise.all(children.map(child => tell(child, {do: 'work', func: 'Work'})))
    let isWorking = true
    void working.finally(() => {
      isWorking = false
    })
    let enqueued = 0
    do {
      await store.enqueue(newJob('Other'))
      enqueued++
    } while (isWorking)
    assert.equal((await working).flat().length, 4000)
    assert.equal((await store.counts('Other'))[0]?.ready, enqueued)
  })

  test('that passes is waited for, by whatever writes', async t => {
    const {path, store, lock} = await lockable(t)
    await store.enqueueMany([newJob(), newJob(), newJob()])
    const {jobs} = await store.turn([], {funcs: ['Work'], limit: 2, lease: 60})
    const leases = jobs.map(({id, grabbedUntil}) => ({id, grabbedUntil}))
    const ended: Settlement = {lease: leases[0]!, outcome: {kind: 'completed'}}
    let read = 0
    const source = function* () {
      for (let i = 0; i < 10; i++, read++) yield newJob('Bulk')
    }
    const writes: Record<string, () => Promise<unknown>> = {
      enqueue: () => store.enqueue(newJob()),
      enqueueMany: () => store.enqueueMany(source()),
      turn: () => store.turn([ended], {funcs: ['Work'], limit: 1, lease: 60}),
      renew: () => store.renew([leases[1]!], 120),
      open: async () => (await openSqlite(path)).enqueue(newJob()),
    }
    for (const [what, write] of Object.entries(writes)) {
      const unlock = lock()
      let isLocked = true
      setTimeout(() => {
        isLocked = false
        unlock()
      }, 300)
      await write()
      assert.equal(isLocked, false, `${what} did not wait`)
    }
    assert.equal(read, 10)
    const counts = Object.fromEntries((await store.counts()).map(each => [each.func, each]))
    assert.deepEqual([counts.Bulk?.ready, counts.Work?.ready, counts.Work?.running], [10, 2, 2])
  })

  test('that passes is waited for when the file is opened, whoever wrote it', async t => {
    const path = copyOfFixture(t) // no WAL: while it is written nobody can read it
    const db = new Sqlite(path)
    t.after(() => db.close())
    db.exec('BEGIN EXCLUSIVE')
    let isLocked = true
    setTimeout(() => {
      isLocked = false
      db.exec('COMMIT')
    }, 300)
    const store = await openAt(t, path, LATER)
    assert.equal(isLocked, false)
    assert.equal((await store.list({limit: 100, offset: 0})).length, 9)
  })

  test('that stays is LOCKED, and nothing is written', async t => {
    const {store, lock} = await lockable(t, {patience: 150})
    await store.enqueue(newJob())
    const unlock = lock()
    const writes = [
      () => store.enqueue(newJob()),
      () => store.enqueueMany([newJob()]),
      () => store.turn([], {funcs: ['Work'], limit: 1, lease: 60}),
    ]
    for (const write of writes) await assert.rejects(write(), isStoreError('LOCKED'))
    assert.equal((await store.list({limit: 9, offset: 0})).length, 1) // readers don't mind
    unlock()
    await store.enqueue(newJob())
    assert.equal((await store.counts('Work'))[0]?.ready, 2)
  })

  test('met only at the commit is waited for by a bulk, which reads its source once', async t => {
    for (const count of [10, 3000]) {
      const {store, reader} = await rollbackMode(t)
      reader.exec('BEGIN; SELECT * FROM job')
      let read = 0
      const source = function* () {
        for (let i = 0; i < count; i++, read++) yield newJob()
      }
      let isLocked = true
      const stored = store.enqueueMany(source()).then(stored => {
        assert.equal(isLocked, false, 'it did not wait')
        return stored
      })
      await until('the source is read', () => read === count)
      setTimeout(() => {
        isLocked = false
        reader.exec('COMMIT')
      }, 150)
      assert.equal(await stored, count)
      assert.equal(read, count)
      assert.equal((await store.counts('Work'))[0]?.ready, count)
    }
  })

  test('met only at the commit that stays is LOCKED for a bulk, and nothing is written', async t => {
    for (const count of [10, 3000]) {
      const {store, reader} = await rollbackMode(t, {patience: 150})
      reader.exec('BEGIN; SELECT * FROM job')
      await assert.rejects(store.enqueueMany(many(count, newJob())), isStoreError('LOCKED'))
      reader.exec('COMMIT')
      assert.deepEqual(await store.counts(), [])
      assert.equal(await store.enqueueMany(many(count, newJob())), count)
    }
  })

  test('does not keep an idle dispatcher from looking', async t => {
    const {store, lock} = await lockable(t, {patience: 150})
    await store.enqueue(newJob('Work', {due: {in: 3600}}))
    const unlock = lock()
    const {jobs, nextDueIn} = await store.turn([], {funcs: ['Work'], limit: 1, lease: 60})
    assert.deepEqual(jobs, [])
    assert.ok(nextDueIn !== null && nextDueIn > 0)
    unlock()
  })
})

describe('columns that hold what they should not', () => {
  const ROW = {func: 1, arg: 'null' as unknown, key: null as unknown, at: 1 as unknown, grabbed: 0 as unknown}
  const DUE = {after: 1 as unknown, tries: 0 as unknown, priority: 0 as unknown}
  const ODD: Record<string, Partial<typeof ROW & typeof DUE>> = {
    'a priority that is text': {priority: 'high'},
    'a fraction as priority': {priority: 1.5},
    'a priority that no number holds': {priority: 10n ** 18n},
    'one far below 0': {priority: -(10n ** 18n)},
    'a grabbed_until that is text': {grabbed: 'soon'},
    'one below 0': {grabbed: -7},
    'one between 0 and 1': {grabbed: 0.5},
    'a run_after that is text': {after: 'later'},
    'a fraction as run_after': {after: 2.5},
    'a run_after below 0': {after: -3},
    'a run_after that no number holds': {after: 10n ** 18n + 1n},
    'an argument that is a number': {arg: 42n},
    'a uniqkey that is a BLOB': {key: Buffer.from('key')},
    'a retry_cnt that is text': {tries: 'x'},
    'no enqueue_time': {at: null},
  }
  /** By the row's name in ODD: never due, or held for ever, for Qudo as well. */
  const NEVER = [
    'a grabbed_until that is text',
    'a run_after that is text',
    'a run_after that no number holds',
  ]

  async function filled(t: TestContext): Promise<{path: string; store: SqliteStore}> {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path)
    const db = new Sqlite(path)
    t.after(() => db.close())
    db.exec(`INSERT INTO func (id, name) VALUES (1, 'Work'), (2, CAST('Bytes' AS BLOB))`)
    const insert = db.prepare(`INSERT INTO job
      (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    const add = (odd: Partial<typeof ROW & typeof DUE>) => {
      const {func, arg, key, at, grabbed, after, tries, priority} = {...ROW, ...DUE, ...odd}
      insert.run(func, arg, key, at, grabbed, after, tries, priority)
    }
    for (const odd of Object.values(ODD)) add(odd)
    add({func: 2})
    const log = db.prepare(
      `INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried) VALUES (?, ?, ?, ?, ?, ?)`,
    )
    log.run(2, 1, 'no', null, null, 0)
    log.run(1, 'then', 7n, Buffer.from('k'), 5n, 0)
    db.exec(
      `INSERT INTO job_status (func_id, status, job_start_time, job_end_time) VALUES (1, NULL, 'a', 'b'), (2, 'failed', 1, 2)`,
    )
    return {path, store}
  }

  test('each row is listed once, and counted', async t => {
    const {store} = await filled(t)
    const jobs = await store.list({limit: 100, offset: 0})
    const all = Object.keys(ODD).length + 1
    assert.equal(new Set(jobs.map(({id}) => id)).size, all)
    assert.equal(jobs.length, all)
    for (const [i, [name, {priority, after}]] of Object.entries(ODD).entries()) {
      const job = jobs.find(({id}) => id === i + 1)!
      if (typeof priority === 'number') assert.equal(job.priority, priority, name)
      if (typeof after === 'number') assert.equal(job.runAfter, after, name)
      if (typeof priority === 'string') assert.ok(Number.isNaN(job.priority), name)
      if (typeof after === 'string') assert.ok(Number.isNaN(job.runAfter), name)
    }
    assert.deepEqual(jobs.map(({uniqkey}) => uniqkey).filter(Boolean), ['key'])
    assert.deepEqual(await store.funcs(), ['Work', 'Bytes'])
    const counts = await store.counts()
    const total = counts.reduce((sum, {ready, delayed, running}) => sum + ready + delayed + running, 0)
    assert.equal(total, all)
    const [exception] = await store.exceptions({limit: 9, offset: 0})
    assert.deepEqual([exception!.message, exception!.uniqkey], ['7', 'k'])
    assert.equal((await store.statuses({limit: 9, offset: 0})).length, 2)
    const ofBytes = {func: 'Bytes', limit: 9, offset: 0}
    for (const rows of [store.list(ofBytes), store.exceptions(ofBytes), store.statuses(ofBytes)])
      assert.deepEqual(
        (await rows).map(({func}) => func),
        ['Bytes'],
      )
  })

  test('and worked, if it is ever due', async t => {
    const {store} = await filled(t)
    const taken: number[] = []
    for (;;) {
      const turn = await store.turn([], {funcs: ['Work', 'Bytes'], limit: 2, lease: 60})
      for (const {id} of turn.jobs) taken.push(id)
      if (turn.nextDueIn !== null) assert.ok(turn.nextDueIn > 0) // never NaN, and no reason to look again at once
      if (turn.jobs.length === 0) break
    }
    const names = Object.keys(ODD)
    const wanted = names.flatMap((name, i) => (NEVER.includes(name) ? [] : i + 1))
    assert.deepEqual(
      taken.sort((a, b) => a - b),
      [...wanted, names.length + 1],
    )
  })

  test('an id that JavaScript can not hold is none to enqueue with', async t => {
    const {path, store} = await filled(t)
    const db = new Sqlite(path)
    t.after(() => db.close())
    db.exec('UPDATE job SET id = 9007199254740992 WHERE id = 1')
    db.exec(`UPDATE sqlite_sequence SET seq = 9007199254740992 WHERE name = 'job'`)
    db.exec(`INSERT INTO exception_log (id, func_id, exception_time, message) VALUES (99, 1, 1, 'no good')`)
    const before = db.prepare('SELECT count(*) FROM job').pluck().get()
    for (const enqueue of [
      () => store.retry(99, {priority: 0, due: {in: 0}, again: true}),
      () => store.enqueue(newJob('Work')),
      () => store.enqueue(newJob('New', {tracked: true})),
      () => store.enqueueMany([newJob(), newJob()]),
    ])
      await assert.rejects(enqueue, /expected ids up to 9007199254740991, got 900719925474099\d/)
    assert.equal(db.prepare('SELECT count(*) FROM job').pluck().get(), before)
    assert.equal(db.prepare('SELECT retried FROM exception_log WHERE id = 99').pluck().get(), 0)
  })

  test('ids that have come to their end are no disk that is full', async t => {
    const {path, store} = await filled(t)
    const db = new Sqlite(path)
    t.after(() => db.close())
    db.exec(`UPDATE sqlite_sequence SET seq = ${2n ** 63n - 1n} WHERE name = 'job'`)
    for (const enqueue of [() => store.enqueue(newJob()), () => store.enqueueMany([newJob(), newJob()])])
      await assert.rejects(enqueue, {
        code: 'DATABASE',
        message: /^job: expected ids up to 9007199254740991, got 9223372036854775807/,
      })
  })
})

describe('durability', () => {
  test('is FULL for who enqueues, NORMAL for a dispatcher', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    await open(t, path)
    for (const [durable, synchronous] of [
      [true, 2],
      [false, 1],
    ] as const) {
      const db = new Sqlite(path)
      const store = new SqliteStore(db, path)
      await store.setDurable(durable)
      await store.init()
      assert.equal(db.pragma('synchronous', {simple: true}), synchronous)
      await store.close()
    }
  })

  test('holds from the first job in a new file on', async t => {
    const path = join(tempFolder(t), 'new.db')
    const db = new Sqlite(path)
    const store = new SqliteStore(db, path)
    t.after(() => store.close())
    await store.setDurable(true)
    await store.init() // switches to WAL, which has a default of its own
    assert.equal(db.pragma('synchronous', {simple: true}), 2)
  })
})

describe('what a grab costs', () => {
  const MANY = 100_000

  test('does not grow with rows that are not its own, nor with those that are not due', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {durable: false})
    await store.enqueueMany(Array.from({length: 40}, () => newJob()))
    const few = await traceWork(path)
    await store.enqueueMany(many(MANY, newJob('Other', {priority: 50})))
    await store.enqueueMany(many(MANY, newJob('Work', {priority: 60, due: {in: 3600}})))
    const lots = await traceWork(path)
    // One lane more to look at in each grab and each look ahead, the delayed one: no more statements than that …
    const lanes = (trace: string[]) => trace.filter(sql => /priority < /.test(sql)).length
    assert.ok(lanes(lots) <= 2 * lanes(few), `${lanes(lots)} lanes instead of ${lanes(few)}`)
    assert.equal(lots.length - lanes(lots), few.length - lanes(few))
    // … and each of them seeks
    assert.deepEqual(slowPlans(t, path, new Set([...few, ...lots])), [])
  })

  test('does not grow with priorities at which nothing is due', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {durable: false})
    await store.enqueueMany(
      Array.from({length: 100}, (_, i) => newJob('Work', {priority: 1 + i, due: {in: 3600}})),
    )
    await store.enqueueMany(many(20, newJob()))
    const trace = await traced(path, async traced => {
      const want = {funcs: ['Work'], limit: 1, lease: 60}
      let {jobs} = await traced.turn([], want)
      for (let i = 0; i < 10; i++)
        jobs = (
          await traced.turn(
            jobs.map(lease => ({lease, outcome: {kind: 'completed'}})),
            want,
          )
        ).jobs
    })
    const lanes = trace.filter(sql => /priority < /.test(sql)).length
    assert.ok(lanes < 101 + 20, `${lanes} lanes in 11 turns`)
  })

  test('nor does a page of a listing', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {durable: false})
    await store.enqueueMany(many(MANY, newJob('Other')))
    await store.enqueueMany(many(1000, newJob('Work', {due: {in: 3600}})))
    const trace = await traced(path, async traced => {
      for (const state of ['running', 'ready', 'delayed', undefined] as const)
        for (const func of ['Work', undefined]) await traced.list({limit: 10, offset: 0, state, func})
      await traced.list({limit: 10, offset: 0, uniqkey: 'k'})
      await traced.exceptions({limit: 10, offset: 0})
      await traced.statuses({limit: 10, offset: 0})
      await traced.find(1)
    })
    assert.deepEqual(slowPlans(t, path, new Set(trace)), [])
  })

  test('a whole listing costs about a statement a row, however many lanes there are', async t => {
    const path = join(tempFolder(t), 'jobs.db')
    const store = await open(t, path, {durable: false})
    const rows = 12_000
    await store.enqueueMany(
      (function* () {
        // A lane for every four rows, and one that has a quarter of all
        for (let i = 0; i < rows; i++)
          yield i % 4 === 0
            ? newJob('Long', {due: {in: 3600 + i}})
            : newJob(`F${i % 300}`, {priority: i % 1000, due: {in: i % 2 === 0 ? 0 : 3600 + (i % 900)}})
      })(),
    )
    const trace = await traced(path, async traced => {
      const listed = await traced.list({limit: rows + 1, offset: 0})
      assert.equal(new Set(listed.map(({id}) => id)).size, rows)
    })
    assert.ok(trace.length < 4 * rows, `${trace.length} statements for ${rows} rows`)
  })

  test("Qudo's own query is told as slow, so the check can tell", async t => {
    const path = join(tempFolder(t), 'jobs.db')
    await open(t, path)
    const qudo = `SELECT id FROM job WHERE grabbed_until <= 1 AND run_after <= 1 ORDER BY priority DESC LIMIT 30`
    assert.equal(slowPlans(t, path, new Set([qudo])).length, 2)
  })

  /** Every kind of turn once, and the renewals between. @returns the statements that were run, with their values */
  async function traceWork(path: string): Promise<string[]> {
    const ends: Outcome[] = [
      {kind: 'completed'},
      {kind: 'replaced', jobs: [newJob('Work', {uniqkey: 'k'})], retryIn: null},
      {kind: 'replaced', jobs: [newJob('Work', {uniqkey: 'k'})], retryIn: 3600},
      {kind: 'failed', message: 'x', retryIn: 3600},
      {kind: 'failed', message: 'x', retryIn: null},
      {kind: 'aborted', reason: 'x'},
      {kind: 'died', how: 'x'},
      {kind: 'released'},
    ]
    return traced(path, async store => {
      const want = {funcs: ['Work', 'None'], limit: 1, lease: 60}
      let {jobs} = await store.turn([], want)
      for (const outcome of ends) {
        const leases = await store.renew(jobs, 60)
        const settlements = leases.map(lease => ({lease, outcome, span: {start: 1, end: 2}}))
        jobs = (await store.turn(settlements, want)).jobs
        assert.equal(jobs.length, 1, outcome.kind)
      }
      await store.turn(
        jobs.map(lease => ({lease, outcome: {kind: 'completed'}})),
        {...want, limit: 0},
      )
      const [exception] = await store.exceptions({limit: 1, offset: 0})
      await store.nextTry(exception!.id)
      await store.retry(exception!.id, {priority: 0, due: {in: 0}, again: true})
      await clear(path)
    })
  }

  /** So that each trace begins with the same jobs. */
  async function clear(path: string): Promise<void> {
    const db = new Sqlite(path)
    db.exec(`DELETE FROM job WHERE uniqkey = 'k'`)
    db.close()
  }

  async function traced(path: string, use: (store: SqliteStore) => Promise<void>): Promise<string[]> {
    const trace: string[] = []
    const store = new SqliteStore(new Sqlite(path, {verbose: sql => trace.push(String(sql))}), path)
    try {
      await use(store)
    } finally {
      await store.close()
    }
    return trace.filter(sql => /^\s*(SELECT|INSERT|UPDATE|DELETE)/.test(sql))
  }

  /** Steps that read jobs or logs from end to end, or sort more than the few jobs that are leased. */
  function slowPlans(t: TestContext, path: string, statements: Set<string>): string[] {
    const db = reader(t, path)
    return [...statements].flatMap(sql => {
      const plan = db.prepare<unknown[], {detail: string}>(`EXPLAIN QUERY PLAN ${sql}`).all()
      const steps = plan.map(({detail}) => detail)
      const isLeased = steps.some(step => /^SEARCH job .*grabbed_until>/.test(step))
      return steps
        .filter(
          step =>
            /^SCAN (job|exception_log|job_status)\b|^SEARCH job .*rowid[<>]/.test(step) ||
            (/TEMP B-TREE/.test(step) && !isLeased),
        )
        .map(step => `${step}: ${sql}`)
    })
  }
})

// ---- what the tests are made of

function* many(count: number, job: NewJob): Iterable<NewJob> {
  for (let i = 0; i < count; i++) yield job
}

async function open(t: TestContext, path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const store = await openSqlite(path, options)
  t.after(() => store.close())
  return store
}

/** A store whose clock stands still at a time. */
function openAt(t: TestContext, path: string, now: number): Promise<SqliteStore> {
  return open(t, path, {clock: () => now * 1000})
}

/** A store, and a way for another connection to hold the write lock. */
async function lockable(t: TestContext, options: SqliteOptions = {}) {
  const path = join(tempFolder(t), 'jobs.db')
  const store = await open(t, path, options)
  const other = new Sqlite(path)
  t.after(() => other.close())
  const lock = () => {
    other.exec('BEGIN IMMEDIATE')
    return () => other.exec('COMMIT')
  }
  return {path, store, lock}
}

/** A store without WAL, as some file systems need it: who reads keeps others from committing. */
async function rollbackMode(t: TestContext, options: SqliteOptions = {}) {
  const path = join(tempFolder(t), 'jobs.db')
  await (await openSqlite(path)).close()
  const reader = new Sqlite(path)
  t.after(() => reader.close())
  reader.pragma('journal_mode = DELETE')
  return {store: await open(t, path, options), reader}
}

async function endOne(store: SqliteStore, func: string, outcome: Outcome): Promise<void> {
  const {jobs} = await store.turn([], {funcs: [func], limit: 1, lease: 60})
  const settlements = jobs.map(lease => ({lease, outcome, span: {start: 1, end: 2}}))
  assert.deepEqual((await store.turn(settlements, {funcs: [], limit: 0, lease: 60})).settled, [{held: true}])
}

function copyOfFixture(t: TestContext): string {
  const path = join(tempFolder(t), 'qudo.sqlite')
  copyFileSync(FIXTURE, path)
  return path
}

function reader(t: TestContext, path: string): Database {
  const db = new Sqlite(path, {readonly: true})
  t.after(() => db.close())
  return db
}

/** All rows of a database that Qudo wrote, read without the store. */
function readAll(path: string) {
  const db = new Sqlite(path, {readonly: true})
  const rows = <T>(sql: string) => db.prepare<unknown[], T>(sql).all()
  const func = '(SELECT name FROM func WHERE func.id = func_id) AS func'
  const arg = 'CAST(arg AS BLOB) AS arg'
  const all = {
    jobs: rows<{id: number; func: string; arg: Buffer | null; runAfter: number}>(
      `SELECT id, func_id AS funcId, ${func}, ${arg}, uniqkey, enqueue_time AS enqueueTime,
         grabbed_until AS grabbedUntil, run_after AS runAfter, retry_cnt AS retryCnt, priority FROM job ORDER BY id`,
    ),
    exceptions: rows<object>(
      `SELECT id, func_id AS funcId, ${func}, exception_time AS exceptionTime, uniqkey, ${arg},
         CAST(message AS BLOB) AS message, retried FROM exception_log ORDER BY id`,
    ),
    statuses: rows<object>(
      `SELECT id, func_id AS funcId, ${func}, ${arg}, uniqkey, status, job_start_time AS jobStartTime,
         job_end_time AS jobEndTime FROM job_status ORDER BY id`,
    ),
  }
  db.close()
  return all
}

function schema(path: string): {name: string; sql: string | null}[] {
  const db = new Sqlite(path, {readonly: true})
  const rows = db
    .prepare<unknown[], {name: string; sql: string | null}>(
      'SELECT name, type, tbl_name, sql FROM sqlite_master ORDER BY name',
    )
    .all()
  db.close()
  return rows
}

/** Without jobq's own tables and indexes. */
function qudoSchema(path: string) {
  return schema(path).filter(({name}) => !/^(jobq_|sqlite_autoindex_jobq_)/.test(name))
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777
}

function byId(a: {id: number}, b: {id: number}): number {
  return a.id - b.id
}
