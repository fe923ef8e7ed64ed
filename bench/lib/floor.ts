/**
 * The floor: better-sqlite3 itself on jobq's own table and index, with the durability of what it is compared with. No
 * queue at all, but the same rows at the end: what one commit a job costs.
 */
import Sqlite, {type Database, type Statement} from 'better-sqlite3'
import type {Jobq} from './jobq.ts'

export const FUNC = 'Bench'
export const ARG = {user: 42, file: 'photo.jpg'}

export type Durability = 'FULL' | 'NORMAL'

/** Makes jobq's schema, and the row of FUNC. @returns the path of the file */
export async function makeDatabase(jobq: Jobq, folder: string, name = 'jobs.db'): Promise<string> {
  const path = `${folder}/${name}`
  const queue = await jobq.queue.JobQueue.open({db: path, durable: false})
  await queue.enqueue(FUNC, {arg: ARG})
  await queue.close()
  const db = new Sqlite(path)
  db.exec('DELETE FROM job')
  db.close()
  return path
}

export class Floor {
  readonly db: Database
  readonly #insert: Statement
  readonly #take: Statement
  readonly #delete: Statement
  readonly #begin: Statement
  readonly #commit: Statement

  constructor(path: string, synchronous: Durability) {
    this.db = new Sqlite(path, {timeout: 10_000})
    this.db.pragma(`synchronous = ${synchronous}`)
    this.#insert = this.db.prepare(INSERT)
    this.#take = this.db.prepare(TAKE)
    this.#delete = this.db.prepare('DELETE FROM job WHERE id = ? AND grabbed_until = ?')
    this.#begin = this.db.prepare('BEGIN IMMEDIATE')
    this.#commit = this.db.prepare('COMMIT')
  }

  /** One by one: a commit each. */
  enqueue(count: number): void {
    for (let i = 0; i < count; i++) this.#insertOne(JSON.stringify(ARG))
  }

  /** All in one transaction. */
  enqueueMany(args: Iterable<string>): void {
    this.#begin.run()
    for (const arg of args) this.#insertOne(arg)
    this.#commit.run()
  }

  /** Grabs the first job, then deletes it and grabs the next in one commit, and so on until none is left. */
  work(): number {
    let done = 0
    let job = this.turn(undefined)
    for (; job; job = this.turn(job)) done++
    return done
  }

  /** Deletes the job that is done, if there is one, and grabs the next, in one commit. */
  turn(done: Taken | undefined): Taken | undefined {
    const now = Math.floor(Date.now() / 1000)
    this.#begin.run()
    if (done) this.#delete.run(done.id, done.grabbed_until)
    const job = this.#take.get(now + 60, now) as Taken | undefined
    this.#commit.run()
    return job
  }

  close(): void {
    this.db.close()
  }

  #insertOne(arg: string): void {
    const now = Math.floor(Date.now() / 1000)
    this.#insert.run(arg, null, now, now, 0)
  }
}

export interface Taken {
  id: number
  grabbed_until: number
}

const INSERT = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
  VALUES (1, ?, ?, ?, 0, ?, 0, ?)`

/** Strict priority in one statement, by two seeks; right as long as nothing is delayed. */
const TAKE = `UPDATE job SET grabbed_until = ? WHERE id = (
    SELECT id FROM job INDEXED BY jobq_lane
    WHERE func_id = 1 AND grabbed_until = 0 AND priority = (
      SELECT priority FROM job INDEXED BY jobq_lane WHERE func_id = 1 AND grabbed_until = 0
      ORDER BY priority DESC LIMIT 1) AND run_after <= ?
    ORDER BY run_after, id LIMIT 1)
  RETURNING id, func_id, CAST(arg AS BLOB) AS arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority`

export interface Filling {
  count: number
  funcId?: number
  /** SQL: a number, or an expression over i, the row's number from 1. */
  priority?: string
  grabbedUntil?: string
  /** SQL of seconds from now. */
  dueIn?: string
}

/** Many rows, quickly: made inside SQLite, with the indexes in place. */
export function fill(
  path: string,
  {count, funcId = 1, priority = '0', grabbedUntil = '0', dueIn = '0'}: Filling,
): void {
  if (count <= 0) return
  const db = new Sqlite(path, {timeout: 10_000})
  db.pragma('synchronous = OFF')
  db.pragma('cache_size = -200000')
  db.exec(`INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
    WITH RECURSIVE row(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM row WHERE i < ${count})
    SELECT ${funcId}, '${JSON.stringify(ARG)}', NULL, unixepoch(), ${grabbedUntil}, unixepoch() + ${dueIn}, 0, ${priority}
    FROM row`)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
}

export function addFunc(path: string, name: string): number {
  const db = new Sqlite(path)
  const id = Number(db.prepare('INSERT INTO func (name) VALUES (?)').run(name).lastInsertRowid)
  db.close()
  return id
}
