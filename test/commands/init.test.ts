import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Sqlite, {type Database} from 'better-sqlite3'
import {jobqIn} from '../support/jobq.ts'
import {openDatabase} from '../support/seed.ts'
import {until} from '../support/until.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/qudo-0.0214-written.sqlite', import.meta.url))
const QUDO = ['exception_log', 'func', 'job', 'job_status']

/** What there is, as the schema has it. */
function schema(db: Database): string[] {
  const sql = `SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY 1`
  return db.prepare(sql).pluck().all() as string[]
}

function tables(db: Database): string[] {
  const sql = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name`
  return db.prepare(sql).pluck().all() as string[]
}

/** A look at something that may be gone by then. */
function isSo(look: (name: string) => boolean): (name: string) => boolean {
  return name => {
    try {
      return look(name)
    } catch {
      return false
    }
  }
}

describe('init', () => {
  test('makes the schema, says so, and has nothing to do the second time', async t => {
    const jobq = jobqIn(t)
    const first = await jobq(['init'])
    assert.equal(first.stderr, '')
    assert.match(first.stdout, /^\S+\/jobq\.db: made table func, table job, [^\n]*index jobq_lane[^\n]*\n$/)
    assert.equal(first.code, 0)
    assert.equal(statSync(jobq.db).mode & 0o777, 0o600)
    const db = openDatabase(t, jobq.db)
    assert.ok(QUDO.every(table => tables(db).includes(table)))
    assert.equal(db.pragma('journal_mode', {simple: true}), 'wal')

    const second = await jobq(['init'])
    assert.match(second.stdout, /: nothing to do, all is there\n$/)
    assert.equal(second.code, 0)
  })

  test('makes what first use makes', async t => {
    const jobq = jobqIn(t)
    await jobq(['init', '--db', 'a.db'])
    await jobq(['enqueue', 'Notify', '--db', 'b.db'])
    const [a, b] = ['a.db', 'b.db'].map(name => openDatabase(t, join(jobq.folder, name)))
    assert.deepEqual(schema(a!), schema(b!))
  })

  test("adds to Qudo's database and leaves its tables and rows as they are", async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'qudo.db')
    copyFileSync(FIXTURE, path)
    const db = openDatabase(t, path)
    const rows = () =>
      QUDO.map(table =>
        db.prepare(`SELECT *, typeof(${table === 'func' ? 'name' : 'arg'}) FROM ${table}`).all(),
      )
    const [before, rowsBefore] = [schema(db), rows()]
    const {stdout, code} = await jobq(['init', '--db', `dbi:SQLite:dbname=${path}`])
    assert.equal(code, 0)
    assert.match(stdout, /qudo\.db: made index jobq_lane, /)
    assert.doesNotMatch(stdout, /table (func|job|exception_log|job_status)\b/)
    const after = schema(db)
    assert.ok(before.every(item => after.includes(item)))
    assert.ok(
      after.filter(item => !before.includes(item)).every(item => /^(table|index) \S*jobq_/.test(item)),
    )
    assert.deepEqual(rows(), rowsBefore)
    assert.match((await jobq(['init', '--db', path])).stdout, /nothing to do/)
  })

  test('makes again what was lost', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    const db = openDatabase(t, jobq.db)
    const whole = schema(db)
    db.exec('DROP INDEX jobq_lane')
    const {stdout} = await jobq(['init'])
    assert.match(stdout, /: made index jobq_lane\n$/)
    assert.deepEqual(schema(db), whole)
  })

  test('waits for a lock that Qudo holds', async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'qudo.db')
    copyFileSync(FIXTURE, path)
    const db = openDatabase(t, path)
    db.exec('BEGIN EXCLUSIVE')
    const init = jobq.start(['init', '--db', path])
    let ended = false
    const exited = init.exited.finally(() => (ended = true))
    const opened = (fd: string) => readlinkSync(`/proc/${init.pid}/fd/${fd}`) === path
    await until('it has the file open', () => readdirSync(`/proc/${init.pid}/fd`).some(isSo(opened)))
    assert.equal(ended, false)
    db.exec('COMMIT')
    const {stdout, code} = await exited
    assert.match(stdout, /made index jobq_lane/)
    assert.equal(code, 0)
  })

  test('a database of something else gets a queue when asked for it here, and only here', async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'app.db')
    openDatabase(t, path).exec('CREATE TABLE users (id); INSERT INTO users VALUES (1)')
    const refused = await jobq(['enqueue', 'Notify', '--db', path])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /something else.*jobq init --db/)
    assert.equal((await jobq(['init', '--db', path])).code, 0)
    assert.equal((await jobq(['enqueue', 'Notify', '--db', path])).stdout, '1\n')
    const db = openDatabase(t, path)
    assert.deepEqual(db.prepare('SELECT id FROM users').pluck().all(), [1])
  })

  test("a table of the same name that is not Qudo's is left alone", async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'app.db')
    const db = openDatabase(t, path)
    db.exec('CREATE TABLE job (id INTEGER, title TEXT)')
    const before = schema(db)
    for (const args of [[], ['--dry-run']]) {
      const {stdout, stderr, code} = await jobq(['init', '--db', path, ...args])
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, /^jobq: [^\n]*its table job has no column func_id[^\n]*\n$/)
    }
    assert.deepEqual(schema(db), before)
    const {stdout} = await jobq(['init', '--db', path, '--json'])
    assert.equal(JSON.parse(stdout).error.code, 'FOREIGN')
  })

  test('several databases, one after the other', async t => {
    const jobq = jobqIn(t)
    const {stdout} = await jobq(['init', '--db', 'a.db', '--db', 'b.db'])
    assert.match(stdout, /^\S+\/a\.db: made [^\n]*\n\S+\/b\.db: made [^\n]*\n$/)
    const env = {JOBQ_DB: 'a.db,c.db'}
    const {databases} = JSON.parse((await jobq(['init', '--json'], {env})).stdout)
    assert.deepEqual(
      databases.map(({made}: {made: string[]}) => made.length > 0),
      [false, true],
    )
  })
})

describe('init --dry-run', () => {
  test('prints SQL that makes the same, and does not even make the file', async t => {
    const jobq = jobqIn(t)
    const {stdout, stderr, code} = await jobq(['init', '--dry-run', '--db', 'new.db'])
    assert.deepEqual([stderr, code], ['', 0])
    assert.deepEqual(readdirSync(jobq.folder), ['data'])
    const byHand = openDatabase(t, join(jobq.folder, 'hand.db'))
    byHand.exec(stdout)
    await jobq(['init', '--db', 'new.db'])
    assert.deepEqual(schema(openDatabase(t, join(jobq.folder, 'new.db'))), schema(byHand))
    assert.equal(byHand.pragma('journal_mode', {simple: true}), 'wal')
    assert.equal((await jobq(['enqueue', 'Notify', '--db', 'hand.db'])).stdout, '1\n')
  })

  test('makes no folder for the default database', async t => {
    const jobq = jobqIn(t)
    const env = {XDG_DATA_HOME: join(jobq.folder, 'elsewhere')}
    assert.equal((await jobq(['init', '--dry-run'], {env})).code, 0)
    assert.equal(existsSync(join(jobq.folder, 'elsewhere')), false)
  })

  test("leaves Qudo's file byte for byte", async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'qudo.db')
    copyFileSync(FIXTURE, path)
    const hash = () => createHash('sha256').update(readFileSync(path)).digest('hex')
    const before = hash()
    const {stdout} = await jobq(['init', '--dry-run', '--db', path])
    assert.match(
      stdout,
      /^PRAGMA journal_mode = WAL;\nBEGIN IMMEDIATE;\nCREATE INDEX IF NOT EXISTS jobq_lane /,
    )
    assert.match(stdout, /COMMIT;\n$/)
    assert.equal(hash(), before)
    assert.deepEqual(readdirSync(jobq.folder).toSorted(), ['data', 'qudo.db'])
  })

  test('says what a database lacks, under --json as well', async t => {
    const jobq = jobqIn(t)
    const fresh = JSON.parse((await jobq(['init', '--dry-run', '--json'])).stdout)
    assert.equal(fresh.dry_run, true)
    assert.equal(fresh.databases[0].made[0], 'table func')
    const done = JSON.parse((await jobq(['init', '--json'])).stdout)
    assert.deepEqual(done, {...fresh, dry_run: false})
    const again = await jobq(['init', '--dry-run'])
    assert.equal(again.stdout, '')
    assert.match(again.stderr, /nothing to do, all is there\n$/)
    assert.deepEqual(JSON.parse((await jobq(['init', '--dry-run', '--json'])).stdout), {
      databases: [{database: jobq.db, made: [], sql: [], warnings: []}],
      dry_run: true,
    })
  })

  test('several databases are told apart by comments', async t => {
    const {stdout} = await jobqIn(t)(['init', '--dry-run', '--db', 'a.db', '--db', 'b.db'])
    const [a, b] = stdout.split(/^-- \S+\/[ab]\.db\n/m).slice(1)
    assert.equal(a, b)
    new Sqlite(':memory:').exec(a!)
  })
})

describe('init: what it can not do', () => {
  for (const flags of [[], ['--dry-run']])
    test(`no folder for the file ${flags.join()}`, async t => {
      const {code, stdout, stderr} = await jobqIn(t)(['init', '--db', 'nowhere/x.db', ...flags])
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, /^jobq: expected a folder for the database, but \S+\/nowhere does not exist \(mak/)
    })

  test('a file that may only be read', {skip: process.getuid?.() !== 0 && 'needs root'}, async t => {
    const jobq = jobqIn(t)
    const path = join(jobq.folder, 'qudo.db')
    copyFileSync(FIXTURE, path)
    const {code, stdout, stderr} = await jobq(['init', '--db', path], {uid: 65_534})
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /^jobq: [^\n]*read[^\n]*\n$/)
  })

  test('unknown words', async t => {
    const jobq = jobqIn(t)
    for (const args of [['--dryrun'], ['x.db']]) {
      const {code, stderr} = await jobq(['init', ...args])
      assert.equal(code, 2)
      assert.match(stderr, /^jobq: [^\n]*\n$/)
    }
  })
})
