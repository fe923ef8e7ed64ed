/** A database that an older jobq made is brought up to date when it is opened, while that one may still be at work. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite, {type Database} from 'better-sqlite3'
import {StoreError} from '../../src/lib/jobs/errors.ts'
import {prepareSqlite} from '../../src/lib/store/sqlite/init.ts'
import {openSqlite, type SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {newJob, startProcess, tell} from '../support/store.ts'
import {tempFolder} from '../support/temp.ts'

/** What jobq 0.1 made: version 1. */
const VERSION_1 = `
CREATE TABLE func (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       VARCHAR(255) NOT NULL,
    UNIQUE(name)
);
CREATE TABLE job (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL,
    arg             MEDIUMBLOB,
    uniqkey         VARCHAR(255) NULL,
    enqueue_time    INTEGER UNSIGNED,
    grabbed_until   INTEGER UNSIGNED NOT NULL,
    run_after       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    retry_cnt       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    priority        INTEGER UNSIGNED NOT NULL DEFAULT 0,
    UNIQUE(func_id,uniqkey)
);
CREATE TABLE exception_log (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL DEFAULT 0,
    exception_time  INTEGER UNSIGNED NOT NULL,
    message         MEDIUMBLOB NOT NULL,
    uniqkey         VARCHAR(255) NULL,
    arg             MEDIUMBLOB,
    retried         TINYINT(1) NOT NULL DEFAULT 0
);
CREATE TABLE job_status (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL DEFAULT 0,
    arg             MEDIUMBLOB,
    uniqkey         VARCHAR(255) NULL,
    status          VARCHAR(10),
    job_start_time  INTEGER UNSIGNED NOT NULL,
    job_end_time    INTEGER UNSIGNED NOT NULL
);
CREATE INDEX jobq_lane ON job (func_id, grabbed_until, priority, run_after, id);
CREATE INDEX jobq_failed ON exception_log (func_id, retried);
CREATE INDEX jobq_ended ON job_status (func_id, status, job_end_time, job_start_time);
CREATE TABLE jobq_death (
    id      INTEGER PRIMARY KEY,
    job_id  INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    how     TEXT NOT NULL
);
CREATE INDEX jobq_death_job ON jobq_death (job_id);
CREATE TABLE jobq_pause (func VARCHAR(255) PRIMARY KEY);
CREATE TABLE jobq_schema (version INTEGER NOT NULL);
INSERT INTO jobq_schema (version) VALUES (1);
INSERT INTO func (id, name) VALUES (1, 'Work');
INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, priority) VALUES (1, '[1]', 'k', 1, 0, 7);
INSERT INTO jobq_death (job_id, died_at, how) VALUES (1, 1, 'killed');
INSERT INTO jobq_pause (func) VALUES ('Other')`

const WANT = {funcs: ['Work'], limit: 1, lease: 60}

