/**
 * A PostgreSQL primary with a synchronous standby as the engine: three `jobq work` and two that enqueue go on with the standby
 * when the primary is killed and that is promoted; and stay with it when the old primary comes back as a second one that
 * takes writes. What was acknowledged is kept outside (test/support/cluster-load.ts).
 */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {ClusterLoad} from '../support/cluster-load.ts'
import {jobqIn} from '../support/jobq.ts'
import {type PostgresNode, postgresMissing, StandbyPair} from '../support/standby.ts'

const missing = postgresMissing()

test('a primary is killed, its standby promoted, and the old one comes back beside it', {
  skip: missing ?? false,
}, async t => {
  const pair = await StandbyPair.start()
  t.after(() => pair.stop())
  const {primary, standby} = pair
  const hosts = [primary, standby].map(({port}) => `127.0.0.1:${port}`)
  const url = `postgres://postgres@${hosts}/postgres?answer-timeout=5&connect-timeout=3`
  const jobs = new ClusterLoad(t)
  await jobs.init(url)
  await jobs.start({workers: [url, url, url], enqueuers: [url, url]})
  t.diagnostic(`at first: the longest wait ${jobs.stall()}`)
  await primary.kill()
  await standby.promote()
  await jobs.goesOn('with the standby')
  t.diagnostic(`the primary killed, the standby promoted: ${jobs.stall()}`)

  await primary.start()
  await primary.standAlone()
  const left = await written(primary)
  await jobs.goesOn('beside the old primary')
  // Whoever begins now finds both, the old one first
  const enqueued = await jobqIn(t)(['enqueue', 'Late', '--db', url])
  assert.equal(enqueued.code, 0, enqueued.stderr)
  const [late] = await standby.query(
    `SELECT job.id FROM job JOIN func ON func.id = func_id WHERE name = 'Late'`,
  )
  assert.equal(String(late?.id), enqueued.stdout.trim())
  assert.deepEqual(await written(primary), left)
  t.diagnostic(`the old one is back: ${jobs.stall()}`)
  t.diagnostic(await jobs.drain())
  assert.deepEqual(await written(primary), left)
})

/** What would be other if anyone had written there. */
async function written(node: PostgresNode): Promise<Record<string, unknown>[]> {
  return node.query(`SELECT (SELECT array_agg((id, grabbed_until) ORDER BY id)::TEXT FROM job) AS jobs,
    (SELECT last_value FROM job_id_seq) AS ids, (SELECT count(*) FROM jobq_token) AS tokens`)
}
