/** What the suite's tests are made of: a database, stores on it, Perl beside them, jobs and their ends. */
import assert from 'node:assert/strict'
import type {JobRow, Lease, NewJob, Outcome, Settlement, StoredArg} from '../../../src/lib/jobs/job.ts'
import type {ExceptionRow} from '../../../src/lib/jobs/rows/history.ts'
import type {SettleResult, Store, Want} from '../../../src/lib/store/store.ts'
import {newJob} from '../../support/store.ts'
import {until} from '../../support/until.ts'

export {newJob}

/** A fresh, empty database, and another program's way into it. */
export interface TestDatabase {
  /** A store on this database, as one more process would have it; its schema is not prepared. */
  connect(): Promise<Store>
  /** Runs SQL as Perl's Qudo would, on a connection of its own; `?` stands for a value. */
  query(sql: string, ...values: unknown[]): Promise<Row[]>
  /** The same for SQL that writes. @returns how many rows it changed */
  run(sql: string, ...values: unknown[]): Promise<number>
  /** Now, by the database's clock. */
  now(): Promise<number>
  /** How Perl hands over the bytes of an argument: SQL around a `?`. */
  readonly perlBytes: string
  /** What job_status keeps of a job without an argument, where Qudo's schema has no NULL for it. Default null. */
  readonly noStatusArg?: Uint8Array
  /** The greatest time and priority that the columns hold. */
  readonly maxNumber: number
  /** Do they hold numbers below 0, too? */
  readonly isSigned: boolean
  /** A connection of an application's own to this database. For the parts of the suite that need one. */
  foreign?(): Promise<Foreign>
}

