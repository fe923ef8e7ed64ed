/** A server that does it and is gone before its answer comes: a command does not tell of it as if it were not done. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {after, describe, type TestContext, test} from 'node:test'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import {jobqIn} from '../support/jobq.ts'
import {preparedMysql} from '../support/prepared.ts'
import {mysqlServer} from '../support/servers.ts'

const server = await mysqlServer()

describe('the server is gone', {skip: 'missing' in server}, () => {
  if ('missing' in server) return
  const {url} = server
  after(() => server.stop())

  async function place(t: TestContext) {
    const db = await preparedMysql(t, url)
    const {hostname, port} = new URL(db.url)
    const proxy = await CuttingProxy.to(hostname, Number(port))
    t.after(() => proxy.close())
    proxy.closesAtCut = true
    const far = Object.assign(new URL(db.url), {port: String(proxy.port)}).href
    const count = async () => Number((await db.query('SELECT count(*) AS n FROM job'))[0]!.n)
    return {db, proxy, far, count, jobq: jobqIn(t)}
  }

  test('behind the commit of a batch: it is told as stored', async t => {
    const {proxy, far, count, jobq} = await place(t)
    proxy.cutAfter = 'SELECT batch_id FROM jobq_batch WHERE mark'
    const words = ['enqueue', '--batch', '-', '--then', 'Report', '--db', far]
    const {code, stdout, stderr} = await jobq(words, {stdin: '{"func":"A"}\n{"func":"A"}\n'})
    assert.deepEqual([code, stdout, await count()], [1, '', 3])
    assert.match(
      stderr,
      /: the batch is stored, 2 jobs and Report behind them, .* \(do not enqueue it again: /,
    )
  })

  test('behind what --replace has done: the job may have been replaced', async t => {
    const {db, proxy, far, count, jobq} = await place(t)
    const words = ['enqueue', 'A', '--uniqkey', 'k', '--replace']
    const id = (await jobq([...words, '--db', db.url])).stdout.trim()
    proxy.cutAfter = 'DELETE FROM jobq_expiry WHERE job_id'
    const {code, stdout} = await jobq([...words, '--arg', '2', '--db', far, '--json'])
    const {error} = JSON.parse(stdout) as {error: Record<string, string>}
    assert.deepEqual([code, error.code, await count()], [1, 'UNCERTAIN', 1])
    assert.match(error.message!, new RegExp(`: job ${id} may have been replaced$`))
    assert.deepEqual(await db.query('SELECT CAST(arg AS CHAR) AS arg FROM job'), [{arg: '2'}])
  })

  test('where copy asks for what it passes over: nothing is copied, and the same again has nothing twice', async t => {
    const {db, proxy, far, jobq} = await place(t)
    const to = join(jobq.folder, 'to.db')
    await jobq(['enqueue', 'A', '--db', db.url])
    proxy.cutAfter = 'CAST(MAX(id)'
    assert.equal((await jobq(['copy', '--db', far, '--to', to])).code, 1)
    assert.equal(proxy.cuts, 1)
    assert.equal((await jobq(['copy', '--db', db.url, '--to', to])).stdout, '1\n')
    assert.match((await jobq(['stats', '--db', to])).stdout, /^total\t1\t/m)
  })
})
