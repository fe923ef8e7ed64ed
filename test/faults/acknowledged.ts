/** What jobq has said to its users until the power failed, and whether what is left of its database agrees. */
import assert from 'node:assert/strict'
import {existsSync, mkdirSync} from 'node:fs'
import {dirname} from 'node:path'
import Sqlite, {type Database} from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import type {Said} from './recording.ts'

/** What is in a database, in words of its own. */
interface Left {
  jobs: Map<number, string>
  /** The arguments of attempts that failed. */
  failed: Set<string>
  /** Jobs of WITH_ALL that have only some of what they came with. */
  torn: number[]
}

/** Its jobs come with a tag, a time by which they expire and a key that stays taken, and stay in the queue. */
const WITH_ALL = 'WithAll'

export class Acknowledged {
  /** Jobs by their ids; an argument where it was said. */
  readonly #jobs = new Map<number, {func: string; arg?: string | undefined}>()
  readonly #run = new Set<number>()
  /** How those have ended that must not run again. */
  readonly #ended = new Map<number, string>()
  /** Functions whose jobs come in one call: how many they are, and whether that was said. */
  readonly #calls: Map<string, {count: number; isSaid: boolean}>

  /** @param calls how many jobs of a function come in one call */
  constructor(calls: Record<string, number> = {}) {
    this.#calls = new Map(Object.entries(calls).map(([func, count]) => [func, {count, isSaid: false}]))
  }

  /** How much was said. */
  get counts(): string {
    return `ids=${this.#jobs.size} runs=${this.#run.size} ends=${this.#ended.size}`
  }

  /** @param said by an `enqueue FUNC`, a `call FUNC`, a `work`, a `durable work`; or, as `ID FUNC ARG`, by a `program` */
  hear({who, fd, text}: Said): void {
    const [role, of = ''] = who.split(' ')
    for (const line of text.split('\n').filter(line => line !== '')) {
      const words = line.split(' ')
      const [first = '', second = '', third] = words
      if (fd === 1 && first === 'run') this.#run.add(Number(second))
      else if (fd === 1 && role === 'enqueue') this.#jobs.set(Number(first), {func: of})
      else if (fd === 1 && role === 'program' && third !== undefined)
        this.#jobs.set(Number(first), {func: second, arg: third})
      else if (fd === 1 && role === 'call') this.#hearCall(of, Number(first))
      else if (fd === 2 && role === 'durable') {
        const [, id, , how] = /^\S+ (\d+) (\S+) (completed|failed)\b/.exec(line) ?? []
        if (id) this.#ended.set(Number(id), how!)
      }
    }
  }

  #hearCall(func: string, count: number): void {
    assert.equal(count, this.#calls.get(func)!.count)
    this.#calls.get(func)!.isSaid = true
  }

  /** @param path of a database that was never opened since the power failed */
  async check(path: string, isJobqFirst: boolean): Promise<void> {
    if (!existsSync(path)) assert.equal(this.#jobs.size, 0, 'the file is lost')
    mkdirSync(dirname(path), {recursive: true}) // as jobq does at its own place
    if (isJobqFirst) await this.#goOn(path)
    const left = this.#lookInto(path)
    assert.deepEqual(left.torn, [], 'jobs with only some of what they came with')
    const isThere = (id: number) => left.jobs.has(id) || this.#run.has(id)
    for (const [id, {func, arg}] of this.#jobs) {
      assert.ok(isThere(id), `job ${id} of ${func} is lost`)
      if (left.jobs.has(id)) assert.equal(left.jobs.get(id), func)
      else if (func === 'Fails')
        assert.ok(left.failed.has(arg!), `nothing is left of job ${id}, which has failed`)
    }
    for (const [id, how] of this.#ended)
      assert.ok(!left.jobs.has(id), `job ${id} has ${how}, and is there again`)
    for (const [func, {count, isSaid}] of this.#calls) {
      const inside = [...left.jobs.values()].filter(name => name === func).length
      assert.ok(
        inside === count || (inside === 0 && !isSaid),
        `${inside} jobs of ${count} are there of ${func}`,
      )
    }
    if (!isJobqFirst) await this.#goOn(path)
  }

  /** jobq itself opens it and goes on: no id is given a second time. */
  async #goOn(path: string): Promise<void> {
    await using queue = await JobQueue.open({db: path, durable: false})
    await queue.counts()
    const {id} = await queue.enqueue('Next')
    assert.ok(id > Math.max(0, ...this.#jobs.keys()), `id ${id} is given again`)
  }

  #lookInto(path: string): Left {
    const db = new Sqlite(path)
    try {
      assert.equal(db.pragma('integrity_check', {simple: true}), 'ok')
      return left(db)
    } finally {
      db.close()
    }
  }
}

function left(db: Database): Left {
  const isMade = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'job'`).get()
  if (!isMade) return {jobs: new Map(), failed: new Set(), torn: []}
  const jobs = db.prepare('SELECT job.id, name FROM job JOIN func ON func.id = func_id').raw().all()
  const failed = db.prepare('SELECT CAST(arg AS TEXT) FROM exception_log').pluck().all()
  const beside = ['tag', 'expiry', 'key'].map(name => `SELECT job_id FROM jobq_${name}`)
  const torn = db
    .prepare(
      `WITH beside (job_id) AS (${beside.join(' UNION ALL ')})
       SELECT coalesce(job.id, job_id) FROM (SELECT job_id, count(*) AS n FROM beside GROUP BY job_id)
         FULL JOIN (SELECT job.id FROM job JOIN func ON func.id = func_id WHERE name = '${WITH_ALL}') job ON job.id = job_id
       WHERE n IS NOT 3 OR job.id IS NULL`,
    )
    .pluck()
    .all()
  return {
    jobs: new Map(jobs as [number, string][]),
    failed: new Set(failed as string[]),
    torn: torn as number[],
  }
}