describe('a database of jobq 0.1', () => {
  test('has the schema of a new one once it was opened, and its rows', async t => {
    const path = versionOne(t)
    const rows = contents(path)
    const store = await open(t, path)
    const fresh = join(tempFolder(t), 'new.db')
    await open(t, fresh)
    assert.deepEqual(schema(path), schema(fresh))
    assert.deepEqual(contents(path), rows)
    assert.deepEqual(await store.paused(), ['Other'])
    const {id} = await store.enqueue(newJob({context: '{"a":"b"}', tracked: true, priority: 9}))
    const {jobs} = await store.turn([], WANT)
    assert.deepEqual(
      jobs.map(job => [job.id, job.context]),
      [[id, '{"a":"b"}']],
    )
  })

  test('is brought up to date by several processes at once, and while one of them enqueues', async t => {
    const path = versionOne(t)
    const old = new Sqlite(path, {timeout: 10_000})
    t.after(() => old.close())
    const insert = old.prepare(INSERT)
    const children = await Promise.all(Array.from({length: 6}, () => startProcess(t, path)))
    const opened = Promise.all(children.map(child => tell(child, {do: 'open'})))
    let isDone = false
    void opened.finally(() => {
      isDone = true
    })
    let inserted = 0
    do {
      insert.run()
      inserted++
      await new Promise(resolve => setImmediate(resolve))
    } while (!isDone)
    await opened
    const ids = await Promise.all(children.map(child => tell(child, {do: 'enqueue', func: 'Work', count: 5})))
    const store = await open(t, path)
    assert.equal((await store.counts('Work'))[0]?.ready, 1 + inserted + ids.flat().length)
    assert.equal(old.prepare('SELECT count(*) FROM jobq_schema WHERE version = 7').pluck().get(), 1)
  })

  test('an older process goes on beside a newer one', async t => {
    const path = versionOne(t)
    const old = new Sqlite(path, {timeout: 10_000})
    t.after(() => old.close())
    const [insert, take, settle] = [INSERT, TAKE, SETTLE].map(sql => old.prepare<unknown[], number>(sql))
    take!.pluck()
    const store = await open(t, path)
    insert!.run()
    const {jobs} = await store.turn([], {...WANT, limit: 9})
    assert.equal(jobs.length, 2)
    const settlements = jobs.map(lease => ({lease, outcome: {kind: 'completed'} as const}))
    await store.turn(settlements, {...WANT, limit: 0})
    // What it works is worked; whoever waits hears that the job is gone
    const {id} = await store.enqueue(newJob({context: '{}', tracked: true}))
    assert.equal(take!.get(), id)
    assert.equal((await store.turn([], WANT)).jobs.length, 0)
    assert.equal(settle!.run(id).changes, 1)
    assert.deepEqual(await store.ends([{id}]), [{id, outcome: 'gone', message: ''}])
  })

  test('in the journal mode that it was given stays in it', async t => {
    const path = versionOne(t)
    const db = new Sqlite(path)
    db.pragma('journal_mode = DELETE')
    db.close()
    await open(t, path)
    const reader = new Sqlite(path, {readonly: true})
    t.after(() => reader.close())
    assert.equal(reader.pragma('journal_mode', {simple: true}), 'delete')
  })

  test('jobq init tells what is new, and makes it', async t => {
    const path = versionOne(t)
    const made = [
      ...['table jobq_context', 'table jobq_wait', 'table jobq_attempt'],
      ...['job', 'exception', 'status', 'tried'].map(by => `index jobq_attempt_${by}`),
      ...['table jobq_output', 'index jobq_output_job', 'table jobq_order', 'table jobq_manager'],
      ...['table jobq_after', 'index jobq_after_after', 'index jobq_after_outcome'],
      'table jobq_schedule',
      ...['table jobq_tag', 'index jobq_tag_value', 'table jobq_expiry', 'index jobq_expiry_at'],
      ...['table jobq_key', 'index jobq_key_until', 'table jobq_share', 'index jobq_share_parked'],
      ...['table jobq_rate', 'index jobq_rate_last', 'table jobq_action'],
      ...['table jobq_batch', 'index jobq_batch_mark', 'table jobq_progress'],
      ...['table jobq_result', 'index jobq_result_until'],
      ...['table jobq_token', 'index jobq_token_stored'],
    ]
    for (const dryRun of [true, false])
      assert.deepEqual((await prepareSqlite(path, {makeFolder: false, dryRun})).made, made)
    const again = await prepareSqlite(path, {makeFolder: false, dryRun: false})
    assert.deepEqual([again.made, again.sql], [[], []])
    await (await openSqlite(path, {prepare: false})).enqueue(newJob({context: '{}'}))
  })

  test('what a newer jobq made is refused by an older one, and stays as it is', async t => {
    const path = versionOne(t)
    const db = new Sqlite(path)
    db.exec('UPDATE jobq_schema SET version = 99')
    db.close()
    const before = schema(path)
    await assert.rejects(
      openSqlite(path),
      error => error instanceof StoreError && error.code === 'FOREIGN' && /newer/.test(error.message),
    )
    assert.deepEqual(schema(path), before)
  })
})

const INSERT = `INSERT INTO job (func_id, enqueue_time, grabbed_until, run_after) VALUES (1, 1, 0, 1)`
const TAKE = `UPDATE job SET grabbed_until = unixepoch() + 60 WHERE id = (
  SELECT id FROM job INDEXED BY jobq_lane WHERE func_id = 1 AND grabbed_until = 0 ORDER BY priority DESC LIMIT 1)
  RETURNING id`
const SETTLE = 'DELETE FROM job WHERE id = ? AND grabbed_until > 0'

function versionOne(t: TestContext): string {
  const path = join(tempFolder(t), 'jobs.db')
  const db = new Sqlite(path)
  db.pragma('journal_mode = WAL')
  db.exec(VERSION_1)
  db.close()
  return path
}

async function open(t: TestContext, path: string): Promise<SqliteStore> {
  const store = await openSqlite(path)
  t.after(() => store.close())
  return store
}

function schema(path: string): unknown[] {
  return read(path, db =>
    db
      .prepare(
        `SELECT name, replace(replace(sql, 'IF NOT EXISTS ', ''), char(10), '') FROM sqlite_master ORDER BY name`,
      )
      .all(),
  )
}

function contents(path: string): unknown[] {
  const tables = ['func', 'job', 'exception_log', 'job_status', 'jobq_death', 'jobq_pause']
  return read(path, db => tables.map(table => db.prepare(`SELECT * FROM ${table}`).all()))
}

function read<T>(path: string, look: (db: Database) => T): T {
  const db = new Sqlite(path, {readonly: true})
  try {
    return look(db)
  } finally {
    db.close()
  }
}
