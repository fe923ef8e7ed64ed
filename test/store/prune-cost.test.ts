/**
 * What bounds how long a transaction of prune holds its locks, on each kind of database: at most 200 rows, all found by an
 * index, however many there are beside them.
 */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {after, describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {mysqlHosts} from '../../src/lib/store/mysql/connections/address.ts'
import type {MysqlConnection} from '../../src/lib/store/mysql/connections/connection.ts'
import {MysqlConnections} from '../../src/lib/store/mysql/connections/connections.ts'
import {deleteOutputs, deleteRows} from '../../src/lib/store/mysql/prune.ts'
import {timeoutsOf} from '../../src/lib/store/shared/silence.ts'
import {SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import type {LogTable, Store} from '../../src/lib/store/store.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {mysqlServer, postgresServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const ROWS = 200
const MANY = 20_000
/** So many of each log are pruned, with pauses nine times as long as that takes. */
const PRUNED = 4000
const TABLES: readonly LogTable[] = ['exception_log', 'job_status']
const LARGE = [...TABLES, 'jobq_attempt', 'jobq_output']

/** MANY old rows in each log, and an attempt of each. */
function fills(isTrue: string): string[] {
  const rows = `(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
    SELECT (a.i - 1) * 200 + b.i AS i FROM n a, n b WHERE a.i <= ${MANY / 200}) r`
  const attempts = 'job_id, func_id, outcome, is_last, started_at, ended_at'
  return [
    `INSERT INTO exception_log (id, func_id, exception_time, message, retried) SELECT i, 1, 1000, 'm', 0 FROM ${rows}`,
    `INSERT INTO job_status (id, func_id, arg, status, job_start_time, job_end_time)
     SELECT i, 1, 'a', 'completed', 1000, 1000 FROM ${rows}`,
    `INSERT INTO jobq_attempt (${attempts}, exception_id) SELECT i, 1, 'failed', ${isTrue}, 1000, 1000, i FROM ${rows}`,
    `INSERT INTO jobq_attempt (${attempts}, status_id) SELECT i, 1, 'completed', ${isTrue}, 1000, 1000, i FROM ${rows}`,
  ]
}

async function prune(store: Store): Promise<void> {
  for (const table of TABLES) {
    let [sum, most] = [0, 0]
    for await (const count of store.prune(table, {ago: 86_400}, false)) {
      sum += count
      most = Math.max(most, count)
      if (sum >= PRUNED) break
    }
    assert.ok(sum < PRUNED + ROWS && most === ROWS, `${sum} rows, ${most} at once`)
  }
}

test('SQLite: no statement that deletes reads a table from end to end', async t => {
  const path = join(tempFolder(t), 'jobs.db')
  const trace = new Set<string>()
  const store = new SqliteStore(new Sqlite(path, {verbose: sql => trace.add(String(sql))}), path)
  t.after(() => store.close())
  await store.init()
  await store.enqueue(newJob())
  const db = new Sqlite(path)
  t.after(() => db.close())
  for (const sql of fills('1')) db.exec(sql)
  trace.clear()
  await prune(store)
  const writes = [...trace].filter(sql => /^\s*(DELETE|UPDATE)/.test(sql))
  assert.ok(writes.length > 8, writes.join('\n'))
  const plans = writes.flatMap(sql => scans(db, sql).map(step => `${step}: ${sql.slice(0, 200)}`))
  assert.deepEqual(plans, [])
  // So the plans are known to tell
  assert.equal(scans(db, "DELETE FROM jobq_attempt WHERE outcome = 'x'").length, 1)
})

/** Steps that read a table from end to end, or seek attempts by the log that the statement does not name: most have no row there. */
function scans(db: Sqlite.Database, sql: string): string[] {
  const plan = db.prepare<unknown[], {detail: string}>(`EXPLAIN QUERY PLAN ${sql}`).all()
  const isScan = new RegExp(`^SCAN (${LARGE.join('|')})\\b`)
  const [, named] = /\b(exception_id|status_id) IN/.exec(sql) ?? []
  const isOther = (step: string) => {
    const [, sought] = /\((exception_id|status_id)=/.exec(step) ?? []
    return sought !== undefined && sought !== named
  }
  return plan.map(({detail}) => detail).filter(step => isScan.test(step) || isOther(step))
}

const mysql = await mysqlServer()
if ('missing' in mysql) test('MySQL', {skip: mysql.missing})
else {
  after(() => mysql.stop())

  test('MySQL: a transaction reads a few times as many rows as it deletes', async t => {
    const db = await MysqlDatabase.create(mysql.url)
    t.after(() => db.drop())
    const store = db.store()
    t.after(() => store.close())
    await store.init()
    await store.enqueue(newJob())
    for (const sql of fills('1')) await db.run(sql)
    const links = new MysqlConnections(mysqlHosts(db.url, db.name), db.name, 1, 1000, timeoutsOf(db.url))
    t.after(() => links.close())
    const ids = Array.from({length: ROWS}, (_, i) => i + 1)
    for (const table of TABLES) {
      const reads = await links.withConnection(link => counted(link, () => deleteRows(link, table, ids)))
      assert.ok(reads >= ROWS && reads < 20 * ROWS, `${reads} reads for ${ROWS} rows of ${table}`)
    }
    const reads = await links.withConnection(link => counted(link, () => deleteOutputs(link, ids)))
    assert.ok(reads < 20 * ROWS, `${reads} reads for outputs`)
    // So the count is known to tell
    const slow = await links.withConnection(link =>
      counted(link, () => link.run("DELETE FROM jobq_attempt WHERE outcome = 'x'")),
    )
    assert.ok(slow > MANY, `${slow} reads`)
  })
}

async function counted(link: MysqlConnection, work: () => Promise<unknown>): Promise<number> {
  const reads = async () => {
    const {rows} = await link.run(`SHOW SESSION STATUS LIKE 'Handler_read%'`)
    return rows.reduce((sum, row) => sum + Number(row.Value), 0)
  }
  const before = await reads()
  await work()
  return (await reads()) - before
}

const postgres = await postgresServer(answersPostgres)
if ('missing' in postgres) test('PostgreSQL', {skip: postgres.missing})
else {
  after(() => postgres.stop())

  describe('PostgreSQL', () => {
    test('no table is read from end to end, and of indexes a few times what is deleted', async t => {
      const db = await PostgresDatabase.create(postgres.url)
      t.after(() => db.drop())
      const store = db.store()
      t.after(() => store.close())
      await store.init()
      await store.enqueue(newJob())
      for (const sql of fills('true')) await db.query(sql)
      const before = await sequential(db)
      await prune(store)
      await store.close() // its process tells what it has read, at its end at the latest
      await until('what was deleted is counted', async () => (await deleted(db)) >= 4 * PRUNED)
      assert.equal(await sequential(db), before)
      const reads = await indexed(db)
      assert.ok(reads < 10 * 4 * PRUNED, `${reads} entries for ${4 * PRUNED} rows`)
      // So the count is known to tell
      await db.query("DELETE FROM jobq_attempt WHERE outcome = 'x'")
      await until('a scan is counted', async () => (await sequential(db)) > before)
    })
  })
}

async function sequential(db: PostgresDatabase): Promise<number> {
  const [row] = await db.query(
    `SELECT sum(seq_scan) AS n FROM pg_stat_user_tables WHERE relname IN (${LARGE.map(name => `'${name}'`)})`,
  )
  return Number(row!.n)
}

async function indexed(db: PostgresDatabase): Promise<number> {
  const [row] = await db.query('SELECT sum(idx_tup_read) AS n FROM pg_stat_user_indexes')
  return Number(row!.n)
}

async function deleted(db: PostgresDatabase): Promise<number> {
  const [row] = await db.query('SELECT sum(n_tup_del) AS n FROM pg_stat_user_tables')
  return Number(row!.n)
}
