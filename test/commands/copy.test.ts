/** `jobq copy`, as a process: a queue moves with its bytes, priorities, keys, times and order. */
import assert from 'node:assert/strict'
import {copyFileSync} from 'node:fs'
import {join} from 'node:path'
import {test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Database from 'better-sqlite3'
import {jobqIn} from '../support/jobq.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/qudo-0.0214-written.sqlite', import.meta.url))
const ROWS = `SELECT func.name AS func, hex(CAST(arg AS BLOB)) AS arg, arg IS NULL AS none, uniqkey, priority, run_after
  FROM job JOIN func ON func.id = func_id WHERE grabbed_until = 0`

test('what Qudo wrote moves undamaged, in the order of work', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  copyFileSync(FIXTURE, from)
  const {code, stdout, stderr} = await jobq(['copy', '--db', from, '--to', to])
  assert.deepEqual({code, stdout, stderr}, {code: 0, stdout: '9\n', stderr: ''})
  const rows = (db: string, order: string) => {
    const store = new Database(db, {readonly: true})
    const all = store.prepare(`${ROWS} ORDER BY ${order}`).all()
    store.close()
    return all
  }
  const sorted = 'run_after > unixepoch(), priority DESC, run_after, job.id'
  assert.deepEqual(rows(to, 'job.id'), rows(from, sorted))
  assert.deepEqual(rows(to, sorted), rows(to, 'job.id'))
})

test('a uniqkey that is waiting there refuses all; one function may be chosen; running jobs stay', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  for (const words of [['A'], ['B', '--uniqkey', 'k'], ['C']]) await jobq(['enqueue', ...words, '--db', from])
  await jobq(['enqueue', 'B', '--uniqkey', 'k', '--db', to])
  const refused = await jobq(['copy', '--db', from, '--to', to])
  assert.equal(refused.code, 3)
  assert.match((await jobq(['stats', '--db', to])).stdout, /^total\t1\t/m)
  const store = new Database(from)
  store.exec(
    "UPDATE job SET grabbed_until = unixepoch() + 3600 WHERE func_id = (SELECT id FROM func WHERE name = 'C')",
  )
  store.close()
  assert.equal((await jobq(['copy', '--db', from, '--to', to, '--func', 'A'])).stdout, '1\n')
  const running = await jobq(['copy', '--db', from, '--to', to, '--func', 'C', '--json'])
  assert.deepEqual(JSON.parse(running.stdout), {copied: 0, running: 1})
  assert.match(running.stderr, /1 jobs are running/)
})

test('a priority below 0, as Qudo takes it, is listed and copied; a time that is none is refused with its job', async t => {
  const jobq = jobqIn(t)
  const [from, to] = [join(jobq.folder, 'from.db'), join(jobq.folder, 'to.db')]
  for (const func of ['A', 'B']) await jobq(['enqueue', func, '--db', from])
  const store = new Database(from)
  store.exec('UPDATE job SET priority = -5 WHERE id = 1')
  assert.deepEqual((await jobq(['list', '--db', from])).stdout.match(/^\d\t\w\tready\t\S+/gm), [
    '2\tB\tready\t0',
    '1\tA\tready\t-5',
  ])
  assert.equal((await jobq(['copy', '--db', from, '--to', to])).code, 0)
  assert.match((await jobq(['list', '--db', to])).stdout, /^2\tA\tready\t-5\t/m)

  store.exec(`UPDATE job SET run_after = 'later', priority = 'high' WHERE id = 1`)
  store.close()
  assert.match((await jobq(['list', '--db', from])).stdout, /^1\tA\tdelayed\t\\N\t\\N\t0\t/m)
  assert.match(
    (await jobq(['list', '--json', '--db', from])).stdout,
    /"id":1,.*"run_after":null,.*"priority":null/,
  )
  const refused = await jobq(['copy', '--db', from, '--to', to])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /^jobq: job 1: expected numbers as its priority and run_after/)
  assert.match((await jobq(['stats', '--db', to])).stdout, /^total\t2\t/m)
})

test('the same queue, a missing --to', async t => {
  const jobq = jobqIn(t)
  await jobq(['enqueue', 'A', '--db', 'a.db'])
  assert.equal((await jobq(['copy', '--db', 'a.db', '--to', './a.db'])).code, 2)
  assert.equal((await jobq(['copy', '--db', 'a.db'])).code, 2)
})