/** A connection of an application's own, as its package has it. */
export interface Foreign {
  /** What enqueueWithin takes. */
  readonly connection: unknown
  begin(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  /** `?` stands for a value. */
  run(sql: string, ...values: unknown[]): Promise<void>
  /** More than once is no error. */
  close(): Promise<void>
}

export type Row = Record<string, unknown>

export const HOUR = 3600

export const LEASE = 60

export const SPAN = {start: 1_700_000_000, end: 1_700_000_042}

/** NULs, 0xFF, what is no UTF-8, what looks like its start. */
export const BYTES = new Uint8Array([0, 1, 0xff, 0xfe, 0, 0xc3, 0x28, 0x80, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0])

export interface Bench {
  db: TestDatabase
  /** A prepared store. */
  store: Store
  /** One more, as another process would have it. */
  another(): Promise<Store>
  /** One more that is not prepared. */
  connect(): Promise<Store>
  /** Another database, with a store on it. */
  elsewhere(): Promise<{db: TestDatabase; store: Store}>
}

export type Tests = Record<string, (bench: Bench) => Promise<void>>

// ---- jobs, and how they end

export const NOW = {priority: 0, due: {in: 0}} as const

export function want(funcs: string | readonly string[], limit = 1): Want {
  return {funcs: typeof funcs === 'string' ? [funcs] : funcs, limit, lease: LEASE}
}

export async function take(
  store: Store,
  funcs: string | readonly string[],
  limit: number,
): Promise<JobRow[]> {
  return (await store.turn([], want(funcs, limit))).jobs
}

export async function takeOne(store: Store, funcs: readonly string[] = ['Work']): Promise<JobRow> {
  const [job] = await take(store, funcs, 1)
  assert.ok(job, `expected a job of ${funcs.join(', ')} to be ready`)
  return job
}

export async function settle(
  store: Store,
  lease: Lease,
  outcome: Outcome,
  span?: Settlement['span'],
  isCancelled?: boolean,
): Promise<SettleResult> {
  const {settled} = await store.turn([{lease: leaseOf(lease), outcome, span, isCancelled}], want([], 0))
  assert.equal(settled.length, 1)
  return settled[0]!
}

/** Works a job of its function to a bitter end. @returns all exceptions of that function */
export async function fail(store: Store, job: NewJob, message = 'boom'): Promise<ExceptionRow[]> {
  await store.enqueue(job)
  await settle(store, await takeOne(store, [job.func]), {kind: 'failed', message, retryIn: null})
  return store.exceptions({func: job.func, limit: 100, offset: 0})
}

/** One job for each end there is, with a status. */
export async function everyEnd(store: Store, func: string): Promise<void> {
  const ends: Outcome[] = [
    {kind: 'completed'},
    {kind: 'aborted', reason: 'x'},
    {kind: 'failed', message: 'x', retryIn: null},
  ]
  for (const outcome of ends) {
    await store.enqueue(newJob(func))
    await settle(store, await takeOne(store, [func]), outcome, SPAN)
  }
}

export async function enqueueAll(store: Store, jobs: readonly NewJob[]): Promise<{id: number}[]> {
  const enqueued = []
  for (const job of jobs) enqueued.push(await store.enqueue(job))
  return enqueued
}

export async function logs(store: Store) {
  const page = {limit: 100, offset: 0}
  return {exceptions: await store.exceptions(page), statuses: await store.statuses(page)}
}

/** A watch of this store rings for what is done. */
export async function rings(store: Store, act: () => Promise<unknown>): Promise<void> {
  let rung = 0
  const watch = store.watch(() => rung++)
  try {
    await act()
    await until('the watch rings', () => rung > 0)
  } finally {
    watch.close()
  }
}

// ---- another program

export interface PerlJob {
  func: string
  arg?: Uint8Array | null
  uniqkey?: string
  delay?: number
  priority?: number
  retryCnt?: number
}

export async function perlEnqueue(db: TestDatabase, job: PerlJob): Promise<number> {
  const {func, arg = null, uniqkey = null, delay = 0, priority = 0, retryCnt = 0} = job
  if ((await db.query('SELECT id FROM func WHERE name = ?', func)).length === 0)
    await db.run('INSERT INTO func (name) VALUES (?)', func)
  const [row] = await db.query('SELECT id FROM func WHERE name = ?', func)
  const now = await db.now()
  await db.run(
    `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
     VALUES (?, ${db.perlBytes}, ?, ?, 0, ?, ?, ?)`,
    ...[row!.id, arg, uniqkey, now, now + delay, retryCnt, priority],
  )
  const [last] = await db.query('SELECT max(id) AS id FROM job')
  return Number(last!.id)
}

/** Qudo's grab of a candidate that it read a moment ago; its layer touches the other times as well. */
export async function perlGrab(db: TestDatabase, id: number, old: number): Promise<boolean> {
  const now = await db.now()
  const sql = `UPDATE job SET grabbed_until = ?, enqueue_time = ?, run_after = ? WHERE id = ? AND grabbed_until = ?`
  return (await db.run(sql, now + HOUR, now, now, id, old)) === 1
}

export async function endLeases(db: TestDatabase): Promise<void> {
  await db.run('UPDATE job SET grabbed_until = ? WHERE grabbed_until > 0', (await db.now()) - 5)
}

export async function grabbedUntil(db: TestDatabase, id: number): Promise<number> {
  const [row] = await db.query('SELECT grabbed_until FROM job WHERE id = ?', id)
  return Number(row!.grabbed_until)
}

export async function countOf(db: TestDatabase, table: string): Promise<number> {
  const [row] = await db.query(`SELECT count(*) AS n FROM ${table}`)
  return Number(row!.n)
}

/** All rows of Qudo's tables. */
export async function snapshot(db: TestDatabase): Promise<Row[][]> {
  const tables = []
  for (const table of ['func', 'job', 'exception_log', 'job_status'])
    tables.push(await db.query(`SELECT * FROM ${table} ORDER BY id`))
  return tables
}

// ---- assertions

export function assertBetween(low: number, value: number, high: number): void {
  assert.ok(low <= value && value <= high, `expected ${low} <= ${value} <= ${high}`)
}

export function assertBytes(got: Uint8Array | null, wanted: Uint8Array, what = 'bytes'): void {
  assert.ok(got, `${what}: got nothing`)
  assert.ok(
    Buffer.from(got).equals(Buffer.from(wanted)),
    `${what}: ${Buffer.from(got).toString('hex').slice(0, 99)}`,
  )
}

export function assertArg(got: Uint8Array | null, wanted: StoredArg, what: string): void {
  if (wanted === null) assert.equal(got, null, what)
  else assertBytes(got, typeof wanted === 'string' ? Buffer.from(wanted) : wanted, what)
}

export function leaseOf({id, grabbedUntil}: Lease): Lease {
  return {id, grabbedUntil}
}

export function ids(rows: readonly {id: number}[]): number[] {
  return rows.map(({id}) => id)
}

export function text(arg: Uint8Array | null): string | null {
  return arg && Buffer.from(arg).toString('utf8')
}
