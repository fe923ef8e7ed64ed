/** Jobs that wait for others on SQLite: what it costs however many there are, in statements and in how each is looked up. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import {SqliteStore} from '../../src/lib/store/sqlite/store.ts'
import {newJob} from '../support/store.ts'

const MANY = 10_000
const FAILED = {kind: 'failed', message: 'boom', retryIn: null} as const
const COMPLETED = {kind: 'completed'} as const

test('a chain of ten thousand, a fan of ten thousand into one: as many statements a job as with ten, none reads a table', async t => {
  const texts = new Set<string>()
  let statements = 0
  const count = () => {
    statements++
  }
  const db = new Sqlite(':memory:', {verbose: count})
  const prepare = db.prepare.bind(db)
  db.prepare = ((sql: string) => {
    texts.add(sql)
    return prepare(sql)
  }) as typeof db.prepare
  const store = new SqliteStore(db, 'jobs')
  t.after(() => store.close())
  await store.init()

  const costOf = async (work: () => Promise<unknown>) => {
    const before = statements
    await work()
    return statements - before
  }
  const takeOne = async (func: string) => {
    const {jobs} = await store.turn([], {funcs: [func], limit: 1, lease: 60})
    return jobs[0]!
  }
  const end = async (func: string, outcome: typeof FAILED | typeof COMPLETED) => {
    const lease = await takeOne(func)
    return store.turn([{lease, outcome}], {funcs: [], limit: 0, lease: 60})
  }
  const failAll = async () => {
    let jobs = 0
    for (let isMore = true; isMore; ) {
      const portion = await store.failAfter()
      assert.ok(portion.failed.length <= 100)
      jobs += portion.failed.length
      isMore = portion.isMore
    }
    return jobs
  }

  /** Statements for each job that fails down a chain. */
  async function chain(length: number): Promise<number> {
    const jobs = Array.from({length}, (_, i) =>
      newJob(i === 0 ? 'First' : 'Next', waitFor(i === 0 ? [] : [i])),
    )
    await store.enqueueMany(jobs)
    await end('First', FAILED)
    return (await costOf(async () => assert.equal(await failAll(), length - 1))) / (length - 1)
  }
  /** Statements for one of those that one waits for. */
  async function fan(width: number): Promise<number> {
    const jobs = Array.from({length: width}, () => newJob('Part'))
    const all = Array.from({length: width}, (_, i) => i + 1)
    await store.enqueueMany([...jobs, newJob('Last', waitFor(all))])
    const cost = await costOf(() => end('Part', COMPLETED))
    await store.cancel((await store.list({func: 'Part', limit: width, offset: 0})).map(({id}) => ({id})))
    assert.equal(await failAll(), 1)
    return cost
  }

  for (const work of [chain, fan]) {
    const few = await work(10)
    const many = await work(MANY)
    assert.ok(many <= few * 1.5, `${work.name}: ${few} statements a job among 10, ${many} among ${MANY}`)
  }
  await store.lookAfter(0)

  const plans = [...texts]
    .filter(sql => /\bjobq_after\b/.test(sql) && /^\s*(SELECT|UPDATE|DELETE)/.test(sql))
    .map(sql => {
      const params = Array.from({length: (sql.match(/\?/g) ?? []).length}, () => 1)
      const plan = prepare(`EXPLAIN QUERY PLAN ${sql}`)
      const steps = (sql.includes('$id') ? plan.all({id: 1}) : plan.all(...params)) as {detail: string}[]
      return {sql, scans: steps.map(({detail}) => detail).filter(detail => /^SCAN (?!CONSTANT)/.test(detail))}
    })
  assert.ok(plans.length >= 8, String(plans.length))
  // Is there any: one row is read
  const scanning = plans.filter(
    ({sql, scans}) => scans.length > 0 && !/EXISTS \(SELECT 1 FROM jobq_after\)/.test(sql),
  )
  assert.deepEqual(
    scanning.filter(({scans}) => scans.some(scan => !/json_each|^SCAN value/.test(scan))),
    [],
  )
})

function waitFor(places: readonly number[]): Pick<NewJob, 'after'> {
  return places.length === 0 ? {} : {after: places.map(nth => ({nth}))}
}
