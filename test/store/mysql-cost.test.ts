/** What a turn reads on MySQL, counted by the server, with a hundred thousand rows that are not its own or not due. */
import assert from 'node:assert/strict'
import {after, describe, test} from 'node:test'
import {answerOf, callOf, isAnswered} from '../../src/lib/store/mysql/call.ts'
import {mysqlHosts} from '../../src/lib/store/mysql/connections/address.ts'
import type {MysqlConnection} from '../../src/lib/store/mysql/connections/connection.ts'
import {MysqlConnections} from '../../src/lib/store/mysql/connections/connections.ts'
import {Funcs} from '../../src/lib/store/mysql/funcs.ts'
import {share, sharedKeys} from '../../src/lib/store/mysql/shares/share.ts'
import {peek} from '../../src/lib/store/mysql/turn.ts'
import {timeoutsOf} from '../../src/lib/store/shared/silence.ts'
import {MysqlDatabase, rowsOf} from '../support/mysql.ts'
import {mysqlServer} from '../support/servers.ts'
import {newJob} from '../support/store.ts'

const MANY = 100_000
/** More than a look and a take ever read of one function with two lanes, less than a hundredth of a lane. */
const HANDFUL = 40
const WANT = {funcs: ['Work'], limit: 1, lease: 60}

const server = await mysqlServer()

if ('missing' in server) test('what a turn costs on MySQL', {skip: server.missing})
else {
  after(() => server.stop())

  describe('what a turn costs on MySQL', () => {
    test('a handful of reads, whatever waits, is delayed, is leased or is not its own', async t => {
      const db = await MysqlDatabase.create(server.url)
      t.after(() => db.drop())
      const links = new MysqlConnections(mysqlHosts(db.url, db.name), db.name, 1, 1000, timeoutsOf(db.url))
      t.after(() => links.close())
      const store = db.store()
      t.after(() => store.close())
      await store.init()
      await store.enqueueMany([newJob('Other'), newJob('Work', {due: {in: 9999}, priority: 9})])
      await store.enqueueMany(Array.from({length: 100}, (_, i) => newJob('Work', {priority: i % 2})))
      const few = await links.withConnection(link => readsOfTurn(link))
      assert.ok(few < HANDFUL, `${few} reads at 100 jobs`)
      const now = await db.now()
      const fills = {
        foreign: `(SELECT id FROM func WHERE name = 'Other'), 0, ${now - 10}, 50`,
        'delayed on top': `(SELECT id FROM func WHERE name = 'Work'), 0, ${now + 9999}, 9`,
        leased: `(SELECT id FROM func WHERE name = 'Work'), ${now + 9999}, ${now - 10}, 1`,
        waiting: `(SELECT id FROM func WHERE name = 'Work'), 0, ${now - 10}, 1`,
      }
      for (const [what, values] of Object.entries(fills)) {
        const rows = what === 'leased' ? MANY / 10 : MANY
        await db.run(
          `INSERT INTO job (func_id, grabbed_until, run_after, priority) SELECT ${values} FROM ${rowsOf(rows)}`,
        )
        const reads = await links.withConnection(link => readsOfTurn(link))
        assert.ok(reads < HANDFUL, `${reads} reads at ${rows} ${what}, ${few} without`)
      }
      await db.run(
        `INSERT INTO jobq_share (job_id, func_id, share_key, is_parked, waits_for, level, run_after)
         SELECT id, func_id, 'flood', 1, 'place', -priority, run_after FROM job WHERE func_id = (SELECT id FROM func WHERE name = 'Work')`,
      )
      const perKey = {maxRunning: 1, rate: {most: 5, seconds: 9}}
      const limits = {rate: null, perKey, shareBy: null, serializer: 'json'} as const
      const asked = {func: 'Work', limits, jobs: [], keys: ['flood', 'other']}
      const shared = await links.withConnection(link => counted(link, () => share(link, asked)))
      assert.ok(shared < HANDFUL, `${shared} reads with ${MANY} parked`)
      const seen = await links.withConnection(link =>
        counted(link, () => sharedKeys(link, 'Work', perKey, '')),
      )
      assert.ok(seen < HANDFUL, `${seen} reads of a look with ${MANY} parked`)
      // Qudo's own query walks through them all: so the count is known to tell
      const qudo = `SELECT id FROM job FORCE INDEX (priority) WHERE grabbed_until <= ${now} AND run_after <= ${now}
        AND func_id = (SELECT id FROM func WHERE name = 'Work') ORDER BY priority DESC LIMIT 30`
      const slow = await links.withConnection(link => counted(link, () => link.run(qudo)))
      assert.ok(slow > MANY, `${slow} reads`)
    })
  })
}

/** A peek, and a take that gets a job; or three, which may read half as much again. */
async function readsOfTurn(link: MysqlConnection): Promise<number> {
  return Math.max(await readsOf(link, 1), (await readsOf(link, 3)) / 1.5)
}

async function readsOf(link: MysqlConnection, limit: number): Promise<number> {
  const funcs = new Funcs()
  await peek(link, funcs, WANT) // what it has not seen yet costs a little more
  return counted(link, async () => {
    assert.ok((await peek(link, funcs, WANT)).head)
    await link.run('START TRANSACTION')
    const call = callOf(funcs, {want: {...WANT, limit}, latest: null})
    const {replies, committed} = await link.batchThenCommit([call], isAnswered)
    await committed
    assert.equal(answerOf(funcs, {}, replies[0]!).jobs.length, limit)
    await link.run('ROLLBACK')
  })
}

/** Rows and index entries that this connection's statements read. */
async function counted(link: MysqlConnection, work: () => Promise<unknown>): Promise<number> {
  const before = await handlerReads(link)
  await work()
  const own = (await handlerReads(link)) - (await handlerReads(link)) // reading the counters counts as well
  return (await handlerReads(link)) - before + 3 * own
}

async function handlerReads(link: MysqlConnection): Promise<number> {
  const {rows} = await link.run(`SHOW SESSION STATUS LIKE 'Handler_read%'`)
  return rows.reduce((sum, row) => sum + Number(row.Value), 0)
}
