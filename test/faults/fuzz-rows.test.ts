/**
 * What lies in the tables, whoever wrote it: SQLite takes a value of any storage class in any column, servers what their
 * types hold. Every command ends honestly, a listing has every row, and what the library stores on any of the three comes
 * back as it was.
 */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import Sqlite, {type Database} from 'better-sqlite3'
import fc from 'fast-check'
import {type EnqueueOptions, JobQueue, JobqError} from '../../src/lib/index.ts'
import {assertHonest, CommandLines} from '../support/command-lines.ts'
import {type Counts, fuzz, nastyJson, nastyText} from '../support/fuzz.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'
import {tempFolder} from '../support/temp.ts'

type Server = MysqlDatabase | PostgresDatabase

const servers = [
  {
    name: 'MySQL',
    server: await mysqlServer(),
    create: (url: string): Promise<Server> => MysqlDatabase.create(url),
  },
  {
    name: 'PostgreSQL',
    server: await postgresServer(answersPostgres),
    create: (url: string): Promise<Server> => PostgresDatabase.create(url),
  },
]

/** A value, and SQL's way to say it where binding it would lose its class: bytes as TEXT, what is no number as REAL. */
interface Cell {
  value: unknown
  sql: string
}

const bound = (value: unknown): Cell => ({value, sql: '?'})
const cell: fc.Arbitrary<Cell> = fc.oneof(
  fc.constant(bound(null)),
  fc.constantFrom(0n, 1n, -1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)).map(bound),
  fc.constantFrom(0.5, -0.5, 1e300, 5e-324, Infinity, -Infinity, 4294967295.5).map(bound),
  fc.constantFrom('', '1', '1.5', '1e3', ' 1', 'completed', 'F', '{}', '#1').map(bound),
  nastyText.map(text => bound(text)),
  fc.uint8Array({maxLength: 12}).map(bytes => bound(Buffer.from(bytes))),
  fc.uint8Array({maxLength: 12}).map(bytes => ({value: Buffer.from(bytes), sql: 'CAST(? AS TEXT)'})),
)

/** Columns by table, all but their own ids: Qudo's tables, and jobq's beside them. */
type Tables = Record<string, string[]>

