/** `retention` in the configuration: `jobq work` deletes old attempts by itself, on each kind of database. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {databaseKinds, type Prepared} from '../support/kinds.ts'
import {Site} from '../support/manager.ts'
import {until} from '../support/until.ts'

const kinds = await databaseKinds()
const DAY = 86_400
const FAIL = '#!/bin/sh\n# jobq: set-job-status\nexit 3'

for (const {name, skip, create} of kinds)
  describe(name, {concurrency: 4, skip}, () => {
    /** A queue of three failed attempts, with a status each, of which two are ten days old. */
    async function site(t: TestContext, retention: object): Promise<{site: Site; database: Prepared}> {
      const database = await create(t)
      const site = new Site(t, {'workers/Fail': FAIL, 'jobq.config.json': config(retention)})
      site.db = site.env.JOBQ_DB = database.db
      await site.enqueue('Fail', 3)
      assert.equal(await site.work('--drain', '--config', '/dev/null').exit(), 5)
      await age(database, 'exception_log', 'id < 3')
      await age(database, 'job_status', 'id < 3')
      return {site, database}
    }

    test('what is older than that is deleted, and told; what is not named stays', async t => {
      const {site: place, database} = await site(t, {failed: '7d'})
      const manager = place.work()
      await manager.logs(/jobq: deleted 2 failed and 0 finished attempts that were old\n/)
      assert.deepEqual(await counts(database), {exception_log: 1, job_status: 3})
      assert.equal(await manager.end(), 0)
      assert.doesNotMatch(manager.log, /not deleted/)
    })

    test('a changed one is obeyed at HUP; --json', async t => {
      const {site: place, database} = await site(t, {failed: '90d'})
      const manager = place.work('--json', '--debug')
      await until('it works', () => /works|nothing ready/.test(manager.log + manager.out))
      place.write('jobq.config.json', config({failed: '90d', finished: 7 * DAY}))
      manager.signal('SIGHUP')
      await until('it is told', () => manager.out.includes('"event":"pruned"'))
      assert.match(manager.out, /"event":"pruned","failed":0,"finished":2}\n/)
      assert.deepEqual(await counts(database), {exception_log: 3, job_status: 1})
      assert.equal(await manager.end(), 0)
    })

    test('several on one store: each row counts once', async t => {
      const {site: place, database} = await site(t, {failed: '7d', finished: '7d'})
      await many(database, 1000)
      const managers = [place.work(), place.work(), place.work()]
      await until('it has begun', async () => (await counts(database)).exception_log < 1003)
      await until('all is deleted', async () => (await counts(database)).exception_log === 1)
      await until('the statuses, too', async () => (await counts(database)).job_status === 1)
      for (const manager of managers) assert.equal(await manager.end(), 0)
      const told = managers.flatMap(({log}) => [...log.matchAll(/deleted (\d+) failed and (\d+) finished/g)])
      const sum = (place: 1 | 2) => told.reduce((total, match) => total + Number(match[place]), 0)
      assert.deepEqual([sum(1), sum(2)], [1002, 2])
      for (const {log} of managers) assert.doesNotMatch(log, /not deleted/)
    })

    test('TERM ends it while it deletes, and no earlier than jobs', async t => {
      const {site: place, database} = await site(t, {failed: '7d'})
      await many(database, 30_000)
      const manager = place.work()
      await until('it has begun', async () => (await counts(database)).exception_log < 30_000)
      await place.enqueue('Fail', 1)
      await manager.logs(/Fail failed/)
      assert.equal(await manager.end(), 0)
      const {exception_log: left} = await counts(database)
      assert.ok(left > 1000, `${left} are left`)
      assert.match(manager.log, new RegExp(`deleted ${30_000 + 4 - left} failed and 0 finished`))
    })

    test('by --drain and --once nothing is deleted', async t => {
      const {site: place, database} = await site(t, {failed: '7d', finished: '7d'})
      await place.work('--drain', '--max-time', '20s').exit()
      await place.work('--once').exit()
      assert.deepEqual(await counts(database), {exception_log: 3, job_status: 3})
    })

    test('what keeps it from that is told, and jobs are worked', async t => {
      const {site: place, database} = await site(t, {failed: '7d'})
      await database.query('DROP TABLE jobq_output')
      const manager = place.work('--exec', 'Other=true')
      await manager.logs(/jobq: old attempts are not deleted: .*jobq_output.*; again in an hour/)
      await place.enqueue('Other', 1)
      await manager.logs(/Other completed/)
      assert.equal(await manager.end(), 0)
      assert.equal(manager.log.match(/not deleted/g)?.length, 1)
    })

    async function age({query}: Prepared, table: 'exception_log' | 'job_status', where: string) {
      const [column] = table === 'exception_log' ? ['exception_time'] : ['job_end_time']
      await query(`UPDATE ${table} SET ${column} = ${column} - ${10 * DAY} WHERE ${where}`)
    }

    /** So many more failed attempts, ten days old. */
    async function many({query}: Prepared, count: number): Promise<void> {
      const rows = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n`
      const columns = 'func_id, message, arg, uniqkey, exception_time, retried'
      for (let i = 0; i < count / 1000; i++)
        await query(
          `INSERT INTO exception_log (${columns})
           SELECT e.func_id, e.message, e.arg, e.uniqkey, e.exception_time, 0
           FROM (SELECT * FROM exception_log WHERE id = 1) e, (${rows}) r`,
        )
    }

    async function counts({query}: Prepared): Promise<{exception_log: number; job_status: number}> {
      const count = async (table: string) => Number((await query(`SELECT COUNT(*) AS n FROM ${table}`))[0]!.n)
      return {exception_log: await count('exception_log'), job_status: await count('job_status')}
    }
  })

function config(retention: object): string {
  return JSON.stringify({retention})
}
