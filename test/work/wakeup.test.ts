/** A job starts because it was enqueued, not because someone looked: every wait here would be an hour without that. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const WORKER = `import {existsSync} from 'node:fs'
import {note} from './_note.mjs'
export default {async work(job) {
  note({id: job.id, arg: job.arg, second: Date.now() / 1000})
  while (job.arg?.waits && !existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
}}
`
const INSERT = `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
  VALUES ((SELECT id FROM func WHERE name = 'Job'), '{"by":"shell"}', NULL, unixepoch(), 0, unixepoch(), 0, 0)`

interface Note {
  id: number
  arg: unknown
  second: number
}

/** A worker that waits, and would not look by itself for an hour. */
async function idleWorker(site: Workplace) {
  const work = site.work('--work-delay', '3600', '--debug')
  await work.prints(/nothing ready, looking again in 3600000 ms/)
  return work
}

const worked = (site: Workplace, count: number) =>
  until(`${count} jobs have begun`, () => site.notes().length === count)

describe('a job starts as soon as', {concurrency: 2}, () => {
  test('another process has enqueued it: jobq, an application, sqlite3, Perl', async t => {
    const site = new Workplace(t, {'Job.mjs': WORKER})
    await site.enqueue(['Other'])
    const work = await idleWorker(site)
    assert.equal((await site.run(['enqueue', 'Job', '--arg', '{"by":"jobq"}'])).code, 0)
    await worked(site, 1)
    await site.enqueue(['Job', {arg: {by: 'library'}}])
    await worked(site, 2)
    // Perl's driver does what a plain connection does, in the journal mode of the file
    const plain = new Sqlite(site.db)
    plain.exec(INSERT)
    await worked(site, 3)
    plain.exec(INSERT) // and again on a connection that stays open
    await worked(site, 4)
    plain.close()
    const hasShell = spawnSync('sqlite3', ['--version']).error === undefined
    if (hasShell) assert.equal((await site.spawn('sqlite3', [site.db, INSERT]).exited).code, 0)
    await worked(site, hasShell ? 5 : 4)
    assert.deepEqual(
      site.notes<Note>().map(({arg}) => arg),
      ['jobq', 'library', 'shell', 'shell', ...(hasShell ? ['shell'] : [])].map(by => ({by})),
    )
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('its function is new to the database', async t => {
    const site = new Workplace(t, {'Job.mjs': WORKER})
    const work = await idleWorker(site)
    await site.enqueue(['Job'])
    await worked(site, 1)
    work.kill('SIGTERM')
    await work.exited
  })

  test('a worker enqueues it, of its own function or another', async t => {
    const site = new Workplace(t, {
      'Job.mjs': WORKER,
      'First.ts': `import {JobQueue} from 'jobq'
        export default {async work() { await using queue = await JobQueue.open(); await queue.enqueue('Job') }}`,
    })
    const work = await idleWorker(site)
    await site.enqueue(['First'])
    await worked(site, 1)
    work.kill('SIGTERM')
    await work.exited
  })

  test('it is due, and not a second before', async t => {
    const site = new Workplace(t, {'Job.mjs': WORKER})
    const work = await idleWorker(site)
    await site.enqueue(['Job', {delay: 2}], ['Job', {delay: 1}], ['Job', {delay: 3000}])
    const due = new Map(
      site
        .rows<{id: number; run_after: number}>('SELECT id, run_after FROM job')
        .map(job => [job.id, job.run_after]),
    )
    await worked(site, 2)
    const notes = site.notes<Note>()
    // Where a second turns between the two, they are due in the same one
    const inOrder = due.get(1) === due.get(2) ? [1, 2] : [2, 1]
    assert.deepEqual(
      notes.map(({id}) => id),
      inOrder,
    )
    for (const {id, second} of notes) assert.ok(second >= due.get(id)! && second < due.get(id)! + 2)
    site.rows('UPDATE job SET run_after = 0')
    await worked(site, 3)
    work.kill('SIGTERM')
    await work.exited
  })

  test('a retry is due', async t => {
    const site = new Workplace(t, {
      'Job.mjs': `import {note} from './_note.mjs'
        export default {maxRetries: 1, retryDelay: 1, work(job) { note({}); if (job.retryCnt === 0) throw new Error('no') }}`,
    })
    const work = await idleWorker(site)
    await site.enqueue(['Job'])
    await worked(site, 2)
    await work.prints(/1 Job completed/)
    work.kill('SIGTERM')
    await work.exited
  })

  test('the one before it has ended, if it is the most important by then', async t => {
    const site = new Workplace(t, {'Job.mjs': WORKER})
    await site.enqueue(['Job', {arg: {waits: true}}])
    const work = site.work('--work-delay', '3600')
    await worked(site, 1)
    await site.enqueue(['Job', {priority: 0}], ['Job', {priority: 5}])
    await site.enqueue(['Job', {priority: 9}])
    site.write('go', '')
    await worked(site, 4)
    assert.deepEqual(
      site.notes<Note>().map(({id}) => id),
      [1, 4, 3, 2],
    )
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })
})