function tablesOf(db: Database): Tables {
  const names = db
    .prepare(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('jobq_schema', 'sqlite_sequence')`,
    )
    .pluck()
    .all() as string[]
  const columns = db.prepare(`SELECT name FROM pragma_table_info(?) WHERE name <> 'id'`).pluck()
  return Object.fromEntries(names.map(name => [name, columns.all(name) as string[]]))
}

/** As another program may have left them, with what is odd in one column or in all. */
const rowsOf = (tables: Tables) =>
  fc.constantFrom(...Object.keys(tables), ...Array.from({length: 5}, () => 'job')).chain(table =>
    fc.record({
      table: fc.constant(table),
      cells: fc.tuple(
        ...tables[table]!.map(() =>
          fc.oneof({weight: 2, arbitrary: cell}, {weight: 3, arbitrary: fc.constant(null)}),
        ),
      ),
    }),
  )
/** What a sound row has there. */
const SOUND: Record<string, unknown> = {
  ...{
    func_id: 1,
    arg: '{}',
    uniqkey: null,
    enqueue_time: 1,
    grabbed_until: 0,
    run_after: 1,
    retry_cnt: 0,
    priority: 0,
  },
  ...{exception_time: 1, message: 'm', retried: 0, status: 'completed', job_start_time: 1, job_end_time: 2},
  ...{name: 'F', func: 'F'},
  ...{job_id: 1, outcome: 'failed', is_last: 1, started_at: 1, ended_at: 2, host: 'h', pid: 3},
  ...{exception_id: 1, status_id: 1, retried_as: null, attempt_id: 1, is_cut: 0, output: 'o'},
  ...{what: 'follow', ordered_at: 1, heard_at: null, seen_at: 4e9, state: '{}', after_id: 2, any_end: 0},
  ...{
    cron: '* * * * *',
    time_zone: 'UTC',
    passed_to: 1,
    ran_at: null,
    ended_at: 1,
    context: '{}',
    died_at: 1,
  },
  ...{
    how: 'd',
    value: 'v',
    expires_at: 4e9,
    taken_until: 4e9,
    share_key: 'k',
    is_parked: 0,
    since: 1,
    taken: 1,
  },
  ...{done_at: 1, who: 'w', jobs: 1},
}

interface Row {
  table: string
  cells: (Cell | null)[]
}

function insert(db: Database, columns: readonly string[], {table, cells}: Row): void {
  const filled = columns.map((column, i) => cells[i] ?? bound(column in SOUND ? SOUND[column] : 1))
  const sql = `INSERT OR IGNORE INTO ${table} (${columns.join(', ')}) VALUES (${filled.map(({sql}) => sql).join(', ')})`
  try {
    db.prepare(sql).run(...filled.map(({value}) => value))
  } catch (error) {
    if ((error as {code?: string}).code !== 'SQLITE_MISMATCH') throw error // what is the rowid holds whole numbers only
  }
}

const command = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.constantFrom(
      ...[
        ['list'],
        ['list', '--state', 'ready'],
        ['list', '--func', 'F'],
        ['list', '--failed'],
        ['list', '--finished'],
      ],
      ...[
        ['list', '--failed', '--json'],
        ['list', '--finished', '--json'],
        ['list', '--uniqkey', '1'],
      ],
      ...[
        ['stats'],
        ['stats', '--json'],
        ['stats', '--prometheus'],
        ['status', '--json'],
        ['pause', 'F'],
        ['resume', '--all'],
      ],
      ...[
        ['retry', '--all', '--dry-run'],
        ['retry', '--all'],
        ['retry', '1', '--json'],
        ['wait', '--timeout', '0', '1'],
        ['wait', '--timeout', '0', '--result', '1'],
      ],
      ...[
        ['enqueue', 'F', '--uniqkey', '1'],
        ['enqueue', '1', '--if-absent', '--uniqkey', 'F'],
        ['init', '--dry-run'],
        ['init'],
      ],
      ...[
        ['show', '1-3'],
        ['show', '1', '--json'],
        ['logs', '1'],
        ['check', '--workers', '1'],
        ['prune', '--older-than', '1'],
        ['prune', '--dry-run'],
        ['status'],
      ],
      ...[
        ['cancel', '1'],
        ['cancel', '--func', 'F'],
        ['edit', '1', '--delay', '1', '--uniqkey', '2'],
        ['retry', '--job', '1'],
        ['enqueue', 'F', '--after', '1'],
      ],
      ['copy', '--to', 'copy.db'],
    ),
  },
  {weight: 1, arbitrary: fc.constant(['work', '--drain', '--max-jobs', '3', '--exec', 'F=true'])},
)

test('SQLite: any storage class in any column', async t => {
  const lines = new CommandLines(t)
  await lines.run(['init'])
  const db = new Sqlite(lines.db)
  t.after(() => db.close())
  const tables = tablesOf(db)
  const clear = Object.keys(tables)
    .map(table => `DELETE FROM ${table};`)
    .join('')
  await fuzz(
    t,
    [250, 6000],
    fc.tuple(fc.array(rowsOf(tables), {minLength: 1, maxLength: 6}), command as fc.Arbitrary<string[]>),
    async ([rows, argv]) => {
      db.exec(`BEGIN; ${clear} INSERT INTO func (id, name) VALUES (1, 'F')`)
      for (const each of rows) insert(db, tables[each.table]!, each)
      db.exec('COMMIT')
      const list = ['list', '--json', '--limit', '1000']
      const listed = await lines.run(list)
      assertHonest(listed, list)
      assert.deepEqual([listed.code, listed.stderr], [0, ''])
      // What names no function by a number is nobody's job
      const {count} = db
        .prepare(
          `SELECT count(*) AS count FROM job WHERE func_id BETWEEN -9007199254740991 AND 9007199254740991`,
        )
        .get() as {count: number}
      assert.equal((JSON.parse(listed.stdout) as unknown[]).length, count)
      const ended = await lines.run(argv)
      if (argv.includes('--json')) JSON.parse(ended.stdout)
      return assertHonest(ended, argv)
    },
  )
})

const bytes = fc.uint8Array({maxLength: 20}).map(each => Buffer.from(each))
const json = (arg: unknown) => ({arg, serializer: 'json'})
const none = (arg: unknown) => ({arg, serializer: 'none'})
const packed = (arg: unknown) => ({arg, serializer: 'msgpack'})
const stored = fc.record({
  func: fc.oneof({weight: 1, arbitrary: fc.constant('F')}, {weight: 4, arbitrary: nastyText}),
  uniqkey: fc.option(nastyText, {nil: undefined}),
  priority: fc.oneof(
    {weight: 9, arbitrary: fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1)},
    {weight: 1, arbitrary: fc.constantFrom(2 ** 32, -1, 0.5, NaN)},
  ),
  arg: fc.oneof(
    nastyJson.map(json),
    nastyText.map(none),
    bytes.map(none),
    nastyJson.map(packed),
    nastyJson.map(none),
  ),
  delay: fc.oneof(
    {weight: 9, arbitrary: fc.constantFrom(undefined, 0, '1h')},
    {weight: 1, arbitrary: fc.constantFrom(2 ** 32, '@1', -1)},
  ),
})

/** Blanks at the ends are nothing to MySQL: docs/servers.md says so. */
async function comesBack(
  queue: JobQueue,
  options: Record<string, unknown> & {func: string},
): Promise<string> {
  const {func, ...rest} = options
  const defined = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  try {
    const {id} = await queue.enqueue(func, defined as EnqueueOptions)
    const found = await queue.find(id)
    const [listed] = (await queue.list({func, limit: 1e6})).filter(job => job.id === id)
    assert.deepEqual(listed && {...listed, state: null}, {...found, state: null})
    assert.deepEqual(
      [found?.func.trimEnd(), found?.uniqkey, found?.priority],
      [func.trimEnd(), options.uniqkey ?? null, options.priority],
    )
    if (options.serializer === 'none')
      assert.deepEqual(Buffer.from(found?.arg ?? []), Buffer.from((options.arg as string | null) ?? ''))
    if (options.serializer === 'json')
      assert.deepEqual(
        JSON.parse(Buffer.from(found!.arg!).toString()),
        JSON.parse(JSON.stringify(options.arg)),
      )
    return 'stored'
  } catch (error) {
    if (!(error instanceof JobqError)) throw error
    assert.equal(error.exitCode === 2 || error.exitCode === 3, true, error.message)
    return error.code
  }
}

describe('what the library stores comes back as it was, or is refused', () => {
  const onStore = (name: string, counts: Counts, open: (t: TestContext) => Promise<JobQueue>) =>
    test(name, async t => {
      const queue = await open(t)
      await fuzz(t, counts, stored, ({arg, ...options}) => comesBack(queue, {...options, ...arg}))
    })

  onStore('SQLite', [250, 3000], async t => {
    const queue = await JobQueue.open({db: `${tempFolder(t)}/jobs.db`, durable: false})
    t.after(() => queue.close())
    return queue
  })
  for (const {name, server, create} of servers) {
    if ('missing' in server) {
      test(name, {skip: server.missing})
      continue
    }
    after(() => server.stop())
    onStore(name, [80, 1500], async t => {
      const database = await create(server.url)
      await JobQueue.init({db: database.url})
      const queue = await JobQueue.open({db: database.url})
      t.after(async () => {
        await queue.close()
        await database.drop()
      })
      return queue
    })

    test(`${name}: any value that its columns hold`, async t => {
      const database = await create(server.url)
      await JobQueue.init({db: database.url})
      const queue = await JobQueue.open({db: database.url})
      t.after(async () => {
        await queue.close()
        await database.drop()
      })
      const {id: _} = await queue.enqueue('F')
      const number = fc.constantFrom(
        0,
        1,
        2 ** 31 - 1,
        ...(name === 'MySQL' ? [2 ** 31, 2 ** 32 - 1] : [-1, -(2 ** 31)]),
      )
      const values = fc.record({
        ...{
          arg: bytes,
          uniqkey: fc.option(nastyText.map(asColumn), {nil: null}),
          message: nastyText.map(asColumn),
        },
        ...{
          enqueue_time: number,
          grabbed_until: number,
          run_after: number,
          retry_cnt: number,
          priority: number,
        },
      })
      await fuzz(t, [40, 1000], values, async ({message, ...job}) => {
        await database.query('DELETE FROM job')
        await database.query('DELETE FROM exception_log')
        const {func_id} = (await database.query("SELECT id AS func_id FROM func WHERE name = 'F'"))[0]!
        await put(database, 'job', {func_id, ...job})
        const exception_time = job.run_after
        await put(database, 'exception_log', {
          func_id,
          message: Buffer.from(message),
          exception_time,
          arg: job.arg,
          uniqkey: job.uniqkey,
          retried: 0,
        })
        const [listed, ...more] = await queue.list()
        assert.deepEqual(more, [])
        assert.deepEqual(
          [listed!.uniqkey, Buffer.from(listed!.arg!), listed!.priority, listed!.retryCnt],
          [job.uniqkey, job.arg, job.priority, job.retry_cnt],
        )
        const [failed] = await queue.exceptions()
        assert.equal(failed!.message, message)
        await queue.stats()
      })
    })
  }
})

/** What a column of text takes. */
function asColumn(text: string): string {
  return text.replaceAll('\0', '').toWellFormed().slice(0, 200).toWellFormed()
}

function put(database: Server, table: string, row: Record<string, unknown>): Promise<unknown> {
  const names = Object.keys(row)
  const marks = names.map((_, i) => (database instanceof PostgresDatabase ? `$${i + 1}` : '?'))
  return database.query(
    `INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks.join(', ')})`,
    ...Object.values(row),
  )
}
