/** `jobq work --job`, `queue.work({job})`: this one, whatever is before it. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {JobHeldError, JobQueue, NotFoundError, UsageError} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const NOTES = `import {note} from './_note.mjs'
export default {setJobStatus: true, async work(job: any) { note({id: job.id}); if (job.arg === 'fail') throw new Error('no') }}`
const WAITS = `export default {async work(job) {
  console.log('begun')
  await new Promise(resolve => job.signal.addEventListener('abort', resolve))
}}`

const idsOf = (site: Workplace) => site.notes<{id: number}>().map(({id}) => id)

const kinds = await databaseKinds()

for (const kind of kinds)
  describe(`one job by its id on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext) {
      const {db} = await kind.create(t)
      const site = new Workplace(t, {Notes: NOTES, 'Waits.mjs': WAITS})
      const queue = await JobQueue.open({db})
      t.after(() => queue.close())
      const run = (...flags: string[]) => site.run(['work', '--db', db, ...flags])
      return {site, queue, run, db}
    }

    test('is worked before what is more important, delayed and paused as it is, and nothing else', async t => {
      const {site, queue, run} = await place(t)
      await queue.enqueue('Notes', {priority: 9})
      const {id} = await queue.enqueue('Notes', {delay: 3600})
      await queue.pause(['Notes'])
      const {code, stdout, stderr} = await run('--job', String(id), '--max-workers', '3')
      assert.deepEqual([code, stdout], [0, ''])
      assert.match(stderr, new RegExp(`^\\S+ ${id} Notes completed \\S+\\n$`))
      assert.deepEqual(idsOf(site), [id])
      assert.equal((await queue.list()).length, 1)
      assert.equal((await queue.show(id))!.job, null)
    })

    test('5 if it fails; 4 if it has left the queue, and how; if it is not there', async t => {
      const {queue, run} = await place(t)
      const {id} = await queue.enqueue('Notes', {arg: 'fail'})
      assert.equal((await run('--job', String(id))).code, 5)
      const left = await run('--job', String(id))
      assert.equal(left.code, 4)
      assert.match(left.stderr, /^jobq: job \d+ is not in the queue any more: it has failed \(Error: no\)/)
      const none = await run('--job', '12345', '--json')
      assert.deepEqual([none.code, JSON.parse(none.stdout).error.code], [4, 'NOT_FOUND'])
      assert.match(JSON.parse(none.stdout).error.message, /^no job 12345 is in the queue$/)
    })

    test('4 if it runs, or waits for others, which are named; it goes on as if nothing had been asked', async t => {
      const {site, queue, run, db} = await place(t)
      const runs = await queue.enqueue('Waits')
      const waits = await queue.enqueue('Notes', {after: [runs]})
      const work = site.start(['work', '--db', db, '--abilities', 'Waits', '--shutdown-timeout', '0'])
      await work.prints(/begun/)
      const running = await run('--job', String(runs.id))
      assert.deepEqual([running.code, running.stdout], [4, ''])
      assert.match(running.stderr, /^jobq: job \d+ is running already/)
      const waiting = await run('--job', String(waits.id))
      assert.equal(waiting.code, 4)
      assert.match(waiting.stderr, new RegExp(`^jobq: job ${waits.id} waits for ${runs.id}\\b`))
      work.kill('SIGTERM')
      await work.exited
      assert.deepEqual(idsOf(site), [])
    })

    test('one whose dispatcher was killed is had when its lease is over', async t => {
      const {site, queue, run, db} = await place(t)
      const {id} = await queue.enqueue('Waits')
      const work = site.start(['work', '--db', db])
      await work.prints(/begun/)
      work.kill('SIGKILL')
      await work.exited
      await until('its processes are gone', () => site.survivors().length === 0)
      assert.equal((await run('--job', String(id))).code, 4)
      const job = (await queue.find(id))!
      await queue.store.renew([{id, grabbedUntil: job.grabbedUntil}], 0)
      assert.equal((await run('--job', String(id), '--exec', 'Waits=true')).code, 0)
      assert.equal(await queue.find(id), null)
    })

    test('is had by one, however many ask at once', async t => {
      const {site, queue, run} = await place(t)
      const {id} = await queue.enqueue('Notes')
      const ended = await Promise.all([1, 2, 3].map(() => run('--job', String(id))))
      assert.deepEqual(ended.map(({code}) => code).sort(), [0, 4, 4])
      assert.deepEqual(idsOf(site), [id])
    })

    test('in an application, too', async t => {
      const {queue} = await place(t)
      const other = await queue.enqueue('Other', {priority: 9})
      const job = await queue.enqueue('Here', {delay: 3600})
      const begun: number[] = []
      const workers = {Here: ({id}: {id: number}) => begun.push(id)}
      assert.partialDeepStrictEqual(await queue.work({workers, job}), {taken: 1, completed: 1})
      assert.deepEqual(begun, [job.id])
      await assert.rejects(queue.work({workers, job: job.id}), NotFoundError)
      await assert.rejects(queue.work({workers, job: other}), UsageError)
      const waits = await queue.enqueue('Here', {after: [other]})
      await assert.rejects(queue.work({workers, job: waits}), JobHeldError)
      for (const wrong of [{mode: 'drain'}, {maxJobs: 3}, {job: 'x'}, {job: 0}, {job: {id: 1, db: 3}}])
        await assert.rejects(
          queue.work({workers, job, ...wrong} as never),
          (error: unknown) => error instanceof UsageError || error instanceof NotFoundError,
        )
    })
  })

describe('--job', {concurrency: 2}, () => {
  test('2 if there is no worker of its function, or it is left out, and with what contradicts', async t => {
    const site = new Workplace(t, {Notes: NOTES})
    await site.enqueue(['Nobody'], ['Notes'])
    const wrong: [flags: string[], says: RegExp][] = [
      [['1'], /expected a worker for "Nobody"/],
      [
        ['2', '--abilities', 'Other,More'],
        /expected Notes, the function of job 2, among the abilities, got Other, More/,
      ],
      [['2', '--drain'], /--drain/],
      [['2', '--max-jobs', '5'], /expected --job or --max-jobs, got both/],
      [['x'], /--job: expected a whole number/],
      [['0'], /--job: expected a whole number/],
    ]
    for (const [flags, says] of wrong) {
      const {code, stderr} = await site.run(['work', '--job', ...flags])
      assert.deepEqual([code, says.test(stderr)], [2, true], stderr)
    }
    assert.equal((await site.run(['work', '--job', '2:1'])).code, 4)
    assert.equal(site.count('job'), 2)
    const {code} = await site.run(['work', '--job', '1:2', '--abilities', 'Notes', '--once'], {
      env: {JOBQ_MAX_JOBS: '9'},
    })
    assert.equal(code, 0)
  })

  test('of several databases: with its number', async t => {
    const site = new Workplace(t, {Notes: NOTES})
    const dbs = ['--db', 'a.db', '--db', 'b.db']
    for (const db of ['a.db', 'b.db']) await site.run(['enqueue', 'Notes', '--db', db])
    const unclear = await site.run(['work', ...dbs, '--job', '1'])
    assert.deepEqual([unclear.code, /expected DATABASE:ID/.test(unclear.stderr)], [2, true])
    const {code, stderr} = await site.run(['work', ...dbs, '--job', '2:1'])
    assert.deepEqual([code, / 2:1 Notes completed /.test(stderr)], [0, true])
    const {stdout} = await site.run(['list', ...dbs, '--json'])
    assert.deepEqual(
      (JSON.parse(stdout) as {job_id: unknown; id: unknown}[]).map(({id}) => id),
      ['1:1'],
    )
  })
})
