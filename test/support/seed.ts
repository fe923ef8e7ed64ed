/** Rows as Qudo's tables have them, written past jobq: what workers would have left there. */
import Sqlite, {type Database, type Statement} from 'better-sqlite3'

export const now = () => Math.floor(Date.now() / 1000)

/** Opens a database that jobq has made, for a test to write to and to look at. */
export function openDatabase(t: {after(end: () => void): void}, path: string): Database {
  const db = new Sqlite(path)
  t.after(() => db.close())
  return db
}

export function funcId(db: Database, name: string): number {
  const id = statement(db, 'SELECT id FROM func WHERE name = ?').pluck()
  const known = id.get(name)
  if (known === undefined) statement(db, 'INSERT INTO func (name) VALUES (?)').run(name)
  return (known ?? id.get(name)) as number
}

interface JobSeed {
  func?: string
  arg?: string | Buffer | null
  uniqkey?: string | null
  grabbed_until?: number
  enqueue_time?: number
  run_after?: number
  retry_cnt?: number
  priority?: number
}

export function seedJob(db: Database, seed: JobSeed = {}): number {
  const {func = 'Notify', ...columns} = seed
  return insert(db, 'job', func, {
    arg: null,
    uniqkey: null,
    enqueue_time: now(),
    grabbed_until: 0,
    run_after: now() - 5,
    ...columns,
  })
}

interface ExceptionSeed {
  func?: string
  exception_time?: number
  message?: string
  uniqkey?: string | null
  arg?: string | Buffer | null
  retried?: number
}

export function seedException(db: Database, seed: ExceptionSeed = {}): number {
  const {func = 'Notify', ...columns} = seed
  return insert(db, 'exception_log', func, {
    exception_time: now(),
    message: 'boom',
    uniqkey: null,
    arg: '{}',
    retried: 0,
    ...columns,
  })
}

interface StatusSeed {
  func?: string
  status?: string
  arg?: string | null
  uniqkey?: string | null
  job_start_time?: number
  job_end_time?: number
}

export function seedStatus(db: Database, seed: StatusSeed = {}): number {
  const {func = 'Notify', ...columns} = seed
  return insert(db, 'job_status', func, {
    status: 'completed',
    arg: '{}',
    uniqkey: null,
    job_start_time: now() - 3,
    job_end_time: now(),
    ...columns,
  })
}

function insert(db: Database, table: string, func: string, columns: Record<string, unknown>): number {
  const row = {func_id: funcId(db, func), ...columns}
  const names = Object.keys(row)
  const sql = `INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(name => `@${name}`).join(', ')})`
  return Number(statement(db, sql).run(row).lastInsertRowid)
}

const prepared = new WeakMap<Database, Map<string, Statement>>()

/** Prepared once: tests seed tens of thousands of rows. */
function statement(db: Database, sql: string): Statement {
  const statements = prepared.get(db) ?? new Map<string, Statement>()
  prepared.set(db, statements)
  const known = statements.get(sql) ?? db.prepare(sql)
  statements.set(sql, known)
  return known
}
